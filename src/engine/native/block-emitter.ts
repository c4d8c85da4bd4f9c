/* First layer of the block translator: where the guest's registers and flags are, how memory is reached, and how a block is left.
 *
 * Flags are the host's own from the instruction that makes them on. What a translated instruction needs besides (the TLB's compare, fuel) overwrites them, so they go
 * to the register file before, in the form of SETO AL; LAHF, and come back from there for an instruction that reads them. @source docs/native.md */
import type { Decoded } from "../../isa/decoded.ts";
import { Reg } from "../../isa/registers.ts";
import { Engine } from "../wasm/layout.ts";
import { type Assembler, Cc, memory, NONE, register, type RegisterOrMemory, W } from "./assembler.ts";
import { ADDRESS, HOST_OF, IN_MEMORY, INDEX_MASK, INDEX_SHIFT, Info, SCRATCH } from "./layout.ts";
import {
  AT_ADDRESS,
  field,
  FLAGS,
  FUEL,
  gprField,
  PAGE_VA,
  TEMP,
  TLB,
  TLB_ADDEND,
  TLB_READ,
  TLB_WRITE,
  W16,
} from "./operands.ts";
import type { Treatment } from "./supported.ts";
import type { Routines } from "./routines.ts";

const PAGE = 4096;
export const LAHF = 0x9f;
export const SAHF = 0x9e;

/** Where the flags are. */
export const Place = { FILE: 0, HOST: 1, BOTH: 2 } as const;

/** A jump to a place in the same page. */
export interface Site {
  /** Offset in the code of the jump's displacement. */
  readonly at: number;
  /** In the page. */
  readonly target: number;
}
/** A memory operand's address, as in Decoded. */
export interface Address {
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly disp: number;
  readonly ripRelative: boolean;
  readonly segment: number;
  /** Offset of the next instruction in the page. */
  readonly next: number;
}
/** Offsets in the code: behind the access's check, and, if the access may lie in two pages, behind what uses it. */
interface LastAccess {
  end: number;
  after: number;
}
/** Code out of line, behind the block. */
export interface Stub {
  readonly from: number;
  write(): void;
}

export abstract class BlockEmitter {
  protected readonly a: Assembler;
  protected readonly routines: Routines;
  /** Of the current instruction. */
  protected treatment!: Treatment;
  protected bytes: Uint8Array = new Uint8Array(0);
  protected stubs: Stub[] = [];
  /** What came last of an instruction's accesses. */
  protected lastAccess: LastAccess = { end: 0, after: 0 };
  protected sites: Site[] = [];
  protected flags: number = Place.FILE;
  /** Of the current instruction: offset in the page, and how many come before it. */
  protected offset = 0;
  protected index = 0;
  /** Instructions of the block; known when stubs are written. */
  protected count = 0;
  /** Has the block looked whether SSE instructions trap? */
  protected sseChecked = false;

  constructor(a: Assembler, routines: Routines) {
    this.a = a;
    this.routines = routines;
  }

  // ——— leaving ———
  protected infoOf(offset: number, index: number): number {
    return offset | ((this.count - index) << Info.AHEAD);
  }
  protected checkSse(): void {
    this.giveUpFlags();
    this.a.arithmetic(7, field(Engine.SSE_TRAP), 0, false);
    this.leaveIf(Cc.NZ);
    this.sseChecked = true;
  }
  protected outOfFuel(offset: number, body: number): void {
    const a = this.a;
    const count = this.count;
    a.arithmetic(0, FUEL, count, false);
    const none = a.branchAhead(Cc.S);
    a.arithmetic(5, FUEL, count, false);
    a.jump(body);
    a.bind(none);
    a.call(this.routines.fuelOut);
    a.word(offset);
  }
  /** The interpreter does this instruction if the condition holds. Flags are in the register file. */
  protected leaveIf(cc: number): void {
    const a = this.a;
    const [offset, index] = [this.offset, this.index];
    this.stubs.push({
      from: a.branchAhead(cc),
      write: () => {
        a.call(this.routines.interpret);
        a.word(this.infoOf(offset, index));
      },
    });
  }
  /** To an offset from the page's beginning. */
  protected goTo(target: number): void {
    const a = this.a;
    const at = a.jumpAhead();
    this.link(at, target);
  }
  protected link(at: number, target: number): void {
    if (target >= 0 && target < PAGE) this.sites.push({ at, target });
    this.stubs.push({
      from: at,
      write: () => this.writeGoTo(target),
    });
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
    a.op([0x89], SCRATCH, FLAGS, W16);
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
    a.op([0x0f, 0xb7], SCRATCH, FLAGS);
    a.raw(0x04, 0x7f, SAHF);
    this.flags = Place.BOTH;
  }

  // ——— registers ———
  /** Copies a register of the guest's to a host register. */
  protected copyTo(to: number, n: number): void {
    if (HOST_OF[n] === IN_MEMORY) this.a.load64(to, gprField(n));
    else this.a.moveRegister(to, HOST_OF[n]);
  }
  protected copyFrom(n: number, from: number): void {
    if (HOST_OF[n] === IN_MEMORY) this.a.store64(gprField(n), from);
    else this.a.moveRegister(HOST_OF[n], from);
  }
  /** All 64 bits of a register as an operand. */
  protected gpr(n: number): RegisterOrMemory {
    return HOST_OF[n] === IN_MEMORY ? gprField(n) : register(HOST_OF[n]);
  }

  // ——— memory ———
  /** Can the address be one operand of an LEA? */
  protected isSimple(d: Decoded): boolean {
    if (d.ripRelative || d.segment >= 4 || d.base < 0) return false;
    return HOST_OF[d.base] !== IN_MEMORY && (d.index < 0 || HOST_OF[d.index] !== IN_MEMORY);
  }
  protected simple(d: Decoded): RegisterOrMemory {
    return memory(HOST_OF[d.base], d.disp, d.index < 0 ? NONE : HOST_OF[d.index], d.scale);
  }
  /** The linear address of the memory operand to ADDRESS. Uses SCRATCH; flags of the host stay, but for segments. */
  protected effective(d: Address, segment: boolean): void {
    const a = this.a;
    if (d.ripRelative) {
      a.load64(ADDRESS, PAGE_VA);
      a.lea(ADDRESS, memory(ADDRESS, d.next + d.disp));
    } else if (d.base < 0 && d.index < 0) {
      a.op([0xc7], 0, register(ADDRESS), W);
      a.word(d.disp);
    } else {
      let [base, index] = [NONE as number, NONE as number];
      if (d.index >= 0) {
        index = HOST_OF[d.index];
        if (index === IN_MEMORY) a.load64((index = SCRATCH), gprField(d.index));
      }
      if (d.base >= 0) {
        base = HOST_OF[d.base];
        if (base === IN_MEMORY) a.load64((base = ADDRESS), gprField(d.base));
      }
      a.lea(ADDRESS, memory(base, d.disp, index, d.scale));
    }
    if (segment && d.segment >= 4) a.op([0x03], ADDRESS, field(d.segment === 4 ? Reg.FS_BASE : Reg.GS_BASE), W);
  }
  /** What lasts longer than `d`: stubs are written last. */
  protected addressOf({ base, index, scale, disp, ripRelative, segment, length }: Decoded): Address {
    return { base, index, scale, disp, ripRelative, segment, next: this.offset + length };
  }
  /** Makes sure that the memory operand is in the TLB. @param align bits that must be 0  @returns where it is */
  protected operandMemory(d: Decoded, size: number, write: boolean, align = 0): RegisterOrMemory {
    const again = this.isSimple(d) ? this.simple(d) : undefined;
    const address = this.addressOf(d);
    return this.access(() => this.effective(address, true), again, size, write, align);
  }
  /** The same for bit strings: the bit's word is to be in the TLB, and the instruction adds its distance itself. */
  protected bitMemory(d: Decoded, size: number, write: boolean, align: number): RegisterOrMemory {
    const a = this.a;
    const address = this.addressOf(d);
    const { reg } = d.operands[1];
    const [log, w] = [Math.log2(size), size === 8];
    const distance = (): void => {
      if (w) this.copyTo(SCRATCH, reg);
      else a.op([0x63], SCRATCH, this.gpr(reg), W);
      a.shift(7, register(SCRATCH), 3 + log, true);
      a.shift(4, register(SCRATCH), log, true);
    };
    const load = (): void => {
      this.effective(address, true);
      distance();
      a.op([0x03], ADDRESS, register(SCRATCH), W);
    };
    const at = this.access(load, undefined, size, write, align);
    distance();
    a.op([0x2b], ADDRESS, register(SCRATCH), W);
    return at;
  }
  /** The same for an address that is a register and a displacement. */
  protected stackMemory(n: number, disp: number, write: boolean): RegisterOrMemory {
    const at = memory(HOST_OF[n], disp);
    return this.access(() => this.a.lea(ADDRESS, at), at, 8, write, 0);
  }
  /** @param load writes code that puts the address into ADDRESS  @param again the address, if it can be made at once */
  protected access(
    load: () => void,
    again: RegisterOrMemory | undefined,
    size: number,
    write: boolean,
    align: number,
  ): RegisterOrMemory {
    const a = this.a;
    this.giveUpFlags();
    const retry = a.at;
    load();
    if (align !== 0) {
      a.test(register(ADDRESS), align);
      this.leaveIf(Cc.NZ);
    }
    if (again === undefined) a.store64(TEMP, ADDRESS);
    a.load32(SCRATCH, register(ADDRESS));
    a.shift(5, register(SCRATCH), INDEX_SHIFT);
    a.arithmetic(4, register(SCRATCH), INDEX_MASK, false);
    a.op([0x03], SCRATCH, TLB, W);
    // an access that runs into the next page compares with that page's address, which another entry has
    if (size > 1) a.arithmetic(0, register(ADDRESS), size - 1);
    a.arithmetic(4, register(ADDRESS), -PAGE);
    a.op([0x3b], ADDRESS, write ? TLB_WRITE : TLB_READ, W);
    const [offset, index] = [this.offset, this.index];
    const access = (write ? 1 << Info.WRITE : 0) | (size << Info.SIZE);
    const last: LastAccess = { end: 0, after: 0 };
    this.stubs.push({
      from: a.branchAhead(Cc.NZ),
      write: () => {
        load();
        a.call(this.routines.missed);
        a.word(this.infoOf(offset, index) | access | (last.after > 0 ? 1 << Info.SPLIT : 0));
        a.word(retry);
        if (last.after > 0) this.writeSplit(last, write);
      },
    });
    if (again !== undefined) a.lea(ADDRESS, again);
    else a.load64(ADDRESS, TEMP);
    a.op([0x03], ADDRESS, TLB_ADDEND, W);
    last.end = a.at;
    this.lastAccess = last;
    return AT_ADDRESS;
  }
  /** The same for an access that lies in two pages: on a copy of its bytes. */
  protected writeSplit({ end, after }: LastAccess, write: boolean): void {
    const a = this.a;
    a.call(write ? this.routines.splitAddress : this.routines.splitIn);
    a.bytes.copyWithin(a.at, end, after);
    a.at += after - end;
    if (write) a.call(this.routines.splitOut);
    a.jump(after);
  }
}
