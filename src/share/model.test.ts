/* Random requests, and the same calls of node:fs on a directory beside the share: both end with the same tree, and agree on which of them fail. */
import assert from "node:assert/strict";
import fc from "fast-check";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FUSE_ROOT_ID as ROOT, Opcode, SetAttr } from "./fuse-protocol.ts";
import { openShare } from "./share-server.ts";
import { entryOf, handleOf, TestClient, text, u32, u64 } from "./test-client.ts";

const work = fs.mkdtempSync(join(tmpdir(), "mere-model-"));
after(() => fs.rmSync(work, { recursive: true, force: true }));
let runs = 0;

const path = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const operation = fc.oneof(
  fc.record({ kind: fc.constantFrom("mkdir", "rmdir", "unlink", "create", "symlink", "list", "readlink"), path }),
  fc.record({ kind: fc.constantFrom("rename", "link"), path, to: path }),
  fc.record({ kind: fc.constantFrom("write"), path, content: fc.string({ maxLength: 20, unit: "binary-ascii" }) }),
  fc.record({ kind: fc.constantFrom("truncate"), path, size: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ kind: fc.constantFrom("chmod"), path, mode: fc.integer({ min: 0, max: 0o777 }) }),
);
type Step = { kind: string; path: string; to?: string; content?: string; size?: number; mode?: number };

class Failed extends Error {}

/** What the kernel of a guest would ask for. Links of the test point nowhere, so nothing is behind them. */
class Guest {
  readonly #client: TestClient;
  constructor(client: TestClient) {
    this.#client = client;
  }
  async #node(names: readonly string[]): Promise<number> {
    let node: number = ROOT;
    for (const name of names) {
      const { errno, body } = await this.#client.call(Opcode.LOOKUP, node, [text(name)]);
      node = errno === 0 ? entryOf(body).node : 0;
      if (node === 0) throw new Failed();
    }
    return node;
  }
  async #place(at: string): Promise<[parent: number, name: string]> {
    const names = at.split("/");
    return [await this.#node(names.slice(0, -1)), names.at(-1)!];
  }
  async do(step: Step): Promise<string> {
    const client = this.#client;
    const must = async (reply: Promise<{ errno: number; body: Buffer }>): Promise<Buffer> => {
      const { errno, body } = await reply;
      if (errno !== 0) throw new Failed();
      return body;
    };
    const [parent, name] = await this.#place(step.path);
    const node = (): Promise<number> => this.#node(step.path.split("/"));
    switch (step.kind) {
      case "mkdir":
        await must(client.mkdir(parent, name));
        return "";
      case "rmdir":
        await must(client.call(Opcode.RMDIR, parent, [text(name)]));
        return "";
      case "unlink":
        await must(client.call(Opcode.UNLINK, parent, [text(name)]));
        return "";
      case "create":
        await client.release(handleOf(await must(client.create(parent, name, 0o202)), 128));
        return "";
      case "symlink":
        await must(client.call(Opcode.SYMLINK, parent, [text(name), text("nowhere/at/all")]));
        return "";
      case "readlink":
        return (await must(client.call(Opcode.READLINK, await node()))).toString();
      case "list":
        await must(client.call(Opcode.OPENDIR, await node(), [u32(0), u32(0)]));
        return (await client.list(await node(), { size: 300 }))
          .map((entry) => entry.name)
          .toSorted()
          .join();
      case "rename": {
        const [to, newName] = await this.#place(step.to!);
        await must(client.rename(parent, name, to, newName));
        return "";
      }
      case "link": {
        const [to, newName] = await this.#place(step.to!);
        await must(client.call(Opcode.LINK, to, [u64(await node()), text(newName)]));
        return "";
      }
      case "write": {
        const handle = handleOf(await must(client.call(Opcode.OPEN, await node(), [u32(0o1001), u32(0)])));
        await client.write(handle, 0, Buffer.from(step.content!, "latin1"));
        await client.release(handle);
        return "";
      }
      case "truncate":
        await must(client.setattr(await node(), SetAttr.SIZE, { size: step.size! }));
        return "";
      default:
        await must(client.setattr(await node(), SetAttr.MODE, { mode: step.mode! }));
        return "";
    }
  }
}

function doOnHost(root: string, step: Step): string {
  const at = join(root, step.path);
  switch (step.kind) {
    case "mkdir":
      fs.mkdirSync(at, 0o755);
      return "";
    case "rmdir":
      fs.rmdirSync(at);
      return "";
    case "unlink":
      fs.unlinkSync(at);
      return "";
    case "create":
      fs.closeSync(fs.openSync(at, "wx"));
      return "";
    case "symlink":
      fs.symlinkSync("nowhere/at/all", at);
      return "";
    case "readlink":
      return fs.readlinkSync(at);
    case "list":
      return [".", "..", ...fs.readdirSync(at)].toSorted().join();
    case "rename":
      fs.renameSync(at, join(root, step.to!));
      return "";
    case "link":
      fs.linkSync(at, join(root, step.to!));
      return "";
    case "write": {
      const fd = fs.openSync(at, fs.constants.O_WRONLY | fs.constants.O_TRUNC);
      fs.writeSync(fd, step.content!, 0, "latin1");
      fs.closeSync(fd);
      return "";
    }
    case "truncate":
      fs.truncateSync(at, step.size!);
      return "";
    default:
      fs.chmodSync(at, step.mode!);
      return "";
  }
}

/** Names, types, modes, sizes, numbers of links, contents. */
function tree(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      const stat = fs.lstatSync(join(root, name));
      const content = stat.isFile() ? fs.readFileSync(join(root, name), "latin1") : "";
      return `${name} ${stat.mode.toString(8)} ${stat.nlink} ${stat.isDirectory() ? "" : stat.size} ${content}`;
    });
}

test("random operations do what they do on the host", async () => {
  const property = fc.asyncProperty(fc.array(operation, { maxLength: 40 }), fc.boolean(), async (steps, direct) => {
    const [shared, model] = ["shared", "model"].map((name) => join(work, `${name}-${runs}`)) as [string, string];
    runs++;
    for (const root of [shared, model]) fs.mkdirSync(root);
    const server = await openShare(shared, { direct });
    const client = new TestClient(server);
    await client.init();
    const guest = new Guest(client);
    for (const step of steps as Step[]) {
      let expected: string | undefined;
      try {
        expected = doOnHost(model, step);
      } catch {
        expected = undefined;
      }
      const got = await guest.do(step).catch((error: unknown) => {
        if (error instanceof Failed) return undefined;
        throw error;
      });
      assert.equal(got, expected, JSON.stringify(step));
    }
    assert.deepEqual(tree(shared), tree(model));
    await server.close();
    for (const root of [shared, model]) fs.rmSync(root, { recursive: true });
  });
  await fc.assert(property, { numRuns: 120 });
});

test("random reads, writes, cuts and holes of one file give what they give in memory", async () => {
  const [offset, length] = [fc.integer({ min: 0, max: 300_000 }), fc.integer({ min: 0, max: 150_000 })];
  const io = fc.oneof(
    fc.record({ kind: fc.constantFrom("read", "write", "hole", "copy"), offset, length, to: offset }),
    fc.record({ kind: fc.constantFrom("cut", "reopen"), offset, length, to: offset }),
  );
  const root = fs.mkdtempSync(join(work, "io-"));
  const server = await openShare(root);
  after(() => server.close());
  const client = new TestClient(server);
  await client.init();
  let files = 0;
  const property = fc.asyncProperty(fc.array(io, { maxLength: 30 }), async (steps) => {
    const node = await client.put(ROOT, `file-${files}`, "");
    let handle = await client.open(node, 2);
    let model = Buffer.alloc(0);
    const grow = (size: number): void => {
      if (size > model.length) model = Buffer.concat([model, Buffer.alloc(size - model.length)]);
    };
    for (const [i, step] of steps.entries()) {
      if (step.kind === "write") {
        const data = Buffer.alloc(step.length, `${i} and so on. `);
        grow(data.length === 0 ? 0 : step.offset + data.length);
        data.copy(model, step.offset);
        assert.equal(await client.write(handle, step.offset, data), data.length);
      } else if (step.kind === "read") {
        const got = await client.read(handle, step.offset, step.length);
        assert.deepEqual(got, model.subarray(step.offset, step.offset + step.length));
      } else if (step.kind === "hole" && step.length > 0) {
        const fields = [u64(handle), u64(step.offset), u64(step.length), u32(3), u32(0)];
        await client.ok(Opcode.FALLOCATE, node, fields);
        model.fill(0, Math.min(model.length, step.offset), Math.min(model.length, step.offset + step.length));
      } else if (step.kind === "copy" && Math.abs(step.to - step.offset) >= step.length) {
        const part = Buffer.from(model.subarray(step.offset, step.offset + step.length));
        const ends = [u64(node), u64(handle), u64(step.to), u64(step.length), u64(0)];
        const out = await client.ok(Opcode.COPY_FILE_RANGE, node, [u64(handle), u64(step.offset), ...ends]);
        assert.equal(out.readUInt32LE(0), part.length);
        grow(part.length === 0 ? 0 : step.to + part.length);
        part.copy(model, step.to);
      } else if (step.kind === "cut") {
        grow(step.offset);
        model = model.subarray(0, step.offset);
        assert.equal((await client.setattr(node, SetAttr.SIZE, { size: step.offset })).errno, 0);
      } else if (step.kind === "reopen") {
        await client.release(handle);
        handle = await client.open(node, 2);
      }
    }
    assert.deepEqual(fs.readFileSync(join(root, `file-${files}`)), model);
    await client.release(handle);
    files++;
  });
  await fc.assert(property, { numRuns: 60 });
});
