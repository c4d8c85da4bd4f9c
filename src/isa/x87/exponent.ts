/* x87 operations on exponents and integers parts: FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1; and comparison and FXAM.
 * @source SDM vol. 2 under each mnemonic. None of them obeys precision control. */
import {
  BIAS,
  Float80,
  INTEGER_BIT,
  Kind,
  Status,
  compareSignificands,
  isSignaling,
  kindOf,
  normalize,
  setInfinity,
  setSignificand,
  setZero,
  significandOf,
} from "./float80.ts";
import { fromInt32, roundInteger } from "./convert.ts";
import { type Rounding, invalid, propagateNan, quiet, roundPack, shifted } from "./round.ts";

const x = new Float80();
const y = new Float80();

/** FRNDINT: to an integer, by RC. */
export function roundToInteger(out: Float80, r: Rounding, a: Float80): void {
  const kind = kindOf(a);
  if (kind === Kind.UNSUPPORTED) return invalid(out, r);
  if (kind === Kind.NAN) return quiet(out, r, a);
  if (kind === Kind.DENORMAL) r.flags |= Status.DE;
  if (kind === Kind.ZERO || kind === Kind.INFINITY || a.exp >= BIAS + 63) return out.copy(a);
  roundInteger(r, a, r.mode); // cannot overflow: below 2^63
  const sign = a.sign;
  if ((shifted.hi | shifted.lo) === 0) return setZero(out, sign);
  out.set(sign, BIAS + 63, shifted.hi, shifted.lo);
  normalize(out);
}

/** FSCALE: a × 2^trunc(b). */
export function scale(out: Float80, r: Rounding, a: Float80, b: Float80): void {
  const ka = kindOf(a),
    kb = kindOf(b),
    sign = a.sign;
  if (propagateNan(out, r, a, ka, b, kb)) return;
  if (kb === Kind.INFINITY) {
    if ((ka === Kind.ZERO && b.sign === 0) || (ka === Kind.INFINITY && b.sign !== 0)) return invalid(out, r);
    if (ka === Kind.DENORMAL) r.flags |= Status.DE;
    if (b.sign === 0) setInfinity(out, sign);
    else setZero(out, sign);
    return;
  }
  if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
  if (ka === Kind.ZERO || ka === Kind.INFINITY) return out.copy(a);
  if (kb === Kind.ZERO) return copyFinite(out, a);
  x.copy(a);
  if (ka === Kind.DENORMAL) normalize(x);
  // Beyond ±2^16 every finite value is far out of range.
  let n = 0;
  if (b.exp >= BIAS + 16) n = 0x10000;
  else if (b.exp >= BIAS) n = b.hi >>> (BIAS + 31 - b.exp);
  roundPack(out, r, 64, sign, x.exp + (b.sign !== 0 ? -n : n), x.hi, x.lo, 0);
}

/** The value as it is, without UE even if it is tiny; a pseudo-denormal comes out as the normal number that it is. */
function copyFinite(out: Float80, a: Float80): void {
  out.copy(a);
  if (a.exp === 0 && a.hi < 0) out.exp = 1;
}

/** FXTRACT: the unbiased exponent as a value, and the significand with exponent 0. */
export function extract(exponent: Float80, significand: Float80, r: Rounding, a: Float80): void {
  const kind = kindOf(a);
  if (kind === Kind.UNSUPPORTED) {
    invalid(exponent, r);
    significand.copy(exponent);
  } else if (kind === Kind.NAN) {
    quiet(exponent, r, a);
    significand.copy(exponent);
  } else if (kind === Kind.INFINITY) {
    significand.copy(a);
    setInfinity(exponent, 0);
  } else if (kind === Kind.ZERO) {
    r.flags |= Status.ZE;
    significand.copy(a);
    setInfinity(exponent, 1);
  } else {
    x.copy(a);
    if (kind === Kind.DENORMAL) {
      r.flags |= Status.DE;
      normalize(x);
    }
    fromInt32(exponent, x.exp - BIAS);
    significand.set(x.sign, BIAS, x.hi, x.lo);
  }
}

/** FPREM (nearest false: quotient truncated) and FPREM1 (rounded to nearest even). C0 C3 C1 get quotient bits 2 1 0; C2 if incomplete. */
export function remainder(out: Float80, r: Rounding, a: Float80, b: Float80, nearest: boolean): boolean {
  const ka = kindOf(a),
    kb = kindOf(b);
  if (propagateNan(out, r, a, ka, b, kb)) return false;
  if (ka === Kind.INFINITY || kb === Kind.ZERO) {
    invalid(out, r);
    return false;
  }
  divideToRemainder(out, r, a, ka, b, kb, nearest);
  return true;
}

function divideToRemainder(
  out: Float80,
  r: Rounding,
  a: Float80,
  ka: number,
  b: Float80,
  kb: number,
  nearest: boolean,
): void {
  if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
  if (ka === Kind.ZERO) return out.copy(a);
  if (kb === Kind.INFINITY) return copyFinite(out, a);
  x.copy(a);
  if (ka === Kind.DENORMAL) normalize(x);
  const sign = a.sign;
  y.copy(b);
  if (kb === Kind.DENORMAL) normalize(y);
  const distance = x.exp - y.exp;
  if (distance < -1) return roundPack(out, r, 64, sign, x.exp, x.hi, x.lo, 0);
  let dividend = significandOf(x);
  let divisor = significandOf(y);
  let exp = y.exp;
  if (distance >= 64) {
    // Incomplete: the exponent difference shrinks by 32 to 63, so that at most 64 quotient bits come from one run.
    const n = (distance & 31) | 32;
    dividend <<= BigInt(n);
    exp = x.exp - n;
    r.flags |= Status.C2;
    const rest = dividend % divisor;
    return packInteger(out, r, sign, exp, rest);
  }
  if (distance >= 0) dividend <<= BigInt(distance);
  else {
    divisor <<= 1n;
    exp = x.exp;
  }
  let quotient = dividend / divisor;
  let rest = dividend - quotient * divisor;
  let restSign = sign;
  if (nearest && (rest << 1n > divisor || (rest << 1n === divisor && (quotient & 1n) === 1n))) {
    quotient++;
    rest = divisor - rest;
    restSign ^= 1;
  }
  const low = Number(quotient & 7n);
  r.flags |= (low & 4 ? Status.C0 : 0) | (low & 2 ? Status.C3 : 0) | (low & 1 ? Status.C1 : 0);
  const condition = r.flags & Status.C1;
  packInteger(out, r, rest === 0n ? sign : restSign, exp, rest);
  r.flags |= condition;
}

/** An exact value n × 2^(exp − BIAS − 63), n below 2^65. */
function packInteger(out: Float80, r: Rounding, sign: number, exp: number, n: bigint): void {
  if (n === 0n) return setZero(out, sign);
  const carry = n >> 64n !== 0n;
  x.set(0, exp + (carry ? 1 : 0), 0, 0);
  setSignificand(x, carry ? n >> 1n : n);
  const e = x.exp;
  x.exp = 1;
  normalize(x);
  roundPack(out, r, 64, sign, e + x.exp - 1, x.hi, x.lo, carry && (n & 1n) === 1n ? INTEGER_BIT : 0);
}

/** Condition codes of comparisons. */
const LESS = Status.C0,
  EQUAL = Status.C3;
export const UNORDERED = Status.C0 | Status.C2 | Status.C3;

/** Compares a with b: condition codes and exceptions go to r.flags. @param quietNan FUCOM: a quiet NaN raises nothing */
export function compare(r: Rounding, a: Float80, b: Float80, quietNan: boolean, sourceDenormal: number): void {
  const ka = kindOf(a),
    kb = kindOf(b);
  if (ka >= Kind.NAN || kb >= Kind.NAN) {
    const unsupported = ka === Kind.UNSUPPORTED || kb === Kind.UNSUPPORTED;
    if (!quietNan || unsupported || (ka === Kind.NAN && isSignaling(a)) || (kb === Kind.NAN && isSignaling(b)))
      r.flags |= Status.IE;
    r.flags |= UNORDERED;
    return;
  }
  if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
  r.flags |= sourceDenormal;
  if (ka === Kind.ZERO && kb === Kind.ZERO) r.flags |= EQUAL;
  else if (a.sign !== b.sign) r.flags |= a.sign !== 0 ? LESS : 0;
  else {
    const ea = a.exp === 0 ? 1 : a.exp,
      eb = b.exp === 0 ? 1 : b.exp;
    const order = ea !== eb ? ea - eb : compareSignificands(a, b);
    if (order === 0) r.flags |= EQUAL;
    else if (order < 0 !== (a.sign !== 0)) r.flags |= LESS;
  }
}

/** FXAM's condition codes but for an empty register: C3 C2 C0 class, C1 sign. */
export function examine(a: Float80): number {
  const codes = [Status.C3, Status.C2, Status.C3 | Status.C2, Status.C2 | Status.C0, Status.C0, 0];
  return codes[kindOf(a)]! | (a.sign !== 0 ? Status.C1 : 0);
}
