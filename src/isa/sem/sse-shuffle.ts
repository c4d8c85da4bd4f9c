/* Moving bytes about in XMM registers: unpack, shuffle, align, blend, insert, extract. What an immediate selects is
 * computed into an index vector for i8x16.swizzle, or into a mask for v128.bitselect: the immediate is read when the
 * instruction runs. @source SDM vol. 2, the mnemonics' pages */
import { type Sem, type Semantics, semantics } from "../sem.ts";
import { IOTA } from "./sse-integer.ts";

/** UNPCKx, PUNPCKx, MOVxDUP …: a fixed choice of 16 bytes from destination (0–15) and source (16–31). */
export const fixedShuffle = (lanes: readonly number[]): Semantics =>
  semantics("xr", (s) => s.put(0, s.shuffle(s.get(0), s.get(1), lanes)));
/** The same from the source alone. */
export const fixedShuffleOfSource = (lanes: readonly number[]): Semantics =>
  semantics("wr", (s) => {
    const b = s.get(1);
    s.put(0, s.shuffle(b, b, lanes));
  });

/** Byte indices that interleave lanes of `size` bytes of both operands, from byte `from` on. */
export function interleave(size: number, from: 0 | 8): number[] {
  const lanes: number[] = [];
  for (let at = from; at < from + 8; at += size) {
    for (let i = 0; i < size; i++) lanes.push(at + i);
    for (let i = 0; i < size; i++) lanes.push(16 + at + i);
  }
  return lanes.slice(0, 16);
}

const allLanes = (bits: 16 | 32 | 64, n: bigint): bigint => {
  let v = 0n;
  for (let at = 0; at < 64; at += bits) v |= n << BigInt(at);
  return v;
};

/** Byte indices of four doublewords chosen by the two-bit fields of imm. */
function doublewordIndices<V>(s: Sem<V>, imm: V): V {
  // Lane i: imm · 4^(3−i) brings field i to bits 7:6.
  const fields = s.vector(
    "i32x4.mul",
    s.vector("i32x4.splat", imm),
    s.vectorConst(0x00000010_00000040n, 0x00000001_00000004n),
  );
  const three = allLanes(32, 3n);
  const chosen = s.vector("v128.and", s.vector("i32x4.shr_u", fields, s.const(6)), s.vectorConst(three, three));
  const spread = allLanes(32, 0x04040404n);
  const offsets = allLanes(32, 0x03020100n);
  return s.vector(
    "i32x4.add",
    s.vector("i32x4.mul", chosen, s.vectorConst(spread, spread)),
    s.vectorConst(offsets, offsets),
  );
}

/** Byte indices of four words (repeated in both halves) chosen among words 0–3 by the fields of imm. */
export function wordIndices<V>(s: Sem<V>, imm: V): V {
  const weights = 0x0001_0004_0010_0040n;
  const fields = s.vector("i16x8.mul", s.vector("i16x8.splat", imm), s.vectorConst(weights, weights));
  const three = allLanes(16, 3n);
  const chosen = s.vector("v128.and", s.vector("i16x8.shr_u", fields, s.const(6)), s.vectorConst(three, three));
  const spread = allLanes(16, 0x0202n);
  const offsets = allLanes(16, 0x0100n);
  return s.vector(
    "i16x8.add",
    s.vector("i16x8.mul", chosen, s.vectorConst(spread, spread)),
    s.vectorConst(offsets, offsets),
  );
}

export const PSHUFD = semantics("wrr", (s) =>
  s.put(0, s.vector("i8x16.swizzle", s.get(1), doublewordIndices(s, s.get(2)))),
);

export const PSHUFLW = semantics("wrr", (s) => {
  const high = s.vectorConst(0n, 0x0f0e0d0c0b0a0908n);
  const low = s.vector("v128.and", wordIndices(s, s.get(2)), s.vectorConst(~0n & 0xffffffffffffffffn, 0n));
  s.put(0, s.vector("i8x16.swizzle", s.get(1), s.vector("v128.or", low, high)));
});

export const PSHUFHW = semantics("wrr", (s) => {
  const low = s.vectorConst(0x0706050403020100n, 0n);
  const chosen = s.vector("v128.and", wordIndices(s, s.get(2)), s.vectorConst(0n, 0xffffffffffffffffn));
  // Words 4–7 are the source of the upper half: eight bytes on.
  const high = s.vector("v128.or", chosen, s.vectorConst(0n, 0x0808080808080808n));
  s.put(0, s.vector("i8x16.swizzle", s.get(1), s.vector("v128.or", low, high)));
});

export const SHUFPS = semantics("xrr", (s) => {
  const indices = doublewordIndices(s, s.get(2));
  const low = s.vector("i8x16.swizzle", s.get(0), indices);
  const high = s.vector("i8x16.swizzle", s.get(1), indices);
  s.put(0, s.shuffle(low, high, [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31]));
});

export const SHUFPD = semantics("xrr", (s) => {
  const imm = s.get(2);
  const a = s.get(0);
  const b = s.get(1);
  const low = s.select(s.and(imm, s.const(1)), s.lane("i64x2", a, 1), s.lane("i64x2", a, 0));
  const high = s.select(s.and(imm, s.const(2)), s.lane("i64x2", b, 1), s.lane("i64x2", b, 0));
  s.put(0, s.withLane("i64x2", s.vector("i64x2.splat", low), 1, high));
});

/** Index bytes use bits 3:0; bit 7 gives zero. Clearing bits 6:4 leaves exactly what swizzle takes so. */
export const PSHUFB = semantics("xr", (s) => {
  const used = 0x8f8f8f8f8f8f8f8fn;
  s.put(0, s.vector("i8x16.swizzle", s.get(0), s.vector("v128.and", s.get(1), s.vectorConst(used, used))));
});

export const atMost = <V>(s: Sem<V>, v: V, limit: number): V => s.select(s.ltU(v, s.const(limit)), v, s.const(limit));

/** Whole-register shifts by bytes: indices that leave 0–15 select zero. */
export const PSLLDQ = semantics("xr", (s) => {
  const count = s.vector("i8x16.splat", atMost(s, s.get(1), 16));
  s.put(0, s.vector("i8x16.swizzle", s.get(0), s.vector("i8x16.sub", IOTA(s), count)));
});
export const PSRLDQ = semantics("xr", (s) => s.put(0, shiftRightBytes(s, s.get(0), atMost(s, s.get(1), 16))));
/** @param count at most 240 */
export const shiftRightBytes = <V>(s: Sem<V>, v: V, count: V): V =>
  s.vector("i8x16.swizzle", v, s.vector("i8x16.add", IOTA(s), s.vector("i8x16.splat", count)));

export const PALIGNR = semantics("xrr", (s) => {
  const sixteen = 0x1010101010101010n;
  const low = s.vector("i8x16.add", IOTA(s), s.vector("i8x16.splat", atMost(s, s.get(2), 32)));
  const high = s.vector("i8x16.sub", low, s.vectorConst(sixteen, sixteen));
  s.put(0, s.vector("v128.or", s.vector("i8x16.swizzle", s.get(1), low), s.vector("i8x16.swizzle", s.get(0), high)));
});

/** Lanes all ones where bit i of `bits` is set for lane i. */
export function laneMask<V>(s: Sem<V>, shape: "i16x8" | "i32x4" | "i64x2", bits: V): V {
  const own = {
    i16x8: [0x0008_0004_0002_0001n, 0x0080_0040_0020_0010n],
    i32x4: [0x00000002_00000001n, 0x00000008_00000004n],
    i64x2: [1n, 2n],
  }[shape];
  const each = s.vectorConst(own[0], own[1]);
  return s.vector(`${shape}.eq`, s.vector("v128.and", s.vector(`${shape}.splat`, bits), each), each);
}

/** BLENDPS, BLENDPD, PBLENDW: source lanes where the immediate's bit is set. */
export const blendImmediate = (shape: "i16x8" | "i32x4" | "i64x2"): Semantics =>
  semantics("xrr", (s) => {
    const mask = laneMask(s, shape, s.get(2));
    s.put(0, s.vector("v128.bitselect", s.get(1), s.get(0), mask));
  });

/** PBLENDVB, BLENDVPS, BLENDVPD: source lanes where XMM0's lane is negative. */
export const blendVariable = (shape: "i8x16" | "i32x4" | "i64x2"): Semantics =>
  semantics("xrr", (s) => {
    const mask = s.vector(`${shape}.gt_s`, s.vectorConst(0n, 0n), s.get(2));
    s.put(0, s.vector("v128.bitselect", s.get(1), s.get(0), mask));
  });

/** PINSRx: operand 1 is an integer. */
export const PINSRB = semantics("xrr", (s) => {
  const lane = s.vector("i8x16.splat", s.and(s.get(2), s.const(15)));
  const mask = s.vector("i8x16.eq", lane, IOTA(s));
  s.put(0, s.vector("v128.bitselect", s.vector("i8x16.splat", s.get(1)), s.get(0), mask));
});
const insert = (shape: "i16x8" | "i32x4" | "i64x2", lanes: number): Semantics =>
  semantics("xrr", (s) => {
    const mask = laneMask(s, shape, s.shl(s.const(1), s.and(s.get(2), s.const(lanes - 1))));
    s.put(0, s.vector("v128.bitselect", s.vector(`${shape}.splat`, s.get(1)), s.get(0), mask));
  });
export const PINSRW = insert("i16x8", 8);
export const PINSRD = insert("i32x4", 4);
export const PINSRQ = insert("i64x2", 2);

/** Brings the `size`-byte lane number `lane` of v to the bottom. */
export function laneToBottom<V>(s: Sem<V>, v: V, lane: V, size: number): V {
  return s.vector(
    "i8x16.swizzle",
    v,
    s.vector("i8x16.add", IOTA(s), s.vector("i8x16.splat", s.mul(lane, s.const(size)))),
  );
}
const extract = (shape: "i8x16" | "i16x8" | "i32x4" | "i64x2", lanes: number): Semantics =>
  semantics("wrr", (s) =>
    s.put(0, s.lane(shape, laneToBottom(s, s.get(1), s.and(s.get(2), s.const(lanes - 1)), 16 / lanes), 0)),
  );
export const PEXTRB = extract("i8x16", 16);
export const PEXTRW = extract("i16x8", 8);
export const PEXTRD = extract("i32x4", 4);
export const PEXTRQ = extract("i64x2", 2);

/** Source lane imm[7:6] (a memory source is the lane itself) to lane imm[5:4]; then lanes of imm[3:0] are zeroed. */
export const INSERTPS = semantics("xrr", (s) => {
  const imm = s.get(2);
  const lane = s.isMemory(1)
    ? s.get(1)
    : s.lane("i32x4", laneToBottom(s, s.get(1), s.and(s.shrU(imm, s.const(6)), s.const(3)), 4), 0);
  const where = laneMask(s, "i32x4", s.shl(s.const(1), s.and(s.shrU(imm, s.const(4)), s.const(3))));
  const merged = s.vector("v128.bitselect", s.vector("i32x4.splat", lane), s.get(0), where);
  s.put(0, s.vector("v128.andnot", merged, laneMask(s, "i32x4", imm)));
});
