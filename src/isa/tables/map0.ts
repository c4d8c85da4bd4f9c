/* One-byte opcodes, 64-bit mode only; x87 escapes D8–DF are in x87.ts.
 * @source SDM vol. 2D Table. Absent: what is invalid in 64-bit mode (PUSH ES, DAA, PUSHA, BOUND, ARPL, AAM, far CALL ptr, …). */
import { rowsOf, type Row, type RowOptions } from "../row.ts";
import { CONDITIONS, type Semantics } from "../sem.ts";
import { ADC, ADD, CMP, DEC, INC, NEG, SBB, SUB } from "../sem/addsub.ts";
import {
  CALL_INDIRECT, CALL_RELATIVE, JCC, JMP_INDIRECT, JMP_RELATIVE, JRCXZ, LOOP, LOOPE, LOOPNE, NOP, RET, RET_POP,
} from "../sem/control.ts";
import { AND, CLC, CLD, CMC, LAHF, NOT, OR, SAHF, STC, STD, TEST, XOR } from "../sem/logic.ts";
import { CBW, CWD, LEA, MOV, MOVSX, XCHG, XLAT } from "../sem/moves.ts";
import { DIV, IDIV, IMUL, IMUL3, MUL } from "../sem/muldiv.ts";
import { SHIFT_BY_COUNT, SHIFT_BY_ONE } from "../sem/shift.ts";
import { CLI, IRET, POPF, PUSHF, STI } from "../sem/kernel-entry.ts";
import { ENTER, LEAVE, POP, PUSH } from "../sem/stack.ts";
import { CMPS, INS, LODS, MOVS, OUTS, SCAS, STOS } from "../sem/string.ts";
import {
  CALL_FAR, IN, JMP_FAR, loadSegment, OUT, plainCall, RETF, RETF_POP, storeSelector, valueCall,
} from "../sem/system.ts";

const row = rowsOf(0);
const byte = { size: "byte" } as const;
const d64 = { size: "d64" } as const;
const near = { size: "64", ends: true } as const;
const ends = { ends: true } as const;

/** ADD OR ADC SBB AND SUB XOR CMP: opcode rows 00–3F and group 1. @source SDM vol. 2D Table A-6 "1" */
const ARITHMETIC: readonly (readonly [string, Semantics])[] = [
  ["add", ADD], ["or", OR], ["adc", ADC], ["sbb", SBB], ["and", AND], ["sub", SUB], ["xor", XOR], ["cmp", CMP],
];
const arithmeticRows = ARITHMETIC.flatMap(([name, sem], n): Row[] => {
  const lock = sem !== CMP;
  const af: RowOptions = sem === OR || sem === AND || sem === XOR ? { undefined: "AF" } : {};
  return [
    row(n * 8 + 0, name, sem, ["Eb", "Gb"], { ...byte, ...af, lock }),
    row(n * 8 + 1, name, sem, ["Ev", "Gv"], { ...af, lock }),
    row(n * 8 + 2, name, sem, ["Gb", "Eb"], { ...byte, ...af }),
    row(n * 8 + 3, name, sem, ["Gv", "Ev"], af),
    row(n * 8 + 4, name, sem, ["AL", "Ib"], { ...byte, ...af }),
    row(n * 8 + 5, name, sem, ["rAX", "Iz"], af),
    row(0x80, name, sem, ["Eb", "Ib"], { ...byte, ...af, ext: n, lock }),
    row(0x81, name, sem, ["Ev", "Iz"], { ...af, ext: n, lock }),
    row(0x83, name, sem, ["Ev", "sIb"], { ...af, ext: n, lock }),
  ];
});

/** Group 2. @source SDM vol. 2D Table A-6 "2" */
const SHIFTS = ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"] as const;
const shiftRows = SHIFTS.flatMap((name, ext): Row[] => {
  const many: RowOptions = { ext, undefined: ext < 4 ? "OF" : "OF AF" };
  const one: RowOptions = ext < 4 ? { ext } : { ext, undefined: "AF" };
  return [
    row(0xc0, name, SHIFT_BY_COUNT[ext]!, ["Eb", "Ib"], { ...byte, ...many }),
    row(0xc1, name, SHIFT_BY_COUNT[ext]!, ["Ev", "Ib"], many),
    row(0xd0, name, SHIFT_BY_ONE[ext]!, ["Eb", "1"], { ...byte, ...one }),
    row(0xd1, name, SHIFT_BY_ONE[ext]!, ["Ev", "1"], one),
    row(0xd2, name, SHIFT_BY_COUNT[ext]!, ["Eb", "CL"], { ...byte, ...many }),
    row(0xd3, name, SHIFT_BY_COUNT[ext]!, ["Ev", "CL"], many),
  ];
});

/** Group 3; TEST has an alias at /1. The flags of DIV are all undefined. */
const group3 = (opcode: number, operand: "Eb" | "Ev", immediate: "Ib" | "Iz", size: RowOptions): Row[] => [
  row(opcode, "test", TEST, [operand, immediate], { ...size, ext: 0, undefined: "AF" }),
  row(opcode, "test", TEST, [operand, immediate], { ...size, ext: 1, undefined: "AF" }),
  row(opcode, "not", NOT, [operand], { ...size, ext: 2, lock: true }),
  row(opcode, "neg", NEG, [operand], { ...size, ext: 3, lock: true }),
  row(opcode, "mul", MUL, [operand], { ...size, ext: 4, undefined: "SF ZF AF PF" }),
  row(opcode, "imul", IMUL, [operand], { ...size, ext: 5, undefined: "SF ZF AF PF" }),
  row(opcode, "div", DIV, [operand], { ...size, ext: 6, undefined: "CF OF SF ZF AF PF" }),
  row(opcode, "idiv", IDIV, [operand], { ...size, ext: 7, undefined: "CF OF SF ZF AF PF" }),
];

/** Segment registers that can be moved, by SegmentIndex; CS can only be read. */
const SEGMENTS = ["ES", "CS", "SS", "DS", "FS", "GS"] as const;

const stringRows: Row[] = [
  row(0x6c, "insb", INS, ["Yb"], { ...byte, ...ends }),
  row(0x6d, "ins", INS, ["Yz"], ends),
  row(0x6e, "outsb", OUTS, ["Xb"], { ...byte, ...ends }),
  row(0x6f, "outs", OUTS, ["Xz"], ends),
  row(0xa4, "movsb", MOVS, ["Xb"], byte),
  row(0xa5, "movs", MOVS, ["Xv"]),
  row(0xa6, "cmpsb", CMPS, ["Xb"], byte),
  row(0xa7, "cmps", CMPS, ["Xv"]),
  row(0xaa, "stosb", STOS, ["Yb"], byte),
  row(0xab, "stos", STOS, ["Yv"]),
  row(0xac, "lodsb", LODS, ["Xb"], byte),
  row(0xad, "lods", LODS, ["Xv"]),
  row(0xae, "scasb", SCAS, ["Yb"], byte),
  row(0xaf, "scas", SCAS, ["Yv"]),
];

const moveRows: Row[] = [
  row(0x63, "movsxd", MOVSX, ["Gv", "Ev"], { w: 0 }),
  row(0x63, "movsxd", MOVSX, ["Gv", "Ed"], { w: 1 }),
  row(0x84, "test", TEST, ["Eb", "Gb"], { ...byte, undefined: "AF" }),
  row(0x85, "test", TEST, ["Ev", "Gv"], { undefined: "AF" }),
  row(0x86, "xchg", XCHG, ["Eb", "Gb"], { ...byte, lock: true }),
  row(0x87, "xchg", XCHG, ["Ev", "Gv"], { lock: true }),
  row(0x88, "mov", MOV, ["Eb", "Gb"], byte),
  row(0x89, "mov", MOV, ["Ev", "Gv"]),
  row(0x8a, "mov", MOV, ["Gb", "Eb"], byte),
  row(0x8b, "mov", MOV, ["Gv", "Ev"]),
  row(0x8d, "lea", LEA, ["Gv", "M"]),
  ...SEGMENTS.map((name, i) => row(0x8c, "mov", storeSelector(i), ["Ev/Mw", name], { ext: i })),
  ...SEGMENTS.flatMap((name, i) => (name === "CS" ? [] : [row(0x8e, "mov", loadSegment(i), [name, "Ew"], { ext: i, ends: true })])),
  row(0x90, "nop", NOP, [], { rm: 0 }),
  row(0x90, "pause", NOP, [], { prefix: "F3" }), // with REX.B too
  row(0x90, "xchg", XCHG, ["Zv", "rAX"]),
  row(0x98, "cbw", CBW),
  row(0x99, "cwd", CWD),
  row(0xa0, "mov", MOV, ["AL", "Ob"], byte),
  row(0xa1, "mov", MOV, ["rAX", "Ov"]),
  row(0xa2, "mov", MOV, ["Ob", "AL"], byte),
  row(0xa3, "mov", MOV, ["Ov", "rAX"]),
  row(0xa8, "test", TEST, ["AL", "Ib"], { ...byte, undefined: "AF" }),
  row(0xa9, "test", TEST, ["rAX", "Iz"], { undefined: "AF" }),
  row(0xb0, "mov", MOV, ["Zb", "Ib"], byte),
  row(0xb8, "mov", MOV, ["Zv", "Iv"]),
  row(0xc6, "mov", MOV, ["Eb", "Ib"], { ...byte, ext: 0 }),
  row(0xc7, "mov", MOV, ["Ev", "Iz"], { ext: 0 }),
  row(0xd7, "xlat", XLAT, ["mBX"], byte),
];

const stackRows: Row[] = [
  row(0x50, "push", PUSH, ["Zv"], d64),
  row(0x58, "pop", POP, ["Zv"], d64),
  row(0x68, "push", PUSH, ["Iz"], d64),
  row(0x6a, "push", PUSH, ["sIb"], d64),
  row(0x8f, "pop", POP, ["Ev"], { ...d64, ext: 0 }),
  row(0x9c, "pushf", PUSHF, [], d64),
  row(0x9d, "popf", POPF, [], d64),
  row(0xc8, "enter", ENTER, ["Iwb"], d64),
  row(0xc9, "leave", LEAVE, [], d64),
];

const branchRows: Row[] = [
  ...CONDITIONS.map((name, cc) => row(0x70 + cc, `j${name}`, JCC[cc]!, ["Jb"], { ...near, cc })),
  row(0xc2, "ret", RET_POP, ["Iw"], near),
  row(0xc3, "ret", RET, [], near),
  row(0xca, "retf", RETF_POP, ["Iw"], ends),
  row(0xcb, "retf", RETF, [], ends),
  row(0xcc, "int3", plainCall("int3"), [], ends),
  row(0xcd, "int", valueCall("intN"), ["Ib"], ends),
  row(0xcf, "iret", IRET, [], ends),
  row(0xe0, "loopne", LOOPNE, ["Jb"], near),
  row(0xe1, "loope", LOOPE, ["Jb"], near),
  row(0xe2, "loop", LOOP, ["Jb"], near),
  row(0xe3, "jrcxz", JRCXZ, ["Jb"], near),
  row(0xe8, "call", CALL_RELATIVE, ["Jz"], near),
  row(0xe9, "jmp", JMP_RELATIVE, ["Jz"], near),
  row(0xeb, "jmp", JMP_RELATIVE, ["Jb"], near),
  row(0xf1, "int1", plainCall("int1"), [], ends),
  row(0xff, "call", CALL_INDIRECT, ["Ev"], { ...near, ext: 2 }),
  row(0xff, "call", CALL_FAR, ["Mp"], { ...ends, ext: 3 }),
  row(0xff, "jmp", JMP_INDIRECT, ["Ev"], { ...near, ext: 4 }),
  row(0xff, "jmp", JMP_FAR, ["Mp"], { ...ends, ext: 5 }),
];

const portRows: Row[] = [
  row(0xe4, "in", IN, ["AL", "Ib"], { ...byte, ...ends }),
  row(0xe5, "in", IN, ["eAX", "Ib"], ends),
  row(0xe6, "out", OUT, ["Ib", "AL"], { ...byte, ...ends }),
  row(0xe7, "out", OUT, ["Ib", "eAX"], ends),
  row(0xec, "in", IN, ["AL", "DX"], { ...byte, ...ends }),
  row(0xed, "in", IN, ["eAX", "DX"], ends),
  row(0xee, "out", OUT, ["DX", "AL"], { ...byte, ...ends }),
  row(0xef, "out", OUT, ["DX", "eAX"], ends),
];

export const MAP0_ROWS: readonly Row[] = [
  ...arithmeticRows, ...shiftRows, ...stringRows, ...moveRows, ...stackRows, ...branchRows, ...portRows,
  row(0x69, "imul", IMUL3, ["Gv", "Ev", "Iz"], { undefined: "SF ZF AF PF" }),
  row(0x6b, "imul", IMUL3, ["Gv", "Ev", "sIb"], { undefined: "SF ZF AF PF" }),
  row(0x9b, "fwait", plainCall("wait")),
  row(0x9e, "sahf", SAHF, [], { feature: "lahf" }),
  row(0x9f, "lahf", LAHF, [], { feature: "lahf" }),
  row(0xf4, "hlt", plainCall("hlt"), [], { privileged: true, ends: true }),
  row(0xf5, "cmc", CMC),
  ...group3(0xf6, "Eb", "Ib", byte),
  ...group3(0xf7, "Ev", "Iz", {}),
  row(0xf8, "clc", CLC),
  row(0xf9, "stc", STC),
  row(0xfa, "cli", CLI),
  row(0xfb, "sti", STI),
  row(0xfc, "cld", CLD),
  row(0xfd, "std", STD),
  row(0xfe, "inc", INC, ["Eb"], { ...byte, ext: 0, lock: true }),
  row(0xfe, "dec", DEC, ["Eb"], { ...byte, ext: 1, lock: true }),
  row(0xff, "inc", INC, ["Ev"], { ext: 0, lock: true }),
  row(0xff, "dec", DEC, ["Ev"], { ext: 1, lock: true }),
  row(0xff, "push", PUSH, ["Ev"], { ...d64, ext: 6 }),
];
