import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { createOverlay, openOverlay } from "./overlay.ts";
import { quickDisk } from "./quick.ts";
import { openRawDisk } from "./raw.ts";

const folder = mkdtempSync(join(tmpdir(), "mere-quick-"));
after(() => rmSync(folder, { recursive: true }));
const base = join(folder, "base");
/** The last block is not whole. */
const BASE_BYTES = 100 * 4096 + 1536;
writeFileSync(
  base,
  Uint8Array.from({ length: BASE_BYTES }, (_, i) => (i >> 9) & 0xff),
);
/** Guest memory: pieces that do not follow each other. */
function pieces(bytes: number, fill: number): Uint8Array[] {
  const memory = new Uint8Array(new SharedArrayBuffer(2 * bytes + 64)).fill(fill);
  const half = bytes >> 1;
  return [memory.subarray(16, 16 + half), memory.subarray(bytes + 32, bytes + 32 + bytes - half)];
}
const joined = (list: Uint8Array[]): Buffer => Buffer.concat(list);

test("a raw disk is read and written on any thread as on the I/O thread", async () => {
  const path = join(folder, "raw");
  writeFileSync(path, new Uint8Array(1 << 20).fill(1));
  const disk = await openRawDisk(path);
  const quick = quickDisk(disk.quick!)!;
  assert.ok(quick.write(8192, pieces(4096, 9)));
  const into = pieces(12288, 0);
  await disk.read(4096, into);
  const also = pieces(12288, 0);
  if (quick.read(4096, also)) assert.deepEqual(joined(also), joined(into));
  assert.deepEqual([joined(into)[4095], joined(into)[4096], joined(into)[8192]], [1, 9, 1]);
  assert.equal(quick.read(0, new Array<Uint8Array>(600).fill(into[0]!.subarray(0, 1))), false, "too many pieces");
  await disk.close();
  const readOnly = await openRawDisk(path, { readOnly: true });
  assert.equal(quickDisk(readOnly.quick!)!.write(0, pieces(512, 7)), false);
  await readOnly.close();
});

test("what does not take from the file what is asked is left to the I/O thread", async () => {
  const path = join(folder, "closed");
  writeFileSync(path, new Uint8Array(8192));
  const disk = await openRawDisk(path);
  const quick = quickDisk({ ...disk.quick!, file: 1_000_000 })!;
  assert.equal(quick.read(0, pieces(512, 0)), false);
  assert.equal(quick.write(0, pieces(512, 0)), false);
  const beyond = quickDisk({ ...disk.quick!, sizeBytes: 1 << 20 })!;
  assert.equal(beyond.read(8192 - 512, pieces(1024, 0)), false);
  await disk.close();
});

test("an overlay: executor and I/O thread see one disk, whoever writes", async () => {
  const request = fc.record({
    kind: fc.constantFrom("quick", "slow", "discard", "zero"),
    sector: fc.integer({ min: 0, max: 830 }),
    count: fc.integer({ min: 1, max: 40 }),
  });
  let number = 0;
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 30 }), async (list) => {
      const path = join(folder, `o-${number++}`);
      const sizeBytes = 108 * 4096;
      await createOverlay(path, { base, sizeBytes });
      const disk = await openOverlay(path);
      const quick = quickDisk(disk.quick!)!;
      const model = Buffer.alloc(sizeBytes);
      for (let i = 0; i < BASE_BYTES; i++) model[i] = (i >> 9) & 0xff;
      for (const { kind, sector, count } of list) {
        const [offset, length] = [sector * 512, Math.min(count * 512, sizeBytes - sector * 512)];
        const fill = kind === "quick" || kind === "slow" ? ++number & 0xff : 0;
        if (kind === "zero") await disk.zero(offset, length, true);
        else if (kind === "discard") await disk.discard(offset, length);
        else if (kind === "slow" || !quick.write(offset, pieces(length, fill)))
          await disk.write(offset, pieces(length, fill));
        const [from, to] =
          kind === "discard"
            ? [Math.ceil(offset / 4096) * 4096, Math.floor((offset + length) / 4096) * 4096]
            : [offset, offset + length];
        if (to > from) model.fill(fill, from, to);
      }
      const all = pieces(sizeBytes, 0xaa);
      await disk.read(0, all);
      assert.ok(joined(all).equals(model));
      const also = pieces(sizeBytes, 0xbb);
      if (quick.read(0, also)) {
        taken++;
        assert.ok(joined(also).equals(model));
      }
      await disk.close();
      rmSync(path);
    }),
    { numRuns: 60 },
  );
  assert.ok(taken > 0, "the executor's way was never taken");
});
