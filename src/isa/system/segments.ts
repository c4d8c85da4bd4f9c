/* Segment registers and descriptor-table registers: loads with their checks, LAR LSL VERR VERW, LGDT LIDT SGDT SIDT LLDT LTR.
 * In 64-bit mode only the FS and GS bases matter; limits and types are kept because the guest can read them back.
 * @source SDM vol. 3A §3.4.4, §5.8; vol. 2 for each instruction */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg, SegmentIndex, Shadow } from "../registers.ts";
import { findDescriptor, markAccessed, readDescriptor, selectorFault, systemBase, SystemType } from "./descriptors.ts";
import type { Descriptor } from "./descriptors.ts";
import { requireCanonical } from "./linear-address.ts";

const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;

/** The descriptor for SS of code that runs at `cpl`, checked; undefined for a null selector, which 64-bit mode allows below CPL 3. */
export function stackDescriptor(
  cpu: Cpu,
  selector: number,
  cpl: number,
  vector: number = Vector.GP,
): Descriptor | undefined {
  if (isNull(selector)) {
    if (cpl === 3 || (selector & 3) !== cpl) throw new GuestFault(vector, 0);
    return undefined;
  }
  const descriptor = readDescriptor(cpu, selector, vector);
  if ((selector & 3) !== cpl || descriptor.dpl !== cpl || !descriptor.isWritable) throw selectorFault(vector, selector);
  if (!descriptor.present) throw selectorFault(Vector.SS, selector);
  return descriptor;
}

/** Puts a checked descriptor into a segment register; undefined is the null selector. */
export function setSegmentFrom(cpu: Cpu, index: number, selector: number, descriptor: Descriptor | undefined): void {
  cpu.regs.setSegment(
    index,
    descriptor ? descriptor.segment(selector) : { selector, attributes: 0, limit: 0, base: 0n },
  );
}

function loadDataSegment(cpu: Cpu, index: number, selector: number): void {
  let descriptor: Descriptor | undefined;
  if (!isNull(selector)) {
    descriptor = readDescriptor(cpu, selector);
    if (!descriptor.isReadable) throw selectorFault(Vector.GP, selector);
    if (!descriptor.isConforming && ((selector & 3) > descriptor.dpl || cpu.regs.cpl > descriptor.dpl))
      throw selectorFault(Vector.GP, selector);
    if (!descriptor.present) throw selectorFault(Vector.NP, selector);
    markAccessed(cpu, descriptor);
  }
  // A null selector clears the base of FS and GS, as Intel's processors do (which the CPUID vendor promises).
  setSegmentFrom(cpu, index, selector, descriptor);
}

/** MOV Sreg, POP Sreg, LSS, LFS, LGS. @param index SegmentIndex, not CS */
function loadSegment(cpu: Cpu, index: number, selector: number): void {
  if (index !== SegmentIndex.SS) return loadDataSegment(cpu, index, selector);
  const descriptor = stackDescriptor(cpu, selector, cpu.regs.cpl);
  if (descriptor) markAccessed(cpu, descriptor);
  setSegmentFrom(cpu, index, selector, descriptor);
  cpu.regs.set32(Reg.INTERRUPT_SHADOW, Shadow.MOV_SS);
  cpu.regs.set64(Reg.SHADOW_RIP, cpu.nextRip());
}

/** Bit 32 of an answer of LAR and LSL: the selector is valid, ZF becomes 1. */
const VALID = 1n << 32n;

/** The descriptor if LAR, LSL, VERR, VERW may see it at this privilege. */
function visible(cpu: Cpu, selector: number): Descriptor | undefined {
  if (isNull(selector)) return undefined;
  const descriptor = findDescriptor(cpu, selector);
  if (descriptor === undefined || descriptor.isConforming) return descriptor;
  return cpu.regs.cpl > descriptor.dpl || (selector & 3) > descriptor.dpl ? undefined : descriptor;
}

const LSL_TYPES: ReadonlySet<number> = new Set([SystemType.LDT, SystemType.TSS_AVAILABLE, SystemType.TSS_BUSY]);

function lar(cpu: Cpu, selector: number): bigint {
  const d = visible(cpu, selector);
  const ok = d !== undefined && (!d.isSystem || LSL_TYPES.has(d.type) || d.type === SystemType.CALL_GATE);
  return ok ? VALID | BigInt(d.high & 0x00f0_ff00) : 0n;
}

function lsl(cpu: Cpu, selector: number): bigint {
  const d = visible(cpu, selector);
  const ok = d !== undefined && (!d.isSystem || LSL_TYPES.has(d.type));
  return ok ? VALID | BigInt(d.limit) : 0n;
}

function loadTable(cpu: Cpu, at: bigint, baseField: number, limitField: number): void {
  const limit = cpu.read(at, 2);
  const base = cpu.read(BigInt.asUintN(64, at + 2n), 8);
  requireCanonical(base);
  cpu.regs.set64(baseField, base);
  cpu.regs.set64(limitField, limit);
}

function storeTable(cpu: Cpu, at: bigint, baseField: number, limitField: number): void {
  cpu.probeWrite(at, 10);
  cpu.write(at, 2, BigInt(cpu.regs.get16(limitField)));
  cpu.write(BigInt.asUintN(64, at + 2n), 8, cpu.regs.get64(baseField));
}

function lldt(cpu: Cpu, selector: number): void {
  if (isNull(selector)) return setSegmentFrom(cpu, SegmentIndex.LDTR, selector, undefined);
  if (selector & 4) throw selectorFault(Vector.GP, selector);
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor.isSystem || descriptor.type !== SystemType.LDT) throw selectorFault(Vector.GP, selector);
  if (!descriptor.present) throw selectorFault(Vector.NP, selector);
  const base = systemBase(cpu, selector, descriptor);
  cpu.regs.setSegment(SegmentIndex.LDTR, { ...descriptor.segment(selector), base });
}

function ltr(cpu: Cpu, selector: number): void {
  if (isNull(selector)) throw new GuestFault(Vector.GP, 0);
  if (selector & 4) throw selectorFault(Vector.GP, selector);
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor.isSystem || descriptor.type !== SystemType.TSS_AVAILABLE) throw selectorFault(Vector.GP, selector);
  if (!descriptor.present) throw selectorFault(Vector.NP, selector);
  const base = systemBase(cpu, selector, descriptor);
  cpu.write(descriptor.address + 5n, 1, BigInt(((descriptor.high >> 8) & 0xff) | 2), "system"); // busy
  const segment = descriptor.segment(selector);
  cpu.regs.setSegment(SegmentIndex.TR, { ...segment, attributes: segment.attributes | 2, base });
}

const selector = (value: bigint): number => Number(value & 0xffffn);

export const SEGMENT_CALLS: Record<string, CallSpec> = {
  loadSegment: {
    args: 2,
    result: false,
    run: (cpu, index, value) => loadSegment(cpu, Number(index), selector(value!)),
  },
  lar: { args: 1, result: true, run: (cpu, value) => lar(cpu, selector(value!)) },
  lsl: { args: 1, result: true, run: (cpu, value) => lsl(cpu, selector(value!)) },
  // LAR, LSL, VERR, VERW change no state here: their rows set ZF.
  verr: { args: 1, result: true, run: (cpu, value) => (visible(cpu, selector(value!))?.isReadable ? 1n : 0n) },
  verw: { args: 1, result: true, run: (cpu, value) => (visible(cpu, selector(value!))?.isWritable ? 1n : 0n) },
  lgdt: { args: 1, result: false, run: (cpu, at) => loadTable(cpu, at!, Reg.GDTR_BASE, Reg.GDTR_LIMIT) },
  lidt: { args: 1, result: false, run: (cpu, at) => loadTable(cpu, at!, Reg.IDTR_BASE, Reg.IDTR_LIMIT) },
  sgdt: { args: 1, result: false, run: (cpu, at) => storeTable(cpu, at!, Reg.GDTR_BASE, Reg.GDTR_LIMIT) },
  sidt: { args: 1, result: false, run: (cpu, at) => storeTable(cpu, at!, Reg.IDTR_BASE, Reg.IDTR_LIMIT) },
  lldt: { args: 1, result: false, run: (cpu, value) => lldt(cpu, selector(value!)) },
  ltr: { args: 1, result: false, run: (cpu, value) => ltr(cpu, selector(value!)) },
};
