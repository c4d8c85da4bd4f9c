/* softfloat against the processor: values drawn around what rounds, overflows, underflows and is special, in all rounding modes, with DAZ, FTZ and
 * unmasked exceptions; result, MXCSR and #XM are compared. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  fpCompare,
  fpConvert,
  type FpResult,
  fpRound,
  fpScalar,
  Mxcsr,
  reportedFlags,
  truncating,
  unmasked,
} from "../../src/isa/softfloat/index.ts";
import { Reg } from "../../src/isa/registers.ts";
import { baseState } from "../instructions/base-state.ts";
import type { InstructionCase, Outcome } from "../instructions/case.ts";
import { Random } from "../instructions/random.ts";
import { NativeRunner, nativeUnavailable } from "./native-runner.ts";

const CASES_EACH = 3000;
const XM = 19;
const SHAPES = { 4: { fraction: 23, exponent: 8 }, 8: { fraction: 52, exponent: 11 } } as const;
type Width = 4 | 8;

const ones = (bits: number): bigint => (1n << BigInt(bits)) - 1n;

function exponentField(random: Random, fraction: number, most: number): number {
  const bias = most >> 1;
  switch (random.below(7)) {
    case 0:
      return random.pick([0, 0, most, most, 1, 2, most - 1]);
    case 1:
      return random.below(most + 1);
    case 2:
      return random.below(fraction + 4); // sums and quotients that become tiny
    case 3:
      return most - random.below(4);
    case 4:
      return bias + random.pick([-1, 0, 1, 30, 31, 32, 62, 63, 64, 127, -126, -127]);
    default:
      return bias - fraction - 3 + random.below(2 * fraction + 6);
  }
}
function fractionField(random: Random, bits: number): bigint {
  const some = BigInt(random.below(bits));
  switch (random.below(6)) {
    case 0:
      return 0n;
    case 1:
      return ones(bits);
    case 2:
      return 1n << some;
    case 3:
      return ones(bits) ^ (1n << some);
    case 4:
      return random.u64() & ones(bits) & ~ones(Number(some)); // short: exact results and ties
    default:
      return random.u64() & ones(bits);
  }
}
function float(random: Random, width: Width): bigint {
  const { fraction, exponent } = SHAPES[width];
  const most = 2 ** exponent - 1;
  const field = Math.min(most, Math.max(0, exponentField(random, fraction, most)));
  return (
    (BigInt(random.below(2)) << BigInt(8 * width - 1)) |
    (BigInt(field) << BigInt(fraction)) |
    fractionField(random, fraction)
  );
}
/** Near the first: equal, of other sign, or one bit away. */
function second(random: Random, width: Width, a: bigint): bigint {
  const kind = random.below(8);
  return kind > 2
    ? float(random, width)
    : kind === 0
      ? a
      : a ^ (1n << BigInt(kind === 1 ? 8 * width - 1 : random.below(8 * width)));
}
const mxcsr = (random: Random): number =>
  (random.below(4) << Mxcsr.RC_SHIFT) |
  (random.oneIn(3) ? Mxcsr.FTZ : 0) |
  (random.oneIn(3) ? Mxcsr.DAZ : 0) |
  (random.oneIn(3) ? random.below(64) << Mxcsr.MASK_SHIFT : 0x1f80);

interface Drawn {
  bytes: number[];
  a: bigint;
  b: bigint;
  rax: bigint;
  mxcsr: number;
  expected: FpResult;
  /** Where the result goes, and its bytes. */
  result: { at: number; bytes: 4 | 8 };
}
type Draw = (random: Random) => Drawn;

const XMM0 = Reg.XMM;
const prefixOf = (width: Width): number => (width === 8 ? 0xf2 : 0xf3);
const widthOf = (random: Random): Width => random.pick([4, 8] as const);

const ARITHMETIC = { add: 0x58, mul: 0x59, sub: 0x5c, min: 0x5d, div: 0x5e, max: 0x5f, sqrt: 0x51 } as const;
const arithmetic =
  (op: keyof typeof ARITHMETIC): Draw =>
  (random) => {
    const width = widthOf(random);
    const a = float(random, width);
    const b = second(random, width, a);
    const m = mxcsr(random);
    const expected = fpScalar(op, width, op === "sqrt" ? b : a, b, m);
    return {
      bytes: [prefixOf(width), 0x0f, ARITHMETIC[op], 0xc1],
      a,
      b,
      rax: 0n,
      mxcsr: m,
      expected,
      result: { at: XMM0, bytes: width },
    };
  };
const toInteger: Draw = (random) => {
  const width = widthOf(random);
  const b = float(random, width);
  const wide = random.below(2) === 1;
  const truncate = random.below(2) === 1;
  const m = mxcsr(random);
  const expected = fpConvert(`f${width === 4 ? 32 : 64}→i${wide ? 64 : 32}`, b, truncate ? truncating(m) : m);
  const bytes = [prefixOf(width), ...(wide ? [0x48] : []), 0x0f, truncate ? 0x2c : 0x2d, 0xc1];
  return { bytes, a: 0n, b, rax: 0n, mxcsr: m, expected, result: { at: Reg.GPR, bytes: 8 } };
};
const fromInteger: Draw = (random) => {
  const width = widthOf(random);
  const wide = random.below(2) === 1;
  const rax = BigInt.asUintN(64, BigInt.asIntN(random.below(64) + 1, random.u64()));
  const m = mxcsr(random);
  const expected = fpConvert(`i${wide ? 64 : 32}→f${width === 4 ? 32 : 64}`, rax, m);
  const bytes = [prefixOf(width), ...(wide ? [0x48] : []), 0x0f, 0x2a, 0xc0];
  return { bytes, a: 0n, b: 0n, rax, mxcsr: m, expected, result: { at: XMM0, bytes: width } };
};
const toFloat: Draw = (random) => {
  const width = widthOf(random);
  const b = float(random, width);
  const m = mxcsr(random);
  const expected = fpConvert(width === 4 ? "f32→f64" : "f64→f32", b, m);
  return {
    bytes: [prefixOf(width), 0x0f, 0x5a, 0xc1],
    a: 0n,
    b,
    rax: 0n,
    mxcsr: m,
    expected,
    result: { at: XMM0, bytes: width === 4 ? 8 : 4 },
  };
};
const roundToIntegral: Draw = (random) => {
  const width = widthOf(random);
  const b = float(random, width);
  const control = random.below(16);
  const m = mxcsr(random);
  const bytes = [0x66, 0x0f, 0x3a, width === 4 ? 0x0a : 0x0b, 0xc1, control];
  return {
    bytes,
    a: 0n,
    b,
    rax: 0n,
    mxcsr: m,
    expected: fpRound(width, b, control, m),
    result: { at: XMM0, bytes: width },
  };
};
/** CMPxx by predicate: whether it holds for less, equal, greater, unordered; whether it signals. */
const PREDICATES = [
  [[0, 1, 0, 0], false],
  [[1, 0, 0, 0], true],
  [[1, 1, 0, 0], true],
  [[0, 0, 0, 1], false],
  [[1, 0, 1, 1], false],
  [[0, 1, 1, 1], true],
  [[0, 0, 1, 1], true],
  [[1, 1, 1, 0], false],
] as const;
const compare: Draw = (random) => {
  const width = widthOf(random);
  const a = float(random, width);
  const b = second(random, width, a);
  const predicate = random.below(8);
  const [holds, signals] = PREDICATES[predicate];
  const m = mxcsr(random);
  const { order, flags } = fpCompare(width, a, b, signals, m);
  const expected = { bits: holds[order] ? ones(8 * width) : 0n, flags };
  return {
    bytes: [prefixOf(width), 0x0f, 0xc2, 0xc1, predicate],
    a,
    b,
    rax: 0n,
    mxcsr: m,
    expected,
    result: { at: XMM0, bytes: width },
  };
};

function caseOf(drawn: Drawn): InstructionCase {
  const before = baseState(1);
  const view = new DataView(before.buffer);
  view.setBigUint64(XMM0, drawn.a, true);
  view.setBigUint64(XMM0 + 16, drawn.b, true);
  view.setBigUint64(Reg.GPR, drawn.rax, true);
  view.setUint32(Reg.MXCSR, drawn.mxcsr, true);
  return { bytes: Uint8Array.from(drawn.bytes), before, memory: [] };
}

function check(drawn: Drawn, outcome: Outcome): void {
  const view = new DataView(outcome.state.buffer, outcome.state.byteOffset);
  const reported = reportedFlags(drawn.expected.flags, drawn.mxcsr);
  const fault = unmasked(reported, drawn.mxcsr) ? XM : undefined;
  const what = `${Buffer.from(drawn.bytes).toString("hex")} of ${drawn.a.toString(16)}, ${drawn.b.toString(16)}, ${drawn.rax.toString(16)}; MXCSR ${drawn.mxcsr.toString(16)}`;
  assert.equal(fault, outcome.fault?.vector, `fault: ${what}`);
  assert.equal((drawn.mxcsr | reported).toString(16), view.getUint32(Reg.MXCSR, true).toString(16), `MXCSR: ${what}`);
  if (fault !== undefined) return;
  const got = BigInt.asUintN(8 * drawn.result.bytes, view.getBigUint64(drawn.result.at, true));
  assert.equal(drawn.expected.bits.toString(16), got.toString(16), `result: ${what}`);
}

const runner = new NativeRunner();
after(() => runner.close());
const draws: Record<string, Draw> = { toInteger, fromInteger, toFloat, roundToIntegral, compare };
for (const op of Object.keys(ARITHMETIC) as (keyof typeof ARITHMETIC)[]) draws[op] = arithmetic(op);

for (const [index, [name, draw]] of Object.entries(draws).entries()) {
  test(`${name} is what the processor does`, { skip: nativeUnavailable() ?? false }, async () => {
    const random = new Random(0x5f + index);
    const drawn = Array.from({ length: CASES_EACH }, () => draw(random));
    const outcomes = await runner.run(drawn.map(caseOf));
    outcomes.forEach((outcome, i) => {
      assert.ok(outcome, "the case killed the process that ran it");
      check(drawn[i], outcome);
    });
  });
}
