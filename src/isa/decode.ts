/* The decoder: bytes of one 64-bit-mode instruction → Decoded. Table-driven (candidates.ts), allocation-free but for
 * the bigint of an immediate. Called on an executor's thread for every instruction of a new block.
 * @source SDM vol. 2A ch. 2 (instruction format), §2.2.1 (REX), §2.3 (VEX). Leaves out: EVEX, XOP, 16- and 32-bit modes. */
import {
  compileRows,
  PREFIX_66,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_NONE,
  SIZE_32,
  SIZE_64,
  SIZE_BYTE,
  SIZE_DEFAULT_64,
  SIZE_W,
  type Candidate,
  type OpcodeSlot,
} from "./candidates.ts";
import type { Decoded, DecodeFailure, Operand } from "./decoded.ts";
import { CPU_FEATURES } from "./features.ts";
import { WIDTH_V, WIDTH_Y, WIDTH_Z, type OperandSpec } from "./operands.ts";
import type { Row } from "./row.ts";
import type { Size } from "./sem.ts";
import { ALL_ROWS } from "./tables/index.ts";

/** Longest instruction; a longer one is #GP. @source SDM vol. 2A §2.3.11 */
const MAX_LENGTH = 15;

export interface Decoder {
  /** Decodes the instruction at bytes[offset]. @param limit end of the valid bytes; "needMore" if the instruction goes
   *  on behind it  @param out filled; its content is valid only if nothing is returned */
  decode(bytes: Uint8Array, offset: number, limit: number, out: Decoded): DecodeFailure | undefined;
}

/** A Decoded to reuse. Its row is a placeholder until the first success. */
export function newDecoded(): Decoded {
  const operand = (): Operand => ({ kind: "gpr", width: 0, reg: 0, highByte: false, source: "none" });
  return {
    row: ALL_ROWS[0]!,
    length: 0,
    size: 4,
    addressSize: 8,
    rep: 0,
    lock: false,
    operandCount: 0,
    operands: [operand(), operand(), operand(), operand(), operand()],
    base: -1,
    index: -1,
    scale: 0,
    disp: 0,
    ripRelative: false,
    segment: -1,
    imm: 0n,
    imm32: 0,
    imm2: 0,
  };
}

let usualSlots: (OpcodeSlot | undefined)[] | undefined;
/** @param rows the instruction tables  @param features rows of other features do not exist */
export function createDecoder(rows: readonly Row[] = ALL_ROWS, features: ReadonlySet<string> = CPU_FEATURES): Decoder {
  const usual = rows === ALL_ROWS && features === CPU_FEATURES;
  return new TableDecoder(usual ? (usualSlots ??= compileRows(rows, features)) : compileRows(rows, features));
}

class TableDecoder implements Decoder {
  readonly #slots: (OpcodeSlot | undefined)[];
  #bytes: Uint8Array = new Uint8Array(0);
  #pos = 0;
  #end = 0;
  /** The byte at #end is beyond 15 bytes (else: beyond the caller's limit). */
  #full = false;
  #rex = 0; // 0x40–0x4F, 0 none; VEX fills W R X B as if
  #hasRex = false;
  #operandSize = false;
  #addressSize = false;
  #lock = false;
  #rep: 0 | 0xf2 | 0xf3 = 0;
  #segment = -1;
  #prefix = PREFIX_NONE;
  #vexL = -1;
  #vvvv = 0;
  #slotIndex = 0;
  #modrm = 0;

  constructor(slots: (OpcodeSlot | undefined)[]) {
    this.#slots = slots;
  }

  decode(bytes: Uint8Array, offset: number, limit: number, out: Decoded): DecodeFailure | undefined {
    this.#bytes = bytes;
    this.#pos = offset;
    this.#full = limit - offset >= MAX_LENGTH;
    this.#end = this.#full ? offset + MAX_LENGTH : limit;
    let failure = this.#prefixes();
    if (failure !== undefined) return failure;
    failure = this.#opcode();
    if (failure !== undefined) return failure;
    const slot = this.#slots[this.#slotIndex];
    if (slot === undefined) return "undefined";
    if (slot.modrm) {
      if (this.#pos >= this.#end) return this.#short();
      this.#modrm = bytes[this.#pos++]!;
    }
    const candidate = this.#select(slot);
    if (candidate === undefined) return "undefined";
    failure = this.#fill(candidate, out);
    if (failure !== undefined) return failure;
    out.length = this.#pos - offset;
    return undefined;
  }

  #short(): DecodeFailure {
    return this.#full ? "tooLong" : "needMore";
  }

  #prefixes(): DecodeFailure | undefined {
    this.#rex = 0;
    this.#hasRex = false;
    this.#operandSize = this.#addressSize = this.#lock = false;
    this.#rep = 0;
    this.#segment = -1;
    for (; this.#pos < this.#end; this.#pos++) {
      const byte = this.#bytes[this.#pos]!;
      if ((byte & 0xf0) === 0x40) {
        this.#rex = byte;
        this.#hasRex = true;
        continue;
      }
      switch (byte) {
        case 0x66:
          this.#operandSize = true;
          break;
        case 0x67:
          this.#addressSize = true;
          break;
        case 0xf0:
          this.#lock = true;
          break;
        case 0xf2:
          this.#rep = 0xf2;
          break;
        case 0xf3:
          this.#rep = 0xf3;
          break;
        case 0x64:
          this.#segment = 4;
          break;
        case 0x65:
          this.#segment = 5;
          break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          break; // no meaning in 64-bit mode
        default:
          return undefined;
      }
      this.#rex = 0; // a REX that something follows but the opcode is ignored
      this.#hasRex = false;
    }
    return this.#short();
  }

  /** Reads opcode bytes (or a VEX prefix with its opcode) and says which slot they name. */
  #opcode(): DecodeFailure | undefined {
    const bytes = this.#bytes;
    const first = bytes[this.#pos++]!;
    this.#vexL = -1;
    this.#vvvv = 0;
    this.#prefix =
      this.#rep === 0xf3 ? PREFIX_F3 : this.#rep === 0xf2 ? PREFIX_F2 : this.#operandSize ? PREFIX_66 : PREFIX_NONE;
    if (first === 0xc4 || first === 0xc5) return this.#vex(first);
    if (first !== 0x0f) {
      this.#slotIndex = first;
      return undefined;
    }
    if (this.#pos >= this.#end) return this.#short();
    const second = bytes[this.#pos++]!;
    if (second !== 0x38 && second !== 0x3a) {
      this.#slotIndex = 256 + second;
      return undefined;
    }
    if (this.#pos >= this.#end) return this.#short();
    this.#slotIndex = (second === 0x38 ? 512 : 768) + bytes[this.#pos++]!;
    return undefined;
  }

  #vex(first: number): DecodeFailure | undefined {
    if (this.#hasRex || this.#lock || this.#rep !== 0 || this.#operandSize) return "undefined";
    const payload = first === 0xc5 ? 1 : 2;
    if (this.#pos + payload >= this.#end) {
      this.#pos = this.#end;
      return this.#short();
    }
    const p0 = this.#bytes[this.#pos++]!;
    const last = payload === 1 ? p0 : this.#bytes[this.#pos++]!;
    const map = payload === 1 ? 1 : p0 & 0x1f;
    if (map < 1 || map > 3) return "undefined";
    // R, X and B are stored inverted; C5 has R alone
    const extension = payload === 1 ? (~p0 >> 5) & 4 : (~p0 >> 5) & 7;
    this.#rex = extension | (payload === 2 && last & 0x80 ? 8 : 0);
    this.#hasRex = true;
    this.#vexL = (last >> 2) & 1;
    this.#vvvv = (~last >> 3) & 15;
    const pp = last & 3;
    this.#prefix = pp === 0 ? PREFIX_NONE : pp === 1 ? PREFIX_66 : pp === 2 ? PREFIX_F3 : PREFIX_F2;
    this.#slotIndex = 1024 + map * 256 + this.#bytes[this.#pos++]!;
    return undefined;
  }

  #select(slot: OpcodeSlot): Candidate | undefined {
    const mod = this.#modrm >= 0xc0 ? 1 : 2;
    const reg = (this.#modrm >> 3) & 7;
    const rm = this.#modrm & 7;
    const w = (this.#rex >> 3) & 1;
    const candidates = slot.candidates;
    for (let i = 0; i < candidates.length; i++) {
      const c = candidates[i]!;
      if ((c.prefixes & this.#prefix) === 0) continue;
      if (c.w >= 0 && c.w !== w) continue;
      if (c.vexL >= 0 && c.vexL !== this.#vexL) continue;
      if (this.#vvvv !== 0 && !c.usesVvvv) continue;
      if (c.opcodeRegister >= 0 && c.opcodeRegister !== ((this.#slotIndex & 7) | ((this.#rex & 1) << 3))) continue;
      if (!c.modrm) return c;
      if ((c.mods & mod) === 0) continue;
      if (c.ext >= 0 && c.ext !== reg) continue;
      if (c.rm >= 0 && c.rm !== rm) continue;
      if (c.needsReg >= 0 && c.needsReg !== (reg | ((this.#rex & 4) << 1))) continue;
      return c;
    }
    return undefined;
  }

  #fill(c: Candidate, out: Decoded): DecodeFailure | undefined {
    out.row = c.row;
    out.size = this.#size(c);
    out.addressSize = this.#addressSize ? 4 : 8;
    out.segment = this.#segment;
    out.rep = c.repeats === 0 || this.#rep === 0 ? 0 : c.repeats === 2 ? this.#rep : 0xf3;
    out.base = out.index = -1;
    out.scale = out.disp = 0;
    out.ripRelative = false;
    out.imm = 0n;
    out.imm32 = out.imm2 = 0;
    const memory = c.modrm && !c.modIgnored && this.#modrm < 0xc0;
    if (memory) {
      const failure = this.#address(out);
      if (failure !== undefined) return failure;
      if (c.popsMemory && out.base === 4) out.disp = (out.disp + out.size) | 0;
    }
    out.operandCount = c.specs.length;
    for (let i = 0; i < c.specs.length; i++) {
      const failure = this.#operand(c.specs[i]!, out.operands[i]!, memory, out);
      if (failure !== undefined) return failure;
    }
    out.lock = this.#lock || (c.alwaysLocked && memory);
    if (this.#lock && !(c.lockable && memory && c.specs[0]!.place === "rm")) return "undefined";
    return undefined;
  }

  #size(c: Candidate): Size {
    const w = (this.#rex & 8) !== 0;
    switch (c.sizeRule) {
      case SIZE_BYTE:
        return 1;
      case SIZE_64:
        return 8;
      case SIZE_32:
        return 4;
      case SIZE_DEFAULT_64:
        return this.#operandSize && !w ? 2 : 8;
      case SIZE_W:
        return w ? 8 : 4;
      default:
        return w ? 8 : this.#operandSize ? 2 : 4;
    }
  }

  /** ModRM (and SIB, displacement) of a memory operand. @source SDM vol. 2A Tables 2-2, 2-3, §2.2.1.6 */
  #address(out: Decoded): DecodeFailure | undefined {
    const mod = this.#modrm >> 6;
    let displacement = mod === 1 ? 1 : mod === 2 ? 4 : 0;
    const rm = this.#modrm & 7;
    if (rm === 4) {
      if (this.#pos >= this.#end) return this.#short();
      const sib = this.#bytes[this.#pos++]!;
      const index = ((sib >> 3) & 7) | ((this.#rex & 2) << 2);
      out.index = index === 4 ? -1 : index;
      out.scale = index === 4 ? 0 : sib >> 6;
      if ((sib & 7) === 5 && mod === 0) displacement = 4;
      else out.base = (sib & 7) | ((this.#rex & 1) << 3);
    } else if (rm === 5 && mod === 0) {
      out.ripRelative = true;
      displacement = 4;
    } else out.base = rm | ((this.#rex & 1) << 3);
    if (displacement === 0) return undefined;
    if (this.#pos + displacement > this.#end) return this.#short();
    out.disp = displacement === 1 ? (this.#bytes[this.#pos++]! << 24) >> 24 : this.#int32();
    return undefined;
  }

  #operand(spec: OperandSpec, op: Operand, memory: boolean, out: Decoded): DecodeFailure | undefined {
    op.kind = spec.kind;
    op.width = this.#width(spec.width, out.size);
    op.highByte = false;
    op.reg = 0;
    op.source = "none";
    const rex = this.#rex;
    switch (spec.place) {
      case "rm":
        if (memory) {
          op.kind = "mem";
          op.width = this.#width(spec.memoryWidth, out.size);
        } else this.#register(op, this.#modrm & 7, rex & 1, "rm");
        return undefined;
      case "reg":
        this.#register(op, (this.#modrm >> 3) & 7, (rex >> 2) & 1, "reg");
        return undefined;
      case "opcode":
        this.#register(op, this.#slotIndex & 7, rex & 1, "opcode");
        return undefined;
      case "vvvv":
        this.#register(op, this.#vvvv & 7, this.#vvvv >> 3, "vvvv");
        return undefined;
      case "fixed":
        op.source = "fixed";
        op.reg = spec.fixed;
        if (spec.kind === "imm") {
          out.imm32 = spec.fixed;
          out.imm = BigInt(spec.fixed);
        }
        return undefined;
      case "imm":
      case "rel":
        return this.#immediate(spec, out);
      case "moffs":
        return this.#offset(out);
      default:
        out.base = spec.place === "si" ? 6 : spec.place === "di" ? 7 : spec.fixed;
        if (spec.place === "di") out.segment = -1;
        return undefined;
    }
  }

  #width(width: number, size: Size): number {
    if (width >= 0) return width;
    if (width === WIDTH_V) return size;
    if (width === WIDTH_Y) return this.#rex & 8 ? 8 : 4;
    return size === 2 ? 2 : 4;
  }

  #register(op: Operand, low: number, extension: number, source: Operand["source"]): void {
    op.source = source;
    if (op.kind === "st" || op.kind === "mm") op.reg = low; // REX is ignored
    else if (op.kind === "gpr" && op.width === 1 && !this.#hasRex && low >= 4) {
      op.reg = low - 4;
      op.highByte = true;
    } else op.reg = low | (extension << 3);
  }

  #immediate(spec: OperandSpec, out: Decoded): DecodeFailure | undefined {
    const encoded =
      spec.encoded === WIDTH_V ? out.size : spec.encoded === WIDTH_Z ? (out.size === 2 ? 2 : 4) : spec.encoded;
    if (encoded === 8) return this.#quad(out);
    const at = this.#pos;
    if (at + encoded > this.#end) return this.#short();
    const bytes = this.#bytes;
    if (encoded === 1) out.imm32 = (bytes[at]! << 24) >> 24;
    else if (encoded === 4) out.imm32 = this.#int32();
    else if (encoded === 2) out.imm32 = ((bytes[at]! << 16) | (bytes[at + 1]! << 24)) >> 16;
    else {
      out.imm2 = bytes[at + 2]!;
      out.imm32 = bytes[at]! | (bytes[at + 1]! << 8) | (out.imm2 << 16);
    }
    this.#pos = at + encoded;
    out.imm = out.imm32 === 0 ? 0n : BigInt(out.imm32);
    return undefined;
  }

  /** Eight immediate bytes into imm; imm32 has them too if they fit. */
  #quad(out: Decoded): DecodeFailure | undefined {
    if (this.#pos + 8 > this.#end) return this.#short();
    const low = this.#int32();
    const high = this.#int32();
    out.imm = (BigInt(high) << 32n) | BigInt(low >>> 0);
    out.imm32 = high === low >> 31 ? low : 0;
    return undefined;
  }

  /** Absolute address of MOV AL, moffs: imm has all of it, disp too if it fits in 32 signed bits. */
  #offset(out: Decoded): DecodeFailure | undefined {
    if (!this.#addressSize) {
      const failure = this.#quad(out);
      out.disp = out.imm32;
      return failure;
    }
    if (this.#pos + 4 > this.#end) return this.#short();
    out.disp = this.#int32();
    out.imm32 = out.disp >= 0 ? out.disp : 0;
    out.imm = BigInt(out.disp >>> 0);
    return undefined;
  }

  #int32(): number {
    const bytes = this.#bytes;
    const at = this.#pos;
    this.#pos = at + 4;
    return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  }
}
