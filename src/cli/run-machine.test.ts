/* The way of `mere run` from options to exit status, in a process of its own, with a machine that only plays one: what goes to which stream, which status
 * comes out, and that everything is closed. Real machines are in tests/. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { makeElf } from "../image/kernel-file.fixture.ts";
import type { RunOptions } from "./run-options.ts";

const work = mkdtempSync(join(tmpdir(), "mere-run-"));
after(() => rmSync(work, { recursive: true, force: true }));
const cache = join(work, "cache");
const disk = join(work, "disk.img");
writeFileSync(disk, Buffer.alloc(4096));

// A cache with a kernel that nothing boots and a program that has just the table by which busybox is known.
const kernelDirectory = join(cache, "mere", "kernels", "6.1.0-test");
mkdirSync(kernelDirectory, { recursive: true });
writeFileSync(join(kernelDirectory, "vmlinux"), makeElf([{ physicalAddress: 0x100000, data: Buffer.from("kernel") }]));
writeFileSync(
  join(kernelDirectory, "info.json"),
  JSON.stringify({ version: "6.1.0-test", packageVersion: "1", modules: [], builtin: [] }),
);
mkdirSync(join(cache, "mere", "busybox", "1"), { recursive: true });
writeFileSync(join(cache, "mere", "busybox", "1", "busybox"), "\0[\0[[\0sh\0\0");

const ownInit = {
  kind: "own-init",
  kernel: undefined,
  append: "",
  command: ["x"],
  console: false,
  stdin: false,
} as const;
const options: RunOptions = {
  cpus: 1,
  memoryBytes: 2 ** 26,
  codeCacheBytes: 2 ** 28,
  keptCode: false,
  translator: undefined,
  disks: [],
  stats: false,
  boot: ownInit,
};
const exact: RunOptions = {
  ...options,
  boot: { kind: "exact", kernel: { file: disk }, initrd: disk, append: "a=b", console: false },
};

/** `play` is what the machine does when it is started, over config, token and end(reason, detail). */
function run(runOptions: RunOptions, play: string, during: { signal?: NodeJS.Signals; input?: string } = {}) {
  const program = `
    import { runMachine } from ${JSON.stringify(new URL("./run-machine.ts", import.meta.url).href)};
    const createMachine = async (config) => {
      const token = /TOKEN='(\\w+)'/.exec(Buffer.from(config.initrd).toString("latin1"))?.[1];
      // The files are given back once the machine has loaded them.
      const hasWords = Buffer.from(config.initrd).includes("unlikely words");
      const files = [config.initrd.length, config.kernel.length];
      const say = (text) => Buffer.from(text);
      const { promise, resolve } = Promise.withResolvers();
      const end = (reason, detail) => resolve({ reason, detail });
      const alive = setInterval(() => {}, 1000);
      const input = { serial: (text) => {}, console: (text) => {} };
      for (const disk of config.disks) {
        const close = disk.close.bind(disk);
        disk.close = async () => { await close(); console.error("disk closed"); };
      }
      return {
        start() { ${play} },
        serialInput: (bytes) => input.serial(String(Buffer.from(bytes))),
        consoleInput: (bytes) => input.console(String(Buffer.from(bytes))),
        resizeConsole() {},
        wait: () => promise,
        async stop() { clearInterval(alive); end("stopped"); },
        stats: () => ({ retired: 5n, seconds: 1, framesInUse: 3, exits: { halted: 1 } }),
      };
    };
    runMachine(${JSON.stringify(runOptions)}, createMachine).then(
      (status) => process.exit(status),
      (error) => { console.error(error.message); process.exit(error.exitStatus); },
    );`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: [during.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    env: { ...process.env, XDG_CACHE_HOME: cache },
  });
  child.stdin?.end(during.input);
  const seen = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk) => {
    seen.stdout += String(chunk);
    if (during.signal !== undefined) child.kill(during.signal);
  });
  child.stderr?.on("data", (chunk) => (seen.stderr += String(chunk)));
  return new Promise((resolve) => {
    child.on("close", (status) => resolve({ status, ...seen }));
  });
}

const RECORD = "config.serialOutput(say(`[1.0] noise\\x1emere-exit ${token} 7\\x1e`));";

describe("mere run", { concurrency: 2 }, () => {
  test("shows the command's output alone and ends with its status", async () => {
    const play = `config.consoleOutput(say("out\\n")); ${RECORD} end("poweroff");`;
    assert.deepEqual(await run(options, play), { status: 7, stdout: "out\n", stderr: "" });
  });

  test("a record without the run's token is no status", async () => {
    const play = `config.serialOutput(say("\\x1emere-exit 0 0\\x1e")); end("poweroff");`;
    const stderr =
      "the guest powered off before its command ended\nThe last lines of its serial port:\n  mere-exit 0 0\n";
    assert.deepEqual(await run(options, play), { status: 1, stdout: "", stderr });
  });

  test("--stats goes to standard error", async () => {
    const stderr = [
      "mere run: instructions  5 in 1.00 s (5/s)",
      "mere run: memory        3 frames in use (12 KiB)",
      "mere run: exits         halted 1\n",
    ].join("\n");
    assert.deepEqual(await run({ ...options, stats: true }, `${RECORD} end("poweroff");`), {
      status: 7,
      stdout: "",
      stderr,
    });
  });

  test("a triple fault gives status 1, the state and the last serial lines, and closes disks", async () => {
    const play = `config.serialOutput(say("BUG: bad\\n")); end("shutdown", "RIP=0");`;
    const { status, stderr } = (await run({ ...options, disks: [{ path: disk, readOnly: false }] }, play)) as {
      status: number;
      stderr: string;
    };
    assert.equal(status, 1);
    assert.match(stderr, /^disk closed\n.*triple fault.*\nRIP=0\n.*\n {2}BUG: bad\n$/);
  });

  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(`${signal} stops the machine, closes disks and gives ${status}`, async () => {
      const withDisk = { ...options, disks: [{ path: disk, readOnly: true }] };
      const ended = await run(withDisk, `config.consoleOutput(say("up"));`, { signal });
      assert.deepEqual(ended, { status, stdout: "up", stderr: "disk closed\n" });
    });
  }

  test("--stdin puts standard input into the initramfs", async () => {
    const play = `config.consoleOutput(say(String(hasWords))); ${RECORD} end("poweroff");`;
    const ended = await run({ ...options, boot: { ...ownInit, stdin: true } }, play, { input: "unlikely words" });
    assert.deepEqual(ended, { status: 7, stdout: "true", stderr: "" });
  });

  test("--console passes input on, and Ctrl-D at its end", async () => {
    const play = `let all = ""; input.console = (text) => { all += text; if (all.endsWith("\\x04")) { config.consoleOutput(say(JSON.stringify(all))); ${RECORD} end("poweroff"); } };`;
    const ended = await run({ ...options, boot: { ...ownInit, console: true } }, play, { input: "ls\n" });
    assert.deepEqual(ended, { status: 7, stdout: JSON.stringify("ls\n\u0004"), stderr: "" });
  });

  test("with --initrd files and command line are as given, and the serial port is on both streams", async () => {
    const play = `input.serial = (text) => { config.serialOutput(say([config.commandLine, ...files, text].join())); end("reset"); };`;
    assert.deepEqual(await run(exact, play, { input: "hi" }), { status: 0, stdout: "a=b,4096,4096,hi", stderr: "" });
  });
});
