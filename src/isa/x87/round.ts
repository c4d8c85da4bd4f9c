/* Rounding of exact results to 80, 64 or 32 bits, and the NaN rules: what all x87 operations have in common.
 * The Rounding object carries what the control word says in, and the exception bits out.
 * @source SDM vol. 1 §4.8.4 (rounding), §4.9.1 (exceptions, masked and unmasked responses), §8.1.5, Table 4-7 (NaNs) */
import {
  EXP_MAX,
  type Float80,
  INTEGER_BIT,
  Kind,
  QUIET_BIT,
  Status,
  compareSignificands,
  isSignaling,
  setDefaultNan,
  setInfinity,
} from "./float80.ts";

/** Exponent adjustment of the result that an unmasked overflow or underflow delivers. */
const BIAS_ADJUST = 24576;

export class Rounding {
  /** Significand bits: 24, 53 or 64. */
  precision = 64;
  /** RC: 0 nearest even, 1 down, 2 up, 3 toward zero. */
  mode = 0;
  /** Exception masks, as in the control word. */
  masks = 0x3f;
  /** Exceptions of this operation, bits as in the status word; C1 (rounded up) and other condition codes included. */
  flags = 0;

  begin(controlWord: number): void {
    const pc = (controlWord >> 8) & 3;
    this.precision = pc === 0 ? 24 : pc === 2 ? 53 : 64;
    this.mode = (controlWord >> 10) & 3;
    this.masks = controlWord & 0x3f;
    this.flags = 0;
  }
}

/** Should the magnitude be incremented? @param ext the 32 bits below the last place, the lowest of them sticky */
export function roundsUp(mode: number, sign: number, odd: number, ext: number): boolean {
  if (ext === 0) return false;
  if (mode === 0) return ext < 0 && (ext !== INTEGER_BIT || odd !== 0);
  if (mode === 1) return sign !== 0;
  return mode === 2 && sign === 0;
}

/** A 96-bit magnitude hi:lo:ext shifted right by `count`, the bits lost ORed into the lowest (sticky). Result in `shifted`. */
export const shifted = { hi: 0, lo: 0, ext: 0 };
export function shiftRightSticky(hi: number, lo: number, ext: number, count: number): void {
  let h = hi,
    l = lo,
    e = ext,
    n = count;
  let sticky = 0;
  if (n >= 96) {
    sticky = (h | l | e) !== 0 ? 1 : 0;
    h = l = e = n = 0;
  }
  while (n >= 32) {
    sticky |= e;
    e = l;
    l = h;
    h = 0;
    n -= 32;
  }
  if (n > 0) {
    sticky |= e << (32 - n);
    e = (e >>> n) | (l << (32 - n));
    l = (l >>> n) | (h << (32 - n));
    h >>>= n;
  }
  shifted.hi = h;
  shifted.lo = l;
  shifted.ext = sticky !== 0 ? e | 1 : e;
}

/** Rounds hi:lo (ext below) into `out` to `precision` bits: 24, 53 or 64. @returns carry out of the top bit */
export function roundSignificand(
  out: Float80,
  r: Rounding,
  precision: number,
  sign: number,
  hi: number,
  lo: number,
  ext: number,
): boolean {
  let h = hi,
    l = lo,
    e = ext,
    unitHi = 0,
    unitLo = 1;
  if (precision === 53) {
    e = (l << 21) | (e !== 0 ? 1 : 0);
    l &= ~0x7ff;
    unitLo = 0x800;
  } else if (precision === 24) {
    e = (h << 24) | ((l | e) !== 0 ? 1 : 0);
    h &= ~0xff;
    l = 0;
    unitHi = 0x100;
    unitLo = 0;
  }
  r.flags &= ~(Status.PE | Status.C1);
  let carry = false;
  if (e !== 0) {
    r.flags |= Status.PE;
    if (roundsUp(r.mode, sign, (h & unitHi) | (l & unitLo), e)) {
      r.flags |= Status.C1;
      const sumLo = (l >>> 0) + unitLo;
      const sumHi = (h >>> 0) + unitHi + (sumLo > 0xffffffff ? 1 : 0);
      l = sumLo | 0;
      h = sumHi | 0;
      carry = sumHi > 0xffffffff;
    }
  }
  out.hi = h;
  out.lo = l;
  return carry;
}

/** Rounds an exact nonzero value to the 80-bit format with the precision given, with overflow and underflow.
 *  @param exp biased exponent, unbounded  @param hi normalized (top bit set)  @param ext 32 more bits, the lowest sticky */
export function roundPack(
  out: Float80,
  r: Rounding,
  precision: number,
  sign: number,
  exp: number,
  hi: number,
  lo: number,
  ext: number,
): void {
  out.sign = sign;
  const carry = roundSignificand(out, r, precision, sign, hi, lo, ext);
  let e = exp;
  if (carry) {
    out.hi = INTEGER_BIT;
    e++;
  }
  if (e > 0 && e < EXP_MAX) out.exp = e;
  else if (e <= 0) underflow(out, r, precision, sign, exp, e, hi, lo, ext);
  else overflow(out, r, precision, sign, e);
}

function underflow(
  out: Float80,
  r: Rounding,
  precision: number,
  sign: number,
  exp: number,
  roundedExp: number,
  hi: number,
  lo: number,
  ext: number,
): void {
  if ((r.masks & Status.UE) === 0 && roundedExp + BIAS_ADJUST > 0) {
    r.flags |= Status.UE;
    out.exp = roundedExp + BIAS_ADJUST;
    return;
  }
  if ((r.masks & Status.UE) === 0) {
    // FSCALE beyond even the adjusted exponents, whatever RC says
    r.flags = (r.flags & ~Status.C1) | Status.UE | Status.PE;
    out.set(sign, 0, 0, 0);
    return;
  }
  shiftRightSticky(hi, lo, ext, 1 - exp);
  roundSignificand(out, r, precision, sign, shifted.hi, shifted.lo, shifted.ext);
  if ((r.flags & Status.PE) !== 0) r.flags |= Status.UE;
  out.exp = out.hi < 0 ? 1 : 0;
}

function overflow(out: Float80, r: Rounding, precision: number, sign: number, exp: number): void {
  if ((r.masks & Status.OE) === 0 && exp - BIAS_ADJUST < EXP_MAX) {
    r.flags |= Status.OE;
    out.exp = exp - BIAS_ADJUST;
    return;
  }
  r.flags = (r.flags & ~Status.C1) | Status.OE | Status.PE;
  if (r.mode === 0 || r.mode === (sign === 0 ? 2 : 1) || (r.masks & Status.OE) === 0) {
    r.flags |= Status.C1;
    setInfinity(out, sign);
    return;
  }
  out.exp = EXP_MAX - 1;
  out.hi = precision === 24 ? ~0xff : -1;
  out.lo = precision === 24 ? 0 : precision === 53 ? ~0x7ff : -1;
}

/** The result of an invalid operation: IE and the default NaN. */
export function invalid(out: Float80, r: Rounding): void {
  r.flags |= Status.IE;
  setDefaultNan(out);
}

/** Result of a one-operand operation on a NaN: quieted, IE if it signaled. */
export function quiet(out: Float80, r: Rounding, a: Float80): void {
  if (isSignaling(a)) r.flags |= Status.IE;
  out.copy(a);
  out.hi |= QUIET_BIT;
}

/** If a or b is unsupported or a NaN: gives the result and returns true. @source SDM vol. 1 Table 4-7 */
export function propagateNan(out: Float80, r: Rounding, a: Float80, kindA: number, b: Float80, kindB: number): boolean {
  if (kindA < Kind.NAN && kindB < Kind.NAN) return false;
  if (kindA === Kind.UNSUPPORTED || kindB === Kind.UNSUPPORTED) {
    invalid(out, r);
    return true;
  }
  if (kindA !== Kind.NAN) quiet(out, r, b);
  else if (kindB !== Kind.NAN) quiet(out, r, a);
  else {
    const signalA = isSignaling(a),
      signalB = isSignaling(b);
    if (signalA || signalB) r.flags |= Status.IE;
    let larger: Float80;
    if (signalA !== signalB) larger = signalA ? b : a;
    else {
      const order = compareSignificands(a, b);
      larger = order > 0 ? a : order < 0 ? b : a.sign < b.sign ? a : b;
    }
    out.copy(larger);
    out.hi |= QUIET_BIT;
  }
  return true;
}
