/* IRET, far RET, JMP and CALL, and the software interrupts. Targets are code for 64-bit mode: this processor has no compatibility mode (#GP(selector)
 * where the code segment has L = 0, but for the way of a vCPU that wakes up: wakeup-path.ts) and no call gates or task switches (#GP(selector)).
 * @source SDM vol. 2A "IRET", "RET", "JMP", "CALL", "INT n"; vol. 3A §5.8 */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { hasBreakpoints } from "./debug.ts";
import { markAccessed, readDescriptor, requireLongCode, selectorFault } from "./descriptors.ts";
import type { Descriptor } from "./descriptors.ts";
import { deliverSoftware } from "./exceptions.ts";
import { isCanonical, requireCanonical } from "./linear-address.ts";
import { ioPrivilege } from "./rflags.ts";
import { setSegmentFrom, stackDescriptor } from "./segments.ts";
import { passThrough32 } from "./wakeup-path.ts";

const RSP = 4;

/** Word i of the stack, `size` bytes each. #SS(0) if its address is not canonical. */
function stackWord(cpu: Cpu, i: number, size: number): bigint {
  const address = BigInt.asUintN(64, cpu.regs.gpr(RSP) + BigInt(i * size));
  if (!isCanonical(address) || !isCanonical(BigInt.asUintN(64, address + BigInt(size - 1))))
    throw new GuestFault(Vector.SS, 0);
  return cpu.read(address, size);
}

/** The code segment that a return goes to. Its RPL becomes the CPL. */
function returnCode(cpu: Cpu, selector: number): Descriptor {
  if ((selector & 0xfffc) === 0) throw new GuestFault(Vector.GP, 0);
  const rpl = selector & 3;
  const code = readDescriptor(cpu, selector);
  const wrongLevel = code.isConforming ? code.dpl > rpl : code.dpl !== rpl;
  if (!code.isCode || rpl < cpu.regs.cpl || wrongLevel || rpl === 1 || rpl === 2)
    throw selectorFault(Vector.GP, selector);
  requireLongCode(code, selector);
  return code;
}

/** Data segments that the new privilege level may not use become null. */
function dropPrivilegedSegments(cpu: Cpu, cpl: number): void {
  for (const index of [SegmentIndex.ES, SegmentIndex.DS, SegmentIndex.FS, SegmentIndex.GS]) {
    const segment = cpu.regs.segment(index);
    const conformingCode = (segment.attributes & 0x0c) === 0x0c;
    if (segment.attributes === 0 || conformingCode || ((segment.attributes >> 5) & 3) >= cpl) continue;
    cpu.regs.setSegment(index, { ...segment, selector: 0, attributes: 0, limit: 0 });
  }
}

interface ReturnTarget {
  readonly rip: bigint;
  readonly cs: number;
  readonly code: Descriptor;
  readonly rsp: bigint;
  /** SS is loaded too: always by IRET, by RET only to an outer level. */
  readonly ss: number | undefined;
}

/** All checks that remain, then the change of CS, RIP, RSP and SS. */
function goBack(cpu: Cpu, to: ReturnTarget): void {
  const { regs } = cpu;
  const cpl = to.cs & 3;
  const stack = to.ss === undefined ? undefined : stackDescriptor(cpu, to.ss, cpl);
  requireCanonical(to.rip);
  markAccessed(cpu, to.code);
  if (stack) markAccessed(cpu, stack);
  regs.setSegment(SegmentIndex.CS, to.code.segment(to.cs));
  if (to.ss !== undefined) setSegmentFrom(cpu, SegmentIndex.SS, to.ss, stack);
  regs.setGpr(RSP, to.rsp);
  if (cpl !== regs.cpl) {
    regs.cpl = cpl;
    dropPrivilegedSegments(cpu, cpl);
    cpu.modeChanged();
  }
  cpu.setRip(to.rip);
}

function iret(cpu: Cpu, size: number): void {
  const { regs } = cpu;
  const old = regs.rflags;
  if (old & Rflags.NT) throw new GuestFault(Vector.GP, 0);
  const cpl = regs.cpl;
  const rip = stackWord(cpu, 0, size);
  const cs = Number(stackWord(cpu, 1, size) & 0xffffn);
  const image = Number(stackWord(cpu, 2, size) & 0xffff_ffffn);
  const rsp = stackWord(cpu, 3, size);
  const ss = Number(stackWord(cpu, 4, size) & 0xffffn);
  goBack(cpu, { rip, cs, code: returnCode(cpu, cs), rsp, ss });

  let writable: number = Rflags.OSZAPC | Rflags.TF | Rflags.DF | Rflags.NT;
  if (size !== 2) writable |= Rflags.RF | Rflags.AC | Rflags.ID;
  if (cpl <= ioPrivilege(regs)) writable |= Rflags.IF;
  if (cpl === 0) writable |= Rflags.IOPL;
  // RF matters only to breakpoints; where none is enabled nothing would take it away after the next instruction.
  const ignored = hasBreakpoints(regs) ? 0 : Rflags.RF;
  const rflags = ((old & ~writable) | (image & writable)) & ~ignored;
  regs.rflags = rflags;
  const nmiEnds = regs.get32(Reg.NMI_BLOCKED) !== 0;
  regs.set32(Reg.NMI_BLOCKED, 0);
  if ((old ^ rflags) & Rflags.AC) cpu.modeChanged();
  if (nmiEnds || rflags & (Rflags.IF | Rflags.TF)) cpu.interruptsMayBeOpen();
}

function retFar(cpu: Cpu, size: number, popBytes: number): void {
  const { regs } = cpu;
  const rip = stackWord(cpu, 0, size);
  const cs = Number(stackWord(cpu, 1, size) & 0xffffn);
  const code = returnCode(cpu, cs);
  const released = BigInt(2 * size + popBytes);
  if ((cs & 3) === regs.cpl) return goBack(cpu, { rip, cs, code, rsp: regs.gpr(RSP) + released, ss: undefined });
  const at = BigInt.asUintN(64, regs.gpr(RSP) + released);
  const rsp = cpu.read(at, size) + BigInt(popBytes);
  const ss = Number(cpu.read(BigInt.asUintN(64, at + BigInt(size)), size) & 0xffffn);
  goBack(cpu, { rip, cs, code, rsp, ss });
}

/** The code segment that a far JMP or CALL names; the CPL stays. */
function targetCode(cpu: Cpu, selector: number): Descriptor {
  if ((selector & 0xfffc) === 0) throw new GuestFault(Vector.GP, 0);
  const { cpl } = cpu.regs;
  const code = readDescriptor(cpu, selector);
  const wrongLevel = code.isConforming ? code.dpl > cpl : code.dpl !== cpl || (selector & 3) > cpl;
  if (!code.isCode || wrongLevel) throw selectorFault(Vector.GP, selector);
  requireLongCode(code, selector);
  return code;
}

function jmpFar(cpu: Cpu, selector: number, offset: bigint): void {
  if (cpu.regs.get64(Reg.WAKING) !== 0n && passThrough32(cpu, selector, offset)) return;
  const code = targetCode(cpu, selector);
  requireCanonical(offset);
  markAccessed(cpu, code);
  cpu.regs.setSegment(SegmentIndex.CS, code.segment((selector & 0xfffc) | cpu.regs.cpl));
  cpu.setRip(offset);
}

function callFar(cpu: Cpu, selector: number, offset: bigint, size: number): void {
  const { regs } = cpu;
  const code = targetCode(cpu, selector);
  requireCanonical(offset);
  const rsp = BigInt.asUintN(64, regs.gpr(RSP) - BigInt(2 * size));
  cpu.probeWrite(rsp, 2 * size);
  markAccessed(cpu, code);
  cpu.write(BigInt.asUintN(64, rsp + BigInt(size)), size, BigInt(regs.get16(Reg.SEG + 16 * SegmentIndex.CS)));
  cpu.write(rsp, size, BigInt.asUintN(8 * size, cpu.nextRip()));
  regs.setGpr(RSP, rsp);
  regs.setSegment(SegmentIndex.CS, code.segment((selector & 0xfffc) | regs.cpl));
  cpu.setRip(offset);
}

const selectorOf = (value: bigint): number => Number(value & 0xffffn);

export const FAR_CALLS: Record<string, CallSpec> = {
  iret: { args: 1, result: false, run: (cpu, size) => iret(cpu, Number(size)) },
  retFar: {
    args: 2,
    result: false,
    run: (cpu, size, popBytes) => retFar(cpu, Number(size), Number(popBytes! & 0xffffn)),
  },
  jmpFar: {
    args: 3,
    result: false,
    run: (cpu, sel, offset, size) => jmpFar(cpu, selectorOf(sel!), BigInt.asUintN(8 * Number(size), offset!)),
  },
  callFar: {
    args: 3,
    result: false,
    run: (cpu, sel, offset, size) =>
      callFar(cpu, selectorOf(sel!), BigInt.asUintN(8 * Number(size), offset!), Number(size)),
  },
  intN: { args: 1, result: false, run: (cpu, vector) => deliverSoftware(cpu, Number(vector! & 0xffn), "software") },
  int3: { args: 0, result: false, run: (cpu) => deliverSoftware(cpu, Vector.BP, "software") },
  int1: { args: 0, result: false, run: (cpu) => deliverSoftware(cpu, Vector.DB, "privileged-software") },
};
