/* Executor: a worker thread that runs vCPUs on an engine of its own, in slices. Everything it needs arrives as plain data; everything it tells goes through shared
 * memory or one message at its end. Entry point of the worker; imported by nothing. @source docs/vcpus.md */
import { parentPort } from "node:worker_threads";
import { finishCompiling } from "../device/c-library.ts";
import { attachDevices, type Devices } from "../device/layout.ts";
import { vcpuPorts } from "../device/ports.ts";
import { QuickBlk } from "../device/virtio/blk-quick.ts";
import { quickDisk } from "../disk/quick.ts";
import { hostNanos } from "../engine/clock.ts";
import type { Exit } from "../engine/engine.ts";
import { executorOf, hostMicros, RUNNING, Word } from "../engine/wakeups.ts";
import { WasmEngine } from "../engine/wasm/engine.ts";
import { vcpuAddress } from "../engine/wasm/layout.ts";
import type { WasmVcpu } from "../engine/wasm/vcpu.ts";
import { Reg } from "../isa/registers.ts";
import { type CpuModel, cpuModel } from "../isa/system/cpu-model.ts";
import { GuestRam } from "../memory/guest-ram.ts";
import {
  Control,
  EXIT_REASONS,
  REGION_COUNTS,
  type ExecutorMessage,
  type ExecutorStart,
  type VcpuState,
} from "./executor-protocol.ts";
import { hypercalls } from "./hypercalls.ts";
import { collectGarbage } from "./idle-collection.ts";
import { nativeCodeKeptIn } from "./native-host.ts";
import { describeVcpu } from "./state-dump.ts";
import { threadNumber } from "./thread-time.ts";
import { ConnectedTranslator } from "./translator-thread.ts";

/** Instructions between looks at the control word; interrupts and timers are looked at far more often, inside run(). */
const BUDGET = 50_000_000;
/** How long a vCPU runs while another one of this executor waits. */
const TURN_NS = 3_000_000;
/** Halted without a timer: look again after this, should a wake-up have been missed. */
const LONGEST_SLEEP_MS = 10_000;
/** A guest that has nothing to do for so long does not miss the time of a collection; and an executor does not collect more often than that. */
const COLLECT_IF_IDLE_MS = 100;
const COLLECT_EVERY_NS = 60e9;
/** Shorter waits for the host are not worth a write to the guest's memory. */
const LEAST_LOSS_NS = 200_000;
const HALTED = 1;

/** Processor time of this thread so far. */
function threadNanos(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) * 1000;
}

// Guest faults are thrown by the million; nobody reads where.
Error.stackTraceLimit = 0;

class Executor {
  readonly #me: number;
  readonly #engine: WasmEngine;
  readonly #model: CpuModel;
  readonly #devices: Devices;
  /** Register files as i32 words. */
  readonly #files: readonly Int32Array[];
  readonly #deadlines: readonly BigInt64Array[];
  /** Those that were here once, by number. */
  readonly #vcpus: (WasmVcpu | undefined)[] = [];
  readonly #exits: Float64Array;
  readonly #regionCounts: Float64Array;
  readonly #control: Int32Array;
  #last = 0;
  #collectAt = 0;

  constructor(start: ExecutorStart) {
    this.#me = start.executor;
    const ram = GuestRam.attach(start.ram);
    const { buffer } = start.state;
    this.#exits = new Float64Array(start.exits, start.executor * EXIT_REASONS.length * 8, EXIT_REASONS.length);
    const counts = REGION_COUNTS.length;
    this.#regionCounts = new Float64Array(start.regionCounts, start.executor * counts * 8, counts);
    this.#control = new Int32Array(start.control);
    new Int32Array(start.threads)[start.executor] = threadNumber();
    const numbers = Array.from({ length: start.vcpus }, (_, n) => n);
    this.#files = numbers.map((n) => new Int32Array(buffer, vcpuAddress(n), Reg.SIZE / 4));
    this.#deadlines = numbers.map((n) => new BigInt64Array(buffer, vcpuAddress(n) + Reg.DEADLINE, 1));
    this.#devices = attachDevices(start.devices, {
      registerFiles: this.#files,
      memory: ram,
      hostNs: hostNanos,
      realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
    });
    for (const { device, parts } of start.quickDisks) {
      const disk = quickDisk(parts);
      const front = this.#devices.virtio[device]!;
      if (disk !== undefined) front.serveHere = new QuickBlk(front, ram, disk).serve;
    }
    this.#model = cpuModel(start.vcpus, start.kvmFeatures, start.cpuFeatures && new Set(start.cpuFeatures));
    const translation = {
      limits: start.limits,
      region: start.region,
      ...(start.translator && { translator: new ConnectedTranslator(start.translator) }),
      ...(start.nativeCode && { native: nativeCodeKeptIn(start.keptCode) }),
    };
    this.#engine = new WasmEngine(start.state, ram, translation, start.executor);
    this.#engine.handlers.prepareBoot();
    Atomics.wait(this.#control, 0, Control.NOT_YET);
  }

  /** Runs until the machine stops. @returns how it ended */
  run(): ExecutorMessage {
    const file = this.#files[this.#me]!;
    for (;;) {
      const bell = Atomics.load(file, Word.BELL);
      // The guest has asked for its end: nothing of it may run while the I/O thread makes up its mind.
      if (this.#devices.power.request !== "none") Atomics.wait(this.#control, 0, Control.RUN);
      const control = Atomics.load(this.#control, 0);
      if (control !== Control.RUN)
        return { kind: "stopped", states: control === Control.STOP_AND_TELL ? this.#describe() : [] };
      const next = this.#next();
      if (next < 0) this.#sleep(bell);
      else {
        const exit = this.#turn(next);
        if (exit.kind === "shutdown") return { kind: "shutdown", states: this.#describe({ [next]: exit.reason }) };
      }
    }
  }

  dispose(): void {
    this.#engine.regions.dispose();
  }

  // ——— which vCPU ———
  #isReady(n: number, now: number): boolean {
    const file = this.#files[n]!;
    const state = Atomics.load(file, Reg.RUN_STATE >> 2);
    if (state === 0) return true;
    if (state !== HALTED) return false;
    if (Atomics.load(file, Word.ATTENTION) !== 0) return true;
    const deadline = this.#deadlines[n]![0]!;
    return deadline >= 0n && Number(deadline) <= now;
  }
  #isMine(n: number): boolean {
    return Atomics.load(this.#files[n]!, Word.OWNER) === this.#me;
  }
  /** The vCPU whose turn it is, now owned and RUNNING; −1 none. Those that were called come first. */
  #next(): number {
    const now = hostNanos();
    const count = this.#files.length;
    let chosen = -1;
    for (let i = 1; i <= count; i++) {
      const n = (this.#last + i) % count;
      if (!this.#isMine(n) || !this.#isReady(n, now)) continue;
      if (Atomics.load(this.#files[n]!, Word.ATTENTION) !== 0) {
        chosen = n;
        break;
      }
      if (chosen < 0) chosen = n;
    }
    if (chosen >= 0 && this.#take(chosen, this.#me)) return chosen;
    return this.#steal(now);
  }
  #take(n: number, owner: number): boolean {
    return Atomics.compareExchange(this.#files[n]!, Word.OWNER, owner, this.#me | RUNNING) === owner;
  }
  /** A vCPU that waits for its turn on another executor. */
  #steal(now: number): number {
    for (let n = 0; n < this.#files.length; n++) {
      const owner = Atomics.load(this.#files[n]!, Word.OWNER);
      if ((owner & RUNNING) !== 0 || owner === this.#me || !this.#isReady(n, now)) continue;
      const busy = Atomics.load(this.#files[executorOf(owner)]!, Word.CURRENT) !== 0;
      if (!busy || !this.#take(n, owner)) continue;
      this.#vcpus[n]?.takeOver();
      return n;
    }
    return -1;
  }

  // ——— a turn ———
  #turn(n: number): Exit {
    const file = this.#files[n]!;
    const own = this.#files[this.#me]!;
    Atomics.store(own, Word.CURRENT, n + 1);
    this.#last = n;
    const vcpu = (this.#vcpus[n] ??= this.#attach(n));
    this.#engine.world.online();
    this.#resume(n, vcpu);
    const end = this.#turnEnd(n);
    const [since, used] = [hostNanos(), threadNanos()];
    const exit = vcpu.run(BUDGET, end);
    // What this thread did not have of the host's processors meanwhile.
    const lost = hostNanos() - since - (threadNanos() - used);
    if (lost > LEAST_LOSS_NS) this.#devices.kvmClocks[n]!.addSteal(lost);
    this.#count();
    const waits = (exit.kind === "budget" || exit.kind === "attention") && this.#others(n).ready;
    if (waits) {
      Atomics.store(file, Word.READY_US, hostMicros());
      this.#devices.kvmClocks[n]!.preempted();
    }
    this.#engine.world.offline();
    Atomics.store(own, Word.CURRENT, 0);
    // From here on another executor may take it.
    Atomics.store(file, Word.OWNER, this.#me);
    return exit;
  }
  #attach(n: number): WasmVcpu {
    return this.#engine.vcpu(n, this.#model, vcpuPorts(this.#devices, n, hypercalls(this.#devices)));
  }
  /** Tells the guest how long the vCPU waited, and does what others have left to it meanwhile. */
  #resume(n: number, vcpu: WasmVcpu): void {
    const clock = this.#devices.kvmClocks[n]!;
    const since = Atomics.exchange(this.#files[n]!, Word.READY_US, 0);
    if (since !== 0) clock.addSteal(Math.max(0, hostMicros() - since) * 1000);
    if (clock.resumed()) vcpu.flushTlb({ kind: "all" });
  }
  /** Of the other vCPUs of this executor: does one wait for its turn? When does the first timer of a halted one pass (ns; Infinity: never)? */
  #others(n: number): { ready: boolean; deadline: number } {
    const now = hostNanos();
    let deadline = Infinity;
    for (let m = 0; m < this.#files.length; m++) {
      if (m === n || !this.#isMine(m)) continue;
      if (this.#isReady(m, now)) return { ready: true, deadline: now };
      deadline = Math.min(deadline, this.#deadlineOf(m));
    }
    return { ready: false, deadline };
  }
  #turnEnd(n: number): number {
    const { ready, deadline } = this.#others(n);
    if (!ready) return deadline;
    this.#devices.wakeups.ringSleeper();
    return hostNanos() + TURN_NS;
  }
  /** Host time of the next timer of a vCPU that has been started; Infinity: none. */
  #deadlineOf(n: number): number {
    const deadline = this.#deadlines[n]![0]!;
    return deadline < 0n || this.#files[n]![Reg.RUN_STATE >> 2] !== HALTED ? Infinity : Number(deadline);
  }
  /** Nothing to do until the bell rings or a timer passes. @param bell its value before this executor looked for work */
  #sleep(bell: number): void {
    const own = this.#files[this.#me]!;
    let deadline = Infinity;
    for (let n = 0; n < this.#files.length; n++)
      if (this.#isMine(n)) deadline = Math.min(deadline, this.#deadlineOf(n));
    const ms = Math.min((deadline - hostNanos()) / 1e6, LONGEST_SLEEP_MS);
    if (ms <= 0) return;
    if (ms > COLLECT_IF_IDLE_MS && hostNanos() >= this.#collectAt) {
      this.#collectAt = hostNanos() + COLLECT_EVERY_NS;
      this.#engine.regions.idle();
      collectGarbage();
      return; // what to wait for may have changed
    }
    Atomics.store(own, Word.ASLEEP, 1);
    Atomics.wait(own, Word.BELL, bell, ms);
    Atomics.store(own, Word.ASLEEP, 0);
  }
  #count(): void {
    EXIT_REASONS.forEach((reason, i) => {
      this.#exits[i] = this.#vcpus.reduce((sum, vcpu) => sum + (vcpu?.exits[reason] ?? 0), 0);
    });
    REGION_COUNTS.forEach((name, i) => {
      this.#regionCounts[i] = this.#engine.regions.counts[name];
    });
  }
  /** The vCPUs that were here last. @param reasons why, by number, if not just because they were asked to stop */
  #describe(reasons: Readonly<Record<number, string>> = {}): VcpuState[] {
    return this.#vcpus.flatMap((cpu, vcpu) =>
      cpu && executorOf(Atomics.load(this.#files[vcpu]!, Word.OWNER)) === this.#me
        ? [{ vcpu, text: describeVcpu(cpu, reasons[vcpu] ?? "stopped") }]
        : [],
    );
  }
}

const port = parentPort!;
port.once("message", (start: ExecutorStart) => {
  const end = runExecutor(start);
  finishCompiling();
  port.postMessage(end);
});

function runExecutor(start: ExecutorStart): ExecutorMessage {
  try {
    const executor = new Executor(start);
    const end = executor.run();
    executor.dispose();
    return end;
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    return { kind: "failed", message, detail: stack ?? "" };
  }
}
