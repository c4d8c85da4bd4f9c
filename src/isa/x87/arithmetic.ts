/* x87 add, subtract, multiply, divide and square root, exact to the last bit and flag, for every operand.
 * @source SDM vol. 1 §8.3.5, §8.5 (exception conditions); vol. 2 FADD, FSUB, FMUL, FDIV, FSQRT (result tables)
 * Every function: (out, r, a, b, sourceDenormal). `out` may be a or b. r.flags collects exceptions; `sourceDenormal` is
 * Status.DE when b (or a) was widened from a denormal in memory, else 0. */
import {
  BIAS,
  Float80,
  INTEGER_BIT,
  Kind,
  Status,
  compareSignificands,
  kindOf,
  normalize,
  setInfinity,
  setSignificand,
  setZero,
  significandOf,
} from "./float80.ts";
import { type Rounding, invalid, propagateNan, quiet, roundPack, shiftRightSticky, shifted } from "./round.ts";

// Normalized copies of the operands, so that `out` may be one of them.
const x = new Float80();
const y = new Float80();

/** a + b */
export function add(out: Float80, r: Rounding, a: Float80, b: Float80, sourceDenormal: number): void {
  addSigned(out, r, a, b, b.sign, sourceDenormal);
}
/** a − b */
export function subtract(out: Float80, r: Rounding, a: Float80, b: Float80, sourceDenormal: number): void {
  addSigned(out, r, a, b, b.sign ^ 1, sourceDenormal);
}

function addSigned(out: Float80, r: Rounding, a: Float80, b: Float80, signB: number, sourceDenormal: number): void {
  const ka = kindOf(a),
    kb = kindOf(b);
  if ((ka | kb) !== Kind.NORMAL) {
    if (propagateNan(out, r, a, ka, b, kb)) return;
    if (ka === Kind.INFINITY && kb === Kind.INFINITY && a.sign !== signB) return invalid(out, r);
    if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
  }
  r.flags |= sourceDenormal;
  x.copy(a);
  y.copy(b);
  y.sign = signB;
  if ((ka | kb) !== Kind.NORMAL) {
    if (ka === Kind.INFINITY) return setInfinity(out, x.sign);
    if (kb === Kind.INFINITY) return setInfinity(out, signB);
    if (ka === Kind.ZERO && kb === Kind.ZERO) return setZero(out, x.sign === signB ? x.sign : r.mode === 1 ? 1 : 0);
    if (ka === Kind.DENORMAL) normalize(x);
    if (kb === Kind.DENORMAL) normalize(y);
    if (ka === Kind.ZERO) return roundPack(out, r, r.precision, y.sign, y.exp, y.hi, y.lo, 0);
    if (kb === Kind.ZERO) return roundPack(out, r, r.precision, x.sign, x.exp, x.hi, x.lo, 0);
  }
  if (x.sign === y.sign) addMagnitudes(out, r, x, y);
  else subtractMagnitudes(out, r, x, y);
}

function addMagnitudes(out: Float80, r: Rounding, p: Float80, q: Float80): void {
  const big = p.exp >= q.exp ? p : q,
    small = big === p ? q : p;
  shiftRightSticky(small.hi, small.lo, 0, big.exp - small.exp);
  const sumLo = (big.lo >>> 0) + (shifted.lo >>> 0);
  const sumHi = (big.hi >>> 0) + (shifted.hi >>> 0) + (sumLo > 0xffffffff ? 1 : 0);
  let hi = sumHi | 0,
    lo = sumLo | 0,
    ext = shifted.ext,
    exp = big.exp;
  if (sumHi > 0xffffffff) {
    ext = (ext >>> 1) | (lo << 31) | (ext & 1);
    lo = (lo >>> 1) | (hi << 31);
    hi = (hi >>> 1) | INTEGER_BIT;
    exp++;
  }
  roundPack(out, r, r.precision, p.sign, exp, hi, lo, ext);
}

function subtractMagnitudes(out: Float80, r: Rounding, p: Float80, q: Float80): void {
  const order = p.exp !== q.exp ? p.exp - q.exp : compareSignificands(p, q);
  if (order === 0) return setZero(out, r.mode === 1 ? 1 : 0);
  const big = order > 0 ? p : q,
    small = order > 0 ? q : p;
  shiftRightSticky(small.hi, small.lo, 0, big.exp - small.exp);
  let ext = -shifted.ext | 0;
  const differenceLo = (big.lo >>> 0) - (shifted.lo >>> 0) - (shifted.ext !== 0 ? 1 : 0);
  let lo = differenceLo | 0;
  let hi = ((big.hi >>> 0) - (shifted.hi >>> 0) - (differenceLo < 0 ? 1 : 0)) | 0;
  let exp = big.exp;
  while (hi === 0) {
    hi = lo;
    lo = ext;
    ext = 0;
    exp -= 32;
  }
  const n = Math.clz32(hi);
  if (n > 0) {
    hi = (hi << n) | (lo >>> (32 - n));
    lo = (lo << n) | (ext >>> (32 - n));
    ext <<= n;
    exp -= n;
  }
  roundPack(out, r, r.precision, big.sign, exp, hi, lo, ext);
}

/** Upper 32 bits of the product of two unsigned 32-bit numbers. */
export function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff,
    a1 = a >>> 16,
    b0 = b & 0xffff,
    b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const cross = a0 * b1 + (middle & 0xffff);
  return a1 * b1 + (middle >>> 16) + (cross >>> 16);
}

/** a × b */
export function multiply(out: Float80, r: Rounding, a: Float80, b: Float80, sourceDenormal: number): void {
  const ka = kindOf(a),
    kb = kindOf(b);
  const sign = a.sign ^ b.sign;
  if (ka !== Kind.NORMAL || kb !== Kind.NORMAL) {
    if (propagateNan(out, r, a, ka, b, kb)) return;
    const infinite = ka === Kind.INFINITY || kb === Kind.INFINITY,
      zero = ka === Kind.ZERO || kb === Kind.ZERO;
    if (infinite && zero) return invalid(out, r);
    if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
    r.flags |= sourceDenormal;
    if (infinite) return setInfinity(out, sign);
    if (zero) return setZero(out, sign);
  }
  r.flags |= sourceDenormal;
  x.copy(a);
  y.copy(b);
  if (ka === Kind.DENORMAL) normalize(x);
  if (kb === Kind.DENORMAL) normalize(y);
  const low = Math.imul(x.lo, y.lo);
  const crossA = Math.imul(x.hi, y.lo) >>> 0,
    crossB = Math.imul(x.lo, y.hi) >>> 0;
  const word1 = multiplyHigh(x.lo, y.lo) + crossA + crossB;
  const word2 =
    multiplyHigh(x.hi, y.lo) +
    multiplyHigh(x.lo, y.hi) +
    (Math.imul(x.hi, y.hi) >>> 0) +
    Math.floor(word1 / 0x100000000);
  let hi = (multiplyHigh(x.hi, y.hi) + Math.floor(word2 / 0x100000000)) | 0;
  let lo = word2 | 0,
    ext = word1 | 0,
    exp = x.exp + y.exp - BIAS + 1;
  if (hi >= 0) {
    hi = (hi << 1) | (lo >>> 31);
    lo = (lo << 1) | (ext >>> 31);
    ext = (ext << 1) | (low >>> 31);
    exp--;
    if (low << 1 !== 0) ext |= 1;
  } else if (low !== 0) ext |= 1;
  roundPack(out, r, r.precision, sign, exp, hi, lo, ext);
}

/** a ÷ b */
export function divide(out: Float80, r: Rounding, a: Float80, b: Float80, sourceDenormal: number): void {
  const ka = kindOf(a),
    kb = kindOf(b);
  const sign = a.sign ^ b.sign;
  if (ka !== Kind.NORMAL || kb !== Kind.NORMAL) {
    if (propagateNan(out, r, a, ka, b, kb)) return;
    if (ka === kb && (ka === Kind.INFINITY || ka === Kind.ZERO)) return invalid(out, r);
    if (kb === Kind.ZERO && ka !== Kind.INFINITY) {
      r.flags |= Status.ZE;
      return setInfinity(out, sign);
    }
    if (ka === Kind.DENORMAL || kb === Kind.DENORMAL) r.flags |= Status.DE;
    r.flags |= sourceDenormal;
    if (ka === Kind.INFINITY) return setInfinity(out, sign);
    if (kb === Kind.INFINITY || ka === Kind.ZERO) return setZero(out, sign);
  }
  r.flags |= sourceDenormal;
  x.copy(a);
  y.copy(b);
  if (ka === Kind.DENORMAL) normalize(x);
  if (kb === Kind.DENORMAL) normalize(y);
  divideMagnitudes(out, r, sign);
}

/** x ÷ y: quotient digits of 16 bits; each estimate from doubles is off by one at most. */
function divideMagnitudes(out: Float80, r: Rounding, sign: number): void {
  const dh = y.hi >>> 0,
    dl = y.lo >>> 0,
    divisor = dh * 0x100000000 + dl;
  let rh = x.hi >>> 0,
    rl = x.lo >>> 0;
  const first = rh > dh || (rh === dh && rl >= dl);
  if (first) {
    rl -= dl;
    rh -= dh;
    if (rl < 0) {
      rl += 0x100000000;
      rh--;
    }
  }
  let hi = 0,
    lo = 0,
    ext = 0;
  for (let i = 0; i < 6; i++) {
    let digit = Math.floor(((rh * 0x100000000 + rl) * 65536) / divisor);
    const low = rl * 65536 - digit * dl;
    const carry = Math.floor(low / 0x100000000);
    rl = low - carry * 0x100000000;
    rh = rh * 65536 - digit * dh + carry;
    if (rh < 0) {
      digit--;
      rl += dl;
      rh += dh;
      if (rl > 0xffffffff) {
        rl -= 0x100000000;
        rh++;
      }
    } else if (rh > dh || (rh === dh && rl >= dl)) {
      digit++;
      rl -= dl;
      rh -= dh;
      if (rl < 0) {
        rl += 0x100000000;
        rh--;
      }
    }
    if (i < 2) hi = (hi << 16) + digit;
    else if (i < 4) lo = (lo << 16) + digit;
    else ext = (ext << 16) + digit;
  }
  // 96 quotient bits below an integer bit `first`; without it the top one of them is set.
  hi |= 0;
  lo |= 0;
  ext |= 0;
  if (rh !== 0 || rl !== 0) ext |= 1;
  let exp = x.exp - y.exp + BIAS - 1;
  if (first) {
    ext = (ext >>> 1) | (lo << 31) | (ext & 1);
    lo = (lo >>> 1) | (hi << 31);
    hi = (hi >>> 1) | INTEGER_BIT;
    exp++;
  }
  roundPack(out, r, r.precision, sign, exp, hi, lo, ext);
}

/** √a */
export function squareRoot(out: Float80, r: Rounding, a: Float80): void {
  const kind = kindOf(a);
  if (kind === Kind.NAN) return quiet(out, r, a);
  if (kind === Kind.UNSUPPORTED || (a.sign !== 0 && kind !== Kind.ZERO)) return invalid(out, r);
  if (kind === Kind.ZERO || kind === Kind.INFINITY) return out.copy(a);
  x.copy(a);
  if (kind === Kind.DENORMAL) {
    r.flags |= Status.DE;
    normalize(x);
  }
  // √(m·2^e), e even: a root of 66 bits (two below the last place) and a sticky bit from the remainder.
  const e = x.exp - BIAS;
  const odd = e & 1;
  const radicand = significandOf(x) << BigInt(67 + odd);
  const root = integerRoot(radicand);
  setSignificand(x, root >> 2n);
  const ext = (Number(root & 3n) << 30) | (root * root !== radicand ? 1 : 0);
  roundPack(out, r, r.precision, 0, (e - odd) / 2 + BIAS, x.hi, x.lo, ext);
}

/** ⌊√n⌋ for n of 131 or 132 bits: the processor's own root gives 52 bits, one Newton step the rest. */
function integerRoot(n: bigint): bigint {
  let root = BigInt(Math.floor(Math.sqrt(Number(n))));
  root = (root + n / root) >> 1n;
  while (root * root > n) root--;
  while ((root + 1n) * (root + 1n) <= n) root++;
  return root;
}
