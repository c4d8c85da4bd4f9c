/* VMs' directories and names: claimed once, found by name, id or its beginning, gone when removed. */
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Host } from "./host.ts";
import { resolveVmOptions } from "./vm-config.ts";
import { VmDirectories, type VmRecord } from "./vm-directory.ts";

let state = "";
before(async () => (state = await mkdtemp(join(tmpdir(), "mere-state-"))));
after(() => rm(state, { recursive: true, force: true }));

function record({ id, name }: { id: string; name: string }, more: Partial<VmRecord> = {}): VmRecord {
  return {
    id,
    name,
    config: resolveVmOptions({}),
    defaults: { env: {}, user: "", workingDirectory: "/" },
    status: "exited",
    createdAt: new Date(0).toISOString(),
    pid: 1,
    ports: [],
    ephemeral: false,
    ...more,
  };
}
const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

test("a name is claimed once, until its VM is removed", async () => {
  const directories = new VmDirectories(join(state, "a"));
  const first = await directories.create("web");
  await directories.save(record(first));
  await assert.rejects(directories.create("web"), code("name-in-use"));
  assert.equal((await directories.ids()).length, 1, "a claim that failed left nothing");
  assert.equal(await directories.find("web"), first.id);
  assert.equal(await directories.find(first.id.slice(0, 5)), first.id);
  await directories.remove(first.id, "web");
  await assert.rejects(directories.find("web"), code("no-such-vm"));
  const second = await directories.create("web");
  assert.notEqual(second.id, first.id);
});

test("of many that want a name at once, one gets it", async () => {
  const directories = new VmDirectories(join(state, "b"));
  const claims = await Promise.allSettled(Array.from({ length: 12 }, () => directories.create("one")));
  assert.equal(claims.filter(({ status }) => status === "fulfilled").length, 1);
  assert.equal((await directories.ids()).length, 1);
});

test("a name that leads to nothing is free", async () => {
  const directories = new VmDirectories(join(state, "c"));
  await directories.create("other");
  await symlink("../0123456789ab", join(directories.root, ".names", "ghost"));
  assert.equal((await directories.create("ghost")).name, "ghost");
});

test("names are what file systems and shells take", async () => {
  const directories = new VmDirectories(join(state, "d"));
  for (const name of ["", "..", "a/b", "-x", "ä", "x".repeat(64), "0123456789ab"])
    await assert.rejects(directories.create(name), code("bad-option"), name);
  assert.match((await directories.create(undefined)).name, /^vm-[0-9a-f]{6}$/);
});

test("a damaged record is told as one, and not used", async () => {
  const directories = new VmDirectories(join(state, "e"));
  const { id, name } = await directories.create("x");
  const whole = JSON.parse(JSON.stringify(record({ id, name }))) as Record<string, unknown>;
  const damages: unknown[] = [
    null,
    [],
    5,
    { ...whole, id: "0123456789ab" },
    { ...whole, status: "asleep" },
    { ...whole, ports: [{ hostPort: 80 }] },
    { ...whole, config: { image: "debian", command: "true" } },
    { ...whole, defaults: { ...(whole["defaults"] as object), env: { A: 1 } } },
    ...Object.keys(whole).map((field) => ({ ...whole, [field]: undefined })),
  ];
  for (const text of ["", "{", ...damages.map((damage) => JSON.stringify(damage))]) {
    await writeFile(directories.path(id, "vm.json"), text);
    assert.equal(await directories.read(id), "damaged", text);
    assert.equal(await directories.load(id), undefined);
    assert.equal(await directories.find("x"), id);
  }
  await writeFile(directories.path(id, "vm.json"), JSON.stringify(whole));
  assert.deepEqual(await directories.load(id), whole);
  await assert.rejects(directories.find("../../etc"), code("no-such-vm"));
});

test("what is left of a VM with a damaged record can be removed, unless the VM runs, and its name is free", async () => {
  const host = new Host({ stateDirectory: join(state, "k") });
  const directories = new VmDirectories(join(state, "k"));
  const { id, lock } = await directories.create("broken");
  await writeFile(directories.path(id, "vm.json"), "{}");
  const sentence = new RegExp(`VM broken \\(${id}\\) is damaged; .*'mere rm broken'`);
  for (const name of ["broken", id])
    await assert.rejects(host.get(name), (error) => code("damaged")(error) && sentence.test((error as Error).message));
  assert.deepEqual(await host.list(), []);
  assert.match((await host.damaged()).map(({ message }) => message).join(), sentence);
  await assert.rejects(directories.create("broken"), code("name-in-use"));
  await assert.rejects(host.removeDamaged("broken"), code("still-running"));
  lock.release();
  await host.removeDamaged("broken");
  assert.deepEqual(await readdir(directories.root), [".names"]);
  const whole = await directories.create("broken");
  await directories.save(record(whole));
  await assert.rejects(host.removeDamaged("broken"), code("bad-option"));
});

test("a VM lives as long as somebody holds its lock, whatever process its record names", async () => {
  const host = new Host({ stateDirectory: join(state, "l") });
  const directories = new VmDirectories(join(state, "l"));
  const claimed = await directories.create("here");
  // Of another container, say: no process of that number is here; and the other way round.
  await directories.save(record(claimed, { status: "running", pid: 2 ** 22 + 1 }));
  assert.deepEqual(
    (await host.list()).map(({ status }) => status),
    ["running"],
  );
  claimed.lock.release();
  await directories.save(record(claimed, { status: "running", pid: process.pid }));
  assert.deepEqual(
    (await host.list()).map(({ status, reason }) => [status, reason]),
    [["failed", "its process was killed"]],
  );
});

test("the lock of a process that is killed is free", async () => {
  const root = join(state, "m");
  const program = `
    const { VmDirectories } = await import(${JSON.stringify(new URL("./vm-directory.ts", import.meta.url).href)});
    const { id } = await new VmDirectories(${JSON.stringify(root)}).create("theirs");
    console.log(id);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [chunk] = (await once(child.stdout, "data")) as [Buffer];
  const id = chunk.toString().trim();
  const directories = new VmDirectories(root);
  assert.equal(directories.isAlive(id), true);
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(directories.isAlive(id), false);
});

test("what was left half made or half removed goes, and its name is free", async () => {
  const directories = new VmDirectories(join(state, "h"));
  const [old, dead, young, whole] = [
    await directories.create("old"),
    await directories.create("dead"),
    await directories.create("young"),
    await directories.create("whole"),
  ];
  await directories.save(record(whole));
  const longAgo = new Date(Date.now() - 3_600_000);
  // Killed before it had a lock, and with one; one that is on its way to its lock, and one that has it.
  await rm(directories.path(old.id, "lock"));
  await mkdir(directories.path("0123456789ab"));
  dead.lock.release();
  for (const { id } of [old, young, whole]) await utimes(directories.path(id), longAgo, longAgo);
  await directories.removeNameless();
  assert.deepEqual((await directories.ids()).toSorted(), [young.id, whole.id, "0123456789ab"].toSorted());
  for (const name of ["old", "dead"]) assert.equal((await directories.create(name)).name, name);
  await assert.rejects(directories.create("young"), code("name-in-use"));
});

test("a record is replaced whole", async () => {
  const directories = new VmDirectories(join(state, "f"));
  const claimed = await directories.create("x");
  await Promise.all([1, 2, 3].map((pid) => directories.save(record(claimed, { pid }))));
  assert.ok([1, 2, 3].includes((await directories.load(claimed.id))!.pid));
  assert.deepEqual(await readdir(directories.path(claimed.id)), ["lock", "vm.json"]);
});

test(
  "a place that cannot be written is said",
  { skip: process.getuid?.() === 0 ? "root writes everywhere" : false },
  async () => {
    const closed = join(state, "g");
    await mkdtemp(closed);
    await chmod(state, 0o500);
    await assert.rejects(new VmDirectories(closed).create("x"), code("state"));
    await chmod(state, 0o700);
  },
);
