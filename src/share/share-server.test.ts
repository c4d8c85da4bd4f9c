import assert from "node:assert/strict";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Errno } from "./errno.ts";
import { FOPEN_KEEP_CACHE, FUSE_ROOT_ID as ROOT, InitFlag, Opcode, SetAttr } from "./fuse-protocol.ts";
import { ShareError } from "./share-error.ts";
import { openShare, type ShareOptions } from "./share-server.ts";
import { entryOf, handleOf, TestClient, text, u32, u64 } from "./test-client.ts";

const work = fs.mkdtempSync(join(tmpdir(), "mere-share-"));
after(() => fs.rmSync(work, { recursive: true, force: true }));
let shares = 0;

/** An empty shared directory and a client that has said INIT. */
async function share(options: ShareOptions = {}, prepare: (root: string) => void = () => {}) {
  const root = join(work, `share-${shares++}`);
  fs.mkdirSync(root);
  prepare(root);
  const server = await openShare(root, options);
  after(() => server.close());
  const client = new TestClient(server);
  await client.init();
  return { root, server, client, at: (name: string) => join(root, name) };
}

test("INIT: what is used, and what is not", async () => {
  const { client } = await share();
  const out = await client.init();
  assert.deepEqual([out.readUInt32LE(0), out.readUInt32LE(4)], [7, 36]);
  assert.equal(out.readUInt32LE(20), 1 << 20);
  assert.equal(out.readUInt16LE(28), 256);
  assert.ok((out.readInt32LE(12) & InitFlag.AUTO_INVAL_DATA) !== 0);
  const none = await client.ok(Opcode.INIT, 0, [u32(7), u32(38), u32(4096), u32(0)]);
  assert.equal(none.readInt32LE(12), 0);
  assert.equal((await client.ok(Opcode.INIT, 0, [u32(8), u32(0), u32(0), u32(0)])).readUInt32LE(0), 7);
  assert.equal((await client.call(Opcode.INIT, 0, [u32(7), u32(8), u32(0), u32(0)])).errno, Errno.EINVAL);
});

// The same with direct calls and on the thread pool.
for (const direct of [true, false]) {
  describe(direct ? "with direct calls" : "on the thread pool", () => {
    test("files: made, written, read, cut, removed", async () => {
      const { client, at } = await share({ direct });
      const made = await client.create(ROOT, "file", 0o1002, 0o640);
      const entry = entryOf(made.body);
      const handle = handleOf(made.body, 128);
      assert.equal(entry.mode, 0o100640);
      const data = Buffer.from(Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251));
      assert.equal(await client.write(handle, 0, data), data.length);
      assert.equal(await client.write(handle, 1000, Buffer.from("middle")), 6);
      data.write("middle", 1000);
      assert.deepEqual(fs.readFileSync(at("file")), data);
      assert.deepEqual(await client.read(handle, 0, 250_000), data);
      assert.deepEqual(await client.read(handle, 199_990, 100), data.subarray(199_990));
      assert.equal((await client.read(handle, 300_000, 100)).length, 0);
      assert.equal((await client.read(handle, 0, 1 << 20, 116)).length, 100);
      const cut = await client.setattr(entry.node, SetAttr.SIZE | SetAttr.FH, { size: 5, fh: handle });
      assert.equal(cut.errno, 0);
      assert.equal((await client.getattr(entry.node)).size, 5);
      await client.ok(Opcode.FSYNC, entry.node, [u64(handle), u32(0), u32(0)]);
      await client.release(handle);
      assert.equal((await client.setattr(entry.node, SetAttr.SIZE, { size: 9 })).errno, 0);
      assert.equal(fs.statSync(at("file")).size, 9);
      await client.ok(Opcode.UNLINK, ROOT, [text("file")]);
      assert.ok(!fs.existsSync(at("file")));
      assert.equal((await client.lookup(ROOT, "file")).node, 0);
      assert.equal((await client.call(Opcode.UNLINK, ROOT, [text("file")])).errno, Errno.ENOENT);
    });

    test("directories: made, listed in pieces, moved with all that is in them, removed", async () => {
      const { client, at } = await share({ direct });
      const a = entryOf((await client.mkdir(ROOT, "a", 0o1777)).body);
      assert.equal(a.mode, 0o41777);
      const b = entryOf((await client.mkdir(a.node, "b")).body);
      const names = Array.from({ length: 300 }, (_, i) => `file-${i}`);
      for (const name of names) fs.writeFileSync(at(`a/b/${name}`), name);
      for (const plus of [false, true]) {
        const listed = await client.list(b.node, { plus, size: 700 });
        assert.deepEqual(
          listed.slice(0, 2).map(({ name, type }) => [name, type]),
          [
            [".", 4],
            ["..", 4],
          ],
        ); // prettier
        assert.deepEqual(
          listed
            .slice(2)
            .map(({ name, type }) => `${name} ${type}`)
            .toSorted(),
          names.map((name) => `${name} 8`).toSorted(),
        );
        if (plus) assert.equal(await client.content(listed[2]!.node), listed[2]!.name);
      }
      assert.equal((await client.call(Opcode.RMDIR, a.node, [text("b")])).errno, 39); // ENOTEMPTY
      const file = await client.lookup(b.node, "file-7");
      assert.equal((await client.rename(ROOT, "a", ROOT, "z")).errno, 0);
      assert.equal((await client.rename(a.node, "b", ROOT, "y")).errno, 0);
      assert.equal(await client.content(file.node), "file-7");
      assert.equal((await client.getattr(b.node)).ino, b.ino);
      for (const name of names) await client.ok(Opcode.UNLINK, b.node, [text(name)]);
      await client.ok(Opcode.RMDIR, ROOT, [text("y")]);
      assert.deepEqual(fs.readdirSync(at("")), ["z"]);
    });

    test("links, symbolic links, names of any bytes", async () => {
      const { client, at } = await share({ direct });
      const file = await client.put(ROOT, "na\xefve \xff\x01", "content");
      assert.deepEqual(fs.readdirSync(at(""), { encoding: "latin1" }), ["na\xefve \xff\x01"]);
      const second = entryOf(await client.ok(Opcode.LINK, ROOT, [u64(file), text("second")]));
      assert.deepEqual([second.node, second.nlink], [file, 2]);
      await client.ok(Opcode.UNLINK, ROOT, [text("na\xefve \xff\x01")]);
      assert.equal(await client.content(file), "content");
      const link = entryOf(await client.ok(Opcode.SYMLINK, ROOT, [text("link"), text("/etc/../\xfe/x")]));
      assert.equal(link.mode & 0o170000, 0o120000);
      assert.equal((await client.ok(Opcode.READLINK, link.node)).toString("latin1"), "/etc/../\xfe/x");
      assert.equal((await client.call(Opcode.OPEN, link.node, [u32(0), u32(0)])).errno, Errno.ELOOP);
      assert.equal((await client.call(Opcode.LOOKUP, link.node, [text("x")])).errno, Errno.ENOTDIR);
      assert.equal((await client.call(Opcode.READLINK, file)).errno, Errno.EINVAL);
    });

    test("attributes: modes, times, owners", async () => {
      const { client, at } = await share({ direct, owner: { uid: 1000, gid: 1001 } });
      const file = await client.put(ROOT, "file", "x");
      assert.equal((await client.setattr(file, SetAttr.MODE, { mode: 0o1604 })).errno, 0);
      assert.equal(fs.statSync(at("file")).mode & 0o7777, 0o1604);
      assert.equal((await client.setattr(file, SetAttr.MODE, { mode: 0o4755 })).errno, Errno.EPERM);
      const times = { atime: [1e9, 5], mtime: [1_700_000_000, 123_456_789] };
      assert.equal((await client.setattr(file, SetAttr.ATIME | SetAttr.MTIME, times)).errno, 0);
      const { mtimeNs } = await client.getattr(file);
      const off = mtimeNs - 1_700_000_000_123_456_789n;
      assert.ok(direct ? off === 0n : off < 2000n && off > -2000n, `${off}`);
      assert.equal(fs.statSync(at("file")).atimeMs, 1e12);
      assert.equal((await client.setattr(file, SetAttr.MTIME | SetAttr.MTIME_NOW)).errno, 0);
      assert.equal(fs.statSync(at("file")).atimeMs, 1e12);
      assert.ok(fs.statSync(at("file")).mtimeMs > Date.now() - 60_000);
      const { uid, gid } = await client.getattr(file);
      assert.deepEqual([uid, gid], [1000, 1001]);
      assert.equal((await client.setattr(file, SetAttr.UID | SetAttr.GID, { uid: 1000, gid: 1001 })).errno, 0);
      assert.equal((await client.setattr(file, SetAttr.UID, { uid: 0 })).errno, Errno.EPERM);
      assert.equal((await client.setattr(file, SetAttr.GID, { gid: 5 })).errno, Errno.EPERM);
      await client.ok(Opcode.ACCESS, file, [u32(4), u32(0)]);
    });

    test("a file that was removed while it is open goes on", async () => {
      const { client, at } = await share({ direct });
      const node = await client.put(ROOT, "file", "old");
      const handle = await client.open(node, 2);
      await client.ok(Opcode.UNLINK, ROOT, [text("file")]);
      fs.writeFileSync(at("file"), "another");
      assert.equal(await client.write(handle, 0, Buffer.from("new")), 3);
      assert.equal((await client.read(handle, 0, 100)).toString(), "new");
      const { nlink, size } = await client.getattr(node);
      assert.deepEqual([nlink, size], [0, 3]);
      assert.equal(await client.content(node), "new");
      assert.equal((await client.setattr(node, SetAttr.MODE, { mode: 0o600 })).errno, 0);
      await client.release(handle);
      assert.equal((await client.call(Opcode.GETATTR, node, [u32(0), u32(0), u64(0)])).errno, Errno.ESTALE);
      assert.equal(fs.readFileSync(at("file"), "utf8"), "another");
    });

    test("copies inside the share", async () => {
      const { client, at } = await share({ direct });
      const data = Buffer.alloc(3_000_000, "0123456789abcdef!");
      fs.writeFileSync(at("from"), data);
      const to = await client.put(ROOT, "to", "head");
      const from = await client.open((await client.lookup(ROOT, "from")).node);
      const target = await client.open(to, 1);
      const fields = (length: number) => [u64(from), u64(5), u64(to), u64(target), u64(4), u64(length), u64(0)];
      assert.equal((await client.ok(Opcode.COPY_FILE_RANGE, 1, fields(2_500_000))).readUInt32LE(0), 2_500_000);
      assert.equal((await client.ok(Opcode.COPY_FILE_RANGE, 1, fields(1e12))).readUInt32LE(0), data.length - 5);
      assert.deepEqual(fs.readFileSync(at("to")), Buffer.concat([Buffer.from("head"), data.subarray(5)]));
    });

    test("without its handle nothing is known of a file: every handle is checked", async () => {
      const { client } = await share({ direct });
      const node = await client.put(ROOT, "file", "x");
      const directory = handleOf(await client.ok(Opcode.OPENDIR, ROOT, [u32(0), u32(0)]));
      const read = (handle: number | bigint) => [u64(handle), u64(0), u32(10), u32(0), u64(0), u32(0), u32(0)];
      for (const bad of [0, 999, directory, 2n ** 64n - 1n])
        assert.equal((await client.call(Opcode.READ, node, read(bad))).errno, Errno.EBADF);
      const file = await client.open(node);
      assert.equal((await client.call(Opcode.READDIR, ROOT, read(file))).errno, Errno.EBADF);
      await client.release(file);
      assert.equal((await client.call(Opcode.READ, node, read(file))).errno, Errno.EBADF);
      assert.equal((await client.call(Opcode.RELEASE, node, [u64(file), u32(0), u32(0), u64(0)])).errno, Errno.EBADF);
    });
  });
}

test("renames that must not replace, and that exchange", async () => {
  const { client, at } = await share();
  const a = await client.put(ROOT, "a", "A");
  const b = await client.put(ROOT, "b", "B");
  assert.equal((await client.rename(ROOT, "a", ROOT, "b", 1)).errno, Errno.EEXIST);
  assert.equal((await client.rename(ROOT, "a", ROOT, "b", 2)).errno, 0);
  assert.deepEqual([fs.readFileSync(at("a"), "utf8"), fs.readFileSync(at("b"), "utf8")], ["B", "A"]);
  assert.deepEqual([await client.content(a), await client.content(b)], ["A", "B"]);
  assert.equal((await client.rename(ROOT, "a", ROOT, "b", 4)).errno, Errno.EINVAL);
});

test("pages stay cached from one opening to the next only if the file is as it was, and was settled", async () => {
  const { client, at } = await share();
  const { node } = await client.lookup(ROOT, (fs.writeFileSync(at("file"), "one"), "file"));
  const opens = async (flags = 0): Promise<number> => {
    const body = await client.ok(Opcode.OPEN, node, [u32(flags), u32(0)]);
    await client.release(handleOf(body));
    return body.readUInt32LE(8) & FOPEN_KEEP_CACHE;
  };
  // Just written: another change might have the same time.
  assert.deepEqual([await opens(), await opens()], [0, 0]);
  // The time of the last change is the host's to give: wait until it is long enough ago.
  while (Date.now() - fs.statSync(at("file")).ctimeMs < 1100) await setTimeout(50);
  assert.deepEqual([await opens(), await opens(), await opens()], [0, FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE]);
  fs.writeFileSync(at("file"), "two");
  assert.deepEqual([await opens(), await opens()], [0, 0]);
});

test("fifos and sockets can be made and are not opened; devices cannot be made", async () => {
  const { client, at } = await share();
  const mknod = (name: string, mode: number) =>
    client.call(Opcode.MKNOD, ROOT, [u32(mode), u32(0x103), u32(0), u32(0), text(name)]);
  const fifo = entryOf((await mknod("fifo", 0o010640)).body);
  assert.ok(fs.lstatSync(at("fifo")).isFIFO());
  assert.equal(fifo.mode, 0o010640);
  assert.equal(entryOf((await mknod("socket", 0o140600)).body).mode, 0o140600);
  assert.equal(entryOf((await mknod("plain", 0o100600)).body).mode, 0o100600);
  assert.equal((await mknod("device", 0o020600)).errno, Errno.EPERM);
  assert.equal((await mknod("disk", 0o060600)).errno, Errno.EPERM);
  assert.equal((await client.call(Opcode.OPEN, fifo.node, [u32(0), u32(0)])).errno, Errno.ENXIO);
  // An open that would wait for a writer, were it made.
  assert.equal((await client.create(ROOT, "fifo", 0)).errno, Errno.EEXIST);
  assert.equal((await client.setattr(fifo.node, SetAttr.SIZE, { size: 0 })).errno, Errno.EINVAL);
});

test("space is reserved and given back", async () => {
  const { client, at } = await share();
  const node = await client.put(ROOT, "file", Buffer.alloc(16384, 7));
  const handle = await client.open(node, 2);
  const fallocate = (mode: number, offset: number, length: number) =>
    client.call(Opcode.FALLOCATE, node, [u64(handle), u64(offset), u64(length), u32(mode), u32(0)]);
  assert.equal((await fallocate(0, 0, 65536)).errno, 0);
  assert.equal(fs.statSync(at("file")).size, 65536);
  assert.equal((await fallocate(3, 4096, 4096)).errno, 0);
  const content = fs.readFileSync(at("file"));
  assert.deepEqual([content[4095], content[4096], content[8191], content[8192]], [7, 0, 0, 7]);
  assert.equal((await fallocate(8, 0, 4096)).errno, Errno.EOPNOTSUPP);
  assert.ok((await client.ok(Opcode.STATFS, ROOT)).readBigUInt64LE(0) > 0n);
});

test("read-only: everything that changes something is refused", async () => {
  const { client, at } = await share({ readOnly: true }, (root) => fs.writeFileSync(join(root, "file"), "x"));
  const { node } = await client.lookup(ROOT, "file");
  assert.equal(await client.content(node), "x");
  const refused = [
    await client.create(ROOT, "new"),
    await client.create(ROOT, "file", 0),
    await client.mkdir(ROOT, "new"),
    await client.rename(ROOT, "file", ROOT, "new"),
    await client.call(Opcode.UNLINK, ROOT, [text("file")]),
    await client.call(Opcode.RMDIR, ROOT, [text("file")]),
    await client.call(Opcode.SYMLINK, ROOT, [text("new"), text("x")]),
    await client.call(Opcode.LINK, ROOT, [u64(node), text("new")]),
    await client.call(Opcode.MKNOD, ROOT, [u32(0o100644), u32(0), u32(0), u32(0), text("new")]),
    await client.setattr(node, SetAttr.SIZE, { size: 0 }),
    await client.setattr(node, SetAttr.MODE, { mode: 0o777 }),
    await client.call(Opcode.OPEN, node, [u32(1), u32(0)]),
    await client.call(Opcode.OPEN, node, [u32(2), u32(0)]),
    await client.call(Opcode.OPEN, node, [u32(0o1000), u32(0)]),
    await client.call(Opcode.WRITE, node, [u64(1), u64(0), u32(1), u32(0), u64(0), u32(0), u32(0), text("")]),
    await client.call(Opcode.ACCESS, node, [u32(2), u32(0)]),
  ];
  assert.deepEqual(
    refused.map(({ errno }) => errno),
    refused.map(() => Errno.EROFS),
  );
  assert.deepEqual(fs.readdirSync(at("")), ["file"]);
  assert.equal(fs.readFileSync(at("file"), "utf8"), "x");
});

test("a directory that cannot be shared is refused with a sentence", async () => {
  const { at } = await share({}, (root) => fs.writeFileSync(join(root, "file"), "x"));
  const refused = async (path: string, code: string, words: RegExp): Promise<void> => {
    await assert.rejects(openShare(path), (error: unknown) => {
      assert.ok(error instanceof ShareError);
      assert.equal(error.code, code);
      assert.match(error.message, words);
      return true;
    });
  };
  await refused(at("none"), "missing", /does not exist: check the path, or make the directory first\.$/);
  await refused(at("file"), "not-a-directory", /is not a directory: share the directory that it is in\.$/);
});

test("what the guest holds is given back: by FORGET, by another INIT, by close()", async () => {
  const { client, server, at } = await share();
  fs.mkdirSync(at("a/b"), { recursive: true });
  fs.writeFileSync(at("a/b/c"), "x");
  assert.equal(server.knownNodes, 1);
  const c = await client.walk("a/b/c");
  assert.equal(server.knownNodes, 4);
  const [a, b] = [await client.walk("a"), await client.walk("a/b")];
  await client.forget(b.node, 100);
  await client.forget(a.node, 100);
  // They are the way to c.
  assert.equal(await client.content(c.node), "x");
  assert.equal(server.knownNodes, 4);
  const batch = [u32(2), u32(0), u64(c.node), u64(1), u64(12345), u64(1)];
  assert.equal(await server.handle([TestClient.message(Opcode.BATCH_FORGET, 0, batch)], []), 0);
  assert.equal(server.knownNodes, 1);
  assert.equal((await client.call(Opcode.GETATTR, c.node, [u32(0), u32(0), u64(0)])).errno, Errno.ESTALE);
  const handle = await client.open((await client.walk("a/b/c")).node);
  await client.init();
  assert.equal(server.knownNodes, 1);
  const read = [u64(handle), u64(0), u32(10), u32(0), u64(0), u32(0), u32(0)];
  assert.equal((await client.call(Opcode.READ, 1, read)).errno, Errno.EBADF);
  const pathsOfRoot = (): number =>
    fs.readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(at(""));
      } catch {
        return false;
      }
    }).length;
  await client.open((await client.walk("a/b/c")).node);
  assert.ok(pathsOfRoot() >= 2);
  await server.close();
  assert.equal(pathsOfRoot(), 0);
});
