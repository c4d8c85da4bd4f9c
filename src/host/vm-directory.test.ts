/* VMs' directories and names: claimed once, found by name, id or its beginning, gone when removed. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { resolveVmOptions } from "./vm-config.ts";
import { VmDirectories, type VmRecord } from "./vm-directory.ts";

let state = "";
before(async () => (state = await mkdtemp(join(tmpdir(), "mere-state-"))));
after(() => rm(state, { recursive: true, force: true }));

function record(claimed: { id: string; name: string }, more: Partial<VmRecord> = {}): VmRecord {
  return {
    ...claimed,
    config: resolveVmOptions({}),
    defaults: { env: {}, user: "", workingDirectory: "/" },
    status: "exited",
    createdAt: new Date(0).toISOString(),
    pid: 1,
    pidStart: "1",
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

test("damaged records and strange files are passed over", async () => {
  const directories = new VmDirectories(join(state, "e"));
  const { id } = await directories.create("x");
  await writeFile(directories.path(id, "vm.json"), "{");
  assert.equal(await directories.load(id), undefined);
  await assert.rejects(directories.find("x"), code("no-such-vm"));
  await assert.rejects(directories.find("../../etc"), code("no-such-vm"));
});

test("what was left half made or half removed goes, and its name is free", async () => {
  const directories = new VmDirectories(join(state, "h"));
  const [old, young, whole] = [
    await directories.create("old"),
    await directories.create("young"),
    await directories.create("whole"),
  ];
  await directories.save(record(whole));
  const longAgo = new Date(Date.now() - 3_600_000);
  for (const { id } of [old, whole]) await utimes(directories.path(id), longAgo, longAgo);
  await directories.removeNameless();
  assert.deepEqual((await directories.ids()).toSorted(), [young.id, whole.id].toSorted());
  assert.equal((await directories.create("old")).name, "old");
  await assert.rejects(directories.create("young"), code("name-in-use"));
});

test("a record is replaced whole", async () => {
  const directories = new VmDirectories(join(state, "f"));
  const claimed = await directories.create("x");
  await Promise.all([1, 2, 3].map((pid) => directories.save(record(claimed, { pid }))));
  assert.ok([1, 2, 3].includes((await directories.load(claimed.id))!.pid));
  assert.deepEqual(await readdir(directories.path(claimed.id)), ["vm.json"]);
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
