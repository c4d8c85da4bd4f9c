/* Intel-syntax text of a decoded instruction: for the debugger, logs and tests. Names are the tables' mnemonics, so
 * conditions are "jz", not "je". Leaves out: prefixes without effect. */
import type { Decoded, Operand } from "./decoded.ts";

const GPR64 = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] as const;
const GPR32 = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;
const GPR16 = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const GPR8 = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"] as const;
const HIGH8 = ["ah", "ch", "dh", "bh"] as const;
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"] as const;
const SIZES: Record<number, string> = {
  1: "byte ptr ",
  2: "word ptr ",
  4: "dword ptr ",
  8: "qword ptr ",
  10: "tbyte ptr ",
  16: "xmmword ptr ",
};
/** Instructions whose name depends on the operand size, by size 2, 4, 8. */
const SIZED_NAMES: Record<string, readonly [string, string, string]> = {
  cbw: ["cbw", "cwde", "cdqe"],
  cwd: ["cwd", "cdq", "cqo"],
  iret: ["iretw", "iret", "iretq"],
};

/** Name of a general register. @param width 1, 2, 4 or 8 bytes */
export function gprName(n: number, width: number, highByte = false): string {
  if (highByte) return HIGH8[n]!;
  if (n >= 8) return `r${n}${width === 8 ? "" : width === 4 ? "d" : width === 2 ? "w" : "b"}`;
  return (width === 8 ? GPR64 : width === 4 ? GPR32 : width === 2 ? GPR16 : GPR8)[n]!;
}

const hex = (value: bigint): string => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

function memoryText(d: Decoded, width: number, rip: bigint): string {
  const segment = d.segment >= 0 ? `${SEGMENTS[d.segment]}:` : "";
  const size = SIZES[width] ?? "";
  // the decoder has added the size to POP [RSP…]'s displacement
  const disp = BigInt(d.disp - (d.row.mnemonic === "pop" && d.base === 4 ? d.size : 0));
  if (d.ripRelative)
    return `${size}${segment}[rip${disp < 0n ? "-" : "+"}${hex(disp < 0n ? -disp : disp)}] {${hex(BigInt.asUintN(64, rip + BigInt(d.length) + disp))}}`;
  if (d.row.operands.some((code) => code.startsWith("O")))
    return `${size}${segment}[${hex(BigInt.asUintN(64, d.imm))}]`;
  let text = d.base >= 0 ? gprName(d.base, d.addressSize) : "";
  if (d.index >= 0) text += `${text ? "+" : ""}${gprName(d.index, d.addressSize)}*${1 << d.scale}`;
  if (text === "") text = hex(BigInt.asUintN(64, disp));
  else if (disp !== 0n) text += disp < 0n ? hex(disp) : `+${hex(disp)}`;
  return `${size}${segment}[${text}]`;
}

function operandText(d: Decoded, op: Operand, rip: bigint): string {
  switch (op.kind) {
    case "gpr":
      return gprName(op.reg, op.width, op.highByte);
    case "xmm":
      return `xmm${op.reg}`;
    case "mm":
      return `mm${op.reg}`;
    case "st":
      return op.reg === 0 && op.source === "fixed" ? "st" : `st(${op.reg})`;
    case "seg":
      return SEGMENTS[op.reg]!;
    case "cr":
      return `cr${op.reg}`;
    case "dr":
      return `dr${op.reg}`;
    case "mem":
      return memoryText(d, op.width, rip);
    case "rel":
      return hex(BigInt.asUintN(64, rip + BigInt(d.length) + d.imm));
    case "imm":
      return d.row.mnemonic === "enter"
        ? `${hex(d.imm & 0xffffn)}, ${hex(BigInt(d.imm2))}`
        : hex(BigInt.asUintN(8 * op.width, d.imm));
  }
}

/** @param d as the decoder filled it  @param rip the instruction's own address */
export function disassemble(d: Decoded, rip = 0n): string {
  const names = SIZED_NAMES[d.row.mnemonic];
  const name = names ? names[d.size === 2 ? 0 : d.size === 8 ? 2 : 1] : d.row.mnemonic;
  const repeats = d.row.mnemonic.startsWith("scas") || d.row.mnemonic.startsWith("cmps");
  const rep = d.rep === 0 ? "" : d.rep === 0xf2 ? "repne " : repeats ? "repe " : "rep ";
  const operands: string[] = [];
  for (let i = 0; i < d.operandCount; i++) operands.push(operandText(d, d.operands[i]!, rip));
  const lock = d.lock && d.row.mnemonic !== "xchg" ? "lock " : "";
  return `${lock}${rep}${name}${operands.length ? ` ${operands.join(", ")}` : ""}`;
}
