/* Executor: a worker thread that runs vCPUs on an engine. Everything it needs arrives as plain data; everything it tells goes through shared
 * memory or one message at its end. Entry point of the worker; imported by nothing. */
import { writeSync as __ws } from "node:fs"; import { inspect as __i } from "node:util"; const __w = (...a: unknown[]): void => void __ws(2, a.map((x) => typeof x === "string" ? x : __i(x)).join(" ") + "\n");
import { parentPort, workerData } from "node:worker_threads";
import { attachDevices } from "../device/layout.ts";
import { vcpuPorts } from "../device/ports.ts";
import type { PowerWindow } from "../device/power.ts";
import { hostNanos } from "../engine/clock.ts";
import { vcpuAddress, WasmEngine } from "../engine/wasm/engine.ts";
import { REGION_LIMITS } from "../engine/wasm/translator/regions.ts";
import type { WasmVcpu } from "../engine/wasm/vcpu.ts";
import { Reg } from "../isa/registers.ts";
import { cpuModel } from "../isa/system/cpu-model.ts";
import { GuestRam } from "../memory/guest-ram.ts";
import { Control, EXIT_REASONS, type ExecutorMessage, type ExecutorStart } from "./executor-protocol.ts";
import { describeVcpu } from "./state-dump.ts";
import { ConnectedTranslator } from "./translator-thread.ts";

/** Instructions between looks at the control word; interrupts and timers are looked at far more often, inside run(). */
const BUDGET = 50_000_000;
/** Halted without a timer: look again after this, should a wake-up have been missed. */
const LONGEST_SLEEP_MS = 10_000;
/** Answer to a hypercall that there is not. @source Linux include/uapi/linux/kvm_para.h KVM_ENOSYS */
const KVM_ENOSYS = -1000n;

// Guest faults are thrown by the million; nobody reads where.
Error.stackTraceLimit = 0;

class Executor {
  readonly #vcpu: WasmVcpu;
  readonly #words: Int32Array;
  readonly #exits: Float64Array;
  readonly #control: Int32Array;
  readonly #power: PowerWindow;
  readonly #engine: WasmEngine;

  constructor(start: ExecutorStart) {
    const ram = GuestRam.attach(start.ram);
    const { buffer } = start.state;
    this.#words = new Int32Array(buffer);
    this.#exits = new Float64Array(start.exits);
    this.#control = new Int32Array(start.control);
    const registerFiles = Array.from(
      { length: start.vcpus },
      (_, n) => new Int32Array(buffer, vcpuAddress(n), Reg.SIZE / 4),
    );
    const devices = attachDevices(start.devices, {
      registerFiles,
      memory: ram,
      hostNs: hostNanos,
      realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
    });
    this.#power = devices.power;
    const engine = new WasmEngine(start.state, ram, {
      limits: REGION_LIMITS,
      region: start.region,
      translator: new ConnectedTranslator(start.translator),
    });
    this.#engine = engine;
    Atomics.wait(this.#control, 0, Control.NOT_YET);
    this.#vcpu = engine.vcpu(
      0,
      cpuModel(start.vcpus, start.kvmFeatures, start.cpuFeatures && new Set(start.cpuFeatures)),
      vcpuPorts(devices, 0, () => KVM_ENOSYS),
    );
  }

  /** Runs until the machine stops. @returns how it ended */
  run(): ExecutorMessage {
    for (;;) {
      const exit = this.#vcpu.run(BUDGET);
      this.#count();
      // The guest has asked for its end: nothing of it may run while the I/O thread makes up its mind.
      if (this.#power.request !== "none") Atomics.wait(this.#control, 0, Control.RUN);
      const control = Atomics.load(this.#control, 0);
      if (control !== 0 && process.env["MERE_DEBUG"]) { const g = globalThis as any; __w(JSON.stringify(this.#engine.regions.counts), "cpu", (process as any).threadCpuUsage().user/1e6, g.dbg?.resume, "lookup", g.lk, "refill", g.rf, "validate", g.vl, [...(g.dbg?.m ?? [])].sort((a: any,b: any)=>b[1]-a[1]).slice(0,25), [...g.sm].sort((a: any,b: any)=>b[1]-a[1]).slice(0,40).map((a: any) => a.join(" "))); }
      if (control !== 0)
        return {
          kind: "stopped",
          ...(control === Control.STOP_AND_TELL && { detail: describeVcpu(this.#vcpu, "stopped") }),
        };
      if (exit.kind === "shutdown") return { kind: "shutdown", detail: describeVcpu(this.#vcpu, exit.reason) };
      if (exit.kind === "halted") this.#sleep();
    }
  }
  #sleep(): void {
    const deadline = this.#vcpu.regs.view.getBigInt64(Reg.DEADLINE, true);
    const ms = deadline < 0n ? LONGEST_SLEEP_MS : Math.min((Number(deadline) - hostNanos()) / 1e6, LONGEST_SLEEP_MS);
    if (ms > 0) Atomics.wait(this.#words, (this.#vcpu.address + Reg.ATTENTION) >> 2, 0, ms);
  }
  #count(): void {
    EXIT_REASONS.forEach((reason, i) => {
      this.#exits[i] = this.#vcpu.exits[reason];
    });
  }
}

const port = parentPort!;
try {
  port.postMessage(new Executor(workerData as ExecutorStart).run());
} catch (error) {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  port.postMessage({ kind: "failed", message, detail: stack ?? "" } satisfies ExecutorMessage);
}
