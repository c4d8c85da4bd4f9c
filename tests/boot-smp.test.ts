/* Debian's own cloud kernel with several vCPUs: on an executor for each, and with fewer executors than vCPUs, where the paravirtual features for that are on. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ownInitGuest } from "../src/cli/guest-files.ts";
import { createMachine, type Machine, type MachineEnd } from "../src/vm/machine.ts";

const MARK = "== section ";
/** Two loops at once, then what the kernel says about it. */
const PROGRAM = `
section() { echo "${MARK}$1"; }
section count; nproc
section jobs
for cpu in 0 1; do
  taskset $((1 << cpu)) sh -c 'i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; echo done' &
done; wait
section pinned; for cpu in 0 1; do taskset $((1 << cpu)) cut -d' ' -f39 /proc/self/stat; done
section stat; cat /proc/stat
section interrupts; cat /proc/interrupts
section cpuinfo; cat /proc/cpuinfo
section clocksource; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
section dmesg; dmesg
section end`;

class Boot {
  readonly #sections = new Map<string, string>();
  #text = "";
  #machine: Machine | undefined;
  end: MachineEnd | undefined;

  async run(cpus: number, executors: number): Promise<void> {
    const command = ["sh", "-c", PROGRAM];
    const boot = { kind: "own-init", kernel: undefined, append: "", command, console: false, stdin: false } as const;
    const { kernel, initrd, commandLine } = await ownInitGuest(boot, false, {});
    this.#machine = await createMachine({
      cpus,
      executors,
      memoryBytes: 512 * 2 ** 20,
      kernel,
      initrd,
      commandLine,
      disks: [],
      consoleOutput: (bytes) => {
        this.#text += Buffer.from(bytes).toString("latin1");
      },
    });
    this.#machine.start();
    this.end = await this.#machine.wait();
    for (const part of this.#text.replaceAll("\r", "").split(MARK).slice(1)) {
      const end = part.indexOf("\n");
      this.#sections.set(part.slice(0, end), part.slice(end + 1));
    }
  }
  async stop(): Promise<void> {
    await this.#machine?.stop();
  }
  section(name: string): string {
    return this.#sections.get(name) ?? assert.fail(`no section ${name}\n${this.#text}\n${this.end?.detail ?? ""}`);
  }
  retired(): bigint {
    return this.#machine!.stats().retired;
  }
}

for (const [cpus, executors] of [
  [2, 2],
  [3, 1],
] as const) {
  describe(`Debian's cloud kernel with ${cpus} CPUs on ${executors} executors`, { timeout: 280_000 }, () => {
    const boot = new Boot();
    const section = (name: string): string => boot.section(name);
    before(() => boot.run(cpus, executors));
    after(() => boot.stop());

    test("powers off at the end", () => {
      assert.equal(section("end"), "");
      assert.equal(boot.end!.reason, "poweroff");
      assert.ok(boot.retired() > 100_000_000n);
    });

    test("has them all", () => {
      assert.equal(section("count"), `${cpus}\n`);
      assert.equal(section("cpuinfo").match(/^processor\s*:/gm)?.length, cpus);
      assert.match(section("cpuinfo"), new RegExp(`^siblings\\s*: ${cpus}$`, "m"));
      assert.match(section("dmesg"), new RegExp(`smp: Brought up 1 node, ${cpus} CPUs`));
    });

    test("runs jobs on them", () => {
      assert.equal(section("jobs"), "done\ndone\n");
      assert.equal(section("pinned"), "0\n1\n");
      for (const cpu of ["cpu0", "cpu1"]) {
        const [, user] = new RegExp(`^${cpu} (\\d+)`, "m").exec(section("stat")) ?? [];
        assert.ok(Number(user) > 0, section("stat"));
      }
    });

    test("sends interrupts between them, and none that should not be", () => {
      const total = (name: string): number =>
        new RegExp(`^ *${name}:((?: +\\d+)+)`, "m")
          .exec(section("interrupts"))![1]!
          .trim()
          .split(/ +/)
          .reduce((sum, n) => sum + Number(n), 0);
      for (const name of ["LOC", "RES", "CAL"]) assert.ok(total(name) > 0, section("interrupts"));
      for (const name of ["NMI", "SPU", "ERR", "MIS"]) assert.equal(total(name), 0, section("interrupts"));
    });

    test("has one clock for all", () => {
      assert.equal(section("clocksource"), "kvm-clock\n");
      // "skipped": the watchdog saw that the host was too busy to compare clocks
      assert.doesNotMatch(section("dmesg"), /unstable|warp|skew(?! test skipped)/i);
    });

    test("complains of nothing", () => {
      const bad =
        /WARNING|BUG\b|Oops|[Uu]nable to|Call Trace|general protection|segfault|not syncing|Firmware Bug|lockup|stall/;
      assert.deepEqual(
        section("dmesg")
          .split("\n")
          .filter((line) => bad.test(line)),
        [],
      );
    });

    test("uses what its hypervisor offers", () => {
      const has = (line: RegExp): boolean => line.test(section("dmesg"));
      assert.ok(has(/kvm-guest: setup PV IPIs/));
      assert.equal(has(/kvm-guest: PV spinlocks enabled/), executors < cpus);
      assert.equal(has(/kvm-guest: setup PV sched yield/), executors < cpus);
      assert.equal(has(/KVM setup pv remote TLB flush/), executors < cpus);
    });
  });
}
