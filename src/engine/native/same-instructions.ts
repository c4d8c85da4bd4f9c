/* Second layer: instructions that stay what they are, with other registers and addresses. @source docs/native.md; SDM vol. 2A ch. 2 */
import type { Decoded, Operand } from "../../isa/decoded.ts";
import { B, form, memory, NONE, register, type RegisterOrMemory, W } from "./assembler.ts";
import { BlockEmitter, Place } from "./block-emitter.ts";
import { ADDRESS, HOST_OF, IN_MEMORY, SCRATCH } from "./layout.ts";
import { gprUpper, gprWord, W16 } from "./operands.ts";
import type { Raw } from "./raw.ts";
import { effectOnFlags, Flags } from "./supported.ts";

const RAX = 0;

/** Indices of an instruction's operands by what encodes them; −1: none. */
interface Operands {
  readonly regAt: number;
  readonly rmAt: number;
  readonly vAt: number;
}
/** Where an instruction's registers are while it runs. */
interface Homes {
  /** The register that is turned by 8 bits; −1: none. */
  turned: number;
  /** The register that is in SCRATCH, or COPY; −1: none. */
  inScratch: number;
  /** What is in SCRATCH is to go back. */
  written: boolean;
  /** Index of the operand whose low byte is in SCRATCH; −1: none. */
  low: number;
}
const COPY = -2;
const isInMemory = ({ kind, reg }: Operand): boolean => kind === "gpr" && HOST_OF[reg] === IN_MEMORY;
/** A register that is turned while the instruction runs must not be part of its address. */
const isHigh = (d: Decoded, i: number): boolean => i >= 0 && d.operands[i].highByte;
const isByte = (d: Decoded, i: number): boolean => i >= 0 && d.operands[i].kind === "gpr" && d.operands[i].width === 1;

export abstract class SameInstructions extends BlockEmitter {
  protected readonly raw: Raw = { prefixes: 0, w: false, opcode: 0, vex: 0, pp: 0, vvvv: 0, reg: 0, immediate: 0 };

  protected prepareFlags(flags: number): void {
    if (flags === Flags.READS || flags === Flags.CHANGES) this.bringFlags();
  }
  protected noteFlags(flags: number): void {
    if (flags === Flags.WRITES || flags === Flags.CHANGES) this.flags = Place.HOST;
  }

  /** Forms without ModRM that have one with it. */
  protected withModrm(): void {
    const raw = this.raw;
    const { opcode } = raw;
    if (opcode > 0xff || raw.vex !== 0) return;
    if (opcode < 0x40 && (opcode & 7) >= 4) {
      raw.opcode = opcode & 1 ? 0x81 : 0x80;
      raw.reg = opcode >> 3;
    } else if (opcode === 0xa8 || opcode === 0xa9) {
      raw.opcode = opcode & 1 ? 0xf7 : 0xf6;
      raw.reg = 0;
    } else if (opcode >= 0x90 && opcode <= 0x97) raw.opcode = 0x87;
  }
  /** The same instruction with other operands. */
  /** @param end offset in `bytes` behind the instruction, up to which its immediate goes */
  protected same(d: Decoded, end: number): void {
    const raw = this.raw;
    const { treatment } = this;
    if (raw.opcode >= 0xb0 && raw.opcode <= 0xbf && raw.vex === 0) return this.moveImmediate(d);
    if (treatment.mnemonic === "lea") return this.lea(d);
    this.withModrm();
    const flags = effectOnFlags(d);
    let [regAt, rmAt, memAt, vAt] = [-1, -1, -1, -1];
    for (let i = 0; i < d.operandCount; i++) {
      const { kind, source } = d.operands[i];
      if (kind === "mem") memAt = i;
      else if (source === "reg") regAt = i;
      else if (source === "rm" || source === "opcode") rmAt = i;
      else if (source === "vvvv") vAt = i;
    }
    // rAX, imm; and XCHG rAX, r
    for (let i = 0; i < d.operandCount; i++) {
      const { kind, source } = d.operands[i];
      if (kind !== "gpr" || source !== "fixed" || d.operands[i].reg !== RAX) continue;
      if (rmAt < 0 && memAt < 0) rmAt = i;
      else if (regAt < 0 && raw.reg < 0) regAt = i;
    }
    let rm: RegisterOrMemory | undefined;
    if (memAt >= 0) {
      const access = treatment.access[memAt];
      const { width } = d.operands[memAt];
      const locked = d.lock || treatment.exchange;
      const bits = treatment.bits && regAt >= 0;
      rm = bits
        ? this.bitMemory(d, width, access !== "r", locked ? width - 1 : 0)
        : this.operandMemory(d, width, access !== "r", locked ? width - 1 : treatment.align, isHigh(d, regAt));
    }
    this.prepareFlags(flags);
    this.encode(d, { regAt, rmAt, vAt }, rm, end);
    if (this.maySplit(d, memAt)) this.mayLieInTwoPages();
    this.noteFlags(flags);
  }
  /** Can the instruction be done on a copy of its operand in memory? */
  protected maySplit(d: Decoded, memAt: number): boolean {
    const { access, align, bits, exchange } = this.treatment;
    return (
      memAt >= 0 && d.operands[memAt].width > 1 && access[memAt] !== "x" && align === 0 && !bits && !exchange && !d.lock
    );
  }
  /** Writes the instruction of `raw`. Registers that are in memory go through SCRATCH, or are operands in memory. */
  protected encode(
    d: Decoded,
    { regAt, rmAt, vAt }: Operands,
    memoryOperand: RegisterOrMemory | undefined,
    end: number,
  ): void {
    const { a, raw } = this;
    const homes = this.turnHigh(d, regAt, rmAt);
    const { turned } = homes;
    const regNumber = regAt < 0 ? Math.max(raw.reg, 0) : this.homeOf(d, regAt, homes);
    const vNumber = vAt < 0 ? 0 : this.homeOf(d, vAt, homes);
    let rm = memoryOperand;
    let upper = -1;
    if (rm === undefined) {
      const { reg, width } = d.operands[rmAt];
      // at most one of them can be in SCRATCH
      if (isInMemory(d.operands[rmAt]) && homes.inScratch !== -1 && homes.inScratch !== reg) {
        rm = gprWord(reg);
        if (width === 4 && this.treatment.access[rmAt] !== "r") upper = reg;
      } else rm = register(this.homeOf(d, rmAt, homes));
    }
    const byte = isByte(d, regAt) || isByte(d, rmAt);
    const how = form(raw.w, raw.prefixes, byte);
    if (raw.vex !== 0) a.vex(raw.vex, raw.pp, raw.opcode, regNumber, vNumber, rm, how);
    else {
      if (d.lock) a.byte(0xf0);
      a.op(raw.opcode, regNumber, rm, how);
    }
    for (let i = raw.immediate; i < end; i++) a.byte(this.bytes[i]);
    if (homes.inScratch >= 0 && homes.written) a.store64(gprWord(homes.inScratch), SCRATCH);
    if (upper >= 0) a.moveImmediate32(gprUpper(upper), 0);
    if (turned >= 0) this.rotate(HOST_OF[turned], HOST_OF[turned], 56);
  }
  /** AH, CH, DH and BH become low bytes: their register is turned by 8 bits, or, if it is only read, a copy. */
  protected turnHigh(d: Decoded, regAt: number, rmAt: number): Homes {
    const homes: Homes = { turned: -1, inScratch: -1, written: false, low: -1 };
    const high = regAt >= 0 && d.operands[regAt].highByte ? regAt : rmAt >= 0 && d.operands[rmAt].highByte ? rmAt : -1;
    if (high < 0) return homes;
    const { access } = this.treatment;
    const n = d.operands[high].reg;
    const other = high === regAt ? rmAt : regAt;
    const same = other >= 0 && d.operands[other].kind === "gpr" && d.operands[other].reg === n;
    const both = same && d.operands[other].highByte;
    if (access[high] !== "r" || (both && access[other] !== "r")) {
      // the low byte of the same register is where it was
      if (same && !both) {
        this.a.moveRegister(SCRATCH, HOST_OF[n]);
        homes.low = other;
      }
      homes.turned = n;
      this.rotate(HOST_OF[n], HOST_OF[n], 8);
    } else {
      this.rotate(SCRATCH, HOST_OF[n], 8);
      homes.inScratch = COPY;
    }
    return homes;
  }
  /** Number of the host register that has operand i; it is brought there. */
  protected homeOf(d: Decoded, i: number, homes: Homes): number {
    const { kind, reg, highByte } = d.operands[i];
    if (kind !== "gpr") return reg;
    if ((highByte && homes.turned < 0) || i === homes.low) return SCRATCH;
    if (HOST_OF[reg] !== IN_MEMORY) return HOST_OF[reg];
    if (homes.inScratch !== reg) this.a.load64(SCRATCH, gprWord(reg));
    homes.inScratch = reg;
    homes.written ||= this.treatment.access[i] !== "r";
    return SCRATCH;
  }
  /** RORX: flags stay. */
  protected rotate(to: number, from: number, by: number): void {
    this.a.vex(3, 3, 0xf0, to, 0, register(from), W);
    this.a.byte(by);
  }
  protected moveImmediate(d: Decoded): void {
    const a = this.a;
    const { reg, width, highByte } = d.operands[0];
    const host = HOST_OF[reg];
    if (width === 1) {
      if (highByte) this.rotate(host, host, 8);
      a.op(0xc6, 0, this.gpr(reg), B);
      a.byte(d.imm32 & 0xff);
      if (highByte) this.rotate(host, host, 56);
      return;
    }
    if (width === 2) {
      a.op(0xc7, 0, this.gpr(reg), W16);
      a.raw(d.imm32 & 0xff, (d.imm32 >> 8) & 0xff);
      return;
    }
    const value = width === 4 ? BigInt.asUintN(32, d.imm) : BigInt.asIntN(64, d.imm);
    if (value >= -0x8000_0000n && value <= 0x7fff_ffffn) {
      a.op(0xc7, 0, this.gpr(reg), W);
      a.word(Number(value));
    } else if (host === IN_MEMORY) {
      a.moveAddress(SCRATCH, value);
      a.store64(gprWord(reg), SCRATCH);
    } else if (width === 4) {
      if (host >= 8) a.byte(0x41);
      a.byte(0xb8 | (host & 7));
      a.word(Number(BigInt.asIntN(32, value)));
    } else a.moveAddress(host, value);
  }
  protected lea(d: Decoded): void {
    const a = this.a;
    const raw = this.raw;
    const { reg, width } = d.operands[0];
    const host = HOST_OF[reg];
    const how = form(raw.w, width === 2 ? 0x66 : 0);
    const index = d.index < 0 ? NONE : HOST_OF[d.index];
    if (host !== IN_MEMORY && d.base >= 0 && HOST_OF[d.base] !== IN_MEMORY && (d.index < 0 || index !== IN_MEMORY)) {
      a.op(0x8d, host, memory(HOST_OF[d.base], d.disp, index, d.scale), how);
      return;
    }
    this.effective(d, false);
    if (width === 8) this.copyFrom(reg, ADDRESS);
    else if (width === 4) {
      a.load32(ADDRESS, register(ADDRESS));
      this.copyFrom(reg, ADDRESS);
    } else a.op(0x89, ADDRESS, this.gpr(reg), W16);
  }
}
