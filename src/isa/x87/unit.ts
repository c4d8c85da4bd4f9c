/* The x87 unit's state in the register file: register stack, tags, status word, and how an instruction ends.
 * Tags: a register is empty (3) or not; what is written as not empty is tag 0, and FNSTENV and FNSAVE tell zero and special from the
 * contents, as processors do. FIP and FOP are recorded only by an instruction that raises an unmasked exception.
 * @source SDM vol. 1 §8.1, §8.5, §8.6, §8.7. On an executor's thread; nothing here is kept between instructions.
 *
 * Semantics and calls talk through the mailbox Reg.X87_*: ARG holds the form (see Arg), so that no bigint is made. */
import type { Cpu } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { type Float80, Status, loadFloat80, physicalAt, setDefaultNan, storeFloat80 } from "./float80.ts";
import { Rounding } from "./round.ts";

/** Fields of X87_ARG. */
export const Arg = {
  /** Bits 0–2: i of ST(i). */
  INDEX: 7,
  /** The result goes to ST(i), not to ST(0). */
  TO_STI: 8,
  /** Operands exchanged: FSUBR and FDIVR of ST(0). */
  REVERSED: 16,
  POP: 32,
  /** A second pop: FCOMPP, FUCOMPP. */
  POP_TWICE: 64,
  /** FUCOM: quiet NaNs raise nothing; FISTTP: truncates; FPREM1: to nearest; FCMOV: condition holds; 14-byte and FXSAVE64 forms. */
  VARIANT: 128,
  /** Comparison result goes to EFLAGS. */
  TO_FLAGS: 256,
  SOURCE_SHIFT: 12,
} as const;

/** Bits 12–15 of X87_ARG: where the operand is, or the format of what goes to memory. */
export const Source = {
  REGISTER: 0,
  FLOAT32: 1,
  FLOAT64: 2,
  FLOAT80: 3,
  INT16: 4,
  INT32: 5,
  INT64: 6,
  BCD: 7,
  ZERO: 8,
} as const;

/** Rounding and exceptions of the instruction under way. */
export const rounding = new Rounding();
export const UNDERFLOW = Status.IE | Status.SF;
export const OVERFLOW = Status.IE | Status.SF | Status.C1;

export const topOf = (v: DataView): number => (v.getUint8(Reg.FSW + 1) >> 3) & 7;

/** @param n physical register */
export const isEmpty = (v: DataView, n: number): boolean => ((v.getUint16(Reg.FTW, true) >> (n << 1)) & 3) === 3;

function setTop(v: DataView, top: number): void {
  v.setUint8(Reg.FSW + 1, (v.getUint8(Reg.FSW + 1) & ~0x38) | ((top & 7) << 3));
}

export function markEmpty(v: DataView, n: number): void {
  v.setUint16(Reg.FTW, v.getUint16(Reg.FTW, true) | (3 << (n << 1)), true);
}

/** Writes physical register n and marks it full. */
export function writePhysical(v: DataView, n: number, x: Float80): void {
  storeFloat80(v, physicalAt(n), x);
  v.setUint16(Reg.FTW, v.getUint16(Reg.FTW, true) & ~(3 << (n << 1)), true);
}

export function readPhysical(v: DataView, n: number, out: Float80): void {
  loadFloat80(v, physicalAt(n), out);
}

export function push(v: DataView, x: Float80): void {
  const top = (topOf(v) - 1) & 7;
  setTop(v, top);
  writePhysical(v, top, x);
}

export function pop(v: DataView): void {
  const top = topOf(v);
  markEmpty(v, top);
  setTop(v, top + 1);
}

export function rotate(v: DataView, by: number): void {
  setTop(v, topOf(v) + by);
}

/** Starts an instruction: takes rounding and masks from the control word. @returns the form (Arg) */
export function begin(v: DataView): number {
  rounding.begin(v.getUint16(Reg.FCW, true));
  return v.getUint32(Reg.X87_ARG, true);
}

/** A register that should hold a value does not: IE, SF, and the default NaN for the masked response. */
export function stackUnderflow(out: Float80): void {
  rounding.flags |= UNDERFLOW;
  setDefaultNan(out);
}
export function stackOverflow(out: Float80): void {
  rounding.flags |= OVERFLOW;
  setDefaultNan(out);
}

/** Ends an instruction: merges rounding.flags into the status word, makes an unmasked exception pending.
 *  @param affected condition codes that the instruction writes
 *  @param always condition codes among them that it writes even if it has no result: those of comparisons
 *  @returns false if an unmasked exception forbids the result */
export function conclude(cpu: Cpu, affected: number = Status.C1, always = 0): boolean {
  const v = cpu.regs.view;
  let flags = rounding.flags;
  const unmasked = flags & ~rounding.masks & 0x3f;
  if (unmasked === 0) {
    v.setUint16(Reg.FSW, (v.getUint16(Reg.FSW, true) & ~affected) | flags, true);
    return true;
  }
  const blocked = (unmasked & (Status.IE | Status.DE | Status.ZE)) !== 0;
  if (blocked)
    flags &= Status.IE | Status.DE | Status.ZE | always | ((flags & Status.SF) !== 0 ? Status.SF | Status.C1 : 0);
  const kept = v.getUint16(Reg.FSW, true) & ~(blocked ? (affected & Status.C1) | always : affected);
  v.setUint16(Reg.FSW, kept | flags | Status.ES | Status.B, true);
  recordInstruction(cpu);
  return !blocked;
}

/** ES and B follow from the exception bits and the masks: after the control or status word was loaded. */
export function updateSummary(v: DataView): void {
  const status = v.getUint16(Reg.FSW, true),
    masks = v.getUint16(Reg.FCW, true) & 0x3f;
  const pending = (status & ~masks & 0x3f) !== 0;
  v.setUint16(Reg.FSW, pending ? status | Status.ES | Status.B : status & ~(Status.ES | Status.B), true);
}

/** FIP and FOP of the instruction that raised an unmasked exception; the opcode is read back from the code. */
function recordInstruction(cpu: Cpu): void {
  const rip = cpu.currentRip(),
    v = cpu.regs.view;
  v.setBigUint64(Reg.FIP, rip, true);
  for (let i = 0n; i < 14n; i++) {
    const byte = Number(cpu.read(rip + i, 1));
    if (byte >> 3 !== 0x1b) continue; // prefixes before the escape D8–DF
    v.setUint16(Reg.FOP, ((byte & 7) << 8) | Number(cpu.read(rip + i + 1n, 1)), true);
    return;
  }
}
