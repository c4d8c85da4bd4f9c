import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openRawDisk } from "./raw.ts";

const folder = mkdtempSync(join(tmpdir(), "mere-disk-"));
after(() => rmSync(folder, { recursive: true }));
function image(name: string, bytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(bytes));
  return path;
}
/** Views of shared memory, as guest memory is. */
function shared(...lengths: number[]): Uint8Array[] {
  return lengths.map((length) => new Uint8Array(new SharedArrayBuffer(length + 16), 16, length));
}

test("writes and reads scattered buffers of shared memory", async () => {
  const path = image("a", 8192);
  const disk = await openRawDisk(path);
  assert.equal(disk.sizeBytes, 8192);
  const from = shared(100, 412, 512);
  from.forEach((part, i) => part.fill(i + 1));
  await disk.write(512, from);
  await disk.flush();
  const file = readFileSync(path);
  assert.deepEqual([file[511], file[512], file[612], file[1024], file[1536]], [0, 1, 2, 3, 0]);
  const into = shared(1, 511, 512);
  await disk.read(512, into);
  assert.deepEqual([into[0]![0], into[1]![98], into[1]![99], into[2]![511]], [1, 1, 2, 3]);
  await disk.close();
});

test("discards make holes, and zeroes with and without space are read", async () => {
  const path = image("holes", 1 << 20);
  writeFileSync(path, new Uint8Array(1 << 20).fill(7));
  const disk = await openRawDisk(path);
  await disk.flush();
  const before = statSync(path).blocks;
  assert.equal(await disk.discard(65536, 131072), true);
  assert.ok(statSync(path).blocks <= before - 256, "its blocks are given back");
  await disk.zero(262144 + 512, 65536, false);
  await disk.zero(524288, 65536, true);
  const file = readFileSync(path);
  const zeroes = (from: number, length: number) => file.subarray(from, from + length).every((byte) => byte === 0);
  assert.ok(zeroes(65536, 131072) && zeroes(262144 + 512, 65536) && zeroes(524288, 65536));
  assert.deepEqual([file[65535], file[196608], file[262144 + 511], file[262144 + 512 + 65536]], [7, 7, 7, 7]);
  await disk.close();
});

test("without flushing it says so to those who serve it, and FLUSH is answered", async () => {
  const path = image("unflushed", 1 << 20);
  const disk = await openRawDisk(path, { unflushed: true });
  assert.deepEqual([disk.quick!.flushless, disk.readOnly], [true, false]);
  await disk.write(4096, [new Uint8Array(4096).fill(9)]);
  await disk.flush();
  await disk.close();
  assert.equal(readFileSync(path)[4096], 9);
  const flushed = await openRawDisk(path);
  assert.equal(flushed.quick!.flushless, false);
  await flushed.close();
});

test("more pieces than one system call takes", async () => {
  const disk = await openRawDisk(image("many", 512 * 2048));
  await disk.write(
    0,
    shared(...new Array<number>(2048).fill(512)).map((part, i) => part.fill(i & 0xff)),
  );
  const into = shared(512 * 2048);
  await disk.read(0, into);
  for (let i = 0; i < 2048; i++) assert.equal(into[0]![512 * i + 511], i & 0xff);
  await disk.close();
});

test("a 64-bit wasm memory can be read into", async () => {
  const path = image("wasm", 4096);
  writeFileSync(path, new Uint8Array(4096).fill(9));
  const memory = new WebAssembly.Memory({
    address: "i64",
    initial: 1n,
    maximum: 1n,
    shared: true,
  } as unknown as WebAssembly.MemoryDescriptor);
  const into = new Uint8Array(memory.buffer, 4096, 4096);
  const disk = await openRawDisk(path, { readOnly: true });
  await disk.read(0, [into]);
  assert.ok(into.every((byte) => byte === 9));
  await assert.rejects(disk.write(0, [into]), { code: "read-only" });
  await disk.close();
});

test("what cannot be a disk is refused with what to do", async () => {
  const refused = (path: string, code: string, message: RegExp) =>
    assert.rejects(openRawDisk(path), { name: "DiskError", code, message });
  await refused(join(folder, "none"), "missing", /create the image first/);
  await refused(folder, "not-a-file", /regular file/);
  await refused(image("empty", 0), "bad-size", /truncate/);
  await refused(image("odd", 1000), "bad-size", /multiple of 512/);
});

test("permissions", { skip: process.getuid?.() === 0 ? "root may read and write everything" : false }, async () => {
  const path = image("locked", 512);
  chmodSync(path, 0o444);
  await assert.rejects(openRawDisk(path), { code: "read-only" });
  await (await openRawDisk(path, { readOnly: true })).close();
  chmodSync(path, 0);
  await assert.rejects(openRawDisk(path), { code: "unreadable" });
});

test("a file that shrinks while in use is an error, not a hang", async () => {
  const path = image("shrinks", 4096);
  const disk = await openRawDisk(path);
  truncateSync(path, 1024);
  await assert.rejects(disk.read(0, shared(4096)), { code: "short" });
  await disk.close();
});
