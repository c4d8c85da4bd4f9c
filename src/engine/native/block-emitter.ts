/* First layer of the block translator: where the guest's registers and flags are, how memory is reached, and how a block is left.
 *
 * Flags are the host's own from the instruction that makes them on. What a translated instruction needs besides (the TLB's compare, fuel) overwrites them, so they go
 * to the frame before, in the form of SETO AL; LAHF, and come back from there for an instruction that reads them. @source docs/native.md */
import type { Decoded } from "../../isa/decoded.ts";
import { Reg } from "../../isa/registers.ts";
import { Engine } from "../wasm/layout.ts";
import { type Assembler, Cc, memory, NONE, register, type RegisterOrMemory, W } from "./assembler.ts";
import { ADDRESS, Frame, HOST_OF, IN_MEMORY, INDEX_MASK, INDEX_SHIFT, Info, SCRATCH } from "./layout.ts";
import {
  AT_ADDRESS,
  field,
  FLAGS,
  gprWord,
  inFrame,
  PAGE_VA,
  TEMP,
  TLB_HOST,
  TLB_READ,
  TLB_WRITE,
  W16,
} from "./operands.ts";
import { isPlain, MergedAccesses, Role } from "./merged-accesses.ts";
import type { Treatment } from "./supported.ts";
import type { Routines } from "./routines.ts";

const PAGE = 4096;
/** For the longest block. */
const MOST_STUBS = 1024;
const RSP = 4;
export const LAHF = 0x9f;
export const SAHF = 0x9e;

/** Where the flags are. */
export const Place = { FILE: 0, HOST: 1, BOTH: 2 } as const;

/** Jumps to places in the same page: offset in the code of the jump's displacement, and where it goes in the page, two numbers each. */
export type Sites = readonly number[];

/** Code out of line, behind the block: what the numbers of a stub mean. */
const Stub = {
  /** Offset of the displacement of the jump to it; the others depend on KIND. */
  KIND: 0,
  FROM: 1,
  FIRST: 2,
  FIELDS: 9,
} as const;
export const StubKind = {
  /** (offset in the page, where the block goes on): there may be no fuel. */
  FUEL: 0,
  /** (Info): the interpreter does the instruction. */
  INTERPRET: 1,
  /** (offset from the page's beginning) */
  GO_TO: 2,
  /** (begin and end of the code that loads the address, or −1 − the host register that has it, and nothing; where to begin again, Info, end of the access's check and of
   *  what uses it, or 0 if it must lie in one page) */
  MISSED: 3,
  /** (Info, where the block goes on): the host has not the guest's x87 registers. */
  X87: 4,
  /** (begin and end of the code that loads the address of the group, as MISSED; where to begin again; Info; distance of the access from there; bytes of the group, and OTHERS_WRITE) */
  GROUP_MISSED: 5,
} as const;

/** The group's first access reads, and another one writes. */
const OTHERS_WRITE = 1 << 16;

const segmentBase = (segment: number): RegisterOrMemory => field(segment === 4 ? Reg.FS_BASE : Reg.GS_BASE);

export abstract class BlockEmitter {
  protected readonly a: Assembler;
  protected readonly routines: Routines;
  /** Of the current instruction. */
  protected treatment!: Treatment;
  protected bytes: Uint8Array = new Uint8Array(0);
  /** Of Stub.FIELDS numbers each. */
  readonly #stubs = new Int32Array(MOST_STUBS * Stub.FIELDS);
  /** The next one's index. */
  #nextStub = 0;
  /** That of the last access's, −1 if it cannot lie in two pages. */
  #lastAccess = 0;
  protected sites: number[] = [];
  protected flags: number = Place.FILE;
  /** May the flags be read behind the block: where its jump goes, and where it goes on? */
  protected flagsThere = true;
  protected flagsNext = true;
  /** Of the current instruction: offset in the page, and how many come before it. */
  protected offset = 0;
  protected index = 0;
  /** Instructions of the block. */
  protected count = 0;
  protected readonly accesses = new MergedAccesses();
  /** Has the block no code for accesses in two pages? */
  protected inOnePage = false;
  /** Is there code without groups as well, for groups that lie in two pages? */
  protected copies = false;
  /** By two: offset of the displacement of a jump there, and the instruction's number. */
  readonly #toCopy: number[] = [];
  /** Are they made sure of in groups? */
  protected merges = false;
  /** Offset in the code of the block. */
  protected start = 0;
  /** Is this most likely the kernel's code? */
  protected kernel = false;
  /** Has the block looked whether SSE instructions trap? */
  protected sseChecked = false;

  constructor(a: Assembler, routines: Routines) {
    this.a = a;
    this.routines = routines;
  }

  // ——— leaving ———
  /** Info of the current instruction. */
  protected get info(): number {
    return this.offset | ((this.count - this.index) << Info.AHEAD);
  }
  /** Notes code that is to be written out of line. @param from offset of the displacement of the jump to it  @param a, b, c, d, e, f see StubKind */
  protected stub(kind: number, from: number, a: number, b = 0, c = 0, d = 0, e = 0, f = 0): void {
    const stubs = this.#stubs;
    const at = this.#nextStub;
    stubs[at] = kind;
    stubs[at + Stub.FROM] = from;
    stubs[at + Stub.FIRST] = a;
    stubs[at + Stub.FIRST + 1] = b;
    stubs[at + Stub.FIRST + 2] = c;
    stubs[at + Stub.FIRST + 3] = d;
    stubs[at + Stub.FIRST + 4] = e;
    stubs[at + Stub.FIRST + 5] = f;
    this.#nextStub = at + Stub.FIELDS;
  }
  protected beginStubs(): void {
    this.#nextStub = 0;
  }
  protected writeStubs(): void {
    const stubs = this.#stubs;
    for (let at = 0; at < this.#nextStub; at += Stub.FIELDS) {
      this.a.bind(stubs[at + Stub.FROM]);
      const first = at + Stub.FIRST;
      const kind = stubs[at];
      const a = stubs[first];
      const b = stubs[first + 1];
      if (kind === StubKind.GO_TO) this.writeGoTo(a);
      else if (kind === StubKind.FUEL) this.outOfFuel(a, b);
      else if (kind === StubKind.INTERPRET) this.writeInterpret(a);
      else if (kind === StubKind.MISSED) this.#writeMissed(first, stubs[first + 3]);
      else if (kind === StubKind.GROUP_MISSED) this.#writeGroupMissed(first, stubs[first + 3]);
      else this.writeLoadX87(a, b);
    }
  }
  protected abstract writeLoadX87(info: number, back: number): void;
  protected writeInterpret(info: number): void {
    this.a.call(this.routines.interpret);
    this.a.word(info);
  }
  #writeMissed(first: number, info: number): void {
    const { a } = this;
    const stubs = this.#stubs;
    const load = stubs[first];
    const end = stubs[first + 4];
    const after = stubs[first + 5];
    // the same code once more
    if (load < 0) a.moveRegister(ADDRESS, -1 - load);
    else a.copy(load, stubs[first + 1]);
    a.call(this.routines.missed);
    a.word(after > 0 ? info | (1 << Info.SPLIT) : info);
    a.codeOffset(stubs[first + 2]);
    if (after > 0) this.#writeSplit(end, after, (info & (1 << Info.WRITE)) !== 0);
  }
  /** The group may lie in two pages: then it goes on in code without groups, or, where there is none yet, the interpreter does this instruction. */
  #writeGroupMissed(first: number, info: number): void {
    const { a } = this;
    const stubs = this.#stubs;
    const load = stubs[first];
    const bytes = stubs[first + 5] & ~OTHERS_WRITE;
    const others = bytes !== stubs[first + 5];
    if (load < 0) a.moveRegister(ADDRESS, -1 - load);
    else a.copy(load, stubs[first + 1]);
    a.load32(SCRATCH, register(ADDRESS));
    a.arithmetic(4, register(SCRATCH), PAGE - 1, false);
    a.arithmetic(7, register(SCRATCH), PAGE - bytes, false);
    const crossing = a.branchAhead(Cc.A);
    if (stubs[first + 4] !== 0) a.lea(ADDRESS, memory(ADDRESS, stubs[first + 4]));
    a.call(this.routines.missed);
    a.word(others ? info | (1 << Info.WRITE) | (1 << Info.OTHERS) : info);
    a.codeOffset(stubs[first + 2]);
    a.bind(crossing);
    if (this.copies) {
      const ahead = (info >> Info.AHEAD) & (2 ** Info.AHEAD_BITS - 1);
      this.#toCopy.push(a.jumpAhead(), this.count - ahead);
      return;
    }
    a.op(0xc7, 0, field(Engine.CROSSING));
    a.codeOffset(this.start);
    this.writeInterpret(info);
  }
  protected endCopy(): void {
    this.#toCopy.length = 0;
  }
  /** In code without groups: jumps come to an instruction with the flags in the frame. */
  protected beginInstruction(): void {
    const jumps = this.#toCopy;
    if (this.merges || jumps.length === 0) return;
    for (let i = 0; i < jumps.length; i += 2) {
      if (jumps[i + 1] !== this.index) continue;
      this.giveUpFlags();
      this.a.bind(jumps[i]);
    }
  }
  /** What was written last may use its operand in memory on a copy. */
  protected mayLieInTwoPages(): void {
    if (!this.inOnePage && this.#lastAccess >= 0) this.#stubs[this.#lastAccess + Stub.FIRST + 5] = this.a.at;
  }
  protected checkSse(): void {
    this.giveUpFlags();
    this.a.arithmetic(7, field(Engine.SSE_TRAP), 0, false);
    this.leaveIf(Cc.NZ);
    this.sseChecked = true;
  }
  protected outOfFuel(offset: number, body: number): void {
    const a = this.a;
    a.call(this.routines.fuelOut);
    a.word(offset | (this.count << 16));
    a.jump(body);
  }
  /** The interpreter does this instruction if the condition holds. Flags are in the frame. */
  protected leaveIf(cc: number): void {
    this.stub(StubKind.INTERPRET, this.a.branchAhead(cc), this.info);
  }
  /** To an offset from the page's beginning. */
  protected goTo(target: number): void {
    if (target >= 0 && target < PAGE) return this.link(this.a.jumpAhead(), target);
    this.a.load64(ADDRESS, PAGE_VA);
    this.a.lea(ADDRESS, memory(ADDRESS, target));
    this.goByCache();
  }
  /** To RIP in ADDRESS, which is canonical. */
  protected goByCache(): void {
    const { a, routines } = this;
    a.call(this.kernel ? routines.landInKernel : routines.land);
    a.raw(0xff, 0xe0); // jmp rax
  }
  /** To RIP in ADDRESS, which the interpreter does if it is not canonical. @param pop what is added to RSP */
  protected goByCacheChecked(pop: number): void {
    const { a, routines } = this;
    const rsp = HOST_OF[RSP];
    if (pop !== 0) a.lea(rsp, memory(rsp, pop));
    a.call(this.kernel ? routines.landInKernelChecked : routines.landChecked);
    a.raw(0xff, 0xe0); // jmp rax
    a.word(this.info);
    a.word(pop);
  }
  protected link(at: number, target: number): void {
    if (target >= 0 && target < PAGE) this.sites.push(at, target);
    this.stub(StubKind.GO_TO, at, target);
  }
  protected writeGoTo(target: number): void {
    this.a.call(this.routines.goTo);
    this.a.word(target);
  }

  // ——— flags ———
  protected saveFlags(): void {
    if (this.flags !== Place.HOST) return;
    const a = this.a;
    a.raw(0x0f, 0x90, 0xc0, LAHF);
    a.op(0x89, SCRATCH, FLAGS, W16);
    this.flags = Place.BOTH;
  }
  /** What follows overwrites the host's. */
  protected giveUpFlags(): void {
    this.saveFlags();
    this.flags = Place.FILE;
  }
  /** The host's are the guest's. */
  protected bringFlags(): void {
    if (this.flags !== Place.FILE) return;
    const a = this.a;
    a.op(0x0fb7, SCRATCH, FLAGS);
    a.raw(0x04, 0x7f, SAHF);
    this.flags = Place.BOTH;
  }

  // ——— registers ———
  /** Copies a register of the guest's to a host register. */
  protected copyTo(to: number, n: number): void {
    if (HOST_OF[n] === IN_MEMORY) this.a.load64(to, gprWord(n));
    else this.a.moveRegister(to, HOST_OF[n]);
  }
  protected copyFrom(n: number, from: number): void {
    if (HOST_OF[n] === IN_MEMORY) this.a.store64(gprWord(n), from);
    else this.a.moveRegister(HOST_OF[n], from);
  }
  /** All 64 bits of a register as an operand. */
  protected gpr(n: number): RegisterOrMemory {
    return HOST_OF[n] === IN_MEMORY ? gprWord(n) : register(HOST_OF[n]);
  }

  // ——— memory ———
  /** The linear address of the memory operand to ADDRESS. Uses SCRATCH; flags of the host stay, but for segments. */
  protected effective(d: Decoded, segment: boolean): void {
    const a = this.a;
    if (d.ripRelative) {
      a.load64(ADDRESS, PAGE_VA);
      a.lea(ADDRESS, memory(ADDRESS, this.offset + d.length + d.disp));
    } else if (d.base < 0 && d.index < 0) {
      a.op(0xc7, 0, register(ADDRESS), W);
      a.word(d.disp);
    } else {
      let [base, index] = [NONE as number, NONE as number];
      if (d.index >= 0) {
        index = HOST_OF[d.index];
        if (index === IN_MEMORY) a.load64((index = SCRATCH), gprWord(d.index));
      }
      if (d.base >= 0) {
        base = HOST_OF[d.base];
        if (base === IN_MEMORY) a.load64((base = ADDRESS), gprWord(d.base));
      }
      a.lea(ADDRESS, memory(base, d.disp, index, d.scale));
    }
    if (segment && d.segment >= 4) a.op(0x03, ADDRESS, segmentBase(d.segment), W);
  }
  /** Makes sure that the memory operand is in the TLB. @param align bits that must be 0  @param whole is it to be where ADDRESS points to?  @returns where it is */
  protected operandMemory(d: Decoded, size: number, write: boolean, align = 0, whole = false): RegisterOrMemory {
    const a = this.a;
    const base = d.base < 0 ? NONE : HOST_OF[d.base];
    const index = d.index < 0 ? NONE : HOST_OF[d.index];
    const simple = base >= 0 && d.index < 0 && d.segment < 4;
    if (this.isMerged) return this.#mergedOperand(d, size, write);
    if (simple && d.disp === 0) this.accessAt(base, size, write, align);
    else {
      const from = this.beginAccess();
      this.effective(d, true);
      this.access(from, size, write, align);
    }
    // ADDRESS is what has to be added to the linear address
    let rest: RegisterOrMemory;
    if (d.ripRelative) {
      a.op(0x03, ADDRESS, PAGE_VA, W);
      rest = memory(ADDRESS, this.offset + d.length + d.disp);
    } else if (simple) rest = memory(ADDRESS, d.disp, base);
    else {
      if (d.base >= 0) a.op(0x03, ADDRESS, this.gpr(d.base), W);
      rest = memory(ADDRESS, d.disp, index, d.scale);
      if (d.index >= 0 && index === IN_MEMORY) {
        a.load64(SCRATCH, gprWord(d.index));
        a.lea(ADDRESS, memory(ADDRESS, d.disp, SCRATCH, d.scale));
        rest = AT_ADDRESS;
      }
    }
    if (d.segment >= 4) a.op(0x03, ADDRESS, segmentBase(d.segment), W);
    if (!whole || rest === AT_ADDRESS) return rest;
    a.lea(ADDRESS, rest);
    return AT_ADDRESS;
  }
  /** The same for bit strings: the bit's word is to be in the TLB, and the instruction adds its distance itself. */
  protected bitMemory(d: Decoded, size: number, write: boolean, align: number): RegisterOrMemory {
    const a = this.a;
    const { reg } = d.operands[1];
    const [log, w] = [Math.log2(size), size === 8];
    const distance = (): void => {
      if (w) this.copyTo(SCRATCH, reg);
      else a.op(0x63, SCRATCH, this.gpr(reg), W);
      a.shift(7, register(SCRATCH), 3 + log, true);
      a.shift(4, register(SCRATCH), log, true);
    };
    const from = this.beginAccess();
    this.effective(d, true);
    distance();
    a.op(0x03, ADDRESS, register(SCRATCH), W);
    a.store64(TEMP, ADDRESS);
    this.access(from, size, write, align);
    a.op(0x03, ADDRESS, TEMP, W);
    distance();
    a.op(0x2b, ADDRESS, register(SCRATCH), W);
    return AT_ADDRESS;
  }
  /** The same for the 8 bytes at a register and a displacement. */
  protected stackMemory(n: number, disp: number, write: boolean): RegisterOrMemory {
    const base = HOST_OF[n];
    if (this.isMerged) {
      this.#mergedAccess(n, -1, 0, disp, 8, write);
      return memory(ADDRESS, disp, base);
    }
    if (disp === 0) this.accessAt(base, 8, write, 0);
    else {
      const from = this.beginAccess();
      this.a.lea(ADDRESS, memory(base, disp));
      this.access(from, 8, write, 0);
    }
    return memory(ADDRESS, disp, base);
  }
  /** Is the current instruction's access one of a group? */
  protected get isMerged(): boolean {
    return this.merges && this.accesses.merged[this.index].role !== Role.NONE;
  }
  #mergedOperand(d: Decoded, size: number, write: boolean): RegisterOrMemory {
    if (d.ripRelative) {
      const disp = this.offset + d.length + d.disp;
      this.#mergedAccess(NONE, NONE, 0, disp, size, write);
      return memory(ADDRESS, disp);
    }
    this.#mergedAccess(d.base, d.index, d.scale, d.disp, size, write);
    if (isPlain(d)) return memory(ADDRESS, d.disp, HOST_OF[d.base]);
    return memory(ADDRESS, d.disp, d.index < 0 ? NONE : HOST_OF[d.index], d.scale);
  }
  /** ADDRESS is what has to be added to an address in the current instruction's group; where that goes by more than one host register, its base is part of it.
   *  @param base, index numbers of the guest's registers; no base: the page of the code */
  #mergedAccess(base: number, index: number, scale: number, disp: number, size: number, write: boolean): void {
    const { a } = this;
    const { role, group, low, bytes, others } = this.accesses.merged[this.index];
    const addend = inFrame(Frame.ADDENDS + 8 * group);
    this.#lastAccess = -1;
    if (role === Role.COVERED) return a.load64(ADDRESS, addend);
    const retry = this.beginAccess();
    const isAlone = base >= 0 && HOST_OF[base] !== IN_MEMORY && index < 0;
    const direct = isAlone && low === 0;
    if (!direct) this.#address(base, index, scale, low);
    const loaded = a.at;
    this.#writeCheck(direct ? HOST_OF[base] : ADDRESS, bytes, write || others);
    const info = this.info | (write ? 1 << Info.WRITE : 0) | (size << Info.SIZE);
    const span = bytes | (others ? OTHERS_WRITE : 0);
    const missed = a.branchAhead(Cc.NZ);
    this.stub(
      StubKind.GROUP_MISSED,
      missed,
      direct ? -1 - HOST_OF[base] : retry,
      loaded,
      retry,
      info,
      disp - low,
      span,
    );
    a.load64(ADDRESS, TLB_HOST);
    if (!isAlone) a.op(0x03, ADDRESS, base < 0 ? PAGE_VA : this.gpr(base), W);
    a.store64(addend, ADDRESS);
  }
  /** The linear address to ADDRESS; flags stay. */
  #address(base: number, index: number, scale: number, disp: number): void {
    const { a } = this;
    let from = base < 0 ? IN_MEMORY : HOST_OF[base];
    if (from === IN_MEMORY) a.load64((from = ADDRESS), base < 0 ? PAGE_VA : gprWord(base));
    a.lea(ADDRESS, memory(from, disp, index < 0 ? NONE : HOST_OF[index], scale));
  }
  /** What follows brings an address to ADDRESS. */
  protected beginAccess(): number {
    this.giveUpFlags();
    return this.a.at;
  }
  /** Compares the address in a register with the TLB's entry for it: its page's address, or, where an access runs into the next page, that one's, which another entry has.
   *  ADDRESS is lost, SCRATCH is the entry's distance from the bank then. */
  #writeCheck(base: number, size: number, write: boolean): void {
    const a = this.a;
    a.vex(3, 3, 0xf0, SCRATCH, 0, register(base)); // rorx
    a.byte(INDEX_SHIFT);
    a.arithmetic(4, register(SCRATCH), INDEX_MASK, false);
    if (base !== ADDRESS) a.lea(ADDRESS, memory(base, size - 1));
    else if (size > 1) a.arithmetic(0, register(ADDRESS), size - 1);
    a.arithmetic(4, register(ADDRESS), -PAGE);
    a.op(0x3b, ADDRESS, write ? TLB_WRITE : TLB_READ, W);
  }
  /** Makes sure that an access is in the TLB; ADDRESS is then what has to be added to its linear address to have it in the host's memory. SCRATCH is lost.
   *  @param from as from beginAccess: from there on is code that puts the address into ADDRESS */
  protected access(from: number, size: number, write: boolean, align: number): void {
    this.#access(from, this.a.at, ADDRESS, size, write, align);
  }
  /** The same for the address in a host register. */
  protected accessAt(base: number, size: number, write: boolean, align: number): void {
    this.beginAccess();
    this.#access(-1 - base, 0, base, size, write, align);
  }
  #access(load: number, loaded: number, base: number, size: number, write: boolean, align: number): void {
    const a = this.a;
    const retry = load < 0 ? a.at : load;
    if (align !== 0) {
      a.test(register(base), align);
      this.leaveIf(Cc.NZ);
    }
    this.#writeCheck(base, size, write);
    const info = this.info | (write ? 1 << Info.WRITE : 0) | (size << Info.SIZE);
    const missed = a.branchAhead(Cc.NZ);
    a.load64(ADDRESS, TLB_HOST);
    this.#lastAccess = this.#nextStub;
    this.stub(StubKind.MISSED, missed, load, loaded, retry, info, a.at);
  }
  /** The same for an access that lies in two pages: on a copy of its bytes. */
  #writeSplit(end: number, after: number, write: boolean): void {
    const a = this.a;
    a.call(write ? this.routines.splitAddress : this.routines.splitIn);
    a.copy(end, after);
    if (write) a.call(this.routines.splitOut);
    a.jump(after);
  }
}
