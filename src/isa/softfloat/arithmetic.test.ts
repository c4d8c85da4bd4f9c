import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FpOp } from "../sem.ts";
import { fpScalar } from "./arithmetic.ts";
import { FpFlag, Mxcsr, reportedFlags } from "./mxcsr.ts";

const view = new DataView(new ArrayBuffer(8));
function bitsOf(width: 4 | 8, x: number): bigint {
  if (width === 8) view.setFloat64(0, x);
  else view.setFloat32(0, x);
  return width === 8 ? view.getBigUint64(0) : BigInt(view.getUint32(0));
}
function valueOf(width: 4 | 8, bits: bigint): number {
  if (width === 8) view.setBigUint64(0, bits);
  else view.setUint32(0, Number(bits));
  return width === 8 ? view.getFloat64(0) : view.getFloat32(0);
}
const HOST: Record<FpOp, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  sqrt: (a) => Math.sqrt(a),
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
};
const SPECIAL = {
  4: [
    0n,
    1n,
    0x7fffffn,
    0x800000n,
    0x800001n,
    0x3f800000n,
    0x3f7fffffn,
    0x7f7fffffn,
    0x7f800000n,
    0x4b800000n,
    0x33800000n,
  ],
  8: [
    0n,
    1n,
    0xfffffffffffffn,
    0x10000000000000n,
    0x3ff0000000000000n,
    0x3fefffffffffffffn,
    0x7fefffffffffffffn,
    0x7ff0000000000000n,
    0x4340000000000000n,
  ],
};
const pattern = (width: 4 | 8) =>
  fc.oneof(
    fc.bigInt({ min: 0n, max: (1n << BigInt(8 * width)) - 1n }),
    fc
      .tuple(fc.constantFrom(...SPECIAL[width]), fc.boolean())
      .map(([bits, negative]) => bits | (negative ? 1n << BigInt(8 * width - 1) : 0n)),
    fc.double({ noNaN: true, min: -1e6, max: 1e6 }).map((x) => bitsOf(width, x)),
  );

for (const width of [4, 8] as const) {
  for (const op of ["add", "sub", "mul", "div", "sqrt", "min", "max"] as const) {
    test(`${op} of ${8 * width}-bit values is the host's, rounded to nearest`, () => {
      fc.assert(
        fc.property(pattern(width), pattern(width), (a, b) => {
          const [x, y] = [valueOf(width, a), valueOf(width, b)];
          // Double rounding from binary64 to binary32 is innocuous for these operations (53 ≥ 2·24 + 2).
          const expected = width === 4 ? Math.fround(HOST[op](x, y)) : HOST[op](x, y);
          const got = fpScalar(op, width, a, b, Mxcsr.RESET);
          if (Number.isNaN(expected)) assert.ok(Number.isNaN(valueOf(width, got.bits)));
          else assert.equal(got.bits, bitsOf(width, expected));
          const invented = Number.isNaN(expected) && !Number.isNaN(x) && (op === "sqrt" || !Number.isNaN(y));
          if (invented) assert.equal(got.flags & FpFlag.IE, FpFlag.IE);
        }),
        { numRuns: 2000 },
      );
    });
  }
}

const ONE = 0x3ff0000000000000n;
const THREE = 0x4008000000000000n;
const MAX = 0x7fefffffffffffffn;
const INF = 0x7ff0000000000000n;
const NEG = 1n << 63n;
const QNAN = 0x7ff8000000000123n;
const SNAN = 0x7ff0000000000456n;
const DEFAULT_NAN = 0xfff8000000000000n;
const MIN_NORMAL = 0x10000000000000n;
const { IE, DE, ZE, OE, UE, PE } = FpFlag;
const rc = (mode: number): number => Mxcsr.RESET | (mode << 13);
const FTZ = Mxcsr.RESET | Mxcsr.FTZ;
const DAZ = Mxcsr.RESET | Mxcsr.DAZ;

const CASES: readonly [string, FpOp, bigint, bigint, number, bigint, number][] = [
  ["1/3 to nearest", "div", ONE, THREE, rc(0), 0x3fd5555555555555n, PE],
  ["1/3 up", "div", ONE, THREE, rc(2), 0x3fd5555555555556n, PE],
  ["−1/3 down", "div", ONE | NEG, THREE, rc(1), 0xbfd5555555555556n, PE],
  ["−1/3 to zero", "div", ONE | NEG, THREE, rc(3), 0xbfd5555555555555n, PE],
  ["overflow to infinity", "add", MAX, MAX, rc(0), INF, OE | PE],
  ["overflow towards zero", "add", MAX, MAX, rc(3), MAX, OE | PE],
  ["negative overflow up", "sub", MAX | NEG, MAX, rc(2), MAX | NEG, OE | PE],
  ["x − x", "sub", ONE, ONE, rc(0), 0n, 0],
  ["x − x rounding down", "sub", ONE, ONE, rc(1), NEG, 0],
  ["first NaN wins", "add", QNAN, SNAN, rc(0), QNAN, IE],
  ["signalling NaN becomes quiet", "mul", SNAN, QNAN, rc(0), SNAN | (1n << 51n), IE],
  ["quiet NaN raises nothing", "add", ONE, QNAN, rc(0), QNAN, 0],
  ["∞ − ∞", "sub", INF, INF, rc(0), DEFAULT_NAN, IE],
  ["0 · ∞", "mul", 0n, INF, rc(0), DEFAULT_NAN, IE],
  ["1 / 0", "div", ONE, NEG, rc(0), INF | NEG, ZE],
  ["denormal / 0 is ZE alone", "div", 1n, 0n, rc(0), INF, ZE],
  ["√−1", "sqrt", ONE | NEG, 0n, rc(0), DEFAULT_NAN, IE],
  ["√−0", "sqrt", NEG, 0n, rc(0), NEG, 0],
  ["exact denormal result", "div", MIN_NORMAL, 0x4000000000000000n, rc(0), MIN_NORMAL >> 1n, 0],
  ["exact denormal result, flushed", "div", MIN_NORMAL, 0x4000000000000000n, FTZ, 0n, UE | PE],
  ["inexact denormal result", "div", MIN_NORMAL, THREE, rc(0), 0x5555555555555n, UE | PE],
  ["denormal operand", "add", 1n, ONE, rc(0), ONE, DE | PE],
  ["denormal operand as zero", "add", 1n, ONE, DAZ, ONE, 0],
  ["min of zeros is the second", "min", 0n, NEG, rc(0), NEG, 0],
  ["max with a quiet NaN is the second, invalid", "max", QNAN, ONE, rc(0), ONE, IE],
  [
    "unmasked underflow though exact",
    "div",
    MIN_NORMAL,
    0x4000000000000000n,
    Mxcsr.RESET & ~(UE << 7),
    MIN_NORMAL >> 1n,
    UE,
  ],
];
for (const [name, op, a, b, mxcsr, bits, flags] of CASES) {
  test(name, () => assert.deepEqual(fpScalar(op, 8, a, b, mxcsr), { bits, flags }));
}

test("a result that rounds up to the smallest normal number is tiny by the precision it had", () => {
  // (1 − 2⁻²⁴) · 2⁻¹²⁶ in binary32: 24 ones, exact with an unbounded exponent, so it is below 2⁻¹²⁶ and underflows
  const r = fpScalar("mul", 4, 0x3f7fffffn, 0x00800000n, Mxcsr.RESET);
  assert.deepEqual(r, { bits: 0x00800000n, flags: UE | PE });
});

test("an unmasked denormal operand hides the rounding's flags, in another lane too", () => {
  const mxcsr = Mxcsr.RESET & ~(DE << 7);
  assert.equal(fpScalar("add", 8, 1n, ONE, mxcsr).flags, DE);
  assert.equal(reportedFlags(DE | PE | OE, mxcsr), DE);
  assert.equal(reportedFlags(DE | PE | OE, Mxcsr.RESET), DE | PE | OE);
});
