/* Elementary functions on fixed-point bigints with F fraction bits: the kernels of the x87 transcendental instructions. Arguments are
 * reduced by the callers. Every kernel is good to some 2^−230, so that even results near 2^−71 have more than 150 correct bits.
 * Rejected: tables with double-double arithmetic (faster, but an ulp of 80 bits needs a third double). */

/** Fraction bits. */
export const F = 240n;
export const ONE = 1n << F;
/** π; the processor's own reduction constant is another, see transcendental.ts. */
export const PI = 0x3243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89n >> (256n - F);

/** z + z³/3 + z⁵/5 …, or with alternating signs. */
function oddSeries(z: bigint, alternate: boolean): bigint {
  const square = alternate ? -((z * z) >> F) : (z * z) >> F;
  let sum = z,
    power = z;
  for (let k = 3n; ; k += 2n) {
    power = (power * square) >> F;
    const term = power / k;
    if (term === 0n) return sum;
    sum += term;
  }
}

/** ln 2 = 2 artanh(1/3) */
export const LN2 = 2n * oddSeries(ONE / 3n, false);
export const LOG2E = (ONE << F) / LN2;

/** sin r and cos r, |r| ≤ 1. */
export function sinCos(r: bigint): { sin: bigint; cos: bigint } {
  const square = (r * r) >> F;
  let sin = r,
    cos = ONE,
    term = r;
  for (let k = 3n; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> F) / (k * (k - 1n));
    sin += term;
  }
  term = ONE;
  for (let k = 2n; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> F) / (k * (k - 1n));
    cos += term;
  }
  return { sin, cos };
}

const arctangents = new Map<number, bigint>();
/** arctan(k/32), by Euler's series, once for each k from 0 to 32. */
function arctangentOf(k: number): bigint {
  let value = arctangents.get(k);
  if (value === undefined) {
    const c = (ONE * BigInt(k)) / 32n,
      square = (c * c) >> F;
    const ratio = (square << F) / (ONE + square);
    let term = (c << F) / (ONE + square);
    value = 0n;
    for (let n = 1n; term > 0n; n++) {
      value += term;
      term = (((term * ratio) >> F) * 2n * n) / (2n * n + 1n);
    }
    arctangents.set(k, value);
  }
  return value;
}

/** arctan q, 0 ≤ q ≤ 1. */
export function arctan(q: bigint): bigint {
  const k = Number((q * 32n + ONE / 2n) >> F);
  if (k === 0) return oddSeries(q, true);
  const c = (ONE * BigInt(k)) / 32n;
  return arctangentOf(k) + oddSeries(((q - c) << F) / (ONE + ((q * c) >> F)), true);
}

const logarithms = new Map<number, bigint>();
/** ln(k/32), once for each k. */
function logarithmOf(k: number): bigint {
  let value = logarithms.get(k);
  if (value === undefined) {
    value = 2n * oddSeries((ONE * BigInt(k - 32)) / BigInt(k + 32), false);
    logarithms.set(k, value);
  }
  return value;
}

/** log2 m, 0 < m: keeps relative precision near 1. */
export function log2(m: bigint): bigint {
  let scaled = m,
    exponent = BigInt(bitLength(m) - 1) - F;
  scaled = exponent >= 0n ? scaled >> exponent : scaled << -exponent;
  if (exponent === -1n || scaled > (ONE * 3n) / 2n) {
    // So that values just below 1 have exponent 0.
    scaled >>= 1n;
    exponent++;
  }
  const k = Number((scaled * 32n + ONE / 2n) >> F);
  const c = (ONE * BigInt(k)) / 32n;
  const ln = oddSeries(((scaled - c) << F) / (scaled + c), false) * 2n + (k === 32 ? 0n : logarithmOf(k));
  return exponent * ONE + ((ln * LOG2E) >> F);
}

/** e^t − 1, |t| ≤ 1: keeps relative precision near 0. */
export function expm1(t: bigint): bigint {
  const halvings = 8n;
  const small = t >> halvings;
  let sum = 0n,
    term = small;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    sum += term;
    term = ((term * small) >> F) / k;
  }
  for (let i = 0n; i < halvings; i++) sum = (sum * (sum + 2n * ONE)) >> F;
  return sum;
}

/** Bits of a positive number. */
export function bitLength(n: bigint): number {
  const hex = n.toString(16);
  return hex.length * 4 - Math.clz32(Number.parseInt(hex[0]!, 16)) + 28;
}
