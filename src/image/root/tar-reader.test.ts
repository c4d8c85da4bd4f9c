import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { link, mkdir, mkdtemp, open, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import fc from "fast-check";
import { type TestEntry, archive, entryBytes, sealed } from "./test-archive.ts";
import { TarError } from "./tar-error.ts";
import { type TarEntry, TarReader } from "./tar-reader.ts";

const run = promisify(execFile);

interface Read extends TarEntry {
  readonly data: Buffer;
}

/** All of an archive, given in pieces of a length. */
function readAll(bytes: Buffer, pieceBytes = bytes.length): { entries: Read[]; isMarked: boolean } {
  const entries: { entry: TarEntry; pieces: [number, Buffer][] }[] = [];
  const reader = new TarReader({
    entry: (entry) => void entries.push({ entry, pieces: [] }),
    data: (data, offset) => void entries.at(-1)!.pieces.push([offset, Buffer.from(data)]),
  });
  for (let at = 0; at < bytes.length; at += pieceBytes) reader.push(bytes.subarray(at, at + pieceBytes));
  const isMarked = reader.finish();
  return {
    isMarked,
    entries: entries.map(({ entry, pieces }) => {
      const data = Buffer.alloc(Math.min(entry.sizeBytes, 1 << 24));
      for (const [offset, piece] of pieces) piece.copy(data, offset);
      return { ...entry, data };
    }),
  };
}
const one = (entry: TestEntry): Read => readAll(archive([entry])).entries[0]!;
const failure = (bytes: Buffer): string => {
  try {
    readAll(bytes);
    return "nothing";
  } catch (error) {
    assert.ok(error instanceof TarError, String(error));
    return `${error.code}: ${error.message}`;
  }
};

describe("an archive byte by byte", () => {
  const pax = {
    path: "long/".repeat(60),
    uid: "70000",
    mtime: "-1.25",
    "SCHILY.xattr.user.a": Buffer.from([1, 0, 0xff]),
    "SCHILY.acl.access": "user::rw-",
    comment: "a=b\nc",
  };
  const mixed = archive([
    { path: "d/", mode: 0o1777, mtime: 5 },
    { path: "d/f", data: "hello", uid: 1, gid: 2, mode: 0o4755 },
    { path: "d/l", type: "2", link: "../x" },
    { path: "d/h", type: "1", link: "d/f", size: 5 },
    { path: "c", type: "3", device: [1, 3] },
    { path: "p", type: "6" },
    { path: "short", pax, data: Buffer.alloc(1000, 7) },
    { path: "n\xff\xfe", data: "" },
  ]);

  test("every entry is told with all that it says", () => {
    const { entries, isMarked } = readAll(mixed);
    assert.ok(isMarked);
    const brief = entries.map(({ path, type, mode, uid, gid, linkPath, major, minor, data }) =>
      [path.slice(0, 10), type, mode.toString(8), uid, gid, linkPath, major, minor, data.length].join(" "),
    );
    assert.deepEqual(brief, [
      "d/ directory 1777 0 0  0 0 0",
      "d/f file 4755 1 2  0 0 5",
      "d/l symlink 644 0 0 ../x 0 0 0",
      "d/h link 644 0 0 d/f 0 0 0",
      "c character-device 644 0 0  1 3 0",
      "p fifo 644 0 0  0 0 0",
      "long/long/ file 644 70000 0  0 0 1000",
      "n\xff\xfe file 644 0 0  0 0 0",
    ]);
    const { path, mtimeSeconds, mtimeNanos, xattrs } = entries[6]!;
    assert.equal(path, pax.path);
    assert.deepEqual([mtimeSeconds, mtimeNanos], [-2, 750_000_000]);
    assert.deepEqual(xattrs, [{ name: "user.a", value: Buffer.from([1, 0, 0xff]) }]);
  });

  test("however it is cut, it is the same", () => {
    const whole = readAll(mixed);
    for (const pieceBytes of [1, 7, 511, 512, 513, 4096]) assert.deepEqual(readAll(mixed, pieceBytes), whole);
  });

  test("a pax header describes one entry only", () => {
    const { entries } = readAll(archive([{ path: "a", pax: { uid: "5" } }, { path: "b" }]));
    assert.deepEqual(
      entries.map(({ uid }) => uid),
      [5, 0],
    );
  });

  test("numbers in base 256, also negative ones", () => {
    const block = entryBytes({ path: "f" });
    block.fill(0, 108, 116);
    block[108] = 0x80;
    block.writeUInt32BE(3_000_000_000, 112);
    block.fill(0xff, 136, 148);
    block.writeInt32BE(-3, 144);
    const { entries } = readAll(Buffer.concat([sealed(block), Buffer.alloc(1024)]));
    assert.deepEqual([entries[0]!.uid, entries[0]!.mtimeSeconds], [3_000_000_000, -3]);
  });

  test("old archives name directories by a slash", () => {
    assert.equal(one({ path: "d/", type: "\0" }).type, "directory");
    assert.equal(one({ path: "d", type: "\0" }).type, "file");
  });

  test("without an end mark it says so; what follows the mark is not read", () => {
    assert.equal(readAll(entryBytes({ path: "a", data: "x" })).isMarked, false);
    assert.equal(readAll(Buffer.alloc(0)).isMarked, false);
    const { entries, isMarked } = readAll(Buffer.concat([archive([{ path: "a" }]), Buffer.from("junk of any kind")]));
    assert.deepEqual([entries.length, isMarked], [1, true]);
  });
});

describe("a damaged archive", () => {
  const broken = (change: (block: Buffer) => void): Buffer => {
    const bytes = archive([{ path: "file", data: "data" }]);
    change(bytes);
    return bytes;
  };
  const resealed = (at: number, text: string): Buffer =>
    broken((bytes) => {
      bytes.write(text, at, "latin1");
      sealed(bytes.subarray(0, 512));
    });
  const cases: [string, () => Buffer, RegExp][] = [
    ["cut in a header", () => archive([{ path: "f" }]).subarray(0, 100), /^damaged: it ends in the middle/],
    [
      "cut in data",
      () => entryBytes({ path: "f", data: "x".repeat(600) }).subarray(0, 700),
      /^damaged: it ends in the middle/,
    ],
    ["cut in padding, which digests tell", () => entryBytes({ path: "f", data: "x" }).subarray(0, 600), /^nothing$/],
    [
      "cut after a pax header",
      () => entryBytes({ path: "f", pax: { uid: "1" } }).subarray(0, 1024),
      /^damaged: it ends in/,
    ],
    ["with a wrong checksum", () => broken((bytes) => bytes.fill(1, 0, 1)), /^damaged: a header has a wrong checksum/],
    ["with a number that is none", () => resealed(124, "0x"), /^damaged: a header has a field that is no number/],
    [
      "with a size beyond all bounds",
      () => resealed(124, "\x80\xff\xff\xff\xff\xff\xff\xff"),
      /^damaged: a header has a number/,
    ],
    ["with a negative size", () => resealed(124, "\xff".repeat(12)), /^damaged: .* negative size/],
    ["of a type that is unknown", () => resealed(156, "M"), /^unsupported: "file" is of type "M"/],
    [
      "with a pax header of 2 MiB",
      () => archive([{ path: "f", type: "x", data: Buffer.alloc(2 << 20) }]),
      /^damaged: a description/,
    ],
    [
      "with a pax record too long",
      () => archive([{ path: "f", type: "x", data: "99 path=x\n" }, { path: "g" }]),
      /^damaged: a pax/,
    ],
    [
      "with a pax record too short",
      () => archive([{ path: "f", type: "x", data: "3 path=x\n" }, { path: "g" }]),
      /^damaged: a pax/,
    ],
    [
      "with a pax record that has no length",
      () => archive([{ path: "f", type: "x", data: "path=x\n" }]),
      /^damaged: a pax/,
    ],
    [
      "with a pax number that is none",
      () => archive([{ path: "f", pax: { size: "1e3" } }]),
      /^damaged: a pax header has a value/,
    ],
    [
      "with a pax time that is none",
      () => archive([{ path: "f", pax: { mtime: "now" } }]),
      /^damaged: a pax header has a time/,
    ],
    ["with holes that overlap", () => sparse("0,4,2,4", 8, "8"), /^damaged: .* contradicts itself/],
    ["with holes beyond its size", () => sparse("0,4,6,4", 8, "8"), /^damaged: .* contradicts itself/],
    ["with holes that miss data", () => sparse("0,4", 8, "8"), /^damaged: .* does not fit its data/],
    ["with an odd map of holes", () => sparse("0,4,5", 8, "8"), /^damaged: a map of holes/],
    [
      "with a map of holes that has no end",
      () => sparse1(`2\n${"1".repeat(2000)}`),
      /^damaged: .* map with lines too long/,
    ],
    [
      "with a map of a million holes",
      () => sparse1("1000000\n".padEnd(600, "0")),
      /^unsupported: .* more than 65536 holes/,
    ],
    ["with a map that eats its data", () => sparse1("40\n0\n0\n"), /^damaged: .* map longer than its data/],
  ];
  const sparse = (map: string, length: number, size: string): Buffer =>
    archive([{ path: "f", data: Buffer.alloc(length, 1), pax: { "GNU.sparse.map": map, "GNU.sparse.size": size } }]);
  const sparse1 = (data: string): Buffer =>
    archive([
      { path: "f", data, pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" } },
    ]);
  for (const [name, make, expected] of cases) test(name, () => assert.match(failure(make()), expected));

  test("any bytes give entries or a TarError", () => {
    const seed = archive([
      { path: "d/f", data: "some data", pax: { "SCHILY.xattr.user.x": "1", size: "9" } },
      {
        path: "s",
        data: "1\n0\n5\n".padEnd(512, "\0") + "12345",
        pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0" },
      },
    ]);
    const change = fc.tuple(fc.nat(seed.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 12 }),
        fc.boolean(),
        fc.nat(2000),
        (changes, reseal, cut) => {
          const bytes = Buffer.from(seed.subarray(0, seed.length - cut));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          if (reseal)
            for (let at = 0; at + 512 <= bytes.length; at += 512)
              if (bytes[at + 257] === 0x75) sealed(bytes.subarray(at, at + 512));
          failure(bytes);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("archives of GNU tar", () => {
  let directory = "";
  const source = (): string => join(directory, "source");
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-tar-"));
    const deep = join(source(), ...Array.from({ length: 8 }, (_, i) => `${"long-name-".repeat(4)}${i}`));
    await mkdir(deep, { recursive: true });
    await writeFile(join(deep, "file"), "deep");
    await writeFile(join(source(), "plain"), "x".repeat(5000));
    await utimes(join(source(), "plain"), 1_700_000_000.123, 1_700_000_000.125);
    await symlink("t".repeat(300), join(source(), "link"));
    await link(join(source(), "plain"), join(source(), "zz-hard"));
    await writeFile(Buffer.concat([Buffer.from(`${source()}/raw-`), Buffer.from([0xc3, 0x28, 0x0a, 0xff])]), "");
    const holes = await open(join(source(), "sparse"), "w");
    for (let i = 0; i < 40; i++) await holes.write(Buffer.alloc(4096, i + 1), 0, 4096, i * 40960);
    await holes.truncate(3 << 20);
    await holes.close();
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const forms: [string, string[]][] = [
    ["gnu", ["--format=gnu"]],
    ["pax", ["--format=pax"]],
    ["gnu, sparse", ["--format=gnu", "--sparse"]],
    ["pax, sparse 1.0", ["--format=pax", "--sparse"]],
    ["pax, sparse 0.1", ["--format=pax", "--sparse", "--sparse-version=0.1"]],
    ["pax, sparse 0.0", ["--format=pax", "--sparse", "--sparse-version=0.0"]],
  ];
  for (const [name, options] of forms)
    test(name, async () => {
      const file = join(directory, "archive.tar");
      await run("tar", [...options, "--sort=name", "-C", source(), "-cf", file, "."]);
      const bytes = await readFile(file);
      if (name.includes("sparse")) assert.ok(bytes.length < 400_000, "tar has left out the holes");
      const { entries, isMarked } = readAll(bytes, 10_000);
      assert.ok(isMarked);
      const find = (end: string): Read => entries.find(({ path }) => path.endsWith(end))!;
      assert.equal(find("8/file".slice(1)).data.toString(), "deep");
      assert.equal(find("long-name-7/file").path.length, 2 + 8 * 42 + 4);
      assert.equal(find("/link").linkPath, "t".repeat(300));
      assert.deepEqual([find("/zz-hard").type, find("/zz-hard").linkPath], ["link", "./plain"]);
      assert.ok(entries.some(({ path }) => path === "./raw-\xc3\x28\x0a\xff"));
      assert.equal(find("/plain").mtimeSeconds, 1_700_000_000);
      if (name.startsWith("pax")) assert.equal(Math.round(find("/plain").mtimeNanos / 1e6), 125);
      const sparse = find("/sparse");
      const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
      assert.equal(digest(sparse.data), digest(await readFile(join(source(), "sparse"))));
      assert.equal(sparse.segments.length > 1, name.includes("sparse"));
    });
});
