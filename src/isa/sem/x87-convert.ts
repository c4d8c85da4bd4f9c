/* x87 loads and stores of other formats and comparisons to EFLAGS, for their usual case, without a call (see x87-fast.ts): normal numbers and zeros,
 * results in range, rounding to nearest (or, of integers, to zero), PE masked.
 * @source SDM vol. 1 §4.2, §4.8.4; vol. 2 FLD, FILD, FST, FIST, FISTTP, FCOMI */
import type { Sem, Size } from "../sem.ts";
import { BIAS, EXPONENT, type Extended, INTEGER_BIT, SIGN, Stack, Word } from "./x87-fast.ts";

export interface FloatFormat {
  readonly width: 4 | 8;
  /** Bits of the fraction, and of the exponent. */
  readonly fraction: number;
  readonly exponent: number;
  readonly bias: number;
}
export const FLOAT32: FloatFormat = { width: 4, fraction: 23, exponent: 8, bias: 127 };
export const FLOAT64: FloatFormat = { width: 8, fraction: 52, exponent: 11, bias: 1023 };

export function fromFloat<V>(s: Sem<V>, bits: V, format: FloatFormat): Extended<V> {
  const { fraction, width, bias } = format;
  const largest = (1 << format.exponent) - 1;
  const exponent = s.and(s.shrU(bits, s.const(fraction)), s.const(largest));
  const sign = s.shl(s.and(s.shrU(bits, s.const(8 * width - 1)), s.const(1)), s.const(15));
  const isZero = s.isZero(s.shl(bits, s.const(65 - 8 * width)));
  const low = s.or(s.shl(bits, s.const(63 - fraction)), s.const(INTEGER_BIT));
  return {
    low: s.select(isZero, s.const(0), low),
    high: s.or(sign, s.select(isZero, s.const(0), s.add(exponent, s.const(BIAS - bias)))),
    ok: s.or(isZero, s.ltU(s.sub(exponent, s.const(1)), s.const(largest - 1))),
  };
}

/** @param value sign-extended */
export function fromInteger<V>(s: Sem<V>, value: V): Extended<V> {
  const negative = s.shrU(value, s.const(63));
  const magnitude = s.select(negative, s.sub(s.const(0), value), value);
  const zeros = s.clz(magnitude);
  const high = s.or(s.shl(negative, s.const(15)), s.sub(s.const(BIAS + 63), zeros));
  const isZero = s.isZero(value);
  return { low: s.shl(magnitude, zeros), high: s.select(isZero, s.const(0), high), ok: s.const(1) };
}

const RC = 0xc00;
const TO_ZERO = 0xc00;

/** FST, FSTP to a float, FIST, FISTP, FISTTP. `store` may fault: it comes before the change. */
export function storeTop<V>(
  s: Sem<V>,
  convert: (value: { significand: V; sign: V; exponent: V; control: V }) => { result: V; inexact: V; up: V; ok: V },
  { pop, store, slow }: { pop: boolean; store: (result: V) => void; slow: () => void },
): void {
  const stack = new Stack(s);
  const high = s.x87Word(stack.top, 8);
  const { result, inexact, up, ok } = convert({
    significand: s.x87Word(stack.top, 0),
    sign: s.shrU(s.and(high, s.const(SIGN)), s.const(15)),
    exponent: s.and(high, s.const(EXPONENT)),
    control: s.and(stack.word, s.const(RC)),
  });
  const masked = s.ne(s.and(stack.word, s.const(Word.PM)), s.const(0));
  s.when(
    s.and(s.and(ok, masked), s.isZero(stack.isEmpty(stack.top))),
    () => {
      store(result);
      const status = s.or(s.select(inexact, s.const(Word.PE), s.const(0)), s.select(up, s.const(Word.C1), s.const(0)));
      stack.finish({ pop, status });
    },
    slow,
  );
}

/** Is what lies below the lowest bit of `kept` more than half of it, or half and `kept` odd? @param below its bits, at the top of 64 */
function roundsUp<V>(s: Sem<V>, kept: V, below: V): V {
  const half = s.const(INTEGER_BIT);
  return s.or(s.ltU(half, below), s.and(s.eq(below, half), s.and(kept, s.const(1))));
}

export const toFloat =
  <V>(s: Sem<V>, format: FloatFormat): Parameters<typeof storeTop<V>>[1] =>
  ({ significand, sign, exponent, control }) => {
    const { fraction, width, bias } = format;
    const dropped = 63 - fraction;
    const kept = s.shrU(significand, s.const(dropped));
    const below = s.shl(significand, s.const(64 - dropped));
    const up = roundsUp(s, kept, below);
    const biased = s.sub(exponent, s.const(BIAS - bias));
    // The significand's integer bit, and a carry out of it, count into the exponent.
    const magnitude = s.add(s.add(s.shl(s.sub(biased, s.const(1)), s.const(fraction)), kept), up);
    const isZero = s.isZero(s.or(significand, exponent));
    const largest = (1 << format.exponent) - 1;
    const normal = s.and(s.shrU(significand, s.const(63)), s.ltU(s.sub(biased, s.const(2)), s.const(largest - 4)));
    return {
      result: s.or(s.shl(sign, s.const(8 * width - 1)), s.select(isZero, s.const(0), magnitude)),
      inexact: s.ne(below, s.const(0)),
      up,
      ok: s.and(s.isZero(control), s.or(isZero, normal)),
    };
  };

export const toInteger =
  <V>(s: Sem<V>, size: Size, truncates: boolean): Parameters<typeof storeTop<V>>[1] =>
  ({ significand, sign, exponent, control }) => {
    // 1 ≤ |value| < 2^62: places of the significand below the point are 63 − e
    const e = s.sub(exponent, s.const(BIAS));
    const kept = s.shrU(significand, s.sub(s.const(63), e));
    const below = s.shl(significand, s.add(e, s.const(1)));
    const toZero = truncates ? s.const(1) : s.eq(control, s.const(TO_ZERO));
    const up = s.and(s.isZero(toZero), roundsUp(s, kept, below));
    const magnitude = s.add(kept, up);
    const result = s.select(sign, s.sub(s.const(0), magnitude), magnitude);
    const inRange = s.and(s.ltU(e, s.const(62)), s.eq(s.sext(result, size), result));
    const isZero = s.isZero(s.or(significand, exponent));
    const usualMode = s.or(toZero, s.isZero(control));
    return {
      result: s.select(isZero, s.const(0), result),
      inexact: s.and(s.isZero(isZero), s.ne(below, s.const(0))),
      up: s.and(s.isZero(isZero), up),
      ok: s.and(usualMode, s.or(isZero, s.and(inRange, s.shrU(significand, s.const(63))))),
    };
  };

const FLAGS = { EQUAL: 0x40, LESS: 0x01 } as const;

/** FCOMI, FCOMIP, FUCOMI, FUCOMIP of normal numbers and zeros. */
export function compareToFlags<V>(s: Sem<V>, i: V, pop: boolean, slow: () => void): void {
  const stack = new Stack(s);
  const other = stack.register(i);
  const [a, b] = [stack.top, other].map((n) => {
    const high = s.x87Word(n, 8);
    const low = s.x87Word(n, 0);
    const exponent = s.and(high, s.const(EXPONENT));
    const isZero = s.isZero(s.or(low, exponent));
    const normal = s.and(s.shrU(low, s.const(63)), s.ltU(s.sub(exponent, s.const(1)), s.const(EXPONENT - 1)));
    return { low, exponent, isZero, sign: s.and(high, s.const(SIGN)), usual: s.or(isZero, normal) };
  }) as [Compared<V>, Compared<V>];
  const filled = s.isZero(s.or(stack.isEmpty(stack.top), stack.isEmpty(other)));
  s.when(
    s.and(s.and(a.usual, b.usual), filled),
    () => {
      const sameExponent = s.eq(a.exponent, b.exponent);
      const sameMagnitude = s.and(sameExponent, s.eq(a.low, b.low));
      const smaller = s.or(s.ltU(a.exponent, b.exponent), s.and(sameExponent, s.ltU(a.low, b.low)));
      const larger = s.isZero(s.or(smaller, sameMagnitude));
      const sameSign = s.eq(a.sign, b.sign);
      const equal = s.or(s.and(sameSign, sameMagnitude), s.and(a.isZero, b.isZero));
      const less = s.select(
        sameSign,
        s.select(a.sign, larger, smaller),
        s.and(s.ne(a.sign, s.const(0)), s.isZero(equal)),
      );
      s.writeFlags(
        s.or(s.select(equal, s.const(FLAGS.EQUAL), s.const(0)), s.select(less, s.const(FLAGS.LESS), s.const(0))),
      );
      if (pop) stack.popOnly();
    },
    slow,
  );
}
interface Compared<V> {
  low: V;
  exponent: V;
  isZero: V;
  sign: V;
  usual: V;
}
