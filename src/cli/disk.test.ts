import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { e2fsprogs } from "../../tests/support/guest-programs.ts";
import { type Ended, runMere } from "../../tests/support/mere.ts";
import { listDisks } from "../disk/store.ts";
import { mkfsExt4 } from "../image/ext4/mkfs.ts";
import { removeImage } from "../image/images.ts";
import { copyRaw } from "../disk/merge.ts";
import { commitImage } from "../image/store/commit.ts";
import { EMPTY_CONFIG } from "../image/store/stored-image.ts";

const home = mkdtempSync(join(tmpdir(), "mere-cli-disk-"));
after(() => rmSync(home, { recursive: true }));
const disk = (...words: string[]): Promise<Ended> => runMere(["disk", ...words], { env: { XDG_DATA_HOME: home } });
const hasTools = (await e2fsprogs("e2fsck", "-V")).status === 0;

test("mere disk: create, list, grow, export, remove", async () => {
  const made = await disk("create", "data", "--size", "1G");
  const path = join(home, "mere/disks/data.raw");
  assert.deepEqual([made.status, made.stdout.toString(), made.stderr], [0, `${path}\n`, ""]);
  if (hasTools) assert.equal((await e2fsprogs("e2fsck", "-f", "-n", path)).status, 0, "it has a whole file system");
  assert.ok(statSync(path).blocks * 512 < 4 << 20, "and takes room as it is written");
  assert.equal((await disk("create", "mine", "--from", "data", "--format", "overlay", "--size", "2G")).status, 0);
  const { stdout } = await disk("list", "--json");
  const listed = (JSON.parse(stdout.toString()) as Record<string, unknown>[]).map((one) => [
    one["name"],
    one["format"],
    one["sizeBytes"],
    one["inUse"],
  ]);
  assert.deepEqual(listed, [
    ["data", "raw", 2 ** 30, false],
    ["mine", "overlay", 2 ** 31, false],
  ]);
  assert.match((await disk("list")).stdout.toString(), /^NAME\s+FORMAT\s+SIZE\s+TAKES\s+IN USE\ndata\s+raw\s+1 GiB/);
  assert.equal((await disk("grow", "mine", "--size", "3G")).status, 0);
  const file = join(home, "exported");
  assert.equal((await disk("export", "mine", file)).status, 0);
  assert.equal(statSync(file).size, 3 * 2 ** 30);
  assert.equal((await disk("remove", "mine", "data")).status, 0);
  assert.equal((await disk("list", "--json")).stdout.toString(), "[]\n");
});

test("mere disk: a disk over an image, or a copy of it, is made by the image's name, and what lies over it keeps it", async () => {
  const file = join(home, "root.ext4");
  await mkfsExt4(file, 16 << 20);
  const places = { dataDir: join(home, "mere") };
  const image = await commitImage({ writeDisk: (to) => copyRaw(file, to), config: EMPTY_CONFIG, name: "box" }, places);
  assert.equal((await disk("create", "over", "--from", "box", "--format", "overlay", "--size", "1G")).status, 0);
  assert.equal((await disk("create", "copied", "--from", "box")).status, 0);
  const disks = await listDisks(join(home, "mere/disks"));
  assert.deepEqual(
    disks.map(({ name, sizeBytes, base }) => [name, sizeBytes, base]),
    [
      ["copied", 16 << 20, undefined],
      ["over", 2 ** 30, image.rootDisk],
    ],
  );
  await assert.rejects(removeImage("box", places), { code: "in-use" });
  await disk("remove", "over");
  assert.equal((await removeImage("box", places)).removed, true);
  await disk("remove", "copied");
});

test("mere disk: mistakes are one sentence", async () => {
  const says = async (status: number, words: RegExp, ...line: string[]): Promise<void> => {
    const ended = await disk(...line);
    assert.equal(ended.status, status, ended.stderr);
    assert.match(ended.stderr, words);
    assert.equal(ended.stderr.trimEnd().split("\n").length, 1);
  };
  await says(2, /needs --size/, "create", "x");
  await says(2, /choose up to 4T/, "create", "x", "--size", "5T");
  await says(2, /multiple of 4K/, "create", "x", "--size", "1000");
  await says(2, /choose raw or overlay/, "create", "x", "--size", "1G", "--format", "qcow2");
  await says(2, /what it lies over/, "create", "x", "--size", "1G", "--format", "overlay");
  await says(1, /cannot be a disk's name/, "create", "../x", "--size", "1G");
  await says(1, /check the path/, "create", "x", "--from", "./nothing");
  await says(1, /no disk nothing/, "remove", "nothing");
});
