/* CR0 CR2 CR3 CR4 CR8, XCR0, and the instructions on cached translations (INVLPG, INVPCID). The processor stays in 64-bit mode with paging:
 * clearing CR0.PE, CR0.PG or CR4.PAE is #GP(0), where a whole x86 would go to another mode. CR4 bits of features that the model lacks are reserved.
 * @source SDM vol. 3A §2.5, §4.10.4.1, §13.3; vol. 2 "MOV—Move to/from Control Registers", "INVPCID", "XSETBV" */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { PHYSICAL_ADDRESS_BITS } from "./cpu-model.ts";
import { isCanonical, requireCanonical } from "./linear-address.ts";

export const Cr0 = {
  PE: 1,
  MP: 2,
  EM: 4,
  TS: 8,
  ET: 16,
  NE: 32,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 1 << 31,
} as const;
export const Cr4 = {
  TSD: 1 << 2,
  DE: 1 << 3,
  PSE: 1 << 4,
  PAE: 1 << 5,
  PGE: 1 << 7,
  OSFXSR: 1 << 9,
  OSXMMEXCPT: 1 << 10,
  FSGSBASE: 1 << 16,
  PCIDE: 1 << 17,
  OSXSAVE: 1 << 18,
  SMEP: 1 << 20,
  SMAP: 1 << 21,
} as const;

const CR0_WRITABLE = Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG;
/** Upper half of CR3 without the bit that says: flush nothing. */
const CR3_HIGH = 0x7fff_ffff;
const PCID_MASK = 0xfff;
const XCR0_X87 = 1n,
  XCR0_SSE = 2n;

/** CR4 bits that exist only with a CPUID feature. */
const CR4_FEATURES: readonly (readonly [string, number])[] = [
  ["fsgsbase", Cr4.FSGSBASE],
  ["pcid", Cr4.PCIDE],
  ["xsave", Cr4.OSXSAVE],
  ["smap", Cr4.SMAP],
];
const CR4_ALWAYS = Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.OSFXSR | Cr4.OSXMMEXCPT | Cr4.SMEP;

function generalProtection(): never {
  throw new GuestFault(Vector.GP, 0);
}

/** @returns the current PCID, 0 without CR4.PCIDE */
export function currentPcid(cpu: Cpu): number {
  return cpu.regs.get32(Reg.CR4) & Cr4.PCIDE ? cpu.regs.get32(Reg.CR3) & PCID_MASK : 0;
}

function writeCr0(cpu: Cpu, value: bigint): void {
  const wanted = Number(value & 0xffff_ffffn) | 0;
  if (value >> 32n !== 0n || !(wanted & Cr0.PE) || !(wanted & Cr0.PG) || (wanted & Cr0.NW && !(wanted & Cr0.CD)))
    generalProtection();
  const old = cpu.regs.get32(Reg.CR0);
  const cr0 = (wanted & CR0_WRITABLE) | Cr0.ET;
  cpu.regs.set64(Reg.CR0, BigInt(cr0 >>> 0));
  if ((old ^ cr0) & Cr0.WP) cpu.flushTlb({ kind: "all" }); // cached write permissions were computed with the old WP
  cpu.modeChanged();
}

function writeCr3(cpu: Cpu, value: bigint): void {
  const { regs } = cpu;
  const pcide = (regs.get32(Reg.CR4) & Cr4.PCIDE) !== 0;
  const upper = Number(BigInt.asUintN(32, value >> 32n)); // halves, because context switches are frequent
  const keep = pcide && upper >>> 31 !== 0;
  const high = pcide ? upper & CR3_HIGH : upper;
  if (high >>> (PHYSICAL_ADDRESS_BITS - 32) !== 0) generalProtection();
  regs.set32(Reg.CR3, Number(BigInt.asUintN(32, value)));
  regs.set32(Reg.CR3 + 4, high);
  if (!keep) cpu.flushTlb(pcide ? { kind: "nonGlobal", pcid: currentPcid(cpu) } : { kind: "nonGlobal" });
  cpu.modeChanged();
}

function cr4Supported(cpu: Cpu): number {
  return CR4_FEATURES.reduce(
    (bits, [feature, bit]) => (cpu.model.features.has(feature) ? bits | bit : bits),
    CR4_ALWAYS,
  );
}

function writeCr4(cpu: Cpu, value: bigint): void {
  const old = cpu.regs.get32(Reg.CR4);
  const cr4 = Number(value & 0xffff_ffffn);
  if (value >> 32n !== 0n || (cr4 & ~cr4Supported(cpu)) !== 0 || !(cr4 & Cr4.PAE)) generalProtection();
  if (cr4 & ~old & Cr4.PCIDE && cpu.regs.get32(Reg.CR3) & PCID_MASK) generalProtection();
  cpu.regs.set64(Reg.CR4, BigInt(cr4));
  const changed = old ^ cr4;
  if (changed & (Cr4.PGE | Cr4.SMEP | Cr4.SMAP) || old & ~cr4 & Cr4.PCIDE) cpu.flushTlb({ kind: "all" });
  cpu.modeChanged();
}

function writeCr(cpu: Cpu, n: number, value: bigint): void {
  if (n === 0) writeCr0(cpu, value);
  else if (n === 2) cpu.regs.set64(Reg.CR2, value);
  else if (n === 3) writeCr3(cpu, value);
  else if (n === 4) writeCr4(cpu, value);
  else if (n === 8) {
    if (value > 15n) generalProtection();
    cpu.writeTpr(Number(value));
    cpu.interruptsMayBeOpen();
  } else throw new GuestFault(Vector.UD);
}

/** CR0, CR2, CR3 and CR4 are described (sem/system.ts). */
function readCr(cpu: Cpu, n: number): bigint {
  if (n !== 8) throw new GuestFault(Vector.UD);
  return BigInt(cpu.readTpr());
}

/** LMSW writes the low four bits of CR0 but cannot clear PE. */
function lmsw(cpu: Cpu, value: bigint): void {
  const cr0 = cpu.regs.get64(Reg.CR0);
  writeCr0(cpu, (cr0 & ~0xen) | (value & 0xfn) | 1n);
}

function clts(cpu: Cpu): void {
  cpu.regs.set32(Reg.CR0, cpu.regs.get32(Reg.CR0) & ~Cr0.TS);
  cpu.modeChanged();
}

function invlpg(cpu: Cpu, address: bigint): void {
  if (isCanonical(address)) cpu.flushTlb({ kind: "address", address });
}

function invpcid(cpu: Cpu, type: bigint, at: bigint): void {
  const first = cpu.read(at, 8);
  const address = cpu.read(BigInt.asUintN(64, at + 8n), 8);
  const pcid = Number(first & 0xfffn);
  if (type > 3n || first >> 12n !== 0n) generalProtection();
  if (type <= 1n && pcid !== 0 && !(cpu.regs.get32(Reg.CR4) & Cr4.PCIDE)) generalProtection();
  if (type === 0n) {
    requireCanonical(address);
    cpu.flushTlb({ kind: "address", address, pcid });
  } else if (type === 1n) cpu.flushTlb({ kind: "nonGlobal", pcid });
  else cpu.flushTlb({ kind: type === 2n ? "all" : "nonGlobal" });
}

function requireXsave(cpu: Cpu): void {
  if (!(cpu.regs.get32(Reg.CR4) & Cr4.OSXSAVE)) throw new GuestFault(Vector.UD);
  if ((cpu.regs.gpr(1) & 0xffff_ffffn) !== 0n) generalProtection(); // XCR0 is the only one
}

function xgetbv(cpu: Cpu): void {
  requireXsave(cpu);
  const value = cpu.regs.get64(Reg.XCR0);
  cpu.regs.setGpr(0, value & 0xffff_ffffn);
  cpu.regs.setGpr(2, value >> 32n);
}

function xsetbv(cpu: Cpu): void {
  requireXsave(cpu);
  if (cpu.regs.cpl !== 0) generalProtection();
  const value = ((cpu.regs.gpr(2) & 0xffff_ffffn) << 32n) | (cpu.regs.gpr(0) & 0xffff_ffffn);
  if ((value & ~(XCR0_X87 | XCR0_SSE)) !== 0n || !(value & XCR0_X87)) generalProtection();
  cpu.regs.set64(Reg.XCR0, value);
}

export const CONTROL_CALLS: Record<string, CallSpec> = {
  readCr: { args: 1, result: true, run: (cpu, n) => readCr(cpu, Number(n)) },
  writeCr: { args: 2, result: false, run: (cpu, n, value) => writeCr(cpu, Number(n), value!) },
  lmsw: { args: 1, result: false, run: (cpu, value) => lmsw(cpu, value!) },
  clts: { args: 0, result: false, run: clts },
  invlpg: { args: 1, result: false, run: (cpu, address) => invlpg(cpu, address!) },
  invpcid: { args: 2, result: false, run: (cpu, type, at) => invpcid(cpu, type!, at!) },
  xgetbv: { args: 0, result: false, run: xgetbv },
  xsetbv: { args: 0, result: false, run: xsetbv },
};
