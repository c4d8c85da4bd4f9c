/* SSSE3, SSE4.1 and SSE4.2, maps 0F38 and 0F3A, prefix 66. Conventions: sse.ts. @source SDM vol. 2D Tables */
import { type Row, type RowOptions, rowsOf } from "../row.ts";
import type { Semantics } from "../sem.ts";
import { fpDotProduct, fpRoundPacked, fpRoundScalar } from "../sem/sse-fp.ts";
import {
  MPSADBW, PHADDD, PHADDSW, PHADDW, PHMINPOSUW, PHSUBD, PHSUBSW, PHSUBW, PMADDUBSW, PMOVX, PMULDQ, PMULHRSW, PSIGN, PTEST,
  vectorBinary, vectorUnary,
} from "../sem/sse-integer.ts";
import { VMOVE } from "../sem/sse-move.ts";
import {
  blendImmediate, blendVariable, INSERTPS, PALIGNR, PEXTRB, PEXTRD, PEXTRQ, PEXTRW, PINSRB, PINSRD, PINSRQ, PSHUFB,
} from "../sem/sse-shuffle.ts";
import { compareStringsIndex, compareStringsMask } from "../sem/sse-string.ts";
import type { VectorOp } from "../vector.ts";

const map2 = rowsOf(2);
const map3 = rowsOf(3);

const form = (feature: string, more: RowOptions = {}): RowOptions => ({ unit: "sse", prefix: "66", feature, ...more });
const SSSE3 = form("ssse3", { aligned: true });
const SSE41 = form("sse4.1");
const SSE41_ALIGNED = form("sse4.1", { aligned: true });
const SSE42 = form("sse4.2");
const WHOLE = ["Vdq", "Wdq"] as const;
const WHOLE_IMM = ["Vdq", "Wdq", "Ib"] as const;

const ssse3: Row[] = [
  map2(0x00, "pshufb", PSHUFB, WHOLE, SSSE3),
  map2(0x01, "phaddw", PHADDW, WHOLE, SSSE3),
  map2(0x02, "phaddd", PHADDD, WHOLE, SSSE3),
  map2(0x03, "phaddsw", PHADDSW, WHOLE, SSSE3),
  map2(0x04, "pmaddubsw", PMADDUBSW, WHOLE, SSSE3),
  map2(0x05, "phsubw", PHSUBW, WHOLE, SSSE3),
  map2(0x06, "phsubd", PHSUBD, WHOLE, SSSE3),
  map2(0x07, "phsubsw", PHSUBSW, WHOLE, SSSE3),
  map2(0x08, "psignb", PSIGN("i8x16"), WHOLE, SSSE3),
  map2(0x09, "psignw", PSIGN("i16x8"), WHOLE, SSSE3),
  map2(0x0a, "psignd", PSIGN("i32x4"), WHOLE, SSSE3),
  map2(0x0b, "pmulhrsw", PMULHRSW, WHOLE, SSSE3),
  map2(0x1c, "pabsb", vectorUnary("i8x16.abs"), WHOLE, SSSE3),
  map2(0x1d, "pabsw", vectorUnary("i16x8.abs"), WHOLE, SSSE3),
  map2(0x1e, "pabsd", vectorUnary("i32x4.abs"), WHOLE, SSSE3),
  map3(0x0f, "palignr", PALIGNR, WHOLE_IMM, SSSE3),
];

const lanes = (opcode: number, name: string, op: VectorOp): Row => map2(opcode, name, vectorBinary(op), WHOLE, SSE41_ALIGNED);
/** Sources of 8, 4 and 2 bytes. */
const widen = (opcode: number, name: string, source: "Wq" | "Wd" | "Ud/Mw", ...steps: VectorOp[]): Row => map2(opcode, name, PMOVX(...steps), ["Vdq", source], SSE41);

const sse41Map2: Row[] = [
  map2(0x10, "pblendvb", blendVariable("i8x16"), ["Vdq", "Wdq", "XMM0"], SSE41_ALIGNED),
  map2(0x14, "blendvps", blendVariable("i32x4"), ["Vdq", "Wdq", "XMM0"], SSE41_ALIGNED),
  map2(0x15, "blendvpd", blendVariable("i64x2"), ["Vdq", "Wdq", "XMM0"], SSE41_ALIGNED),
  map2(0x17, "ptest", PTEST, WHOLE, SSE41_ALIGNED),
  widen(0x20, "pmovsxbw", "Wq", "i16x8.extend_low_i8x16_s"),
  widen(0x21, "pmovsxbd", "Wd", "i16x8.extend_low_i8x16_s", "i32x4.extend_low_i16x8_s"),
  widen(0x22, "pmovsxbq", "Ud/Mw", "i16x8.extend_low_i8x16_s", "i32x4.extend_low_i16x8_s", "i64x2.extend_low_i32x4_s"),
  widen(0x23, "pmovsxwd", "Wq", "i32x4.extend_low_i16x8_s"),
  widen(0x24, "pmovsxwq", "Wd", "i32x4.extend_low_i16x8_s", "i64x2.extend_low_i32x4_s"),
  widen(0x25, "pmovsxdq", "Wq", "i64x2.extend_low_i32x4_s"),
  map2(0x28, "pmuldq", PMULDQ, WHOLE, SSE41_ALIGNED),
  lanes(0x29, "pcmpeqq", "i64x2.eq"),
  map2(0x2a, "movntdqa", VMOVE, ["Vdq", "Mdq"], SSE41_ALIGNED),
  lanes(0x2b, "packusdw", "i16x8.narrow_i32x4_u"),
  widen(0x30, "pmovzxbw", "Wq", "i16x8.extend_low_i8x16_u"),
  widen(0x31, "pmovzxbd", "Wd", "i16x8.extend_low_i8x16_u", "i32x4.extend_low_i16x8_u"),
  widen(0x32, "pmovzxbq", "Ud/Mw", "i16x8.extend_low_i8x16_u", "i32x4.extend_low_i16x8_u", "i64x2.extend_low_i32x4_u"),
  widen(0x33, "pmovzxwd", "Wq", "i32x4.extend_low_i16x8_u"),
  widen(0x34, "pmovzxwq", "Wd", "i32x4.extend_low_i16x8_u", "i64x2.extend_low_i32x4_u"),
  widen(0x35, "pmovzxdq", "Wq", "i64x2.extend_low_i32x4_u"),
  lanes(0x38, "pminsb", "i8x16.min_s"),
  lanes(0x39, "pminsd", "i32x4.min_s"),
  lanes(0x3a, "pminuw", "i16x8.min_u"),
  lanes(0x3b, "pminud", "i32x4.min_u"),
  lanes(0x3c, "pmaxsb", "i8x16.max_s"),
  lanes(0x3d, "pmaxsd", "i32x4.max_s"),
  lanes(0x3e, "pmaxuw", "i16x8.max_u"),
  lanes(0x3f, "pmaxud", "i32x4.max_u"),
  lanes(0x40, "pmulld", "i32x4.mul"),
  map2(0x41, "phminposuw", PHMINPOSUW, WHOLE, SSE41_ALIGNED),
];

const imm = (opcode: number, name: string, sem: Semantics): Row => map3(opcode, name, sem, WHOLE_IMM, SSE41_ALIGNED);

const sse41Map3: Row[] = [
  imm(0x08, "roundps", fpRoundPacked(4)),
  imm(0x09, "roundpd", fpRoundPacked(8)),
  map3(0x0a, "roundss", fpRoundScalar(4), ["Vss", "Wss", "Ib"], SSE41),
  map3(0x0b, "roundsd", fpRoundScalar(8), ["Vsd", "Wsd", "Ib"], SSE41),
  imm(0x0c, "blendps", blendImmediate("i32x4")),
  imm(0x0d, "blendpd", blendImmediate("i64x2")),
  imm(0x0e, "pblendw", blendImmediate("i16x8")),
  map3(0x14, "pextrb", PEXTRB, ["Rd/Mb", "Vdq", "Ib"], SSE41),
  map3(0x15, "pextrw", PEXTRW, ["Rd/Mw", "Vdq", "Ib"], SSE41),
  map3(0x16, "pextrd", PEXTRD, ["Ed", "Vdq", "Ib"], form("sse4.1", { w: 0 })),
  map3(0x16, "pextrq", PEXTRQ, ["Eq", "Vdq", "Ib"], form("sse4.1", { w: 1 })),
  map3(0x17, "extractps", PEXTRD, ["Ed", "Vdq", "Ib"], SSE41),
  map3(0x20, "pinsrb", PINSRB, ["Vdq", "Rd/Mb", "Ib"], SSE41),
  map3(0x21, "insertps", INSERTPS, ["Vdq", "Udq/Md", "Ib"], SSE41),
  map3(0x22, "pinsrd", PINSRD, ["Vdq", "Ed", "Ib"], form("sse4.1", { w: 0 })),
  map3(0x22, "pinsrq", PINSRQ, ["Vdq", "Eq", "Ib"], form("sse4.1", { w: 1 })),
  map3(0x40, "dpps", fpDotProduct(4), WHOLE_IMM, { ...SSE41_ALIGNED, anyNan: true }),
  map3(0x41, "dppd", fpDotProduct(8), WHOLE_IMM, { ...SSE41_ALIGNED, anyNan: true }),
  imm(0x42, "mpsadbw", MPSADBW),
];

const sse42: Row[] = [
  map2(0x37, "pcmpgtq", vectorBinary("i64x2.gt_s"), WHOLE, form("sse4.2", { aligned: true })),
  map3(0x60, "pcmpestrm", compareStringsMask(true), WHOLE_IMM, SSE42),
  map3(0x61, "pcmpestri", compareStringsIndex(true), WHOLE_IMM, SSE42),
  map3(0x62, "pcmpistrm", compareStringsMask(false), WHOLE_IMM, SSE42),
  map3(0x63, "pcmpistri", compareStringsIndex(false), WHOLE_IMM, SSE42),
];

export const SSE4_ROWS: Row[] = [...ssse3, ...sse41Map2, ...sse41Map3, ...sse42];
