/* exec against the real agent, run natively. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import type { AgentError } from "./agent-error.ts";
import { type AgentExec, type ExecRequest, signalNumber } from "./exec.ts";
import { type NativeAgent, startNativeAgent } from "./native-agent.fixture.ts";

const PATH = "/usr/local/bin:/usr/bin:/bin";
const isRoot = process.getuid?.() === 0;
let agent: NativeAgent;
before(async () => {
  agent = await startNativeAgent();
});
after(async () => agent.stop());

type Request = Partial<ExecRequest> & Pick<ExecRequest, "command">;
const start = (request: Request): Promise<AgentExec> => agent.client.exec({ environment: { PATH }, ...request });
async function run(request: Request, input?: string | Uint8Array) {
  const exec = await start(request);
  exec.stdin.end(input);
  const [stdout, stderr, end] = await Promise.all([text(exec.stdout), text(exec.stderr), exec.exit]);
  return { stdout, stderr, end };
}
const sh = (script: string, request: Partial<ExecRequest> = {}, input?: string | Uint8Array) =>
  run({ ...request, command: ["sh", "-c", script] }, input);
const refused = (code: AgentError["code"], sentence: RegExp) => (error: AgentError) => {
  assert.equal(error.code, code);
  assert.match(error.message, sentence);
  return true;
};
/** Reads a stream until it has said something. */
async function until(exec: AgentExec, word: string): Promise<string> {
  let seen = "";
  for await (const chunk of exec.stdout.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
    if ((seen += chunk.toString()).includes(word)) return seen;
  assert.fail(`no ${word} in ${seen}`);
}
/** A zombie, which whoever adopted it has not noticed yet, is none that lives. */
const isAlive = (pid: number): boolean => {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};
/** Waits for a process to go; the test's timeout is the limit. */
async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("exec", { timeout: 60_000 }, () => {
  test("has streams apart, status and signal", async () => {
    assert.deepEqual(await sh("echo out; echo err >&2; exit 7"), {
      stdout: "out\n",
      stderr: "err\n",
      end: { code: 7 },
    });
    assert.deepEqual((await sh("kill -USR1 $$")).end, { signal: "SIGUSR1" });
    assert.deepEqual((await sh("kill -37 $$")).end, { signal: "SIGRTMIN+3" });
  });

  test("has exactly the words and the environment that were given, and PATH and HOME", async () => {
    const words = ["a b", "", "ü\n", "$HOME", "'\"\\"];
    const { stdout } = await run({ command: ["/usr/bin/printf", "<%s>", ...words] });
    assert.equal(stdout, words.map((word) => `<${word}>`).join(""));
    const { stdout: variables } = await run({ command: ["env"], environment: { A: "1=2", PATH } });
    assert.deepEqual(variables.trim().split("\n").toSorted(), ["A=1=2", "HOME=/root", `PATH=${PATH}`]);
    assert.match((await run({ command: ["env"], environment: {} })).stdout, /^PATH=\/usr\/local\/sbin:.*\/bin$/m);
  });

  test("carries a few MiB each way, and input ends", async () => {
    const data = Buffer.alloc(5 << 20, "0123456789abcde\n");
    const exec = await start({ command: ["cat"] });
    exec.stdin.end(data);
    const chunks = (await exec.stdout.toArray()) as Buffer[];
    assert.ok(Buffer.concat(chunks).equals(data));
    assert.deepEqual(await exec.exit, { code: 0 });
  });

  test("does not wait for input that the command does not read", async () => {
    const { end } = await run({ command: ["true"] }, Buffer.alloc(2 << 20));
    assert.deepEqual(end, { code: 0 });
  });

  test("holds nothing up when a stream is not read", async () => {
    const exec = await start({
      command: ["sh", "-c", "head -c 5000000 /dev/zero >&2 & head -c 3000000 /dev/zero; exec >&-; wait; exit 4"],
    });
    assert.equal(
      (await exec.stdout.toArray()).reduce((sum: number, chunk: Buffer) => sum + chunk.length, 0),
      3000000,
    );
    exec.kill("SIGKILL");
    assert.deepEqual(await exec.exit, { signal: "SIGKILL" });
    exec.stderr.destroy();
  });

  test("gets signals while it neither reads nor writes, with all it started", async () => {
    const exec = await start({ command: ["sh", "-c", "sleep 1000 & echo $!; wait"] });
    let child = "";
    for await (const chunk of exec.stdout.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      if ((child += chunk.toString()).endsWith("\n")) break;
    exec.stdin.write(Buffer.alloc(1 << 20));
    exec.kill("TERM");
    assert.deepEqual(await exec.exit, { signal: "SIGTERM" });
    await gone(Number(child));
  });

  test("ends when its main process has, though a descendant keeps its streams", async () => {
    const { stdout, end } = await sh("sleep 1000 & echo $!; exit 5");
    assert.deepEqual(end, { code: 5 });
    assert.ok(isAlive(Number(stdout)), "what was left in the background goes on");
    process.kill(Number(stdout), "SIGKILL");
  });

  test("tells what a process had written when it ended, however much", async () => {
    const { stdout } = await sh("sleep 1000 & echo $!; head -c 60000 /dev/zero | tr '\\0' x");
    assert.equal(stdout.replace(/^\d+\n/, "").length, 60000);
    process.kill(Number.parseInt(stdout, 10), "SIGKILL");
  });

  test("has a terminal with a size that follows", async () => {
    const exec = await start({
      command: [
        "sh",
        "-c",
        'stty size; tty -s && echo "tty $TERM"; trap "stty size; exit 3" WINCH; echo ready; while :; do sleep 0.01; done',
      ],
      terminal: { columns: 101, rows: 33 },
    });
    assert.match(await until(exec, "ready\r\n"), /^33 101\r\ntty xterm\r\n/);
    exec.resize(80, 25);
    assert.deepEqual(await exec.exit, { code: 3 });
    assert.equal(await text(exec.stderr), "");
    assert.equal(await text(exec.stdout), "25 80\r\n");
  });

  test("has line editing, ^C and end of input on a terminal", async () => {
    const exec = await start({ command: ["cat"], terminal: { columns: 80, rows: 24 } });
    exec.stdin.write("ab\x7fc\r");
    await until(exec, "ac");
    exec.stdin.write("\x03");
    assert.deepEqual(await exec.exit, { signal: "SIGINT" });
    const ended = await start({ command: ["cat"], terminal: { columns: 80, rows: 24 } });
    ended.stdin.end();
    assert.deepEqual(await ended.exit, { code: 0 });
  });

  test("runs in the directory that was asked for", async () => {
    assert.equal((await sh("pwd", { directory: "/usr" })).stdout, "/usr\n");
    assert.equal((await sh("pwd")).stdout, "/\n");
  });

  test("finds programs by the PATH of the request", async () => {
    const bin = join(agent.directory, "bin");
    await mkdir(bin);
    await writeFile(join(bin, "only-here"), "#!/bin/sh\necho found\n", { mode: 0o755 });
    await writeFile(join(bin, "no-program"), "text", { mode: 0o755 });
    await writeFile(join(bin, "not-executable"), "#!/bin/sh\n");
    await chmod(join(bin, "not-executable"), 0o644);
    const environment = { PATH: `/nonexistent:${bin}:/bin` };
    assert.equal((await run({ command: ["only-here"], environment })).stdout, "found\n");
    await assert.rejects(start({ command: ["only-here"] }), refused("command-not-found", /"only-here" was not found/));
    await assert.rejects(
      start({ command: ["no-program"], environment }),
      refused("command-not-executable", /no program/),
    );
    await assert.rejects(
      start({ command: ["not-executable"], environment }),
      refused("command-not-executable", /permission denied/),
    );
    await assert.rejects(start({ command: [`${bin}/x`] }), refused("command-not-found", /was not found/));
    await assert.rejects(start({ command: [bin] }), refused("command-not-executable", /cannot be executed/));
    await assert.rejects(start({ command: [""] }), refused("command-not-found", /was not found/));
  });

  test("says what is wrong with directory and user", async () => {
    const command = ["true"];
    await assert.rejects(
      start({ command, directory: "/nonexistent" }),
      refused("no-such-directory", /"\/nonexistent"/),
    );
    await assert.rejects(start({ command, user: "nobody-here" }), refused("no-such-user", /no user "nobody-here"/));
    await assert.rejects(start({ command, user: "root:nothing" }), refused("no-such-group", /"root:nothing"/));
    await assert.rejects(start({ command, user: "4294967295" }), refused("no-such-user", /4294967295/));
  });

  test("runs as the user and groups that were asked for", { skip: !isRoot && "needs root" }, async () => {
    const ids = async (user: string): Promise<string> =>
      (await sh("id -u; id -g; id -G; echo $HOME", { user })).stdout.replaceAll("\n", " ");
    assert.equal(await ids("nobody"), "65534 65534 65534 /nonexistent ");
    assert.equal(await ids("1234"), "1234 0 0 / ");
    assert.equal(await ids("1234:4321"), "1234 4321 4321 / ");
    assert.equal(await ids("nobody:daemon"), "65534 1 1 /nonexistent ");
    assert.equal(await ids(""), "0 0 0 /root ");
  });

  test("is ended with all it started when the connection goes away", async () => {
    const abort = new AbortController();
    const exec = await start({ command: ["sh", "-c", "sleep 1000 & echo $!; wait"], signal: abort.signal });
    const [chunk] = (await exec.stdout.iterator({ destroyOnReturn: false }).next()).value.toString().split("\n");
    abort.abort(new Error("enough"));
    await assert.rejects(exec.exit, /enough/);
    await gone(Number(chunk));
    await gone(exec.pid);
  });

  test("is killed in the end, if it ignores that its connection is gone", async () => {
    const abort = new AbortController();
    const exec = await start({ command: ["sh", "-c", "trap '' HUP TERM; echo on; sleep 1000"], signal: abort.signal });
    await until(exec, "on");
    abort.abort();
    await gone(exec.pid);
  });

  test("goes on when it is detached", async () => {
    const file = join(agent.directory, "detached");
    const pid = await agent.client.execDetached({
      command: ["sh", "-c", `sleep 0.2; echo done >${file}; exec sleep 1000`],
      environment: { PATH },
    });
    while (!isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
    while ((await sh(`cat ${file} 2>/dev/null`)).stdout !== "done\n")
      await new Promise((resolve) => setTimeout(resolve, 10));
    process.kill(pid, "SIGKILL");
  });

  test("many run at once", async () => {
    const results = await Promise.all(Array.from({ length: 40 }, (_, i) => sh(`echo ${i}; exit ${i}`)));
    results.forEach(({ stdout, end }, i) => assert.deepEqual([stdout, end], [`${i}\n`, { code: i }]));
  });

  test("is refused without a word for the guest that cannot be one", async () => {
    await assert.rejects(start({ command: [] }), RangeError);
    await assert.rejects(start({ command: ["a\0b"] }), RangeError);
    await assert.rejects(start({ command: ["a"], environment: { "A=B": "" } }), RangeError);
    await assert.rejects(start({ command: ["a", "x".repeat(1 << 20)] }), RangeError);
  });

  test("signals have names and numbers", () => {
    assert.deepEqual(["SIGTERM", "term", "9", 1, "SIGRTMIN+3", "RTMIN"].map(signalNumber), [15, 15, 9, 1, 37, 34]);
    for (const wrong of ["", "NOPE", 0, 65, "SIGRTMIN+31", 1.5]) assert.throws(() => signalNumber(wrong), RangeError);
  });
});
