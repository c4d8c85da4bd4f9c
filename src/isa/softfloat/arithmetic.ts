/* Scalar SSE arithmetic on bit patterns, exact in value, NaN choice and exception flags.
 * @source SDM vol. 1 §4.8.3.5 (NaNs), §11.5.2 (exceptions and their order), vol. 2 ADDSD, MULSD, DIVSD, SQRTSD, MINSD, MAXSD */
import type { FpOp } from "../sem.ts";
import {
  type Format,
  type FpResult,
  type Unpacked,
  bitLength,
  formatOf,
  infinity,
  isNan,
  round,
  unpack,
  zero,
} from "./format.ts";
import { FpFlag, RoundingControl, roundingOf, unmasked } from "./mxcsr.ts";

/** What a scalar SSE instruction makes of two bit patterns.
 *  @param width 4 binary32, 8 binary64  @param b ignored by "sqrt"
 *  @returns the masked response's bits, and all flags found (sticky update and #XM: see raiseFp) */
export function fpScalar(op: FpOp, width: 4 | 8, a: bigint, b: bigint, mxcsr: number): FpResult {
  const f = formatOf(width);
  const x = unpack(f, a, mxcsr);
  if (op === "sqrt") return withDenormals(squareRoot(f, x, mxcsr), x, x, mxcsr);
  const y = unpack(f, b, mxcsr);
  if (op === "min" || op === "max") return extreme(f, op, x, y);
  if (isNan(x) || isNan(y)) return propagate(f, x, y);
  return withDenormals(OPERATIONS[op](f, x, y, mxcsr), x, y, mxcsr);
}

type Operation = (f: Format, x: Unpacked, y: Unpacked, mxcsr: number) => FpResult;

const invalid = (f: Format): FpResult => ({ bits: f.defaultNan, flags: FpFlag.IE });
const exactly = (bits: bigint): FpResult => ({ bits, flags: 0 });

/** The NaN that a two-operand instruction returns: the first operand if it is one, made quiet. */
export function propagate(f: Format, x: Unpacked, y: Unpacked): FpResult {
  const signalling = x.class === "signallingNan" || y.class === "signallingNan";
  return { bits: (isNan(x) ? x.bits : y.bits) | f.quietBit, flags: signalling ? FpFlag.IE : 0 };
}

/** Adds DE, which other invalid operations and division by zero precede; unmasked, it hides the rounding's flags. */
function withDenormals(r: FpResult, x: Unpacked, y: Unpacked, mxcsr: number): FpResult {
  if ((x.class !== "denormal" && y.class !== "denormal") || r.flags & (FpFlag.IE | FpFlag.ZE)) return r;
  return { bits: r.bits, flags: unmasked(FpFlag.DE, mxcsr) ? FpFlag.DE : r.flags | FpFlag.DE };
}

const subtract: Operation = (f, x, y, mxcsr) =>
  add(f, x, { ...y, negative: !y.negative, bits: y.bits ^ (1n << f.signShift) }, mxcsr);

const add: Operation = (f, x, y, mxcsr) => {
  if (x.class === "infinity") return y.class === "infinity" && x.negative !== y.negative ? invalid(f) : exactly(x.bits);
  if (y.class === "infinity") return exactly(y.bits);
  const exactZero = zero(f, roundingOf(mxcsr) === RoundingControl.DOWN);
  if (x.significand === 0n && y.significand === 0n) return exactly(x.negative === y.negative ? x.bits : exactZero);
  if (x.significand === 0n) return round(f, y.negative, y.exponent, y.significand, mxcsr);
  if (y.significand === 0n) return round(f, x.negative, x.exponent, x.significand, mxcsr);
  const [big, small] = x.exponent >= y.exponent ? [x, y] : [y, x];
  let distance = big.exponent - small.exponent;
  let low = small.significand;
  if (distance > f.precision + 3) {
    // So far below the last place that only its being there counts.
    distance = f.precision + 3;
    low = 1n;
  }
  const high = big.significand << BigInt(distance);
  const sum = (big.negative ? -high : high) + (small.negative ? -low : low);
  if (sum === 0n) return exactly(exactZero);
  return round(f, sum < 0n, big.exponent - distance, sum < 0n ? -sum : sum, mxcsr);
};

const multiply: Operation = (f, x, y, mxcsr) => {
  const negative = x.negative !== y.negative;
  if (x.class === "infinity" || y.class === "infinity") {
    return x.class === "zero" || y.class === "zero" ? invalid(f) : exactly(infinity(f, negative));
  }
  const product = x.significand * y.significand;
  return product === 0n ? exactly(zero(f, negative)) : round(f, negative, x.exponent + y.exponent, product, mxcsr);
};

const divide: Operation = (f, x, y, mxcsr) => {
  const negative = x.negative !== y.negative;
  if (x.class === "infinity") return y.class === "infinity" ? invalid(f) : exactly(infinity(f, negative));
  if (y.class === "infinity") return exactly(zero(f, negative));
  if (y.class === "zero") return x.class === "zero" ? invalid(f) : { bits: infinity(f, negative), flags: FpFlag.ZE };
  if (x.class === "zero") return exactly(zero(f, negative));
  const shift = Math.max(0, f.precision + 2 + bitLength(y.significand) - bitLength(x.significand));
  const numerator = x.significand << BigInt(shift);
  const quotient = numerator / y.significand;
  const sticky = quotient * y.significand === numerator ? 0n : 1n;
  return round(f, negative, x.exponent - y.exponent - shift - 1, (quotient << 1n) | sticky, mxcsr);
};

const OPERATIONS = { add, sub: subtract, mul: multiply, div: divide } as const;

function squareRoot(f: Format, x: Unpacked, mxcsr: number): FpResult {
  if (isNan(x)) return propagate(f, x, x);
  if (x.class === "zero") return exactly(x.bits);
  if (x.negative) return invalid(f);
  if (x.class === "infinity") return exactly(x.bits);
  let shift = 2 * (f.precision + 2) - bitLength(x.significand);
  if ((x.exponent - shift) % 2 !== 0) shift += 1;
  const radicand = x.significand << BigInt(shift);
  const root = integerRoot(radicand);
  const sticky = root * root === radicand ? 0n : 1n;
  return round(f, false, (x.exponent - shift) / 2 - 1, (root << 1n) | sticky, mxcsr);
}

/** Largest r with r² ≤ n; n below 2^200. */
function integerRoot(n: bigint): bigint {
  let r = BigInt(Math.floor(Math.sqrt(Number(n))));
  // The guess has 50 good bits, one Newton step makes that 100; the loops correct the last place.
  r = (r + n / r) >> 1n;
  while (r * r > n) r -= 1n;
  while ((r + 1n) * (r + 1n) <= n) r += 1n;
  return r;
}

/** MINxx and MAXxx: the second operand if either is a NaN or both are zeros. */
function extreme(f: Format, op: "min" | "max", x: Unpacked, y: Unpacked): FpResult {
  if (isNan(x) || isNan(y)) return { bits: y.bits, flags: FpFlag.IE };
  const first = op === "min" ? order(f, x) < order(f, y) : order(f, x) > order(f, y);
  return { bits: first ? x.bits : y.bits, flags: x.class === "denormal" || y.class === "denormal" ? FpFlag.DE : 0 };
}

/** A number that orders patterns other than NaNs as their values do (both zeros are 0). */
export function order(f: Format, x: Unpacked): bigint {
  const magnitude = x.bits & ~(1n << f.signShift);
  return x.negative ? -magnitude : magnitude;
}
