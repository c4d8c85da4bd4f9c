/* RepeatableMachine: Linux on one vCPU with a serial port, in this thread, that runs the same way each time. Its time is a function of the instructions retired, its
 * random numbers come from a seed, and what comes from outside (timer, interrupts) comes where the machine stops between slices. A machine can write down where that was
 * (`arrivals`), or follow what another one wrote down. @source docs/engine.md "Lockstep" */
import { buildAcpiTables } from "../../src/device/acpi.ts";
import { attachDevices, createDeviceShared, type Devices, type DeviceShared } from "../../src/device/layout.ts";
import { vcpuPorts } from "../../src/device/ports.ts";
import type { VcpuPorts } from "../../src/engine/engine.ts";
import { type TranslationOptions, WasmEngine } from "../../src/engine/wasm/engine.ts";
import { createStateMemory, vcpuAddress } from "../../src/engine/wasm/layout.ts";
import type { WasmVcpu } from "../../src/engine/wasm/vcpu.ts";
import { Reg } from "../../src/isa/registers.ts";
import { cpuModel, KvmFeature } from "../../src/isa/system/cpu-model.ts";
import { initializeLongMode } from "../../src/isa/system/long-mode.ts";
import { FramePool } from "../../src/memory/frames.ts";
import { GuestRam } from "../../src/memory/guest-ram.ts";
import { E820 } from "../../src/vm/boot/e820.ts";
import { loadLinux } from "../../src/vm/boot/linux.ts";
import { hypercalls } from "../../src/vm/hypercalls.ts";
import { Random } from "../instructions/random.ts";

const ACPI = { start: 0xe0000, end: 0xf0000 } as const;
const KVM_FEATURES =
  KvmFeature.CLOCKSOURCE |
  KvmFeature.CLOCKSOURCE2 |
  KvmFeature.CLOCKSOURCE_STABLE |
  KvmFeature.NOP_IO_DELAY |
  KvmFeature.STEAL_TIME;
/** 2026-01-01. */
const REALTIME_NS = 1_767_225_600_000_000_000n;
const SEED = 20260101;
const TIMER = -1;

export interface BootImage {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly commandLine: string;
}
export interface RepeatableOptions {
  readonly memoryBytes: number;
  /** How fast guest time goes: a whole number, so that times are exact. */
  readonly nanosPerInstruction: number;
}
/** How a machine's engine translates. @param ramPages size of the frames memory in 64-KiB pages */
export type Translation = (ramPages: number) => TranslationOptions;

/** A point between two instructions, or inside of a REP: what retires nothing (a fault, an element) changes RIP or RCX. */
export interface Place {
  readonly retired: number;
  readonly rip: bigint;
  readonly rcx: bigint;
}
/** Something came from outside: the vector of an interrupt, or TIMER. */
export interface Arrival extends Place {
  readonly what: number;
}

export class RepeatableMachine {
  readonly ram: GuestRam;
  readonly engine: WasmEngine;
  readonly vcpu: WasmVcpu;
  readonly devices: Devices;
  readonly #shared: DeviceShared;
  readonly #rate: number;
  #skippedNs = 0;
  /** Of a machine that leads: what came, in order. Of one that follows: what is still to come. */
  arrivals: Arrival[] = [];
  readonly #follows: boolean;

  constructor(image: BootImage, options: RepeatableOptions, translation: Translation, follows: boolean) {
    const { memoryBytes } = options;
    this.#rate = options.nanosPerInstruction;
    this.#follows = follows;
    this.ram = GuestRam.create(FramePool.create(memoryBytes), memoryBytes);
    this.engine = new WasmEngine(createStateMemory(), this.ram, translation(this.ram.pool.pages));
    this.#shared = createDeviceShared({ vcpus: 1, virtio: [] });
    const registerFile = new Int32Array(this.engine.state.buffer, vcpuAddress(0), Reg.SIZE / 4);
    this.devices = attachDevices(this.#shared, {
      registerFiles: [registerFile],
      memory: this.ram,
      hostNs: () => this.nanos,
      realtimeNs: () => REALTIME_NS + BigInt(this.nanos),
    });
    const ports = {} as VcpuPorts;
    const random = new Random(SEED);
    this.vcpu = this.engine.vcpu(0, cpuModel(1, KVM_FEATURES), ports, {
      nanos: () => this.nanos,
      random64: () => random.u64(),
    });
    this.#load(image);
    this.devices.reset();
    Object.assign(ports, this.#ports());
    this.vcpu.mmu.flush({ kind: "all" });
    this.vcpu.modeChanged();
  }

  #load({ kernel, initrd, commandLine }: BootImage): void {
    const acpi = buildAcpiTables(this.#shared.layout, ACPI.start);
    this.ram.write(ACPI.start, acpi.bytes);
    const start = loadLinux(this.ram, {
      kernel,
      ...(initrd && { initrd }),
      commandLine,
      acpiRsdp: acpi.rsdp,
      firmware: [{ ...ACPI, type: E820.ACPI }],
      rngSeed: Uint8Array.from({ length: 64 }, (_, i) => i * 37),
    });
    initializeLongMode(this.vcpu.regs, {
      rip: BigInt(start.entry),
      rsp: 0n,
      rsi: BigInt(start.bootParams),
      cr3: BigInt(start.cr3),
      gdtBase: BigInt(start.gdt.base),
      apicId: 0,
    });
  }

  /** Guest time. Exact inside of an instruction too. */
  get nanos(): number {
    return this.#skippedNs + this.vcpu.retired * this.#rate;
  }
  skip(ns: number): void {
    this.#skippedNs += ns;
  }
  get place(): Place {
    const { regs } = this.vcpu;
    return { retired: this.vcpu.retired, rip: regs.get64(Reg.RIP), rcx: regs.gpr(1) };
  }
  isAt({ retired, rip, rcx }: Place): boolean {
    const { regs } = this.vcpu;
    return this.vcpu.retired === retired && regs.get64(Reg.RIP) === rip && regs.gpr(1) === rcx;
  }
  /** State of the devices. */
  get deviceState(): Uint8Array {
    return new Uint8Array(this.#shared.buffer);
  }

  // ——— what comes from outside ———
  #ports(): VcpuPorts {
    const ports = vcpuPorts(this.devices, 0, hypercalls(this.devices));
    return {
      ...ports,
      acknowledgeInterrupt: () => {
        if (this.#follows && !this.#isDue((what) => what !== TIMER)) return -1;
        const vector = ports.acknowledgeInterrupt();
        if (vector >= 0) this.#arrived(vector);
        return vector;
      },
      deadlinePassed: () => {
        if (this.#follows && !this.#isDue((what) => what === TIMER)) return;
        this.#arrived(TIMER);
        ports.deadlinePassed();
      },
    };
  }
  #isDue(isKind: (what: number) => boolean): boolean {
    const next = this.arrivals[0];
    return next !== undefined && isKind(next.what) && this.isAt(next);
  }
  #arrived(what: number): void {
    if (this.#follows) this.arrivals.shift();
    else this.arrivals.push({ ...this.place, what });
  }
}
