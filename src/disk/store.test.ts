import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openDisk } from "./open.ts";
import { copyDiskFile, createDisk, findDisk, growDisk, listDisks, removeDisk, resolveDisk } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "mere-disks-"));
after(() => rmSync(folder, { recursive: true }));
const MIB = 1 << 20;
let stores = 0;
const store = (): string => join(folder, `store-${stores++}`);
const refused = (work: Promise<unknown>, code: string, message: RegExp): Promise<void> =>
  assert.rejects(work, { name: "DiskError", code, message });

test("disks are made, listed, grown, exported and removed by name", async () => {
  const directory = store();
  assert.deepEqual(await listDisks(directory), []);
  const path = await createDisk(directory, { name: "data", format: "raw", sizeBytes: 8 * MIB });
  await createDisk(directory, { name: "copy", format: "raw", from: path, sizeBytes: 16 * MIB });
  await createDisk(directory, { name: "over", format: "overlay", from: path, sizeBytes: 32 * MIB });
  const over = await openDisk(findDisk(directory, "over"));
  await over.write(9 * MIB, [new Uint8Array(4096).fill(3)]);
  const listed = (await listDisks(directory)).map(({ name, format, sizeBytes, base, inUse }) => [
    name,
    format,
    sizeBytes / MIB,
    base,
    inUse,
  ]);
  assert.deepEqual(listed, [
    ["copy", "raw", 16, undefined, false],
    ["data", "raw", 8, undefined, true],
    ["over", "overlay", 32, path, true],
  ]);
  await refused(removeDisk(directory, "over"), "in-use", /in use by this process/);
  await refused(growDisk(findDisk(directory, "over"), 64 * MIB), "in-use", /in use/);
  await over.close();
  await growDisk(findDisk(directory, "over"), 64 * MIB);
  await growDisk(findDisk(directory, "copy"), 20 * MIB);
  await refused(growDisk(findDisk(directory, "copy"), 4 * MIB), "bad-size", /not shrink/);
  const out = join(folder, "exported");
  await copyDiskFile(findDisk(directory, "over"), out);
  assert.deepEqual([statSync(out).size, readFileSync(out)[9 * MIB]], [64 * MIB, 3]);
  for (const name of ["data", "copy", "over"]) await removeDisk(directory, name);
  assert.deepEqual(readdirSync(directory), []);
});

test("a text without a slash is the disk of that name, if there is one, and else a file", async () => {
  const directory = store();
  const path = await createDisk(directory, { name: "root.img", format: "raw", sizeBytes: MIB });
  assert.equal(resolveDisk(directory, "root.img"), path);
  for (const text of ["./root.img", "/tmp/root.img", "other", ".."]) assert.equal(resolveDisk(directory, text), text);
});

test("a raw disk is made by who is asked to, whole or not at all", async () => {
  const directory = store();
  await createDisk(directory, {
    name: "made",
    format: "raw",
    sizeBytes: MIB,
    make: async (path, size) => writeFileSync(path, new Uint8Array(size).fill(6)),
  });
  assert.equal(readFileSync(findDisk(directory, "made"))[0], 6);
  const failing = createDisk(directory, {
    name: "fails",
    format: "raw",
    sizeBytes: MIB,
    make: async () => Promise.reject(new Error("cannot")),
  });
  await assert.rejects(failing, /cannot/);
  assert.deepEqual(readdirSync(directory), ["made.raw"]);
});

test("what cannot be is refused, and what a killed process left goes", async () => {
  const directory = store();
  const path = await createDisk(directory, { name: "one", format: "raw", sizeBytes: MIB });
  copyFileSync(path, join(directory, "two.raw.new"));
  await refused(createDisk(directory, { name: "one", format: "overlay", from: path }), "exists", /There is a disk one/);
  assert.ok(!existsSync(join(directory, "two.raw.new")));
  for (const name of ["", "../x", "a/b", "-x", "x".repeat(101)])
    await refused(
      createDisk(directory, { name, format: "raw", sizeBytes: MIB }),
      "bad-name",
      /cannot be a disk's name/,
    );
  await refused(createDisk(directory, { name: "big", format: "raw", sizeBytes: 2 ** 50 }), "bad-size", /up to 4 TiB/);
  await refused(
    createDisk(directory, { name: "small", format: "raw", from: path, sizeBytes: 4096 }),
    "bad-size",
    /not shrink/,
  );
  await createDisk(directory, { name: "over", format: "overlay", from: path });
  const nested = createDisk(directory, { name: "nested", format: "overlay", from: findDisk(directory, "over") });
  await refused(nested, "bad-size", /export it first/);
  assert.throws(() => findDisk(directory, "nested"), { code: "missing", message: /mere disk list/ });
  assert.deepEqual(readdirSync(directory).sort(), ["one.raw", "over.overlay"]);
  const file = join(folder, "file");
  writeFileSync(file, "");
  await refused(
    createDisk(join(file, "disks"), { name: "x", format: "raw", sizeBytes: MIB }),
    "missing",
    /make that first/,
  );
});
