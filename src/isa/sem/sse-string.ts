/* PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: the comparison is a call that gives IntRes2; index, mask and flags are here.
 * @source SDM vol. 2B §4.1 "Imm8 Control Byte Operation" */
import { type Sem, type Semantics, semantics } from "../sem.ts";

/** Lengths in elements of both operands. Explicit: |EAX| and |EDX| (RAX, RDX with REX.W), at most 16 or 8; implicit: up to the first 0. */
function explicitLength<V>(s: Sem<V>, register: number, most: V): V {
  const n = s.sext(s.reg(register, s.size), s.size);
  const magnitude = s.select(s.ltS(n, s.const(0)), s.sub(s.const(0), n), n);
  return s.select(s.ltU(magnitude, most), magnitude, most);
}
function implicitLength<V>(s: Sem<V>, v: V, words: V, most: V): V {
  const none = s.vectorConst(0n, 0n);
  const zeros = s.select(
    words,
    s.vector("i16x8.bitmask", s.vector("i16x8.eq", v, none)),
    s.vector("i8x16.bitmask", s.vector("i8x16.eq", v, none)),
  );
  return s.ctz(s.or(zeros, s.shl(s.const(1), most)));
}

/** Bits 0 … n − 1. */
const lowBits = <V>(s: Sem<V>, n: V): V => s.sub(s.shl(s.const(1), n), s.const(1));

/** IntRes1 of bytes, aggregation "equal any": which bytes of b are among the first lengthA of a. */
function equalAnyBytes<V>(s: Sem<V>, a: V, b: V, lengthA: V, lengthB: V): V {
  const index = s.vectorConst(0x0706050403020100n, 0x0f0e0d0c0b0a0908n);
  const valid = s.vector("i8x16.gt_s", s.vector("i8x16.splat", lengthA), index);
  // what is beyond the set repeats its first byte, which changes nothing
  const set = s.vector("v128.bitselect", a, s.vector("i8x16.splat", s.lane("i8x16", a, 0)), valid);
  let found = s.vectorConst(0n, 0n);
  for (let i = 0; i < 16; i++) {
    const element = s.shuffle(set, set, Array<number>(16).fill(i));
    found = s.vector("v128.or", found, s.vector("i8x16.eq", element, b));
  }
  const bits = s.and(s.zext(s.vector("i8x16.bitmask", found), 4), lowBits(s, lengthB));
  return s.select(s.isZero(lengthA), s.const(0), bits);
}
/** IntRes1 of bytes, aggregation "equal each": equal and both valid, or both beyond the end. */
function equalEachByte<V>(s: Sem<V>, a: V, b: V, lengthA: V, lengthB: V): V {
  const equal = s.zext(s.vector("i8x16.bitmask", s.vector("i8x16.eq", a, b)), 4);
  const [validA, validB] = [lowBits(s, lengthA), lowBits(s, lengthB)];
  const neither = s.and(s.not(s.or(validA, validB)), s.const(0xffff));
  return s.or(s.and(equal, s.and(validA, validB)), neither);
}
/** IntRes2 of bytes: imm[4] inverts, imm[5] only what is valid of b. */
function withPolarity<V>(s: Sem<V>, bits: V, lengthB: V, imm: V): V {
  const inverted = s.select(s.and(imm, s.const(0x20)), lowBits(s, lengthB), s.const(0xffff));
  return s.xor(bits, s.select(s.and(imm, s.const(0x10)), inverted, s.const(0)));
}

function compareStrings<V>(s: Sem<V>, explicit: boolean): { bits: V; most: V; words: V; imm: V } {
  const a = s.get(0);
  const b = s.get(1);
  const imm = s.get(2);
  const words = s.and(imm, s.const(1));
  const most = s.select(words, s.const(8), s.const(16));
  const lengthA = explicit ? explicitLength(s, 0, most) : implicitLength(s, a, words, most);
  const lengthB = explicit ? explicitLength(s, 2, most) : implicitLength(s, b, words, most);
  const control = s.or(s.and(imm, s.const(0xff)), s.or(s.shl(lengthA, s.const(8)), s.shl(lengthB, s.const(16))));
  const half = (v: V, i: number): V => s.lane("i64x2", v, i);
  // What string functions of C libraries use, bytes "equal any" and "equal each", is done here; ranges, substrings and words are rare.
  const kind = s.and(imm, s.const(0x0d));
  const bits = s.whenValue(
    s.isZero(kind),
    () => withPolarity(s, equalAnyBytes(s, a, b, lengthA, lengthB), lengthB, imm),
    () =>
      s.whenValue(
        s.eq(kind, s.const(8)),
        () => withPolarity(s, equalEachByte(s, a, b, lengthA, lengthB), lengthB, imm),
        () => s.call("pcmpstr", half(a, 0), half(a, 1), half(b, 0), half(b, 1), control),
      ),
  );
  const none = s.const(0);
  s.setFlags({
    CF: s.ne(bits, none),
    ZF: s.ltU(lengthB, most),
    SF: s.ltU(lengthA, most),
    OF: s.and(bits, s.const(1)),
    AF: none,
    PF: none,
  });
  return { bits, most, words, imm };
}

/** Index of the lowest (imm[6] clear) or highest set bit, into ECX; the element count if there is none. */
export const compareStringsIndex = (explicit: boolean): Semantics =>
  semantics("rrr", (s) => {
    const { bits, most, imm } = compareStrings(s, explicit);
    const lowest = s.ctz(s.or(bits, s.shl(s.const(1), most)));
    const highest = s.sub(s.const(63), s.clz(bits));
    const chosen = s.select(s.and(imm, s.const(0x40)), s.select(bits, highest, most), lowest);
    s.setReg(1, 4, chosen);
  });

/** XMM0 ← the bits themselves, or (imm[6]) every element filled with its bit. */
export const compareStringsMask = (explicit: boolean): Semantics =>
  semantics("rrr", (s) => {
    const { bits, words, imm } = compareStrings(s, explicit);
    const each16 = s.vectorConst(0x0008_0004_0002_0001n, 0x0080_0040_0020_0010n);
    const masks16 = s.vector("i16x8.eq", s.vector("v128.and", s.vector("i16x8.splat", bits), each16), each16);
    // Byte lanes 0–7 look at the low byte of `bits`, lanes 8–15 at the high byte.
    const spread = s.vector("i8x16.swizzle", s.vector("i16x8.splat", bits), s.vectorConst(0n, 0x0101010101010101n));
    const each8 = s.vectorConst(0x8040201008040201n, 0x8040201008040201n);
    const masks8 = s.vector("i8x16.eq", s.vector("v128.and", spread, each8), each8);
    const plain = s.withLane("i64x2", s.vectorConst(0n, 0n), 0, bits);
    s.setXmm(0, s.select(s.and(imm, s.const(0x40)), s.select(words, masks16, masks8), plain));
  });
