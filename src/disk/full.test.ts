import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createOverlay, openOverlay } from "./overlay.ts";
import { quickDisk } from "./quick.ts";
import { openRawDisk } from "./raw.ts";
import { createDisk } from "./store.ts";

const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), "mere-full-"));
/** A file system of 8 MiB. */
const small = join(folder, "small");
const mounted =
  spawnSync("mkdir", [small]).status === 0 &&
  spawnSync("mount", ["-t", "tmpfs", "-o", "size=8m", "small", small]).status === 0;
const options = { skip: mounted ? false : "only root can mount a small file system" };
before(() => writeFileSync(join(folder, "base"), new Uint8Array(32 * MIB).fill(5)));
after(() => {
  if (mounted) spawnSync("umount", [small]);
  rmSync(folder, { recursive: true });
});
const block = (fill: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(64 << 10)).fill(fill);

test(
  "a full disk under an overlay: the write fails, what was flushed stays, and goes on when there is room",
  options,
  async () => {
    const path = join(small, "disk.overlay");
    await createOverlay(path, { base: join(folder, "base") });
    let disk = await openOverlay(path);
    const quick = quickDisk(disk.quick!)!;
    for (let n = 0; n < 16; n++) await disk.write(n * 65536, [block(1)]);
    await disk.flush();
    let failed = 0;
    for (let n = 16; n < 160; n++) {
      // The executor's way fails too, and leaves it to the other to say so.
      if (n % 2 === 0 && quick.write(n * 65536, [block(2)])) continue;
      await disk.write(n * 65536, [block(2)]).catch((error: NodeJS.ErrnoException) => {
        assert.equal(error.code, "ENOSPC");
        failed++;
      });
    }
    assert.ok(failed > 0 && failed < 140, `${failed} failed`);
    const bytes = block(0);
    await disk.read(15 * 65536, [bytes]);
    assert.ok(bytes.every((byte) => byte === 1));
    await disk.discard(16 * 65536, 144 * 65536);
    await disk.write(16 * 65536, [block(3)]);
    await disk.close();
    disk = await openOverlay(path);
    for (const [n, fill] of [
      [0, 1],
      [15, 1],
      [16, 3],
      [17, 0],
      [200, 5],
    ] as const) {
      await disk.read(n * 65536, [bytes]);
      assert.ok(
        bytes.every((byte) => byte === fill),
        `${n}: ${bytes[0]!}`,
      );
    }
    await disk.close();
    rmSync(path);
  },
);

test("a full disk under a raw image, and while one is made", options, async () => {
  const path = await createDisk(small, { name: "sparse", format: "raw", sizeBytes: 32 * MIB });
  const disk = await openRawDisk(path);
  await disk.write(0, [block(1)]);
  await assert.rejects(disk.write(MIB, new Array<Uint8Array>(256).fill(block(2))), { code: "ENOSPC" });
  const bytes = block(0);
  await disk.read(0, [bytes]);
  assert.ok(bytes.every((byte) => byte === 1));
  await disk.close();
  const copy = createDisk(small, { name: "copy", format: "raw", from: join(folder, "base") });
  await assert.rejects(copy, { code: "no-space", message: /make room there/ });
});
