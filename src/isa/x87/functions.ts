/* The transcendental instructions as calls of sem/x87.ts: stack rules around transcendental.ts.
 * @source SDM vol. 1 §8.3.7, §8.3.9; vol. 2 under each mnemonic */
import type { Cpu } from "../cpu.ts";
import { Float80, Status } from "./float80.ts";
import type { Rounding } from "./round.ts";
import { arctangent, exp2m1, trigonometric, yLog2, yLog2p1 } from "./transcendental.ts";
import type { Trigonometric } from "./transcendental.ts";
import {
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
const second = new Float80();

/** FSIN, FCOS; with `pushes` FSINCOS, FPTAN. */
function angleFunction(kind: Trigonometric, pushes: boolean) {
  return (cpu: Cpu): void => {
    const v = cpu.regs.view,
      top = topOf(v);
    begin(v);
    let inRange = true;
    if (isEmpty(v, top)) {
      stackUnderflow(result);
      second.copy(result);
    } else if (pushes && !isEmpty(v, (top - 1) & 7)) {
      stackOverflow(result);
      second.copy(result);
    } else {
      readPhysical(v, top, a);
      inRange = trigonometric(kind, result, pushes ? second : undefined, rounding, a);
    }
    if (!conclude(cpu, Status.C1 | Status.C2, Status.C2) || !inRange) return;
    writePhysical(v, top, result);
    if (pushes) push(v, second);
  };
}

export const x87Sin = angleFunction("sin", false);
export const x87Cos = angleFunction("cos", false);
export const x87SinCos = angleFunction("sin", true);
export const x87Tan = angleFunction("tan", true);

/** F2XM1. */
export function x87Exp2m1(cpu: Cpu): void {
  const v = cpu.regs.view,
    top = topOf(v);
  begin(v);
  if (isEmpty(v, top)) stackUnderflow(result);
  else {
    readPhysical(v, top, a);
    exp2m1(result, rounding, a);
  }
  if (conclude(cpu)) writePhysical(v, top, result);
}

/** FPATAN, FYL2X, FYL2XP1: of ST(0) and ST(1), to ST(1), then pop. */
function ofTwo(operation: (out: Float80, r: Rounding, a: Float80, b: Float80) => void) {
  return (cpu: Cpu): void => {
    const v = cpu.regs.view,
      top = topOf(v),
      other = (top + 1) & 7;
    begin(v);
    if (isEmpty(v, top) || isEmpty(v, other)) stackUnderflow(result);
    else {
      readPhysical(v, top, a);
      readPhysical(v, other, b);
      operation(result, rounding, a, b);
    }
    if (!conclude(cpu)) return;
    writePhysical(v, other, result);
    pop(v);
  };
}

export const x87Arctan = ofTwo(arctangent);
export const x87YLog2 = ofTwo(yLog2);
export const x87YLog2p1 = ofTwo(yLog2p1);
