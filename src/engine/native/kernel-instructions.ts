/* Fourth layer: what kernels do all the time, and REP MOVS and STOS. Rare cases are left to the interpreter before anything is changed.
 * @source docs/native.md; isa/sem/kernel-entry.ts, isa/sem/system.ts, which say what is to happen */
import type { Decoded } from "../../isa/decoded.ts";
import { Reg, Rflags, SegmentIndex, Shadow } from "../../isa/registers.ts";
import { Attributes } from "../../isa/system/descriptors.ts";
import { Engine } from "../wasm/layout.ts";
import { type Assembler, Cc, Host, memory, register, W } from "./assembler.ts";
import { Place } from "./block-emitter.ts";
import { ADDRESS, BANK, HOST_OF, IN_MEMORY, SCRATCH } from "./layout.ts";
import { field, FLAGS, FUEL, gprWord, PAGE_VA, RFLAGS, TEMP, TEMP2, TEMP3, W16 } from "./operands.ts";
import { OwnInstructions } from "./own-instructions.ts";
import type { Routines } from "./routines.ts";

const RSP = 4;
const { RCX, RDX, RSI, RDI, R10, R11 } = Host;
const CR4_TSD = 1 << 2;
const CR4_FSGSBASE = 1 << 16;
const EFER_SCE = 1;
const MXCSR_RESERVED = ~0xffff;
const MXCSR_MASKS = 0x1f80;
/** A tag that no entry of the jump cache has. @source jump-cache.ts */
const NO_TAG = 1;
/** Fuel that a run of elements in one page takes. */
const RUN_FUEL = 16;
/** RFLAGS bits that SYSRET takes from R11. @source isa/sem/kernel-entry.ts */
const SYSRET_FLAGS = 0x3c_7fd7;

export abstract class KernelInstructions extends OwnInstructions {
  constructor(a: Assembler, routines: Routines) {
    super(a, routines);
    for (const mnemonic of ["cli", "sti", "stac", "clac", "swapgs"]) {
      this.ways[mnemonic] = (d) => {
        this.requireKernel();
        this.system(mnemonic, d.length);
      };
    }
    Object.assign(this.ways, {
      movseg: (d) => this.readSegment(d),
      rdfsbase: (d) => this.readBase(d, Reg.FS_BASE),
      rdgsbase: (d) => this.readBase(d, Reg.GS_BASE),
      wrfsbase: (d) => this.writeBase(d, Reg.FS_BASE),
      wrgsbase: (d) => this.writeBase(d, Reg.GS_BASE),
      pushf: () => this.pushFlags(),
      ldmxcsr: (d) => this.loadMxcsr(d),
      stmxcsr: (d) => this.a.op(0x0fae, 3, this.operandMemory(d, 4, true)),
      stos: (d) => this.repeat(d.size, false),
      stosb: (d) => this.repeat(d.size, false),
      movs: (d) => this.repeat(d.size, true),
      movsb: (d) => this.repeat(d.size, true),
      rdtsc: () => this.readTime(false),
      rdtscp: () => this.readTime(true),
      syscall: (d) => this.systemCall(d.length),
      sysret: () => this.systemReturn(),
    } satisfies typeof this.ways);
  }

  protected requireKernel(): void {
    this.giveUpFlags();
    this.a.arithmetic(7, field(Reg.CPL), 0, false);
    this.leaveIf(Cc.NZ);
  }
  protected system(mnemonic: string, length: number): void {
    const a = this.a;
    const rflags = RFLAGS;
    if (mnemonic === "cli") a.arithmetic(4, rflags, ~Rflags.IF, false);
    else if (mnemonic === "sti") {
      // an interrupt that waits is the interpreter's
      a.arithmetic(7, field(Reg.INTERRUPT_PENDING), 0, false);
      this.leaveIf(Cc.NZ);
      a.test(rflags, Rflags.IF);
      const open = a.branchAhead(Cc.NZ);
      a.arithmetic(1, rflags, Rflags.IF, false);
      a.moveImmediate32(field(Reg.INTERRUPT_SHADOW), Shadow.STI);
      a.load64(SCRATCH, PAGE_VA);
      a.lea(SCRATCH, memory(SCRATCH, this.offset + length));
      a.store64(field(Reg.SHADOW_RIP), SCRATCH);
      a.bind(open);
    } else if (mnemonic === "swapgs") {
      a.load64(SCRATCH, field(Reg.GS_BASE));
      a.load64(ADDRESS, field(Reg.KERNEL_GS_BASE));
      a.store64(field(Reg.KERNEL_GS_BASE), SCRATCH);
      a.store64(field(Reg.GS_BASE), ADDRESS);
    } else {
      const on = mnemonic === "stac";
      a.arithmetic(on ? 1 : 4, rflags, on ? Rflags.AC : ~Rflags.AC, false);
      this.chooseBank(on ? Engine.BANK_SUPERVISOR_AC : Engine.BANK_SUPERVISOR);
    }
  }
  /** @param bank the word that has its address in the state memory */
  protected chooseBank(bank: number): void {
    const a = this.a;
    a.load32(SCRATCH, field(bank));
    // it is as far from the old one in the host's memory
    a.load32(ADDRESS, field(Engine.TLB));
    a.store32(field(Engine.TLB), SCRATCH);
    a.op(0x2b, SCRATCH, register(ADDRESS), W);
    a.op(0x03, BANK, register(SCRATCH), W);
  }
  protected copyWord(to: number, from: number): void {
    this.a.load32(SCRATCH, field(from));
    this.a.store32(field(to), SCRATCH);
  }
  /** A flat segment, its selector in SCRATCH. */
  protected setFlat(index: number, attributes: number): void {
    const a = this.a;
    const at = Reg.SEG + 16 * index;
    a.arithmetic(1, register(SCRATCH), attributes << 16, false);
    a.store32(field(at), SCRATCH);
    a.moveImmediate32(field(at + 4), -1);
    a.op(0xc7, 0, field(at + 8), W);
    a.word(0);
  }
  /** RFLAGS and the arithmetic flags from the image in SCRATCH. */
  protected setFlags(): void {
    const a = this.a;
    a.moveRegister(ADDRESS, SCRATCH);
    a.arithmetic(4, register(SCRATCH), ~Rflags.OSZAPC, false);
    a.arithmetic(1, register(SCRATCH), 2, false);
    a.store32(RFLAGS, SCRATCH);
    a.moveRegister(SCRATCH, ADDRESS);
    a.shift(5, register(ADDRESS), 11);
    a.arithmetic(4, register(ADDRESS), 1, false);
    a.shift(4, register(SCRATCH), 8);
    a.op(0x09, ADDRESS, register(SCRATCH));
    a.op(0x89, SCRATCH, FLAGS, W16);
    this.flags = Place.FILE;
  }
  protected requireSystemCalls(): void {
    const a = this.a;
    a.test(field(Reg.EFER), EFER_SCE);
    this.leaveIf(Cc.Z);
  }
  /** SYSCALL from user code that has neither AC nor TF. */
  protected systemCall(length: number): boolean {
    const a = this.a;
    this.giveUpFlags();
    this.requireSystemCalls();
    a.arithmetic(7, field(Reg.CPL), 3, false);
    this.leaveIf(Cc.NZ);
    a.test(RFLAGS, Rflags.AC | Rflags.TF);
    this.leaveIf(Cc.NZ);
    this.loadFlags();
    a.arithmetic(4, register(SCRATCH), ~Rflags.RF, false);
    a.store64(gprWord(11), SCRATCH);
    a.load32(ADDRESS, field(Reg.SFMASK));
    a.op(0xf7, 2, register(ADDRESS)); // not
    a.op(0x21, ADDRESS, register(SCRATCH));
    this.setFlags();
    a.load64(RCX, PAGE_VA);
    a.lea(RCX, memory(RCX, this.offset + length));
    a.load32(SCRATCH, field(Reg.STAR + 4));
    a.arithmetic(4, register(SCRATCH), 0xfffc, false);
    this.setFlat(SegmentIndex.CS, Attributes.CODE64_KERNEL);
    a.load32(SCRATCH, field(Reg.STAR + 4));
    a.arithmetic(4, register(SCRATCH), 0xfffc, false);
    a.arithmetic(0, register(SCRATCH), 8, false);
    a.op(0x0fb7, SCRATCH, register(SCRATCH));
    this.setFlat(SegmentIndex.SS, Attributes.DATA_KERNEL);
    a.moveImmediate32(field(Reg.CPL), 0);
    this.chooseBank(Engine.BANK_SUPERVISOR);
    this.copyWord(Engine.CODE_TAG, Engine.TAG_SUPERVISOR);
    this.copyWord(Engine.CODE_TAG_GLOBAL, Engine.TAG_GLOBAL);
    a.load64(ADDRESS, field(Reg.LSTAR));
    this.kernel = true;
    this.goByCache();
    return true;
  }
  /** SYSRET to 64-bit code with neither AC nor TF, while no interrupt waits. */
  protected systemReturn(): boolean {
    const a = this.a;
    this.requireKernel();
    this.requireSystemCalls();
    a.arithmetic(7, field(Reg.INTERRUPT_PENDING), 0, false);
    this.leaveIf(Cc.NZ);
    a.load32(SCRATCH, gprWord(11));
    a.test(register(SCRATCH), Rflags.AC | Rflags.TF);
    this.leaveIf(Cc.NZ);
    a.moveRegister(ADDRESS, RCX);
    this.requireCanonical();
    a.load32(SCRATCH, gprWord(11));
    a.arithmetic(4, register(SCRATCH), SYSRET_FLAGS, false);
    this.setFlags();
    const selector = (more: number): void => {
      a.op(0x0fb7, SCRATCH, field(Reg.STAR + 6));
      a.arithmetic(0, register(SCRATCH), more, false);
      a.arithmetic(1, register(SCRATCH), 3, false);
      a.op(0x0fb7, SCRATCH, register(SCRATCH));
    };
    selector(16);
    this.setFlat(SegmentIndex.CS, Attributes.CODE64_USER);
    selector(8);
    this.setFlat(SegmentIndex.SS, Attributes.DATA_USER);
    a.moveImmediate32(field(Reg.CPL), 3);
    this.chooseBank(Engine.BANK_USER);
    this.copyWord(Engine.CODE_TAG, Engine.TAG_USER);
    a.moveImmediate32(field(Engine.CODE_TAG_GLOBAL), NO_TAG);
    a.moveRegister(ADDRESS, RCX);
    this.kernel = false;
    this.goByCache();
    return true;
  }
  /** All of RFLAGS to SCRATCH. */
  protected loadFlags(): void {
    const a = this.a;
    this.bringFlags();
    a.raw(0x9c, 0x58); // pushfq; pop rax
    a.arithmetic(4, register(SCRATCH), Rflags.OSZAPC, false);
    a.op(0x0b, SCRATCH, RFLAGS);
    this.flags = Place.FILE;
  }
  protected readTime(auxiliary: boolean): void {
    const a = this.a;
    this.giveUpFlags();
    a.test(field(Reg.CR4), CR4_TSD);
    this.leaveIf(Cc.NZ);
    a.call(this.routines.clock);
    a.op(0x03, SCRATCH, field(Reg.TSC_OFFSET), W);
    a.moveRegister(RDX, SCRATCH);
    a.shift(5, register(RDX), 32, true);
    a.load32(R10, register(SCRATCH));
    if (auxiliary) a.load32(RCX, field(Reg.TSC_AUX));
  }
  protected readSegment(d: Decoded): void {
    const a = this.a;
    const { reg, width } = d.operands[0];
    a.op(0x0fb7, SCRATCH, field(Reg.SEG + 16 * d.operands[1].reg));
    if (width === 2) a.op(0x89, SCRATCH, HOST_OF[reg] === IN_MEMORY ? gprWord(reg) : register(HOST_OF[reg]), W16);
    else this.copyFrom(reg, SCRATCH);
  }
  protected requireBases(): void {
    this.giveUpFlags();
    this.a.test(field(Reg.CR4), CR4_FSGSBASE);
    this.leaveIf(Cc.Z);
  }
  protected writeBase(d: Decoded, base: number): void {
    const a = this.a;
    this.requireBases();
    this.copyTo(ADDRESS, d.operands[0].reg);
    if (d.operands[0].width === 4) a.load32(ADDRESS, register(ADDRESS));
    this.requireCanonical();
    a.store64(field(base), ADDRESS);
  }
  /** Reserved bits are #GP; where an exception is not masked, SSE is the interpreter's. */
  protected loadMxcsr(d: Decoded): void {
    const a = this.a;
    a.load32(SCRATCH, this.operandMemory(d, 4, false));
    a.store32(TEMP3, SCRATCH);
    a.test(register(SCRATCH), MXCSR_RESERVED);
    this.leaveIf(Cc.NZ);
    a.op(0xf7, 2, register(SCRATCH));
    a.test(register(SCRATCH), MXCSR_MASKS);
    this.leaveIf(Cc.NZ);
    a.op(0x0fae, 2, TEMP3);
  }
  /** REP MOVS and REP STOS, upwards: as many elements at a time as lie in one page, by the same instruction. */
  protected repeat(size: number, moves: boolean): void {
    const a = this.a;
    this.giveUpFlags();
    a.test(RFLAGS, Rflags.DF);
    this.leaveIf(Cc.NZ);
    const again = a.at;
    a.op(0x85, RCX, register(RCX), W);
    const done = a.branchAhead(Cc.Z);
    const through = (r: number, write: boolean): void => {
      this.accessAt(r, size, write, 0);
      a.op(0x03, ADDRESS, register(r), W);
    };
    if (moves) {
      through(RSI, false);
      a.store64(TEMP3, ADDRESS);
    }
    through(RDI, true);
    a.store64(TEMP, RCX);
    a.store64(TEMP2, RDI);
    this.countElements(size, moves);
    this.runElements(size, moves);
    a.arithmetic(0, field(Engine.REPEATED), RUN_FUEL, false);
    a.arithmetic(5, FUEL, RUN_FUEL, false);
    a.op(0x85, RCX, register(RCX), W);
    const over = a.branchAhead(Cc.Z);
    a.arithmetic(7, FUEL, 0, false);
    this.leaveIf(Cc.S);
    a.arithmetic(7, field(Reg.ATTENTION), 0, false);
    a.branch(Cc.Z, again);
    this.leaveIf(Cc.NZ);
    a.bind(over);
    a.bind(done);
  }
  /** To RCX: elements up to the end of the page, or of both pages, and no more than TEMP. There is one, since it was found in the TLB. */
  protected countElements(size: number, moves: boolean): void {
    const a = this.a;
    a.load32(SCRATCH, register(RDI));
    a.arithmetic(4, register(SCRATCH), 0xfff, false);
    if (moves) {
      a.load32(RCX, register(RSI));
      a.arithmetic(4, register(RCX), 0xfff, false);
      a.op(0x39, RCX, register(SCRATCH));
      a.op(0x0f42, SCRATCH, register(RCX)); // cmovb
    }
    a.moveImmediate32(register(RCX), 4096);
    a.op(0x2b, RCX, register(SCRATCH));
    if (size > 1) a.shift(5, register(RCX), Math.log2(size));
    a.op(0x3b, RCX, TEMP, W);
    a.op(0x0f47, RCX, TEMP, W); // cmova
  }
  /** RCX of them, from TEMP3 to ADDRESS; then RCX, RSI and RDI are as after these. */
  protected runElements(size: number, moves: boolean): void {
    const a = this.a;
    a.moveRegister(SCRATCH, moves ? RSI : R10);
    if (moves) a.load64(RSI, TEMP3);
    a.moveRegister(RDI, ADDRESS);
    a.moveRegister(ADDRESS, RCX);
    a.byte(0xf3);
    if (size === 2) a.byte(0x66);
    if (size === 8) a.byte(0x48);
    a.byte((moves ? 0xa4 : 0xaa) | (size > 1 ? 1 : 0));
    const scale = Math.log2(size);
    if (moves) a.lea(RSI, memory(SCRATCH, 0, ADDRESS, scale));
    a.load64(RDI, TEMP2);
    a.lea(RDI, memory(RDI, 0, ADDRESS, scale));
    a.load64(RCX, TEMP);
    a.op(0x2b, RCX, register(ADDRESS), W);
  }
  protected readBase(d: Decoded, base: number): void {
    const a = this.a;
    this.requireBases();
    if (d.operands[0].width === 8) a.load64(SCRATCH, field(base));
    else a.load32(SCRATCH, field(base));
    this.copyFrom(d.operands[0].reg, SCRATCH);
  }
  protected pushFlags(): void {
    const a = this.a;
    const to = this.stackMemory(RSP, -8, true);
    this.loadFlags();
    a.arithmetic(4, register(SCRATCH), ~(Rflags.RF | Rflags.VM), false);
    a.store64(to, SCRATCH);
    a.lea(R11, memory(R11, -8));
  }
}
