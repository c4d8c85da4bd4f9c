import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FP_CONVERSIONS, FpOrder, fpCompare, fpConvert, fpRound, truncating, withRounding } from "./convert.ts";
import { FpFlag, Mxcsr } from "./mxcsr.ts";

const view = new DataView(new ArrayBuffer(8));
const f64 = (x: number): bigint => (view.setFloat64(0, x), view.getBigUint64(0));
const f32 = (x: number): bigint => (view.setFloat32(0, x), BigInt(view.getUint32(0)));
const fromF64 = (bits: bigint): number => (view.setBigUint64(0, bits), view.getFloat64(0));
const { IE, DE, OE, UE, PE } = FpFlag;
const RESET = Mxcsr.RESET;
const any64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const double = fc.oneof(
  fc.double({ noNaN: true }),
  fc.double({ noNaN: true, min: -1e10, max: 1e10 }),
  any64.map(fromF64).filter((x) => !Number.isNaN(x)),
);

test("kinds have the order that calls use", () => {
  assert.equal(FP_CONVERSIONS.length, 10);
  assert.equal(new Set(FP_CONVERSIONS).size, 10);
});

test("f64 → f32 is Math.fround", () => {
  fc.assert(
    fc.property(double, (x) => assert.equal(fpConvert("f64→f32", f64(x), RESET).bits, f32(x))),
    { numRuns: 3000 },
  );
});
test("f32 → f64 is exact", () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (x) => assert.equal(fpConvert("f32→f64", f32(x), RESET).bits, f64(x))),
    { numRuns: 2000 },
  );
});
test("i64 → f64 is the host's, and says if it was inexact", () => {
  fc.assert(
    fc.property(any64, fc.integer({ min: 0, max: 63 }), (n, shift) => {
      const i = BigInt.asIntN(64, n) >> BigInt(shift);
      const r = fpConvert("i64→f64", i, RESET);
      assert.equal(r.bits, f64(Number(i)));
      assert.equal(r.flags, BigInt(Number(i)) === i ? 0 : PE);
    }),
    { numRuns: 2000 },
  );
});
test("f64 → i32 truncates, or gives the indefinite integer", () => {
  fc.assert(
    fc.property(double, (x) => {
      const t = Math.trunc(x);
      const inside = t >= -(2 ** 31) && t < 2 ** 31;
      const r = fpConvert("f64→i32", f64(x), truncating(RESET));
      assert.equal(r.bits, inside ? BigInt(t >>> 0) : 0x80000000n);
      assert.equal(r.flags, inside ? (t === x ? 0 : PE) : IE);
    }),
    { numRuns: 3000 },
  );
});

const CASES: readonly [string, Parameters<typeof fpConvert>, bigint, number][] = [
  ["2.5 to even", ["f64→i32", f64(2.5), RESET], 2n, PE],
  ["−2.5 up", ["f64→i64", f64(-2.5), withRounding(RESET, 2)], BigInt.asUintN(64, -2n), PE],
  ["2⁶³ is out of range", ["f64→i64", f64(2 ** 63), RESET], 1n << 63n, IE],
  ["−2⁶³ is not", ["f64→i64", f64(-(2 ** 63)), RESET], 1n << 63n, 0],
  ["2147483647.5 rounds out of range", ["f64→i32", f64(2147483647.5), RESET], 0x80000000n, IE],
  ["and truncates into it", ["f64→i32", f64(2147483647.5), truncating(RESET)], 0x7fffffffn, PE],
  ["a denormal to an integer raises PE, not DE", ["f64→i32", 1n, RESET], 0n, PE],
  ["a denormal as zero is exact", ["f64→i32", 1n, RESET | Mxcsr.DAZ], 0n, 0],
  ["2²⁴ + 1 to even", ["i32→f32", 0x1000001n, RESET], f32(2 ** 24), PE],
  ["−1 of 32 bits, upper bits ignored", ["i32→f64", 0x1_ffffffffn, RESET], f64(-1), 0],
  ["binary32 overflow", ["f64→f32", f64(1e300), RESET], 0x7f800000n, OE | PE],
  ["binary32 underflow", ["f64→f32", f64(1e-300), RESET], 0n, UE | PE],
  ["a binary64 denormal", ["f64→f32", 1n, RESET], 0n, DE | UE | PE],
  ["a binary32 denormal is a normal binary64", ["f32→f64", 1n, RESET], f64(2 ** -149), DE],
  ["a signalling NaN keeps its payload, quiet", ["f32→f64", 0x7f800001n, RESET], 0x7ff8000020000000n, IE],
  ["a payload that does not fit is cut", ["f64→f32", 0x7ff8000020000001n, RESET], 0x7fc00001n, 0],
];
for (const [name, args, bits, flags] of CASES) test(name, () => assert.deepEqual(fpConvert(...args), { bits, flags }));

test("round to integral: mode from the control or from MXCSR, PE unless suppressed, the sign of zero kept", () => {
  assert.deepEqual(fpRound(8, f64(2.5), 0, RESET), { bits: f64(2), flags: PE });
  assert.deepEqual(fpRound(8, f64(2.5), 2, RESET), { bits: f64(3), flags: PE });
  assert.deepEqual(fpRound(8, f64(-2.5), 4, withRounding(RESET, 1)), { bits: f64(-3), flags: PE });
  assert.deepEqual(fpRound(8, f64(-0.25), 3 | 8, RESET), { bits: f64(-0), flags: 0 });
  assert.deepEqual(fpRound(4, f32(0.75), 0, RESET), { bits: f32(1), flags: PE });
  assert.deepEqual(fpRound(8, f64(2 ** 60), 0, RESET), { bits: f64(2 ** 60), flags: 0 });
  fc.assert(
    fc.property(double, (x) => {
      assert.equal(fpRound(8, f64(x), 1, RESET).bits, f64(Math.floor(x)));
      assert.equal(fpRound(8, f64(x), 2, RESET).bits, f64(Math.ceil(x)));
      assert.equal(fpRound(8, f64(x), 3, RESET).bits, f64(Math.trunc(x)));
    }),
  );
});

test("comparison: order, and IE for quiet NaNs only if signalling", () => {
  const quiet = 0x7ff8000000000000n;
  const signalling = 0x7ff0000000000001n;
  assert.deepEqual(fpCompare(8, f64(1), f64(2), true, RESET), { order: FpOrder.LESS, flags: 0 });
  assert.deepEqual(fpCompare(8, f64(-1), f64(-2), true, RESET), { order: FpOrder.GREATER, flags: 0 });
  assert.deepEqual(fpCompare(8, f64(-0), f64(0), true, RESET), { order: FpOrder.EQUAL, flags: 0 });
  assert.deepEqual(fpCompare(8, quiet, f64(2), false, RESET), { order: FpOrder.UNORDERED, flags: 0 });
  assert.deepEqual(fpCompare(8, quiet, 1n, true, RESET), { order: FpOrder.UNORDERED, flags: IE });
  assert.deepEqual(fpCompare(8, f64(2), signalling, false, RESET), { order: FpOrder.UNORDERED, flags: IE });
  assert.deepEqual(fpCompare(8, 1n, f64(2), false, RESET), { order: FpOrder.LESS, flags: DE });
  assert.deepEqual(fpCompare(8, 1n, 0n, false, RESET | Mxcsr.DAZ), { order: FpOrder.EQUAL, flags: 0 });
  fc.assert(
    fc.property(double, double, (x, y) =>
      assert.equal(fpCompare(8, f64(x), f64(y), false, RESET).order, x < y ? 0 : x === y ? 1 : 2),
    ),
  );
});
