/* Two-byte opcodes 0F xx: general-register and system instructions. SSE rows are in sse*.ts, FXSAVE and XSAVE in x87.ts.
 * @source SDM vol. 2D Table */
import { SegmentIndex } from "../registers.ts";
import { rowsOf, type Row, type RowOptions } from "../row.ts";
import { CONDITIONS } from "../sem.ts";
import { CMPXCHG, CMPXCHG16B, CMPXCHG8B, MFENCE, XADD } from "../sem/atomic.ts";
import { BIT_IMMEDIATE, BSF, BSR, BT, BTC, BTR, BTS, LZCNT, POPCNT, TZCNT } from "../sem/bits.ts";
import { JCC, NOP, NOP_OPERAND, TOUCH, UNDEFINED } from "../sem/control.ts";
import { CLAC, STAC, SWAPGS, SYSCALL, SYSRET } from "../sem/kernel-entry.ts";
import { BSWAP, CMOV, MOV, MOVSX, SET } from "../sem/moves.ts";
import { IMUL2 } from "../sem/muldiv.ts";
import { SHLD, SHRD } from "../sem/shift.ts";
import { popSegment, pushSegment } from "../sem/stack.ts";
import {
  addressCall, LAR, loadFarPointer, LSL, plainCall, RDFSBASE, RDGSBASE, RDRAND, RDTSC, RDTSCP, readCr, readDr, sizedCall, SLDT, SMSW, STR, valueCall, VERR, VERW,
  WRFSBASE, WRGSBASE, writeCr, writeDr,
} from "../sem/system.ts";

const row = rowsOf(1);
const privileged = { privileged: true, ends: true } as const;

/** Group 7: memory forms, then the whole-byte forms with mod 3. @source SDM vol. 2D Table A-6 "7" */
const fixed = (ext: number, rm: number, more: RowOptions = {}): RowOptions => ({ mod: "reg", ext, rm, ...more });
const group7: Row[] = [
  row(0x01, "sgdt", addressCall("sgdt"), ["M"], { ext: 0 }),
  row(0x01, "sidt", addressCall("sidt"), ["M"], { ext: 1 }),
  row(0x01, "lgdt", addressCall("lgdt"), ["M"], { ext: 2, ...privileged }),
  row(0x01, "lidt", addressCall("lidt"), ["M"], { ext: 3, ...privileged }),
  row(0x01, "smsw", SMSW, ["Rv/Mw"], { ext: 4 }),
  row(0x01, "lmsw", valueCall("lmsw"), ["Ew"], { ext: 6, ...privileged }),
  row(0x01, "invlpg", addressCall("invlpg"), ["M"], { ext: 7, ...privileged }),
  row(0x01, "vmcall", plainCall("vmcall"), [], fixed(0, 1, { ends: true })),
  row(0x01, "monitor", plainCall("monitor"), [], fixed(1, 0, { feature: "monitor", ...privileged })),
  row(0x01, "mwait", plainCall("mwait"), [], fixed(1, 1, { feature: "monitor", ...privileged })),
  row(0x01, "clac", CLAC, [], fixed(1, 2, { feature: "smap", prefix: "none" })),
  row(0x01, "stac", STAC, [], fixed(1, 3, { feature: "smap", prefix: "none" })),
  row(0x01, "xgetbv", plainCall("xgetbv"), [], fixed(2, 0, { feature: "xsave", prefix: "none" })),
  row(0x01, "xsetbv", plainCall("xsetbv"), [], fixed(2, 1, { feature: "xsave", prefix: "none", ends: true })),
  row(0x01, "vmmcall", plainCall("vmcall"), [], fixed(3, 1, { ends: true })),
  row(0x01, "swapgs", SWAPGS, [], fixed(7, 0, { privileged: true })),
  row(0x01, "rdtscp", RDTSCP, [], fixed(7, 1, { feature: "rdtscp" })),
];

const CONTROL_REGISTERS = [0, 2, 3, 4, 8] as const;
const DEBUG_REGISTERS = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const registerRows: Row[] = [
  ...CONTROL_REGISTERS.flatMap((n) => [
    row(0x20, "mov", readCr(n), ["Rq", `CR${n}`], { privileged: true, size: "64" }),
    row(0x22, "mov", writeCr(n), [`CR${n}`, "Rq"], { ...privileged, size: "64" }),
  ]),
  ...DEBUG_REGISTERS.flatMap((n) => [
    row(0x21, "mov", readDr(n), ["Rq", `DR${n}`], { privileged: true, size: "64" }),
    row(0x23, "mov", writeDr(n), [`DR${n}`, "Rq"], { ...privileged, size: "64" }),
  ]),
];

const systemRows: Row[] = [
  row(0x00, "sldt", SLDT, ["Rv/Mw"], { ext: 0 }),
  row(0x00, "str", STR, ["Rv/Mw"], { ext: 1 }),
  row(0x00, "lldt", valueCall("lldt"), ["Ew"], { ext: 2, ...privileged }),
  row(0x00, "ltr", valueCall("ltr"), ["Ew"], { ext: 3, ...privileged }),
  row(0x00, "verr", VERR, ["Ew"], { ext: 4 }),
  row(0x00, "verw", VERW, ["Ew"], { ext: 5 }),
  row(0x02, "lar", LAR, ["Gv", "Ew"]),
  row(0x03, "lsl", LSL, ["Gv", "Ew"]),
  row(0x05, "syscall", SYSCALL, [], { feature: "syscall", ends: true }),
  row(0x06, "clts", plainCall("clts"), [], privileged),
  row(0x07, "sysret", SYSRET, [], { feature: "syscall", ...privileged }),
  row(0x08, "invd", plainCall("wbinvd"), [], privileged),
  row(0x09, "wbinvd", plainCall("wbinvd"), [], privileged),
  row(0x0b, "ud2", UNDEFINED, [], { ends: true }),
  row(0xb9, "ud1", UNDEFINED, ["Gv", "Ev"], { ends: true }),
  row(0xff, "ud0", UNDEFINED, ["Gv", "Ev"], { ends: true }),
  row(0x30, "wrmsr", plainCall("wrmsr"), [], privileged),
  row(0x31, "rdtsc", RDTSC),
  row(0x32, "rdmsr", plainCall("rdmsr"), [], { privileged: true }),
  row(0x33, "rdpmc", plainCall("rdpmc")),
  row(0x34, "sysenter", plainCall("sysenter"), [], { feature: "sep", ends: true }),
  row(0x35, "sysexit", sizedCall("sysexit"), [], { feature: "sep", ...privileged }),
  row(0xa2, "cpuid", plainCall("cpuid"), [], { ends: true }), // it serializes: code that other vCPUs wrote is seen after it
  ...group7,
  ...registerRows,
];

/** Hints and prefetches; with CET off its instructions (ENDBR64, RDSSP) are among them. */
const hintRows: Row[] = [
  row(0x0d, "prefetchw", NOP_OPERAND, ["Ev"]),
  ...[0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f].map((opcode) => row(opcode, "nop", NOP_OPERAND, ["Ev"])),
  row(0x1e, "endbr64", NOP, [], { mod: "reg", ext: 7, rm: 2, prefix: "F3" }),
];

/** In x86's memory order only MFENCE orders what is not ordered anyway; CLFLUSH has no cache to flush. */
const fenceRows: Row[] = [
  row(0xae, "lfence", NOP, [], { mod: "reg", ext: 5, prefix: "none" }),
  row(0xae, "mfence", MFENCE, [], { mod: "reg", ext: 6, prefix: "none" }),
  row(0xae, "sfence", NOP, [], { mod: "reg", ext: 7, prefix: "none" }),
  row(0xae, "clflush", TOUCH, ["Mb"], { ext: 7, prefix: "none", feature: "clflush" }),
  row(0xae, "clflushopt", TOUCH, ["Mb"], { ext: 7, prefix: "66", feature: "clflushopt" }),
];

const baseRows: Row[] = [
  row(0xae, "rdfsbase", RDFSBASE, ["Ry"], { ext: 0, prefix: "F3", feature: "fsgsbase" }),
  row(0xae, "rdgsbase", RDGSBASE, ["Ry"], { ext: 1, prefix: "F3", feature: "fsgsbase" }),
  row(0xae, "wrfsbase", WRFSBASE, ["Ry"], { ext: 2, prefix: "F3", feature: "fsgsbase" }),
  row(0xae, "wrgsbase", WRGSBASE, ["Ry"], { ext: 3, prefix: "F3", feature: "fsgsbase" }),
];

const conditionRows: Row[] = CONDITIONS.flatMap((name, cc) => [
  row(0x40 + cc, `cmov${name}`, CMOV[cc]!, ["Gv", "Ev"], { cc, feature: "cmov" }),
  row(0x80 + cc, `j${name}`, JCC[cc]!, ["Jz"], { cc, size: "64", ends: true }),
  row(0x90 + cc, `set${name}`, SET[cc]!, ["Eb"], { cc, size: "byte" }),
]);

const bitRows: Row[] = [
  row(0xa3, "bt", BT, ["Ev", "Gv"], { undefined: "OF SF AF PF" }),
  row(0xab, "bts", BTS, ["Ev", "Gv"], { lock: true, undefined: "OF SF AF PF" }),
  row(0xb3, "btr", BTR, ["Ev", "Gv"], { lock: true, undefined: "OF SF AF PF" }),
  row(0xbb, "btc", BTC, ["Ev", "Gv"], { lock: true, undefined: "OF SF AF PF" }),
  ...["bt", "bts", "btr", "btc"].map((name, i) =>
    row(0xba, name, BIT_IMMEDIATE[i]!, ["Ev", "Ib"], { ext: 4 + i, lock: i > 0, undefined: "OF SF AF PF" }),
  ),
  row(0xb8, "popcnt", POPCNT, ["Gv", "Ev"], { prefix: "F3", feature: "popcnt" }),
  row(0xbc, "bsf", BSF, ["Gv", "Ev"], { undefined: "CF OF SF AF PF" }),
  row(0xbc, "tzcnt", TZCNT, ["Gv", "Ev"], { prefix: "F3", feature: "bmi1", undefined: "OF SF AF PF" }),
  row(0xbd, "bsr", BSR, ["Gv", "Ev"], { undefined: "CF OF SF AF PF" }),
  row(0xbd, "lzcnt", LZCNT, ["Gv", "Ev"], { prefix: "F3", feature: "lzcnt", undefined: "OF SF AF PF" }),
  row(0xc8, "bswap", BSWAP, ["Zv"]),
];

export const MAP1_ROWS: readonly Row[] = [
  ...systemRows, ...hintRows, ...fenceRows, ...baseRows, ...conditionRows, ...bitRows,
  row(0xa0, "push", pushSegment(SegmentIndex.FS), ["FS"], { size: "d64" }),
  row(0xa1, "pop", popSegment(SegmentIndex.FS), ["FS"], { size: "d64", ends: true }),
  row(0xa8, "push", pushSegment(SegmentIndex.GS), ["GS"], { size: "d64" }),
  row(0xa9, "pop", popSegment(SegmentIndex.GS), ["GS"], { size: "d64", ends: true }),
  row(0xa4, "shld", SHLD, ["Ev", "Gv", "Ib"], { undefined: "OF AF" }),
  row(0xa5, "shld", SHLD, ["Ev", "Gv", "CL"], { undefined: "OF AF" }),
  row(0xac, "shrd", SHRD, ["Ev", "Gv", "Ib"], { undefined: "OF AF" }),
  row(0xad, "shrd", SHRD, ["Ev", "Gv", "CL"], { undefined: "OF AF" }),
  row(0xaf, "imul", IMUL2, ["Gv", "Ev"], { undefined: "SF ZF AF PF" }),
  row(0xb0, "cmpxchg", CMPXCHG, ["Eb", "Gb"], { size: "byte", lock: true }),
  row(0xb1, "cmpxchg", CMPXCHG, ["Ev", "Gv"], { lock: true }),
  row(0xb2, "lss", loadFarPointer(SegmentIndex.SS), ["Gv", "Mp"], { ends: true }),
  row(0xb4, "lfs", loadFarPointer(SegmentIndex.FS), ["Gv", "Mp"], { ends: true }),
  row(0xb5, "lgs", loadFarPointer(SegmentIndex.GS), ["Gv", "Mp"], { ends: true }),
  row(0xb6, "movzx", MOV, ["Gv", "Eb"]),
  row(0xb7, "movzx", MOV, ["Gv", "Ew"]),
  row(0xbe, "movsx", MOVSX, ["Gv", "Eb"]),
  row(0xbf, "movsx", MOVSX, ["Gv", "Ew"]),
  row(0xc0, "xadd", XADD, ["Eb", "Gb"], { size: "byte", lock: true }),
  row(0xc1, "xadd", XADD, ["Ev", "Gv"], { lock: true }),
  row(0xc3, "movnti", MOV, ["My", "Gy"], { prefix: "none", feature: "sse2" }),
  row(0xc7, "cmpxchg8b", CMPXCHG8B, ["Mq"], { ext: 1, w: 0, lock: true, feature: "cx8" }),
  row(0xc7, "cmpxchg16b", CMPXCHG16B, ["Mdq"], { ext: 1, w: 1, lock: true, feature: "cx16" }),
  // not with F2 or F3, which make other instructions of them (RDPID)
  ...(["none", "66"] as const).flatMap((prefix) => [
    row(0xc7, "rdrand", RDRAND, ["Rv"], { ext: 6, prefix, feature: "rdrand" }),
    row(0xc7, "rdseed", RDRAND, ["Rv"], { ext: 7, prefix, feature: "rdseed" }),
  ]),
];
