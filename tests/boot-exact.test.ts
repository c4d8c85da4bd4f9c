/* A kernel, an initramfs and a command line of the user's own: Debian's cloud kernel with inits that are a few lines of shell, on the serial port. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { busyboxApplets } from "../src/image/busybox.ts";
import { CpioWriter } from "../src/image/cpio.ts";
import { ensureBusybox, ensureKernel, vmlinuxPath } from "../src/image/kernel.ts";
import { type Ended, runMere, startMere, summary } from "./support/mere.ts";

const work = mkdtempSync(join(tmpdir(), "mere-exact-"));
after(() => rmSync(work, { recursive: true, force: true }));
const initrd = join(work, "initrd");
let kernel: string;

/** An initramfs whose init can be told by the kernel's command line what to do at the end. */
const INIT = `#!/bin/sh
mount -t proc proc /proc
stty -echo
echo "words: $(cat /proc/cmdline)"
echo "ask"
read -r line
echo "got: $line"
case $line in
reboot) reboot -f ;;
crash) echo c >/proc/sysrq-trigger ;;
esac
`; // and then it ends, which is a panic

before(async () => {
  kernel = vmlinuxPath(await ensureKernel({}, "debian"));
  const busybox = readFileSync(await ensureBusybox());
  const cpio = new CpioWriter();
  for (const path of ["bin", "dev", "proc", "sbin"]) cpio.directory(path);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.file("bin/busybox", busybox, 0o755);
  for (const applet of busyboxApplets(busybox)) if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
  cpio.file("init", INIT, 0o755);
  writeFileSync(initrd, cpio.finish());
});

/** Boots, and answers `line` when the guest asks: what came before the kernel opened its port would be lost, as on any serial line. */
async function answer(line: string, append: string): Promise<Ended> {
  const words = ["run", "--kernel", kernel, "--initrd", initrd, "--append", append];
  const { child, ended } = startMere(words, { input: "open" });
  let seen = "";
  child.stdout!.on("data", (chunk: Buffer) => {
    seen += chunk.toString();
    if (/^ask\r\n/m.test(seen)) child.stdin!.end(`${line}\n`);
  });
  return ended;
}

describe("a boot of one's own", { timeout: 280_000, concurrency: 2 }, () => {
  test("has the serial port on standard input and output, and a reboot ends it with 0", async () => {
    const append = "console=ttyS0 quiet one=1 two";
    const ended = await answer("reboot", append);
    assert.deepEqual([ended.status, ended.stderr], [0, ""], summary(ended));
    const lines = ended.stdout.toString().split("\r\n");
    assert.ok(lines.includes(`words: ${append}`), summary(ended));
    assert.ok(lines.includes("got: reboot"), summary(ended));
  });

  test("that panics and would stay so ends with 1, the processor's state and the kernel's last words", async () => {
    const ended = await answer("end", "console=ttyS0 quiet");
    assert.equal(ended.status, 1, summary(ended));
    assert.match(ended.stderr, /^mere run: the guest's kernel panicked\n.* at RIP ffffffff8\w+, CPL 0/);
    assert.match(ended.stderr, /\n {2}.*Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000000\n/);
    assert.match(ended.stdout.toString(), /---\[ end Kernel panic - not syncing: Attempted to kill init!/);
  });
});

test("a panic under Mere's own init ends with 1 and its words", { timeout: 280_000 }, async () => {
  const ended = await runMere([
    "run",
    "--kernel",
    "debian",
    "--",
    "sh",
    "-c",
    "echo before; echo c >/proc/sysrq-trigger; sleep 60",
  ]);
  assert.deepEqual([ended.status, ended.stdout.toString()], [1, "before\n"], summary(ended));
  assert.match(ended.stderr, /^mere run: the guest's kernel panicked\n/);
  assert.match(ended.stderr, /\n {2}.*Kernel panic - not syncing: sysrq triggered crash\n/);
  assert.match(ended.stderr, /\n {2}.*Call Trace:\n/);
});
