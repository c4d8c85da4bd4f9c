/* VMs of images as a user of the command line meets them: run, exec, shell, cp, ps, logs, stats, inspect, port, stop, kill, rm. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { runCommand } from "../src/image/command.ts";
import { type TestPlaces, boxPlaces } from "./support/busybox-image.ts";
import { type Ended, runMere, startMere, summary } from "./support/mere.ts";

const MINUTES = 60_000;
let places: TestPlaces;
const run = (...words: string[]): Promise<Ended> => runMere(words, { env: places.env });
const runWith = (input: string, ...words: string[]): Promise<Ended> =>
  runMere(words, { env: places.env, input: Buffer.from(input) });

async function good(...words: string[]): Promise<string> {
  const ended = await run(...words);
  assert.equal(ended.status, 0, `${words.join(" ")}\n${summary(ended)}`);
  return ended.stdout.toString();
}
interface Record {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly exitCode?: number;
  readonly reason?: string;
  readonly pid: number;
}
async function records(): Promise<Record[]> {
  return JSON.parse(await good("ps", "--all", "--json")) as Record[];
}

before(async () => (places = await boxPlaces()), { timeout: 5 * MINUTES });
after(async () => {
  for (const { id } of await records()) await run("rm", "--force", id);
  await rm(places.directory, { recursive: true, force: true });
});

describe("mere run IMAGE", { timeout: 10 * MINUTES }, () => {
  test("runs the image's own command in its directory, and leaves nothing", async () => {
    assert.equal(await good("run", "box"), "the image's own command\n");
    assert.deepEqual(await records(), []);
    assert.deepEqual(await readdir(join(places.env["XDG_STATE_HOME"], "mere/vms")), [".names"]);
  });

  test("streams, status, environment, user and directory are the command's", async () => {
    const script = 'cat; echo "$GREETING $OTHER $(id -un) $(id -Gn) $PWD"; echo oops >&2; exit 42';
    const options = ["--stdin", "-e", "OTHER=world", "-u", "user", "-w", "/tmp", "--hostname", "vessel"];
    const ended = await runWith("input\n", "run", ...options, "box", "--", "sh", "-c", script);
    assert.equal(ended.status, 42, summary(ended));
    assert.equal(ended.stdout.toString(), "input\nhello world user user audio /tmp\n");
    assert.equal(ended.stderr, "oops\n");
  });

  test("a command that is not there is 127, one that is no program 126", async () => {
    const missing = await run("run", "--entrypoint", "", "box", "no-such-program");
    assert.equal(missing.status, 127, summary(missing));
    assert.match(missing.stderr, /"no-such-program" was not found in the VM/);
    const plain = await run("run", "--entrypoint", "", "box", "/etc/passwd");
    assert.equal(plain.status, 126, summary(plain));
  });

  test("Ctrl-C is the command's; its status is the run's", async () => {
    const script = 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done';
    const { child, ended } = startMere(["run", "box", "sh", "-c", script], { env: places.env });
    let seen = "";
    for await (const chunk of child.stdout! as AsyncIterable<Buffer>) {
      seen += String(chunk);
      if (seen === "ready\n") child.kill("SIGINT");
    }
    assert.equal(seen, "ready\ncaught\n");
    assert.equal((await ended).status, 130);
  });

  test("what takes too long is stopped", async () => {
    const ended = await run("run", "--timeout", "0.5", "box", "sleep", "1000");
    assert.equal(ended.status, 1, summary(ended));
    assert.match(ended.stderr, /ran longer than 0.5 s and was stopped/);
  });
});

describe("a VM that goes on", { timeout: 15 * MINUTES }, () => {
  const share = (): string => join(places.directory, "share");
  before(async () => {
    await mkdir(share());
    await writeFile(join(share(), "here"), "from the host\n");
    await symlink("/etc/passwd", join(share(), "out"));
    const script = 'trap "echo asked; exit 5" USR1; httpd -p 80 -h /srv/www; echo up; while :; do sleep 0.1; done';
    const options = ["-d", "--name", "web", "-p", "80", "-v", `${share()}:/share`];
    const id = await good("run", ...options, "box", "sh", "-c", script);
    assert.match(id, /^[0-9a-f]{12}\n$/);
  });

  test("is listed and inspected by name and by the beginning of its id", async () => {
    const table = await good("ps");
    assert.match(table, /^ID +NAME +IMAGE +COMMAND +STATUS +PORTS\n/);
    assert.match(table, /web +box +sh -c .* running .* 127\.0\.0\.1:\d+->80\/tcp/);
    const [{ id }] = await records();
    const [inspected] = JSON.parse(await good("inspect", id.slice(0, 6))) as Record[];
    assert.equal(inspected.name, "web");
    assert.equal(inspected.status, "running");
  });

  test("runs programs beside its command", async () => {
    assert.equal(await good("exec", "web", "--", "echo", "hi"), "hi\n");
    const ended = await runWith("a\nb\n", "exec", "-i", "-e", "X=1", "web", "sh", "-c", "wc -l; echo $X >&2; exit 3");
    assert.equal(ended.status, 3, summary(ended));
    assert.equal(ended.stdout.toString().trim(), "2");
    assert.equal(ended.stderr, "1\n");
    assert.equal((await run("exec", "web", "no-such-program")).status, 127);
    const late = await run("exec", "--timeout", "0.3", "web", "sleep", "100");
    assert.equal(late.status, 1);
    assert.match(late.stderr, /longer than 300 ms/);
    assert.equal((await runWith("echo in a shell; exit 4\n", "shell", "web")).stdout.toString(), "in a shell\n");
  });

  test("a megabyte each way arrives as it was", async () => {
    const bytes = Buffer.alloc(1 << 20, "0123456789abcdef\n\u0000ÿ");
    const ended = await runMere(["exec", "-i", "web", "cat"], { env: places.env, input: bytes });
    assert.ok(ended.stdout.equals(bytes), `${ended.stdout.length} bytes, ${ended.stderr}`);
  });

  test("files and trees are copied both ways", async () => {
    const tree = join(places.directory, "tree");
    await mkdir(join(tree, "sub"), { recursive: true });
    await writeFile(join(tree, "sub/file"), "content\n");
    await symlink("sub/file", join(tree, "link"));
    await good("cp", tree, "web:/tmp");
    assert.equal(await good("exec", "web", "cat", "/tmp/tree/link"), "content\n");
    await good("cp", "web:/tmp/tree", join(places.directory, "back"));
    assert.equal(await readFile(join(places.directory, "back/sub/file"), "utf8"), "content\n");
    await good("cp", join(tree, "sub/file"), "web:/tmp/renamed");
    assert.equal(await good("exec", "web", "cat", "/tmp/renamed"), "content\n");
    const missing = await run("cp", "web:/no/such", ".");
    assert.equal(missing.status, 1);
  });

  test("becomes an image while it runs, and goes on", async () => {
    await good("exec", "web", "sh", "-c", "mkdir /srv/kept && echo kept >/srv/kept/file && rm -r /home/user");
    const id = (await good("commit", "web", "web:2")).trim();
    await good("exec", "web", "sh", "-c", "echo later >/srv/kept/later && sync");
    const images = JSON.parse(await good("image", "list", "--json")) as {
      id: string;
      names: string[];
      rootDisk: string;
    }[];
    const image = images.find((each) => each.id === id)!;
    assert.deepEqual(image.names, ["web:2"]);
    const check = await runCommand("env", [
      `PATH=${process.env["PATH"] ?? ""}:/usr/sbin`,
      "e2fsck",
      "-fn",
      image.rootDisk,
    ]);
    assert.equal(check.status, 0, check.stdout);
    assert.equal(await good("run", "web:2", "sh", "-c", "echo $GREETING; ls /srv/kept; ls /home"), "hello\nfile\n");
    const taken = await run("commit", "web", "debian");
    assert.deepEqual([taken.status, taken.stdout.toString()], [1, ""]);
    assert.match(taken.stderr, /^mere commit: "debian" cannot be given to an image/);
    await good("image", "remove", "web:2");
  });

  test("its port is reached from here, and only where it was forwarded to", async () => {
    const place = (await good("port", "web", "80")).trim();
    assert.match(await (await fetch(`http://${place}/`)).text(), /served by a VM/);
    assert.equal((await run("port", "web", "81")).status, 1);
    assert.match(await good("port", "web"), /^GUEST +HOST\n80\/tcp +127\.0\.0\.1:\d+\n$/);
  });

  test("it reaches neither this machine's loopback nor its other addresses", async () => {
    const server = createServer((socket) => socket.end("secret"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    for (const address of ["10.0.2.2", "127.0.0.1", "169.254.169.254"]) {
      const ended = await run("exec", "web", "sh", "-c", `nc -w 3 ${address} ${port} </dev/null`);
      assert.notEqual(ended.status, 0, address);
      assert.equal(ended.stdout.toString(), "", address);
    }
    server.close();
  });

  test("a shared directory is the same on both sides, and has no way out", async () => {
    assert.equal(await good("exec", "web", "cat", "/share/here"), "from the host\n");
    await good("exec", "web", "sh", "-c", "echo from the guest > /share/there");
    assert.equal(await readFile(join(share(), "there"), "utf8"), "from the guest\n");
    const followed = await good("exec", "web", "cat", "/share/out");
    assert.match(
      followed,
      /^root:x:0:0:root:\/root:\/bin\/sh\nuser:/,
      "the link is the guest's to follow: its own file",
    );
  });

  test("what it uses is told", async () => {
    const [{ metrics }] = JSON.parse(await good("stats", "--json")) as [{ metrics: { memory: { usedBytes: number } } }];
    assert.ok(metrics.memory.usedBytes > 1 << 20);
    assert.match(await good("stats", "web"), /^NAME +CPU +MEMORY/);
  });

  test("names and ports in use, and VMs that are not there, are one sentence", async () => {
    const name = await run("run", "-d", "--name", "web", "box", "true");
    assert.equal(name.status, 1);
    assert.match(name.stderr, /^mere run: The name web is in use by VM [0-9a-f]{12}: .*\.\n$/);
    const used = (await good("port", "web", "80")).trim();
    const port = await run("run", "-p", `${used}:80`, "box", "true");
    assert.equal(port.status, 1);
    assert.match(port.stderr, /in use/);
    assert.equal(port.stderr.trim().split("\n").length, 1, port.stderr);
    for (const verb of ["exec", "logs", "stop", "kill", "rm", "inspect", "port"]) {
      const ended = await run(verb, "nobody", ...(verb === "exec" ? ["true"] : []));
      assert.equal(ended.status, 1, verb);
      assert.match(ended.stderr, /There is no VM "nobody"/);
    }
    assert.match((await run("rm", "web")).stderr, /runs; stop it first/);
    assert.equal((await records()).length, 1, "nothing was left by those that failed");
  });

  test("stops in order: its command gets the image's signal", async () => {
    assert.equal(await good("stop", "web"), "web\n");
    const [record] = await records();
    assert.equal(record.status, "exited");
    assert.equal(record.exitCode, 5);
    assert.equal(await good("logs", "web"), "up\nasked\n");
    // the shell's word about its sleep goes to standard error, before or after
    const { stdout, stderr } = await run("logs", "--tail", "1", "web");
    assert.match(`${String(stdout)}${stderr}`, /^(?:asked|User defined signal 1)\n$/);
    assert.match((await run("exec", "web", "true")).stderr, /does not run/);
    assert.equal(await good("rm", "web"), "web\n");
    assert.deepEqual(await records(), []);
  });
});

describe("VMs whose process is killed", { timeout: 5 * MINUTES }, () => {
  test("are told, and their names can be given again once they are removed", async () => {
    await good("run", "-d", "--name", "victim", "--net", "none", "box", "sleep", "1000");
    const { pid } = (await records()).find(({ name }) => name === "victim")!;
    process.kill(pid, "SIGKILL");
    const victim = async (): Promise<Record> => (await records()).find(({ name }) => name === "victim")!;
    let record = await victim();
    while (record.status === "running") record = await victim();
    assert.equal(record.status, "failed");
    assert.match(record.reason ?? "", /was killed/);
    assert.match((await run("exec", "victim", "true")).stderr, /does not run/);
    await good("rm", "victim");
    await good("run", "-d", "--rm", "--name", "victim", "--net", "none", "box", "sleep", "1000");
    await good("kill", "victim");
    assert.deepEqual(await records(), []);
  });
});

describe("a VM with a damaged record", () => {
  test("is told by ps and removed by rm, and its name is free", async () => {
    const vms = join(places.env["XDG_STATE_HOME"], "mere/vms");
    await mkdir(join(vms, "00c0ffee00aa"), { recursive: true });
    await symlink("../00c0ffee00aa", join(vms, ".names/odd"));
    await writeFile(join(vms, "00c0ffee00aa/vm.json"), '{"id": "00c0ffee00aa", "status": 5}');
    const listed = await run("ps", "--all");
    assert.equal(listed.status, 0, summary(listed));
    assert.match(
      listed.stderr,
      /^mere ps: The record of the VM odd \(00c0ffee00aa\) is damaged; .* 'mere rm odd'\.\n$/,
    );
    const used = await run("exec", "odd", "true");
    assert.deepEqual([used.status, used.stdout.toString()], [1, ""]);
    assert.match(used.stderr, /is damaged/);
    assert.equal(await good("rm", "odd"), "odd\n");
    assert.deepEqual(
      (await readdir(vms)).filter((name) => !name.startsWith(".")),
      [],
    );
    assert.deepEqual(await readdir(join(vms, ".names")), []);
  });
});
