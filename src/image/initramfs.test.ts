import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { busyboxApplets } from "./busybox.ts";
import { CpioWriter } from "./cpio.ts";
import { buildInitramfs, type InitramfsOptions, LARGEST_STDIN } from "./initramfs.ts";

const busybox = Buffer.from("\x7fELF…\0[\0[[\0cat\0insmod\0sh\0\0rest", "latin1");
const options: InitramfsOptions = {
  busybox,
  modules: [{ name: "virtio", data: Buffer.from("VIRTIO") }],
  command: ["true"],
  stdin: "none",
  token: "t",
};

interface Entry {
  mode: number;
  data: Buffer;
  rdev: [number, number];
}

/** An independent reader of newc archives. */
function readCpio(archive: Uint8Array): Map<string, Entry> {
  const bytes = Buffer.from(archive);
  const entries = new Map<string, Entry>();
  for (let at = 0; ;) {
    assert.equal(bytes.toString("latin1", at, at + 6), "070701");
    const field = (index: number): number =>
      Number.parseInt(bytes.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    const name = bytes.toString("utf8", at + 110, at + 110 + field(11) - 1);
    const start = (at + 110 + field(11) + 3) & ~3;
    if (name === "TRAILER!!!") return entries;
    entries.set(name, { mode: field(1), data: bytes.subarray(start, start + field(6)), rdev: [field(9), field(10)] });
    at = (start + field(6) + 3) & ~3;
  }
}

test("the archive holds files, links, devices with parents before children", () => {
  const entries = readCpio(buildInitramfs({ ...options, stdin: Buffer.from("in\0put") }));
  assert.deepEqual(entries.get("dev/console"), { mode: 0o020600, data: Buffer.alloc(0), rdev: [5, 1] });
  assert.equal(entries.get("bin/cat")?.mode, 0o120777);
  assert.equal(entries.get("bin/cat")?.data.toString(), "busybox");
  assert.equal(entries.get("init")?.mode, 0o100755);
  assert.equal(entries.get(".mere/modules/virtio.ko")?.data.toString(), "VIRTIO");
  assert.equal(entries.get(".mere/stdin")?.data.toString(), "in\0put");
  const seen = new Set([""]);
  for (const name of entries.keys()) {
    assert.ok(seen.has(name.slice(0, Math.max(0, name.lastIndexOf("/")))), `${name} comes before its directory`);
    seen.add(name);
  }
});

test("a cpio program reads it", (t) => {
  const cpio = new CpioWriter();
  cpio.directory("d");
  cpio.file("d/odd name", "12345");
  cpio.symlink("l", "d/odd name");
  let listing: string;
  try {
    listing = execFileSync("busybox", ["cpio", "-itv"], {
      input: cpio.finish(),
      encoding: "utf8",
      stdio: ["pipe", "pipe", "ignore"],
    });
  } catch {
    return t.skip("no busybox here");
  }
  assert.match(listing, /^drwxr-xr-x .* d\n-rw-r--r-- .* 5 .* d\/odd name\nlrwxrwxrwx .* l -> d\/odd name\n$/);
});

test("a kernel that has everything built in gets no modules", () => {
  const entries = readCpio(buildInitramfs({ ...options, modules: [] }));
  assert.deepEqual(
    [...entries.keys()].filter((name) => name.endsWith(".ko")),
    [],
  );
  assert.match(entries.get(".mere/config")!.data.toString(), /^MODULES=''$/m);
});

test("the same input gives the same bytes", () => {
  assert.deepEqual(buildInitramfs(options), buildInitramfs(options));
});

test("any words reach the guest's shell unchanged", () => {
  const directory = mkdtempSync(join(tmpdir(), "mere-initramfs-"));
  const word = fc
    .string({ unit: "binary", maxLength: 20 })
    .filter((text) => !text.includes("\0") && text.isWellFormed());
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), word, (command, value) => {
      const entries = readCpio(buildInitramfs({ ...options, command, environment: { NAME: value } }));
      const text = (name: string): string => entries.get(name)!.data.toString();
      const script = `${text(".mere/command")}${text(".mere/environment")}printf '%s\\0' "$@" "$NAME"`;
      const output = execFileSync("sh", [], { input: script, cwd: directory, encoding: "utf8" });
      assert.deepEqual(output.split("\0").slice(0, -1), [...command, value]);
    }),
    { numRuns: 30 },
  );
  rmSync(directory, { recursive: true });
});

test("what cannot be given is refused", () => {
  assert.throws(() => buildInitramfs({ ...options, command: ["a\0b"] }), /NUL/);
  assert.throws(() => buildInitramfs({ ...options, environment: { "A;B": "" } }), /environment variable/);
  assert.throws(() => buildInitramfs({ ...options, stdin: new Uint8Array(LARGEST_STDIN + 1) }), /--disk/);
  assert.throws(() => buildInitramfs({ ...options, busybox: Buffer.from("no") }), /no busybox/);
});

test("init is a shell script that parses", () => {
  execFileSync("sh", ["-n", new URL("./init", import.meta.url).pathname]);
});

test("a real busybox's applets are those that it lists", (t) => {
  let listed: string;
  try {
    listed = execFileSync("/bin/busybox", ["--list"], { encoding: "utf8" });
  } catch {
    return t.skip("no busybox here");
  }
  assert.deepEqual(busyboxApplets(readFileSync("/bin/busybox")).sort(), listed.trim().split("\n").sort());
});
