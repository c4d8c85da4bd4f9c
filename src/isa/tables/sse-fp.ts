/* SSE, SSE2, SSE3 floating point, map 0F. Conventions: sse.ts. @source SDM vol. 2D Table A-3 */
import { type Row, type RowOptions, rowsOf } from "../row.ts";
import type { FpOp, Semantics } from "../sem.ts";
import {
  convertFour, convertNarrowing, convertWidening, fpCompareFlags, fpCompareMask, fpCompareMaskPacked, fpToFp, fpToInteger, integerToFp,
} from "../sem/sse-convert.ts";
import {
  approximate, approximatePacked, fpAddSub, fpBinary, fpBinaryPacked, fpHorizontal, fpSqrt, fpSqrtPacked,
} from "../sem/sse-fp.ts";
import { MOVMSKPD, MOVMSKPS, VAND, VANDN, VOR, VXOR } from "../sem/sse-integer.ts";
import { fixedShuffle, interleave, SHUFPD, SHUFPS } from "../sem/sse-shuffle.ts";

const row = rowsOf(1);

const form = (prefix: NonNullable<RowOptions["prefix"]>, feature: string, more: RowOptions = {}): RowOptions => ({ unit: "sse", feature, prefix, ...more });
const aligned = { aligned: true } as const;
const PS = form("none", "sse", aligned);
const PD = form("66", "sse2", aligned);
const SS = form("F3", "sse");
const SD = form("F2", "sse2");

/** The four forms of an arithmetic operation. */
function arithmetic(opcode: number, op: FpOp): Row[] {
  return [
    row(opcode, `${op}ps`, fpBinaryPacked(op, 4), ["Vps", "Wps"], PS),
    row(opcode, `${op}pd`, fpBinaryPacked(op, 8), ["Vpd", "Wpd"], PD),
    row(opcode, `${op}ss`, fpBinary(op, 4), ["Vss", "Wss"], SS),
    row(opcode, `${op}sd`, fpBinary(op, 8), ["Vsd", "Wsd"], SD),
  ];
}

/** PS and PD forms that do the same to 128 bits. */
const bitwise = (opcode: number, name: string, sem: Semantics): Row[] => [
  row(opcode, `${name}ps`, sem, ["Vps", "Wps"], PS),
  row(opcode, `${name}pd`, sem, ["Vpd", "Wpd"], PD),
];

export const SSE_FP_ROWS: Row[] = [
  row(0x14, "unpcklps", fixedShuffle(interleave(4, 0)), ["Vps", "Wps"], PS),
  row(0x14, "unpcklpd", fixedShuffle(interleave(8, 0)), ["Vpd", "Wpd"], PD),
  row(0x15, "unpckhps", fixedShuffle(interleave(4, 8)), ["Vps", "Wps"], PS),
  row(0x15, "unpckhpd", fixedShuffle(interleave(8, 8)), ["Vpd", "Wpd"], PD),
  row(0x2a, "cvtsi2ss", integerToFp("f32"), ["Vss", "Ey"], SS),
  row(0x2a, "cvtsi2sd", integerToFp("f64"), ["Vsd", "Ey"], SD),
  row(0x2c, "cvttss2si", fpToInteger("f32", "zero"), ["Gy", "Wss"], SS),
  row(0x2c, "cvttsd2si", fpToInteger("f64", "zero"), ["Gy", "Wsd"], SD),
  row(0x2d, "cvtss2si", fpToInteger("f32", "mxcsr"), ["Gy", "Wss"], SS),
  row(0x2d, "cvtsd2si", fpToInteger("f64", "mxcsr"), ["Gy", "Wsd"], SD),
  row(0x2e, "ucomiss", fpCompareFlags(4, false), ["Vss", "Wss"], form("none", "sse")),
  row(0x2e, "ucomisd", fpCompareFlags(8, false), ["Vsd", "Wsd"], form("66", "sse2")),
  row(0x2f, "comiss", fpCompareFlags(4, true), ["Vss", "Wss"], form("none", "sse")),
  row(0x2f, "comisd", fpCompareFlags(8, true), ["Vsd", "Wsd"], form("66", "sse2")),
  row(0x50, "movmskps", MOVMSKPS, ["Gd", "Ups"], form("none", "sse", { mod: "reg" })),
  row(0x50, "movmskpd", MOVMSKPD, ["Gd", "Upd"], form("66", "sse2", { mod: "reg" })),
  row(0x51, "sqrtps", fpSqrtPacked(4), ["Vps", "Wps"], PS),
  row(0x51, "sqrtpd", fpSqrtPacked(8), ["Vpd", "Wpd"], PD),
  row(0x51, "sqrtss", fpSqrt(4), ["Vss", "Wss"], SS),
  row(0x51, "sqrtsd", fpSqrt(8), ["Vsd", "Wsd"], SD),
  row(0x52, "rsqrtps", approximatePacked("rsqrt32"), ["Vps", "Wps"], { ...PS, approximate: true }),
  row(0x52, "rsqrtss", approximate("rsqrt32"), ["Vss", "Wss"], { ...SS, approximate: true }),
  row(0x53, "rcpps", approximatePacked("rcp32"), ["Vps", "Wps"], { ...PS, approximate: true }),
  row(0x53, "rcpss", approximate("rcp32"), ["Vss", "Wss"], { ...SS, approximate: true }),
  ...bitwise(0x54, "and", VAND),
  ...bitwise(0x55, "andn", VANDN),
  ...bitwise(0x56, "or", VOR),
  ...bitwise(0x57, "xor", VXOR),
  ...arithmetic(0x58, "add"),
  ...arithmetic(0x59, "mul"),
  row(0x5a, "cvtps2pd", convertWidening("f32→f64"), ["Vpd", "Wq"], form("none", "sse2")),
  row(0x5a, "cvtpd2ps", convertNarrowing("f64→f32", "mxcsr"), ["Vps", "Wpd"], PD),
  row(0x5a, "cvtss2sd", fpToFp("f32→f64"), ["Vsd", "Wss"], form("F3", "sse2")),
  row(0x5a, "cvtsd2ss", fpToFp("f64→f32"), ["Vss", "Wsd"], SD),
  row(0x5b, "cvtdq2ps", convertFour("i32→f32", "mxcsr"), ["Vps", "Wdq"], form("none", "sse2", aligned)),
  row(0x5b, "cvtps2dq", convertFour("f32→i32", "mxcsr"), ["Vdq", "Wps"], PD),
  row(0x5b, "cvttps2dq", convertFour("f32→i32", "zero"), ["Vdq", "Wps"], form("F3", "sse2", aligned)),
  ...arithmetic(0x5c, "sub"),
  ...arithmetic(0x5d, "min"),
  ...arithmetic(0x5e, "div"),
  ...arithmetic(0x5f, "max"),
  row(0x7c, "haddpd", fpHorizontal("add", 8), ["Vpd", "Wpd"], form("66", "sse3", aligned)),
  row(0x7c, "haddps", fpHorizontal("add", 4), ["Vps", "Wps"], form("F2", "sse3", aligned)),
  row(0x7d, "hsubpd", fpHorizontal("sub", 8), ["Vpd", "Wpd"], form("66", "sse3", aligned)),
  row(0x7d, "hsubps", fpHorizontal("sub", 4), ["Vps", "Wps"], form("F2", "sse3", aligned)),
  row(0xc2, "cmpps", fpCompareMaskPacked(4), ["Vps", "Wps", "Ib"], PS),
  row(0xc2, "cmppd", fpCompareMaskPacked(8), ["Vpd", "Wpd", "Ib"], PD),
  row(0xc2, "cmpss", fpCompareMask(4), ["Vss", "Wss", "Ib"], SS),
  row(0xc2, "cmpsd", fpCompareMask(8), ["Vsd", "Wsd", "Ib"], SD),
  row(0xc6, "shufps", SHUFPS, ["Vps", "Wps", "Ib"], PS),
  row(0xc6, "shufpd", SHUFPD, ["Vpd", "Wpd", "Ib"], PD),
  row(0xd0, "addsubpd", fpAddSub(8), ["Vpd", "Wpd"], form("66", "sse3", aligned)),
  row(0xd0, "addsubps", fpAddSub(4), ["Vps", "Wps"], form("F2", "sse3", aligned)),
  row(0xe6, "cvttpd2dq", convertNarrowing("f64→i32", "zero"), ["Vdq", "Wpd"], PD),
  row(0xe6, "cvtpd2dq", convertNarrowing("f64→i32", "mxcsr"), ["Vdq", "Wpd"], form("F2", "sse2", aligned)),
  row(0xe6, "cvtdq2pd", convertWidening("i32→f64"), ["Vpd", "Wq"], form("F3", "sse2")),
];
