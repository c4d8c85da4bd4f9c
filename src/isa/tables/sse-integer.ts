/* SSE2 packed integers, map 0F, prefix 66 (F2 and F3 for two shuffles). Conventions: sse.ts. @source SDM vol. 2D Table A-3 */
import { type Row, type RowOptions, rowsOf } from "../row.ts";
import type { Semantics } from "../sem.ts";
import {
  PMOVMSKB, PMULHUW, PMULHW, PMULUDQ, PSADBW, shift, VAND, VANDN, vectorBinary, VOR, VXOR,
} from "../sem/sse-integer.ts";
import { fixedShuffle, interleave, PEXTRW, PINSRW, PSHUFD, PSHUFHW, PSHUFLW, PSLLDQ, PSRLDQ } from "../sem/sse-shuffle.ts";
import type { VectorOp } from "../vector.ts";

const row = rowsOf(1);

const SSE2: RowOptions = { unit: "sse", feature: "sse2", prefix: "66" };
const ALIGNED: RowOptions = { ...SSE2, aligned: true };

/** Destination and aligned source, one v128 operation. */
const lanes = (opcode: number, name: string, op: VectorOp): Row => row(opcode, name, vectorBinary(op), ["Vdq", "Wdq"], ALIGNED);
const other = (opcode: number, name: string, sem: Semantics): Row => row(opcode, name, sem, ["Vdq", "Wdq"], ALIGNED);
const unpack = (opcode: number, name: string, size: number, from: 0 | 8): Row => other(opcode, name, fixedShuffle(interleave(size, from)));
const immediate = (opcode: number, name: string, sem: Semantics, ext: number): Row => row(opcode, name, sem, ["Udq", "Ib"], { ...SSE2, ext, mod: "reg" });

const shifts: Row[] = [
  immediate(0x71, "psrlw", shift("shr_u", "i16x8"), 2),
  immediate(0x71, "psraw", shift("shr_s", "i16x8"), 4),
  immediate(0x71, "psllw", shift("shl", "i16x8"), 6),
  immediate(0x72, "psrld", shift("shr_u", "i32x4"), 2),
  immediate(0x72, "psrad", shift("shr_s", "i32x4"), 4),
  immediate(0x72, "pslld", shift("shl", "i32x4"), 6),
  immediate(0x73, "psrlq", shift("shr_u", "i64x2"), 2),
  immediate(0x73, "psrldq", PSRLDQ, 3),
  immediate(0x73, "psllq", shift("shl", "i64x2"), 6),
  immediate(0x73, "pslldq", PSLLDQ, 7),
  other(0xd1, "psrlw", shift("shr_u", "i16x8")),
  other(0xd2, "psrld", shift("shr_u", "i32x4")),
  other(0xd3, "psrlq", shift("shr_u", "i64x2")),
  other(0xe1, "psraw", shift("shr_s", "i16x8")),
  other(0xe2, "psrad", shift("shr_s", "i32x4")),
  other(0xf1, "psllw", shift("shl", "i16x8")),
  other(0xf2, "pslld", shift("shl", "i32x4")),
  other(0xf3, "psllq", shift("shl", "i64x2")),
];

const rearrangement: Row[] = [
  unpack(0x60, "punpcklbw", 1, 0),
  unpack(0x61, "punpcklwd", 2, 0),
  unpack(0x62, "punpckldq", 4, 0),
  lanes(0x63, "packsswb", "i8x16.narrow_i16x8_s"),
  lanes(0x67, "packuswb", "i8x16.narrow_i16x8_u"),
  unpack(0x68, "punpckhbw", 1, 8),
  unpack(0x69, "punpckhwd", 2, 8),
  unpack(0x6a, "punpckhdq", 4, 8),
  lanes(0x6b, "packssdw", "i16x8.narrow_i32x4_s"),
  unpack(0x6c, "punpcklqdq", 8, 0),
  unpack(0x6d, "punpckhqdq", 8, 8),
  row(0x70, "pshufd", PSHUFD, ["Vdq", "Wdq", "Ib"], ALIGNED),
  row(0x70, "pshufhw", PSHUFHW, ["Vdq", "Wdq", "Ib"], { ...ALIGNED, prefix: "F3" }),
  row(0x70, "pshuflw", PSHUFLW, ["Vdq", "Wdq", "Ib"], { ...ALIGNED, prefix: "F2" }),
  row(0xc4, "pinsrw", PINSRW, ["Vdq", "Rd/Mw", "Ib"], SSE2),
  row(0xc5, "pextrw", PEXTRW, ["Gd", "Udq", "Ib"], { ...SSE2, mod: "reg" }),
  row(0xd7, "pmovmskb", PMOVMSKB, ["Gd", "Udq"], { ...SSE2, mod: "reg" }),
];

const arithmetic: Row[] = [
  lanes(0x64, "pcmpgtb", "i8x16.gt_s"),
  lanes(0x65, "pcmpgtw", "i16x8.gt_s"),
  lanes(0x66, "pcmpgtd", "i32x4.gt_s"),
  lanes(0x74, "pcmpeqb", "i8x16.eq"),
  lanes(0x75, "pcmpeqw", "i16x8.eq"),
  lanes(0x76, "pcmpeqd", "i32x4.eq"),
  lanes(0xd4, "paddq", "i64x2.add"),
  lanes(0xd5, "pmullw", "i16x8.mul"),
  lanes(0xd8, "psubusb", "i8x16.sub_sat_u"),
  lanes(0xd9, "psubusw", "i16x8.sub_sat_u"),
  lanes(0xda, "pminub", "i8x16.min_u"),
  other(0xdb, "pand", VAND),
  lanes(0xdc, "paddusb", "i8x16.add_sat_u"),
  lanes(0xdd, "paddusw", "i16x8.add_sat_u"),
  lanes(0xde, "pmaxub", "i8x16.max_u"),
  other(0xdf, "pandn", VANDN),
  lanes(0xe0, "pavgb", "i8x16.avgr_u"),
  lanes(0xe3, "pavgw", "i16x8.avgr_u"),
  other(0xe4, "pmulhuw", PMULHUW),
  other(0xe5, "pmulhw", PMULHW),
  lanes(0xe8, "psubsb", "i8x16.sub_sat_s"),
  lanes(0xe9, "psubsw", "i16x8.sub_sat_s"),
  lanes(0xea, "pminsw", "i16x8.min_s"),
  other(0xeb, "por", VOR),
  lanes(0xec, "paddsb", "i8x16.add_sat_s"),
  lanes(0xed, "paddsw", "i16x8.add_sat_s"),
  lanes(0xee, "pmaxsw", "i16x8.max_s"),
  other(0xef, "pxor", VXOR),
  other(0xf4, "pmuludq", PMULUDQ),
  lanes(0xf5, "pmaddwd", "i32x4.dot_i16x8_s"),
  other(0xf6, "psadbw", PSADBW),
  lanes(0xf8, "psubb", "i8x16.sub"),
  lanes(0xf9, "psubw", "i16x8.sub"),
  lanes(0xfa, "psubd", "i32x4.sub"),
  lanes(0xfb, "psubq", "i64x2.sub"),
  lanes(0xfc, "paddb", "i8x16.add"),
  lanes(0xfd, "paddw", "i16x8.add"),
  lanes(0xfe, "paddd", "i32x4.add"),
];

export const SSE_INTEGER_ROWS: Row[] = [...shifts, ...rearrangement, ...arithmetic];
