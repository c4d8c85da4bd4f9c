/* The v128 operations of vector.ts, lane by lane over typed arrays: the oracle's, so written for the reader rather than for speed.
 * A v128 is an unsigned 128-bit bigint. @source WebAssembly core specification §4.3 (SIMD), whose names and meaning these are
 */
import type { VectorOp } from "../../isa/vector.ts";

const HALF = (1n << 64n) - 1n;

/** One v128 seen as lanes of every shape. */
class Lanes {
  readonly u64 = new BigUint64Array(2);
  readonly s64 = new BigInt64Array(this.u64.buffer);
  readonly u8 = new Uint8Array(this.u64.buffer);
  readonly s8 = new Int8Array(this.u64.buffer);
  readonly u16 = new Uint16Array(this.u64.buffer);
  readonly s16 = new Int16Array(this.u64.buffer);
  readonly u32 = new Uint32Array(this.u64.buffer);
  readonly s32 = new Int32Array(this.u64.buffer);
  readonly f32 = new Float32Array(this.u64.buffer);
  readonly f64 = new Float64Array(this.u64.buffer);

  set(v: bigint): this {
    this.u64[0] = v & HALF;
    this.u64[1] = v >> 64n;
    return this;
  }
  get value(): bigint {
    return this.u64[0]! | (this.u64[1]! << 64n);
  }
}

const A = new Lanes();
const B = new Lanes();
const R = new Lanes();

type IntegerView = "u8" | "s8" | "u16" | "s16" | "u32" | "s32";
type View = IntegerView | "f32" | "f64";
type Implementation = (...args: bigint[]) => bigint;

/** r[i] = f(a[i], b[i]) over integer or float lanes. */
function lanewise(view: View, f: (a: number, b: number) => number, out: View = view): Implementation {
  return (a, b = 0n) => {
    const x = A.set(a)[view];
    const y = B.set(b)[view];
    const r = R.set(0n)[out];
    for (let i = 0; i < r.length; i++) r[i] = f(x[i]!, y[i]!);
    return R.value;
  };
}
function lanewise64(view: "u64" | "s64", f: (a: bigint, b: bigint) => bigint): Implementation {
  return (a, b = 0n) => {
    const x = A.set(a)[view];
    const y = B.set(b)[view];
    for (let i = 0; i < 2; i++) R[view][i] = f(x[i]!, y[i]!);
    return R.value;
  };
}
/** r[i] = f(lane i + offset of a, and of b): half of the lanes become lanes twice as wide. */
function widen(from: IntegerView, high: boolean, f: (a: bigint, b: bigint) => bigint): Implementation {
  return (a, b = 0n) => {
    const x = A.set(a)[from];
    const y = B.set(b)[from];
    const n = x.length / 2;
    const lanes = Array.from({ length: n }, (_, i) =>
      f(BigInt(x[i + (high ? n : 0)]!), BigInt(y[i + (high ? n : 0)]!)),
    );
    return join(lanes, 128 / n);
  };
}
/** r[i] = f(a[2i], a[2i+1], b[2i], b[2i+1]) as lanes twice as wide. */
function pairwise(from: IntegerView, f: (a0: bigint, a1: bigint, b0: bigint, b1: bigint) => bigint): Implementation {
  return (a, b = 0n) => {
    const x = A.set(a)[from];
    const y = B.set(b)[from];
    const n = x.length / 2;
    const lanes = Array.from({ length: n }, (_, i) =>
      f(BigInt(x[2 * i]!), BigInt(x[2 * i + 1]!), BigInt(y[2 * i]!), BigInt(y[2 * i + 1]!)),
    );
    return join(lanes, 128 / n);
  };
}
function join(lanes: readonly bigint[], bits: number): bigint {
  return lanes.reduce((v, lane, i) => v | (BigInt.asUintN(bits, lane) << BigInt(i * bits)), 0n);
}
/** a's lanes, then b's, saturated to lanes half as wide. */
function narrow(from: "s16" | "s32", to: "s8" | "u8" | "s16" | "u16"): Implementation {
  const [low, high] = RANGE[to];
  return (a, b) => {
    const lanes = [...A.set(a)[from], ...B.set(b!)[from]];
    lanes.forEach((lane, i) => (R[to][i] = clamp(lane, low, high)));
    return R.value;
  };
}
function shift(view: IntegerView, f: (a: number, count: number) => number): Implementation {
  return (a, count) => lanewise(view, (lane) => f(lane, Number(count)))(a);
}
function splat(bits: number): Implementation {
  return (x) => join(Array<bigint>(128 / bits).fill(x), bits);
}
function bitmask(bits: number): Implementation {
  return (a) => {
    let mask = 0n;
    for (let i = 0; i < 128 / bits; i++) mask |= ((a >> BigInt(i * bits + bits - 1)) & 1n) << BigInt(i);
    return mask;
  };
}

const RANGE = { s8: [-128, 127], u8: [0, 255], s16: [-32768, 32767], u16: [0, 65535] } as const;
const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));
const saturating = (view: keyof typeof RANGE, f: (a: number, b: number) => number): Implementation => {
  const [low, high] = RANGE[view];
  return lanewise(view, (a, b) => clamp(f(a, b), low, high));
};
const ones = (c: boolean): number => (c ? -1 : 0);
const ones64 = (c: boolean): bigint => (c ? -1n : 0n);
const add = (a: number, b: number): number => a + b;
const sub = (a: number, b: number): number => a - b;
const same = (a: number, b: number): number => ones(a === b);
const greater = (a: number, b: number): number => ones(a > b);
const average = (a: number, b: number): number => (a + b + 1) >> 1;
const product = (a: bigint, b: bigint): bigint => a * b;
const first = (a: bigint): bigint => a;
const sum = (a0: bigint, a1: bigint): bigint => a0 + a1;
const ALL = (1n << 128n) - 1n;

export const VECTOR_LANES: Record<VectorOp, Implementation> = {
  "v128.and": (a, b) => a & b!,
  "v128.or": (a, b) => a | b!,
  "v128.xor": (a, b) => a ^ b!,
  "v128.andnot": (a, b) => a & ~b! & ALL,
  "v128.not": (a) => ~a & ALL,
  "v128.bitselect": (a, b, mask) => (a & mask!) | (b! & ~mask! & ALL),
  "i8x16.add": lanewise("u8", add),
  "i16x8.add": lanewise("u16", add),
  "i32x4.add": lanewise("u32", add),
  "i64x2.add": lanewise64("u64", (a, b) => a + b),
  "i8x16.sub": lanewise("u8", sub),
  "i16x8.sub": lanewise("u16", sub),
  "i32x4.sub": lanewise("u32", sub),
  "i64x2.sub": lanewise64("u64", (a, b) => a - b),
  "i8x16.add_sat_s": saturating("s8", add),
  "i8x16.add_sat_u": saturating("u8", add),
  "i16x8.add_sat_s": saturating("s16", add),
  "i16x8.add_sat_u": saturating("u16", add),
  "i8x16.sub_sat_s": saturating("s8", sub),
  "i8x16.sub_sat_u": saturating("u8", sub),
  "i16x8.sub_sat_s": saturating("s16", sub),
  "i16x8.sub_sat_u": saturating("u16", sub),
  "i8x16.eq": lanewise("u8", same),
  "i16x8.eq": lanewise("u16", same),
  "i32x4.eq": lanewise("u32", same),
  "i64x2.eq": lanewise64("s64", (a, b) => ones64(a === b)),
  "i8x16.gt_s": lanewise("s8", greater),
  "i16x8.gt_s": lanewise("s16", greater),
  "i32x4.gt_s": lanewise("s32", greater),
  "i64x2.gt_s": lanewise64("s64", (a, b) => ones64(a > b)),
  "i8x16.min_s": lanewise("s8", Math.min),
  "i8x16.min_u": lanewise("u8", Math.min),
  "i8x16.max_s": lanewise("s8", Math.max),
  "i8x16.max_u": lanewise("u8", Math.max),
  "i16x8.min_s": lanewise("s16", Math.min),
  "i16x8.min_u": lanewise("u16", Math.min),
  "i16x8.max_s": lanewise("s16", Math.max),
  "i16x8.max_u": lanewise("u16", Math.max),
  "i32x4.min_s": lanewise("s32", Math.min),
  "i32x4.min_u": lanewise("u32", Math.min),
  "i32x4.max_s": lanewise("s32", Math.max),
  "i32x4.max_u": lanewise("u32", Math.max),
  "i8x16.avgr_u": lanewise("u8", average),
  "i16x8.avgr_u": lanewise("u16", average),
  "i8x16.abs": lanewise("s8", Math.abs),
  "i16x8.abs": lanewise("s16", Math.abs),
  "i32x4.abs": lanewise("s32", Math.abs),
  "i16x8.mul": lanewise("s16", Math.imul),
  "i32x4.mul": lanewise("s32", Math.imul),
  "i32x4.dot_i16x8_s": pairwise("s16", (a0, a1, b0, b1) => a0 * b0 + a1 * b1),
  "i16x8.q15mulr_sat_s": lanewise("s16", (a, b) => Math.min(32767, (a * b + 0x4000) >> 15)),
  "i16x8.extmul_low_i8x16_s": widen("s8", false, product),
  "i16x8.extmul_high_i8x16_s": widen("s8", true, product),
  "i32x4.extmul_low_i16x8_s": widen("s16", false, product),
  "i32x4.extmul_high_i16x8_s": widen("s16", true, product),
  "i32x4.extmul_low_i16x8_u": widen("u16", false, product),
  "i32x4.extmul_high_i16x8_u": widen("u16", true, product),
  "i64x2.extmul_low_i32x4_s": widen("s32", false, product),
  "i64x2.extmul_low_i32x4_u": widen("u32", false, product),
  "i16x8.extend_low_i8x16_s": widen("s8", false, first),
  "i16x8.extend_low_i8x16_u": widen("u8", false, first),
  "i16x8.extend_high_i8x16_s": widen("s8", true, first),
  "i16x8.extend_high_i8x16_u": widen("u8", true, first),
  "i32x4.extend_low_i16x8_s": widen("s16", false, first),
  "i32x4.extend_low_i16x8_u": widen("u16", false, first),
  "i32x4.extend_high_i16x8_s": widen("s16", true, first),
  "i32x4.extend_high_i16x8_u": widen("u16", true, first),
  "i64x2.extend_low_i32x4_s": widen("s32", false, first),
  "i64x2.extend_low_i32x4_u": widen("u32", false, first),
  "i16x8.extadd_pairwise_i8x16_u": pairwise("u8", sum),
  "i16x8.extadd_pairwise_i8x16_s": pairwise("s8", sum),
  "i32x4.extadd_pairwise_i16x8_u": pairwise("u16", sum),
  "i32x4.extadd_pairwise_i16x8_s": pairwise("s16", sum),
  "i8x16.narrow_i16x8_s": narrow("s16", "s8"),
  "i8x16.narrow_i16x8_u": narrow("s16", "u8"),
  "i16x8.narrow_i32x4_s": narrow("s32", "s16"),
  "i16x8.narrow_i32x4_u": narrow("s32", "u16"),
  "i16x8.shl": shift("u16", (a, n) => a << (n & 15)),
  "i16x8.shr_s": shift("s16", (a, n) => a >> (n & 15)),
  "i16x8.shr_u": shift("u16", (a, n) => a >> (n & 15)),
  "i32x4.shl": shift("u32", (a, n) => a << n),
  "i32x4.shr_s": shift("s32", (a, n) => a >> n),
  "i32x4.shr_u": shift("u32", (a, n) => a >>> n),
  "i64x2.shl": (a, n) => lanewise64("u64", (x) => x << (n! & 63n))(a),
  "i64x2.shr_u": (a, n) => lanewise64("u64", (x) => x >> (n! & 63n))(a),
  "i8x16.swizzle": (a, indices) => {
    const x = A.set(a).u8;
    B.set(indices!).u8.forEach((index, i) => (R.u8[i] = index < 16 ? x[index]! : 0));
    return R.value;
  },
  "i8x16.bitmask": bitmask(8),
  "i16x8.bitmask": bitmask(16),
  "i32x4.bitmask": bitmask(32),
  "i64x2.bitmask": bitmask(64),
  "v128.any_true": (a) => (a === 0n ? 0n : 1n),
  "i8x16.splat": splat(8),
  "i16x8.splat": splat(16),
  "i32x4.splat": splat(32),
  "i64x2.splat": splat(64),
  "f32x4.eq": lanewise("f32", same, "s32"),
  "f32x4.lt": lanewise("f32", (a, b) => ones(a < b), "s32"),
  "f64x2.eq": float64((a, b) => a === b),
  "f64x2.lt": float64((a, b) => a < b),
};

function float64(f: (a: number, b: number) => boolean): Implementation {
  return (a, b) => {
    const x = A.set(a).f64;
    const y = B.set(b!).f64;
    for (let i = 0; i < 2; i++) R.s64[i] = ones64(f(x[i]!, y[i]!));
    return R.value;
  };
}
