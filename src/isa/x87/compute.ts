/* x87 arithmetic, comparison and one-operand instructions as calls of sem/x87.ts: operands from the stack and the mailbox,
 * results to the stack. @source SDM vol. 2 under each mnemonic */
import type { Cpu } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { add, divide, multiply, squareRoot, subtract } from "./arithmetic.ts";
import { UNORDERED, compare, examine, extract, remainder, roundToInteger, scale } from "./exponent.ts";
import { Float80, Status } from "./float80.ts";
import type { Rounding } from "./round.ts";
import { takeOperand } from "./transfer.ts";
import {
  Arg,
  Source,
  begin,
  conclude,
  isEmpty,
  pop,
  push,
  readPhysical,
  rounding,
  stackOverflow,
  stackUnderflow,
  topOf,
  writePhysical,
} from "./unit.ts";

const a = new Float80();
const b = new Float80();
const result = new Float80();

type Binary = (out: Float80, r: Rounding, a: Float80, b: Float80, sourceDenormal: number) => void;

/** ST(0) op operand, or operand op ST(0) when REVERSED; to ST(0) or ST(i). */
function binary(operation: Binary) {
  return (cpu: Cpu): void => {
    const v = cpu.regs.view,
      arg = begin(v),
      top = topOf(v),
      source = arg >> Arg.SOURCE_SHIFT;
    const other = (top + (arg & Arg.INDEX)) & 7;
    let denormal = 0,
      empty = isEmpty(v, top);
    if (source !== Source.REGISTER) denormal = takeOperand(v, source, b);
    else if (isEmpty(v, other)) empty = true;
    else readPhysical(v, other, b);
    if (empty) stackUnderflow(result);
    else {
      readPhysical(v, top, a);
      if ((arg & Arg.REVERSED) !== 0) operation(result, rounding, b, a, denormal);
      else operation(result, rounding, a, b, denormal);
    }
    if (!conclude(cpu)) return;
    writePhysical(v, (arg & Arg.TO_STI) !== 0 ? other : top, result);
    if ((arg & Arg.POP) !== 0) pop(v);
  };
}

export const x87Add = binary(add);
export const x87Subtract = binary(subtract);
export const x87Multiply = binary(multiply);
export const x87Divide = binary(divide);

/** All comparisons: FCOM FUCOM FICOM FTST (condition codes), FCOMI FUCOMI (RFLAGS bits in the mailbox). */
export function x87Compare(cpu: Cpu): void {
  const v = cpu.regs.view,
    arg = begin(v),
    top = topOf(v),
    source = arg >> Arg.SOURCE_SHIFT;
  const other = (top + (arg & Arg.INDEX)) & 7;
  let denormal = 0,
    empty = isEmpty(v, top);
  if (source !== Source.REGISTER) denormal = takeOperand(v, source, b);
  else if (isEmpty(v, other)) empty = true;
  else readPhysical(v, other, b);
  if (empty) {
    stackUnderflow(a);
    rounding.flags |= UNORDERED;
  } else {
    readPhysical(v, top, a);
    compare(rounding, a, b, (arg & Arg.VARIANT) !== 0, denormal);
  }
  let codes: number = UNORDERED;
  if ((arg & Arg.TO_FLAGS) !== 0) {
    // C0 → CF, C2 → PF, C3 → ZF; the condition codes stay as they are.
    const { flags } = rounding;
    v.setUint32(
      Reg.X87_VALUE,
      (flags & Status.C0 ? 1 : 0) | (flags & Status.C2 ? 4 : 0) | (flags & Status.C3 ? 0x40 : 0),
      true,
    );
    v.setUint32(Reg.X87_VALUE + 4, 0, true);
    rounding.flags &= ~UNORDERED;
    codes = 0;
  }
  // Processors write condition codes and EFLAGS even if an unmasked exception forbids to pop; C1 not with EFLAGS and a full stack.
  const c1 = codes !== 0 || empty ? Status.C1 : 0;
  if (!conclude(cpu, c1 | codes, codes)) return;
  if ((arg & Arg.POP) !== 0) pop(v);
  if ((arg & Arg.POP_TWICE) !== 0) pop(v);
}

/** FXAM. */
export function x87Examine(cpu: Cpu): void {
  const v = cpu.regs.view,
    top = topOf(v);
  begin(v);
  readPhysical(v, top, a);
  rounding.flags = isEmpty(v, top) ? Status.C3 | Status.C0 | (a.sign !== 0 ? Status.C1 : 0) : examine(a);
  conclude(cpu, Status.C0 | Status.C1 | Status.C2 | Status.C3);
}

/** An instruction that replaces ST(0) by a function of it. */
function unary(operation: (out: Float80, r: Rounding, a: Float80) => void) {
  return (cpu: Cpu): void => {
    const v = cpu.regs.view,
      top = topOf(v);
    begin(v);
    if (isEmpty(v, top)) stackUnderflow(result);
    else {
      readPhysical(v, top, a);
      operation(result, rounding, a);
    }
    if (conclude(cpu)) writePhysical(v, top, result);
  };
}

export const x87Sqrt = unary(squareRoot);
export const x87RoundInt = unary(roundToInteger);
export const x87ChangeSign = unary((out, _r, from) => {
  out.copy(from);
  out.sign ^= 1;
});
export const x87Abs = unary((out, _r, from) => {
  out.copy(from);
  out.sign = 0;
});

/** ST(0) op ST(1) to ST(0): FSCALE, FPREM, FPREM1. */
function withSecond(
  operation: (out: Float80, r: Rounding, a: Float80, b: Float80, variant: boolean) => boolean | void,
  affected: number,
) {
  // Without a quotient C0 and C3 stay; C2 is cleared even where there is no result.
  const certain = affected & (Status.C1 | Status.C2);
  return (cpu: Cpu): void => {
    const v = cpu.regs.view,
      arg = begin(v),
      top = topOf(v),
      second = (top + 1) & 7;
    let told: boolean | void = false;
    if (isEmpty(v, top) || isEmpty(v, second)) stackUnderflow(result);
    else {
      readPhysical(v, top, a);
      readPhysical(v, second, b);
      told = operation(result, rounding, a, b, (arg & Arg.VARIANT) !== 0);
    }
    if ((rounding.flags & ~rounding.masks & (Status.IE | Status.DE | Status.ZE)) !== 0) rounding.flags &= ~Status.C2;
    if (conclude(cpu, told === false ? certain : affected, certain & Status.C2)) writePhysical(v, top, result);
  };
}

export const x87Scale = withSecond(scale, Status.C1);
export const x87Remainder = withSecond(remainder, Status.C0 | Status.C1 | Status.C2 | Status.C3);

/** FXTRACT: ST(0) becomes the exponent, the significand is pushed. */
export function x87Extract(cpu: Cpu): void {
  const v = cpu.regs.view,
    top = topOf(v);
  begin(v);
  if (isEmpty(v, top)) {
    stackUnderflow(a);
    b.copy(a);
  } else if (!isEmpty(v, (top - 1) & 7)) {
    stackOverflow(a);
    b.copy(a);
  } else {
    readPhysical(v, top, result);
    extract(a, b, rounding, result);
  }
  if (!conclude(cpu)) return;
  writePhysical(v, top, a);
  push(v, b);
}
