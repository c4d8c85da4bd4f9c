/* What Lockstep boots: Debian's kernel with an initramfs of busybox, whose init runs a few programs and switches the machine off. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { busyboxApplets } from "../../src/image/busybox.ts";
import { CpioWriter } from "../../src/image/cpio.ts";
import { ensureBusybox, ensureKernel, vmlinuxPath } from "../../src/image/kernel.ts";
import type { BootImage } from "./repeatable-machine.ts";

/** Integers, tables, long strings, floating point, processes. */
const COMMANDS = `head -c 300000 /bin/busybox >/tmp/data
sha256sum /tmp/data
md5sum /tmp/data
gzip -c /tmp/data >/tmp/data.gz
gunzip -c /tmp/data.gz | cmp - /tmp/data && echo "gzip is right"
od -An -tu4 -v /tmp/data | head -n 3000 | tr -s ' ' '\\n' >/tmp/words
sort -n /tmp/words | uniq | md5sum
awk '{ s += $1 * 0.37; n[$1 % 97]++ } END { printf "%.9g %d %.12f\\n", s, n[5], s / 7 }' /tmp/words
sed -e 's/1\\([0-9]\\)/\\1x/g' /tmp/words | grep -c x
i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; echo $i
tar c /bin /init | bzip2 -c | wc -c
sleep 0.05
head -3 /proc/interrupts`;

const init = (commands: string): string => `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
echo "init runs"
${commands}
poweroff -f
`;

export interface BootImageOptions {
  /** bzImage or vmlinux; without it Debian's, downloaded if it must be. */
  readonly kernel?: string | undefined;
  /** Static executables to be in the guest's /bin. */
  readonly program?: readonly string[] | undefined;
  /** What init runs, instead of COMMANDS. */
  readonly commands?: string | undefined;
}

/** Reads and makes what is to be booted. */
export async function bootImage({ kernel, program = [], commands }: BootImageOptions = {}): Promise<BootImage> {
  const busybox = readFileSync(await ensureBusybox());
  const cpio = new CpioWriter();
  for (const path of ["bin", "dev", "proc", "sys", "tmp"]) cpio.directory(path);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.file("bin/busybox", busybox, 0o755);
  for (const applet of busyboxApplets(busybox)) if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
  for (const file of program) cpio.file(`bin/${basename(file)}`, readFileSync(file), 0o755);
  cpio.file("init", init(commands ?? COMMANDS), 0o755);
  return {
    kernel: readFileSync(kernel ?? vmlinuxPath(await ensureKernel({}, "debian"))),
    initrd: cpio.finish(),
    commandLine: "console=ttyS0 earlyprintk=ttyS0 panic=-1",
  };
}
