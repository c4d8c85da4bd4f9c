/* SSE, SSE2, SSE3 data movement, map 0F. Conventions: sse.ts. @source SDM vol. 2D Table A-3 */
import { type Row, type RowOptions, rowsOf } from "../row.ts";
import { fixedShuffleOfSource } from "../sem/sse-shuffle.ts";
import { LDMXCSR, MASKMOVDQU, MOVDDUP, MOVE_CLEARING, MOVHLPS, MOVH_LOAD, MOVH_STORE, MOVLHPS, STMXCSR, VMOVE } from "../sem/sse-move.ts";

const row = rowsOf(1);

type Options = RowOptions & Required<Pick<RowOptions, "unit" | "feature" | "prefix">>;
const form = (prefix: NonNullable<RowOptions["prefix"]>, feature: string) => (more: RowOptions = {}): Options => ({ unit: "sse", feature, prefix, ...more });
const sse = form("none", "sse");
const sseF3 = form("F3", "sse");
const sse2 = form("66", "sse2");
const sse2F3 = form("F3", "sse2");
const sse2F2 = form("F2", "sse2");
const aligned = { aligned: true } as const;

const wholeRegister: Row[] = [
  row(0x10, "movups", VMOVE, ["Vps", "Wps"], sse()),
  row(0x11, "movups", VMOVE, ["Wps", "Vps"], sse()),
  row(0x10, "movupd", VMOVE, ["Vpd", "Wpd"], sse2()),
  row(0x11, "movupd", VMOVE, ["Wpd", "Vpd"], sse2()),
  row(0x28, "movaps", VMOVE, ["Vps", "Wps"], sse(aligned)),
  row(0x29, "movaps", VMOVE, ["Wps", "Vps"], sse(aligned)),
  row(0x28, "movapd", VMOVE, ["Vpd", "Wpd"], sse2(aligned)),
  row(0x29, "movapd", VMOVE, ["Wpd", "Vpd"], sse2(aligned)),
  row(0x2b, "movntps", VMOVE, ["Mps", "Vps"], sse(aligned)),
  row(0x2b, "movntpd", VMOVE, ["Mpd", "Vpd"], sse2(aligned)),
  row(0x6f, "movdqa", VMOVE, ["Vdq", "Wdq"], sse2(aligned)),
  row(0x7f, "movdqa", VMOVE, ["Wdq", "Vdq"], sse2(aligned)),
  row(0x6f, "movdqu", VMOVE, ["Vdq", "Wdq"], sse2F3()),
  row(0x7f, "movdqu", VMOVE, ["Wdq", "Vdq"], sse2F3()),
  row(0xe7, "movntdq", VMOVE, ["Mdq", "Vdq"], sse2(aligned)),
  row(0xf0, "lddqu", VMOVE, ["Vdq", "Mdq"], form("F2", "sse3")()),
];

const scalar: Row[] = [
  row(0x10, "movss", VMOVE, ["Vss", "Uss"], sseF3({ mod: "reg" })),
  row(0x10, "movss", MOVE_CLEARING, ["Vdq", "Md"], sseF3({ mod: "mem" })),
  row(0x11, "movss", VMOVE, ["Wss", "Vss"], sseF3()),
  row(0x10, "movsd", VMOVE, ["Vsd", "Usd"], sse2F2({ mod: "reg" })),
  row(0x10, "movsd", MOVE_CLEARING, ["Vdq", "Mq"], sse2F2({ mod: "mem" })),
  row(0x11, "movsd", VMOVE, ["Wsd", "Vsd"], sse2F2()),
  row(0x6e, "movd", MOVE_CLEARING, ["Vdq", "Ed"], sse2({ w: 0 })),
  row(0x6e, "movq", MOVE_CLEARING, ["Vdq", "Eq"], sse2({ w: 1 })),
  row(0x7e, "movd", VMOVE, ["Ed", "Vd"], sse2({ w: 0 })),
  row(0x7e, "movq", VMOVE, ["Eq", "Vq"], sse2({ w: 1 })),
  row(0x7e, "movq", MOVE_CLEARING, ["Vdq", "Wq"], sse2F3()),
  row(0xd6, "movq", MOVE_CLEARING, ["Udq", "Vq"], sse2({ mod: "reg" })),
  row(0xd6, "movq", VMOVE, ["Mq", "Vq"], sse2({ mod: "mem" })),
];

const halves: Row[] = [
  row(0x12, "movhlps", MOVHLPS, ["Vps", "Ups"], sse({ mod: "reg" })),
  row(0x12, "movlps", VMOVE, ["Vq", "Mq"], sse({ mod: "mem" })),
  row(0x13, "movlps", VMOVE, ["Mq", "Vq"], sse({ mod: "mem" })),
  row(0x12, "movlpd", VMOVE, ["Vq", "Mq"], sse2({ mod: "mem" })),
  row(0x13, "movlpd", VMOVE, ["Mq", "Vq"], sse2({ mod: "mem" })),
  row(0x16, "movlhps", MOVLHPS, ["Vps", "Ups"], sse({ mod: "reg" })),
  row(0x16, "movhps", MOVH_LOAD, ["Vps", "Mq"], sse({ mod: "mem" })),
  row(0x17, "movhps", MOVH_STORE, ["Mq", "Vps"], sse({ mod: "mem" })),
  row(0x16, "movhpd", MOVH_LOAD, ["Vpd", "Mq"], sse2({ mod: "mem" })),
  row(0x17, "movhpd", MOVH_STORE, ["Mq", "Vpd"], sse2({ mod: "mem" })),
  row(0x12, "movddup", MOVDDUP, ["Vdq", "Wq"], form("F2", "sse3")()),
  row(0x12, "movsldup", fixedShuffleOfSource([0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11]), ["Vps", "Wps"], form("F3", "sse3")(aligned)),
  row(0x16, "movshdup", fixedShuffleOfSource([4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15]), ["Vps", "Wps"], form("F3", "sse3")(aligned)),
];

const control: Row[] = [
  row(0xae, "ldmxcsr", LDMXCSR, ["Md"], sse({ ext: 2, mod: "mem" })),
  row(0xae, "stmxcsr", STMXCSR, ["Md"], sse({ ext: 3, mod: "mem" })),
  row(0xf7, "maskmovdqu", MASKMOVDQU, ["mDI", "Vdq", "Udq"], sse2({ mod: "reg" })),
];

export const SSE_MOVE_ROWS: Row[] = [...wholeRegister, ...scalar, ...halves, ...control];
