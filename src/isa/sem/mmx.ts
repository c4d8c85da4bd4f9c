/* MMX instructions. A value of 64 bits is put into a v128 whose operations are those of the XMM forms (sse-integer.ts), and lane 0 is taken back.
 * MMX registers are the significands of the physical x87 registers; every instruction first looks for a pending x87 exception and leaves the register
 * stack with TOP 0 and all registers valid (EMMS: empty).
 * @source SDM vol. 3A §12.2, §12.3; vol. 1 ch. 9; vol. 2 under each mnemonic */
import { Reg } from "../registers.ts";
import { type Sem, type Semantics, semantics } from "../sem.ts";
import type { VectorOp } from "../vector.ts";
import { type OfTwo, shiftLanes } from "./sse-integer.ts";
import { atMost, interleave, laneMask, laneToBottom, shiftRightBytes, wordIndices } from "./sse-shuffle.ts";
import { checkPending } from "./x87.ts";

/** FSW.TOP and FTW in the eight bytes at FCW. */
const TOP = 0x3800n << 16n;
const TAGS = 0xffffn << 32n;
const VALID = 0n;
const EMPTY = TAGS;

/** TOP 0, and all registers valid or empty. */
function setStack<V>(s: Sem<V>, tags: bigint): void {
  const kept = s.and(s.field(Reg.FCW, 8), s.const(BigInt.asUintN(64, ~(TOP | TAGS))));
  s.setField(Reg.FCW, 8, s.or(kept, s.const(tags)));
}

/** @param run gives what operand 0 becomes */
const mmx = (access: string, run: <V>(s: Sem<V>) => V): Semantics =>
  semantics(access, (s) => {
    checkPending(s);
    s.put(0, run(s)); // a store may fault: it comes before the change
    setStack(s, VALID);
  });

const wide = <V>(s: Sem<V>, v: V): V => s.vector("i64x2.splat", v);
const concatenate = <V>(s: Sem<V>, low: V, high: V): V => s.withLane("i64x2", wide(s, low), 1, high);

/** @param run gives a v128 whose lane 0 operand 0 becomes */
const lane0 = (access: string, run: <V>(s: Sem<V>) => V): Semantics => mmx(access, (s) => s.lane("i64x2", run(s), 0));

/** What works on lanes: both halves of the XMM operation do the same. */
export const mmxBinary = (f: OfTwo): Semantics => lane0("xr", (s) => f(s, wide(s, s.get(0)), wide(s, s.get(1))));
export const mmxLanes = (op: VectorOp): Semantics => mmxBinary((s, a, b) => s.vector(op, a, b));
export const mmxUnary = (op: VectorOp): Semantics => lane0("wr", (s) => s.vector(op, wide(s, s.get(1))));

/** What makes the low half of the result from the first operand and the high half from the second. */
export const mmxConcatenated = (f: OfTwo): Semantics =>
  lane0("xr", (s) => {
    const both = concatenate(s, s.get(0), s.get(1));
    return f(s, both, both);
  });
export const mmxPacked = (op: VectorOp): Semantics => mmxConcatenated((s, a, b) => s.vector(op, a, b));

/** PUNPCKLxx and PUNPCKHxx: the halves of what interleaving all of both gives. */
const unpack = (size: number, half: 0 | 1): Semantics =>
  mmx("xr", (s) => s.lane("i64x2", s.shuffle(wide(s, s.get(0)), wide(s, s.get(1)), interleave(size, 0)), half));
export const unpackLow = (size: number): Semantics => unpack(size, 0);
export const unpackHigh = (size: number): Semantics => unpack(size, 1);

export const mmxShift = (op: "shl" | "shr_u" | "shr_s", shape: "i16x8" | "i32x4" | "i64x2"): Semantics => {
  const shift = shiftLanes(op, shape);
  return lane0("xr", (s) => shift(s, wide(s, s.get(0)), s.get(1)));
};

export const PSHUFW = lane0("wrr", (s) => s.vector("i8x16.swizzle", wide(s, s.get(1)), wordIndices(s, s.get(2))));

/** Index bytes use bits 2:0; bit 7 gives zero. */
export const PSHUFB = lane0("xr", (s) => {
  const used = 0x8787878787878787n;
  return s.vector(
    "i8x16.swizzle",
    wide(s, s.get(0)),
    s.vector("v128.and", wide(s, s.get(1)), s.vectorConst(used, used)),
  );
});

export const PALIGNR = lane0("xrr", (s) =>
  shiftRightBytes(s, concatenate(s, s.get(1), s.get(0)), atMost(s, s.get(2), 16)),
);

export const PINSRW = lane0("xrr", (s) => {
  const mask = laneMask(s, "i16x8", s.shl(s.const(1), s.and(s.get(2), s.const(3))));
  return s.vector("v128.bitselect", s.vector("i16x8.splat", s.get(1)), wide(s, s.get(0)), mask);
});
export const PEXTRW = mmx("wrr", (s) =>
  s.lane("i16x8", laneToBottom(s, wide(s, s.get(1)), s.and(s.get(2), s.const(3)), 2), 0),
);

const signs = <V>(s: Sem<V>, v: V): V => s.and(s.vector("i8x16.bitmask", wide(s, v)), s.const(0xff));
export const PMOVMSKB = mmx("wr", (s) => signs(s, s.get(1)));

/** MOVD, MOVQ, MOVNTQ, MOVDQ2Q. */
export const mmxMove = mmx("wr", (s) => s.get(1));
export const MOVQ2DQ = mmx("wr", (s) => s.withLane("i64x2", s.vectorConst(0n, 0n), 0, s.get(1)));

export const EMMS = semantics("", (s) => {
  checkPending(s);
  setStack(s, EMPTY);
});

export const MASKMOVQ = semantics("rrr", (s) => {
  checkPending(s);
  const value = s.get(1);
  const mask = signs(s, s.get(2));
  const address = s.linearAddress(0);
  setStack(s, VALID);
  s.probeWrite(address, 8);
  s.when(mask, () => {
    s.call("maskmovdqu", address, value, s.const(0), mask);
  });
});

/** CVTPI2PS, CVTPI2PD: from memory they do not touch the register stack. */
export const mmxToFloats = (kind: "i32→f32" | "i32→f64"): Semantics =>
  semantics("wr", (s) => {
    if (!s.isMemory(1)) checkPending(s);
    const pair = s.get(1);
    if (!s.isMemory(1)) setStack(s, VALID);
    const [low, high] = s.fpLanes(() => [pair, s.shrU(pair, s.const(32))].map((v) => s.fpConvert(kind, v, "mxcsr")));
    s.put(0, kind === "i32→f64" ? concatenate(s, low, high) : s.or(low, s.shl(high, s.const(32))));
  });

/** CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI. */
export const mmxFromFloats = (kind: "f32→i32" | "f64→i32", rounding: "mxcsr" | "zero"): Semantics =>
  semantics("wr", (s) => {
    checkPending(s);
    const source = s.get(1);
    setStack(s, VALID);
    const pair =
      kind === "f32→i32"
        ? [source, s.shrU(source, s.const(32))]
        : [s.lane("i64x2", source, 0), s.lane("i64x2", source, 1)];
    const [low, high] = s.fpLanes(() => pair.map((v) => s.fpConvert(kind, v, rounding)));
    s.put(0, s.or(low, s.shl(high, s.const(32))));
  });
