/* Fourth layer: vectors and exact SSE floating point. Arithmetic uses the host's instruction where the result and the sticky flags are certain
 * (masked exceptions, round to nearest, PE already set or the result exact, operands and result normal or zero) and calls the soft
 * implementation elsewhere. */
import { FP_CONVERSIONS } from "../../isa/softfloat/index.ts";
import type { FpConversion, FpOp } from "../../isa/sem.ts";
import type { VectorOp } from "../../isa/vector.ts";
import { Reg } from "../../isa/registers.ts";
import type { Local } from "../../wasm/function.ts";
import { EmitLocked } from "./emit-locked.ts";
import { ENTRY } from "./emit-memory.ts";
import { STATE } from "./emit-flags.ts";
import type { Value } from "./emit-values.ts";
import { Engine } from "./layout.ts";

/** Order of the operation codes that go to the host. */
export const FP_OPS: readonly FpOp[] = ["add", "sub", "mul", "div", "sqrt", "min", "max"];
/** MXCSR bits that must have the value below for the host's result to be the guest's: FTZ, RC, masks, DAZ. */
export const MXCSR_MODE = 0xffc0;
export const MXCSR_FAST = 0x1f80;
export const MXCSR_PE = 0x20;

const TO_INTEGER = new Set<string>([
  "i8x16.bitmask",
  "i16x8.bitmask",
  "i32x4.bitmask",
  "i64x2.bitmask",
  "v128.any_true",
]);
type Shape = "i8x16" | "i16x8" | "i32x4" | "i64x2";

export abstract class EmitVectors extends EmitLocked {
  /** Inside fpLanes: host functions gather flags instead of raising. */
  #inLanes = false;

  vector(op: VectorOp, ...args: Value[]): Value {
    for (const a of args) {
      if (a.type === "v128") this.pushV128(a);
      else if (op === "i64x2.splat") this.push(a);
      else this.push32(a);
    }
    this.f.op(op);
    return this.keep(TO_INTEGER.has(op) ? "i32" : "v128");
  }
  vectorConst(lo: bigint, hi: bigint): Value {
    this.f.v128(lo, hi);
    return this.keep("v128");
  }
  shuffle(a: Value, b: Value, lanes: readonly number[]): Value {
    this.pushV128(a);
    this.pushV128(b);
    this.f.shuffle(lanes);
    return this.keep("v128");
  }
  lane(shape: Shape, v: Value, lane: number): Value {
    this.pushV128(v);
    this.f.laneOp(shape === "i8x16" || shape === "i16x8" ? `${shape}.extract_lane_u` : `${shape}.extract_lane`, lane);
    if (shape !== "i64x2") this.f.op("i64.extend_i32_u");
    return this.keep("i64");
  }
  withLane(shape: Shape, v: Value, lane: number, x: Value): Value {
    this.pushV128(v);
    if (shape === "i64x2") this.push(x);
    else this.push32(x);
    this.f.laneOp(`${shape}.replace_lane`, lane);
    return this.keep("v128");
  }

  /** Pushes the value as a float. */
  protected pushFloat(width: 4 | 8, v: Value): void {
    if (v.type === "f64" || v.type === "f32") {
      this.f.get(v.local);
      return;
    }
    if (width === 8) {
      this.push(v);
      this.f.op("f64.reinterpret_i64");
    } else {
      this.push32(v);
      this.f.op("f32.reinterpret_i32");
    }
  }
  /** Float on the stack → its bits. */
  protected keepBits(width: 4 | 8): Value {
    if (width === 8) this.f.op("i64.reinterpret_f64");
    else this.f.op("i32.reinterpret_f32").op("i64.extend_i32_u");
    return this.keep("i64");
  }
  /** Pushes 1 if v is a normal number (neither zero, denormal, infinite nor NaN). */
  #pushNormal(width: 4 | 8, v: Value, leastExponent = 1): void {
    this.push(v);
    const [shift, exponents] = width === 8 ? [52, 0x7ff] : [23, 0xff];
    this.f.i64(shift).op("i64.shr_u").op("i32.wrap_i64").i32(exponents).op("i32.and");
    this.f
      .i32(leastExponent)
      .op("i32.sub")
      .i32(exponents - leastExponent)
      .op("i32.lt_u");
  }
  /** Pushes 1 if v is a normal number or a zero. */
  #pushNormalOrZero(width: 4 | 8, v: Value): void {
    this.#pushNormal(width, v);
    this.#pushZero(width, v);
    this.f.op("i32.or");
  }
  #pushZero(width: 4 | 8, v: Value): void {
    this.push(v);
    this.f
      .i64(width === 8 ? 1 : 33)
      .op("i64.shl")
      .op("i64.eqz");
  }
  /** Pushes 1 if the host rounds as the guest and a rounding changes no flag: PE is set already, or the result is exact.
   *  @param pushExact pushes 1 if the result is surely exact; evaluated only while PE is clear */
  protected pushFastMode(pushExact: () => void): void {
    this.f.get(STATE).memory("i32.load", Reg.MXCSR);
    const mxcsr = this.keep("i32");
    this.push32(mxcsr);
    this.f.i32(MXCSR_MODE).op("i32.and").i32(MXCSR_FAST).op("i32.eq").if("i32");
    this.push32(mxcsr);
    this.f.i32(MXCSR_PE).op("i32.and").if("i32");
    this.f.i32(1).else();
    pushExact();
    this.f.end().else().i32(0).end();
  }

  /** Fast bits if the condition (i32 on the stack) holds, else what the host function gives. */
  #fastOr(fast: Value, name: string, pushArguments: () => void): Value {
    this.f.likely(true).if("i64");
    this.push(fast);
    this.f.else();
    this.softFloat(name, pushArguments, this.#inLanes);
    this.f.end();
    return this.keep("i64");
  }
  /** Calls the soft implementation; leaves its i64 on the stack. @param gathers flags are gathered until fpLanes ends */
  protected softFloat(name: string, pushArguments: () => void, gathers: boolean): void {
    this.f.get(STATE).get(ENTRY);
    pushArguments();
    this.f.call(this.imports.function(gathers ? `${name}Lane` : name));
  }
  /** Makes the gathered flags sticky, or raises #XM. */
  protected raiseGathered(): void {
    this.f.get(STATE).memory("i32.load", Engine.FP_FLAGS).if();
    this.f.get(STATE).get(ENTRY).call(this.imports.function("fpRaise")).end();
  }

  fp(op: FpOp, width: 4 | 8, a: Value, b: Value): Value {
    const pushSlow = (): void => {
      this.f.i32(FP_OPS.indexOf(op)).i32(width);
      this.push(a);
      this.push(b);
    };
    if (op === "min" || op === "max") return this.#minMax(op, width, a, b, pushSlow);
    const type = width === 8 ? "f64" : "f32";
    this.pushFloat(width, a);
    if (op !== "sqrt") this.pushFloat(width, b);
    this.f.op(`${type}.${op}`);
    const fast = this.keepBits(width);
    this.pushFastMode(() => this.#pushExact(op, width, a, b, fast));
    this.#pushNormalOrZero(width, a);
    this.f.op("i32.and");
    if (op === "sqrt") {
      this.push(a);
      this.f
        .i64(width === 8 ? 63 : 31)
        .op("i64.shr_u")
        .op("i64.eqz")
        .op("i32.and");
    } else {
      if (op === "div") this.#pushNormal(width, b);
      else this.#pushNormalOrZero(width, b);
      this.f.op("i32.and");
    }
    this.#pushNotTiny(op, width, a, b, fast);
    this.f.op("i32.and");
    return this.#fastOr(fast, "fpArithmetic", pushSlow);
  }
  /** Pushes 1 if the result is finite and has not underflowed: a sum of normal numbers is exact when it is zero, a product or quotient is if an
   *  operand is. The smallest binade is left out for the others: what rounds up to it may have been tiny. */
  #pushNotTiny(op: FpOp, width: 4 | 8, a: Value, b: Value, fast: Value): void {
    if (op === "add" || op === "sub" || op === "sqrt") {
      this.#pushNormalOrZero(width, fast);
      return;
    }
    this.#pushNormal(width, fast, 2);
    this.#pushZero(width, a);
    this.f.op("i32.or");
    if (op === "div") return;
    this.#pushZero(width, b);
    this.f.op("i32.or");
  }
  /** Pushes 1 only if `fast`, which is finite and not tiny, is the exact result. */
  #pushExact(op: FpOp, width: 4 | 8, a: Value, b: Value, fast: Value): void {
    const type = width === 8 ? "f64" : "f32";
    if (op === "add" || op === "sub") {
      this.#pushSumExact(type, width, op, a, b, fast);
      return;
    }
    const [x, y, product] = op === "mul" ? [a, b, fast] : op === "div" ? [fast, b, a] : [fast, fast, a];
    const wide = (v: Value): void => {
      this.pushFloat(width, v);
      if (width === 4) this.f.op("f64.promote_f32"); // products of binary32 are exact in binary64
    };
    wide(x);
    wide(y);
    this.f.op("f64.mul");
    wide(product);
    this.f.op("f64.eq");
    if (width === 4) return;
    // Significands of n and m bits have a product of at most n + m bits: exact up to 53. Trailing zeros count from the fraction's lowest bit.
    for (const v of [x, y]) {
      this.push(v);
      this.f
        .i64(1n << 52n)
        .op("i64.or")
        .op("i64.ctz");
    }
    this.f.op("i64.add").i64(53).op("i64.ge_u");
    this.#pushZero(width, product);
    this.f.op("i32.or").op("i32.and");
  }
  /** Knuth's two-sum: the rounding error of a + b is itself a float, computed here and compared with zero. */
  #pushSumExact(type: "f32" | "f64", width: 4 | 8, op: "add" | "sub", a: Value, b: Value, fast: Value): void {
    const [x, y, sum, part] = [this.f.local(type), this.f.local(type), this.f.local(type), this.f.local(type)];
    this.pushFloat(width, a);
    this.f.set(x);
    this.pushFloat(width, b);
    if (op === "sub") this.f.op(`${type}.neg`);
    this.f.set(y);
    this.pushFloat(width, fast);
    this.f.tee(sum).get(x).op(`${type}.sub`).set(part);
    this.f.get(x).get(sum).get(part).op(`${type}.sub`).op(`${type}.sub`);
    this.f.get(y).get(part).op(`${type}.sub`).op(`${type}.add`);
    if (width === 4) this.f.op("f64.promote_f32");
    this.f.f64(0).op("f64.eq");
  }
  /** MINxx and MAXxx: the second operand unless the first is strictly less (greater); only NaNs and denormals set flags. */
  #minMax(op: "min" | "max", width: 4 | 8, a: Value, b: Value, pushSlow: () => void): Value {
    this.push(a);
    this.push(b);
    this.pushFloat(width, a);
    this.pushFloat(width, b);
    this.f.op(`${width === 8 ? "f64" : "f32"}.${op === "min" ? "lt" : "gt"}`).op("select");
    const fast = this.keep("i64");
    this.#pushNormalOrZero(width, a);
    this.#pushNormalOrZero(width, b);
    this.f.op("i32.and");
    return this.#fastOr(fast, "fpArithmetic", pushSlow);
  }

  fpPacked(op: FpOp, width: 4 | 8, a: Value, b: Value): Value {
    const shape = width === 8 ? "i64x2" : "i32x4";
    const lanes = this.fpLanes(() =>
      Array.from({ length: 16 / width }, (_, i) => this.fp(op, width, this.lane(shape, a, i), this.lane(shape, b, i))),
    );
    return lanes.reduce((v, lane, i) => this.withLane(shape, v, i, lane), a);
  }

  /** Lanes raise one by one here: after an unmasked exception the later lanes' flags are missing from MXCSR. */
  fpLanes<T>(run: () => T): T {
    const outer = this.#inLanes;
    this.#inLanes = true;
    const result = run();
    this.#inLanes = outer;
    if (!outer) this.raiseGathered();
    return result;
  }

  fpConvert(kind: FpConversion, a: Value, rounding: "mxcsr" | "zero"): Value {
    const slow = (): void => {
      this.f.i32(FP_CONVERSIONS.indexOf(kind)).i32(rounding === "zero" ? 1 : 0);
      this.push(a);
    };
    switch (kind) {
      case "i32→f64":
        this.push32(a);
        this.f.op("f64.convert_i32_s");
        return this.keepBits(8); // always exact
      case "i64→f64":
      case "i32→f32":
      case "i64→f32":
        return this.#fromInteger(kind, a, slow);
      case "f32→f64": {
        this.pushFloat(4, a);
        this.f.op("f64.promote_f32");
        const fast = this.keepBits(8);
        this.#pushNormalOrZero(4, a);
        return this.#fastOr(fast, "fpConvert", slow);
      }
      case "f64→f32": {
        this.pushFloat(8, a);
        this.f.op("f32.demote_f64");
        const fast = this.keepBits(4);
        this.pushFastMode(() => {
          this.pushFloat(4, fast);
          this.f.op("f64.promote_f32");
          this.pushFloat(8, a);
          this.f.op("f64.eq");
        });
        this.#pushZero(8, a);
        this.#pushNormal(8, a);
        this.#pushNormal(4, fast, 2); // what rounds up to the smallest normal number may have been tiny
        this.f.op("i32.and").op("i32.or").op("i32.and");
        return this.#fastOr(fast, "fpConvert", slow);
      }
      default:
        return this.#toInteger(kind, a, rounding, slow);
    }
  }
  #fromInteger(kind: FpConversion, a: Value, slow: () => void): Value {
    const width = kind.endsWith("f64") ? 8 : 4;
    if (kind.startsWith("i32")) this.push32(a);
    else this.push(a);
    this.f.op(`${width === 8 ? "f64" : "f32"}.convert_${kind.slice(0, 3)}_s`);
    const fast = this.keepBits(width);
    this.pushFastMode(() => {
      // Below 2^53 binary64 holds every integer, and so tells whether binary32 does.
      this.pushFloat(width, fast);
      if (width === 4) this.f.op("f64.promote_f32");
      const value: Local = this.f.local("f64");
      if (kind.startsWith("i32")) this.push32(a);
      else this.push(a);
      this.f
        .op(`f64.convert_${kind.slice(0, 3)}_s`)
        .tee(value)
        .op("f64.eq");
      this.f
        .get(value)
        .op("f64.abs")
        .f64(2 ** 53)
        .op("f64.lt")
        .op("i32.and");
    });
    return this.#fastOr(fast, "fpConvert", slow);
  }
  /** Truncation (or nearest-even) is certain where the value is in range, and PE is set already or the value whole. */
  #toInteger(kind: FpConversion, a: Value, rounding: "mxcsr" | "zero", slow: () => void): Value {
    const width = kind.startsWith("f64") ? 8 : 4;
    const type = width === 8 ? "f64" : "f32";
    const wide = kind.endsWith("i64");
    this.pushFloat(width, a);
    this.f.op(rounding === "zero" ? `${type}.trunc` : `${type}.nearest`);
    const whole: Local = this.f.local(type);
    this.f.tee(whole).op(`i64.trunc_sat_${type}_s`);
    if (!wide) this.f.op("i32.wrap_i64").op("i64.extend_i32_u");
    const fast = this.keep("i64");
    this.pushFastMode(() => {
      this.pushFloat(width, a);
      this.f.get(whole).op(`${type}.eq`);
    });
    // |whole| < 2^31 or 2^62 (well inside the range); false for NaN; denormals (DE is not raised by these) round to zero exactly as here
    this.f.get(whole);
    if (type === "f32") this.f.op("f64.promote_f32");
    this.f
      .op("f64.abs")
      .f64(wide ? 2 ** 62 : 2 ** 31 - 1)
      .op("f64.lt")
      .op("i32.and");
    return this.#fastOr(fast, "fpConvert", slow);
  }

  fpRound(width: 4 | 8, a: Value, control: Value): Value {
    const pushArguments = (): void => {
      this.f.i32(width);
      this.push(a);
      this.push(control);
    };
    this.softFloat("fpRound", pushArguments, this.#inLanes);
    return this.keep("i64");
  }

  fpCompare(width: 4 | 8, a: Value, b: Value, signalling: Value): Value {
    const type = width === 8 ? "f64" : "f32";
    this.pushFloat(width, a);
    this.pushFloat(width, b);
    this.f.op(`${type}.ge`).op("i64.extend_i32_u");
    this.pushFloat(width, a);
    this.pushFloat(width, b);
    this.f.op(`${type}.gt`).op("i64.extend_i32_u").op("i64.add");
    const fast = this.keep("i64");
    for (const v of [a, b]) {
      this.#pushNormalOrZero(width, v);
    }
    this.f.op("i32.and");
    return this.#fastOr(fast, "fpCompare", () => {
      this.f.i32(width);
      this.push(a);
      this.push(b);
      this.push(signalling);
    });
  }
}
