/* Packed integer arithmetic, comparison, logic, packing and widening on XMM registers (SSE2–SSE4.2), lane for lane on
 * v128 operations. Operand 0 is the destination and first source. @source SDM vol. 2, the mnemonics' pages */
import { type Sem, type Semantics, semantics } from "../sem.ts";
import type { VectorOp } from "../vector.ts";

/** An instruction that is one v128 operation (destination, source). */
export const vectorBinary = (op: VectorOp): Semantics =>
  semantics("xr", (s) => s.put(0, s.vector(op, s.get(0), s.get(1))));

/** An instruction that is one v128 operation of its source alone. */
export const vectorUnary = (op: VectorOp): Semantics => semantics("wr", (s) => s.put(0, s.vector(op, s.get(1))));

/** What an instruction makes of destination and source, both v128; the MMX forms (mmx.ts) are made of the same. */
export type OfTwo = <V>(s: Sem<V>, a: V, b: V) => V;
const ofTwo = (f: OfTwo): Semantics => semantics("xr", (s) => s.put(0, f(s, s.get(0), s.get(1))));

/** Logic, bitwise and so the same for PAND, ANDPS and ANDPD. PANDN complements the first operand. */
export const VAND = vectorBinary("v128.and");
export const VOR = vectorBinary("v128.or");
export const VXOR = vectorBinary("v128.xor");
export const andNot: OfTwo = (s, a, b) => s.vector("v128.andnot", b, a);
export const VANDN = ofTwo(andNot);

const splat16 = (n: number): bigint => BigInt(n) * 0x0001000100010001n;
const evenWords = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
const oddWords = evenWords.map((byte) => byte + 2);
const evenDoublewords = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const oddDoublewords = evenDoublewords.map((byte) => byte + 4);

export const multiplyHigh =
  (sign: "s" | "u"): OfTwo =>
  (s, a, b) =>
    s.shuffle(
      s.vector(`i32x4.extmul_low_i16x8_${sign}`, a, b),
      s.vector(`i32x4.extmul_high_i16x8_${sign}`, a, b),
      oddWords,
    );
export const PMULHW = ofTwo(multiplyHigh("s"));
export const PMULHUW = ofTwo(multiplyHigh("u"));

/** The even doublewords in the low half, where extmul_low takes them. */
const evens = <V>(s: Sem<V>, v: V): V => s.shuffle(v, v, evenDoublewords);
export const multiplyEven =
  (op: VectorOp): OfTwo =>
  (s, a, b) =>
    s.vector(op, evens(s, a), evens(s, b));
export const PMULUDQ = ofTwo(multiplyEven("i64x2.extmul_low_i32x4_u"));
export const PMULDQ = ofTwo(multiplyEven("i64x2.extmul_low_i32x4_s"));

export const multiplyRounded: OfTwo = (s, a, b) => {
  const least = s.vectorConst(splat16(0x8000), splat16(0x8000));
  // −1 · −1 saturates in the v128 operation, but wraps to −1 here.
  const wraps = s.vector("v128.and", s.vector("i16x8.eq", a, least), s.vector("i16x8.eq", b, least));
  return s.vector("v128.xor", s.vector("i16x8.q15mulr_sat_s", a, b), wraps);
};
export const PMULHRSW = ofTwo(multiplyRounded);

/** Unsigned bytes of the destination times signed bytes of the source, pairs added with saturation. */
export const multiplyAddBytes: OfTwo = (s, a, b) => {
  const eight = s.const(8);
  const lowBytes = s.vectorConst(splat16(0xff), splat16(0xff));
  const even = s.vector(
    "i16x8.mul",
    s.vector("v128.and", a, lowBytes),
    s.vector("i16x8.shr_s", s.vector("i16x8.shl", b, eight), eight),
  );
  const odd = s.vector("i16x8.mul", s.vector("i16x8.shr_u", a, eight), s.vector("i16x8.shr_s", b, eight));
  return s.vector("i16x8.add_sat_s", even, odd);
};
export const PMADDUBSW = ofTwo(multiplyAddBytes);

const absoluteDifference = <V>(s: Sem<V>, a: V, b: V): V =>
  s.vector("v128.or", s.vector("i8x16.sub_sat_u", a, b), s.vector("i8x16.sub_sat_u", b, a));

/** Their sums over each eight bytes. */
export const absoluteDifferences: OfTwo = (s, a, b) => {
  const words = s.vector("i16x8.extadd_pairwise_i8x16_u", absoluteDifference(s, a, b));
  const sums = s.vector("i32x4.extadd_pairwise_i16x8_u", words);
  const low = s.vector("v128.and", sums, s.vectorConst(0xffffffffn, 0xffffffffn));
  return s.vector("i64x2.add", low, s.vector("i64x2.shr_u", sums, s.const(32)));
};
export const PSADBW = ofTwo(absoluteDifferences);

/** Eight sums of four absolute differences: destination bytes from 4·imm[2] on, against the source's group imm[1:0]. */
export const MPSADBW = semantics("xrr", (s) => {
  const imm = s.get(2);
  const window = s.vector("i8x16.add", IOTA(s), s.vector("i8x16.splat", s.and(imm, s.const(4))));
  const bytes = s.vector("i8x16.swizzle", s.get(0), window);
  const group = s.get(1);
  const at = s.shl(s.and(imm, s.const(3)), s.const(2));
  let sum = s.vectorConst(0n, 0n);
  for (let j = 0; j < 4; j++) {
    const shifted = s.shuffle(
      bytes,
      bytes,
      Array.from({ length: 16 }, (_, i) => (i + j) & 15),
    );
    const wanted = s.vector("i8x16.swizzle", group, s.vector("i8x16.splat", s.add(at, s.const(j))));
    sum = s.vector("i16x8.add", sum, s.vector("i16x8.extend_low_i8x16_u", absoluteDifference(s, shifted, wanted)));
  }
  s.put(0, sum);
});

/** Byte i holds i. */
export const IOTA = <V>(s: Sem<V>): V => s.vectorConst(0x0706050403020100n, 0x0f0e0d0c0b0a0908n);

export const PHMINPOSUW = semantics("wr", (s) => {
  const words = s.get(1);
  let least = s.shl(s.lane("i16x8", words, 0), s.const(3));
  for (let i = 1; i < 8; i++) {
    const key = s.or(s.shl(s.lane("i16x8", words, i), s.const(3)), s.const(i));
    least = s.select(s.ltU(key, least), key, least);
  }
  const packed = s.or(s.shrU(least, s.const(3)), s.shl(s.and(least, s.const(7)), s.const(16)));
  s.put(0, s.withLane("i64x2", s.vectorConst(0n, 0n), 0, packed));
});

/** Horizontal PHADD and PHSUB: an operation between even and odd lanes of both operands. */
export function horizontal(op: `${"i16x8" | "i32x4"}.${"add" | "sub"}` | `i16x8.${"add" | "sub"}_sat_s`): OfTwo {
  const [even, odd] = op.startsWith("i16x8") ? [evenWords, oddWords] : [evenDoublewords, oddDoublewords];
  return (s, a, b) => s.vector(op, s.shuffle(a, b, even), s.shuffle(a, b, odd));
}
export const PHADDW = ofTwo(horizontal("i16x8.add"));
export const PHADDD = ofTwo(horizontal("i32x4.add"));
export const PHADDSW = ofTwo(horizontal("i16x8.add_sat_s"));
export const PHSUBW = ofTwo(horizontal("i16x8.sub"));
export const PHSUBD = ofTwo(horizontal("i32x4.sub"));
export const PHSUBSW = ofTwo(horizontal("i16x8.sub_sat_s"));

/** PSIGNx: the destination negated where the source is negative, zero where it is zero. */
export const negateBySign =
  (shape: "i8x16" | "i16x8" | "i32x4"): OfTwo =>
  (s, a, b) => {
    const none = s.vectorConst(0n, 0n);
    const negative = s.vector(`${shape}.gt_s`, none, b);
    const signed = s.vector(`${shape}.sub`, s.vector("v128.xor", a, negative), negative);
    return s.vector("v128.andnot", signed, s.vector(`${shape}.eq`, b, none));
  };
export const PSIGN = (shape: "i8x16" | "i16x8" | "i32x4"): Semantics => ofTwo(negateBySign(shape));

/** PMOVSX and PMOVZX: the source (8, 4 or 2 bytes, an integer) widened by one to three doublings. */
export const PMOVX = (...steps: readonly VectorOp[]): Semantics =>
  semantics("wr", (s) => {
    let v = s.vector("i64x2.splat", s.get(1));
    for (const step of steps) v = s.vector(step, v);
    s.put(0, v);
  });

export const PMOVMSKB = semantics("wr", (s) => s.put(0, s.vector("i8x16.bitmask", s.get(1))));
export const MOVMSKPS = semantics("wr", (s) => s.put(0, s.vector("i32x4.bitmask", s.get(1))));
export const MOVMSKPD = semantics("wr", (s) => s.put(0, s.vector("i64x2.bitmask", s.get(1))));

export const PTEST = semantics("rr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const none = s.const(0);
  const zf = s.isZero(s.vector("v128.any_true", s.vector("v128.and", a, b)));
  const cf = s.isZero(s.vector("v128.any_true", s.vector("v128.andnot", b, a)));
  s.setFlags({ ZF: zf, CF: cf, OF: none, SF: none, AF: none, PF: none });
});

/** Shifts of every lane by one 64-bit count. Counts beyond the lane clear it. */
export function shiftLanes(op: "shl" | "shr_u" | "shr_s", shape: "i16x8" | "i32x4" | "i64x2"): OfTwo {
  const bits = shape === "i16x8" ? 16 : shape === "i32x4" ? 32 : 64;
  return (s, a, count) => {
    const inRange = s.ltU(count, s.const(bits));
    if (op === "shr_s") return s.vector(`${shape}.shr_s` as VectorOp, a, s.select(inRange, count, s.const(bits - 1)));
    const shifted = s.vector(`${shape}.${op}`, a, s.and(count, s.const(bits - 1)));
    return s.select(inRange, shifted, s.vectorConst(0n, 0n));
  };
}
/** The count is the low 64 bits of an XMM operand, or an immediate. */
export function shift(op: "shl" | "shr_u" | "shr_s", shape: "i16x8" | "i32x4" | "i64x2"): Semantics {
  const lanes = shiftLanes(op, shape);
  return semantics("xr", (s) => {
    const count = s.width(1) === 16 ? s.lane("i64x2", s.get(1), 0) : s.get(1);
    s.put(0, lanes(s, s.get(0), count));
  });
}
