/* A VM that is told to have less than Mere's machine: what benchmarks compare with it. One boot of Debian's kernel, with an init that looks. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { busyboxApplets } from "../src/image/busybox.ts";
import { CpioWriter } from "../src/image/cpio.ts";
import { ensureBusybox, ensureKernel, vmlinuxPath } from "../src/image/kernel.ts";
import { CPU_FEATURES } from "../src/isa/features.ts";
import { KvmFeature } from "../src/isa/system/cpu-model.ts";
import { createMachine } from "../src/vm/machine.ts";

const INIT = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
grep flags /proc/cpuinfo
echo "clocks: $(cat /sys/devices/system/clocksource/clocksource0/available_clocksource)"
poweroff -f
`;

test("features that a machine is not to have are not there", { timeout: 280_000 }, async () => {
  const busybox = readFileSync(await ensureBusybox());
  const cpio = new CpioWriter();
  for (const path of ["bin", "dev", "proc", "sys"]) cpio.directory(path);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.file("bin/busybox", busybox, 0o755);
  for (const applet of busyboxApplets(busybox)) if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
  cpio.file("init", INIT, 0o755);
  let output = "";
  const machine = await createMachine({
    cpus: 1,
    memoryBytes: 256 * 1024 * 1024,
    kernel: readFileSync(vmlinuxPath(await ensureKernel())),
    initrd: cpio.finish(),
    commandLine: "console=ttyS0 quiet panic=-1",
    disks: [],
    kvmFeatures: KvmFeature.NOP_IO_DELAY,
    // Not one of the two alone: Linux 6.1's memmove() runs for ever on a processor with FSRM and without ERMS.
    cpuFeatures: [...CPU_FEATURES].filter((feature) => feature !== "erms" && feature !== "fsrm"),
    serialOutput: (bytes) => (output += Buffer.from(bytes).toString("latin1")),
  });
  after(() => machine.stop());
  machine.start();
  assert.equal((await machine.wait()).reason, "poweroff", output);
  const flags = /^flags\s*:(.*?)\r?$/m.exec(output)?.[1]?.split(" ") ?? assert.fail(output);
  assert.deepEqual(
    ["fsrm", "erms", "popcnt"].map((flag) => flags.includes(flag)),
    [false, false, true],
  );
  assert.match(output, /^clocks: /m);
  assert.doesNotMatch(output, /kvm-clock/);
});
