/* Assembler: writes x86-64 machine code into a buffer. Just what the translator needs: instructions are given by their bytes, operands
 * are encoded here. @source SDM vol. 2A ch. 2 */

/** Host registers by their numbers. */
export const Host = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const;

export const NONE = -1;

/** What ModRM.rm names: a register, or memory. */
export interface RegisterOrMemory {
  /** Register number; NONE: memory. */
  readonly register: number;
  readonly base: number;
  /** NONE: none. */
  readonly index: number;
  readonly scale: number;
  readonly disp: number;
  /** Relative to the GS segment. */
  readonly gs: boolean;
}
const REGISTERS: readonly RegisterOrMemory[] = Array.from({ length: 16 }, (_, n) => ({
  register: n,
  base: NONE,
  index: NONE,
  scale: 0,
  disp: 0,
  gs: false,
}));
export const register = (n: number): RegisterOrMemory => REGISTERS[n];
export const memory = (base: number, disp: number, index = NONE, scale = 0, gs = false): RegisterOrMemory => ({
  register: NONE,
  base,
  index,
  scale,
  disp,
  gs,
});

/** Prefixes and size of an instruction with ModRM: bit 0 REX.W; bit 1 a register operand is the low byte of SPL, BPL, SIL or DIL, so that REX is needed;
 *  from bit 8 on the bytes before REX, the last one lowest, of 66, F2 and F3. */
export type Form = number;
const FORM_W = 1;
const FORM_BYTE = 2;
/** @param prefixes one byte, or two, the first one higher */
export const form = (w: boolean, prefixes = 0, byte = false): Form =>
  (w ? FORM_W : 0) | (byte ? FORM_BYTE : 0) | (prefixes << 8);
export const W: Form = form(true);
export const D: Form = form(false);
export const B: Form = form(false, 0, true);

/** So many displacements are noted (Assembler.relatives): more than the longest block has, most likely. */
export const MOST_RELATIVES = 8192;

/** Conditions as jcc encodes them. */
export const Cc = { O: 0, NO: 1, B: 2, AE: 3, Z: 4, NZ: 5, BE: 6, A: 7, S: 8, NS: 9, LE: 14 } as const;

const [LOAD, STORE, LEA, MOVE_IMMEDIATE, SHIFT, TEST] = [0x8b, 0x89, 0x8d, 0xc7, 0xc1, 0xf7];
const [ARITHMETIC, ARITHMETIC_SHORT] = [0x81, 0x83];

export class Assembler {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  /** Offset of the next byte. */
  at = 0;
  /** Where displacements relative to RIP stand, of jumps and calls, or −1 − where an offset in the code does: `relativeCount` of them, or more than there is room for. */
  readonly relatives = new Int32Array(MOST_RELATIVES);
  relativeCount = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(value: number): void {
    this.bytes[this.at++] = value;
  }
  raw(...values: number[]): void {
    for (const value of values) this.bytes[this.at++] = value;
  }
  word(value: number): void {
    const { bytes, at } = this;
    bytes[at] = value;
    bytes[at + 1] = value >> 8;
    bytes[at + 2] = value >> 16;
    bytes[at + 3] = value >> 24;
    this.at = at + 4;
  }
  quad(value: bigint): void {
    this.#view.setBigUint64(this.at, BigInt.asUintN(64, value), true);
    this.at += 8;
  }

  /** Writes what stands in [from, to) once more: code without displacements relative to RIP. */
  copy(from: number, to: number): void {
    const { bytes } = this;
    let { at } = this;
    while (from < to) bytes[at++] = bytes[from++];
    this.at = at;
  }
  /** An instruction with ModRM. @param opcode its bytes, escapes included, the first one highest  @param reg ModRM.reg */
  op(opcode: number, reg: number, rm: RegisterOrMemory, form: Form = D): void {
    const { bytes } = this;
    let { at } = this;
    if (form > 0xff) {
      if (form > 0xffff) bytes[at++] = form >> 16;
      bytes[at++] = form >> 8;
    }
    if (rm.gs) bytes[at++] = 0x65;
    const rexX = rm.index >= 8 ? 2 : 0;
    const rexB = (rm.register === NONE ? rm.base : rm.register) >= 8 ? 1 : 0;
    const rex = ((form & FORM_W) << 3) | ((reg & 8) >> 1) | rexX | rexB;
    if (rex !== 0 || (form & FORM_BYTE) !== 0) bytes[at++] = 0x40 | rex;
    if (opcode > 0xff) {
      if (opcode > 0xffff) bytes[at++] = opcode >> 16;
      bytes[at++] = opcode >> 8;
    }
    bytes[at++] = opcode;
    this.at = at;
    this.#modrm(reg, rm);
  }
  /** As op, with a VEX prefix of 128 bits and less. @param map 1 0F, 2 0F38, 3 0F3A  @param pp 0 none, 1 66, 2 F3, 3 F2  @param vvvv 0: none is the same as RAX's inversion */
  vex(map: number, pp: number, opcode: number, reg: number, vvvv: number, rm: RegisterOrMemory, form: Form = D): void {
    if (rm.gs) this.bytes[this.at++] = 0x65;
    const rexB = (rm.register === NONE ? rm.base : rm.register) >= 8;
    this.raw(0xc4, (reg >= 8 ? 0 : 0x80) | (rm.index >= 8 ? 0 : 0x40) | (rexB ? 0 : 0x20) | map);
    this.raw(((form & FORM_W) << 7) | ((~vvvv & 15) << 3) | pp, opcode);
    this.#modrm(reg, rm);
  }
  #modrm(reg: number, rm: RegisterOrMemory): void {
    const { bytes } = this;
    const r = (reg & 7) << 3;
    if (rm.register !== NONE) {
      bytes[this.at++] = 0xc0 | r | (rm.register & 7);
      return;
    }
    const { base, index, disp } = rm;
    let { at } = this;
    if (base === NONE) {
      // [index * scale + disp32], or [disp32] if there is no index
      bytes[at++] = r | 4;
      bytes[at++] = (rm.scale << 6) | ((index === NONE ? 4 : index & 7) << 3) | 5;
      this.at = at;
      return this.word(disp);
    }
    const mod = disp === 0 && (base & 7) !== 5 ? 0 : disp >= -128 && disp <= 127 ? 0x40 : 0x80;
    if (index === NONE && (base & 7) !== 4) bytes[at++] = mod | r | (base & 7);
    else {
      bytes[at++] = mod | r | 4;
      bytes[at++] = (rm.scale << 6) | ((index === NONE ? 4 : index & 7) << 3) | (base & 7);
    }
    if (mod === 0x40) bytes[at++] = disp;
    this.at = at;
    if (mod === 0x80) this.word(disp);
  }

  // ——— what is written often ———
  /** Of group 2. @param n 4 SHL, 5 SHR, 7 SAR */
  shift(n: number, rm: RegisterOrMemory, by: number, w = false): void {
    this.op(SHIFT, n, rm, w ? W : D);
    this.byte(by);
  }
  moveRegister(to: number, from: number): void {
    this.op(LOAD, to, register(from), W);
  }
  load64(to: number, from: RegisterOrMemory): void {
    this.op(LOAD, to, from, W);
  }
  store64(to: RegisterOrMemory, from: number): void {
    this.op(STORE, from, to, W);
  }
  load32(to: number, from: RegisterOrMemory): void {
    this.op(LOAD, to, from);
  }
  store32(to: RegisterOrMemory, from: number): void {
    this.op(STORE, from, to);
  }
  lea(to: number, of: RegisterOrMemory): void {
    this.op(LEA, to, of, W);
  }
  /** Arithmetic of group 1 with an immediate. @param n 0 ADD, 1 OR, 4 AND, 5 SUB, 6 XOR, 7 CMP */
  arithmetic(n: number, rm: RegisterOrMemory, value: number, w = true): void {
    const short = value >= -128 && value <= 127;
    this.op(short ? ARITHMETIC_SHORT : ARITHMETIC, n, rm, w ? W : D);
    if (short) this.bytes[this.at++] = value & 0xff;
    else this.word(value);
  }
  /** TEST of 32 bits. */
  test(rm: RegisterOrMemory, value: number): void {
    this.op(TEST, 0, rm);
    this.word(value);
  }
  moveImmediate32(rm: RegisterOrMemory, value: number): void {
    this.op(MOVE_IMMEDIATE, 0, rm);
    this.word(value);
  }
  /** MOV r64, imm64. */
  moveAddress(to: number, value: bigint): void {
    this.raw(0x48 | (to >> 3), 0xb8 | (to & 7));
    this.quad(value);
  }
  /** A displacement from behind it to an offset in the code. */
  #relative(to: number): void {
    this.relatives[this.relativeCount++] = this.at;
    this.word(to - (this.at + 4));
  }
  /** An offset in the code as a number. */
  codeOffset(value: number): void {
    this.relatives[this.relativeCount++] = -1 - this.at;
    this.word(value);
  }
  jump(to: number): void {
    this.byte(0xe9);
    this.#relative(to);
  }
  call(to: number): void {
    this.byte(0xe8);
    this.#relative(to);
  }
  /** A jump whose target is not known yet. @returns offset of its displacement, for `bind` */
  jumpAhead(): number {
    this.jump(0);
    return this.at - 4;
  }
  branchAhead(cc: number): number {
    this.branch(cc, 0);
    return this.at - 4;
  }
  branch(cc: number, to: number): void {
    this.raw(0x0f, 0x80 | cc);
    this.#relative(to);
  }
  displacement(at: number): number {
    return this.#view.getInt32(at, true);
  }
  /** The jump whose displacement is at that offset goes to an offset, or to here. */
  bind(displacement: number, to = this.at): void {
    this.#view.setInt32(displacement, to - (displacement + 4), true);
  }
}
