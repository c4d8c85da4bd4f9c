/* Machine: one VM: memory, vCPUs, devices and boot put together. Lives on the main thread, which is also its I/O thread; the vCPUs run on
 * executors' worker threads. Knows no engine but by the executors it starts. @source docs/design.md "The machine" */
import { keptDirectory } from "./kept-files.ts";
import { hostCryptoFeatures, nativeUnavailable } from "./native-support.ts";
import { availableParallelism } from "node:os";
import { PLAIN_FEATURES } from "../isa/features.ts";
import { libc, MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE } from "../device/libc.ts";
import { buildAcpiTables } from "../device/acpi.ts";
import { attachDevices, createDeviceShared, type Devices, type DeviceShared } from "../device/layout.ts";
import { MAILBOX_BYTES, STOPPED } from "../device/mailbox.ts";
import { DeviceService } from "../device/service.ts";
import { BlkDevice, MOST_BLK_QUEUES } from "../device/virtio/blk.ts";
import { ConsoleDevice } from "../device/virtio/console.ts";
import type { VirtioDevice } from "../device/virtio/device.ts";
import type { Disk } from "../device/virtio/disk.ts";
import { RngDevice } from "../device/virtio/rng.ts";
import { hostNanos } from "../engine/clock.ts";
import { Word } from "../engine/wakeups.ts";
import { createStateMemory, vcpuAddress } from "../engine/wasm/layout.ts";
import { ALL_PASSES, type RegionPasses } from "../engine/wasm/translator/region-options.ts";
import { REGION_LIMITS, type RegionLimits } from "../engine/wasm/translator/region-options.ts";
import { RegisterFile } from "../isa/register-file.ts";
import { Reg } from "../isa/registers.ts";
import { KvmFeature } from "../isa/system/cpu-model.ts";
import { initializeLongMode } from "../isa/system/long-mode.ts";
import { FramePool } from "../memory/frames.ts";
import { GuestRam } from "../memory/guest-ram.ts";
import { E820, type E820Range } from "./boot/e820.ts";
import { FIRMWARE_BYTES, writeFirmware } from "./boot/firmware.ts";
import type { VmlinuxFile } from "../image/vmlinux-file.ts";
import { randomBytes } from "../device/random.ts";
import { loadLinux } from "./boot/linux.ts";
import { Control, EXIT_REASONS, REGION_COUNTS } from "./executor-protocol.ts";
import { Executors, type ExecutorsEnd } from "./executors.ts";
import { PageReturn } from "./page-return.ts";
import { PanicWatch } from "./panic-watch.ts";
import { threadSeconds } from "./thread-time.ts";

/** ACPI tables: in the hole below 1 MiB that PCs keep for firmware. */
const ACPI = { start: 0xe0000, end: 0xf0000 } as const;
/** What vCPUs that the guest starts run on, until they have page tables of its own. */
const FIRMWARE = { start: 0xf0000, end: 0xf0000 + FIRMWARE_BYTES } as const;
const RNG_SEED_BYTES = 64;
/** Of the virtio devices: console and rng are before it. */
const FIRST_DISK = 2;
const TERMINAL = { columns: 80, rows: 24 };
/** A guest whose last words are a panic's is looked at this often, this many times: one that runs a program or sleeps has not panicked. */
const PANIC_LOOK_MS = 100;
const PANIC_LOOKS = 10;
const KVM_FEATURES_ALWAYS =
  KvmFeature.CLOCKSOURCE |
  KvmFeature.CLOCKSOURCE2 |
  KvmFeature.CLOCKSOURCE_STABLE |
  KvmFeature.NOP_IO_DELAY |
  KvmFeature.STEAL_TIME;
/** One hypercall for an interrupt to several vCPUs. */
const KVM_FEATURES_SMP = KvmFeature.PV_SEND_IPI;
/** What pays only where a vCPU can be ready and yet not run. The first makes each release of a spin lock a call. */
const KVM_FEATURES_SHARED = KvmFeature.PV_UNHALT | KvmFeature.PV_TLB_FLUSH | KvmFeature.PV_SCHED_YIELD;
/** KVM_CPUID_FEATURES bits that a machine may tell. */
export const KVM_FEATURES: number = KVM_FEATURES_ALWAYS | KVM_FEATURES_SMP | KVM_FEATURES_SHARED;

/** What hot code becomes: the host processor's own instructions, or WebAssembly. */
export type TranslatorKind = "native" | "wasm";

export interface MachineConfig {
  /** 1–8 */
  cpus: number;
  /** Threads that run them, at most as many; without it, one for each host core at most. */
  executors?: number;
  /** A multiple of 4096. */
  memoryBytes: number;
  /** bzImage or ELF vmlinux, or a vmlinux in its file. */
  kernel: Uint8Array | VmlinuxFile;
  initrd?: Uint8Array;
  commandLine: string;
  disks: Disk[];
  /** Further virtio devices (network, vsock, file systems, …), after the disks: their backs run on the main thread. */
  devices?: readonly VirtioDevice[];
  /** Mask of KVM_CPUID_FEATURES bits: those of the machine that are not in it are not told. For tests and benchmarks that turn one off. */
  kvmFeatures?: number;
  /** Other features for CPUID to tell than those of isa/features.ts (the instructions stay): for tests and benchmarks that turn one off. */
  cpuFeatures?: readonly string[];
  /** Passes of the translator that are not as in ALL_PASSES: for tests and benchmarks that turn one off. */
  passes?: Partial<RegionPasses>;
  /** Memory for translated code, about; 256 MiB if absent. */
  codeCacheBytes?: number;
  /** Directory where native code is kept between runs; it is not if absent. */
  keptCode?: string | undefined;
  /** What hot code becomes; "native" where this host can, if absent. */
  translator?: TranslatorKind;
  /** Limits of the translator that are not as in REGION_LIMITS: for tests and benchmarks; a threshold of Infinity leaves all to the interpreter. */
  regionLimits?: Partial<RegionLimits>;
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
  /** Processor time of the executors' threads. */
  cpuSeconds: number;
  /** Since start(), until the end. */
  seconds: number;
  framesInUse: number;
  exits: Record<string, number>;
  /** What the translator has done: regions and instructions that were installed, bytes of their modules, regions that were dropped. */
  translated: Record<string, number>;
}

export class Machine {
  readonly #ram: GuestRam;
  readonly #state: WebAssembly.Memory;
  readonly #devices: Devices;
  readonly #shared: DeviceShared;
  readonly #backs: readonly VirtioDevice[];
  readonly #console: ConsoleDevice;
  readonly #cpus: number;
  readonly #serialOutput: (bytes: Uint8Array) => void;
  readonly #exits: SharedArrayBuffer;
  readonly #regionCounts: SharedArrayBuffer;
  readonly #threads: SharedArrayBuffer;
  #cpuSeconds = 0;
  readonly #end = Promise.withResolvers<MachineEnd>();
  #asked: MachineEnd["reason"] | undefined;
  readonly #executors: Executors;
  readonly #pages: PageReturn;
  #service: DeviceService | undefined;
  readonly #panicWatch = new PanicWatch();
  #panicLook: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #endedAt = 0;

  /** @throws KernelError when the kernel is not one, or does not fit */
  constructor(config: MachineConfig) {
    const { cpus } = config;
    const executors = Math.min(cpus, config.executors ?? availableParallelism());
    this.#cpus = cpus;
    this.#serialOutput = (bytes) => config.serialOutput?.(bytes);
    this.#state = createStateMemory(executors);
    this.#ram = GuestRam.create(FramePool.create(config.memoryBytes), config.memoryBytes, executors);
    adviseHugePages(this.#ram.pool);
    this.#exits = new SharedArrayBuffer(executors * EXIT_REASONS.length * 8);
    this.#regionCounts = new SharedArrayBuffer(executors * REGION_COUNTS.length * 8);
    this.#threads = new SharedArrayBuffer(executors * 4);
    this.#console = new ConsoleDevice(TERMINAL, (bytes) => config.consoleOutput?.(bytes));
    const disks = config.disks.map((disk, i) => new BlkDevice(disk, `disk${i}`, Math.min(cpus, MOST_BLK_QUEUES)));
    this.#backs = [this.#console, new RngDevice(), ...disks, ...(config.devices ?? [])];
    this.#shared = createDeviceShared({ vcpus: cpus, virtio: this.#backs.map((back) => back.description) });
    const registerFiles = this.#numbers().map((n) => {
      const file = new Int32Array(this.#state.buffer, vcpuAddress(n), Reg.SIZE / 4);
      file[Word.OWNER] = n % executors;
      return file;
    });
    this.#devices = attachDevices(this.#shared, {
      registerFiles,
      memory: this.#ram,
      hostNs: hostNanos,
      realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
    });
    this.#pages = new PageReturn({
      ram: this.#ram,
      state: this.#state,
      executors,
      heldMemory: () => this.#service?.heldMemory() ?? [],
      toHost: hostMemoryOf(this.#ram.pool),
    });
    this.#executors = this.#startExecutors(executors, config);
    try {
      this.#load(config);
    } catch (error) {
      void this.#executors.abandon();
      throw error;
    }
    this.#devices.reset();
  }
  #numbers(): number[] {
    return Array.from({ length: this.#cpus }, (_, n) => n);
  }
  #registers(): RegisterFile[] {
    return this.#numbers().map((n) => new RegisterFile(this.#state.buffer, vcpuAddress(n)));
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
      firmware: this.#firmware(),
      rngSeed: randomBytes(RNG_SEED_BYTES),
    });
    const firmware = writeFirmware(this.#ram, FIRMWARE.start);
    const tscOffset = BigInt(-Math.floor(hostNanos()));
    this.#registers().forEach((regs, apicId) => {
      const first = {
        rip: start.entry,
        rsi: start.bootParams,
        cr3: BigInt(start.cr3),
        gdtBase: BigInt(start.gdt.base),
      };
      const { rip, rsi, cr3, gdtBase } = apicId === 0 ? first : { rip: 0, rsi: 0, ...firmware };
      initializeLongMode(regs, { rip: BigInt(rip), rsp: 0n, rsi: BigInt(rsi), cr3, gdtBase, apicId });
      if (apicId > 0) regs.set32(Reg.RUN_STATE, STOPPED);
      regs.set64(Reg.TSC_OFFSET, tscOffset);
    });
  }
  /** Addresses that are not the guest's. */
  #firmware(): E820Range[] {
    const acpi = { ...ACPI, type: E820.ACPI };
    if (this.#cpus === 1) return [acpi];
    const { base } = this.#shared.layout.mailbox;
    return [acpi, { ...FIRMWARE, type: E820.RESERVED }, { start: base, end: base + MAILBOX_BYTES, type: E820.NVS }];
  }

  /** Lets the vCPUs run. Once. */
  start(): void {
    this.#startedAt = performance.now();
    this.#service = new DeviceService(this.#devices, {
      memory: this.#ram,
      virtio: this.#backs,
      giveBack: (pages) => this.#pages.giveBack(pages),
      onSerial: (bytes) => this.#onSerial(bytes),
      onPower: (request) => this.#ask(request === "reset" ? "reset" : "poweroff"),
    });
    this.#executors.start();
  }

  #startExecutors(count: number, config: MachineConfig): Executors {
    const { kvmFeatures = ~0, cpuFeatures, passes, regionLimits, codeCacheBytes, keptCode } = config;
    const control = new SharedArrayBuffer(4);
    new Int32Array(control)[0] = Control.NOT_YET;
    const smp = this.#cpus > 1 ? KVM_FEATURES_SMP : 0;
    const features = KVM_FEATURES_ALWAYS | smp | (count < this.#cpus ? KVM_FEATURES_SHARED : 0);
    const nativeCode = config.translator !== "wasm" && nativeUnavailable() === undefined;
    const start = {
      state: this.#state,
      ram: this.#ram.shared,
      devices: this.#shared,
      quickDisks: config.disks.flatMap(({ quick }, i) =>
        quick === undefined ? [] : [{ device: FIRST_DISK + i, parts: quick }],
      ),
      vcpus: this.#cpus,
      kvmFeatures: features & kvmFeatures,
      cpuFeatures: cpuFeatures ?? (nativeCode ? [...PLAIN_FEATURES, ...hostCryptoFeatures()] : undefined),
      region: { passes: { ...ALL_PASSES, ...passes }, parallel: this.#cpus > 1 },
      nativeCode,
      keptCode: nativeCode && keptCode !== undefined ? keptDirectory(keptCode, hostCryptoFeatures()) : undefined,
      limits: { ...REGION_LIMITS, ...regionLimits, ...(codeCacheBytes !== undefined && { codeCacheBytes }) },
      exits: this.#exits,
      regionCounts: this.#regionCounts,
      control,
      threads: this.#threads,
    };
    const executors = new Executors(count, start, this.#devices.wakeups);
    void this.#waitFor(executors);
    return executors;
  }

  #onSerial(bytes: Uint8Array): void {
    this.#panicWatch.push(bytes);
    if (this.#panicWatch.final && this.#panicLook === undefined) this.#lookForPanic(PANIC_LOOKS);
    this.#serialOutput(bytes);
  }

  /** A panicked kernel stays in a loop of its own; programs that only print its words do not. */
  #lookForPanic(looks: number): void {
    const vcpus = this.#registers();
    const loops = vcpus.every((regs) => regs.cpl === 0) && vcpus.some((regs) => regs.get32(Reg.RUN_STATE) === 0);
    this.#panicLook = undefined;
    if (!loops || !this.#panicWatch.final) return;
    if (looks === 0) this.#ask("panic");
    else this.#panicLook = setTimeout(() => this.#lookForPanic(looks - 1), PANIC_LOOK_MS);
  }

  /** Asks the executors to come to an end. */
  #ask(reason: MachineEnd["reason"]): void {
    this.#asked ??= reason;
    this.#executors.stop(this.#asked === "reset" || this.#asked === "panic");
  }

  async #waitFor(executors: Executors): Promise<void> {
    const outcome = await Promise.allSettled([executors.end]);
    this.#cpuSeconds = this.#threadSeconds();
    this.#endedAt = performance.now();
    clearTimeout(this.#panicLook);
    await this.#service?.stop();
    await executors.terminate();
    this.#pages.end();
    if (outcome[0].status === "fulfilled") this.#ended(outcome[0].value);
    else this.#end.reject(outcome[0].reason as Error);
  }
  #ended(end: ExecutorsEnd): void {
    const asked = this.#asked ?? "stopped";
    const reason = end.shutdown ? "shutdown" : asked === "reset" && this.#panicWatch.panicked ? "panic" : asked;
    this.#end.resolve({ reason, ...(end.states.length > 0 && { detail: this.#detail(end) }) });
  }
  #detail({ states }: ExecutorsEnd): string {
    if (this.#cpus === 1) return states[0]!.text;
    return states.map(({ vcpu, text }) => `vCPU ${vcpu}: ${text}`).join("\n");
  }

  /** Resolves when the VM has ended; rejects only for a defect of Mere's. */
  wait(): Promise<MachineEnd> {
    return this.#end.promise;
  }

  /** Stops the vCPUs where they are. Requests to disks that are under way end first. */
  async stop(): Promise<void> {
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

  #threadSeconds(): number {
    return [...new Int32Array(this.#threads)].reduce((sum, thread) => sum + (thread && threadSeconds(thread)), 0);
  }

  stats(): MachineStats {
    return {
      retired: this.#registers().reduce((sum, regs) => sum + regs.get64(Reg.RETIRED), 0n),
      cpuSeconds: this.#endedAt === 0 ? this.#threadSeconds() : this.#cpuSeconds,
      seconds: ((this.#endedAt || performance.now()) - this.#startedAt) / 1000,
      framesInUse: this.#ram.pool.inUse,
      exits: sums(EXIT_REASONS, this.#exits),
      translated: sums(REGION_COUNTS, this.#regionCounts),
    };
  }
}

/** Large pages of the host for guest memory: frames are handed out one after the other, so that hardly any of it is for nothing, and the host's own TLB reaches further. */
function adviseHugePages({ bytes, shared }: FramePool): void {
  const host = libc();
  host?.madvise(host.addressOf(shared.memory.buffer), bytes.length, MADV_HUGEPAGE);
}

/** PageReturnOptions.toHost. Where there is no madvise, frames keep the host's memory until another page takes them. */
function hostMemoryOf(pool: FramePool): (offset: number, length: number) => void {
  const { buffer } = pool.shared.memory;
  let huge = true;
  return (offset, length) => {
    const host = libc();
    if (!host) return;
    const start = host.addressOf(buffer);
    // else the host's khugepaged would make large pages again, and fill what was given back
    if (huge) host.madvise(start, pool.bytes.length, MADV_NOHUGEPAGE);
    huge = false;
    host.madvise(start + BigInt(offset), length, MADV_DONTNEED);
  };
}

/** Executors' counters (f64, in the order of the names) added up. */
function sums(names: readonly string[], counters: SharedArrayBuffer): Record<string, number> {
  const values = [...new Float64Array(counters)];
  return Object.fromEntries(
    names.map((name, n) => [name, values.reduce((sum, v, i) => (i % names.length === n ? sum + v : sum), 0)]),
  );
}

/** A machine that is ready to start. @throws KernelError when the kernel is not one, or does not fit */
export async function createMachine(config: MachineConfig): Promise<Machine> {
  return new Machine(config);
}
