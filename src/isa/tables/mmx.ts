/* MMX, and what SSE, SSE2 and SSSE3 added on MMX registers: the opcodes of the XMM forms without their prefix. Rows that also use XMM registers are of
 * unit "sse". @source SDM vol. 2D Tables; vol. 3A table 12-1 */
import { type Row, type RowOptions, rowsOf } from "../row.ts";
import type { Semantics } from "../sem.ts";
import {
  EMMS, MASKMOVQ, mmxBinary, mmxConcatenated, mmxFromFloats, mmxLanes, mmxMove, mmxPacked, mmxShift, mmxToFloats, mmxUnary, MOVQ2DQ, PALIGNR,
  PEXTRW, PINSRW, PMOVMSKB, PSHUFB, PSHUFW, unpackHigh, unpackLow,
} from "../sem/mmx.ts";
import {
  absoluteDifferences, andNot, horizontal, multiplyAddBytes, multiplyEven, multiplyHigh, multiplyRounded, negateBySign,
} from "../sem/sse-integer.ts";
import type { VectorOp } from "../vector.ts";

const map1 = rowsOf(1);
const map2 = rowsOf(2);
const map3 = rowsOf(3);

const form = (feature: string, more: RowOptions = {}): RowOptions => ({ unit: "mmx", prefix: "none", feature, ...more });
const MMX = form("mmx");
const SSE = form("sse");
const SSE2 = form("sse2");
const SSSE3 = form("ssse3");
const PAIR = ["Pq", "Qq"] as const;

const lanes = (opcode: number, name: string, op: VectorOp, options = MMX): Row => map1(opcode, name, mmxLanes(op), PAIR, options);
const binary = (opcode: number, name: string, sem: Semantics, options = MMX): Row => map1(opcode, name, sem, PAIR, options);
const immediate = (opcode: number, name: string, sem: Semantics, ext: number): Row => map1(opcode, name, sem, ["Nq", "Ib"], { ...MMX, ext, mod: "reg" });
/** Interleaving the low halves needs no more than four bytes of memory. */
const low = (opcode: number, name: string, size: number): Row => map1(opcode, name, unpackLow(size), ["Pq", "Nq/Md"], MMX);

const moves: Row[] = [
  map1(0x6e, "movd", mmxMove, ["Pq", "Ed"], form("mmx", { w: 0 })),
  map1(0x6e, "movq", mmxMove, ["Pq", "Eq"], form("mmx", { w: 1 })),
  map1(0x7e, "movd", mmxMove, ["Ed", "Pd"], form("mmx", { w: 0 })),
  map1(0x7e, "movq", mmxMove, ["Eq", "Pq"], form("mmx", { w: 1 })),
  map1(0x6f, "movq", mmxMove, PAIR, MMX),
  map1(0x7f, "movq", mmxMove, ["Qq", "Pq"], MMX),
  map1(0x77, "emms", EMMS, [], MMX),
  map1(0xe7, "movntq", mmxMove, ["Mq", "Pq"], SSE),
  map1(0xf7, "maskmovq", MASKMOVQ, ["mDIq", "Pq", "Nq"], form("sse", { mod: "reg" })),
  map1(0xd6, "movdq2q", mmxMove, ["Pq", "Uq"], { unit: "sse", prefix: "F2", feature: "sse2", mod: "reg" }),
  map1(0xd6, "movq2dq", MOVQ2DQ, ["Vdq", "Nq"], { unit: "sse", prefix: "F3", feature: "sse2", mod: "reg" }),
];

const shifts: Row[] = [
  immediate(0x71, "psrlw", mmxShift("shr_u", "i16x8"), 2),
  immediate(0x71, "psraw", mmxShift("shr_s", "i16x8"), 4),
  immediate(0x71, "psllw", mmxShift("shl", "i16x8"), 6),
  immediate(0x72, "psrld", mmxShift("shr_u", "i32x4"), 2),
  immediate(0x72, "psrad", mmxShift("shr_s", "i32x4"), 4),
  immediate(0x72, "pslld", mmxShift("shl", "i32x4"), 6),
  immediate(0x73, "psrlq", mmxShift("shr_u", "i64x2"), 2),
  immediate(0x73, "psllq", mmxShift("shl", "i64x2"), 6),
  binary(0xd1, "psrlw", mmxShift("shr_u", "i16x8")),
  binary(0xd2, "psrld", mmxShift("shr_u", "i32x4")),
  binary(0xd3, "psrlq", mmxShift("shr_u", "i64x2")),
  binary(0xe1, "psraw", mmxShift("shr_s", "i16x8")),
  binary(0xe2, "psrad", mmxShift("shr_s", "i32x4")),
  binary(0xf1, "psllw", mmxShift("shl", "i16x8")),
  binary(0xf2, "pslld", mmxShift("shl", "i32x4")),
  binary(0xf3, "psllq", mmxShift("shl", "i64x2")),
];

const rearrangement: Row[] = [
  low(0x60, "punpcklbw", 1),
  low(0x61, "punpcklwd", 2),
  low(0x62, "punpckldq", 4),
  binary(0x63, "packsswb", mmxPacked("i8x16.narrow_i16x8_s")),
  binary(0x67, "packuswb", mmxPacked("i8x16.narrow_i16x8_u")),
  binary(0x68, "punpckhbw", unpackHigh(1)),
  binary(0x69, "punpckhwd", unpackHigh(2)),
  binary(0x6a, "punpckhdq", unpackHigh(4)),
  binary(0x6b, "packssdw", mmxPacked("i16x8.narrow_i32x4_s")),
  map1(0x70, "pshufw", PSHUFW, ["Pq", "Qq", "Ib"], SSE),
  map1(0xc4, "pinsrw", PINSRW, ["Pq", "Rd/Mw", "Ib"], SSE),
  map1(0xc5, "pextrw", PEXTRW, ["Gd", "Nq", "Ib"], form("sse", { mod: "reg" })),
  map1(0xd7, "pmovmskb", PMOVMSKB, ["Gd", "Nq"], form("sse", { mod: "reg" })),
];

const arithmetic: Row[] = [
  lanes(0x64, "pcmpgtb", "i8x16.gt_s"),
  lanes(0x65, "pcmpgtw", "i16x8.gt_s"),
  lanes(0x66, "pcmpgtd", "i32x4.gt_s"),
  lanes(0x74, "pcmpeqb", "i8x16.eq"),
  lanes(0x75, "pcmpeqw", "i16x8.eq"),
  lanes(0x76, "pcmpeqd", "i32x4.eq"),
  lanes(0xd4, "paddq", "i64x2.add", SSE2),
  lanes(0xd5, "pmullw", "i16x8.mul"),
  lanes(0xd8, "psubusb", "i8x16.sub_sat_u"),
  lanes(0xd9, "psubusw", "i16x8.sub_sat_u"),
  lanes(0xda, "pminub", "i8x16.min_u", SSE),
  lanes(0xdb, "pand", "v128.and"),
  lanes(0xdc, "paddusb", "i8x16.add_sat_u"),
  lanes(0xdd, "paddusw", "i16x8.add_sat_u"),
  lanes(0xde, "pmaxub", "i8x16.max_u", SSE),
  binary(0xdf, "pandn", mmxBinary(andNot)),
  lanes(0xe0, "pavgb", "i8x16.avgr_u", SSE),
  lanes(0xe3, "pavgw", "i16x8.avgr_u", SSE),
  binary(0xe4, "pmulhuw", mmxBinary(multiplyHigh("u")), SSE),
  binary(0xe5, "pmulhw", mmxBinary(multiplyHigh("s"))),
  lanes(0xe8, "psubsb", "i8x16.sub_sat_s"),
  lanes(0xe9, "psubsw", "i16x8.sub_sat_s"),
  lanes(0xea, "pminsw", "i16x8.min_s", SSE),
  lanes(0xeb, "por", "v128.or"),
  lanes(0xec, "paddsb", "i8x16.add_sat_s"),
  lanes(0xed, "paddsw", "i16x8.add_sat_s"),
  lanes(0xee, "pmaxsw", "i16x8.max_s", SSE),
  lanes(0xef, "pxor", "v128.xor"),
  binary(0xf4, "pmuludq", mmxBinary(multiplyEven("i64x2.extmul_low_i32x4_u")), SSE2),
  lanes(0xf5, "pmaddwd", "i32x4.dot_i16x8_s"),
  binary(0xf6, "psadbw", mmxBinary(absoluteDifferences), SSE),
  lanes(0xf8, "psubb", "i8x16.sub"),
  lanes(0xf9, "psubw", "i16x8.sub"),
  lanes(0xfa, "psubd", "i32x4.sub"),
  lanes(0xfb, "psubq", "i64x2.sub", SSE2),
  lanes(0xfc, "paddb", "i8x16.add"),
  lanes(0xfd, "paddw", "i16x8.add"),
  lanes(0xfe, "paddd", "i32x4.add"),
];

const ssse3: Row[] = [
  map2(0x00, "pshufb", PSHUFB, PAIR, SSSE3),
  map2(0x01, "phaddw", mmxConcatenated(horizontal("i16x8.add")), PAIR, SSSE3),
  map2(0x02, "phaddd", mmxConcatenated(horizontal("i32x4.add")), PAIR, SSSE3),
  map2(0x03, "phaddsw", mmxConcatenated(horizontal("i16x8.add_sat_s")), PAIR, SSSE3),
  map2(0x04, "pmaddubsw", mmxBinary(multiplyAddBytes), PAIR, SSSE3),
  map2(0x05, "phsubw", mmxConcatenated(horizontal("i16x8.sub")), PAIR, SSSE3),
  map2(0x06, "phsubd", mmxConcatenated(horizontal("i32x4.sub")), PAIR, SSSE3),
  map2(0x07, "phsubsw", mmxConcatenated(horizontal("i16x8.sub_sat_s")), PAIR, SSSE3),
  map2(0x08, "psignb", mmxBinary(negateBySign("i8x16")), PAIR, SSSE3),
  map2(0x09, "psignw", mmxBinary(negateBySign("i16x8")), PAIR, SSSE3),
  map2(0x0a, "psignd", mmxBinary(negateBySign("i32x4")), PAIR, SSSE3),
  map2(0x0b, "pmulhrsw", mmxBinary(multiplyRounded), PAIR, SSSE3),
  map2(0x1c, "pabsb", mmxUnary("i8x16.abs"), PAIR, SSSE3),
  map2(0x1d, "pabsw", mmxUnary("i16x8.abs"), PAIR, SSSE3),
  map2(0x1e, "pabsd", mmxUnary("i32x4.abs"), PAIR, SSSE3),
  map3(0x0f, "palignr", PALIGNR, ["Pq", "Qq", "Ib"], SSSE3),
];

const withXmm = (feature: string, prefix: "none" | "66"): RowOptions => ({ unit: "sse", feature, prefix });
const conversions: Row[] = [
  map1(0x2a, "cvtpi2ps", mmxToFloats("i32→f32"), ["Vq", "Qq"], withXmm("sse", "none")),
  map1(0x2c, "cvttps2pi", mmxFromFloats("f32→i32", "zero"), ["Pq", "Wq"], withXmm("sse", "none")),
  map1(0x2d, "cvtps2pi", mmxFromFloats("f32→i32", "mxcsr"), ["Pq", "Wq"], withXmm("sse", "none")),
  map1(0x2a, "cvtpi2pd", mmxToFloats("i32→f64"), ["Vpd", "Qq"], withXmm("sse2", "66")),
  map1(0x2c, "cvttpd2pi", mmxFromFloats("f64→i32", "zero"), ["Pq", "Wpd"], { ...withXmm("sse2", "66"), aligned: true }),
  map1(0x2d, "cvtpd2pi", mmxFromFloats("f64→i32", "mxcsr"), ["Pq", "Wpd"], { ...withXmm("sse2", "66"), aligned: true }),
];

export const MMX_ROWS: readonly Row[] = [...moves, ...shifts, ...rearrangement, ...arithmetic, ...ssse3, ...conversions];
