/* A guest that lies, and others on the host who rename, link and swap what is in the share: nothing outside of it is read, made, changed or removed. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { Descriptors } from "./descriptors.ts";
import { Errno } from "./errno.ts";
import { FUSE_ROOT_ID as ROOT, Opcode, SetAttr } from "./fuse-protocol.ts";
import { openShare, type ShareOptions } from "./share-server.ts";
import { entryOf, handleOf, TestClient, text, u32, u64 } from "./test-client.ts";

const work = fs.mkdtempSync(join(tmpdir(), "mere-attack-"));
after(() => fs.rmSync(work, { recursive: true, force: true }));
let shares = 0;

/** A share, and a directory beside it in which there is a secret. */
async function share(options: ShareOptions = {}) {
  const place = join(work, `${shares++}`);
  const [root, outside] = [join(place, "share"), join(place, "outside")];
  fs.mkdirSync(root, { recursive: true });
  fs.mkdirSync(join(outside, "sub"), { recursive: true });
  fs.writeFileSync(join(outside, "file"), "secret");
  fs.writeFileSync(join(outside, "sub", "file"), "secret");
  fs.chmodSync(join(outside, "file"), 0o640);
  const server = await openShare(root, options);
  after(() => server.close());
  const client = new TestClient(server);
  await client.init();
  const untouched = (): void => {
    assert.deepEqual(fs.readdirSync(outside).toSorted(), ["file", "sub"]);
    assert.deepEqual(fs.readdirSync(join(outside, "sub")), ["file"]);
    for (const file of ["file", "sub/file"]) assert.equal(fs.readFileSync(join(outside, file), "utf8"), "secret");
    assert.equal(fs.statSync(join(outside, "file")).mode & 0o7777, 0o640);
    assert.equal(fs.statSync(join(outside, "file")).nlink, 1);
  };
  return { root, outside, client, server, at: (name: string) => join(root, name), untouched };
}

/** Swaps a directory of the share with a link to the outside, as fast as it can. */
const SWAPPER = `
const { workerData: { directory, other, outside, stop } } = require("node:worker_threads");
const fs = require("node:fs");
while (Atomics.load(stop, 0) === 0) {
  fs.renameSync(directory, other);
  fs.symlinkSync(outside, directory);
  fs.unlinkSync(directory);
  fs.renameSync(other, directory);
  Atomics.add(stop, 1, 1);
  Atomics.notify(stop, 1);
}`;

for (const direct of [true, false]) {
  test(`a directory is swapped with a link to the outside all the time, ${direct ? "direct" : "pooled"} calls`, async () => {
    const { client, at, outside, untouched } = await share({ direct });
    fs.mkdirSync(at("dir/sub"), { recursive: true });
    fs.writeFileSync(at("dir/file"), "public");
    fs.writeFileSync(at("dir/sub/file"), "public");
    const stop = new Int32Array(new SharedArrayBuffer(8));
    const workerData = { directory: at("dir"), other: at("aside"), outside, stop };
    const worker = new Worker(SWAPPER, { eval: true, workerData });
    const ended = new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject));
    let [worked, refused] = [0, 0];
    const attempt = async (opcode: number, node: number, fields: Parameters<TestClient["call"]>[2]) => {
      const reply = await client.call(opcode, node, fields);
      if (reply.errno === 0) worked++;
      else refused++;
      return reply;
    };
    const readAll = async (node: number): Promise<void> => {
      const { errno, body } = await attempt(Opcode.OPEN, node, [u32(2), u32(0)]);
      if (errno !== 0) return;
      assert.equal((await client.read(handleOf(body), 0, 100)).toString(), "public");
      await client.release(handleOf(body));
    };
    const first = await client.lookup(ROOT, "dir");
    for (let round = 0; round < 150; round++) {
      // Let it swap on: direct calls alone would never see it.
      await Atomics.waitAsync(stop, 1, stop[1]!).value;
      const dir = await client.lookup(ROOT, "dir");
      for (const node of dir.node === 0 ? [first.node] : [dir.node, first.node]) {
        const sub = await attempt(Opcode.LOOKUP, node, [text("sub")]);
        const subNode = sub.errno === 0 ? entryOf(sub.body).node : 0;
        if (subNode !== 0) {
          const file = await attempt(Opcode.LOOKUP, subNode, [text("file")]);
          if (file.errno === 0 && entryOf(file.body).node !== 0) await readAll(entryOf(file.body).node);
        }
        const file = await attempt(Opcode.LOOKUP, node, [text("file")]);
        if (file.errno === 0 && entryOf(file.body).node !== 0) await readAll(entryOf(file.body).node);
        const made = await attempt(Opcode.CREATE, node, [u32(0o1002), u32(0o600), u32(0), u32(0), text("made")]);
        if (made.errno === 0) await client.release(handleOf(made.body, 128));
        await attempt(Opcode.MKDIR, node, [u32(0o700), u32(0), text("new")]);
        await attempt(Opcode.SYMLINK, node, [text("link"), text("x")]);
        for (const name of ["made", "link"]) await attempt(Opcode.UNLINK, node, [text(name)]);
        await attempt(Opcode.RMDIR, node, [text("new")]);
      }
    }
    Atomics.store(stop, 0, 1);
    await ended;
    assert.ok(worked > 0, `${worked} worked, ${refused} refused`);
    untouched();
  });
}

test("a file that became a link, another file or a fifo is not opened, changed or linked", async () => {
  const { client, at, outside, untouched } = await share();
  const refused = async (node: number): Promise<void> => {
    for (const reply of [
      await client.call(Opcode.OPEN, node, [u32(0), u32(0)]),
      await client.call(Opcode.OPEN, node, [u32(0o1001), u32(0)]),
      await client.setattr(node, SetAttr.MODE, { mode: 0o777 }),
      await client.setattr(node, SetAttr.SIZE, { size: 0 }),
      await client.setattr(node, SetAttr.MTIME | SetAttr.MTIME_NOW),
      await client.call(Opcode.GETATTR, node, [u32(0), u32(0), u64(0)]),
      await client.call(Opcode.LINK, ROOT, [u64(node), text("linked")]),
      await client.call(Opcode.ACCESS, node, [u32(4), u32(0)]),
    ])
      assert.equal(reply.errno, Errno.ESTALE);
    assert.ok(!fs.existsSync(at("linked")));
  };
  for (const replace of [
    () => fs.symlinkSync(join(outside, "file"), at("file")),
    () => fs.linkSync(at("other"), at("file")),
    () => fs.mkdirSync(at("file")),
    () => fs.copyFileSync(at("other"), at("file")),
  ]) {
    fs.rmSync(at("other"), { force: true });
    fs.writeFileSync(at("other"), "other");
    const node = await client.put(ROOT, "file", "first");
    // It stays on the disk, so that its inode number is not given to the next.
    fs.renameSync(at("file"), at("kept"));
    replace();
    await refused(node);
    fs.rmSync(at("file"), { recursive: true });
    fs.rmSync(at("kept"));
  }
  untouched();
});

test("links to the outside are neither followed nor made into files there", async () => {
  const { client, at, outside, untouched } = await share();
  fs.symlinkSync(outside, at("dir"));
  fs.symlinkSync(join(outside, "file"), at("file"));
  fs.symlinkSync(join(outside, "new"), at("dangling"));
  const [dir, file] = [await client.lookup(ROOT, "dir"), await client.lookup(ROOT, "file")];
  for (const opcode of [Opcode.LOOKUP, Opcode.UNLINK, Opcode.RMDIR])
    assert.equal((await client.call(opcode, dir.node, [text("sub")])).errno, Errno.ENOTDIR);
  assert.equal((await client.create(dir.node, "new")).errno, Errno.ENOTDIR);
  assert.equal((await client.mkdir(dir.node, "new")).errno, Errno.ENOTDIR);
  assert.equal((await client.rename(dir.node, "file", ROOT, "stolen")).errno, Errno.ENOTDIR);
  assert.equal((await client.call(Opcode.OPENDIR, dir.node, [u32(0), u32(0)])).errno, Errno.ENOTDIR);
  assert.equal((await client.call(Opcode.OPEN, file.node, [u32(2), u32(0)])).errno, Errno.ELOOP);
  assert.equal((await client.setattr(file.node, SetAttr.SIZE, { size: 0 })).errno, Errno.EINVAL);
  assert.equal((await client.setattr(file.node, SetAttr.MODE, { mode: 0o777 })).errno, Errno.EOPNOTSUPP);
  assert.equal((await client.setattr(file.node, SetAttr.MTIME, { mtime: [1, 0] })).errno, 0);
  assert.equal(fs.lstatSync(at("file")).mtimeMs, 1000);
  for (const name of ["dangling", "file"]) assert.equal((await client.create(ROOT, name, 0o1002)).errno, Errno.EEXIST);
  // A link is a file of its own: linked, renamed and removed as such.
  assert.equal((await client.call(Opcode.LINK, ROOT, [u64(file.node), text("second")])).errno, 0);
  assert.ok(fs.lstatSync(at("second")).isSymbolicLink());
  for (const name of ["dir", "file", "dangling", "second"]) await client.ok(Opcode.UNLINK, ROOT, [text(name)]);
  untouched();
});

test("a directory that was moved out of the share is out of reach within about a second", async () => {
  const { client, at, outside } = await share();
  fs.mkdirSync(at("a/b/c"), { recursive: true });
  fs.writeFileSync(at("a/b/c/file"), "x");
  const { node } = await client.walk("a/b/c");
  const file = await client.lookup(node, "file");
  fs.renameSync(at("a"), join(outside, "moved"));
  let reply;
  do reply = await client.call(Opcode.LOOKUP, node, [text("file")]);
  while (reply.errno === 0);
  assert.equal(reply.errno, Errno.ESTALE);
  assert.equal((await client.call(Opcode.OPEN, file.node, [u32(0), u32(0)])).errno, Errno.ESTALE);
  assert.equal((await client.create(node, "new")).errno, Errno.ESTALE);
  fs.renameSync(join(outside, "moved"), at("a"));
  assert.equal(await client.content(file.node), "x");
});

test("directories that swap places on the host make no circle", async () => {
  const { client, server, at } = await share();
  fs.mkdirSync(at("a/b"), { recursive: true });
  const [a, b] = [await client.lookup(ROOT, "a"), await client.walk("a/b")];
  fs.renameSync(at("a/b"), at("b"));
  fs.renameSync(at("a"), at("b/a"));
  assert.equal((await client.lookup(ROOT, "b")).node, b.node);
  assert.equal((await client.lookup(b.node, "a")).node, a.node);
  assert.equal((await client.lookup(a.node, "x")).node, 0);
  fs.renameSync(at("b/a"), at("a"));
  fs.renameSync(at("b"), at("a/b"));
  // b is seen below a before a is seen anywhere else.
  const [newA, newB] = [await client.lookup(ROOT, "a"), await client.walk("a/b")];
  assert.deepEqual([newA.node, newB.node], [a.node, b.node]);
  for (const { node } of [a, b]) await client.forget(node, 100);
  assert.equal(server.knownNodes, 1);
});

test("names that are none, and nodes that are none", async () => {
  const { client, server, untouched } = await share();
  const other = await share();
  const dir = entryOf((await client.mkdir(ROOT, "dir")).body);
  const foreign = entryOf((await other.client.mkdir(ROOT, "one")).body);
  await other.client.mkdir(foreign.node, "two");
  const foreignNode = (await other.client.lookup(foreign.node, "two")).node;
  for (const name of ["", ".", "..", "../outside", "/", "/etc", "dir/x", "dir/../../outside", "x".repeat(256)]) {
    const errno = name.length > 255 ? Errno.ENAMETOOLONG : Errno.EINVAL;
    for (const opcode of [Opcode.LOOKUP, Opcode.UNLINK, Opcode.RMDIR])
      assert.equal((await client.call(opcode, dir.node, [text(name)])).errno, errno, name);
    assert.equal((await client.mkdir(dir.node, name)).errno, errno);
    assert.equal((await client.create(dir.node, name)).errno, errno);
    assert.equal((await client.rename(ROOT, "dir", ROOT, name)).errno, errno);
    assert.equal((await client.rename(dir.node, name, ROOT, "x")).errno, errno);
    assert.equal((await client.call(Opcode.SYMLINK, ROOT, [text(name), text("x")])).errno, errno);
    assert.equal((await client.call(Opcode.LINK, ROOT, [u64(dir.node), text(name)])).errno, errno);
  }
  // A NUL ends a name; one that has no end is none.
  assert.equal((await client.call(Opcode.LOOKUP, ROOT, [Buffer.from("dir")])).errno, Errno.EINVAL);
  assert.equal(entryOf(await client.ok(Opcode.LOOKUP, ROOT, [text("dir\0/../..")])).node, dir.node);
  assert.equal(
    (await client.call(Opcode.SYMLINK, ROOT, [text("l"), text("y".repeat(5000))])).errno,
    Errno.ENAMETOOLONG,
  );
  for (const bad of [0n, 12345n, BigInt(foreignNode) + 100n, 2n ** 53n + 2n, 2n ** 64n - 1n]) {
    assert.equal((await client.call(Opcode.GETATTR, bad, [u32(0), u32(0), u64(0)])).errno, Errno.ESTALE);
    assert.equal((await client.call(Opcode.LOOKUP, bad, [text("x")])).errno, Errno.ESTALE);
    const rename = [u64(bad), text("dir"), text("moved")];
    assert.equal((await client.call(Opcode.RENAME, ROOT, rename)).errno, Errno.ESTALE);
    assert.equal(await server.handle([TestClient.message(Opcode.FORGET, bad, [u64(2n ** 64n - 1n)])], []), 0);
  }
  assert.equal((await client.getattr(dir.node)).nlink, 2);
  untouched();
});

test("messages that lie about their length, are cut off, or ask for too much", async () => {
  const { client, server } = await share();
  const node = await client.put(ROOT, "file", "x".repeat(100));
  const reply = (): Uint8Array[] => [new Uint8Array(4096)];
  const whole = TestClient.message(Opcode.GETATTR, node, [u32(0), u32(0), u64(0)]);
  for (const length of [0, 39, whole.length - 1, whole.length + 1, 2 ** 32 - 1])
    assert.equal(
      await server.handle([TestClient.message(Opcode.GETATTR, node, [u64(0), u64(0)], 1n, length)], reply()),
      0,
    );
  for (let cut = 0; cut < 40; cut++) assert.equal(await server.handle([whole.subarray(0, cut)], reply()), 0);
  assert.equal(await server.handle([], reply()), 0);
  assert.equal(await server.handle([whole], [new Uint8Array(15)]), 0);
  // No room for the attributes.
  const small = Buffer.alloc(20);
  assert.equal(await server.handle([whole], [small]), 16);
  assert.equal(small.readInt32LE(4), -Errno.ERANGE);
  // Every operation with nothing, and with too little, after its header.
  for (let opcode = 0; opcode < 64; opcode++) {
    if (opcode === Opcode.FORGET || opcode === Opcode.BATCH_FORGET || opcode === Opcode.INTERRUPT) continue;
    for (const bytes of [0, 4, 7, 15]) {
      const { errno } = await client.call(opcode, node, [new Uint8Array(bytes).fill(0xff)]);
      const harmless = [Opcode.GETATTR, Opcode.STATFS, Opcode.OPENDIR, Opcode.OPEN, Opcode.DESTROY] as number[];
      assert.ok(errno > 0 || harmless.includes(opcode), `${opcode}: ${errno}`);
    }
  }
  await client.init();
  const same = (await client.lookup(ROOT, "file")).node;
  const again = await client.open(same, 2);
  assert.equal(await client.write(again, 0, Buffer.alloc(100)), 100);
  const io = (h: number, offset: number | bigint, size: number) =>
    [u64(h), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0)] as const;
  assert.equal((await client.call(Opcode.WRITE, same, [...io(again, 0, 1000), Buffer.alloc(999)])).errno, Errno.EINVAL);
  assert.equal(
    (await client.call(Opcode.WRITE, same, [...io(again, 2n ** 60n, 4), Buffer.alloc(4)])).errno,
    Errno.EINVAL,
  );
  assert.equal((await client.call(Opcode.WRITE, same, [...io(again, 2 ** 52, 4), Buffer.alloc(4)])).errno, Errno.EFBIG);
  assert.equal((await client.call(Opcode.READ, same, io(again, 2n ** 64n - 1n, 4))).errno, Errno.EINVAL);
  assert.equal((await client.read(again, 50, 2 ** 32 - 1)).length, 50);
  assert.equal((await client.read(again, 0, 0)).length, 0);
  const { errno } = await client.setattr(same, SetAttr.SIZE, { size: 2 ** 53 });
  assert.equal(errno, Errno.EFBIG);
});

test("descriptors and nodes are bounded, however much the guest walks and opens", async () => {
  const descriptors = new Descriptors(64);
  const { client, at } = await share({ descriptors });
  const open = (): number => fs.readdirSync("/proc/self/fd").length;
  let path = at("");
  for (let depth = 0; depth < 60; depth++) fs.mkdirSync((path = join(path, "d")));
  for (let i = 0; i < 200; i++) {
    fs.mkdirSync(at(`dir-${i}`));
    fs.writeFileSync(at(`dir-${i}/file`), `${i}`);
  }
  const before = open();
  let deep = await client.lookup(ROOT, "d");
  for (let depth = 1; depth < 60; depth++) deep = await client.lookup(deep.node, "d");
  const files: number[] = [];
  for (let i = 0; i < 200; i++) files.push((await client.walk(`dir-${i}/file`)).node);
  assert.ok(descriptors.directories <= 8, `${descriptors.directories}`);
  for (const [i, node] of files.entries()) assert.equal(await client.content(node), `${i}`);
  assert.equal((await client.lookup(deep.node, "d")).node, 0);
  const handles: number[] = [];
  let errno = 0;
  for (const node of files) {
    const reply = await client.call(Opcode.OPEN, node, [u32(0), u32(0)]);
    if ((errno = reply.errno) !== 0) break;
    handles.push(handleOf(reply.body));
  }
  assert.equal(errno, Errno.ENFILE);
  assert.equal(handles.length, 32);
  assert.ok(open() <= before + 64);
  for (const handle of handles) await client.release(handle);
  assert.equal(descriptors.files, 0);
  assert.equal((await client.create(ROOT, "again")).errno, 0);
});
