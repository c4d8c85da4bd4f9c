/* Conversions between integers, binary32 and binary64, rounding to integral values, and comparison: the exact reference.
 * @source SDM vol. 1 §11.5.2, vol. 2 CVTSD2SI, CVTSD2SS, ROUNDSD, COMISD, UCOMISD, CMPSD */
import type { FpConversion } from "../sem.ts";
import { order } from "./arithmetic.ts";
import {
  BINARY32,
  BINARY64,
  type Format,
  type FpResult,
  type Unpacked,
  formatOf,
  infinity,
  isNan,
  round,
  roundShift,
  unpack,
  zero,
} from "./format.ts";
import { FpFlag, Mxcsr, type RoundingControl, RoundingControl as Rc, roundingOf, unmasked } from "./mxcsr.ts";

/** fpConvert's kinds in the order of their numbers in calls. */
export const FP_CONVERSIONS: readonly FpConversion[] = [
  "i32→f32",
  "i32→f64",
  "i64→f32",
  "i64→f64",
  "f32→f64",
  "f64→f32",
  "f32→i32",
  "f32→i64",
  "f64→i32",
  "f64→i64",
];

/** Converts one value. @param bits the source, upper bits ignored; integers are signed
 *  @param mxcsr rounding mode (for truncation pass it with RC = ZERO), DAZ, FTZ and masks
 *  @returns bits zero-extended from the destination's width */
export function fpConvert(kind: FpConversion, bits: bigint, mxcsr: number): FpResult {
  const [from, to] = kind.split("→") as [string, string];
  if (from === "i32" || from === "i64")
    return integerToFloat(BigInt.asIntN(from === "i32" ? 32 : 64, bits), to === "f32" ? BINARY32 : BINARY64, mxcsr);
  const f = from === "f32" ? BINARY32 : BINARY64;
  const x = unpack(f, bits, mxcsr);
  if (to === "i32" || to === "i64") return floatToInteger(x, to === "i32" ? 32 : 64, roundingOf(mxcsr));
  return floatToFloat(f, x, to === "f32" ? BINARY32 : BINARY64, mxcsr);
}

function integerToFloat(n: bigint, to: Format, mxcsr: number): FpResult {
  if (n === 0n) return { bits: 0n, flags: 0 };
  return round(to, n < 0n, 0, n < 0n ? -n : n, mxcsr);
}

function floatToInteger(x: Unpacked, width: 32 | 64, mode: RoundingControl): FpResult {
  const limit = 1n << BigInt(width - 1);
  const indefinite: FpResult = { bits: limit, flags: FpFlag.IE };
  // Beyond 2^64 whatever the fraction: spares long shifts.
  if (isNan(x) || x.class === "infinity" || x.exponent > 64) return indefinite;
  const { quotient, inexact } = roundShift(x.significand, -x.exponent, x.negative, mode);
  const n = x.negative ? -quotient : quotient;
  if (n >= limit || n < -limit) return indefinite;
  return { bits: BigInt.asUintN(width, n), flags: inexact ? FpFlag.PE : 0 };
}

function floatToFloat(from: Format, x: Unpacked, to: Format, mxcsr: number): FpResult {
  if (isNan(x)) {
    const shift = to.fractionBits - from.fractionBits;
    const payload = shift > 0n ? x.significand << shift : x.significand >> -shift;
    return {
      bits: infinity(to, x.negative) | to.quietBit | payload,
      flags: x.class === "signallingNan" ? FpFlag.IE : 0,
    };
  }
  if (x.class === "infinity") return { bits: infinity(to, x.negative), flags: 0 };
  if (x.class === "zero") return { bits: zero(to, x.negative), flags: 0 };
  const r = round(to, x.negative, x.exponent, x.significand, mxcsr);
  if (x.class !== "denormal") return r;
  return { bits: r.bits, flags: unmasked(FpFlag.DE, mxcsr) ? FpFlag.DE : r.flags | FpFlag.DE };
}

/** Rounds to an integral value in the same format.
 *  @param control ROUNDSD's immediate: bits 0–1 mode, bit 2 use MXCSR.RC instead, bit 3 no PE */
export function fpRound(width: 4 | 8, bits: bigint, control: number, mxcsr: number): FpResult {
  const f = formatOf(width);
  const x = unpack(f, bits, mxcsr);
  if (isNan(x)) return { bits: x.bits | f.quietBit, flags: x.class === "signallingNan" ? FpFlag.IE : 0 };
  if (x.class === "infinity" || x.class === "zero" || x.exponent >= 0) return { bits: x.bits, flags: 0 };
  const mode = control & 4 ? roundingOf(mxcsr) : ((control & 3) as RoundingControl);
  const { quotient, inexact } = roundShift(x.significand, -x.exponent, x.negative, mode);
  const flags = inexact && !(control & 8) ? FpFlag.PE : 0;
  // The quotient has no more bits than the significand, so this rounding is exact.
  return { bits: quotient === 0n ? zero(f, x.negative) : round(f, x.negative, 0, quotient, mxcsr).bits, flags };
}

/** MXCSR with another rounding mode. */
export const withRounding = (mxcsr: number, mode: RoundingControl): number =>
  (mxcsr & ~(3 << Mxcsr.RC_SHIFT)) | (mode << Mxcsr.RC_SHIFT);
export const truncating = (mxcsr: number): number => withRounding(mxcsr, Rc.ZERO);

/** Outcomes of fpCompare. */
export const FpOrder = { LESS: 0, EQUAL: 1, GREATER: 2, UNORDERED: 3 } as const;

/** Compares two values. @param signalling quiet NaNs raise IE too (COMISD; CMPSD LT, LE, NLT, NLE) */
export function fpCompare(
  width: 4 | 8,
  a: bigint,
  b: bigint,
  signalling: boolean,
  mxcsr: number,
): { order: 0 | 1 | 2 | 3; flags: number } {
  const f = formatOf(width);
  const x = unpack(f, a, mxcsr);
  const y = unpack(f, b, mxcsr);
  if (isNan(x) || isNan(y)) {
    const raises = signalling || x.class === "signallingNan" || y.class === "signallingNan";
    return { order: FpOrder.UNORDERED, flags: raises ? FpFlag.IE : 0 };
  }
  const flags = x.class === "denormal" || y.class === "denormal" ? FpFlag.DE : 0;
  const p = order(f, x);
  const q = order(f, y);
  return { order: p < q ? FpOrder.LESS : p === q ? FpOrder.EQUAL : FpOrder.GREATER, flags };
}
