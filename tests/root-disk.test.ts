/* A root image that Mere made, as Debian's kernel sees it: everything is there as the layers said, it can be written to, and e2fsck finds it whole afterwards. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { busyboxApplets } from "../src/image/busybox.ts";
import { runCommand } from "../src/image/command.ts";
import { assertClean, debugfs, withoutE2fsprogs } from "../src/image/ext4/test-ext4.ts";
import { ensureBusybox } from "../src/image/kernel.ts";
import { MOUNT_POINTS } from "../src/image/root/extra-entries.ts";
import { buildRootImage } from "../src/image/root/root-image.ts";
import { type TestEntry, archive } from "../src/image/root/test-archive.ts";
import { type Ended, runMere, summary } from "./support/mere.ts";

const MARK = "== section ";
/** Enough for an index of several blocks, and for a file of more than one extent around a copy of the superblock. */
const MANY = 2000;
const LARGE = Buffer.from(Uint32Array.from({ length: 1 << 18 }, (_, i) => Math.imul(i, 2654435761)).buffer);

const PROGRAM = `
section() { echo "${MARK}$1"; }
cd /data
section stat; stat -c '%n %F %a %u %g %s %h %Y %t:%T' file null pipe link hard sticky
section links; readlink link; readlink long
section sums; sha256sum file large hard
section many; ls many | wc -l; cat many/name-1234; ls many/name-9999 2>/dev/null || echo none
section gone; ls -1 /data /lower
section device; head -c 3 /data/null | wc -c
section free; df -P / | awk 'NR==2 { print ($4 > 15000000) }'
section write
mkdir many/new && cp large many/new/copy && mv many/name-7 many/new/moved && rm many/name-8 large
i=0; while [ $i -lt 500 ]; do : >many/more-$i; i=$((i + 1)); done
ln file many/new/hard2 && rm hard && chmod 600 file && echo added >>file; sync; echo "status $?"
section dmesg; dmesg | grep -i ext4
section end`;

const file = (path: string, data: string | Uint8Array, more: Partial<TestEntry> = {}): TestEntry => ({
  path,
  data,
  ...more,
});

async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
}

describe("a root disk made of layers", { skip: withoutE2fsprogs, timeout: 280_000 }, () => {
  let directory = "";
  let image = "";
  let ended: Ended;
  const sections = new Map<string, string>();
  const section = (name: string): string => sections.get(name) ?? assert.fail(`no section ${name}\n${summary(ended)}`);

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-root-disk-"));
    image = join(directory, "root.ext4");
    const busybox = await readFile(await ensureBusybox({}));
    const applets = busyboxApplets(busybox).filter((name) => name !== "busybox");
    const layers = [
      [
        file("bin/busybox", busybox, { mode: 0o755 }),
        ...applets.map((name) => ({ path: `bin/${name}`, type: "2", link: "busybox" })),
        file("lower/hidden", "x"),
        file("data/gone", "x"),
        file("data/file", "first"),
      ],
      [
        file("data/file", "hello\n", { mode: 0o4751, uid: 1000, gid: 70_000, mtime: 1_700_000_000 }),
        { path: "data/hard", type: "1", link: "data/file" },
        { path: "data/null", type: "3", device: [1, 3] as const, mode: 0o666 },
        { path: "data/pipe", type: "6" },
        { path: "data/link", type: "2", link: "file" },
        { path: "data/long", type: "2", link: "long/".repeat(50) },
        { path: "data/sticky/", mode: 0o1777 },
        file("data/large", LARGE),
        ...Array.from({ length: MANY }, (_, i) => file(`data/many/name-${i}`, `${i}`)),
        file("data/.wh.gone", ""),
        file("lower/.wh..wh..opq", ""),
      ],
    ];
    await buildRootImage({
      layers: layers.map((entries, i) => ({ name: `layer ${i}`, open: () => inPieces(archive(entries)) })),
      extra: MOUNT_POINTS,
      output: image,
    });
    ended = await runMere([
      "run",
      "--kernel",
      "debian",
      "--disk",
      image,
      "--append",
      "root=/dev/vda",
      "--",
      "sh",
      "-c",
      PROGRAM,
    ]);
    for (const part of ended.stdout.toString().split(MARK).slice(1)) {
      const end = part.indexOf("\n");
      sections.set(part.slice(0, end), part.slice(end + 1));
    }
  });
  after(() => rm(directory, { recursive: true, force: true }));

  test("is mounted, and the command runs in it", () => {
    assert.equal(ended.status, 0, summary(ended));
    assert.equal(section("end"), "");
  });

  test("has all files with their types, modes, owners, sizes, links, times and devices", () => {
    assert.deepEqual(section("stat").trim().split("\n"), [
      "file regular file 4751 1000 70000 6 2 1700000000 0:0",
      "null character special file 666 0 0 0 1 0 1:3",
      "pipe fifo 644 0 0 0 1 0 0:0",
      "link symbolic link 777 0 0 4 1 0 0:0",
      "hard regular file 4751 1000 70000 6 2 1700000000 0:0",
      "sticky directory 1777 0 0 4096 2 0 0:0",
    ]);
    assert.equal(section("links"), `file\n${"long/".repeat(50)}\n`);
    assert.equal(section("device"), "0\n");
  });

  test("has their data", () => {
    const sha256 = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");
    const expected = [`${sha256("hello\n")}  file`, `${sha256(LARGE)}  large`, `${sha256("hello\n")}  hard`];
    assert.deepEqual(section("sums").trim().split("\n"), expected);
  });

  test("finds names in large directories, and no others", () => {
    assert.equal(section("many"), `${MANY}\n1234none\n`);
  });

  test("has nothing that an upper layer hides", () => {
    assert.equal(section("gone"), "/data:\nfile\nhard\nlarge\nlink\nlong\nmany\nnull\npipe\nsticky\n\n/lower:\n");
  });

  test("has room, and nothing to initialise", async () => {
    assert.equal(section("free"), "1\n");
    const { stdout } = await runCommand("env", [`PATH=${process.env["PATH"] ?? ""}:/usr/sbin`, "dumpe2fs", image]);
    const groups = stdout.split("\n").filter((line) => /^Group \d/.test(line));
    assert.ok(groups.length > 1);
    assert.deepEqual(
      groups.filter((line) => !line.includes("ITABLE_ZEROED")),
      [],
    );
  });

  test("can be written to, and is whole afterwards", async () => {
    assert.equal(section("write"), "status 0\n");
    assert.doesNotMatch(section("dmesg"), /error|warning|corrupt/i);
    await assertClean(image);
    const [text, names] = await debugfs(image, ["cat /data/many/new/hard2", "ls -p /data/many"]);
    assert.equal(text, "hello\nadded\n");
    assert.equal(names!.match(/\/(name|more)-/g)?.length, MANY - 2 + 500);
  });
});
