/* SSE comparisons and conversions, on Sem's fpCompare and fpConvert. @source SDM vol. 2 CMPSD, COMISD, CVT* */
import { type FpConversion, type Sem, type Semantics, semantics } from "../sem.ts";
import { mapLanes, shapeOf } from "./sse-fp.ts";

/** OSZAPC by order: less CF, equal ZF, greater none, unordered ZF PF CF; one byte each. */
export const COMI_FLAGS = 0x45_00_40_01;

/** COMISx (signalling) and UCOMISx. */
export const fpCompareFlags = (width: 4 | 8, signalling: boolean): Semantics =>
  semantics("rr", (s) => {
    const order = s.fpCompare(width, s.get(0), s.get(1), s.const(signalling ? 1 : 0));
    s.writeFlags(s.and(s.shrU(s.const(COMI_FLAGS), s.shl(order, s.const(3))), s.const(0xff)));
  });

/** Nibble p: for which orders (bit 0 less, 1 equal, 2 greater, 3 unordered) predicate p holds: EQ LT LE UNORD NEQ NLT NLE ORD. */
const PREDICATES = 0x7ced8312;
/** Bit p: predicate p signals on quiet NaNs too (LT LE NLT NLE). */
const SIGNALLING = 0b0110_0110;

/** All ones if imm's predicate holds between two lanes, else 0. */
function compareLane<V>(s: Sem<V>, width: 4 | 8, a: V, b: V, predicate: V, signalling: V): V {
  const order = s.fpCompare(width, a, b, signalling);
  const at = s.add(s.shl(predicate, s.const(2)), order);
  return s.sub(s.const(0), s.and(s.shrU(s.const(PREDICATES), at), s.const(1)));
}

function predicateOf<V>(s: Sem<V>): { predicate: V; signalling: V } {
  const predicate = s.and(s.get(2), s.const(7));
  return { predicate, signalling: s.and(s.shrU(s.const(SIGNALLING), predicate), s.const(1)) };
}

export const fpCompareMask = (width: 4 | 8): Semantics =>
  semantics("xrr", (s) => {
    const { predicate, signalling } = predicateOf(s);
    s.put(0, compareLane(s, width, s.get(0), s.get(1), predicate, signalling));
  });
export const fpCompareMaskPacked = (width: 4 | 8): Semantics =>
  semantics("xrr", (s) => {
    const { predicate, signalling } = predicateOf(s);
    const a = s.get(0);
    const b = s.get(1);
    const shape = shapeOf(width);
    s.put(
      0,
      mapLanes(s, shape, (i) => compareLane(s, width, s.lane(shape, a, i), s.lane(shape, b, i), predicate, signalling)),
    );
  });

/** CVTSI2Sx: a signed integer of operand 1's width. */
export const integerToFp = (to: "f32" | "f64"): Semantics =>
  semantics("wr", (s) => s.put(0, s.fpConvert(`${s.width(1) === 8 ? "i64" : "i32"}→${to}`, s.get(1), "mxcsr")));

/** CVTSx2SI, CVTTSx2SI: to an integer of operand 0's width. */
export const fpToInteger = (from: "f32" | "f64", rounding: "mxcsr" | "zero"): Semantics =>
  semantics("wr", (s) => s.put(0, s.fpConvert(`${from}→${s.width(0) === 8 ? "i64" : "i32"}`, s.get(1), rounding)));

export const fpToFp = (kind: "f32→f64" | "f64→f32"): Semantics =>
  semantics("wr", (s) => s.put(0, s.fpConvert(kind, s.get(1), "mxcsr")));

/** CVTPS2DQ, CVTTPS2DQ, CVTDQ2PS: four lanes to four. */
export const convertFour = (kind: FpConversion, rounding: "mxcsr" | "zero"): Semantics =>
  semantics("wr", (s) => {
    const b = s.get(1);
    s.put(
      0,
      mapLanes(s, "i32x4", (i) => s.fpConvert(kind, s.lane("i32x4", b, i), rounding)),
    );
  });

/** CVTPS2PD, CVTDQ2PD: operand 1 is 8 bytes, two lanes that widen. */
export const convertWidening = (kind: FpConversion): Semantics =>
  semantics("wr", (s) => {
    const pair = s.get(1);
    const lanes = [pair, s.shrU(pair, s.const(32))] as const;
    s.put(
      0,
      mapLanes(s, "i64x2", (i) => s.fpConvert(kind, lanes[i], "mxcsr")),
    );
  });

/** CVTPD2PS, CVTPD2DQ, CVTTPD2DQ: two lanes that narrow into the low half; the high half is zeroed. */
export const convertNarrowing = (kind: FpConversion, rounding: "mxcsr" | "zero"): Semantics =>
  semantics("wr", (s) => {
    const b = s.get(1);
    const [low, high] = s.fpLanes(() => [0, 1].map((i) => s.fpConvert(kind, s.lane("i64x2", b, i), rounding)));
    s.put(0, s.withLane("i64x2", s.vectorConst(0n, 0n), 0, s.or(low, s.shl(high, s.const(32)))));
  });
