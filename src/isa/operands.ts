/* Operand codes of the instruction tables: what each means for the decoder. Codes are the SDM's (App. A.2): an addressing
 * letter and a type. Additions of ours: "sIb" (Ib sign-extended to the operand size), "Z" (register in the low three
 * opcode bits), "A/B" (A when ModRM names a register, B when memory: "Rd/Mb"), and fixed operands by name.
 * @source SDM vol. 2D §A.2.1, §A.2.2
 *
 *   E G M R    general register or memory by ModRM      V W U    XMM by ModRM (reg, rm, rm register only)
 *   P Q N      MMX by ModRM (reg, rm, rm register only)
 *   I sI J O   immediate, relative, moffs               B        general register by VEX.vvvv
 *   X Y        memory at rSI (segment may be overridden), at rDI (ES)
 *   Iwb        ENTER's two immediates in one: bytes of locals, nesting level in bits 16–23
 *   mBX        memory at rBX (XLAT); mDI, mDIq: 16 and 8 bytes at rDI in DS (MASKMOVDQU, MASKMOVQ): place "implied", the base register is `fixed`
 *   b w d q dq t   1 2 4 8 16 10 bytes      ss si 4, sd 8, ps pd x 16      none or s p: 0 (address only)
 *   v  operand size      z  2 or 4 by operand size (immediates: extended to it)      y  4, or 8 with W
 *
 * An XMM operand has the width of its type: Wss is the low 4 bytes of a register, or 4 bytes of memory. */
import type { OperandKind } from "./decoded.ts";

/** Widths that depend on the instruction's size; others are byte counts. */
export const WIDTH_V = -1;
export const WIDTH_Z = -2;
export const WIDTH_Y = -3;

export interface OperandSpec {
  /** "rm": E W R U M, register or memory by ModRM.mod. "si"/"di": string memory. */
  readonly place: "rm" | "reg" | "vvvv" | "opcode" | "fixed" | "imm" | "rel" | "moffs" | "si" | "di" | "implied";
  /** Kind when it is a register or constant. */
  readonly kind: OperandKind;
  readonly width: number;
  /** Width when it is memory. */
  readonly memoryWidth: number;
  /** Register number or constant of a fixed operand. */
  readonly fixed: number;
  /** Encoded bytes of an immediate: 1 2 3 4, WIDTH_V, WIDTH_Z. */
  readonly encoded: number;
  readonly allowsRegister: boolean;
  readonly allowsMemory: boolean;
  /** ModRM.reg (with REX.R for CR and DR) must be this; −1 any. */
  readonly needsReg: number;
}

const TYPE_WIDTH: Record<string, number> = {
  "": 0,
  s: 0,
  p: 0,
  b: 1,
  w: 2,
  d: 4,
  q: 8,
  dq: 16,
  t: 10,
  ss: 4,
  si: 4,
  sd: 8,
  ps: 16,
  pd: 16,
  x: 16,
  v: WIDTH_V,
  z: WIDTH_Z,
  y: WIDTH_Y,
};
const FIXED: Record<string, readonly [OperandKind, number, number]> = {
  AL: ["gpr", 1, 0],
  CL: ["gpr", 1, 1],
  AX: ["gpr", 2, 0],
  DX: ["gpr", 2, 2],
  eAX: ["gpr", WIDTH_Z, 0],
  rAX: ["gpr", WIDTH_V, 0],
  "1": ["imm", 1, 1],
  XMM0: ["xmm", 16, 0],
  ST0: ["st", 10, 0],
  ES: ["seg", 2, 0],
  CS: ["seg", 2, 1],
  SS: ["seg", 2, 2],
  DS: ["seg", 2, 3],
  FS: ["seg", 2, 4],
  GS: ["seg", 2, 5],
};

const PLAIN: OperandSpec = {
  place: "fixed",
  kind: "gpr",
  width: 0,
  memoryWidth: 0,
  fixed: 0,
  encoded: 0,
  allowsRegister: true,
  allowsMemory: true,
  needsReg: -1,
};

function fixedOperand(code: string): OperandSpec | undefined {
  const fixed = FIXED[code];
  if (fixed) return { ...PLAIN, kind: fixed[0], width: fixed[1], fixed: fixed[2] };
  if (code === "mBX") return { ...PLAIN, place: "implied", kind: "mem", width: 1, fixed: 3 };
  if (code === "mDI") return { ...PLAIN, place: "implied", kind: "mem", width: 16, fixed: 7 };
  if (code === "mDIq") return { ...PLAIN, place: "implied", kind: "mem", width: 8, fixed: 7 };
  if (code === "Iwb") return { ...PLAIN, place: "imm", kind: "imm", width: 4, encoded: 3 };
  if (code === "STi") return { ...PLAIN, place: "rm", kind: "st", width: 10, allowsMemory: false };
  const control = /^([CD])R(\d)$/.exec(code);
  if (!control) return undefined;
  const number = Number(control[2]);
  return { ...PLAIN, kind: control[1] === "C" ? "cr" : "dr", width: 8, fixed: number, needsReg: number };
}

/** Meaning of one operand code. @throws Error for a code that is in no list: a mistake in a table */
export function operandSpec(code: string): OperandSpec {
  const fixed = fixedOperand(code);
  if (fixed) return fixed;
  const slash = code.indexOf("/");
  if (slash > 0) {
    const register = operandSpec(code.slice(0, slash));
    const memory = operandSpec(code.slice(slash + 1));
    return { ...register, memoryWidth: memory.memoryWidth, allowsMemory: true };
  }
  const match = /^(sI|[EGMRVWUPQNBIJOXYZ])([a-z]*)$/.exec(code);
  const width = match ? TYPE_WIDTH[match[2]!] : undefined;
  if (!match || width === undefined) throw new Error(`unknown operand code ${code}`);
  const sized = { ...PLAIN, width, memoryWidth: width };
  switch (match[1]) {
    case "E":
      return { ...sized, place: "rm" };
    case "R":
      return { ...sized, place: "rm", allowsMemory: false };
    case "M":
      return { ...sized, place: "rm", kind: "mem", allowsRegister: false };
    case "W":
      return { ...sized, place: "rm", kind: "xmm" };
    case "U":
      return { ...sized, place: "rm", kind: "xmm", allowsMemory: false };
    case "G":
      return { ...sized, place: "reg" };
    case "V":
      return { ...sized, place: "reg", kind: "xmm" };
    case "P":
      return { ...sized, place: "reg", kind: "mm" };
    case "Q":
      return { ...sized, place: "rm", kind: "mm" };
    case "N":
      return { ...sized, place: "rm", kind: "mm", allowsMemory: false };
    case "B":
      return { ...sized, place: "vvvv" };
    case "Z":
      return { ...sized, place: "opcode" };
    case "X":
      return { ...sized, place: "si", kind: "mem" };
    case "Y":
      return { ...sized, place: "di", kind: "mem" };
    case "O":
      return { ...sized, place: "moffs", kind: "mem" };
    case "J":
      return { ...sized, place: "rel", kind: "rel", encoded: width, width: 8 };
    case "sI":
      return { ...sized, place: "imm", kind: "imm", encoded: width, width: WIDTH_V };
    default:
      return { ...sized, place: "imm", kind: "imm", encoded: width, width: width === WIDTH_Z ? WIDTH_V : width };
  }
}

/** Does an operand need a ModRM byte? */
export function needsModrm(spec: OperandSpec): boolean {
  return spec.place === "rm" || spec.place === "reg" || spec.needsReg >= 0;
}
