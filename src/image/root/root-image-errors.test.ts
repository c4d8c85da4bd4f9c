/* Layers of which no root image can be made. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { assertClean, withoutE2fsprogs } from "../ext4/test-ext4.ts";
import { decompressed } from "./decompress.ts";
import { type RootImageLayer, type RootImageOptions, buildRootImage } from "./root-image.ts";
import { RootImageError, type RootImageErrorCode } from "./root-image-error.ts";
import { archive, entryBytes, layer, layerOf, pieces, sealed } from "./test-archive.ts";

describe("a root image that cannot be made leaves nothing, and says why", { skip: withoutE2fsprogs }, () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-root-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const output = (): string => join(directory, "root.ext4");
  const build = (layers: RootImageLayer[], more: Partial<RootImageOptions> = {}) =>
    buildRootImage({ layers, output: output(), ...more });

  const good = archive([{ path: "f", data: "x".repeat(100_000) }]);
  const cases: [string, () => Partial<RootImageOptions> & { layers: RootImageLayer[] }, RootImageErrorCode, RegExp][] =
    [
      [
        "a layer cut off in a file",
        () => ({ layers: [layer(good.subarray(0, 50_000))] }),
        "damaged-layer",
        /^Layer sha256:abc is damaged: it ends in the middle/,
      ],
      [
        "a layer cut off between files",
        () => ({ layers: [layer(entryBytes({ path: "f", data: "x" }))] }),
        "damaged-layer",
        /its end is missing/,
      ],
      ["an empty layer", () => ({ layers: [layer(Buffer.alloc(0))] }), "damaged-layer", /its end is missing/],
      [
        "a layer with another digest",
        () => ({ layers: [layer(good, { diffId: `sha256:${"0".repeat(64)}` })] }),
        "wrong-digest",
        /pull the image again/,
      ],
      [
        "an entry that climbs out",
        () => ({ layers: [layerOf({ path: "../x" })] }),
        "refused-entry",
        /^Layer sha256:abc has an entry that is refused: "..\/x" climbs/,
      ],
      [
        "gzip cut off",
        () => ({ layers: [zipped(gzipSync(good).subarray(0, -9))] }),
        "damaged-layer",
        /its gzip compression is damaged or cut off/,
      ],
      [
        "gzip damaged",
        () => ({ layers: [zipped(flipped(gzipSync(good)))] }),
        "damaged-layer",
        /its gzip compression is damaged/,
      ],
      [
        "zstd cut off",
        () => ({ layers: [zipped(zstdCompressSync(good).subarray(0, -9))] }),
        "damaged-layer",
        /its zstd compression is damaged or cut off/,
      ],
      [
        "zstd damaged",
        () => ({ layers: [zipped(flipped(zstdCompressSync(good)))] }),
        "damaged-layer",
        /its zstd compression is damaged/,
      ],
      [
        "xz",
        () => ({ layers: [zipped(Buffer.from("\xfd7zXZ\0....", "latin1"))] }),
        "unsupported",
        /compressed with xz/,
      ],
      [
        "a type that is unknown",
        () => ({ layers: [layerOf({ path: "f", type: "D" })] }),
        "unsupported",
        /Make the image with another tool/,
      ],
      [
        "too much for the size",
        () => ({
          layers: [layer(good)],
          sizeBytes: 1 << 20,
          extra: [{ type: "file" as const, path: "g", data: Buffer.alloc(1 << 20) }],
        }),
        "too-small",
        /give a larger size/,
      ],
      [
        "too much for the limit",
        () => ({ layers: [layer(good)], limitBytes: 50_000 }),
        "too-large",
        /give a size for the disk/,
      ],
      [
        "a file of 2 PiB",
        () => ({ layers: [layer(entryBytes({ path: "f", pax: { size: String(2 ** 51) } }))] }),
        "refused-entry",
        /more than Linux can store/,
      ],
      [
        "what Mere adds climbing out",
        () => ({ layers: [], extra: [{ type: "file" as const, path: "a/../b", data: "" }] }),
        "refused-entry",
        /what Mere adds/,
      ],
      [
        "a source that cannot be read",
        () => ({ layers: [{ name: "gone", open: () => missing() }] }),
        "failed",
        /^Layer gone cannot be read \(ENOENT/,
      ],
      [
        "a folder that is not there",
        () => ({ layers: [], output: join(directory, "none/x") }),
        "unwritable",
        /check its folder/,
      ],
    ];
  const zipped = (bytes: Uint8Array): RootImageLayer => layer(bytes, { open: () => decompressed(pieces(bytes)) });
  const flipped = (bytes: Buffer): Buffer => {
    for (let i = 30; i < 60; i++) bytes[i]! ^= 0x55;
    return bytes;
  };
  async function* missing(): AsyncGenerator<Uint8Array> {
    yield await readFile(join(directory, "missing"));
  }
  for (const [name, options, code, words] of cases)
    test(name, async () => {
      await rm(output(), { force: true });
      const before = (await readdir(directory)).sort();
      await assert.rejects(buildRootImage({ output: output(), ...options() }), (error: unknown) => {
        assert.ok(error instanceof RootImageError, String(error));
        assert.equal(error.code, code);
        assert.match(error.message, words);
        return true;
      });
      assert.deepEqual((await readdir(directory)).sort(), before);
    });

  test("bytes of layers changed at random give a RootImageError, or an image that is clean", async () => {
    const seeds = [
      archive([
        { path: "d/", mode: 0o755 },
        { path: "d/f", data: "x".repeat(6000), pax: { "SCHILY.xattr.user.a": "1", mtime: "5.5" } },
        { path: "d/s", type: "2", link: "../e" },
        { path: "e/h", type: "1", link: "d/f" },
      ]),
      archive([
        { path: "d/.wh.f" },
        { path: "d/s/g", data: "y" },
        { path: "c", type: "3", device: [1, 2] },
        { path: "e/.wh..wh..opq" },
      ]),
    ];
    // Names, modes, owners, sizes, times, types and links of a header or a record of its pax header.
    const change = fc.tuple(
      fc.nat(1),
      fc.nat(),
      fc.constantFrom(...Buffer.from("/.\x005716dfse2xgLKS\x80\xff", "latin1")),
    );
    let built = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const layers = seeds.map((seed) => Buffer.from(seed));
        for (const [which, at, value] of changes) {
          const bytes = layers[which]!;
          bytes[at % bytes.length] = value;
          for (let block = 0; block + 512 <= bytes.length; block += 512)
            if (bytes.toString("latin1", block + 257, block + 262) === "ustar")
              sealed(bytes.subarray(block, block + 512));
        }
        const result = await build(
          layers.map((bytes) => layer(bytes)),
          { sizeBytes: 8 << 20 },
        ).catch((error: unknown) => error);
        if (result instanceof Error) return assert.ok(result instanceof RootImageError, String(result));
        built++;
        await assertClean(output());
      }),
      { numRuns: 25 },
    );
    assert.ok(built > 0, `only ${built} images could be made`);
  });

  test("what was there before stays", async () => {
    await writeFile(output(), "old");
    await assert.rejects(build([layer(good.subarray(0, 50_000))]));
    assert.equal(await readFile(output(), "utf8"), "old");
  });

  test("errors of a source's own pass unchanged", async () => {
    const own = new TypeError("mine");
    await assert.rejects(build([{ name: "x", open: () => Promise.reject(own) }]), (error) => error === own);
  });

  test("a signal ends it, even while a source stalls", async () => {
    const stop = new AbortController();
    const stalled = new Readable({ read() {} });
    stalled.push(good.subarray(0, 20_000));
    const building = build([{ name: "slow", open: () => stalled }], {
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("enough")),
    });
    await assert.rejects(building, /^Error: enough$/);
    assert.ok(stalled.destroyed);
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.includes("partial")),
      [],
    );
  });
});
