/* Native code that all blocks share: the way in, the ways out, and from one block to another whose place is not known. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import {
  CODE_CACHE_ENTRIES,
  Engine,
  Entry,
  JUMP_CACHE_ENTRIES,
  REGION_HANDLERS,
  VCPU_JUMP_CACHE,
  VCPU_CODE_CACHE,
  CodeCacheEntry,
  Tlb,
  TLB_ENTRY_BYTES,
  TLB_OTHER,
} from "../wasm/layout.ts";
import { RegionEntry } from "../wasm/translator/region-entry.ts";
import { type Assembler, Cc, Host, memory, register, type RegisterOrMemory, W } from "./assembler.ts";
import {
  ADDRESS,
  Context,
  FILE,
  FILE_BIAS,
  HOST_OF,
  IN_MEMORY,
  INDEX_MASK,
  INDEX_SHIFT,
  Info,
  Left,
  Native,
  SCRATCH,
} from "./layout.ts";
import { field, TLB, TLB_ADDEND, TLB_READ, TLB_WRITE, W16 } from "./operands.ts";

import { type WalkAddresses, writePageWalk } from "./page-walk.ts";

/** Offsets in the code. */
export interface Routines {
  /** (RDI: a Context) → Left; a function of the C ABI. */
  readonly enter: number;
  /** Called; the host's x87 registers are the guest's then. */
  readonly x87Load: number;
  /** Jumped to, with RIP in R13. */
  readonly lookup: number;
  /** Called; behind the call stands RIP's distance from PAGE_VA, i32. */
  readonly goTo: number;
  /** Called, with RIP in R13: if it is canonical, what stands behind INFO is added to the guest's RSP, i32, and it goes there; INFO stands behind the call. */
  readonly goToChecked: number;
  /** As goTo, where the code at RIP has changed: what the jump cache has must be looked at. */
  readonly gone: number;
  /** Called; INFO and the address where to begin again stand behind the call; R13 is the address. */
  readonly missed: number;
  /** Called where an access lies in two pages: its bytes are in Native.SPLIT then, or will be, and R13 is what has to be added to its address to have it there. */
  readonly splitIn: number;
  readonly splitAddress: number;
  /** Called: Native.SPLIT goes to where the access is. */
  readonly splitOut: number;
  /** Called; INFO stands behind the call. */
  readonly interpret: number;
  /** Called; nanoseconds of the host's monotonic clock in RAX. */
  readonly clock: number;
  /** Of the frames memory. */
  readonly ramAddress: bigint;
  /** Called; INFO of a block that has no fuel stands behind the call. */
  readonly fuelOut: number;
}

const { RAX, RCX, RBX, RSP, RBP, R12, R13, R14, R15, RDI, RDX, RSI } = Host;
const SAVED: readonly number[] = [RBX, RBP, R12, R13, R14, R15];
const XMMS = 16;
const PAGE = 4096;
const JUMP_TAG = 8;
const JUMP_ENTRY = 12;
const TAG_SHIFT = 5;
/** Of the code cache: entries are found by the upper bits of RIP's lower half times this. */
const HASH = 0x9e3779b1 | 0;
const HASH_BITS = Math.log2(CODE_CACHE_ENTRIES * CodeCacheEntry.BYTES);

/** What they are to know of the host: addresses of the memories and of clock_gettime(2). */
export interface HostAddresses {
  readonly stateAddress: bigint;
  readonly ramAddress: bigint;
  readonly clockAddress: bigint;
  /** Of GuestRam's tables. */
  readonly tablesAddress: bigint;
}

/** Host registers that a function of the C ABI may change, with the guest's registers that are in them. */
const VOLATILE = HOST_OF.flatMap((host, n) => (host === IN_MEMORY || SAVED.includes(host) ? [] : [[host, n] as const]));
const CLOCK_MONOTONIC = 1;
const [SECONDS, NANOSECONDS] = [0, 8];

const GUESTS = HOST_OF.flatMap((host, n) => (host === IN_MEMORY ? [] : [[host, n] as const]));

const X87_REGISTERS = 8;
/** Of what FNSAVE writes: control, status and tag word, and the registers, 10 bytes each, the top of the stack first. */
const Image = { CONTROL: 0, STATUS: 4, TAGS: 8, REGISTERS: 28 } as const;
const TOP = 0x3800;
const image = (at: number): RegisterOrMemory => field(Native.X87_IMAGE + at);
const word = (a: Assembler, to: number, from: number): void => {
  a.op(0x0fb7, SCRATCH, field(from));
  a.store32(image(to), SCRATCH);
};
/** Loads the host's x87 registers. Uses SCRATCH. @returns offset */
function writeX87Load(a: Assembler): number {
  const start = a.at;
  word(a, Image.CONTROL, Reg.FCW);
  word(a, Image.TAGS, Reg.FTW);
  // with register 0 at the top they are in the order of their numbers
  word(a, Image.STATUS, Reg.FSW);
  a.arithmetic(4, image(Image.STATUS), ~TOP, false);
  for (let at = Image.TAGS + 4; at < Image.REGISTERS; at += 4) a.moveImmediate32(image(at), 0);
  for (let n = 0; n < X87_REGISTERS; n++) {
    a.load64(SCRATCH, field(Reg.ST + 16 * n));
    a.store64(image(Image.REGISTERS + 10 * n), SCRATCH);
    a.load32(SCRATCH, field(Reg.ST + 16 * n + 8));
    a.op(0x89, SCRATCH, image(Image.REGISTERS + 10 * n + 8), W16);
  }
  a.op(0xdd, 4, image(0)); // frstor
  word(a, Image.STATUS, Reg.FSW);
  a.op(0xd9, 4, image(0)); // fldenv
  a.moveImmediate32(field(Native.X87), 1);
  a.byte(0xc3);
  return start;
}
/** Brings them back, if they are there. Uses RCX, RDX. */
function writeX87Save(a: Assembler): void {
  a.arithmetic(7, field(Native.X87), 1, false);
  const none = a.branchAhead(Cc.NZ);
  a.byte(0x50); // push rax
  a.moveImmediate32(field(Native.X87), 2);
  a.op(0xdd, 6, image(0)); // fnsave
  for (const [from, to] of [
    [Image.CONTROL, Reg.FCW],
    [Image.TAGS, Reg.FTW],
    [Image.STATUS, Reg.FSW],
  ]) {
    a.load32(RCX, image(from));
    a.op(0x89, RCX, field(to), W16);
  }
  a.shift(5, register(RCX), 11);
  for (let n = 0; n < X87_REGISTERS; n++) {
    a.lea(RDX, memory(RCX, n));
    a.arithmetic(4, register(RDX), X87_REGISTERS - 1, false);
    a.shift(4, register(RDX), 4);
    const to = (at: number): RegisterOrMemory => memory(FILE, Reg.ST + at - FILE_BIAS, RDX);
    a.load64(RAX, image(Image.REGISTERS + 10 * n));
    a.store64(to(0), RAX);
    a.op(0x0fb7, RAX, image(Image.REGISTERS + 10 * n + 8));
    a.store64(to(8), RAX);
  }
  a.byte(0x58);
  a.bind(none);
}

/** @returns offset of the way in */
function writeEnter(a: Assembler, stateAddress: bigint, x87Load: number): number {
  const enter = a.at;
  for (const r of SAVED) {
    if (r >= 8) a.byte(0x41);
    a.byte(0x50 | (r & 7));
  }
  a.arithmetic(5, register(RSP), 8);
  a.op(0x0fae, 3, memory(RSP, 0)); // stmxcsr
  a.load64(FILE, memory(RDI, Context.FILE));
  a.moveAddress(RAX, stateAddress);
  a.load32(RCX, field(Engine.TLB));
  a.op(0x03, RAX, register(RCX), W);
  a.store64(field(Native.TLB), RAX);
  a.op(0x0fae, 2, field(Reg.MXCSR)); // ldmxcsr
  for (let n = 0; n < XMMS; n++) a.op(0x0f10, n, field(Reg.XMM + 16 * n));
  a.load64(RCX, memory(RDI, Context.CODE));
  a.store64(field(Native.CODE), RCX);
  a.arithmetic(7, field(Native.X87), 2, false);
  const none = a.branchAhead(Cc.NZ);
  a.call(x87Load);
  a.bind(none);
  for (const [host, n] of GUESTS) a.load64(host, field(Reg.GPR + 8 * n));
  a.load32(RAX, field(Native.TARGET));
  a.op(0x03, RAX, field(Native.CODE), W);
  a.raw(0xff, 0xe0);
  return enter;
}

function leave(a: Assembler, why: number, out: number): void {
  a.byte(0xb8); // mov eax
  a.word(why);
  a.jump(out);
}
/** The ways out; at `out` EAX says why, at `lookUp` RIP is in ADDRESS. */
function writeExits(a: Assembler, host: WalkAddresses): Pick<Routines, "interpret" | "missed" | "fuelOut"> & {
  readonly out: number;
  readonly miss: number;
  readonly lookUp: number;
  interpretAt(this: void): void;
} {
  const out = a.at;
  for (const [host, n] of GUESTS) a.store64(field(Reg.GPR + 8 * n), host);
  writeX87Save(a);
  for (let n = 0; n < XMMS; n++) a.op(0x0f11, n, field(Reg.XMM + 16 * n));
  a.op(0x0fae, 3, field(Reg.MXCSR));
  a.op(0x0fae, 2, memory(RSP, 0));
  a.arithmetic(0, register(RSP), 8);
  for (const r of SAVED.toReversed()) {
    if (r >= 8) a.byte(0x41);
    a.byte(0x58 | (r & 7));
  }
  a.byte(0xc3);
  // what stands behind the call goes to INFO
  const takeInfo = (): void => {
    a.byte(0x58); // pop rax
    a.load32(ADDRESS, memory(SCRATCH, 0));
    a.store32(field(Native.INFO), ADDRESS);
  };
  const interpret = a.at;
  takeInfo();
  leave(a, Left.INTERPRET, out);
  // Info is where RAX points to
  const interpretAt = (): void => {
    a.byte(0x50); // push rax
    a.jump(interpret);
  };

  const missed = a.at;
  a.store64(field(Native.ADDRESS), ADDRESS);
  takeInfo();
  a.store64(field(Native.RESUME), SCRATCH);
  a.load32(ADDRESS, memory(SCRATCH, 4));
  a.store32(field(Native.TARGET), ADDRESS);
  writeOtherPlace(a);
  writePageWalk(a, host);
  a.load64(SCRATCH, field(Native.RESUME));
  a.test(field(Native.INFO), 1 << Info.SPLIT);
  const whole = a.branchAhead(Cc.Z);
  a.lea(SCRATCH, memory(SCRATCH, 8));
  a.store64(field(Native.RESUME), SCRATCH);
  a.load32(SCRATCH, field(Native.ADDRESS));
  a.arithmetic(4, register(SCRATCH), PAGE - 1, false);
  loadSize(a, ADDRESS);
  a.op(0x03, SCRATCH, register(ADDRESS));
  a.arithmetic(7, register(SCRATCH), PAGE, false);
  const inside = a.branchAhead(Cc.BE);
  a.op(0xff, 4, field(Native.RESUME)); // jmp
  a.bind(whole);
  a.bind(inside);
  const miss = a.at;
  leave(a, Left.MISS, out);

  const fuelOut = a.at;
  a.byte(0x58);
  a.load32(ADDRESS, memory(SCRATCH, 0));
  a.op(0x03, ADDRESS, field(Reg.PAGE_VA), W);
  const lookUp = a.at;
  a.store64(field(Reg.RIP), ADDRESS);
  leave(a, Left.LOOK_UP, out);
  return { out, miss, interpret, interpretAt, missed, fuelOut, lookUp };
}

/** If the entry is at its page's other place (TLB_OTHER) it changes places with what is at the first, and the access is made again. */
function writeOtherPlace(a: Assembler): void {
  for (const r of [RCX, RDX]) a.byte(0x50 | r);
  a.load32(SCRATCH, field(Native.ADDRESS));
  a.shift(5, register(SCRATCH), INDEX_SHIFT);
  a.arithmetic(4, register(SCRATCH), INDEX_MASK, false);
  a.load32(RCX, register(SCRATCH));
  a.op(0x03, SCRATCH, TLB, W);
  a.arithmetic(6, register(RCX), TLB_OTHER * TLB_ENTRY_BYTES, false);
  a.op(0x03, RCX, TLB, W);
  loadSize(a, ADDRESS);
  a.load64(RDX, field(Native.ADDRESS));
  a.lea(ADDRESS, memory(ADDRESS, -1, RDX));
  a.arithmetic(4, register(ADDRESS), -PAGE);
  a.test(field(Native.INFO), 1 << Info.WRITE);
  const read = a.branchAhead(Cc.Z);
  a.op(0x3b, ADDRESS, memory(RCX, Tlb.WRITE), W);
  a.bind(read);
  const noWrite = a.branchAhead(Cc.NZ);
  a.op(0x3b, ADDRESS, memory(RCX, Tlb.READ), W);
  const noRead = a.branchAhead(Cc.NZ);
  for (const word of [Tlb.READ, Tlb.WRITE, Tlb.ADDEND]) {
    a.load64(RDX, memory(SCRATCH, word));
    a.load64(ADDRESS, memory(RCX, word));
    a.store64(memory(RCX, word), RDX);
    a.store64(memory(SCRATCH, word), ADDRESS);
  }
  for (const r of [RDX, RCX]) a.byte(0x58 | r);
  a.load32(SCRATCH, field(Native.TARGET));
  a.op(0x03, SCRATCH, field(Native.CODE), W);
  a.raw(0xff, 0xe0);
  a.bind(noWrite);
  a.bind(noRead);
  for (const r of [RDX, RCX]) a.byte(0x58 | r);
}
function loadSize(a: Assembler, to: number): void {
  a.load32(to, field(Native.INFO));
  a.shift(5, register(to), Info.SIZE);
  a.arithmetic(4, register(to), 2 ** Info.SIZE_BITS - 1, false);
}
/** Copies bytes between Native.SPLIT and where the access is. What is not in the TLB any more is a miss. */
function writeSplitCopy(a: Assembler, out: boolean, miss: number): void {
  const kept = [RCX, RDX, RSI];
  if (out) a.byte(0x9c); // pushfq
  for (const r of kept) a.byte(0x50 | r);
  a.load64(ADDRESS, field(Native.ADDRESS));
  loadSize(a, RCX);
  const check = (): number => {
    a.load32(SCRATCH, register(ADDRESS));
    a.shift(5, register(SCRATCH), INDEX_SHIFT);
    a.arithmetic(4, register(SCRATCH), INDEX_MASK, false);
    a.op(0x03, SCRATCH, TLB, W);
    a.moveRegister(RDX, ADDRESS);
    a.arithmetic(4, register(RDX), -PAGE);
    a.op(0x3b, RDX, out ? TLB_WRITE : TLB_READ, W);
    return a.branchAhead(Cc.NZ);
  };
  // the second page first: nothing is to be written if it cannot be
  a.lea(ADDRESS, memory(ADDRESS, -1, RCX));
  const second = check();
  a.load64(ADDRESS, field(Native.ADDRESS));
  a.lea(RSI, field(Native.SPLIT));
  const again = a.at;
  const gone = check();
  a.load64(SCRATCH, TLB_ADDEND);
  const there = memory(ADDRESS, 0, SCRATCH, 0, true);
  a.op(0x0fb6, RDX, out ? memory(RSI, 0) : there);
  a.op(0x88, RDX, out ? there : memory(RSI, 0));
  a.arithmetic(0, register(RSI), 1);
  a.arithmetic(0, register(ADDRESS), 1);
  a.arithmetic(5, register(RCX), 1, false);
  a.branch(Cc.NZ, again);
  const end = a.jumpAhead();
  a.bind(second);
  a.bind(gone);
  for (const r of kept.toReversed()) a.byte(0x58 | r);
  a.arithmetic(0, register(RSP), out ? 16 : 8); // flags, and where it was called
  a.jump(miss);
  a.bind(end);
  for (const r of kept.toReversed()) a.byte(0x58 | r);
  if (out) a.byte(0x9d); // popfq
}
function writeSplits(
  a: Assembler,
  ramAddress: bigint,
  miss: number,
): Pick<Routines, "splitIn" | "splitAddress" | "splitOut"> {
  const splitIn = a.at;
  writeSplitCopy(a, false, miss);
  const splitAddress = a.at;
  a.moveAddress(SCRATCH, -ramAddress);
  a.lea(ADDRESS, field(Native.SPLIT));
  a.op(0x03, ADDRESS, register(SCRATCH), W);
  a.op(0x2b, ADDRESS, field(Native.ADDRESS), W);
  a.byte(0xc3);
  const splitOut = a.at;
  writeSplitCopy(a, true, miss);
  a.byte(0xc3);
  return { splitIn, splitAddress, splitOut };
}

function writeClock(a: Assembler, clockAddress: bigint): number {
  const clock = a.at;
  for (const [host, n] of VOLATILE) a.store64(field(Reg.GPR + 8 * n), host);
  for (let n = 0; n < XMMS; n++) a.op(0x0f11, n, field(Reg.XMM + 16 * n));
  a.moveRegister(ADDRESS, RSP);
  a.arithmetic(4, register(RSP), -16);
  a.arithmetic(5, register(RSP), 16);
  a.op(0xc7, 0, register(RDI), W);
  a.word(CLOCK_MONOTONIC);
  a.moveRegister(RSI, RSP);
  a.moveAddress(RAX, clockAddress);
  a.raw(0xff, 0xd0); // call rax
  a.op(0x69, RAX, memory(RSP, SECONDS), W);
  a.word(1_000_000_000);
  a.op(0x03, RAX, memory(RSP, NANOSECONDS), W);
  a.moveRegister(RSP, ADDRESS);
  for (let n = 0; n < XMMS; n++) a.op(0x0f10, n, field(Reg.XMM + 16 * n));
  for (const [host, n] of VOLATILE) a.load64(host, field(Reg.GPR + 8 * n));
  a.byte(0xc3);
  return clock;
}

/** To RIP in ADDRESS, by the jump cache. */
function writeLookup(
  a: Assembler,
  stateAddress: bigint,
  exits: { readonly out: number; readonly lookUp: number; interpretAt(this: void): void },
): Pick<Routines, "gone" | "goTo" | "goToChecked" | "lookup"> {
  const takeTarget = (): void => {
    a.byte(0x58); // pop rax
    a.op(0x63, ADDRESS, memory(SCRATCH, 0), W);
    a.op(0x03, ADDRESS, field(Reg.PAGE_VA), W);
  };
  const gone = a.at;
  takeTarget();
  const lookup = a.at;
  a.arithmetic(7, field(Reg.ATTENTION), 0, false);
  a.branch(Cc.NZ, exits.lookUp);
  a.store64(field(Native.TEMP), RCX);
  a.moveRegister(SCRATCH, ADDRESS);
  a.shift(5, register(SCRATCH), 12, true);
  a.op(0x31, ADDRESS, register(SCRATCH)); // the low halves
  a.op(0x85, ADDRESS, register(ADDRESS), W);
  const upper = a.branchAhead(Cc.S);
  a.load32(RCX, field(Engine.CODE_TAG));
  a.shift(4, register(RCX), TAG_SHIFT);
  a.op(0x31, RCX, register(SCRATCH));
  a.bind(upper);
  a.arithmetic(4, register(SCRATCH), JUMP_CACHE_ENTRIES - 1, false);
  a.shift(4, register(SCRATCH), 4);
  const cached = (at: number) => memory(FILE, VCPU_JUMP_CACHE + at - FILE_BIAS, SCRATCH);
  a.op(0x39, ADDRESS, cached(0), W);
  const another = a.branchAhead(Cc.NZ);
  a.load32(RCX, cached(JUMP_TAG));
  a.op(0x3b, RCX, field(Engine.CODE_TAG));
  const valid = a.branchAhead(Cc.Z);
  a.op(0x3b, RCX, field(Engine.CODE_TAG_GLOBAL));
  const old = a.branchAhead(Cc.NZ);
  a.bind(valid);
  writeGo(a, stateAddress, exits.out);
  a.bind(another);
  a.bind(old);
  a.load64(RCX, field(Native.TEMP));
  a.jump(exits.lookUp);

  const goTo = a.at;
  takeTarget();
  const fail = (cc: number): void => a.branch(cc, lookup);
  a.op(0x85, ADDRESS, register(ADDRESS), W);
  const kernel = a.branchAhead(Cc.S);
  writeGoByCache(a, false, fail);
  a.bind(kernel);
  writeGoByCache(a, true, fail);

  const goToChecked = a.at;
  a.byte(0x58);
  a.store64(field(Native.TEMP2), SCRATCH);
  a.moveRegister(SCRATCH, ADDRESS);
  a.shift(7, register(SCRATCH), 47, true);
  a.arithmetic(0, register(SCRATCH), 1);
  a.arithmetic(7, register(SCRATCH), 1);
  a.load64(SCRATCH, field(Native.TEMP2));
  const invalid = a.branchAhead(Cc.A);
  a.op(0x63, SCRATCH, memory(SCRATCH, 4), W);
  a.op(0x03, HOST_OF[RSP], register(SCRATCH), W);
  a.jump(lookup);
  a.bind(invalid);
  exits.interpretAt();
  return { gone, goTo, goToChecked, lookup };
}
/** The distance of the code cache's entry for RIP in ADDRESS, to SCRATCH. */
function loadPlace(a: Assembler): void {
  a.op(0x69, SCRATCH, register(ADDRESS)); // imul
  a.word(HASH);
  a.shift(5, register(SCRATCH), 32 - HASH_BITS);
  a.arithmetic(4, register(SCRATCH), -CodeCacheEntry.BYTES & ((1 << HASH_BITS) - 1), false);
}
const code = (at: number): RegisterOrMemory => memory(FILE, VCPU_CODE_CACHE + at - FILE_BIAS, SCRATCH);
/** To RIP in ADDRESS, by the code cache: each place has a jump of its own, so that the processor can predict it. Uses SCRATCH and flags.
 *  @param kernel is RIP most likely in global pages of the kernel?  @param fail writes a jump, if the condition holds, to what is done where RIP is not in the cache;
 *  ADDRESS is still RIP there  @param before writes what is done before the jump; it may use ADDRESS and flags */
export function writeGoByCache(a: Assembler, kernel: boolean, fail: (cc: number) => void, before?: () => void): void {
  a.arithmetic(7, field(Reg.ATTENTION), 0, false);
  fail(Cc.NZ);
  loadPlace(a);
  a.op(0x3b, ADDRESS, code(CodeCacheEntry.RIP), W);
  fail(Cc.NZ);
  a.load32(ADDRESS, field(kernel ? Engine.CODE_TAG_GLOBAL : Engine.CODE_TAG));
  a.op(0x3b, ADDRESS, code(CodeCacheEntry.TAG));
  a.load64(ADDRESS, code(CodeCacheEntry.RIP));
  fail(Cc.NZ);
  a.load64(ADDRESS, code(CodeCacheEntry.PAGE));
  a.store64(field(Reg.PAGE_VA), ADDRESS);
  before?.();
  a.op(0xff, 4, code(CodeCacheEntry.CODE)); // jmp
}
/** SCRATCH is the distance of an entry of the jump cache that is the one for ADDRESS, RCX its tag; RCX is in TEMP. What is found is noted in the code cache. */
function writeGo(a: Assembler, stateAddress: bigint, out: number): void {
  a.store32(field(Native.TEMP3), RCX);
  a.load32(SCRATCH, memory(FILE, VCPU_JUMP_CACHE + JUMP_ENTRY - FILE_BIAS, SCRATCH));
  a.moveAddress(RCX, stateAddress);
  a.op(0x81, 7, memory(RCX, Entry.HANDLER, SCRATCH), W16);
  a.raw(REGION_HANDLERS & 0xff, REGION_HANDLERS >> 8);
  const cold = a.branchAhead(Cc.NZ);
  a.load32(RCX, memory(RCX, RegionEntry.LABEL, SCRATCH));
  a.op(0x03, RCX, field(Native.CODE), W);
  loadPlace(a);
  a.store64(code(CodeCacheEntry.RIP), ADDRESS);
  a.store64(code(CodeCacheEntry.CODE), RCX);
  a.load32(RCX, field(Native.TEMP3));
  a.store32(code(CodeCacheEntry.TAG), RCX);
  a.moveRegister(RCX, ADDRESS);
  a.arithmetic(4, register(RCX), -4096);
  a.store64(code(CodeCacheEntry.PAGE), RCX);
  a.store64(field(Reg.PAGE_VA), RCX);
  a.load64(RCX, field(Native.TEMP));
  a.op(0xff, 4, code(CodeCacheEntry.CODE)); // jmp
  a.bind(cold);
  a.moveRegister(RCX, ADDRESS);
  a.arithmetic(4, register(RCX), -4096);
  a.store64(field(Reg.PAGE_VA), RCX);
  a.store32(field(Native.ENTRY), SCRATCH);
  a.store64(field(Reg.RIP), ADDRESS);
  a.load64(RCX, field(Native.TEMP));
  leave(a, Left.ENTRY, out);
}

/** Writes them. */
export function writeRoutines(a: Assembler, host: HostAddresses & WalkAddresses): Routines {
  const { stateAddress, ramAddress, clockAddress } = host;
  const x87Load = writeX87Load(a);
  const enter = writeEnter(a, stateAddress, x87Load);
  const exits = writeExits(a, host);
  const { interpret, missed, fuelOut } = exits;
  const clock = writeClock(a, clockAddress);
  return {
    enter,
    x87Load,
    interpret,
    missed,
    fuelOut,
    clock,
    ramAddress,
    ...writeSplits(a, ramAddress, exits.miss),
    ...writeLookup(a, stateAddress, exits),
  };
}
