import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { mergeOverlay } from "./merge.ts";
import { DATA_OFFSET } from "./overlay-format.ts";
import { openDisk } from "./open.ts";
import { createOverlay, growOverlay, openEphemeralOverlay, openOverlay } from "./overlay.ts";

const folder = mkdtempSync(join(tmpdir(), "mere-overlay-"));
after(() => rmSync(folder, { recursive: true }));
const MIB = 1 << 20;
let files = 0;
function base(bytes = MIB, fill = 5): string {
  const path = join(folder, `base-${files++}`);
  writeFileSync(path, new Uint8Array(bytes).fill(fill));
  return path;
}
async function overlay(sizeBytes?: number, under = base()): Promise<{ path: string; under: string }> {
  const path = join(folder, `overlay-${files++}`);
  await createOverlay(path, { base: under, ...(sizeBytes !== undefined && { sizeBytes }) });
  return { path, under };
}
async function change(path: string, offset: number, bytes: number[] | Uint8Array): Promise<void> {
  const file = await open(path, "r+");
  await file.write(Uint8Array.from(bytes), 0, bytes.length, offset);
  await file.close();
}
async function readAll(path: string, options = {}): Promise<Uint8Array> {
  const disk = await openOverlay(path, { readOnly: true, ...options });
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [bytes]);
  await disk.close();
  return bytes;
}
const refused = (work: Promise<unknown>, code: string, message: RegExp): Promise<void> =>
  assert.rejects(work, { name: "DiskError", code, message });
const peer = (program: string): { skip: string | false } => ({
  skip: spawnSync(program, ["--version"]).error ? `${program} is not there` : false,
});

test("holds what was changed, and only that", async () => {
  const { path, under } = await overlay(4 * MIB);
  const disk = await openOverlay(path);
  assert.deepEqual([disk.sizeBytes, disk.readOnly, disk.canDiscard], [4 * MIB, false, true]);
  await disk.write(4096 * 3 + 512, [new Uint8Array(512).fill(1)]);
  await disk.write(3 * MIB, [new Uint8Array(8192).fill(2)]);
  await disk.close();
  assert.ok(statSync(path).blocks * 512 <= 64 << 10, `takes ${statSync(path).blocks * 512} bytes`);
  const bytes = await readAll(path);
  assert.deepEqual([bytes[0], bytes[4096 * 3 + 511], bytes[4096 * 3 + 512], bytes[4096 * 3 + 1024]], [5, 5, 1, 5]);
  assert.deepEqual([bytes[MIB - 1], bytes[MIB], bytes[3 * MIB], bytes[3 * MIB + 8192]], [5, 0, 2, 0]);
  assert.ok(
    readFileSync(under).every((byte) => byte === 5),
    "the base is as it was",
  );
});

test("gives the space of what is discarded back", async () => {
  const { path } = await overlay(8 * MIB);
  const disk = await openOverlay(path);
  await disk.write(MIB, [new Uint8Array(4 * MIB).fill(1)]);
  await disk.flush();
  const before = statSync(path).blocks;
  assert.equal(await disk.discard(0, 8 * MIB), true);
  await disk.close();
  assert.ok(statSync(path).blocks * 512 <= before * 512 - 4 * MIB);
  assert.ok(
    (await readAll(path)).every((byte) => byte === 0),
    "the base's blocks read as zeroes too",
  );
});

test("an ephemeral overlay leaves nothing", async () => {
  const under = base();
  const before = readdirSync(folder);
  const disk = await openEphemeralOverlay(folder, { base: under, sizeBytes: 2 * MIB });
  await disk.write(0, [new Uint8Array(4096).fill(3)]);
  await disk.flush();
  const bytes = new Uint8Array(8192);
  await disk.read(0, [bytes]);
  assert.deepEqual([bytes[0], bytes[4096]], [3, 5]);
  assert.deepEqual(readdirSync(folder), before);
  await disk.close();
  await refused(openEphemeralOverlay(join(folder, "none"), { base: under }), "missing", /make that first/);
});

test("grows; what is new reads as zeroes", async () => {
  const { path } = await overlay();
  const disk = await openOverlay(path);
  await disk.write(0, [new Uint8Array(4096).fill(8)]);
  await disk.close();
  await growOverlay(path, 80 * MIB);
  const grown = await openOverlay(path);
  assert.equal(grown.sizeBytes, 80 * MIB);
  await grown.write(80 * MIB - 512, [new Uint8Array(512).fill(9)]);
  await grown.close();
  const bytes = await readAll(path);
  assert.deepEqual([bytes[0], bytes[4096], bytes[MIB], bytes[80 * MIB - 513], bytes[80 * MIB - 1]], [8, 5, 0, 0, 9]);
  await refused(growOverlay(path, MIB), "bad-size", /not shrink/);
});

test("merges into a raw image with its holes", async () => {
  const { path } = await overlay(64 * MIB, base(16 * MIB));
  const disk = await openOverlay(path);
  await disk.write(40 * MIB, [new Uint8Array(MIB).fill(4)]);
  await disk.discard(4 * MIB, 8 * MIB);
  await disk.close();
  const merged = join(folder, "merged");
  await mergeOverlay(path, merged);
  assert.ok(Buffer.from(await readAll(path)).equals(readFileSync(merged)));
  assert.ok(statSync(merged).blocks * 512 <= 10 * MIB);
  await refused(mergeOverlay(path, merged), "exists", /another name/);
  assert.ok(!readdirSync(folder).includes("merged.new"));
});

test("qemu-img reads a merged image as the same", peer("qemu-img"), async () => {
  const { path } = await overlay(8 * MIB);
  const disk = await openOverlay(path);
  await disk.write(2 * MIB, [new Uint8Array(MIB).fill(4)]);
  await disk.close();
  const [merged, copy, whole] = ["peer", "peer.qcow2", "peer.whole"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await mergeOverlay(path, merged);
  writeFileSync(whole, await readAll(path));
  execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", merged, copy]);
  execFileSync("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", whole, copy]);
});

test("what is no overlay, or a damaged one, is refused with what to do", async () => {
  const zeroes = base(2 * MIB, 0);
  await refused(openOverlay(zeroes), "damaged", /is no overlay/);
  await refused(openOverlay(base(100)), "damaged", /is no overlay/);
  await refused(openOverlay(folder), "not-a-file", /regular file/);
  await refused(openOverlay(join(folder, "nothing")), "missing", /check the path/);
  for (const [offset, bytes, message] of [
    [0, [0], /is no overlay/],
    [8, [9], /header does not add up/],
    [20, [255], /header does not add up/],
    [600, [1], /header does not add up/],
    [4096, [3], /impossible entries/],
    [4096 + 63, [0xc0], /impossible entries/],
  ] as const) {
    const { path } = await overlay();
    await change(path, offset, [...bytes]);
    await refused(openOverlay(path), "damaged", message);
  }
  const { path } = await overlay();
  truncateSync(path, DATA_OFFSET + MIB - 1);
  await refused(openOverlay(path), "damaged", /cut off/);
});

test("random bytes as an overlay never throw anything else", async () => {
  const { path } = await overlay();
  const good = readFileSync(path).subarray(0, 4096);
  for (let round = 0; round < 200; round++) {
    const bytes = Uint8Array.from(good);
    for (let n = 0; n < 3; n++) bytes[Math.floor(Math.random() * 600)] = Math.floor(Math.random() * 256);
    await change(path, 0, bytes);
    await openOverlay(path).then(
      (disk) => disk.close(),
      (error: Error) => assert.equal(error.name, "DiskError", error.stack ?? ""),
    );
  }
});

test("the name, not the content, says that a file is an overlay", async () => {
  const { path } = await overlay();
  const disk = await openDisk(path);
  const head = new Uint8Array(512);
  await disk.read(0, [head]);
  assert.equal(
    new TextDecoder().decode(head.subarray(0, 8)),
    "mere-ovl",
    "a guest that writes a header gets no other file",
  );
  await disk.close();
  renameSync(path, `${path}.overlay`);
  const named = await openDisk(`${path}.overlay`);
  assert.equal(named.sizeBytes, MIB);
  await named.close();
});

test("a base that is gone or has changed is refused; one that moved is named", async () => {
  const { path, under } = await overlay();
  const moved = `${under}.moved`;
  execFileSync("cp", ["-a", under, moved]);
  const bytes = readFileSync(under);
  const { atime, mtime } = statSync(under);
  await change(under, 17, [1]);
  await refused(openOverlay(path), "base-changed", /has changed since/);
  writeFileSync(under, bytes);
  await refused(openOverlay(path), "base-changed", /must keep its times/);
  utimesSync(under, atime, mtime);
  truncateSync(under, MIB - 512);
  await refused(openOverlay(path), "base-changed", /has changed since/);
  rmSync(under);
  await refused(openOverlay(path), "base-missing", /put that image back/);
  assert.equal((await readAll(path, { base: moved }))[0], 5);
});

test("sizes that cannot be are refused, and nothing is left behind", async () => {
  const under = base();
  const path = join(folder, "refused");
  await refused(createOverlay(path, { base: under, sizeBytes: MIB - 4096 }), "bad-size", /at least that/);
  await refused(createOverlay(path, { base: under, sizeBytes: 5 * 2 ** 40 }), "bad-size", /at most 4 TiB/);
  await refused(createOverlay(join(folder, "no", "where"), { base: under }), "missing", /directory does not exist/);
  await refused(createOverlay(path, { base: join(folder, "none") }), "missing", /check the path/);
  await refused(createOverlay(under, { base: under }), "exists", /another name/);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith("refused") || name.endsWith(".new")),
    [],
  );
});

test("what a killed process left half-made is taken over", async () => {
  const under = base();
  const path = join(folder, "again");
  copyFileSync(under, `${path}.new`);
  await createOverlay(path, { base: under });
  assert.equal((await readAll(path))[0], 5);
  assert.ok(!readdirSync(folder).includes("again.new"));
});
