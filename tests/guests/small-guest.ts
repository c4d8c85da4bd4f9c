/* SmallGuest: a long-mode guest of a few pages on the wasm engine, without a worker: guest memory, GDT, IDT, TSS, page tables, a local APIC, and devices that
 * only record. Tests only.
 *
 * Linear = physical for the first 2 MiB (4-KiB pages, supervisor, writable, executable), USER for user pages, DEVICE for a device window.
 * Every vector's handler is HLT, so that run() comes back in it with the frame on the stack; what follows that HLT drops the error code and returns. */
import { attachDevices, createDeviceShared, type Devices } from "../../src/device/layout.ts";
import { vcpuPorts } from "../../src/device/ports.ts";
import { hostNanos } from "../../src/engine/clock.ts";
import type { Exit, VcpuPorts } from "../../src/engine/engine.ts";
import { TRANSLATE_ALL, TRANSLATION, type TranslationOptions, WasmEngine } from "../../src/engine/wasm/engine.ts";
import { createStateMemory, vcpuAddress } from "../../src/engine/wasm/layout.ts";
import type { WasmVcpu } from "../../src/engine/wasm/vcpu.ts";
import type { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg, Rflags, SegmentIndex } from "../../src/isa/registers.ts";
import { cpuModel } from "../../src/isa/system/cpu-model.ts";
import { initializeLongMode } from "../../src/isa/system/long-mode.ts";
import { FramePool } from "../../src/memory/frames.ts";
import { GuestRam } from "../../src/memory/guest-ram.ts";
import type { Listing } from "./listing.ts";

const MIB = 1024 ** 2;
const PAGE = 4096;
const RAM_BYTES = 8 * MIB;

/** Addresses, linear and physical. */
export const At = {
  PML4: 0x1000,
  TABLES: 0x2000, // grow up
  GDT: 0x50000,
  IDT: 0x51000,
  TSS: 0x52000,
  HANDLERS: 0x54000,
  CODE: 0x10000,
  DATA: 0x30000,
  /** Stacks grow down from these. */
  STACK: 0x40000,
  RSP0: 0x48000,
  IST1: 0x4c000,
  /** Free RAM above the identity map: 2–8 MiB. */
  FREE: 0x20_0000,
  /** User pages: linear USER is physical FREE, 64 KiB. */
  USER: 0x40_0000,
  DEVICE: 0xd000_0000,
} as const;
const TABLES_END = 0x10000;

export const Selector = {
  KERNEL_CS: 0x10,
  KERNEL_DS: 0x18,
  USER_DS: 0x2b,
  USER_CS: 0x33,
  TSS: 0x38,
  CODE32: 0x4b,
  CONFORMING: 0x50,
  ABSENT: 0x58,
  READ_ONLY: 0x60,
} as const;

/** Page-table entry bits. */
export const Pte = { P: 1n, W: 2n, U: 4n, A: 0x20n, D: 0x40n, PS: 0x80n, G: 0x100n, NX: 1n << 63n } as const;
const ALL_LEVELS = Pte.P | Pte.W | Pte.U;

const WITH_ERROR_CODE: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);
const HANDLER_BYTES = 16;

/** Where the guest stopped. */
export interface Stop {
  /** Vector of the handler whose HLT it is; undefined for a HLT elsewhere. */
  readonly vector: number | undefined;
  /** In a handler: what the processor pushed. Elsewhere: the address after the HLT, and the registers. */
  readonly errorCode: bigint | undefined;
  readonly rip: number;
  readonly cs: number;
  readonly rflags: number;
  readonly rsp: bigint;
  readonly ss: number;
}

export interface DeviceAccess {
  readonly address: number;
  readonly size: number;
  /** undefined: a read */
  readonly value: bigint | undefined;
}

export interface GuestOptions {
  /** CR4 bits besides PAE, PGE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE. */
  readonly cr4?: bigint;
  readonly translation?: TranslationOptions;
}
export const Cr4 = { PCIDE: 1n << 17n, SMEP: 1n << 20n, SMAP: 1n << 21n } as const;
const CR4 = 0x5_06a0n;

/** To make an engine takes longer than a guest lives: all guests of a test file that are translated alike use one. */
interface Bench {
  readonly ram: GuestRam;
  readonly engine: WasmEngine;
  readonly vcpu: WasmVcpu;
  /** The last guest's. */
  readonly ports: VcpuPorts;
}
const benches = new Map<TranslationOptions, Bench>();
function benchFor(translation: TranslationOptions): Bench {
  const known = benches.get(translation);
  if (known) return known;
  const ram = GuestRam.create(FramePool.create(2 * RAM_BYTES), RAM_BYTES);
  const engine = new WasmEngine(createStateMemory(), ram, translation);
  const ports = {} as VcpuPorts;
  const bench = { ram, engine, ports, vcpu: engine.vcpu(0, cpuModel(1), ports) };
  benches.set(translation, bench);
  return bench;
}
/** How guests that do not say so are translated; translated.test.ts has everything translated before it runs. */
let usual = process.env["MERE_TRANSLATE"] === "all" ? TRANSLATE_ALL : TRANSLATION;
export function translateUsually(translation: TranslationOptions): void {
  usual = translation;
}

/** Only the guest made last may run. */
export class SmallGuest {
  readonly ram: GuestRam;
  readonly engine: WasmEngine;
  readonly vcpu: WasmVcpu;
  readonly regs: RegisterFile;
  readonly devices: Devices;
  /** Accesses to the device window and to ports, in order. */
  readonly log: DeviceAccess[] = [];
  readonly portLog: DeviceAccess[] = [];
  /** What reads of the device window and of ports give. */
  deviceValue = 0x1122_3344_5566_7788n;
  #nextTable: number = At.TABLES;

  constructor({ cr4 = 0n, translation = usual }: GuestOptions = {}) {
    const { ram, engine, vcpu, ports } = benchFor(translation);
    this.ram = ram;
    this.engine = engine;
    this.vcpu = vcpu;
    this.regs = vcpu.regs;
    ram.release();
    engine.blocks.clear();
    const registerFile = new Int32Array(engine.state.buffer, vcpuAddress(0), Reg.SIZE / 4);
    this.devices = attachDevices(createDeviceShared({ vcpus: 1, virtio: [] }), {
      registerFiles: [registerFile],
      memory: this.ram,
      hostNs: hostNanos,
      realtimeNs: () => BigInt(Date.now()) * 1_000_000n,
    });
    this.#writeTables();
    this.#writeDescriptors();
    this.#initialize(cr4);
    this.devices.reset();
    this.devices.localApics.apics[0]!.writeMsr(0x80f, 0x1ffn); // software-enabled
    Object.assign(ports, this.#ports());
    vcpu.mmu.flush({ kind: "all" });
    vcpu.modeChanged();
  }

  #ports(): VcpuPorts {
    return {
      ...vcpuPorts(this.devices, 0, () => -1000n),
      mmioRead: (address, size) => {
        this.log.push({ address, size, value: undefined });
        return BigInt.asUintN(8 * size, this.deviceValue);
      },
      mmioWrite: (address, size, value) => void this.log.push({ address, size, value }),
      portIn: (address, size) => {
        this.portLog.push({ address, size, value: undefined });
        return Number(BigInt.asUintN(8 * size, this.deviceValue));
      },
      portOut: (address, size, value) => void this.portLog.push({ address, size, value: BigInt(value) }),
    };
  }
  #writeTables(): void {
    for (let page = 0; page < 2 * MIB; page += PAGE) this.map(page, page, Pte.W);
    for (let page = 0; page < 0x10000; page += PAGE) this.map(At.USER + page, At.FREE + page, Pte.W | Pte.U);
    this.map(At.DEVICE, At.DEVICE, Pte.W);
  }
  #writeDescriptors(): void {
    const descriptors = [
      0n,
      0n,
      0x00af_9b00_0000_ffffn,
      0x00cf_9300_0000_ffffn,
      0n,
      0x00cf_f300_0000_ffffn,
      0x00af_fb00_0000_ffffn,
      0x0000_8900_0000_00ffn | (BigInt(At.TSS & 0xffff) << 16n) | (BigInt(At.TSS >> 16) << 32n),
      0n,
      0x00cf_fb00_0000_ffffn,
      0x00af_9f00_0000_ffffn,
      0x00cf_1300_0000_ffffn,
      0x00cf_9100_0000_ffffn,
    ];
    descriptors.forEach((d, i) => this.write64(At.GDT + 8 * i, d));
    for (let vector = 0; vector < 256; vector++) {
      const handler = At.HANDLERS + HANDLER_BYTES * vector;
      const drop = WITH_ERROR_CODE.has(vector) ? [0x48, 0x83, 0xc4, 0x08] : []; // add rsp, 8
      this.write(handler, [0xf4, ...drop, 0x48, 0xcf]); // hlt; iretq
      this.gate(vector);
    }
    this.write64(At.TSS + 4, BigInt(At.RSP0));
    this.write64(At.TSS + 36, BigInt(At.IST1));
    this.ram.writeU16(At.TSS + 0x66, 0x68);
  }
  #initialize(cr4: bigint): void {
    const { regs } = this;
    const start = {
      rip: BigInt(At.CODE),
      rsp: BigInt(At.STACK),
      rsi: 0n,
      cr3: BigInt(At.PML4),
      gdtBase: BigInt(At.GDT),
      apicId: 0,
    };
    initializeLongMode(regs, start);
    regs.set64(Reg.GDTR_LIMIT, 13n * 8n - 1n);
    regs.set64(Reg.IDTR_BASE, BigInt(At.IDT));
    regs.set64(Reg.IDTR_LIMIT, 0xfffn);
    regs.set64(Reg.EFER, 0xd01n); // NXE LMA LME SCE
    regs.set64(Reg.CR4, CR4 | cr4);
    regs.set64(Reg.XCR0, 3n);
    regs.setSegment(SegmentIndex.TR, { selector: Selector.TSS, attributes: 0x8b, limit: 0xff, base: BigInt(At.TSS) });
    regs.set64(Reg.STAR, 0x0023_0010_0000_0000n);
  }

  // ——— memory and tables ———
  write(gpa: number, bytes: ArrayLike<number>): void {
    if (!this.ram.write(gpa, Uint8Array.from(bytes))) throw new Error(`no RAM at ${gpa}`);
  }
  write64(gpa: number, value: bigint): void {
    this.ram.writeU64(gpa, value);
  }
  read64(gpa: number): bigint {
    return this.ram.readU64(gpa)!;
  }
  read(gpa: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.ram.read(gpa, bytes);
    return bytes;
  }
  /** Address of the entry that maps a linear address. Tables down to `level` (1: 4-KiB pages, 2: 2 MiB, 3: 1 GiB) are made as needed, with
   *  all rights. @param root the PML4 */
  entry(va: number | bigint, level = 1, root: number = At.PML4): number {
    let table: number = root;
    for (let at = 4; ; at--) {
      const entry = table + Number((BigInt(va) >> BigInt(12 + 9 * (at - 1))) & 511n) * 8;
      if (at === level) return entry;
      if ((this.read64(entry) & 1n) === 0n) this.write64(entry, BigInt(this.table()) | ALL_LEVELS);
      table = Number(this.read64(entry) & 0x3fff_ffff_f000n);
    }
  }
  /** An empty table. */
  table(): number {
    const table = this.#nextTable;
    this.#nextTable += PAGE;
    if (table >= TABLES_END) throw new Error("no room for page tables");
    return table;
  }
  /** @param flags besides P */
  map(va: number | bigint, gpa: number, flags: bigint, level = 1): void {
    this.write64(this.entry(va, level), BigInt(gpa) | flags | Pte.P | (level > 1 ? Pte.PS : 0n));
  }
  unmap(va: number | bigint): void {
    this.write64(this.entry(va), 0n);
  }
  gate(
    vector: number,
    {
      offset = BigInt(At.HANDLERS + HANDLER_BYTES * vector),
      type = 14,
      dpl = 0,
      ist = 0,
      present = true,
      selector = Selector.KERNEL_CS as number,
    } = {},
  ): void {
    const rights = BigInt(ist | (type << 8) | (dpl << 13) | (present ? 0x8000 : 0));
    const low = (offset & 0xffffn) | (BigInt(selector) << 16n) | (rights << 32n) | (((offset >> 16n) & 0xffffn) << 48n);
    this.write64(At.IDT + 16 * vector, low);
    this.write64(At.IDT + 16 * vector + 8, offset >> 32n);
  }

  // ——— running ———
  /** Puts a program at physical = linear `at`, and RIP there. */
  load(program: Listing, at: number = At.CODE): void {
    this.write(at, program.bytes);
    this.regs.set64(Reg.RIP, BigInt(at));
  }
  /** Puts a program at At.USER and makes the vCPU user code that is about to run it. */
  loadUser(program: Listing, rflags: number = Rflags.IF | 2): void {
    this.write(At.FREE, program.bytes);
    this.enterUser(rflags);
  }
  enterUser(rflags: number = Rflags.IF | 2): void {
    const { regs } = this;
    regs.setSegment(SegmentIndex.CS, { selector: Selector.USER_CS, attributes: 0xa0fb, limit: 0xffff_ffff, base: 0n });
    regs.setSegment(SegmentIndex.SS, { selector: Selector.USER_DS, attributes: 0xc0f3, limit: 0xffff_ffff, base: 0n });
    regs.cpl = 3;
    regs.rflags = rflags;
    regs.set64(Reg.RIP, BigInt(At.USER));
    regs.setGpr(4, BigInt(At.USER + 0x8000));
    this.vcpu.modeChanged();
  }
  /** Runs to the next HLT, past the one it is in. @throws if another exit comes first */
  run(budget = 1_000_000): Stop {
    this.regs.set32(Reg.RUN_STATE, 0);
    const exit = this.exit(budget);
    if (exit.kind !== "halted")
      throw new Error(`the guest did not halt: ${exit.kind} at ${this.regs.get64(Reg.RIP).toString(16)}`);
    return this.stop();
  }
  exit(budget = 1_000_000): Exit {
    return this.vcpu.run(budget);
  }
  stop(): Stop {
    const { regs } = this;
    const rip = Number(regs.get64(Reg.RIP));
    const vector = (rip - 1 - At.HANDLERS) / HANDLER_BYTES;
    if (!Number.isInteger(vector) || vector < 0 || vector > 255) {
      const [cs, ss] = [SegmentIndex.CS, SegmentIndex.SS].map((index) => regs.get16(Reg.SEG + 16 * index));
      return { vector: undefined, errorCode: undefined, rip, cs: cs!, rflags: regs.rflags, rsp: regs.gpr(4), ss: ss! };
    }
    const withCode = WITH_ERROR_CODE.has(vector);
    const sp = this.physical(regs.gpr(4)) + (withCode ? 8 : 0);
    const [savedRip, cs, rflags, rsp, ss] = [0, 8, 16, 24, 32].map((at) => this.read64(sp + at));
    return {
      vector,
      errorCode: withCode ? this.read64(sp - 8) : undefined,
      rip: Number(savedRip),
      cs: Number(cs),
      rflags: Number(rflags),
      rsp: rsp!,
      ss: Number(ss),
    };
  }
  /** Where a linear address of 4-KiB pages is. */
  physical(va: bigint): number {
    return Number((this.read64(this.entry(va)) & 0x3fff_ffff_f000n) | (va & 0xfffn));
  }
  gpr(n: number): bigint {
    return this.regs.gpr(n);
  }
  get retired(): number {
    return Number(this.regs.get64(Reg.RETIRED));
  }
  get cr2(): bigint {
    return this.regs.get64(Reg.CR2);
  }
}

/** A guest that is about to run a program in the kernel. @param registers general registers by number */
export function kernelGuest(
  program: Listing,
  registers: Readonly<Record<number, bigint | number>> = {},
  options: GuestOptions = {},
): SmallGuest {
  const g = new SmallGuest(options);
  g.load(program);
  for (const [n, value] of Object.entries(registers)) g.regs.setGpr(Number(n), BigInt(value));
  return g;
}
