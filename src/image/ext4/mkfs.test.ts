import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, open, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Ext4Error, type Ext4ErrorCode } from "./ext4-error.ts";
import { Ext4Writer } from "./ext4-writer.ts";
import { BLOCK_BYTES } from "./geometry.ts";
import { hashName } from "./half-md4.ts";
import { ImageWriter } from "./image-writer.ts";
import { mkfsExt4 } from "./mkfs.ts";
import { withNewFile } from "./new-file.ts";
import { type Attributes, Directory, RegularFile, Symlink } from "./nodes.ts";
import { numberInodes } from "./numbering.ts";
import { assertClean, debugfs, dumpe2fs, statAll, withoutE2fsprogs } from "./test-ext4.ts";

const MIB = 2 ** 20;
const plain = (mode = 0o644): Attributes => ({ mode, uid: 0, gid: 0, mtimeSeconds: 1, mtimeNanos: 0, xattrs: [] });
const failsWith = (code: Ext4ErrorCode) => (error: unknown) => error instanceof Ext4Error && error.code === code;

describe("ext4", () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-ext4-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const at = (name: string): string => join(directory, name);

  /** Writes a tree. Files of `data` bytes get that many, each block beginning with its number. */
  async function write(
    name: string,
    sizeBytes: number,
    fill: (root: Directory, writer: Ext4Writer) => void,
  ): Promise<string> {
    const uuid = new Uint8Array(16).fill(7);
    await withNewFile(at(name), async (file) => {
      const writer = new Ext4Writer(file, at(name), { sizeBytes, limitBytes: sizeBytes });
      const root = new Directory(plain(0o755));
      try {
        fill(root, writer);
        await writer.finish(root, { uuid });
      } finally {
        await writer.settle();
      }
    });
    return at(name);
  }
  const add = <T extends RegularFile | Symlink | Directory>(parent: Directory, name: string, inode: T): T => {
    inode.links++;
    parent.entries.set(name, { inode, layer: 0 });
    return inode;
  };

  describe("an empty file system", { skip: withoutE2fsprogs }, () => {
    const sizes = [
      MIB,
      2 * MIB,
      8 * MIB + 3 * BLOCK_BYTES,
      100 * MIB + 512,
      128 * MIB + BLOCK_BYTES,
      1025 * MIB,
      16384 * MIB,
      2 ** 38,
    ];
    for (const size of sizes)
      test(`of ${size} bytes is clean and takes little`, async () => {
        const { sizeBytes } = await mkfsExt4(at("empty"), size, { label: "data" });
        assert.equal(sizeBytes, size);
        const { size: length, blocks } = await stat(at("empty"));
        assert.equal(length, size);
        assert.ok(blocks * 512 < MIB + size / 50_000, `${blocks * 512} bytes on the host`);
        await assertClean(at("empty"));
      });

    test("has a journal, checksums, the label, lost+found, and nothing for Linux to initialise", async () => {
      const uuid = Buffer.from("00112233445566778899aabbccddeeff", "hex");
      await mkfsExt4(at("features"), 1024 * MIB, { label: "0123456789abcdef", uuid });
      const text = await dumpe2fs(at("features"));
      assert.match(text, /volume name: +0123456789abcdef$/m);
      assert.match(text, /UUID: +00112233-4455-6677-8899-aabbccddeeff$/m);
      for (const feature of ["has_journal", "metadata_csum", "extent", "64bit", "flex_bg", "dir_index", "sparse_super"])
        assert.match(text, new RegExp(`features:.* ${feature}\\b`));
      assert.match(text, /Reserved block count: +0$/m);
      assert.match(text, /Total journal size: +32M$/m);
      const groups = text.match(/^Group \d.*$/gm)!;
      assert.equal(groups.length, 8);
      assert.ok(groups.every((line) => line.includes("ITABLE_ZEROED")));
      assert.equal(groups.filter((line) => line.includes("BLOCK_UNINIT")).length, 6);
      const [found] = [...(await statAll(at("features"), ["lost+found"])).values()];
      assert.deepEqual([found!.type, found!.mode], ["directory", "700"]);
    });

    test("two are not the same, unless the UUID is given", async () => {
      const text = async (): Promise<string> => {
        await mkfsExt4(at("uuid"), MIB);
        return /UUID: +(\S+)/.exec(await dumpe2fs(at("uuid"), "-h"))![1]!;
      };
      const [one, other] = [await text(), await text()];
      assert.match(one, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]/);
      assert.notEqual(one, other);
    });
  });

  test("sizes and labels that cannot be are refused, and nothing is left", async () => {
    await assert.rejects(mkfsExt4(at("no"), MIB - 1), failsWith("too-small"));
    await assert.rejects(mkfsExt4(at("no"), 2 ** 44 + 1), failsWith("too-small"));
    await assert.rejects(mkfsExt4(at("no"), Number.NaN), failsWith("too-small"));
    await assert.rejects(mkfsExt4(at("no"), MIB, { label: "seventeen letters" }), failsWith("too-many"));
    await assert.rejects(mkfsExt4(at("none/no"), MIB), failsWith("unwritable"));
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.includes("no")),
      [],
    );
  });

  test("a full disk is told as that", async () => {
    const full = await open("/dev/full", "w");
    const image = new ImageWriter(full, "the-image");
    image.write(Buffer.alloc(3 * MIB));
    await assert.rejects(
      image.finish(0),
      (error: unknown) => failsWith("no-space")(error) && /the-image: free some/.test(String(error)),
    );
    await full.close();
  });

  describe("a tree", { skip: withoutE2fsprogs }, () => {
    test("large directories are indexed, on two levels if need be, and every name is found", async () => {
      const counts = { one: 100, several: 3000, two: 20_000 };
      const name = (i: number): string => `${i}-${"x".repeat(i % 240)}`;
      const image = await write("directories", 256 * MIB, (root) => {
        for (const [parent, count] of Object.entries(counts)) {
          const made = add(root, parent, new Directory(plain(0o755)));
          for (let i = 0; i < count; i++) add(made, name(i), new Symlink(plain(0o777), "x"));
        }
      });
      await assertClean(image);
      const found = await statAll(
        image,
        Object.entries(counts).flatMap(([parent, count]) => [parent, `${parent}/${name(count - 1)}`]),
      );
      assert.deepEqual(
        [...found.values()].map(({ inode }) => inode > 0),
        [true, true, true, true, true, true],
      );
      assert.equal(Number(found.get("several")!.flags) & 0x1000, 0x1000);
      const [dump] = await debugfs(image, ["htree_dump /two"]);
      assert.match(dump!, /Indirect levels: 1/);
      assert.equal(dump!.match(/^\d+ 0x[0-9a-f]+.*/gm)?.length, counts.two);
    });

    test("names of the same hash may lie in two blocks", async () => {
      const seed = [0x07070707, 0x07070707, 0x07070707, 0x07070707];
      const names = Array.from({ length: 150_000 }, (_, i) => `${i}`.padEnd(244, "x"));
      const hashed = names.map((name) => ({ name, hash: hashName(name, seed).major })).sort((a, b) => a.hash - b.hash);
      // 16 of these fill a block, so 31 before the two part them.
      const pair = hashed.findIndex(({ hash }, i) => i > 31 && hash === hashed[i + 1]?.hash);
      assert.ok(pair > 0);
      const chosen = [...hashed.slice(pair - 31, pair + 2), ...hashed.slice(-40)];
      const image = await write("hashes", 16 * MIB, (root) => {
        for (const { name } of chosen) add(root, name, new Symlink(plain(), "x"));
      });
      await assertClean(image);
      const [dump] = await debugfs(image, ["htree_dump /"]);
      assert.match(dump!, /^Entry #2: Hash 0x[0-9a-f]*[13579bdf], block 3/m);
      const found = await statAll(
        image,
        chosen.map(({ name }) => name),
      );
      assert.ok([...found.values()].every(({ inode }) => inode > 0));
    });

    test("names of any bytes", async () => {
      const names = ["\xff\xfe", "sp ace", 'qu"ote', "n".repeat(255), "\x01"];
      const image = await write("names", 16 * MIB, (root) => {
        for (const name of names) add(root, name, new Symlink(plain(), "x"));
        const many = add(root, "many", new Directory(plain()));
        for (let i = 128; i < 1128; i++)
          add(many, `\xe4${String.fromCharCode(128 + (i % 128))}${i}`, new Symlink(plain(), "x"));
      });
      await assertClean(image);
    });

    test("a file in many pieces has a tree of extents, in which every block is at its place", async () => {
      const blocks = 1500;
      const image = await write("pieces", 128 * MIB, (root, writer) => {
        const file = add(root, "file", new RegularFile(plain()));
        const ranges = writer.allocate(2 * blocks);
        assert.equal(ranges.length, 1);
        file.extents = Array.from({ length: blocks }, (_, i) => ({
          logical: 3 * i,
          start: ranges[0]!.start + 2 * i,
          count: 1,
        }));
        writer.free(file.extents.map(({ start }) => ({ start: start + 1, count: 1 })));
        file.sizeBytes = 3 * (blocks - 1) * BLOCK_BYTES + 4;
        for (const [i, { start }] of file.extents.entries()) {
          const block = Buffer.alloc(BLOCK_BYTES);
          block.writeUInt32LE(i);
          writer.write(start * BLOCK_BYTES, block);
        }
      });
      await assertClean(image);
      await debugfs(image, [`dump /file ${at("dumped")}`]);
      const dumped = await readFile(at("dumped"));
      assert.equal(dumped.length, 3 * (blocks - 1) * BLOCK_BYTES + 4);
      for (let i = 0; i < blocks; i++) assert.equal(dumped.readUInt32LE(3 * i * BLOCK_BYTES), i);
    });

    test("a file longer than an extent, and one of a TiB that is a hole", async () => {
      const image = await write("long", 1024 * MIB, (root, writer) => {
        const file = add(root, "long", new RegularFile(plain()));
        let logical = 0;
        file.extents = writer.allocate(150_000).map((range) => {
          const extent = { logical, ...range };
          logical += range.count;
          return extent;
        });
        file.sizeBytes = 150_000 * BLOCK_BYTES;
        add(root, "hole", new RegularFile(plain())).sizeBytes = 2 ** 40;
      });
      await assertClean(image);
      const stats = await statAll(image, ["long", "hole"]);
      assert.equal(stats.get("hole")!.size, 2 ** 40);
      assert.match(stats.get("long")!.text, /\(ETB0\):/, "it needs a block of extents");
    });

    test("what was freed is given out again", async () => {
      const image = await write("reuse", 10 * MIB, (root, writer) => {
        for (let round = 0; round < 20; round++) {
          const ranges = writer.allocate(1000);
          if (round < 19) writer.free(ranges);
          else {
            const file = add(root, "file", new RegularFile(plain()));
            file.extents = ranges.map((range) => ({ logical: 0, ...range }));
            file.sizeBytes = 1000 * BLOCK_BYTES;
          }
        }
      });
      await assertClean(image);
    });

    test("a size that is not given has room for all, also where what lay first was freed", async () => {
      await withNewFile(at("chosen"), async (file) => {
        const writer = new Ext4Writer(file, at("chosen"), { limitBytes: 2 ** 36 });
        const first = writer.allocate(5_000_000);
        const root = new Directory(plain(0o755));
        const last = add(root, "last", new RegularFile(plain()));
        last.extents = writer.allocate(1).map((range) => ({ logical: 0, ...range }));
        last.sizeBytes = 5;
        writer.free(first);
        const { sizeBytes } = await writer.finish(root, { uuid: new Uint8Array(16) });
        assert.ok(sizeBytes > 5_000_000 * BLOCK_BYTES);
      });
      await assertClean(at("chosen"));
    });

    test("more than fits is refused", async () => {
      await assert.rejects(
        write("small", MIB, (_, writer) => void writer.allocate(300)),
        failsWith("too-small"),
      );
      const many = (root: Directory): void => {
        for (let i = 0; i < 40_000; i++) add(root, `f${i}`, new RegularFile(plain()));
      };
      await assert.rejects(
        write("small", 8 * MIB, many),
        (error) => failsWith("too-small")(error) || failsWith("too-many")(error),
      );
      const linked = (root: Directory): void => {
        const file = new RegularFile(plain());
        for (let i = 0; i < 65_001; i++) add(root, `f${i}`, file);
      };
      await assert.rejects(write("small", 64 * MIB, linked), failsWith("too-many"));
    });
  });

  test("a directory with more subdirectories than links can count has one", () => {
    const root = new Directory(plain());
    for (let i = 0; i < 64_998; i++) add(root, `d${i}`, new Directory(plain()));
    assert.equal(numberInodes(root).links.get(root), 65_000);
    add(root, "one more", new Directory(plain()));
    for (const { inode } of root.entries.values()) inode.number = 0;
    assert.equal(numberInodes(root).links.get(root), 1);
  });

  test("the same tree gives the same bytes", async () => {
    const digest = async (name: string): Promise<string> => {
      const image = await write(name, 8 * MIB, (root) => void add(root, "a", new Symlink(plain(), "b".repeat(100))));
      return createHash("sha256")
        .update(await readFile(image))
        .digest("hex");
    };
    assert.equal(await digest("same-1"), await digest("same-2"));
  });
});
