/* FSIN FCOS FSINCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1. Results are correctly rounded but for ties of about 2^−150, with the processor's
 * 66-bit π in the reduction of FSIN, FCOS, FSINCOS and FPTAN. What the manual leaves undefined: F2XM1 beyond ±1 gives its operand back.
 * @source SDM vol. 1 §8.3.8 (π), §8.3.10 (accuracy); vol. 2 under each mnemonic (special operands) */
import {
  BIAS,
  Float80,
  INTEGER_BIT,
  Kind,
  Status,
  kindOf,
  normalize,
  setInfinity,
  setOne,
  setSignificand,
  setZero,
  significandOf,
} from "./float80.ts";
import { F, LN2, LOG2E, ONE, PI, arctan, bitLength, expm1, log2, sinCos } from "./fixed.ts";
import { type Rounding, invalid, propagateNan, quiet, roundPack } from "./round.ts";

const work = new Float80();
const x = new Float80();
const y = new Float80();

/** value × 2^−fraction, value positive; `inexact` says that there are nonzero bits below. */
function packFixed(out: Float80, r: Rounding, sign: number, value: bigint, fraction: number, inexact: boolean): void {
  const n = bitLength(value);
  const top = n > 96 ? value >> BigInt(n - 96) : value << BigInt(96 - n);
  const sticky = inexact || (n > 96 && top << BigInt(n - 96) !== value);
  setSignificand(work, top >> 32n);
  const ext = Number(top & 0xffffffffn) | (sticky ? 1 : 0);
  roundPack(out, r, 64, sign, BIAS + n - 1 - fraction, work.hi, work.lo, ext);
}

function packSigned(out: Float80, r: Rounding, value: bigint): void {
  packFixed(out, r, value < 0n ? 1 : 0, value < 0n ? -value : value, Number(F), true);
}

/** A finite nonzero operand, normalized, into `to`. @returns its exponent without bias */
function unpack(to: Float80, r: Rounding, from: Float80): number {
  to.copy(from);
  if (from.exp === 0) {
    r.flags |= Status.DE;
    normalize(to);
  }
  return to.exp - BIAS;
}

/** x in fixed point; exact for exponents from −(F − 63) up. */
const toFixed = (significand: bigint, exponent: number): bigint => {
  const shift = F - 63n + BigInt(exponent);
  return shift >= 0n ? significand << shift : significand >> -shift;
};

/** π/2 as the processor reduces with it: 66 bits of π. Unit 2^−67. */
const HALF_PI_66 = 0xc90fdaa22168c234cn;

export type Trigonometric = "sin" | "cos" | "tan";

/** One or two functions of a: `second`, if there is one, gets the cosine (FSINCOS) or 1 (FPTAN).
 *  @returns false if |a| ≥ 2^63: C2, nothing is written */
export function trigonometric(
  kind: Trigonometric,
  out: Float80,
  second: Float80 | undefined,
  r: Rounding,
  a: Float80,
): boolean {
  const k = kindOf(a);
  if (k === Kind.NAN || k === Kind.INFINITY || k === Kind.UNSUPPORTED) {
    if (k === Kind.NAN) quiet(out, r, a);
    else invalid(out, r);
    second?.copy(out);
    return true;
  }
  if (k === Kind.ZERO) {
    const sign = a.sign;
    if (kind === "cos") setOne(out);
    else setZero(out, sign);
    if (second) setOne(second);
    return true;
  }
  if (a.exp >= BIAS + 63) {
    r.flags |= Status.C2;
    return false;
  }
  const exponent = unpack(x, r, a);
  if (exponent < -40) tinyAngle(kind, out, second, r, exponent);
  else angle(kind, out, second, r, exponent);
  return true;
}

/** |x| below 2^−40: the second term of the series is far below half a unit, but it decides directed rounding. */
function tinyAngle(
  kind: Trigonometric,
  out: Float80,
  second: Float80 | undefined,
  r: Rounding,
  exponent: number,
): void {
  const almostOne = (1n << 97n) - 1n;
  if (second) {
    if (kind === "sin") packFixed(second, r, 0, almostOne, 97, true);
    else setOne(second);
  }
  if (kind === "cos") packFixed(out, r, 0, almostOne, 97, true);
  else if (kind === "sin" && exponent === 1 - BIAS && significandOf(x) === 1n << 63n) {
    // The smallest normal number: what is a little less would be tiny, but processors leave it as it is.
    out.set(x.sign, 1, INTEGER_BIT, 0);
    r.flags |= Status.PE;
  } else packFixed(out, r, x.sign, (significandOf(x) << 40n) + (kind === "sin" ? -1n : 0n), 103 - exponent, true);
}

function angle(kind: Trigonometric, out: Float80, second: Float80 | undefined, r: Rounding, exponent: number): void {
  let quadrant = 0n,
    rest = toFixed(significandOf(x), exponent);
  if (exponent >= -1) {
    const units = significandOf(x) << BigInt(exponent + 4);
    quadrant = (2n * units + HALF_PI_66) / (2n * HALF_PI_66);
    rest = (units - quadrant * HALF_PI_66) << (F - 67n);
  }
  const { sin: s, cos: c } = sinCos(rest);
  const odd = (quadrant & 1n) === 1n;
  let sin = odd ? c : s,
    cos = odd ? s : c;
  if ((quadrant & 2n) !== 0n) sin = -sin;
  if (((quadrant + 1n) & 2n) !== 0n) cos = -cos;
  if (x.sign !== 0) sin = -sin;
  if (kind === "tan") {
    packSigned(out, r, (sin << F) / cos);
    if (second) setOne(second);
    return;
  }
  if (second) packSigned(second, r, cos);
  packSigned(out, r, kind === "sin" ? sin : cos);
}

/** A multiple of π/4 with a sign: the special results of FPATAN. */
function packQuarters(out: Float80, r: Rounding, sign: number, quarters: bigint): void {
  packFixed(out, r, sign, PI * quarters, Number(F) + 2, true);
}

/** FPATAN: the angle of the point (a, b): arctan(b/a), b = ST(1). */
export function arctangent(out: Float80, r: Rounding, a: Float80, b: Float80): void {
  const ka = kindOf(a),
    kb = kindOf(b),
    sign = b.sign,
    left = a.sign !== 0;
  if (propagateNan(out, r, b, kb, a, ka)) return;
  if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
  if (kb === Kind.INFINITY) return packQuarters(out, r, sign, ka !== Kind.INFINITY ? 2n : left ? 3n : 1n);
  if (ka === Kind.INFINITY || kb === Kind.ZERO) {
    if (left) packQuarters(out, r, sign, 4n);
    else setZero(out, sign);
    return;
  }
  if (ka === Kind.ZERO) return packQuarters(out, r, sign, 2n);
  const ea = unpack(x, r, a),
    eb = unpack(y, r, b),
    distance = eb - ea;
  const ma = significandOf(x),
    mb = significandOf(y);
  if (distance < -70 && !left) {
    const quotient = (mb << 128n) / ma;
    const exact = quotient * ma === mb << 128n;
    return packFixed(out, r, sign, exact ? quotient - 1n : quotient, 128 - distance, true);
  }
  let theta: bigint;
  if (distance < -70) theta = 1n;
  else if (distance > 70) theta = PI / 2n - 1n;
  else {
    const up = distance > 0 || (distance === 0 && mb > ma);
    const q = up ? ((ma << F) >> BigInt(distance)) / mb : ((mb << F) >> BigInt(-distance)) / ma;
    theta = up ? PI / 2n - arctan(q) : arctan(q);
  }
  if (left) theta = PI - theta;
  packFixed(out, r, sign, theta, Number(F), true);
}

/** F2XM1: 2^a − 1, |a| ≤ 1. */
export function exp2m1(out: Float80, r: Rounding, a: Float80): void {
  const kind = kindOf(a),
    sign = a.sign;
  if (kind === Kind.UNSUPPORTED) return invalid(out, r);
  if (kind === Kind.NAN) return quiet(out, r, a);
  if (kind === Kind.INFINITY) return sign !== 0 ? setOne(out, 1) : out.copy(a);
  if (kind === Kind.ZERO || a.exp > BIAS) return out.copy(a);
  const exponent = unpack(x, r, a),
    m = significandOf(x);
  if (exponent === 0) {
    if (m !== 1n << 63n) return out.copy(a);
    setOne(out, sign);
    if (sign !== 0) out.exp--;
    return;
  }
  if (exponent < -70) return packFixed(out, r, sign, m * LN2, Number(F) + 63 - exponent, true);
  const t = (toFixed(m, exponent) * LN2) >> F;
  packSigned(out, r, expm1(sign !== 0 ? -t : t));
}

/** FYL2X: b × log2 a, b = ST(1). */
export function yLog2(out: Float80, r: Rounding, a: Float80, b: Float80): void {
  const ka = kindOf(a),
    kb = kindOf(b),
    sign = b.sign;
  if (propagateNan(out, r, b, kb, a, ka)) return;
  if (a.sign !== 0 && ka !== Kind.ZERO) return invalid(out, r);
  if (ka === Kind.ZERO) {
    if (kb === Kind.ZERO) return invalid(out, r);
    if (kb !== Kind.INFINITY) r.flags |= Status.ZE;
    return setInfinity(out, sign ^ 1);
  }
  if (ka === Kind.INFINITY) {
    if (kb === Kind.ZERO) return invalid(out, r);
    if (kb === Kind.DENORMAL) r.flags |= Status.DE;
    return setInfinity(out, sign);
  }
  const one = a.exp === BIAS && a.hi << 1 === 0 && a.lo === 0;
  if (one && kb === Kind.INFINITY) return invalid(out, r);
  const below = a.exp < BIAS ? 1 : 0;
  const exponent = unpack(x, r, a);
  if (kb === Kind.INFINITY) return setInfinity(out, sign ^ below);
  if (kb === Kind.ZERO || one) {
    if (kb === Kind.DENORMAL) r.flags |= Status.DE;
    return setZero(out, sign ^ below);
  }
  const eb = unpack(y, r, b),
    m = significandOf(x);
  const power = m === 1n << 63n;
  const log = BigInt(exponent) * ONE + (power ? 0n : log2FromSignificand(m, exponent));
  packFixed(
    out,
    r,
    log < 0n ? sign ^ 1 : sign,
    (log < 0n ? -log : log) * significandOf(y),
    Number(F) + 63 - eb,
    !power,
  );
  r.flags |= Status.PE; // even for powers of two, as processors do
}

/** log2 of m × 2^−63; the exponent −1 keeps relative precision just below 1. */
function log2FromSignificand(m: bigint, exponent: number): bigint {
  return exponent === -1 ? log2(m << (F - 64n)) + ONE : log2(m << (F - 63n));
}

/** FYL2XP1: b × log2(a + 1), b = ST(1); |a| below 1 − √½. */
export function yLog2p1(out: Float80, r: Rounding, a: Float80, b: Float80): void {
  const ka = kindOf(a),
    kb = kindOf(b),
    sign = a.sign ^ b.sign;
  if (propagateNan(out, r, b, kb, a, ka)) return;
  if ((ka === Kind.ZERO && kb === Kind.INFINITY) || (ka === Kind.INFINITY && (a.sign !== 0 || kb === Kind.ZERO)))
    return invalid(out, r);
  if (a.sign !== 0 && a.exp >= BIAS && ka === Kind.NORMAL) return invalid(out, r);
  if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
  if (ka === Kind.INFINITY || kb === Kind.INFINITY) return setInfinity(out, sign);
  if (ka === Kind.ZERO || kb === Kind.ZERO) return setZero(out, sign);
  const ea = unpack(x, r, a),
    eb = unpack(y, r, b),
    m = significandOf(x);
  if (ea < -80) return packFixed(out, r, sign, m * LOG2E * significandOf(y), Number(F) + 126 - ea - eb, true);
  // Huge arguments are undefined: ea is bounded so that a guest cannot ask for numbers of thousands of digits.
  const fixed = toFixed(m, Math.min(ea, 128));
  const log = log2(a.sign !== 0 ? ONE - fixed : ONE + fixed);
  packFixed(out, r, sign, (log < 0n ? -log : log) * significandOf(y), Number(F) + 63 - eb, true);
}
