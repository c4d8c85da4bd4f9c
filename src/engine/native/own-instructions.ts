/* Third layer: instructions with implied operands, and those that jump. @source docs/native.md; SDM vol. 2 */
import { ALL_ROWS } from "../../isa/tables/index.ts";
import { Reg } from "../../isa/registers.ts";
import type { Decoded } from "../../isa/decoded.ts";
import { B, Cc, form, Host, memory, register, type RegisterOrMemory, W } from "./assembler.ts";
import { LAHF, Place, SAHF } from "./block-emitter.ts";
import { ADDRESS, HOST_OF, IN_MEMORY, SCRATCH } from "./layout.ts";
import { B16, compareCanonical, field, gprWord, PAGE_VA, TEMP2 } from "./operands.ts";
import { readRaw } from "./raw.ts";
import { Flags } from "./supported.ts";
import { SameInstructions } from "./same-instructions.ts";

const [RSP, RBP] = [4, 5];
const { R10, R11 } = Host;

export abstract class OwnInstructions extends SameInstructions {
  /** By mnemonic, what writes it, true if it has left. @param at where it is in `bytes` */
  protected readonly ways: Record<string, (d: Decoded, at: number) => boolean | void> = {
    mul: (d) => this.multiply(d),
    imul: (d) => this.multiply(d),
    div: (d) => this.divide(d, false),
    idiv: (d) => this.divide(d, true),
    cbw: (d) => this.extendA(d.size),
    cwd: (d) => this.extendToD(d.size),
    push: (d) => this.push(d),
    pop: (d) => this.pop(d),
    leave: () => this.leaveFrame(),
    call: (d) => this.call(d),
    ret: (d) => this.return(d),
    jmp: (d) => this.jump(d),
    jrcxz: (d) => this.jumpIfZero(d),
    cmpxchg: (d) => this.compareExchange(d),
    cmpxchg16b: (d) => this.compareExchangePair(d),
    bswap: (d) => this.byteSwap(d),
    lahf: () => this.loadFlagsToAh(),
    sahf: () => this.storeAhToFlags(),
    cmc: (d) => this.changeCarry(d),
    clc: (d) => this.changeCarry(d),
    stc: (d) => this.changeCarry(d),
    pause: () => this.pause(),
    mfence: () => this.a.raw(0x0f, 0xae, 0xf0),
    lfence: () => {},
    sfence: () => {},
    pcmpestri: (d, at) => this.compareStrings(d, at),
    pcmpestrm: (d, at) => this.compareStrings(d, at),
  };

  /** By row. */
  readonly #wayOf: ((d: Decoded, at: number) => boolean | void)[] = Array.from({ length: ALL_ROWS.length });

  /** @returns has it left? */
  protected own(d: Decoded, at: number): boolean {
    if (this.treatment.flags === Flags.READS) return this.branch(d, d.row.cc!);
    const { id } = d.row;
    const way = (this.#wayOf[id] ??= this.ways[this.treatment.mnemonic]);
    return way(d, at) === true;
  }
  /** Loops that wait have it, and what they wait for may be an interrupt. */
  protected pause(): void {
    this.giveUpFlags();
    this.a.arithmetic(7, field(Reg.ATTENTION), 0, false);
    this.leaveIf(Cc.NZ);
    this.a.raw(0xf3, 0x90);
  }
  protected extendToD(size: number): void {
    this.a.moveRegister(SCRATCH, R10);
    if (size === 2) this.a.byte(0x66);
    if (size === 8) this.a.byte(0x48);
    this.a.byte(0x99);
  }
  protected leaveFrame(): void {
    const a = this.a;
    a.load64(SCRATCH, this.stackMemory(RBP, 0, false));
    a.lea(R11, memory(HOST_OF[RBP], 8));
    a.moveRegister(HOST_OF[RBP], SCRATCH);
  }
  protected loadFlagsToAh(): void {
    this.bringFlags();
    this.a.raw(LAHF, 0x0f, 0xb6, 0xc4); // lahf; movzx eax, ah
    this.rotate(R10, R10, 8);
    this.a.op(0x88, SCRATCH, register(R10), B);
    this.rotate(R10, R10, 56);
  }
  protected storeAhToFlags(): void {
    this.bringFlags();
    this.rotate(SCRATCH, R10, 8);
    this.a.raw(0x88, 0xc4, SAHF); // mov ah, al; sahf
    this.flags = Place.HOST;
  }
  protected changeCarry(d: Decoded): void {
    this.bringFlags();
    this.a.byte(d.row.opcode);
    this.flags = Place.HOST;
  }
  protected compareExchangePair(d: Decoded): void {
    const a = this.a;
    const to = this.operandMemory(d, 16, true, 15);
    this.bringFlags();
    a.moveRegister(SCRATCH, R10);
    if (d.lock) a.byte(0xf0);
    a.op(0x0fc7, 1, to, W);
    a.moveRegister(R10, SCRATCH);
    this.flags = Place.HOST;
  }
  protected branch(d: Decoded, cc: number): boolean {
    this.bringFlags();
    const next = this.offset + d.length;
    const target = next + d.imm32;
    const { flagsThere, flagsNext } = this;
    // where they are read on one way only they are kept on that
    if (flagsThere && flagsNext) this.saveFlags();
    const turned = flagsThere && !flagsNext;
    this.link(this.a.branchAhead(turned ? cc ^ 1 : cc), turned ? next : target);
    if (flagsThere || flagsNext) this.saveFlags();
    this.goTo(turned ? target : next);
    return true;
  }
  protected jumpIfZero(d: Decoded): boolean {
    const a = this.a;
    this.saveFlags();
    a.raw(0xe3, 5);
    this.link(a.jumpAhead(), this.offset + d.length); // 5 bytes, wherever it goes
    this.goTo(this.offset + d.length + d.imm32);
    return true;
  }
  protected jump(d: Decoded): boolean {
    if (d.operands[0].kind === "rel") {
      if (this.flagsThere) this.saveFlags();
      this.goTo(this.offset + d.length + d.imm32);
      return true;
    }
    this.loadTarget(d);
    this.goByCacheChecked(0);
    return true;
  }
  /** The target of an indirect jump to ADDRESS. */
  protected loadTarget(d: Decoded): void {
    const a = this.a;
    if (d.operands[0].kind === "mem") {
      const from = this.operandMemory(d, 8, false);
      a.load64(ADDRESS, from);
    } else {
      this.giveUpFlags();
      this.copyTo(ADDRESS, d.operands[0].reg);
    }
  }
  /** The interpreter raises #GP if ADDRESS is not canonical. */
  protected requireCanonical(): void {
    compareCanonical(this.a);
    this.leaveIf(Cc.NZ);
  }
  protected call(d: Decoded): boolean {
    const a = this.a;
    const direct = d.operands[0].kind === "rel";
    if (!direct) {
      this.loadTarget(d);
      this.requireCanonical();
      a.store64(TEMP2, ADDRESS);
    }
    const to = this.stackMemory(RSP, -8, true);
    const next = this.offset + d.length;
    a.load64(SCRATCH, PAGE_VA);
    a.lea(SCRATCH, memory(SCRATCH, next));
    a.store64(to, SCRATCH);
    a.lea(R11, memory(R11, -8));
    if (this.flagsThere) this.saveFlags(); // an access that another one has made sure of has left them alone
    if (direct) this.goTo(next + d.imm32);
    else {
      a.load64(ADDRESS, TEMP2);
      this.goByCache();
    }
    return true;
  }
  protected return(d: Decoded): boolean {
    const a = this.a;
    const from = this.stackMemory(RSP, 0, false);
    a.load64(ADDRESS, from);
    if (this.flagsThere) this.saveFlags();
    this.goByCacheChecked(8 + (d.operandCount > 0 ? d.imm32 & 0xffff : 0));
    return true;
  }
  protected push(d: Decoded): void {
    const a = this.a;
    const { kind, reg } = d.operands[0];
    if (kind === "mem") {
      const from = this.operandMemory(d, 8, false);
      a.load64(SCRATCH, from);
      a.store64(TEMP2, SCRATCH);
    }
    const to = this.stackMemory(RSP, -8, true);
    if (kind === "imm") {
      a.op(0xc7, 0, to, W);
      a.word(d.imm32);
    } else if (kind === "mem") {
      a.load64(SCRATCH, TEMP2);
      a.store64(to, SCRATCH);
    } else if (HOST_OF[reg] === IN_MEMORY) {
      a.load64(SCRATCH, gprWord(reg));
      a.store64(to, SCRATCH);
    } else a.store64(to, HOST_OF[reg]);
    a.lea(R11, memory(R11, -8));
  }
  protected pop(d: Decoded): void {
    const a = this.a;
    const from = this.stackMemory(RSP, 0, false);
    const { reg } = d.operands[0];
    if (HOST_OF[reg] !== IN_MEMORY && reg !== RSP) {
      a.load64(HOST_OF[reg], from);
      a.lea(R11, memory(R11, 8));
      return;
    }
    a.load64(SCRATCH, from);
    a.lea(R11, memory(R11, 8));
    this.copyFrom(reg, SCRATCH);
  }
  protected extendA(size: number): void {
    const a = this.a;
    const r = register(R10);
    if (size === 8) a.op(0x63, R10, r, W);
    else if (size === 4) a.op(0x0fbf, R10, r);
    else a.op(0x0fbe, R10, r, B16);
  }
  /** The only explicit operand, of MUL and DIV. */
  protected factor(d: Decoded): RegisterOrMemory {
    const { kind, reg, width } = d.operands[0];
    if (kind === "mem") return this.operandMemory(d, width, false);
    this.giveUpFlags();
    return this.gpr(reg);
  }
  protected multiply(d: Decoded): void {
    const a = this.a;
    const byte = d.size === 1;
    const rm = this.factor(d);
    a.moveRegister(SCRATCH, R10);
    const n = this.treatment.mnemonic === "mul" ? 4 : 5;
    a.op(byte ? 0xf6 : 0xf7, n, rm, form(d.size === 8, d.size === 2 ? 0x66 : 0, byte));
    a.moveRegister(R10, SCRATCH);
    this.flags = Place.HOST;
  }
  protected divide(d: Decoded, signed: boolean): void {
    const a = this.a;
    const w = d.size === 8;
    const how = form(w);
    const rm = this.factor(d);
    const high = HOST_OF[2];
    if (signed) {
      // only what surely neither overflows nor is by 0: a dividend that is sign-extended, a divisor that is neither 0 nor −1
      a.moveRegister(SCRATCH, R10);
      a.shift(7, register(SCRATCH), w ? 63 : 31, w);
      a.op(0x39, high, register(SCRATCH), how);
      this.leaveIf(Cc.NZ);
      a.op(0x8b, SCRATCH, rm, how);
      a.arithmetic(0, register(SCRATCH), 1, w);
      a.arithmetic(7, register(SCRATCH), 1, w);
      this.leaveIf(Cc.BE);
    } else {
      a.op(0x3b, high, rm, how);
      this.leaveIf(Cc.AE);
    }
    a.moveRegister(SCRATCH, R10);
    a.op(0xf7, signed ? 7 : 6, rm, how);
    a.moveRegister(R10, SCRATCH);
    this.flags = Place.HOST;
  }
  protected compareExchange(d: Decoded): void {
    const a = this.a;
    const [first, second] = d.operands;
    let rm = first.kind === "mem" ? this.operandMemory(d, first.width, true, d.lock ? first.width - 1 : 0) : undefined;
    let { reg } = second;
    let from = HOST_OF[reg];
    if (from === IN_MEMORY) {
      // a host register gives way that is no part of the other operand
      const used = first.kind === "mem" ? [d.base, d.index] : [first.reg];
      from = HOST_OF[[7, 6, 3].find((n) => !used.includes(n))!];
      a.store64(TEMP2, from);
      a.load64(from, gprWord(reg));
    } else reg = -1;
    rm ??= this.gpr(first.reg);
    a.moveRegister(SCRATCH, R10);
    const byte = first.width === 1;
    if (d.lock) a.byte(0xf0);
    a.op(byte ? 0x0fb0 : 0x0fb1, from, rm, form(first.width === 8, first.width === 2 ? 0x66 : 0, byte));
    a.moveRegister(R10, SCRATCH);
    if (reg >= 0) a.load64(from, TEMP2);
    this.flags = Place.HOST;
  }
  protected byteSwap(d: Decoded): void {
    const a = this.a;
    const { reg, width } = d.operands[0];
    const host = HOST_OF[reg] === IN_MEMORY ? SCRATCH : HOST_OF[reg];
    if (host === SCRATCH) a.load64(SCRATCH, gprWord(reg));
    const rex = (width === 8 ? 8 : 0) | (host >> 3);
    if (width === 2) a.byte(0x66);
    if (rex !== 0) a.byte(0x40 | rex);
    a.raw(0x0f, 0xc8 | (host & 7));
    if (host === SCRATCH) a.store64(gprWord(reg), SCRATCH);
  }
  /** PCMPESTRx: lengths in EAX and EDX. */
  protected compareStrings(d: Decoded, at: number): void {
    readRaw(this.bytes, at, true, this.raw);
    const [to, from] = d.operands;
    const rm = from.kind === "mem" ? this.operandMemory(d, 16, false) : register(from.reg);
    this.giveUpFlags();
    this.a.moveRegister(SCRATCH, R10);
    this.a.op(this.raw.opcode, to.reg, rm, form(this.raw.w, this.raw.prefixes));
    for (let i = this.raw.immediate; i < at + d.length; i++) this.a.byte(this.bytes[i]);
    this.flags = Place.HOST;
  }
}
