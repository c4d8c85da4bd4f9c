/* The x87 instructions that programs run most, for their usual case, without a call: moves of 80-bit values and registers, and sums, products and quotients of
 * normal numbers at full precision, rounded to nearest. Whatever else there is (empty registers, other numbers, other rounding, unmasked PE) goes the way of all
 * others, which is a call into isa/x87.
 * @source SDM vol. 1 §8.1 (registers), §4.8.4 (rounding); vol. 2 under each mnemonic */
import { Reg } from "../registers.ts";
import type { Sem } from "../sem.ts";

/** FCW, FSW, FTW and FOP in one: the eight bytes at FCW. */
export const Word = { PM: 0x20n, PE: 0x20n << 16n, C1: 0x200n << 16n, TOP: 0x3800n << 16n } as const;
const TOP_SHIFT = 27;
const TAG_SHIFT = 32;
/** PC and RC of FCW: 64-bit significands, to nearest. */
const PRECISION_AND_ROUNDING = 0xf00;
const FULL_TO_NEAREST = 0x300;

export const SIGN = 0x8000;
export const EXPONENT = 0x7fff;
export const BIAS = 16383;
export const INTEGER_BIT = 1n << 63n;

const bits64 = (n: bigint): bigint => BigInt.asUintN(64, n);

/** The register stack as an instruction finds it. */
export class Stack<V> {
  readonly #s: Sem<V>;
  readonly word: V;
  readonly top: V;

  constructor(s: Sem<V>) {
    this.#s = s;
    this.word = s.field(Reg.FCW, 8);
    this.top = s.and(s.shrU(this.word, s.const(TOP_SHIFT)), s.const(7));
  }
  /** Physical number of ST(i), i any value. */
  register(i: V): V {
    const s = this.#s;
    return s.and(s.add(this.top, i), s.const(7));
  }
  #tagBits(n: V): V {
    const s = this.#s;
    return s.shl(s.const(3), s.add(s.shl(n, s.const(1)), s.const(TAG_SHIFT)));
  }
  isEmpty(n: V): V {
    const bits = this.#tagBits(n);
    return this.#s.eq(this.#s.and(this.word, bits), bits);
  }
  /** Writes the words back with C1 clear (or the status bits given), after what has been pushed, popped and filled. */
  finish({ fill, pop, status }: { fill?: V; pop?: boolean; status?: V } = {}): void {
    const s = this.#s;
    let word = s.and(this.word, s.const(bits64(~Word.C1)));
    if (status !== undefined) word = s.or(word, status);
    if (fill !== undefined) word = s.and(word, s.not(this.#tagBits(fill)));
    s.setField(Reg.FCW, 8, pop ? this.#popped(word) : word);
  }
  /** A pop that leaves C1 alone. */
  popOnly(): void {
    this.#s.setField(Reg.FCW, 8, this.#popped(this.word));
  }
  #popped(word: V): V {
    return this.#withTop(this.#s.or(word, this.#tagBits(this.top)), this.register(this.#s.const(1)));
  }
  /** A value on top: the register was found empty. */
  push(n: V): void {
    const s = this.#s;
    const word = s.and(s.and(this.word, s.const(bits64(~Word.C1))), s.not(this.#tagBits(n)));
    s.setField(Reg.FCW, 8, this.#withTop(word, n));
  }
  #withTop(word: V, top: V): V {
    const s = this.#s;
    return s.or(s.and(word, s.const(bits64(~Word.TOP))), s.shl(top, s.const(TOP_SHIFT)));
  }
}

/** FLD of a value that is at hand as it shall be. @param slow for a full stack, or if `ok` is 0 */
export function pushValue<V>(s: Sem<V>, { low, high, ok }: { low: V; high: V; ok: V }, slow: () => void): void {
  const stack = new Stack(s);
  const n = stack.register(s.const(7));
  s.when(
    s.and(ok, stack.isEmpty(n)),
    () => {
      s.x87SetWord(n, 0, low);
      s.x87SetWord(n, 8, high);
      stack.push(n);
    },
    slow,
  );
}

/** FLD ST(i). */
export function pushRegister<V>(s: Sem<V>, i: V, slow: () => void): void {
  const stack = new Stack(s);
  const n = stack.register(s.const(7));
  const from = stack.register(i);
  s.when(
    s.and(stack.isEmpty(n), s.isZero(stack.isEmpty(from))),
    () => {
      s.x87SetWord(n, 0, s.x87Word(from, 0));
      s.x87SetWord(n, 8, s.x87Word(from, 8));
      stack.push(n);
    },
    slow,
  );
}

/** FSTP m80. */
export function popToMemory<V>(s: Sem<V>, address: V, slow: () => void): void {
  const stack = new Stack(s);
  s.when(stack.isEmpty(stack.top), slow, () => {
    // The second store must not fault when the first is done.
    const crosses = s.ltU(s.const(4096 - 10), s.and(address, s.const(4095)));
    s.when(crosses, () => s.probeWrite(address, 10));
    s.store(address, 8, s.x87Word(stack.top, 0));
    s.store(s.add(address, s.const(8)), 2, s.x87Word(stack.top, 8));
    stack.finish({ pop: true });
  });
}

/** FST ST(i), FSTP ST(i). */
export function copyTop<V>(s: Sem<V>, i: V, pop: boolean, slow: () => void): void {
  const stack = new Stack(s);
  const to = stack.register(i);
  s.when(stack.isEmpty(stack.top), slow, () => {
    s.x87SetWord(to, 0, s.x87Word(stack.top, 0));
    s.x87SetWord(to, 8, s.x87Word(stack.top, 8));
    stack.finish({ fill: to, pop });
  });
}

/** FXCH. */
export function exchangeTop<V>(s: Sem<V>, i: V, slow: () => void): void {
  const stack = new Stack(s);
  const other = stack.register(i);
  s.when(s.or(stack.isEmpty(stack.top), stack.isEmpty(other)), slow, () => {
    for (const half of [0, 8] as const) {
      const a = s.x87Word(stack.top, half);
      const b = s.x87Word(other, half);
      s.x87SetWord(stack.top, half, b);
      s.x87SetWord(other, half, a);
    }
    stack.finish();
  });
}

/** FCHS, FABS. */
export function changeSign<V>(s: Sem<V>, change: "negate" | "clear", slow: () => void): void {
  const stack = new Stack(s);
  s.when(stack.isEmpty(stack.top), slow, () => {
    const high = s.x87Word(stack.top, 8);
    s.x87SetWord(stack.top, 8, change === "negate" ? s.xor(high, s.const(SIGN)) : s.and(high, s.const(EXPONENT)));
    stack.finish();
  });
}

/** A result before it is rounded: significand with its integer bit set, and 64 bits of what is below; `ok` 0 if this is no usual case. */
interface Unrounded<V> {
  sign: V;
  exponent: V;
  high: V;
  low: V;
  ok: V;
}
interface Operand<V> {
  significand: V;
  sign: V;
  exponent: V;
}
/** An 80-bit number: significand, then sign and exponent; `ok` 0 if it is no usual one. */
export interface Extended<V> {
  low: V;
  high: V;
  ok: V;
}
export type Operation = "add" | "subtract" | "multiply" | "divide";
export interface Form {
  /** ST(0) is the second operand. */
  readonly reversed: boolean;
  readonly toSti: boolean;
  readonly pop: boolean;
}

const operandOf = <V>(s: Sem<V>, low: V, high: V): Operand<V> => ({
  significand: low,
  sign: s.and(high, s.const(SIGN)),
  exponent: s.and(high, s.const(EXPONENT)),
});

/** FADD, FSUB, FMUL, FDIV of ST(0) and ST(i). */
export function combineRegisters<V>(s: Sem<V>, operation: Operation, i: V, form: Form, slow: () => void): void {
  const stack = new Stack(s);
  const n = stack.register(i);
  const other = { low: s.x87Word(n, 0), high: s.x87Word(n, 8), ok: s.isZero(stack.isEmpty(n)) };
  combine(s, operation, stack, other, { ...form, to: form.toSti ? n : stack.top }, slow);
}
/** The same of ST(0) and a number from memory. */
export function combineMemory<V>(
  s: Sem<V>,
  operation: Operation,
  other: Extended<V>,
  form: Form,
  slow: () => void,
): void {
  const stack = new Stack(s);
  combine(s, operation, stack, other, { ...form, to: stack.top }, slow);
}

function combine<V>(
  s: Sem<V>,
  operation: Operation,
  stack: Stack<V>,
  other: Extended<V>,
  { reversed, pop, to }: Form & { to: V },
  slow: () => void,
): void {
  const st0 = operandOf(s, s.x87Word(stack.top, 0), s.x87Word(stack.top, 8));
  const second = operandOf(s, other.low, other.high);
  const [a, b] = reversed ? [second, st0] : [st0, second];
  if (operation === "subtract") b.sign = s.xor(b.sign, s.const(SIGN));
  const control = s.eq(s.and(stack.word, s.const(PRECISION_AND_ROUNDING)), s.const(FULL_TO_NEAREST));
  const usual = s.and(control, s.ne(s.and(stack.word, s.const(Word.PM)), s.const(0)));
  const filled = s.and(other.ok, s.isZero(stack.isEmpty(stack.top)));
  s.when(
    s.and(s.and(usual, filled), s.and(isNormal(s, a), isNormal(s, b))),
    () => {
      const exact =
        operation === "multiply" ? product(s, a, b) : operation === "divide" ? quotient(s, a, b) : sum(s, a, b);
      const { significand, exponent, status } = roundToNearest(s, exact);
      // What may overflow or be tiny is left to the others.
      s.when(
        s.and(exact.ok, s.ltU(s.sub(exponent, s.const(2)), s.const(0x7ffa))),
        () => {
          s.x87SetWord(to, 0, significand);
          s.x87SetWord(to, 8, s.or(exact.sign, exponent));
          stack.finish({ fill: to, pop, status });
        },
        slow,
      );
    },
    slow,
  );
}

const isNormal = <V>(s: Sem<V>, x: Operand<V>): V =>
  s.and(s.shrU(x.significand, s.const(63)), s.ltU(s.sub(x.exponent, s.const(1)), s.const(EXPONENT - 1)));

function product<V>(s: Sem<V>, a: Operand<V>, b: Operand<V>): Unrounded<V> {
  const high = s.mulHighU(a.significand, b.significand);
  const low = s.mul(a.significand, b.significand);
  const carry = s.shrU(high, s.const(63));
  return {
    sign: s.xor(a.sign, b.sign),
    exponent: s.add(s.sub(s.add(a.exponent, b.exponent), s.const(BIAS)), carry),
    high: s.select(carry, high, s.or(s.shl(high, s.const(1)), s.shrU(low, s.const(63)))),
    low: s.select(carry, low, s.shl(low, s.const(1))),
    ok: s.const(1),
  };
}

/** One digit of 32 bits of the quotient. @param rest less than the divisor  @param next the dividend's next digit */
function digit<V>(s: Sem<V>, rest: V, next: V, divisor: V): { digit: V; rest: V } {
  const base = s.const(1n << 32n);
  const upper = s.shrU(divisor, s.const(32));
  const lower = s.zext(divisor, 4);
  let q = s.divU(rest, upper);
  let r = s.sub(rest, s.mul(q, upper));
  const tooLarge = (): V => s.or(s.isZero(s.ltU(q, base)), s.ltU(s.or(s.shl(r, s.const(32)), next), s.mul(q, lower)));
  let correct = tooLarge();
  for (let i = 0; i < 2; i++) {
    if (i > 0) correct = s.and(s.and(correct, s.ltU(r, base)), tooLarge());
    q = s.sub(q, correct);
    r = s.select(correct, s.add(r, upper), r);
  }
  return { digit: q, rest: s.sub(s.add(s.shl(rest, s.const(32)), next), s.mul(q, divisor)) };
}

/** By long division with two digits (Knuth, The Art of Computer Programming, vol. 2, 4.3.1, algorithm D). */
function quotient<V>(s: Sem<V>, a: Operand<V>, b: Operand<V>): Unrounded<V> {
  const fits = s.ltU(a.significand, b.significand);
  const upper = s.select(fits, a.significand, s.shrU(a.significand, s.const(1)));
  const lower = s.select(fits, s.const(0), s.shl(a.significand, s.const(63)));
  const first = digit(s, upper, s.shrU(lower, s.const(32)), b.significand);
  const second = digit(s, first.rest, s.const(0), b.significand);
  const left = s.sub(b.significand, second.rest);
  const half = s.const(INTEGER_BIT);
  // Only its relation to a half matters of what is below.
  const below = s.select(
    s.ltU(second.rest, left),
    s.const(1),
    s.select(s.eq(second.rest, left), half, s.not(s.const(0))),
  );
  return {
    sign: s.xor(a.sign, b.sign),
    exponent: s.sub(s.add(s.sub(a.exponent, b.exponent), s.const(BIAS)), fits),
    high: s.or(s.shl(first.digit, s.const(32)), second.digit),
    low: s.select(second.rest, below, s.const(0)),
    ok: s.const(1),
  };
}

/** The operand of smaller magnitude is shifted down; by more than 63 places is not usual. Cancellation to less than one bit above `low` neither. */
function sum<V>(s: Sem<V>, a: Operand<V>, b: Operand<V>): Unrounded<V> {
  const less = s.or(
    s.ltU(a.exponent, b.exponent),
    s.and(s.eq(a.exponent, b.exponent), s.ltU(a.significand, b.significand)),
  );
  const big = s.select(less, b.significand, a.significand);
  const small = s.select(less, a.significand, b.significand);
  const exponent = s.select(less, b.exponent, a.exponent);
  const distance = s.sub(exponent, s.select(less, a.exponent, b.exponent));
  const shifted = s.shrU(small, distance);
  const below = s.select(distance, s.shl(small, s.sub(s.const(64), distance)), s.const(0));
  const same = s.eq(a.sign, b.sign);

  const added = s.add(big, shifted);
  const carry = s.ltU(added, big);
  const halved = s.or(s.shrU(added, s.const(1)), s.const(INTEGER_BIT));
  const halvedBelow = s.or(s.or(s.shrU(below, s.const(1)), s.shl(added, s.const(63))), s.and(below, s.const(1)));

  const difference = s.sub(s.sub(big, shifted), s.ne(below, s.const(0)));
  const differenceBelow = s.sub(s.const(0), below);
  const zeros = s.clz(difference);
  const fromBelow = s.select(zeros, s.shrU(differenceBelow, s.sub(s.const(64), zeros)), s.const(0));

  return {
    sign: s.select(less, b.sign, a.sign),
    exponent: s.select(same, s.add(exponent, carry), s.sub(exponent, zeros)),
    high: s.select(same, s.select(carry, halved, added), s.or(s.shl(difference, zeros), fromBelow)),
    low: s.select(same, s.select(carry, halvedBelow, below), s.shl(differenceBelow, zeros)),
    ok: s.and(s.ltU(distance, s.const(64)), s.or(same, s.ne(difference, s.const(0)))),
  };
}

function roundToNearest<V>(
  s: Sem<V>,
  { high, low, exponent }: Unrounded<V>,
): { significand: V; exponent: V; status: V } {
  const half = s.const(INTEGER_BIT);
  const up = s.or(s.ltU(half, low), s.and(s.eq(low, half), s.and(high, s.const(1))));
  const rounded = s.add(high, up);
  const overflows = s.isZero(rounded);
  const inexact = s.ne(low, s.const(0));
  return {
    significand: s.select(overflows, half, rounded),
    exponent: s.add(exponent, overflows),
    status: s.or(s.select(inexact, s.const(Word.PE), s.const(0)), s.select(up, s.const(Word.C1), s.const(0))),
  };
}
