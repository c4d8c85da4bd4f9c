/* Debian's own cloud kernel in a VM, looked at from inside: one boot, whose command prints all that the tests look at, section by section. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { type Ended, runMere, summary } from "./support/mere.ts";

/** Every byte value, several times over and in another order, so that nothing on the way may take one for a control character. */
const BYTES = Uint8Array.from({ length: 4096 }, (_, i) => (i * 167 + (i >> 8)) & 0xff);
const MARK = "== section ";
const STATUS = 42;

const PROGRAM = `
section() { echo "${MARK}$1"; }
cat
section words; printf '%s|' "$@"; echo
section stdin-end; read -r line; echo "status $?"
section environment; env
section command-line; cat /proc/cmdline
section kernel; uname -a
section dmesg; dmesg
section clocksource; cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource available_clocksource; cd /
section interrupts; cat /proc/interrupts
section cpuinfo; cat /proc/cpuinfo
section memory; cat /proc/meminfo
section virtio; for d in /sys/bus/virtio/devices/*; do echo "$(cat $d/device) $(basename $(readlink $d/driver))"; done
section hwrng; cat /sys/class/misc/hw_random/rng_current; head -c 32 /dev/hwrng | wc -c
section users; id; hostname; tty
section uptime; cat /proc/uptime; date +%s
section end
exit ${STATUS}`;

/** Bits of /proc/cpuinfo that tell the CPU model, in Linux's names: what Debian asks for (x86-64-v2), what the kernel uses, what must not be there. */
const FLAGS =
  "fpu tsc msr pae cx8 apic pge cmov pat clflush mmx fxsr sse sse2 syscall nx pdpe1gb rdtscp lm pni ssse3 cx16 pcid sse4_1 sse4_2 x2apic popcnt tsc_deadline_timer xsave hypervisor lahf_lm fsgsbase smep smap erms invpcid constant_tsc tsc_known_freq".split(
    " ",
  );
const NO_FLAGS = ["avx", "avx2", "fma", "sep", "vmx", "svm", "mtrr", "mce", "nonstop_tsc"];

describe("Debian's cloud kernel", { timeout: 280_000 }, () => {
  let ended: Ended;
  const sections = new Map<string, string>();
  const section = (name: string): string => sections.get(name) ?? assert.fail(`no section ${name}\n${summary(ended)}`);

  before(async () => {
    ended = await runMere(
      ["run", "--kernel", "debian", "-i", "--stats", "--", "sh", "-c", PROGRAM, "sh", "one", "a  b", "", "it's $HOME"],
      {
        input: BYTES,
      },
    );
    const text = ended.stdout.subarray(BYTES.length).toString();
    for (const part of text.split(MARK).slice(1)) {
      const end = part.indexOf("\n");
      sections.set(part.slice(0, end), part.slice(end + 1));
    }
  });

  test("runs a command to its end and ends with its status", () => {
    assert.equal(ended.status, STATUS, summary(ended));
    assert.equal(section("end"), "");
  });

  test("standard input and output carry every byte unchanged, and input ends", () => {
    assert.deepEqual(ended.stdout.subarray(0, BYTES.length), Buffer.from(BYTES));
    assert.equal(section("stdin-end"), "status 1\n");
  });

  test("the command's words arrive as they were given", () => {
    assert.equal(section("words"), "one|a  b||it's $HOME|\n");
  });

  test("the command has a root's environment", () => {
    const lines = section("environment").split("\n");
    for (const line of ["HOME=/root", "TERM=linux"]) assert.ok(lines.includes(line), line);
    assert.ok(lines.some((line) => /^PATH=.*:\/bin$/.test(line)));
    assert.match(section("users"), /^uid=0\(root\) gid=0\(root\)/);
  });

  test("is Debian's, unchanged", () => {
    assert.match(section("kernel"), /^Linux mere \d\S+-cloud-amd64 #1 SMP .*Debian .* x86_64 GNU\/Linux\n$/);
    assert.match(section("command-line"), /^console=ttyS0 quiet panic=-1\n$/);
  });

  test("complains of nothing", () => {
    const lines = section("dmesg").split("\n");
    assert.ok(lines.length > 100, `only ${lines.length} lines`);
    assert.match(lines[0], /Linux version /);
    const bad =
      /WARNING|BUG\b|Oops|[Uu]nable to|Call Trace|general protection|segfault|not syncing|Firmware Bug|soft lockup|stall/;
    assert.deepEqual(
      lines.filter((line) => bad.test(line)),
      [],
    );
  });

  test("finds what a machine of Mere's has", () => {
    for (const line of [
      /Hypervisor detected: KVM/,
      /kvm-clock: Using msrs/,
      /x2apic: enabled by BIOS/,
      /IOAPIC\[0\]: .*GSI 0-23/,
      /TSC deadline timer available/,
      /tsc: Detected 1000\.000 MHz processor/,
      /ACPI: Interpreter enabled/,
      /ttyS0 at I\/O 0x3f8 \(irq = \d+, base_baud = 115200\) is a 16550A/,
      /Checked W\+X mappings: passed/,
      /Freeing initrd memory/,
    ])
      assert.match(section("dmesg"), line);
  });

  test("its clocksource is kvm-clock", () => {
    assert.match(section("clocksource"), /^kvm-clock\n.*\bkvm-clock\b.*\n/);
  });

  test("/proc/interrupts counts what happens and nothing that should not", () => {
    const rows = new Map(
      section("interrupts")
        .split("\n")
        .map((line) => /^ *(\S+): +(\d+) *(.*)$/.exec(line))
        .filter((match) => match !== null)
        .map(([, name, count, what]) => [what === "" ? name : what, { name, count: Number(count) }] as const),
    );
    assert.match(section("interrupts"), /^ +CPU0 *\n/);
    const count = (what: RegExp): number =>
      [...rows].find(([name]) => what.test(name))?.[1].count ?? assert.fail(`${what} in\n${section("interrupts")}`);
    for (const what of [/IO-APIC +\d+-\S+ +virtio0$/, /IO-APIC +\d+-\S+ +virtio1$/, /^Local timer interrupts$/])
      assert.ok(count(what) > 0, String(what));
    for (const what of [/^Spurious interrupts$/, /^Non-maskable interrupts$/, /^ERR$/, /^MIS$/])
      assert.equal(count(what), 0, String(what));
  });

  test("/proc/cpuinfo tells the CPU model", () => {
    const fields = new Map(
      section("cpuinfo")
        .split("\n")
        .filter((line) => line.includes(":"))
        .map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()] as const),
    );
    assert.deepEqual(section("cpuinfo").match(/^processor\s*:.*$/gm)?.length, 1);
    const expected = { "model name": "Mere virtual processor", "cpu MHz": "1000.000", fpu: "yes", wp: "yes", bugs: "" };
    for (const [name, value] of Object.entries(expected)) assert.equal(fields.get(name), value, name);
    const flags = (fields.get("flags") ?? "").split(" ");
    assert.deepEqual(
      FLAGS.filter((flag) => !flags.includes(flag)),
      [],
      "missing",
    );
    assert.deepEqual(
      NO_FLAGS.filter((flag) => flags.includes(flag)),
      [],
      "unexpected",
    );
  });

  test("/proc/meminfo tells nearly all of 512 MiB", () => {
    const kib = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(section("memory"))?.[1]);
    assert.ok(kib("MemTotal") > 460 * 1024 && kib("MemTotal") <= 512 * 1024, section("memory"));
    assert.ok(kib("MemFree") > 400 * 1024 && kib("MemFree") < kib("MemTotal"), section("memory"));
  });

  test("has a virtio console and a virtio random number generator that gives numbers", () => {
    assert.equal(section("virtio"), "0x0003 virtio_console\n0x0004 virtio_rng\n");
    assert.equal(section("hwrng"), "virtio_rng.0\n32\n");
  });

  test("knows the time", () => {
    const [uptime, date] = section("uptime").split("\n");
    assert.ok(Number(uptime.split(" ")[0]) > 0, uptime);
    assert.ok(Math.abs(Number(date) - Date.now() / 1000) < 300, date);
  });

  test("--stats tells what it cost", () => {
    // With an empty cache, what was downloaded is told before.
    const lines = ended.stderr.slice(ended.stderr.indexOf("mere run: instructions")).split("\n");
    const retired = Number(
      /^mere run: instructions +([\d,]+) in \d+\.\d\d s \(.*\/s\)$/.exec(lines[0])?.[1].replaceAll(",", ""),
    );
    assert.ok(retired > 100e6 && retired < 100e9, lines[0]);
    const frames = Number(/^mere run: memory +([\d,]+) frames in use \(.*\)$/.exec(lines[1])?.[1].replaceAll(",", ""));
    assert.ok(frames > 10_000 && frames < 131_072, lines[1]);
    assert.match(lines[2], /^mere run: exits +\S.*\bmmio [\d,]+/);
    assert.equal(lines.length, 4);
  });
});
