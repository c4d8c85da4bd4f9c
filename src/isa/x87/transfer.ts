/* x87 data transfer: FLD FILD FBLD, FST FIST FISTTP FBSTP, FXCH, FCMOVcc and constants. Calls of sem/x87.ts.
 * Memory is read and written by the semantics; the value is in the mailbox. @source SDM vol. 2 under each mnemonic */
import type { Cpu } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { BIAS, Float80, Kind, QUIET_BIT, Status, isSignaling, kindOf, setDefaultNan, setZero } from "./float80.ts";
import {
  fromBcd,
  fromFloat32,
  fromFloat64,
  fromInt32,
  fromInt64,
  memory,
  toBcd,
  toFloat,
  toInteger,
} from "./convert.ts";
import {
  Arg,
  Source,
  begin,
  conclude,
  isEmpty,
  markEmpty,
  pop,
  push,
  readPhysical,
  rounding,
  stackOverflow,
  stackUnderflow,
  topOf,
  writePhysical,
} from "./unit.ts";

const x = new Float80();
const y = new Float80();

/** Reads the mailbox's value in format `source`; a NaN stays as it is. @returns Status.DE for a denormal of 32 or 64 bits */
export function takeOperand(v: DataView, source: number, out: Float80): number {
  switch (source) {
    case Source.FLOAT32:
      return fromFloat32(out, v.getInt32(Reg.X87_VALUE, true));
    case Source.FLOAT64:
      return fromFloat64(out, v.getInt32(Reg.X87_VALUE + 4, true), v.getInt32(Reg.X87_VALUE, true));
    case Source.INT16:
      fromInt32(out, v.getInt16(Reg.X87_VALUE, true));
      return 0;
    case Source.INT32:
      fromInt32(out, v.getInt32(Reg.X87_VALUE, true));
      return 0;
    case Source.INT64:
      fromInt64(out, v.getInt32(Reg.X87_VALUE + 4, true), v.getInt32(Reg.X87_VALUE, true));
      return 0;
    case Source.BCD:
      fromBcd(out, v.getBigUint64(Reg.X87_VALUE, true), v.getUint16(Reg.X87_HIGH, true));
      return 0;
    case Source.ZERO:
      setZero(out, 0);
      return 0;
    default: {
      const signExp = v.getUint16(Reg.X87_HIGH, true);
      out.set(signExp >> 15, signExp & 0x7fff, v.getInt32(Reg.X87_VALUE + 4, true), v.getInt32(Reg.X87_VALUE, true));
      return 0;
    }
  }
}

/** FLD, FILD, FBLD: pushes the operand. */
export function load(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v),
    top = topOf(v),
    source = arg >> Arg.SOURCE_SHIFT;
  const n = (top + (arg & Arg.INDEX)) & 7;
  // An empty source goes before a full stack.
  if (source === Source.REGISTER && isEmpty(v, n)) stackUnderflow(x);
  else if (!isEmpty(v, (top - 1) & 7)) stackOverflow(x);
  else if (source === Source.REGISTER) readPhysical(v, n, x);
  else {
    rounding.flags |= takeOperand(v, source, x);
    if ((source === Source.FLOAT32 || source === Source.FLOAT64) && kindOf(x) === Kind.NAN && isSignaling(x)) {
      rounding.flags |= Status.IE;
      x.hi |= QUIET_BIT;
    }
  }
  // A denormal is loaded even if DE is not masked; processors agree, the manual does not say.
  if (conclude(cpu) || (rounding.flags & Status.IE) === 0) push(v, x);
}

// FLD1 FLDL2T FLDL2E FLDPI FLDLG2 FLDLN2 FLDZ in encoding order: exponent, significand truncated to 64 bits, and whether
// what is cut off is more than half a unit (nearest rounds up) or less. 0: exact. @source SDM vol. 1 §8.3.8
const CONSTANTS: readonly (readonly [number, number, number, -1 | 0 | 1])[] = [
  [BIAS, 0x80000000 | 0, 0, 0],
  [0x4000, 0xd49a784b | 0, 0xcd1b8afe | 0, -1],
  [0x3fff, 0xb8aa3b29 | 0, 0x5c17f0bb, 1],
  [0x4000, 0xc90fdaa2 | 0, 0x2168c234, 1],
  [0x3ffd, 0x9a209a84 | 0, 0xfbcff798 | 0, 1],
  [0x3ffe, 0xb17217f7 | 0, 0xd1cf79ab | 0, 1],
  [0, 0, 0, 0],
];

/** FLD1 … FLDZ: the constant by ARG's index, rounded by RC. */
export function loadConstant(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v);
  const [exp, hi, lo, half] = CONSTANTS[arg & Arg.INDEX]!;
  if (!isEmpty(v, (topOf(v) - 1) & 7)) stackOverflow(x);
  else x.set(0, exp, hi, half !== 0 && (rounding.mode === 2 || (rounding.mode === 0 && half > 0)) ? lo + 1 : lo);
  if (conclude(cpu)) push(v, x);
}

/** Bytes in memory by Source. */
const WIDTHS = [0, 4, 8, 10, 2, 4, 8, 10];

/** FST, FSTP, FIST, FISTP, FISTTP, FBSTP to memory at the mailbox's address: converts into the mailbox and pops; DONE tells whether to store. */
export function store(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v),
    top = topOf(v),
    target = arg >> Arg.SOURCE_SHIFT;
  const address = v.getBigUint64(Reg.X87_VALUE, true);
  if (isEmpty(v, top)) {
    // Every format's masked response to an invalid operand is what an unsupported value gives.
    rounding.flags |= Status.SF;
    x.set(1, 1, 0, 0);
  } else readPhysical(v, top, x);
  let stored = true;
  if (target === Source.FLOAT32) stored = toFloat(rounding, x, 4);
  else if (target === Source.FLOAT64) stored = toFloat(rounding, x, 8);
  else if (target === Source.FLOAT80) storeExtended(v);
  else if (target === Source.BCD) {
    const { low, high } = toBcd(rounding, x);
    v.setBigUint64(Reg.X87_VALUE, low, true);
    v.setUint32(Reg.X87_HIGH, high, true);
  } else
    stored = toInteger(
      rounding,
      x,
      target === Source.INT16 ? 2 : target === Source.INT32 ? 4 : 8,
      (arg & Arg.VARIANT) !== 0 ? 3 : rounding.mode,
    );
  if (target !== Source.FLOAT80 && target !== Source.BCD) {
    v.setInt32(Reg.X87_VALUE, memory.lo, true);
    v.setInt32(Reg.X87_VALUE + 4, memory.hi, true);
  }
  // Memory is not looked at if an unmasked exception forbids the result.
  if (stored && (rounding.flags & ~rounding.masks & (Status.IE | Status.DE | Status.ZE)) === 0)
    cpu.probeWrite(address, WIDTHS[target]!);
  stored = conclude(cpu) && stored;
  v.setUint32(Reg.X87_DONE, stored ? 1 : 0, true);
  if (stored && (arg & Arg.POP) !== 0) pop(v);
}

function storeExtended(v: DataView): void {
  if ((rounding.flags & Status.SF) !== 0) {
    rounding.flags |= Status.IE;
    setDefaultNan(x);
  }
  v.setInt32(Reg.X87_VALUE, x.lo, true);
  v.setInt32(Reg.X87_VALUE + 4, x.hi, true);
  v.setUint32(Reg.X87_HIGH, (x.sign << 15) | x.exp, true);
}

/** FST ST(i), FSTP ST(i). */
export function storeRegister(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v),
    top = topOf(v);
  if (isEmpty(v, top)) stackUnderflow(x);
  else readPhysical(v, top, x);
  if (!conclude(cpu)) return;
  writePhysical(v, (top + (arg & Arg.INDEX)) & 7, x);
  if ((arg & Arg.POP) !== 0) pop(v);
}

/** FXCH ST(i): an empty register counts as the default NaN. */
export function exchange(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v),
    top = topOf(v),
    other = (top + (arg & Arg.INDEX)) & 7;
  if (isEmpty(v, top)) stackUnderflow(x);
  else readPhysical(v, top, x);
  if (isEmpty(v, other)) stackUnderflow(y);
  else readPhysical(v, other, y);
  if (!conclude(cpu)) return;
  writePhysical(v, top, y);
  writePhysical(v, other, x);
}

/** FCMOVcc ST(0), ST(i); VARIANT: the condition holds. */
export function conditionalMove(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v),
    top = topOf(v),
    other = (top + (arg & Arg.INDEX)) & 7;
  const taken = (arg & Arg.VARIANT) !== 0;
  const underflow = isEmpty(v, top) || isEmpty(v, other);
  if (underflow) stackUnderflow(x);
  else readPhysical(v, other, x);
  if (conclude(cpu, underflow ? Status.C1 : 0) && (taken || underflow)) writePhysical(v, top, x);
}

/** FFREE ST(i), and FFREEP with POP. */
export function free(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v);
  conclude(cpu);
  markEmpty(v, (topOf(v) + (arg & Arg.INDEX)) & 7);
  if ((arg & Arg.POP) !== 0) pop(v);
}
