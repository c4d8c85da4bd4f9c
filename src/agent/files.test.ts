/* Files against the real agent, run natively. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import type { AgentErrorCode } from "./agent-error.ts";
import type { AgentClient } from "./client.ts";
import type { FileEvent } from "./files.ts";
import { type NativeAgent, startNativeAgent } from "./native-agent.fixture.ts";

let agent: NativeAgent;
let client: AgentClient;
before(async () => {
  agent = await startNativeAgent();
  client = agent.client;
});
after(async () => agent.stop());

let count = 0;
/** A fresh directory. */
function place(): string {
  const path = join(agent.directory, `place-${count++}`);
  mkdirSync(path);
  return path;
}
const code = (expected: AgentErrorCode) => ({ name: "AgentError", code: expected });
const mode = (path: string): number => statSync(path).mode & 0o7777;

describe("files", { timeout: 60_000 }, () => {
  test("are written whole and read whole, or in part", async () => {
    const path = join(place(), "file ü");
    const data = Buffer.alloc(3_000_000, "0123456789");
    await client.writeFile(path, data, { mode: 0o640 });
    assert.ok(readFileSync(path).equals(data));
    assert.equal(mode(path), 0o640);
    assert.ok((await buffer(await client.readFile(path))).equals(data));
    assert.equal(await text(await client.readFile(path, { offset: 999_995, length: 10 })), "5678901234");
    assert.equal(await text(await client.readFile(path, { offset: 5_000_000 })), "");
    assert.deepEqual(readdirSync(join(path, "..")), ["file ü"], "nothing else is left");
  });

  test("come from text, bytes and streams", async () => {
    const path = join(place(), "f");
    await client.writeFile(path, "héllo");
    assert.equal(readFileSync(path, "utf8"), "héllo");
    assert.equal(mode(path), 0o644);
    await client.writeFile(path, Readable.from([Buffer.from("a"), Buffer.from("b"), Buffer.alloc(200_000, "c")]));
    assert.equal(readFileSync(path, "utf8"), `ab${"c".repeat(200_000)}`);
    await client.writeFile(path, "");
    assert.equal(statSync(path).size, 0);
    await client.writeFile(path, "1", { append: true });
    await client.writeFile(path, "2", { append: true });
    assert.equal(readFileSync(path, "utf8"), "12");
  });

  test("keep mode and link when they are replaced", async () => {
    const directory = place();
    const path = join(directory, "f");
    writeFileSync(path, "old", { mode: 0o751 });
    symlinkSync("f", join(directory, "link"));
    const { ino } = statSync(path);
    await client.writeFile(join(directory, "link"), "new");
    assert.deepEqual([readFileSync(path, "utf8"), mode(path)], ["new", 0o751]);
    assert.ok(lstatSync(join(directory, "link")).isSymbolicLink());
    assert.notEqual(statSync(path).ino, ino, "another file took its place");
    symlinkSync("made", join(directory, "dangling"));
    await client.writeFile(join(directory, "dangling"), "x");
    assert.equal(readFileSync(join(directory, "made"), "utf8"), "x");
  });

  test("that are new must be new", async () => {
    const path = join(place(), "f");
    await client.writeFile(path, "1", { exclusive: true });
    await assert.rejects(client.writeFile(path, "2", { exclusive: true }), code("exists"));
    assert.equal(readFileSync(path, "utf8"), "1");
  });

  test("stay as they were when the source fails or the signal aborts", async () => {
    const directory = place();
    const path = join(directory, "f");
    writeFileSync(path, "old");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(100_000);
      throw new Error("source");
    }
    await assert.rejects(client.writeFile(path, failing()), /source/);
    const abort = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; ; i++) {
        if (i === 5) abort.abort(new Error("enough"));
        yield Buffer.alloc(10_000);
      }
    }
    await assert.rejects(client.writeFile(path, endless(), { signal: abort.signal }), /enough/);
    while (readdirSync(directory).length > 1) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(readFileSync(path, "utf8"), "old");
  });

  test("errors say what is wrong", async () => {
    const directory = place();
    await assert.rejects(client.readFile(join(directory, "none")), code("not-found"));
    await assert.rejects(client.readFile(directory), code("is-a-directory"));
    await assert.rejects(client.writeFile(directory, "x"), code("is-a-directory"));
    await assert.rejects(client.writeFile(join(directory, "a/b"), "x"), code("not-found"));
    await assert.rejects(
      client.writeFile("/proc/none", Buffer.alloc(5 << 20)),
      (error: Error) => error.name === "AgentError",
    );
    await assert.rejects(client.list(join(directory, "none")), code("not-found"));
    writeFileSync(join(directory, "f"), "");
    await assert.rejects(client.list(join(directory, "f")), code("not-a-directory"));
    await assert.rejects(client.readFile("/dev/null\0"), RangeError);
    await assert.rejects(client.writeFile("/dev/full", "x"), code("no-space"));
    await assert.rejects(client.readLink(join(directory, "f")), (error: Error) => error.name === "AgentError");
  });

  test("a pipe is read while somebody writes, and given up with the stream", async () => {
    const path = join(place(), "fifo");
    assert.equal(spawnSync("mkfifo", [path]).status, 0);
    const stream = await client.readFile("/dev/zero");
    const { value } = (await stream.iterator().next()) as { value: Buffer };
    assert.equal(value[0], 0);
    stream.destroy();
    assert.equal(await text(await client.readFile(path)), "", "nobody writes");
  });

  test("are listed with what they are", async () => {
    const directory = place();
    writeFileSync(join(directory, "f"), "12345", { mode: 0o600 });
    mkdirSync(join(directory, "d"));
    symlinkSync("nowhere", join(directory, "l"));
    spawnSync("mkfifo", [join(directory, "p")]);
    const entries = (await client.list(directory)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(
      entries.map(({ name, kind, target }) => [name, kind, target]),
      [
        ["d", "directory", undefined],
        ["f", "file", undefined],
        ["l", "symlink", "nowhere"],
        ["p", "other", undefined],
      ],
    );
    const file = statSync(join(directory, "f"));
    const { mode: permissions, uid, sizeBytes, modified } = entries[1]!;
    assert.deepEqual([permissions, uid, sizeBytes], [0o600, file.uid, 5]);
    assert.deepEqual(modified, file.mtime);
    for (let i = 0; i < 1000; i++) writeFileSync(join(directory, "d", `file-with-a-name-${i}`), "");
    assert.equal((await client.list(join(directory, "d"))).length, 1000);
  });

  test("stat follows links if asked", async () => {
    const directory = place();
    writeFileSync(join(directory, "f"), "123");
    symlinkSync("f", join(directory, "l"));
    assert.equal((await client.stat(join(directory, "l"))).kind, "file");
    assert.equal((await client.stat(join(directory, "l"), { followLinks: false })).kind, "symlink");
    assert.equal(await client.readLink(join(directory, "l")), "f");
    await assert.rejects(client.stat(join(directory, "none")), code("not-found"));
  });

  test("directories, links, names and modes are made and changed", async () => {
    const directory = place();
    await client.makeDirectory(join(directory, "a/b/c"), { parents: true, mode: 0o1777 });
    assert.equal(mode(join(directory, "a/b/c")), 0o1777);
    await client.makeDirectory(join(directory, "a/b/c"), { parents: true });
    await assert.rejects(client.makeDirectory(join(directory, "a")), code("exists"));
    await assert.rejects(client.makeDirectory(join(directory, "x/y")), code("not-found"));
    await client.symlink("target", join(directory, "link"));
    assert.equal(readlinkSync(join(directory, "link")), "target");
    await client.rename(join(directory, "link"), join(directory, "a/other"));
    assert.equal(readlinkSync(join(directory, "a/other")), "target");
    await client.changeMode(join(directory, "a"), 0o700);
    assert.equal(mode(join(directory, "a")), 0o700);
    if (process.getuid?.() === 0) {
      await client.changeOwner(join(directory, "a/other"), { uid: 12, gid: 34, followLinks: false });
      const { uid, gid } = lstatSync(join(directory, "a/other"));
      assert.deepEqual([uid, gid], [12, 34]);
    }
  });

  test("are removed, and links are not followed", async () => {
    const directory = place();
    const kept = place();
    writeFileSync(join(kept, "f"), "");
    mkdirSync(join(directory, "t/u/v"), { recursive: true });
    symlinkSync(kept, join(directory, "t/u/link"));
    for (let i = 0; i < 500; i++) writeFileSync(join(directory, "t/u/v", `f${i}`), "");
    await assert.rejects(client.remove(join(directory, "t")), code("not-empty"));
    await client.remove(join(directory, "t"), { recursive: true });
    assert.deepEqual([readdirSync(directory), readdirSync(kept)], [[], ["f"]]);
    symlinkSync(kept, join(directory, "l"));
    await client.remove(join(directory, "l"), { recursive: true });
    assert.deepEqual([readdirSync(directory), readdirSync(kept)], [[], ["f"]]);
    await assert.rejects(client.remove(join(directory, "l")), code("not-found"));
    await client.remove(join(directory, "l"), { force: true });
    await client.remove(kept, { recursive: true });
    assert.equal(existsSync(kept), false);
  });

  test("are watched, with directories that appear", async () => {
    const directory = place();
    mkdirSync(join(directory, "d"));
    const events = await client.watch(directory, { recursive: true });
    const seen: string[] = [];
    const until = async (word: string): Promise<void> => {
      while (!seen.includes(word)) {
        const { value } = (await events.next()) as { value: FileEvent };
        seen.push(`${value.kind} ${value.path}`);
      }
    };
    writeFileSync(join(directory, "d/f"), "1");
    await until("changed d/f");
    assert.ok(seen.includes("created d/f"));
    mkdirSync(join(directory, "d/new/deep"), { recursive: true });
    await until("created d/new/deep");
    writeFileSync(join(directory, "d/new/deep/g"), "");
    await until("created d/new/deep/g");
    await client.rename(join(directory, "d/f"), join(directory, "moved"));
    await until("created moved");
    assert.ok(seen.includes("removed d/f"));
    await client.remove(join(directory, "d"), { recursive: true });
    await until("removed d");
    await events.return();
    const file = await client.watch(join(directory, "moved"));
    writeFileSync(join(directory, "moved"), "more");
    assert.deepEqual((await file.next()).value, { kind: "changed", path: "" });
    await file.return();
    await assert.rejects(client.watch(join(directory, "none")), code("not-found"));
  });
});

describe("the system", { timeout: 60_000 }, () => {
  test("tells of itself", async () => {
    const info = await client.info();
    assert.ok(info.uptimeMs > 0 && info.processes > 0 && info.load.length === 3);
    const [, total] = /MemTotal:\s+(\d+) kB/.exec(readFileSync("/proc/meminfo", "utf8"))!;
    assert.ok(Math.abs(info.memory.totalBytes - Number(total) * 1024) < 1 << 20);
    assert.ok(info.memory.availableBytes > 0 && info.memory.availableBytes <= info.memory.totalBytes);
    assert.equal(info.kernel, readFileSync("/proc/sys/kernel/osrelease", "utf8").trim());
    assert.ok(info.addresses.some(({ address, prefixLength }) => address === "127.0.0.1" && prefixLength === 8));
  });

  test("under test is neither ended nor set", async () => {
    await assert.rejects(client.powerOff(), code("permission"));
    await assert.rejects(client.setClock(0n), code("permission"));
  });
});
