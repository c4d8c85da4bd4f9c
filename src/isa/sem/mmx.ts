/* MMX instructions. A value of 64 bits is put into a v128 whose operations are those of the XMM forms (sse-integer.ts), and lane 0 is taken back.
 * MMX registers are the significands of the physical x87 registers; every instruction first looks for a pending x87 exception and leaves the register
 * stack with TOP 0 and all registers valid (EMMS: empty).
 * @source SDM vol. 3A §12.2, §12.3; vol. 1 ch. 9; vol. 2 under each mnemonic */
import { Reg } from "../registers.ts";
import { type FpConversion, type Sem, type Semantics, semantics } from "../sem.ts";
import type { VectorOp } from "../vector.ts";
import { type OfTwo, shiftLanes } from "./sse-integer.ts";
import { atMost, interleave, laneMask, laneToBottom, shiftRightBytes, wordIndices } from "./sse-shuffle.ts";
import { checkPending } from "./x87.ts";

/** FSW.TOP and FTW in the eight bytes at FCW. */
const TOP = 0x3800n << 16n;
const TAGS = 0xffffn << 32n;
const VALID = 0n;
const EMPTY = 0xffffn << 32n;

/** TOP 0, and all registers valid (tags 0) or empty. */
function setStack<V>(s: Sem<V>, tags: bigint): void {
  const kept = s.and(s.field(Reg.FCW, 8), s.const(~(TOP | TAGS) & 0xffff_ffff_ffff_ffffn));
  s.setField(Reg.FCW, 8, s.or(kept, s.const(tags)));
}

/** @param run gives what operand 0 becomes; a store that faults has changed the register stack, as in processors */
const mmx = (access: string, run: <V>(s: Sem<V>) => V): Semantics =>
  semantics(access, (s) => {
    checkPending(s);
    const result = run(s);
    setStack(s, VALID);
    s.put(0, result);
  });

const wide = <V>(s: Sem<V>, v: V): V => s.vector("i64x2.splat", v);
const narrow = <V>(s: Sem<V>, v: V): V => s.lane("i64x2", v, 0);
/** Source above destination. */
const concatenate = <V>(s: Sem<V>, low: V, high: V): V => s.withLane("i64x2", wide(s, low), 1, high);

/** What works on lanes: both halves of the XMM operation do the same. */
export const mmxBinary = (f: OfTwo): Semantics =>
  mmx("xr", (s) => s.put(0, narrow(s, f(s, wide(s, s.get(0)), wide(s, s.get(1))))));
export const mmxLanes = (op: VectorOp): Semantics => mmxBinary((s, a, b) => s.vector(op, a, b));
export const mmxUnary = (op: VectorOp): Semantics => mmx("wr", (s) => s.put(0, narrow(s, s.vector(op, wide(s, s.get(1))))));

/** What makes the low half of the result from the first operand and the high half from the second. */
export const mmxConcatenated = (f: OfTwo): Semantics =>
  mmx("xr", (s) => {
    const both = concatenate(s, s.get(0), s.get(1));
    s.put(0, narrow(s, f(s, both, both)));
  });
export const mmxPacked = (op: VectorOp): Semantics => mmxConcatenated((s, a, b) => s.vector(op, a, b));

/** PUNPCKLxx and PUNPCKHxx: the halves of what interleaving all of both gives. */
const unpack = (size: number, half: 0 | 1): Semantics =>
  mmx("xr", (s) => s.put(0, s.lane("i64x2", s.shuffle(wide(s, s.get(0)), wide(s, s.get(1)), interleave(size, 0)), half)));
export const unpackLow = (size: number): Semantics => unpack(size, 0);
export const unpackHigh = (size: number): Semantics => unpack(size, 1);

export const mmxShift = (op: "shl" | "shr_u" | "shr_s", shape: "i16x8" | "i32x4" | "i64x2"): Semantics => {
  const shift = shiftLanes(op, shape);
  return mmx("xr", (s) => s.put(0, narrow(s, shift(s, wide(s, s.get(0)), s.get(1)))));
};

export const PSHUFW = mmx("wrr", (s) => s.put(0, narrow(s, s.vector("i8x16.swizzle", wide(s, s.get(1)), wordIndices(s, s.get(2))))));

/** Index bytes use bits 2:0; bit 7 gives zero. */
export const PSHUFB = mmx("xr", (s) => {
  const used = 0x8787878787878787n;
  const indices = s.vector("v128.and", wide(s, s.get(1)), s.vectorConst(used, used));
  s.put(0, narrow(s, s.vector("i8x16.swizzle", wide(s, s.get(0)), indices)));
});

export const PALIGNR = mmx("xrr", (s) =>
  s.put(0, narrow(s, shiftRightBytes(s, concatenate(s, s.get(1), s.get(0)), atMost(s, s.get(2), 16)))),
);

export const PINSRW = mmx("xrr", (s) => {
  const mask = laneMask(s, "i16x8", s.shl(s.const(1), s.and(s.get(2), s.const(3))));
  s.put(0, narrow(s, s.vector("v128.bitselect", s.vector("i16x8.splat", s.get(1)), wide(s, s.get(0)), mask)));
});
export const PEXTRW = mmx("wrr", (s) =>
  s.put(0, s.lane("i16x8", laneToBottom(s, wide(s, s.get(1)), s.and(s.get(2), s.const(3)), 2), 0)),
);

const signs = <V>(s: Sem<V>, v: V): V => s.and(s.vector("i8x16.bitmask", wide(s, v)), s.const(0xff));
export const PMOVMSKB = mmx("wr", (s) => s.put(0, signs(s, s.get(1))));

/** MOVD, MOVQ, MOVNTQ. */
export const mmxMove = mmx("wr", (s) => s.put(0, s.get(1)));
export const MOVDQ2Q = mmxMove;
export const MOVQ2DQ = mmx("wr", (s) => s.put(0, s.withLane("i64x2", s.vectorConst(0n, 0n), 0, s.get(1))));

export const EMMS = semantics("", (s) => {
  checkPending(s);
  setStack(s, EMPTY);
});

export const MASKMOVQ = mmx("rrr", (s) => {
  const value = s.get(1);
  const mask = signs(s, s.get(2));
  const address = s.linearAddress(0);
  s.probeWrite(address, 8);
  s.when(mask, () => {
    s.call("maskmovdqu", address, value, s.const(0), mask);
  });
});

/** CVTPI2PS, CVTPI2PD. */
export const mmxToFloats = (kind: "i32→f32" | "i32→f64"): Semantics =>
  mmx("wr", (s) => {
    const pair = s.get(1);
    const [low, high] = s.fpLanes(() => [pair, s.shrU(pair, s.const(32))].map((v) => s.fpConvert(kind, v, "mxcsr")));
    if (kind === "i32→f64") s.put(0, concatenate(s, low, high));
    else s.put(0, s.or(low, s.shl(high, s.const(32))));
  });

/** CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI. */
export const mmxFromFloats = (kind: FpConversion & ("f32→i32" | "f64→i32"), rounding: "mxcsr" | "zero"): Semantics =>
  mmx("wr", (s) => {
    const source = s.get(1);
    const lanes = <V>(t: Sem<V>, v: V): V[] => (kind === "f32→i32" ? [v, t.shrU(v, t.const(32))] : [t.lane("i64x2", v, 0), t.lane("i64x2", v, 1)]);
    const [low, high] = s.fpLanes(() => lanes(s, source).map((v) => s.fpConvert(kind, v, rounding)));
    s.put(0, s.or(low, s.shl(high, s.const(32))));
  });
