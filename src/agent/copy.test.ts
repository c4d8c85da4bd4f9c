/* Trees both ways against the real agent, run natively; and out of a guest that lies. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AgentErrorCode } from "./agent-error.ts";
import { AgentClient } from "./client.ts";
import { fakeTransport } from "./fake-agent.fixture.ts";
import { FileType, writeInfo } from "./file-info.ts";
import { type NativeAgent, startNativeAgent } from "./native-agent.fixture.ts";
import { FrameWriter, Out } from "./protocol.ts";

let agent: NativeAgent;
let client: AgentClient;
const work = mkdtempSync(join(tmpdir(), "mere-copy-"));
before(async () => {
  agent = await startNativeAgent();
  client = agent.client;
});
after(async () => {
  rmSync(work, { recursive: true, force: true });
  await agent.stop();
});

let count = 0;
const place = (): string => join(work, `place-${count++}`);
const code = (expected: AgentErrorCode) => ({ name: "AgentError", code: expected });
/** Seconds since 1970, near the end of a millisecond. */
const PAST = 1_580_702_706.0179996;

/** Every path with what it is, below a directory. */
function picture(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    const path = join(root, name);
    const stat = lstatSync(path);
    const what = stat.isSymbolicLink()
      ? `-> ${readlinkSync(path)}`
      : stat.isFile()
        ? readFileSync(path, "utf8")
        : "dir";
    found[name] = `${(stat.mode & 0o777).toString(8)} ${stat.mtime.toISOString()} ${what}`;
  }
  return found;
}
function makeTree(root: string): void {
  mkdirSync(join(root, "a/b"), { recursive: true });
  mkdirSync(join(root, "empty"));
  writeFileSync(join(root, "a/file"), "text");
  writeFileSync(join(root, "a/b/run"), "#!/bin/sh\n", { mode: 0o755 });
  writeFileSync(join(root, "a/b/nothing"), "");
  writeFileSync(join(root, "large"), "0123456789".repeat(50_000));
  symlinkSync("../file", join(root, "a/b/link"));
  symlinkSync("/etc", join(root, "a/etc"));
  chmodSync(join(root, "empty"), 0o710);
  for (const path of ["a/file", "a/b/run", "empty", "a/b", "a"]) utimesSync(join(root, path), PAST, PAST);
}

describe("copies", { timeout: 60_000 }, () => {
  for (const [way, copy] of [
    ["in", (from: string, to: string) => client.copyIn(from, to)],
    ["out", (from: string, to: string) => client.copyOut(from, to)],
  ] as const) {
    test(`${way}: a tree with modes, times and links`, async () => {
      const [from, to] = [place(), place()];
      makeTree(from);
      const counts = await copy(from, to);
      assert.deepEqual(picture(to), picture(from));
      assert.deepEqual(counts, { files: 4, directories: 4, links: 2, bytes: 500_014, skipped: 0 });
      writeFileSync(join(to, "a/file"), "changed");
      writeFileSync(join(to, "more"), "stays");
      await copy(from, to);
      assert.deepEqual(
        [readFileSync(join(to, "a/file"), "utf8"), readFileSync(join(to, "more"), "utf8")],
        ["text", "stays"],
      );
    });

    test(`${way}: one file, under its new name`, async () => {
      const [from, to] = [place(), place()];
      writeFileSync(from, "one", { mode: 0o600 });
      writeFileSync(to, "before");
      await copy(from, to);
      assert.deepEqual([readFileSync(to, "utf8"), statSync(to).mode & 0o777], ["one", 0o600]);
    });

    test(`${way}: thousands of small files`, async () => {
      const [from, to] = [place(), place()];
      for (let i = 0; i < 600; i++) {
        if (i % 100 === 0) mkdirSync(join(from, `${i / 100}`), { recursive: true });
        writeFileSync(join(from, `${Math.floor(i / 100)}/${i}`), `${i}`);
      }
      const counts = await copy(from, to);
      assert.equal(counts.files, 600);
      assert.deepEqual(picture(to), picture(from));
    });

    test(`${way}: what is not there, or cannot be put there, is told`, async () => {
      const [from, to] = [place(), place()];
      await assert.rejects(copy(from, to), (error: NodeJS.ErrnoException) =>
        ["not-found", "ENOENT"].includes(error.code!),
      );
      writeFileSync(from, "");
      mkdirSync(join(to, "x"), { recursive: true });
      await assert.rejects(copy(from, to), (error: NodeJS.ErrnoException) => error.name === "AgentError");
      mkdirSync(place());
      makeTree(place());
      writeFileSync(join(to, "a"), "");
      const tree = place();
      makeTree(tree);
      await assert.rejects(copy(tree, to), (error: NodeJS.ErrnoException) => error.name === "AgentError");
    });
  }

  test(
    "in: owners are root's, or kept, or those that were asked for",
    { skip: process.getuid?.() !== 0 && "needs root" },
    async () => {
      const [from, to] = [place(), place()];
      writeFileSync(from, "");
      await client.copyIn(from, to, { owner: { uid: 12, gid: 34 } });
      const { uid, gid } = statSync(to);
      assert.deepEqual([uid, gid], [12, 34]);
      await client.copyIn(to, from, { owner: "keep" });
      assert.deepEqual([statSync(from).uid, statSync(from).gid], [12, 34]);
      await client.copyIn(from, to);
      assert.deepEqual([statSync(to).uid, statSync(to).gid], [0, 0]);
    },
  );

  test("in: a pipe or a device is passed over and counted", async () => {
    const [from, to] = [place(), place()];
    mkdirSync(from);
    const { spawnSync } = await import("node:child_process");
    spawnSync("mkfifo", [join(from, "fifo")]);
    assert.equal((await client.copyIn(from, to)).skipped, 1);
    assert.equal((await client.copyOut(from, place())).skipped, 1);
  });
});

/** Frames of a tree as a guest sends them. */
const entry = (name: string, type: number, target = ""): Buffer =>
  writeInfo(new FrameWriter(Out.ENTRY).text(name), { mode: type | 0o6755, uid: 0, gid: 0, sizeBytes: 0, modifiedMs: 0 })
    .text(target)
    .finish();
const data = (text: string): Buffer => new FrameWriter(Out.DATA).bytes(Buffer.from(text)).finish();
const DONE = new FrameWriter(Out.DONE).finish();
const { DIRECTORY, FILE, SYMLINK } = FileType;

describe("a guest that lies", { timeout: 60_000 }, () => {
  const copyOut = async (to: string, frames: readonly Buffer[]): Promise<unknown> => {
    const lying = new AgentClient(fakeTransport((socket) => socket.resume().end(Buffer.concat(frames))));
    return lying.copyOut("/x", to);
  };
  const root = entry("", DIRECTORY);
  const lies: Record<string, Buffer[]> = {
    "climbs out": [root, entry("../evil", FILE), data("x"), data(""), DONE],
    "climbs out in the middle": [root, entry("a", DIRECTORY), entry("a/../../evil", FILE), data(""), DONE],
    "is absolute": [root, entry("/tmp/evil", FILE), data(""), DONE],
    "names the root twice over": [root, entry(".", FILE), data(""), DONE],
    "goes through a link of its own": [
      root,
      entry("l", SYMLINK, work),
      entry("l/evil", FILE),
      data("x"),
      data(""),
      DONE,
    ],
    "makes a directory of its link": [
      root,
      entry("l", SYMLINK, work),
      entry("l", DIRECTORY),
      entry("l/evil", FILE),
      data(""),
      DONE,
    ],
    "replaces a directory by a link": [
      root,
      entry("d", DIRECTORY),
      entry("d", SYMLINK, work),
      entry("d/evil", FILE),
      data(""),
      DONE,
    ],
    "has no parent": [root, entry("a/evil", FILE), data(""), DONE],
    "has a file for a parent": [root, entry("f", FILE), data(""), entry("f/evil", FILE), data(""), DONE],
    "comes again after it was closed": [
      root,
      entry("d", DIRECTORY),
      entry("d", DIRECTORY),
      entry("d/evil", FILE),
      data(""),
      DONE,
    ],
    "has data without a file": [root, data("x"), DONE],
    "has an entry within a file": [root, entry("f", FILE), entry("g", FILE), DONE],
    "has a second root": [entry("", FILE), data(""), entry("evil", FILE), DONE],
    "ends in the middle": [root, entry("f", FILE), data("x")],
    "has an entry that is cut off": [root, new FrameWriter(Out.ENTRY).text("f").u32(0).finish(), DONE],
  };
  for (const [what, frames] of Object.entries(lies))
    test(what, async () => {
      const to = place();
      await assert.rejects(copyOut(to, frames), { name: "AgentError" });
      assert.deepEqual(
        readdirSync(work).filter((name) => name === "evil"),
        [],
      );
      assert.equal(existsSync("/tmp/evil"), false);
    });

  test("set-uid bits do not arrive", async () => {
    const to = place();
    await copyOut(to, [entry("", FILE), data("x"), data(""), DONE]);
    assert.equal(statSync(to).mode & 0o7777, 0o755);
  });

  test("a link of the host's in the target is not followed", async () => {
    const [to, elsewhere] = [place(), place()];
    mkdirSync(to);
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, join(to, "d"));
    symlinkSync(join(elsewhere, "f"), join(to, "f"));
    await assert.rejects(
      copyOut(to, [root, entry("d", DIRECTORY), entry("d/x", FILE), data(""), DONE]),
      code("exists"),
    );
    await copyOut(to, [root, entry("f", FILE), data("x"), data(""), root, DONE]);
    assert.deepEqual([readdirSync(elsewhere), lstatSync(join(to, "f")).isFile()], [[], true]);
  });
});
