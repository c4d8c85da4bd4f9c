/* Conversions between the 80-bit format and memory formats: 32- and 64-bit floats, 16/32/64-bit integers, packed BCD.
 * @source SDM vol. 1 §4.2, §4.8.3; vol. 2 FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP
 * Results for memory are left in `memory`, two signed 32-bit halves; wider ones (BCD) are bigint. */
import {
  BIAS,
  EXP_MAX,
  Float80,
  INTEGER_BIT,
  Kind,
  QUIET_BIT,
  Status,
  isSignaling,
  kindOf,
  normalize,
  setSignificand,
  setZero,
  significandOf,
} from "./float80.ts";
import { type Rounding, roundSignificand, roundsUp, shiftRightSticky, shifted } from "./round.ts";

/** The value that goes to memory. */
export const memory = { hi: 0, lo: 0 };

/** Widens an m32. NaNs keep their quiet bit. @returns Status.DE if it was a denormal, else 0 */
export function fromFloat32(out: Float80, bits: number): number {
  const sign = bits >>> 31,
    exp = (bits >>> 23) & 0xff,
    fraction = bits & 0x7fffff;
  if (exp !== 0) {
    out.set(sign, exp === 0xff ? EXP_MAX : exp - 127 + BIAS, INTEGER_BIT | (fraction << 8), 0);
    return 0;
  }
  if (fraction === 0) {
    setZero(out, sign);
    return 0;
  }
  const n = Math.clz32(fraction);
  out.set(sign, BIAS - 118 - n, fraction << n, 0);
  return Status.DE;
}

/** Widens an m64 given as halves. NaNs keep their quiet bit. @returns Status.DE if it was a denormal, else 0 */
export function fromFloat64(out: Float80, hi: number, lo: number): number {
  const sign = hi >>> 31,
    exp = (hi >>> 20) & 0x7ff;
  const fractionHi = (((hi & 0xfffff) << 11) | (lo >>> 21)) & 0x7fffffff,
    fractionLo = lo << 11;
  if (exp !== 0) {
    out.set(sign, exp === 0x7ff ? EXP_MAX : exp - 1023 + BIAS, INTEGER_BIT | fractionHi, fractionLo);
    return 0;
  }
  if ((fractionHi | fractionLo) === 0) {
    setZero(out, sign);
    return 0;
  }
  out.set(sign, 1, fractionHi, fractionLo);
  normalize(out);
  out.exp += BIAS - 1023;
  return Status.DE;
}

/** From a signed 32-bit integer: exact. */
export function fromInt32(out: Float80, n: number): void {
  if (n === 0) return setZero(out, 0);
  const magnitude = n < 0 ? -n | 0 : n;
  const shift = Math.clz32(magnitude);
  out.set(n < 0 ? 1 : 0, BIAS + 31 - shift, magnitude << shift, 0);
}

/** From a signed 64-bit integer given as halves: exact. */
export function fromInt64(out: Float80, hi: number, lo: number): void {
  if ((hi | lo) === 0) return setZero(out, 0);
  const sign = hi >>> 31;
  if (sign !== 0) out.set(1, BIAS + 63, ~hi + (lo === 0 ? 1 : 0), -lo | 0);
  else out.set(0, BIAS + 63, hi, lo);
  normalize(out);
}

/** Narrows to an m32 or m64 in `memory`, with the exceptions of FST.
 *  @param size 4 or 8  @returns false when an unmasked exception forbids the store (r.flags tells which) */
export function toFloat(r: Rounding, a: Float80, size: 4 | 8): boolean {
  const kind = kindOf(a);
  if (kind === Kind.UNSUPPORTED) {
    r.flags |= Status.IE;
    packFloat(size, 1, size === 4 ? 0xff : 0x7ff, INTEGER_BIT | QUIET_BIT, 0);
  } else if (kind === Kind.NAN || kind === Kind.INFINITY) {
    const nan = kind === Kind.NAN;
    if (nan && isSignaling(a)) r.flags |= Status.IE;
    packFloat(size, a.sign, size === 4 ? 0xff : 0x7ff, nan ? a.hi | QUIET_BIT : a.hi, a.lo);
  } else if (kind === Kind.ZERO) packFloat(size, a.sign, 0, 0, 0);
  else narrow(r, a, size);
  return (r.flags & ~r.masks & (Status.IE | Status.OE | Status.UE)) === 0;
}

function packFloat(size: 4 | 8, sign: number, exp: number, hi: number, lo: number): void {
  if (size === 4) {
    memory.lo = (sign << 31) | (exp << 23) | ((hi >>> 8) & 0x7fffff);
    memory.hi = 0;
  } else {
    memory.hi = (sign << 31) | (exp << 20) | ((hi >>> 11) & 0xfffff);
    memory.lo = (hi << 21) | (lo >>> 11);
  }
}

const work = new Float80();
const rounded = new Float80();

function narrow(r: Rounding, a: Float80, size: 4 | 8): void {
  const bias = size === 4 ? 127 : 1023,
    expMax = size === 4 ? 0xff : 0x7ff;
  work.copy(a);
  normalize(work);
  const exp = work.exp - BIAS + bias;
  const carry = roundSignificand(rounded, r, size === 4 ? 24 : 53, a.sign, work.hi, work.lo, 0);
  const e = carry ? exp + 1 : exp;
  if (e >= expMax) {
    r.flags = (r.flags | Status.OE) & ~(Status.PE | Status.C1);
    if ((r.masks & Status.OE) === 0) return;
    r.flags |= Status.PE;
    if (r.mode === 0 || r.mode === (a.sign === 0 ? 2 : 1)) {
      r.flags |= Status.C1;
      packFloat(size, a.sign, expMax, INTEGER_BIT, 0);
    } else packFloat(size, a.sign, expMax - 1, -1, -1);
  } else if (e > 0) packFloat(size, a.sign, e, rounded.hi, rounded.lo);
  else if ((r.masks & Status.UE) === 0) r.flags = (r.flags | Status.UE) & ~(Status.PE | Status.C1);
  else {
    shiftRightSticky(work.hi, work.lo, 0, 1 - exp);
    roundSignificand(rounded, r, size === 4 ? 24 : 53, a.sign, shifted.hi, shifted.lo, shifted.ext);
    if ((r.flags & Status.PE) !== 0) r.flags |= Status.UE;
    packFloat(size, a.sign, rounded.hi < 0 ? 1 : 0, rounded.hi, rounded.lo);
  }
}

/** Rounds to a signed integer in `memory` (sign-extended to 64 bits), with the exceptions of FIST.
 *  @param size 2, 4 or 8  @param mode rounding (3 for FISTTP)  @returns false when an unmasked IE forbids the store */
export function toInteger(r: Rounding, a: Float80, size: number, mode: number): boolean {
  const kind = kindOf(a);
  if (kind < Kind.INFINITY && roundInteger(r, a, mode)) {
    let hi = shifted.hi,
      lo = shifted.lo;
    if (a.sign !== 0) {
      hi = (~hi + (lo === 0 ? 1 : 0)) | 0;
      lo = -lo | 0;
    }
    const signOk = (hi | lo) === 0 || (a.sign !== 0 ? hi < 0 : hi >= 0);
    if (signOk && (size === 8 || (hi === lo >> 31 && (size === 4 || (lo << 16) >> 16 === lo)))) {
      memory.hi = hi;
      memory.lo = lo;
      return true;
    }
  }
  r.flags = (r.flags & ~(Status.PE | Status.C1)) | Status.IE;
  memory.hi = size === 8 ? INTEGER_BIT : -1;
  memory.lo = size === 8 ? 0 : size === 4 ? INTEGER_BIT : -0x8000;
  return (r.masks & Status.IE) !== 0;
}

/** Rounds a finite |a| to an integer in shifted.hi:lo, PE and C1 in r.flags. @returns false if it needs more than 64 bits */
export function roundInteger(r: Rounding, a: Float80, mode: number): boolean {
  const count = BIAS + 63 - (a.exp === 0 ? 1 : a.exp);
  if (count < 0) return false;
  shiftRightSticky(a.hi, a.lo, 0, count);
  if (shifted.ext === 0) return true;
  r.flags |= Status.PE;
  if (roundsUp(mode, a.sign, shifted.lo & 1, shifted.ext)) {
    r.flags |= Status.C1;
    shifted.lo = (shifted.lo + 1) | 0;
    if (shifted.lo === 0) {
      shifted.hi = (shifted.hi + 1) | 0;
      if (shifted.hi === 0) return false;
    }
  }
  return true;
}

/** From 18 BCD digits: low eight bytes and the two upper ones (digits 16–17, sign). Invalid digits count as their value. */
export function fromBcd(out: Float80, low: bigint, high: number): void {
  let n = 0n;
  for (let i = 17; i >= 0; i--) {
    const digit = i >= 16 ? BigInt((high >> (4 * (i - 16))) & 15) : (low >> BigInt(4 * i)) & 15n;
    n = n * 10n + digit;
  }
  const sign = (high >> 15) & 1;
  if (n === 0n) return setZero(out, sign);
  out.set(sign, BIAS + 63, 0, 0);
  setSignificand(out, n);
  normalize(out);
}

/** To 18 BCD digits, rounded by RC; `high` is bytes 8–9. IE and the packed indefinite if they do not suffice. */
export function toBcd(r: Rounding, a: Float80): { low: bigint; high: number } {
  if (kindOf(a) < Kind.INFINITY && roundInteger(r, a, r.mode)) {
    work.set(0, 0, shifted.hi, shifted.lo);
    let n = significandOf(work);
    if (n < 10n ** 18n) {
      let low = 0n,
        high = a.sign << 15;
      for (let i = 0; i < 18; i++, n /= 10n) {
        if (i < 16) low |= (n % 10n) << BigInt(4 * i);
        else high |= Number(n % 10n) << (4 * (i - 16));
      }
      return { low, high };
    }
  }
  r.flags = (r.flags & ~(Status.PE | Status.C1)) | Status.IE;
  return { low: 0xc000000000000000n, high: 0xffff };
}
