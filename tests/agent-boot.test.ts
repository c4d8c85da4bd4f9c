/* The agent in real guests: Debian's kernel, an ext4 root, vsock. What does not need a VM is tested in src/agent. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import type { ExecRequest } from "../src/agent/exec.ts";
import { FsDevice } from "../src/device/virtio/fs.ts";
import { NetDevice } from "../src/device/virtio/net.ts";
import { openShare, type ShareServer } from "../src/share/share-server.ts";
import { type AgentGuest, startAgentGuest } from "./support/agent-guest.ts";

const PATH = "/bin:/sbin";
const READY_MS = 200_000;
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
const read = async (path: string): Promise<string> => text(await guest.client.readFile(path));

describe("a guest with all that can be configured", { timeout: 280_000 }, () => {
  const shared = mkdtempSync(join(tmpdir(), "mere-shared-"));
  let share: ShareServer;
  before(async () => {
    writeFileSync(join(shared, "from-host"), "shared");
    share = await openShare(shared, { readOnly: true });
    guest = await startAgentGuest({
      config: {
        hostname: "guest",
        network: { address: "10.0.2.15/20", gateway: "10.0.2.2", mtu: 1400 },
        dns: { servers: ["10.0.2.3", "10.0.2.4"], search: ["example.org", "example.net"] },
        timezone: "Test/Zone",
        sshKeys: { user: "user", keys: ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"] },
        cloudInit: { metaData: "instance-id: i\n", userData: "#cloud-config\nx: 1\t2\n" },
        mounts: [
          { device: "/dev/vdb", path: "/data/inner" },
          { device: "/dev/vdc", path: "/mnt", readOnly: true },
          { device: "/dev/vdx", path: "/none" },
        ],
        shares: [{ tag: "shared", path: "/srv/host", readOnly: true }],
        tmp: true,
      },
      files: {
        "usr/share/zoneinfo/Test/Zone": "TZif",
        "usr/lib/systemd/resolv.conf": "kept",
        "home/user/.ssh/authorized_keys": "ssh-ed25519 BBBB two",
      },
      links: { "etc/resolv.conf": "../usr/lib/systemd/resolv.conf", "etc/localtime": "/usr/share/zoneinfo/UTC" },
      disks: [8, 8],
      devices: [new NetDevice({ mac: 0x52_54_00_12_34_56 }), new FsDevice({ tag: "shared", server: share })],
      modules: ["virtio_net", "virtiofs"],
      laterModules: ["virtio_rng", "virtio_balloon"],
    });
    const ready = await guest.client.ready(READY_MS);
    assert.deepEqual(ready.complaints, ["cannot mount /none: error 2"]);
    assert.ok(ready.agentStartedUs < ready.modulesLoadedUs && ready.rootMountedUs < ready.readyUs);
  });
  after(async () => {
    await guest.stop();
    await share.close();
    rmSync(shared, { recursive: true });
  });

  test("runs commands with streams apart and tells their end", async () => {
    const result = await run({ command: ["sh", "-c", "echo out; echo err >&2; exit 3"] });
    assert.deepEqual([result.stdout.toString(), result.stderr, result.end], ["out\n", "err\n", { code: 3 }]);
    assert.deepEqual((await run({ command: ["sh", "-c", "kill -9 $$"] })).end, { signal: "SIGKILL" });
    await assert.rejects(guest.client.exec({ command: ["none"] }), { code: "command-not-found" });
    assert.equal(
      (await run({ command: ["id"], user: "user" })).stdout.toString(),
      "uid=1000(user) gid=1000(user) groups=29(audio)\n",
    );
  });

  test("is PID 1 of a system with its mounts, on the root disk", async () => {
    assert.equal(await shell("readlink /proc/1/exe; hostname; pwd"), "/init (deleted)\nguest\n/\n");
    const mounts = (await shell("cat /proc/mounts")).split("\n").map((line) => line.split(" ").slice(0, 3).join(" "));
    for (const mount of [
      "/dev/vda / ext4",
      "proc /proc proc",
      "sysfs /sys sysfs",
      "devtmpfs /dev devtmpfs",
      "devpts /dev/pts devpts",
      "tmpfs /run tmpfs",
      "tmpfs /dev/shm tmpfs",
      "tmpfs /tmp tmpfs",
      "cgroup2 /sys/fs/cgroup cgroup2",
      "/dev/vdb /data/inner ext4",
      "/dev/vdc /mnt ext4",
      "shared /srv/host virtiofs",
    ])
      assert.ok(mounts.includes(mount), `${mount}\n${mounts.join("\n")}`);
    assert.match((await run({ command: ["touch", "/mnt/x"] })).stderr, /Read-only/);
    assert.equal(await read("/srv/host/from-host"), "shared");
    await shell("touch /data/inner/x /tmp/x /run/x && test -e /dev/fd/0");
  });

  test("has its names, keys and seed", async () => {
    assert.equal(await read("/etc/hostname"), "guest\n");
    assert.match(await read("/etc/hosts"), /^127\.0\.0\.1\tlocalhost\n[^]*\n10\.0\.2\.15\tguest\n$/);
    assert.equal(
      await read("/etc/resolv.conf"),
      "search example.org example.net\nnameserver 10.0.2.3\nnameserver 10.0.2.4\n",
    );
    assert.equal(await read("/usr/lib/systemd/resolv.conf"), "kept");
    assert.deepEqual(
      [await guest.client.readLink("/etc/localtime"), await read("/etc/timezone")],
      ["/usr/share/zoneinfo/Test/Zone", "Test/Zone\n"],
    );
    const keys = await guest.client.stat("/home/user/.ssh/authorized_keys");
    assert.deepEqual(
      [keys.uid, await read("/home/user/.ssh/authorized_keys")],
      [1000, "ssh-ed25519 BBBB two\nssh-ed25519 AAAA one\n"],
    );
    const seed = "/var/lib/cloud/seed/nocloud";
    assert.deepEqual(
      [await read(`${seed}/meta-data`), await read(`${seed}/user-data`), (await guest.client.list(seed)).length],
      ["instance-id: i\n", "#cloud-config\nx: 1\t2\n", 2],
    );
  });

  test("has its network", async () => {
    assert.match(await shell("ip addr show lo"), /127\.0\.0\.1\/8/);
    assert.match(await shell("ip addr show eth0"), /mtu 1400 [^]*inet 10\.0\.2\.15\/20 brd/);
    assert.match(await shell("ip route"), /^default via 10\.0\.2\.2 dev eth0/m);
    const { addresses, hostname, kernel } = await guest.client.info();
    assert.deepEqual(addresses, [
      { interface: "lo", address: "127.0.0.1", prefixLength: 8 },
      { interface: "eth0", address: "10.0.2.15", prefixLength: 20 },
    ]);
    assert.equal(hostname, "guest");
    assert.equal(kernel, (await shell("uname -r")).trim());
  });

  test("carries bytes unchanged both ways, and whole trees", async () => {
    const data = Buffer.alloc(3 << 20, "0123456789abcdef\xff\0\r\n", "latin1");
    assert.ok((await run({ command: ["cat"] }, data)).stdout.equals(data));
    const work = mkdtempSync(join(tmpdir(), "mere-tree-"));
    writeFileSync(join(work, "file"), data);
    assert.equal((await guest.client.copyIn(work, "/root/tree")).bytes, data.length);
    assert.equal((await guest.client.copyOut("/root/tree", join(work, "back"))).bytes, data.length);
    assert.equal((await guest.client.stat("/root/tree/file")).sizeBytes, data.length);
    rmSync(work, { recursive: true });
  });

  test("has terminals", async () => {
    const exec = await guest.client.exec({
      command: ["sh", "-c", "tty; stty size"],
      environment: { PATH },
      terminal: { columns: 101, rows: 33 },
    });
    assert.equal(await text(exec.stdout), "/dev/pts/0\r\n33 101\r\n");
  });

  test("cannot be killed from inside, and reaps orphans", async () => {
    assert.equal(await shell("kill -9 1; kill -TERM 1; kill -INT 1; cat /proc/1/oom_score_adj"), "-1000\n");
    await shell("(sh -c 'true & exec true' &); while grep -q 'State:.*Z' /proc/[0-9]*/status 2>/dev/null; do :; done");
    assert.equal(await shell("cat /proc/self/oom_score_adj"), "0\n");
  });

  test("outlives its workers", async () => {
    const exec = await guest.client.exec({ command: ["sleep", "1000"], environment: { PATH } });
    const status = await read(`/proc/${exec.pid}/status`);
    await shell(`kill -9 ${/^PPid:\s+(\d+)$/m.exec(status)![1]!}`);
    await assert.rejects(exec.exit, { code: "lost" });
    assert.equal(await shell("echo still here"), "still here\n");
  });

  test("holds its root still as long as the host wants, or until the worker that does is killed", async () => {
    let writing: Promise<unknown> = Promise.resolve();
    const isWritten = { now: false };
    await guest.client.frozen(async () => {
      writing = shell("echo held >/root/held").then(() => (isWritten.now = true));
      assert.equal(await shell("cat /etc/hostname >/dev/null; echo reads go on"), "reads go on\n");
      await assert.rejects(
        guest.client.frozen(async () => assert.fail("twice")),
        { code: "busy" },
      );
      assert.equal(isWritten.now, false);
    });
    await writing;
    assert.equal(await read("/root/held"), "held\n");
    const killOthers = `for each in /proc/[0-9]*; do
      [ "$(readlink $each/exe)" = "$(readlink /proc/1/exe)" ] && case $each in /proc/1|/proc/$PPID) ;; *) kill -9 \${each#/proc/};; esac
    done; true`;
    await assert.rejects(
      guest.client.frozen(() => shell(killOthers)),
      { code: "lost" },
    );
    await shell("echo free >/root/held");
    assert.equal(await read("/root/held"), "free\n");
    await assert.rejects(
      guest.client.frozen(() => Promise.reject(new Error("the host's own"))),
      /the host's own/,
    );
    await shell("echo again >/root/held");
  });

  test("has its clock set", async () => {
    await guest.client.setClock(1_000_000_000n * 1_234_567_890n);
    assert.match(await shell("date -u +%s"), /^12345678\d\d\n$/);
    await guest.client.setClock();
    assert.ok(Math.abs(Number(await shell("date +%s")) - Date.now() / 1000) < 100);
  });

  test("powers off in order", async () => {
    await shell(
      "echo kept >/root/written; (trap 'echo term >/data/inner/term; exit' TERM; while :; do sleep 0.01; done) >/dev/null 2>&1 & sleep 0.1",
    );
    await guest.client.powerOff();
    assert.equal((await guest.machine.wait()).reason, "poweroff");
    guest.vsock.close();
    await guest.client.lost;
    assert.equal(await guest.onDisk(0, "/root/written"), "kept\n");
    assert.equal(await guest.onDisk(1, "/term"), "term\n");
  });
});

describe("a guest with a read-only root", { timeout: 280_000 }, () => {
  before(async () => {
    guest = await startAgentGuest({
      config: {
        root: { device: "/dev/vda", readOnly: true },
        hostname: "ro",
        dns: { servers: ["10.0.2.3"] },
      },
      files: { "etc/hosts": "from the image", "etc/hostname": "from the image" },
      without: ["run", "sys"],
    });
  });
  after(async () => guest.stop());

  test("has its names bound over files, and tells what it has no place for", async () => {
    const { complaints } = await guest.client.ready(READY_MS);
    assert.match(complaints.join("\n"), /^cannot mount \/sys: error 2$/m);
    assert.equal(await shell("hostname"), "ro\n");
    assert.deepEqual((await run({ command: ["touch", "/x"] })).end, { code: 1 });
  });

  test("restarts when asked to", async () => {
    await guest.client.reboot({ graceMs: 100 });
    assert.equal((await guest.machine.wait()).reason, "reset");
  });
});

describe("a guest with an init of its image", { timeout: 280_000 }, () => {
  before(async () => {
    guest = await startAgentGuest({
      config: { init: true },
      links: { "sbin/init": "../bin/busybox" },
      files: {
        "etc/inittab": "::sysinit:/bin/echo started\n::shutdown:/bin/sh -c 'echo over >/root/over; sync'\n",
      },
    });
    await guest.client.ready(READY_MS);
  });
  after(async () => guest.stop());

  test("has that for PID 1, and the agent beside it", async () => {
    assert.equal(await shell("readlink /proc/1/exe"), "/bin/busybox\n");
    assert.equal(await shell("cat /proc/1/oom_score_adj"), "0\n");
    assert.match(await shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"), /^@init$/m);
  });
  test("powers off through it", async () => {
    await guest.client.powerOff({ graceMs: 100_000 });
    assert.equal((await guest.machine.wait()).reason, "poweroff");
    assert.equal(await guest.onDisk(0, "/root/over"), "over\n");
  });
});
