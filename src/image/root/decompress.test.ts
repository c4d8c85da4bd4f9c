import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { decompressed } from "./decompress.ts";
import { archive, pieces } from "./test-archive.ts";

test("compressions are told by their bytes, whatever the pieces; several members are one", async () => {
  const good = archive([{ path: "f", data: "y".repeat(8_000) }]);
  const half = good.length / 2;
  const skippable = Buffer.from("502a4d180400000001020304", "hex");
  const forms = {
    plain: good,
    gzip: gzipSync(good),
    "gzip of two members": Buffer.concat([gzipSync(good.subarray(0, half)), gzipSync(good.subarray(half))]),
    zstd: zstdCompressSync(good),
    "zstd of two frames": Buffer.concat([
      zstdCompressSync(good.subarray(0, half)),
      zstdCompressSync(good.subarray(half)),
    ]),
    "zstd with frames to skip": Buffer.concat([skippable, zstdCompressSync(good), skippable]),
  };
  for (const [name, bytes] of Object.entries(forms))
    for (const length of [1, 100, bytes.length]) {
      const out: Uint8Array[] = [];
      for await (const piece of decompressed(pieces(bytes, length))) out.push(piece);
      assert.ok(Buffer.concat(out).equals(good), `${name} in pieces of ${length}`);
    }
});
