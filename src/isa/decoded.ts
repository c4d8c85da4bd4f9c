/* What the decoder makes of one instruction. One object is reused: copy what must last. */
import type { Row } from "./row.ts";
import type { Size } from "./sem.ts";

/** Where an operand lives. */
export type OperandKind = "gpr" | "xmm" | "mem" | "imm" | "seg" | "cr" | "dr" | "rel" | "st" | "mm";

export interface Operand {
  kind: OperandKind;
  /** Width in bytes: 1 2 4 8 10 16; for M without a size (LEA, FXSAVE, …) 0. */
  width: number;
  /** Register number for gpr/xmm/seg/cr/dr/st/mm. */
  reg: number;
  /** gpr of width 1 that is AH CH DH BH (reg is then 0–3). */
  highByte: boolean;
  /** From where the register came, so that the engine can put it into the entry's field: ModRM.reg, ModRM.rm, opcode, VEX.vvvv, fixed. */
  source: "reg" | "rm" | "opcode" | "vvvv" | "fixed" | "none";
}

export interface Decoded {
  row: Row;
  length: number;
  size: Size;
  addressSize: 4 | 8;
  rep: 0 | 0xf2 | 0xf3;
  lock: boolean;
  operandCount: number;
  operands: Operand[]; // 5 preallocated, the first operandCount are valid
  /** Memory operand (at most one): GPR numbers, −1 none; ripRelative: base is the next instruction's address. */
  base: number;
  index: number;
  /** 0–3 */
  scale: number;
  disp: number; // signed 32-bit
  ripRelative: boolean;
  /** 4 FS, 5 GS, −1 none (other overrides are ignored in 64-bit mode). */
  segment: number;
  /** Immediate or relative displacement, sign-extended as the operand code says (moffs and Iq in full). */
  imm: bigint;
  /** Immediate as number when it fits exactly in 32 bits signed, to spare a bigint. */
  imm32: number;
  /** Second immediate (ENTER). */
  imm2: number;
}

/** Why there is nothing to run: the bytes are no instruction of this CPU model (#UD), too long (#GP), or bytes are missing. */
export type DecodeFailure = "undefined" | "tooLong" | "needMore";
