/* The agent in a real guest: Debian's kernel, an ext4 root, vsock. What does not need a VM is tested in src/agent. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ExecRequest } from "../src/agent/exec.ts";
import { type AgentGuest, startAgentGuest } from "./support/agent-guest.ts";

const PATH = "/bin";
let guest: AgentGuest;

async function run(request: Partial<ExecRequest> & Pick<ExecRequest, "command">, input?: Uint8Array | string) {
  const exec = await guest.client.exec({ environment: { PATH }, ...request });
  exec.stdin.end(input);
  const [stdout, stderr, end] = await Promise.all([exec.stdout.toArray(), exec.stderr.toArray(), exec.exit]);
  return { stdout: Buffer.concat(stdout as Buffer[]), stderr: Buffer.concat(stderr as Buffer[]).toString(), end };
}
const shell = async (script: string, input?: Uint8Array | string): Promise<string> => {
  const { stdout, stderr, end } = await run({ command: ["sh", "-c", script] }, input);
  assert.deepEqual([end, stderr], [{ code: 0 }, ""], script);
  return stdout.toString();
};

describe("an agent in a guest", { timeout: 280_000 }, () => {
  before(async () => {
    guest = await startAgentGuest();
    await guest.client.ready(200_000);
  });
  after(async () => guest.stop());

  test("runs commands with streams apart and tells their end", async () => {
    const result = await run({ command: ["sh", "-c", "echo out; echo err >&2; exit 3"] });
    assert.deepEqual([result.stdout.toString(), result.stderr, result.end], ["out\n", "err\n", { code: 3 }]);
    assert.deepEqual((await run({ command: ["sh", "-c", "kill -9 $$"] })).end, { signal: "SIGKILL" });
  });

  test("is PID 1 of a system with its mounts, on the root disk", async () => {
    assert.equal(await shell("readlink /proc/1/exe; hostname; pwd"), "/init (deleted)\nguest\n/\n");
    const mounts = (await shell("cat /proc/mounts")).split("\n").map((line) => line.split(" ").slice(0, 3).join(" "));
    for (const mount of [
      "/dev/root / ext4",
      "proc /proc proc",
      "sysfs /sys sysfs",
      "devtmpfs /dev devtmpfs",
      "devpts /dev/pts devpts",
      "tmpfs /run tmpfs",
      "tmpfs /dev/shm tmpfs",
      "cgroup2 /sys/fs/cgroup cgroup2",
    ])
      assert.ok(mounts.includes(mount.replace("/dev/root", "/dev/vda")), `${mount}\n${mounts.join("\n")}`);
    assert.match(await shell("ip addr show lo"), /127\.0\.0\.1\/8/);
  });

  test("carries bytes unchanged both ways", async () => {
    const data = Buffer.alloc(3 << 20, "0123456789abcdef\xff\0\r\n", "latin1");
    const { stdout } = await run({ command: ["cat"] }, data);
    assert.ok(stdout.equals(data));
  });

  test("cannot be killed from inside, and reaps orphans", async () => {
    assert.equal(await shell("kill -9 1; kill -TERM 1; kill -INT 1; cat /proc/1/oom_score_adj"), "-1000\n");
    await shell("(sh -c 'true & exec true' &); while grep -q 'State:.*Z' /proc/[0-9]*/status 2>/dev/null; do :; done");
    assert.equal(await shell("cat /proc/self/oom_score_adj"), "0\n");
  });
});
