/* Packed integer arithmetic, comparison, logic, packing and widening on XMM registers (SSE2–SSE4.2), lane for lane on
 * v128 operations. Operand 0 is the destination and first source. @source SDM vol. 2, the mnemonics' pages */
import { type Sem, type Semantics, semantics } from "../sem.ts";
import type { VectorOp } from "../vector.ts";

/** An instruction that is one v128 operation (destination, source). */
export const vectorBinary = (op: VectorOp): Semantics =>
  semantics("xr", (s) => s.put(0, s.vector(op, s.get(0), s.get(1))));

/** An instruction that is one v128 operation of its source alone. */
export const vectorUnary = (op: VectorOp): Semantics => semantics("wr", (s) => s.put(0, s.vector(op, s.get(1))));

/** Logic, bitwise and so the same for PAND, ANDPS and ANDPD. PANDN complements the first operand. */
export const VAND = vectorBinary("v128.and");
export const VOR = vectorBinary("v128.or");
export const VXOR = vectorBinary("v128.xor");
export const VANDN = semantics("xr", (s) => s.put(0, s.vector("v128.andnot", s.get(1), s.get(0))));

const splat16 = (n: number): bigint => BigInt(n) * 0x0001000100010001n;
const evenWords = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
const oddWords = evenWords.map((byte) => byte + 2);
const evenDoublewords = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const oddDoublewords = evenDoublewords.map((byte) => byte + 4);

function high16<V>(s: Sem<V>, low: VectorOp, high: VectorOp): void {
  const a = s.get(0);
  const b = s.get(1);
  s.put(0, s.shuffle(s.vector(low, a, b), s.vector(high, a, b), oddWords));
}
export const PMULHW = semantics("xr", (s) => high16(s, "i32x4.extmul_low_i16x8_s", "i32x4.extmul_high_i16x8_s"));
export const PMULHUW = semantics("xr", (s) => high16(s, "i32x4.extmul_low_i16x8_u", "i32x4.extmul_high_i16x8_u"));

/** The even doublewords in the low half, where extmul_low takes them. */
const evens = <V>(s: Sem<V>, v: V): V => s.shuffle(v, v, evenDoublewords);
const multiplyEven = (op: VectorOp): Semantics =>
  semantics("xr", (s) => s.put(0, s.vector(op, evens(s, s.get(0)), evens(s, s.get(1)))));
export const PMULUDQ = multiplyEven("i64x2.extmul_low_i32x4_u");
export const PMULDQ = multiplyEven("i64x2.extmul_low_i32x4_s");

export const PMULHRSW = semantics("xr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const least = s.vectorConst(splat16(0x8000), splat16(0x8000));
  // −1 · −1 saturates in the v128 operation, but wraps to −1 here.
  const wraps = s.vector("v128.and", s.vector("i16x8.eq", a, least), s.vector("i16x8.eq", b, least));
  s.put(0, s.vector("v128.xor", s.vector("i16x8.q15mulr_sat_s", a, b), wraps));
});

/** Unsigned bytes of the destination times signed bytes of the source, pairs added with saturation. */
export const PMADDUBSW = semantics("xr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  const eight = s.const(8);
  const lowBytes = s.vectorConst(splat16(0xff), splat16(0xff));
  const even = s.vector(
    "i16x8.mul",
    s.vector("v128.and", a, lowBytes),
    s.vector("i16x8.shr_s", s.vector("i16x8.shl", b, eight), eight),
  );
  const odd = s.vector("i16x8.mul", s.vector("i16x8.shr_u", a, eight), s.vector("i16x8.shr_s", b, eight));
  s.put(0, s.vector("i16x8.add_sat_s", even, odd));
});

const absoluteDifference = <V>(s: Sem<V>, a: V, b: V): V =>
  s.vector("v128.or", s.vector("i8x16.sub_sat_u", a, b), s.vector("i8x16.sub_sat_u", b, a));

export const PSADBW = semantics("xr", (s) => {
  const words = s.vector("i16x8.extadd_pairwise_i8x16_u", absoluteDifference(s, s.get(0), s.get(1)));
  const sums = s.vector("i32x4.extadd_pairwise_i16x8_u", words);
  const low = s.vector("v128.and", sums, s.vectorConst(0xffffffffn, 0xffffffffn));
  s.put(0, s.vector("i64x2.add", low, s.vector("i64x2.shr_u", sums, s.const(32))));
});

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
function horizontal(op: VectorOp, even: readonly number[], odd: readonly number[]): Semantics {
  return semantics("xr", (s) => {
    const a = s.get(0);
    const b = s.get(1);
    s.put(0, s.vector(op, s.shuffle(a, b, even), s.shuffle(a, b, odd)));
  });
}
export const PHADDW = horizontal("i16x8.add", evenWords, oddWords);
export const PHADDD = horizontal("i32x4.add", evenDoublewords, oddDoublewords);
export const PHADDSW = horizontal("i16x8.add_sat_s", evenWords, oddWords);
export const PHSUBW = horizontal("i16x8.sub", evenWords, oddWords);
export const PHSUBD = horizontal("i32x4.sub", evenDoublewords, oddDoublewords);
export const PHSUBSW = horizontal("i16x8.sub_sat_s", evenWords, oddWords);

/** PSIGNx: the destination negated where the source is negative, zero where it is zero. */
export const PSIGN = (shape: "i8x16" | "i16x8" | "i32x4"): Semantics =>
  semantics("xr", (s) => {
    const b = s.get(1);
    const none = s.vectorConst(0n, 0n);
    const negative = s.vector(`${shape}.gt_s`, none, b);
    const signed = s.vector(`${shape}.sub`, s.vector("v128.xor", s.get(0), negative), negative);
    s.put(0, s.vector("v128.andnot", signed, s.vector(`${shape}.eq`, b, none)));
  });

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

/** Shifts of every lane by one count: the low 64 bits of an XMM operand, or an immediate. Counts beyond the lane clear it. */
export function shift(op: "shl" | "shr_u" | "shr_s", shape: "i16x8" | "i32x4" | "i64x2"): Semantics {
  const bits = shape === "i16x8" ? 16 : shape === "i32x4" ? 32 : 64;
  return semantics("xr", (s) => {
    const count = s.width(1) === 16 ? s.lane("i64x2", s.get(1), 0) : s.get(1);
    const inRange = s.ltU(count, s.const(bits));
    const a = s.get(0);
    if (op === "shr_s") {
      const clamped = s.select(inRange, count, s.const(bits - 1));
      s.put(0, s.vector(`${shape}.shr_s` as VectorOp, a, clamped));
    } else {
      const shifted = s.vector(`${shape}.${op}`, a, s.and(count, s.const(bits - 1)));
      s.put(0, s.select(inRange, shifted, s.vectorConst(0n, 0n)));
    }
  });
}
