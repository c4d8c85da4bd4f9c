/* Directories of the host in a VM with Debian's kernel, as programs use them: one boot, whose script works in a writable share and in a read-only one. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FsDevice } from "../src/device/virtio/fs.ts";
import { openShare, type ShareServer } from "../src/share/share-server.ts";
import { DeviceGuest } from "./support/device-guest.ts";

const work = fs.mkdtempSync(join(tmpdir(), "mere-boot-share-"));
const [shared, readOnly] = [join(work, "shared"), join(work, "read-only")];
const at = (name: string): string => join(shared, name);

/** The sum of every file below a directory, as the script prints it. */
function sums(root: string): string {
  return fs
    .readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => fs.lstatSync(join(root, name)).isFile())
    .map(
      (name) =>
        `${createHash("sha256")
          .update(fs.readFileSync(join(root, name)))
          .digest("hex")}  ./${name}\n`,
    )
    .toSorted()
    .join("");
}
/** 40 directories of 5 files, of none to 30,000 bytes. */
function plantTree(root: string): void {
  for (let i = 0; i < 200; i++) {
    const directory = join(root, `d${i % 8}`, `e${i % 5}`);
    fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(join(directory, `file ${i}`), Buffer.alloc((i * 7919) % 30_001, `${i} is the content of this. `));
  }
}

const SCRIPT = `
section() { echo "== $1"; }
sums() { (cd $1 && find . -type f -exec sha256sum {} + | LC_ALL=C sort); }
mkdir /mnt /ro
section mount; mount -t virtiofs work /mnt && mount -t virtiofs fixed /ro; grep virtiofs /proc/mounts
cd /mnt
section tree; sums tree
section copies
for n in 1 2 3; do cp -r tree copy$n & done; wait
cp -r tree /tmp/tree && cp -r /tmp/tree back && echo copied
mv copy1/d0 copy1/moved && mv copy1/moved . && rm -rf copy3 && find moved | wc -l
section objects
mkdir -p objects refs
n=0; while [ $n -lt 40 ]; do
  echo "object $n" >objects/tmp$n && ln objects/tmp$n objects/o$n && rm objects/tmp$n
  (set -C; : >refs/head.lock) && echo "$n" >>refs/head.lock && mv refs/head.lock refs/head
  n=$((n+1))
done; cat refs/head; cat objects/* | wc -l
section io
dd if=/dev/urandom of=big bs=1M count=8 2>/dev/null; sha256sum <big
dd if=big of=part bs=4099 skip=777 count=1000 2>/dev/null; sha256sum <part
printf one >log; printf two >>log; (printf three; printf four) >>log; cat log; echo
truncate -s 5 log; cat log; echo; truncate -s 20 log; wc -c <log
dd if=/dev/zero of=log bs=1 seek=3 count=2 conv=notrunc 2>/dev/null; od -c log | head -1
section attributes
touch -d "2001-02-03 04:05:06" dated; chmod 4640 dated; chmod 640 dated; stat -c '%a %Y %u %g' dated
chown 0:0 dated && echo kept; chown 5 dated
ln -s tree/d0 link; ls link/e0 | head -1; readlink link
mkfifo fifo && (echo through >fifo & cat fifo)
mknod device c 1 3
section open-and-removed
exec 5<>gone; echo first >&5; rm gone; echo second >&5; cat /proc/self/fd/5; exec 5>&-; ls gone
section program
cp /bin/busybox busybox-here && ./busybox-here echo from the share && ./busybox-here cmp busybox-here /bin/busybox && echo same
section read-only
cat /ro/file; echo x >/ro/file; rm /ro/file; mkdir /ro/d; touch /ro/file; echo x >/ro/new; mv /ro/file /ro/g
section changes
cat changing; ls new
echo ready; read -r line
tries=0; until [ "$(cat changing)" = "by the host" ] && [ -e new ] && [ ! -e leaving ]; do
  tries=$((tries+1)); [ $tries -lt 100 ] || break; sleep 0.1
done; cat changing; cat new; ls leaving
section space; df /mnt | tail -1 | awk '{print ($2 > 0)}'; sync
section log; dmesg | grep -E 'WARNING|BUG:|Oops|fuse:.*(bad|inval)|virtio.*(fail|error)'
section end
`;

describe("directories of the host in a VM", { timeout: 280_000 }, () => {
  let guest: DeviceGuest;
  const servers: ShareServer[] = [];
  let atReady = { changing: "", head: "" };

  before(async () => {
    for (const path of [shared, readOnly]) fs.mkdirSync(path);
    plantTree(at("tree"));
    for (const name of ["changing", "leaving"]) fs.writeFileSync(at(name), "at first\n");
    fs.writeFileSync(join(readOnly, "file"), "fixed\n");
    servers.push(await openShare(shared), await openShare(readOnly, { readOnly: true }));
    const devices = [
      new FsDevice({ tag: "work", server: servers[0]! }),
      new FsDevice({ tag: "fixed", server: servers[1]! }),
    ];
    guest = await DeviceGuest.start({ modules: ["fuse", "virtiofs"], devices, script: SCRIPT, cpus: 2 });
    await guest.until("\nready\n");
    // What the guest wrote is there at once.
    atReady = { changing: fs.readFileSync(at("changing"), "utf8"), head: fs.readFileSync(at("refs/head"), "utf8") };
    fs.writeFileSync(at("changing"), "by the host\n");
    fs.writeFileSync(at("new"), "new\n");
    fs.rmSync(at("leaving"));
    guest.type("go");
    await guest.until("== end\n");
  });
  after(async () => {
    await guest?.stop();
    for (const server of servers) await server.close();
    fs.rmSync(work, { recursive: true, force: true });
  });
  const section = (name: string): string => guest.section(name);

  test("are mounted by their tags", () => {
    assert.match(section("mount"), /^work \/mnt virtiofs rw.*\nfixed \/ro virtiofs rw/);
  });

  test("have the host's files in them, byte for byte", () => {
    assert.equal(section("tree"), sums(at("tree")));
  });

  test("are copied from and to, by several programs at once", () => {
    assert.equal(section("copies"), "copied\n31\n");
    for (const name of ["back", "copy2"]) assert.equal(sums(at(name)), sums(at("tree")), name);
    assert.equal(sums(at("moved")), sums(at("tree/d0")));
    assert.ok(!fs.existsSync(at("copy3")) && !fs.existsSync(at("copy1/d0")));
  });

  test("have lock files, links and renames as version control uses them", () => {
    assert.equal(section("objects"), "39\n40\n");
    assert.deepEqual([atReady.head, fs.readdirSync(at("objects")).length], ["39\n", 40]);
    assert.deepEqual(fs.readdirSync(at("refs")), ["head"]);
  });

  test("are written and read in any pieces", () => {
    const big = fs.readFileSync(at("big"));
    const sum = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
    assert.equal(big.length, 8 << 20);
    const part = big.subarray(777 * 4099, 1777 * 4099);
    assert.deepEqual(fs.readFileSync(at("part")), part);
    const [bigSum, partSum, ...rest] = section("io").split("\n");
    assert.deepEqual([bigSum, partSum], [`${sum(big)}  -`, `${sum(part)}  -`]);
    assert.deepEqual(rest.slice(0, 3), ["onetwothreefour", "onetw", "20"]);
    assert.match(rest[3]!, /^0000000 {3}o {3}n {3}e {2}\\0 {2}\\0 {2}\\0/);
  });

  test("have modes, times, owners, links and fifos", () => {
    const seconds = Date.UTC(2001, 1, 3, 4, 5, 6) / 1000;
    const text = section("attributes");
    assert.ok(text.includes(`640 ${seconds} 0 0\nkept\n`), text);
    assert.match(text, /chown: dated: Operation not permitted/);
    assert.match(text, /chmod: dated: Operation not permitted/);
    assert.match(text, /file 0\ntree\/d0\nthrough\n/);
    assert.match(text, /mknod: device: Operation not permitted/);
    assert.equal(fs.statSync(at("dated")).mtimeMs, seconds * 1000);
    assert.equal(fs.statSync(at("dated")).mode & 0o7777, 0o640);
  });

  test("keep a file that was removed until it is closed", () => {
    assert.equal(section("open-and-removed"), "first\nsecond\nls: gone: No such file or directory\n");
  });

  test("hold programs that run", () => {
    assert.equal(section("program"), "from the share\nsame\n");
  });

  test("refuse all changes where they are read-only", () => {
    const lines = section("read-only").trimEnd().split("\n");
    assert.equal(lines.shift(), "fixed");
    assert.equal(lines.length, 6, lines.join("\n"));
    for (const line of lines) assert.match(line, /Read-only file system/);
    assert.deepEqual(fs.readdirSync(readOnly), ["file"]);
  });

  test("show in time what changes on the host", () => {
    assert.equal(atReady.changing, "at first\n");
    const [before, after] = section("changes").split("ready\n");
    assert.equal(before, "at first\nls: new: No such file or directory\n");
    assert.match(after!, /by the host\nnew\nls: leaving: No such file or directory\n$/);
  });

  test("tell their space, and the kernel complains of nothing", () => {
    assert.equal(section("space"), "1\n");
    assert.equal(section("log"), "");
  });
});
