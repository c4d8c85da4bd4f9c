/* Machine: one VM: memory, vCPUs, devices and boot put together. Lives on the main thread, which is also its I/O thread; the vCPUs run on an
 * executor's worker thread. Knows no engine but by the executor it starts. @source docs/design.md "The machine" */
import { randomBytes } from "node:crypto";
import { Worker } from "node:worker_threads";
import { buildAcpiTables } from "../device/acpi.ts";
import { attachDevices, createDeviceShared, type Devices, type DeviceShared } from "../device/layout.ts";
import { DeviceService } from "../device/service.ts";
import { BlkDevice } from "../device/virtio/blk.ts";
import { ConsoleDevice } from "../device/virtio/console.ts";
import type { VirtioDevice } from "../device/virtio/device.ts";
import type { Disk } from "../device/virtio/disk.ts";
import { RngDevice } from "../device/virtio/rng.ts";
import { hostNanos } from "../engine/clock.ts";
import { Attention } from "../engine/engine.ts";
import { createStateMemory, vcpuAddress } from "../engine/wasm/engine.ts";
import { ALL_PASSES, type RegionOptions, type RegionPasses } from "../engine/wasm/translator/region-state.ts";
import { RegisterFile } from "../isa/register-file.ts";
import { Reg } from "../isa/registers.ts";
import { KvmFeature } from "../isa/system/cpu-model.ts";
import { initializeLongMode } from "../isa/system/long-mode.ts";
import { FramePool } from "../memory/frames.ts";
import { GuestRam } from "../memory/guest-ram.ts";
import { E820 } from "./boot/e820.ts";
import { loadLinux } from "./boot/linux.ts";
import { Control, EXIT_REASONS, type ExecutorMessage, type ExecutorStart } from "./executor-protocol.ts";
import { PanicWatch } from "./panic-watch.ts";
import { TranslatorThread } from "./translator-thread.ts";

/** ACPI tables: in the hole below 1 MiB that PCs keep for firmware. */
const ACPI = { start: 0xe0000, end: 0xf0000 } as const;
const RNG_SEED_BYTES = 64;
const TERMINAL = { columns: 80, rows: 24 };
/** A guest whose last words are a panic's is looked at this often, this many times: one that runs a program or sleeps has not panicked. */
const PANIC_LOOK_MS = 100;
const PANIC_LOOKS = 10;
/** KVM_CPUID_FEATURES of every VM. */
export const KVM_FEATURES: number =
  KvmFeature.CLOCKSOURCE |
  KvmFeature.CLOCKSOURCE2 |
  KvmFeature.CLOCKSOURCE_STABLE |
  KvmFeature.NOP_IO_DELAY |
  KvmFeature.STEAL_TIME;

export interface MachineConfig {
  cpus: number;
  /** A multiple of 4096. */
  memoryBytes: number;
  /** bzImage or ELF vmlinux. */
  kernel: Uint8Array;
  initrd?: Uint8Array;
  commandLine: string;
  disks: Disk[];
  /** Mask of KVM_CPUID_FEATURES bits: those of the machine that are not in it are not told. For tests and benchmarks that turn one off. */
  kvmFeatures?: number;
  /** Other features than CPU_FEATURES for CPUID to tell (the instructions stay): for tests and benchmarks that turn one off. */
  cpuFeatures?: readonly string[];
  /** Passes of the translator that are not as in ALL_PASSES: for tests and benchmarks that turn one off. */
  passes?: Partial<RegionPasses>;
  /** What the guest writes to its 16550; owns the bytes. */
  serialOutput?(bytes: Uint8Array): void;
  /** What the guest writes to its virtio console; owns the bytes. */
  consoleOutput?(bytes: Uint8Array): void;
}

export interface MachineEnd {
  /** "shutdown" is a triple fault; "panic" is Linux's, whether it reset the machine or stayed. */
  reason: "poweroff" | "reset" | "shutdown" | "panic" | "stopped";
  /** The processor's state when it stopped. */
  detail?: string;
}

export interface MachineStats {
  retired: bigint;
  /** Since start(), until the end. */
  seconds: number;
  framesInUse: number;
  exits: Record<string, number>;
}

export class Machine {
  readonly #ram: GuestRam;
  readonly #state = createStateMemory();
  readonly #devices: Devices;
  readonly #shared: DeviceShared;
  readonly #backs: readonly VirtioDevice[];
  readonly #console: ConsoleDevice;
  readonly #cpus: number;
  readonly #serialOutput: (bytes: Uint8Array) => void;
  readonly #exits = new SharedArrayBuffer(EXIT_REASONS.length * 8);
  readonly #control = new SharedArrayBuffer(4);
  readonly #end = Promise.withResolvers<MachineEnd>();
  #asked: MachineEnd["reason"] | undefined;
  readonly #worker: Worker;
  readonly #translator: TranslatorThread;
  #service: DeviceService | undefined;
  readonly #panicWatch = new PanicWatch();
  #panicLook: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #endedAt = 0;

  /** @throws KernelError when the kernel is not one, or does not fit */
  constructor(config: MachineConfig) {
    this.#cpus = config.cpus;
    this.#serialOutput = (bytes) => config.serialOutput?.(bytes);
    this.#ram = GuestRam.create(FramePool.create(config.memoryBytes), config.memoryBytes);
    this.#console = new ConsoleDevice(TERMINAL, (bytes) => config.consoleOutput?.(bytes));
    this.#backs = [this.#console, new RngDevice(), ...config.disks.map((disk, i) => new BlkDevice(disk, `disk${i}`))];
    this.#shared = createDeviceShared({ vcpus: config.cpus, virtio: this.#backs.map((back) => back.description) });
    const registerFiles = Array.from(
      { length: config.cpus },
      (_, n) => new Int32Array(this.#state.buffer, vcpuAddress(n), Reg.SIZE / 4),
    );
    const region = { passes: { ...ALL_PASSES, ...config.passes }, parallel: config.cpus > 1 };
    this.#translator = new TranslatorThread({ options: region, ramPages: this.#ram.pool.pages });
    this.#worker = this.#startExecutor(config, region);
    try {
      this.#load(config);
    } catch (error) {
      void this.#worker.terminate();
      void this.#translator.terminate();
      throw error;
    }
    this.#devices = attachDevices(this.#shared, {
      registerFiles,
      memory: this.#ram,
      hostNs: hostNanos,
      realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
    });
    this.#devices.reset();
  }

  /** Puts the kernel and what it needs into guest memory; the files are not kept. */
  #load({ kernel, initrd, commandLine }: MachineConfig): void {
    const acpi = buildAcpiTables(this.#shared.layout, ACPI.start);
    this.#ram.write(ACPI.start, acpi.bytes);
    const start = loadLinux(this.#ram, {
      kernel,
      ...(initrd && { initrd }),
      commandLine,
      acpiRsdp: acpi.rsdp,
      firmware: [{ ...ACPI, type: E820.ACPI }],
      rngSeed: randomBytes(RNG_SEED_BYTES),
    });
    const regs = new RegisterFile(this.#state.buffer, vcpuAddress(0));
    initializeLongMode(regs, {
      rip: BigInt(start.entry),
      rsp: 0n,
      rsi: BigInt(start.bootParams),
      cr3: BigInt(start.cr3),
      gdtBase: BigInt(start.gdt.base),
      apicId: 0,
    });
    regs.set64(Reg.TSC_OFFSET, BigInt(-Math.floor(hostNanos())));
  }

  /** Lets the vCPUs run. Once. */
  start(): void {
    this.#startedAt = performance.now();
    this.#service = new DeviceService(this.#devices, {
      memory: this.#ram,
      virtio: this.#backs,
      onSerial: (bytes) => this.#onSerial(bytes),
      onPower: (request) => this.#ask(request === "reset" ? "reset" : "poweroff"),
    });
    this.#worker.ref();
    const control = new Int32Array(this.#control);
    Atomics.compareExchange(control, 0, Control.NOT_YET, Control.RUN);
    Atomics.notify(control, 0);
  }

  /** The executor's thread, which makes its engine while this one loads the kernel, and then waits for start(). */
  #startExecutor({ kvmFeatures, cpuFeatures }: MachineConfig, region: RegionOptions): Worker {
    new Int32Array(this.#control)[0] = Control.NOT_YET;
    const translator = this.#translator.connect();
    const data: ExecutorStart = {
      state: this.#state,
      ram: this.#ram.shared,
      devices: this.#shared,
      vcpus: this.#cpus,
      translator,
      region,
      kvmFeatures: KVM_FEATURES & (kvmFeatures ?? ~0),
      cpuFeatures,
      exits: this.#exits,
      control: this.#control,
    };
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    const worker = new Worker(new URL(`./executor${extension}`, import.meta.url), {
      workerData: data,
      transferList: [translator.port],
      // What an executor allocates is dead at once (bigints, faults): a small nursery holds it, and stays in the cache.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    worker.once("message", (message: ExecutorMessage) => void this.#ended(message));
    worker.once("error", (error: Error) => {
      void this.#ended({ kind: "failed", message: error.message, detail: error.stack ?? "" });
    });
    worker.unref(); // until it runs
    return worker;
  }

  #onSerial(bytes: Uint8Array): void {
    this.#panicWatch.push(bytes);
    if (this.#panicWatch.final && this.#panicLook === undefined) this.#lookForPanic(PANIC_LOOKS);
    this.#serialOutput(bytes);
  }

  /** A panicked kernel stays in a loop of its own; programs that only print its words do not. */
  #lookForPanic(looks: number): void {
    const vcpus = Array.from({ length: this.#cpus }, (_, n) => new RegisterFile(this.#state.buffer, vcpuAddress(n)));
    const loops = vcpus.every((regs) => regs.cpl === 0) && vcpus.some((regs) => regs.get32(Reg.RUN_STATE) === 0);
    this.#panicLook = undefined;
    if (!loops || !this.#panicWatch.final) return;
    if (looks === 0) this.#ask("panic");
    else this.#panicLook = setTimeout(() => this.#lookForPanic(looks - 1), PANIC_LOOK_MS);
  }

  /** Asks the executor to come to an end. */
  #ask(reason: MachineEnd["reason"]): void {
    this.#asked ??= reason;
    const crash = this.#asked === "reset" || this.#asked === "panic";
    const control = new Int32Array(this.#control);
    Atomics.store(control, 0, crash ? Control.STOP_AND_TELL : Control.STOP);
    Atomics.notify(control, 0);
    for (let n = 0; n < this.#cpus; n++) {
      const words = new Int32Array(this.#state.buffer, vcpuAddress(n), Reg.SIZE / 4);
      Atomics.or(words, Reg.ATTENTION >> 2, Attention.COME_OUT);
      Atomics.notify(words, Reg.ATTENTION >> 2);
    }
  }

  async #ended(message: ExecutorMessage): Promise<void> {
    if (this.#endedAt !== 0) return;
    this.#endedAt = performance.now();
    clearTimeout(this.#panicLook);
    await this.#service?.stop();
    await this.#worker.terminate();
    await this.#translator.terminate();
    if (message.kind === "failed")
      this.#end.reject(new Error(`Mere itself failed, which is a defect: ${message.message}\n${message.detail}`));
    else if (message.kind === "shutdown") this.#end.resolve({ reason: "shutdown", detail: message.detail });
    else {
      const asked = this.#asked ?? "stopped";
      const reason = asked === "reset" && this.#panicWatch.panicked ? "panic" : asked;
      this.#end.resolve({ reason, ...(message.detail !== undefined && { detail: message.detail }) });
    }
  }

  /** Resolves when the VM has ended; rejects only for a defect of Mere's. */
  wait(): Promise<MachineEnd> {
    return this.#end.promise;
  }

  /** Stops the vCPUs where they are. Requests to disks that are under way end first. */
  async stop(): Promise<void> {
    this.#worker.ref(); // also one that never ran
    this.#ask("stopped");
    await this.#end.promise.catch(() => undefined);
  }

  serialInput(bytes: Uint8Array): void {
    this.#service?.typeSerial(bytes);
  }
  consoleInput(bytes: Uint8Array): void {
    this.#console.input(bytes);
  }
  resizeConsole(columns: number, rows: number): void {
    this.#console.resize({ columns, rows });
  }

  stats(): MachineStats {
    const regs = new RegisterFile(this.#state.buffer, vcpuAddress(0));
    const counters = new Float64Array(this.#exits);
    return {
      retired: regs.get64(Reg.RETIRED),
      seconds: ((this.#endedAt || performance.now()) - this.#startedAt) / 1000,
      framesInUse: this.#ram.pool.inUse,
      exits: Object.fromEntries(EXIT_REASONS.map((reason, i) => [reason, counters[i]])),
    };
  }
}

/** A machine that is ready to start. @throws KernelError when the kernel is not one, or does not fit */
export async function createMachine(config: MachineConfig): Promise<Machine> {
  return new Machine(config);
}
