/* The wasm engine as a TestMachine: one vCPU whose page tables map the test's ranges as user pages. Tests only. */
import type { GuestFault } from "../../isa/cpu.ts";
import type { RegisterFile } from "../../isa/register-file.ts";
import { Reg, Slot } from "../../isa/registers.ts";
import { cpuModel } from "../../isa/system/cpu-model.ts";
import { FramePool } from "../../memory/frames.ts";
import { GuestRam } from "../../memory/guest-ram.ts";
import type { VcpuPorts } from "../engine.ts";
import type { TestMachine, TestRange } from "../test-machine.ts";
import { TRANSLATION, type TranslationOptions, WasmEngine } from "./engine.ts";
import { createStateMemory } from "./layout.ts";
import type { WasmVcpu } from "./vcpu.ts";

const MIB = 1024 ** 2;
const PAGE = 4096;
const PML4 = 0x1000;
const FIRST_TABLE = 0x2000;
const FIRST_PAGE = MIB;
const PRESENT_USER = 5n;
const WRITABLE = 2n;
const CR0 = 0x8005_0033n; // PG AM WP NE ET MP PE
const CR4 = 0x5_06b0n; // PSE PAE PGE OSFXSR OSXMMEXCPT, FSGSBASE OSXSAVE
const EFER = 0xd01n; // NXE LMA LME SCE

const NO_PORTS: VcpuPorts = {
  mmioRead: (_, size) => (1n << BigInt(8 * size)) - 1n,
  mmioWrite: () => {},
  portIn: (_, size) => 2 ** (8 * size) - 1,
  portOut: () => {},
  readMsr: () => undefined,
  writeMsr: () => false,
  acknowledgeInterrupt: () => -1,
  takeNmi: () => false,
  readTpr: () => 0,
  writeTpr: () => {},
  hypercall: () => -1000n,
  deadlinePassed: () => {},
};

class WasmTestMachine implements TestMachine {
  readonly regs: RegisterFile;
  readonly #vcpu: WasmVcpu;
  readonly #ram: GuestRam;
  readonly #memory = new Map<number, Uint8Array>();
  #nextTable = FIRST_TABLE;
  #nextPage = FIRST_PAGE;

  constructor(ranges: readonly TestRange[], translation: TranslationOptions) {
    this.#ram = GuestRam.create(FramePool.create(4 * MIB), 2 * MIB);
    const engine = new WasmEngine(createStateMemory(), this.#ram, translation);
    this.#vcpu = engine.vcpu(0, cpuModel(1), NO_PORTS);
    this.regs = this.#vcpu.regs;
    for (const range of ranges) this.#map(range);
  }

  /** Maps a range. Its tables are made before its frames, which so are one piece of the pool. */
  #map({ start, sizeBytes, writable }: TestRange): void {
    const from = this.#nextPage;
    this.#nextPage += sizeBytes;
    for (let at = 0; at < sizeBytes; at += PAGE) {
      this.#ram.writeU64(this.#entry(start + at), BigInt(from + at) | PRESENT_USER | (writable ? WRITABLE : 0n));
    }
    this.#memory.set(start, this.#ram.slices(from, sizeBytes, true)![0]);
  }
  /** Address of the last-level entry for a linear address; tables are made as needed. */
  #entry(va: number): number {
    let table = PML4;
    for (const shift of [39, 30, 21]) {
      const at = table + (Math.floor(va / 2 ** shift) % 512) * 8;
      let next = Number(this.#ram.readU64(at)! & ~0xfffn);
      if (next === 0) {
        next = this.#nextTable;
        this.#nextTable += PAGE;
        this.#ram.writeU64(at, BigInt(next) | PRESENT_USER | WRITABLE);
      }
      table = next;
    }
    return table + (Math.floor(va / PAGE) % 512) * 8;
  }

  memory(range: TestRange): Uint8Array {
    return this.#memory.get(range.start)!;
  }

  run(bytes: Uint8Array): GuestFault | undefined {
    const { regs } = this;
    const kept = [Reg.CR0, Reg.CR3, Reg.CR4, Reg.EFER, Reg.RFLAGS].map((field): [number, bigint] => [
      field,
      regs.get64(field),
    ]);
    const pageVa = regs.get64(Reg.PAGE_VA);
    regs.set64(8 * Slot.C4096, 4096n);
    regs.set64(Reg.CR0, CR0);
    regs.set64(Reg.CR3, BigInt(PML4));
    regs.set64(Reg.CR4, CR4);
    regs.set64(Reg.EFER, EFER);
    const fault = this.#vcpu.runBytes(bytes);
    const rflags = regs.get64(Reg.RFLAGS);
    for (const [field, value] of kept) regs.set64(field, value);
    regs.set64(Reg.RFLAGS, rflags);
    regs.set64(Reg.PAGE_VA, pageVa);
    return fault;
  }
}

/** @param ranges all that is mapped  @param translation TRANSLATE_ALL: instructions run as regions of one instruction */
export function createTestMachine(ranges: readonly TestRange[], translation = TRANSLATION): TestMachine {
  return new WasmTestMachine(ranges, translation);
}
