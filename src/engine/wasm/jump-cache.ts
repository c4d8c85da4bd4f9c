/* The jump cache: first decoded entry by RIP, probed by generated code wherever RIP is looked up. An entry is valid while its tag is one of the two that are in
 * force: CODE_TAG, of the current address space and of user or supervisor code, and CODE_TAG_GLOBAL, of supervisor code in global pages, which is the same in
 * all address spaces. So neither a change of CPL or RFLAGS.AC nor a switch of address spaces loses entries, and a flush is a new tag.
 * Entries whose blocks were dropped are emptied by the handler that stands in the blocks (EmitHandler.emitLookUpAgain).
 * One a vCPU, on the thread that runs it. @source SDM vol. 3A §4.10.2.4, §4.10.4 */
import { Reg } from "../../isa/registers.ts";
import type { FunctionBuilder, Local } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import {
  BANK_SETS,
  CODE_CACHE_ENTRIES,
  CodeCacheEntry,
  Engine,
  JUMP_CACHE_BYTES,
  JUMP_CACHE_ENTRIES,
  JUMP_PAGES,
  VCPU_CODE_CACHE,
  VCPU_JUMP_CACHE,
  VCPU_JUMP_PAGES,
} from "./layout.ts";

const ENTRY_BYTES = 16;
const TAG = 8;
const BLOCK = 12;
/** A tag that no entry has: user code uses no entry of global pages. */
const NO_TAG = 1;
/** Tags of vCPU n begin at n times this: what an executor notes by tag is about one vCPU. */
const TAGS = 2 ** 28;
/** What tags have in common that are in force at one time but for these lower bits, by which native code knows them. */
const KEY_BITS = 16;
const MAX_INSTRUCTION = 15;
const PAGE = 4096;

/** In the hash of lower addresses: programs that have the same addresses in different address spaces do not compete. */
const TAG_SHIFT = 5;
/** Pushes the vCPU's address + offset of the entry for RIP. Add VCPU_JUMP_CACHE by memarg. */
function pushEntry(f: FunctionBuilder, rip: Local): void {
  f.get(rip).get(rip).i64(12).op("i64.shr_u").op("i64.xor").op("i32.wrap_i64");
  f.get(rip).i64(63).op("i64.shr_s").op("i32.wrap_i64").i32(-1).op("i32.xor");
  f.get(STATE).memory("i32.load", Engine.CODE_TAG).i32(TAG_SHIFT).op("i32.shl").op("i32.and").op("i32.xor");
  f.i32(JUMP_CACHE_ENTRIES - 1)
    .op("i32.and")
    .i32(4)
    .op("i32.shl")
    .get(STATE)
    .op("i32.add");
}
/** Pushes a condition (i32): the jump cache has the block at RIP, and pushCachedBlock() finds it. Uses nothing but the state's address in local STATE.
 *  @param rip i64 local  @param at i32 local that is written */
export function pushJumpCacheHit(f: FunctionBuilder, rip: Local, at: Local): void {
  pushEntry(f, rip);
  f.tee(at).memory("i64.load", VCPU_JUMP_CACHE).get(rip).op("i64.eq");
  for (const tag of [Engine.CODE_TAG, Engine.CODE_TAG_GLOBAL]) {
    f.get(at)
      .memory("i32.load", VCPU_JUMP_CACHE + TAG)
      .get(STATE)
      .memory("i32.load", tag)
      .op("i32.eq");
  }
  f.op("i32.or").op("i32.and");
}
/** Pushes the first entry of the block, after a hit. @param at as pushJumpCacheHit left it */
export function pushCachedBlock(f: FunctionBuilder, at: Local): void {
  f.get(at).memory("i32.load", VCPU_JUMP_CACHE + BLOCK);
}
/** Writes code that empties the entry for RIP if it leads to this block. Others lead to what was decoded since. @param block i32 local, the decoded entry  @param at as above */
export function emitForget(f: FunctionBuilder, rip: Local, block: Local, at: Local): void {
  pushEntry(f, rip);
  f.tee(at)
    .memory("i32.load", VCPU_JUMP_CACHE + BLOCK)
    .get(block)
    .op("i32.eq")
    .if();
  f.get(at)
    .i32(0)
    .memory("i32.store", VCPU_JUMP_CACHE + TAG)
    .end();
}
/** Writes code that chooses the tags in force after CPL has changed. */
export function emitTagChoice(f: FunctionBuilder): void {
  const choose = (tag: number, pushUser: () => void, supervisor: number): void => {
    f.get(STATE);
    pushUser();
    f.get(STATE).memory("i32.load", supervisor);
    f.get(STATE).memory("i32.load", Reg.CPL).i32(3).op("i32.eq").op("select").memory("i32.store", tag);
  };
  choose(Engine.CODE_TAG, () => f.get(STATE).memory("i32.load", Engine.TAG_USER), Engine.TAG_SUPERVISOR);
  choose(Engine.CODE_TAG_GLOBAL, () => f.i32(NO_TAG), Engine.TAG_GLOBAL);
}

/** Writes code that does what JumpCache.add does, for a block that does not span pages. @param isGlobal i32 local: in a global page, for supervisor code */
export function emitAddJump(f: FunctionBuilder, rip: Local, block: Local, isGlobal: Local): void {
  const [page, at] = [f.local("i32"), f.local("i32")];
  f.get(rip)
    .i64(12)
    .op("i64.shr_u")
    .op("i32.wrap_i64")
    .tee(page)
    .i32(JUMP_PAGES - 1)
    .op("i32.and");
  f.i32(5).op("i32.shr_u").i32(2).op("i32.shl").get(STATE).op("i32.add").tee(at);
  f.get(at).memory("i32.load", VCPU_JUMP_PAGES).i32(1).get(page).op("i32.shl").op("i32.or");
  f.memory("i32.store", VCPU_JUMP_PAGES);
  pushEntry(f, rip);
  f.tee(at).get(rip).memory("i64.store", VCPU_JUMP_CACHE);
  f.get(at);
  f.get(STATE).memory("i32.load", Engine.TAG_GLOBAL).get(STATE).memory("i32.load", Engine.CODE_TAG).get(isGlobal);
  f.op("select").memory("i32.store", VCPU_JUMP_CACHE + TAG);
  f.get(at)
    .get(block)
    .memory("i32.store", VCPU_JUMP_CACHE + BLOCK);
}

/** The hash of pushEntry. */
const indexOf = (low: number, high: number, tag: number): number =>
  (low ^ ((low >>> 12) | (high << 20)) ^ (high < 0 ? 0 : tag << TAG_SHIFT)) & (JUMP_CACHE_ENTRIES - 1);
/** Low bits of a linear page's number, of halves of the address. */
const pageOf = (low: number, high: number): number => (low >>> 12) | (high << 20);

export class JumpCache {
  readonly #words: Int32Array;
  /** Word indices. */
  readonly #area: number;
  readonly #entries: number;
  readonly #pages: number;
  readonly #codes: number;
  readonly #codesEnd: number;
  /** The last tag given out; tags are even, and with bit 0 set for user code. */
  #last: number;
  readonly #first: number;
  readonly #sets = new Int32Array(BANK_SETS);
  #set = 0;
  /** Low bits of page numbers. */
  readonly #pinned = new Set<number>();

  /** reset() comes before anything else. @param area byte offset of the vCPU's area  @param words of the state memory */
  constructor(area: number, words: Int32Array, vcpu = 0) {
    this.#first = this.#last = vcpu * TAGS;
    this.#words = words;
    this.#area = area >> 2;
    this.#entries = (area + VCPU_JUMP_CACHE) >> 2;
    this.#pages = (area + VCPU_JUMP_PAGES) >> 2;
    this.#codes = (area + VCPU_CODE_CACHE) >> 2;
    this.#codesEnd = this.#codes + ((CODE_CACHE_ENTRIES * CodeCacheEntry.BYTES) >> 2);
  }

  /** The address space and the kind of code in force. */
  select(set: number, user: boolean): void {
    const words = this.#words;
    const at = this.#area;
    const tag = this.#sets[set];
    const global = words[at + (Engine.TAG_GLOBAL >> 2)];
    this.#set = set;
    words[at + (Engine.TAG_SUPERVISOR >> 2)] = tag;
    words[at + (Engine.TAG_USER >> 2)] = tag | 1;
    words[at + (Engine.CODE_TAG >> 2)] = user ? tag | 1 : tag;
    words[at + (Engine.CODE_TAG_GLOBAL >> 2)] = user ? NO_TAG : global;
  }
  /** The tag of code that is looked at now. @param global it lies in global pages */
  tag(global: boolean): number {
    const isGlobal = global && this.#words[this.#area + (Reg.CPL >> 2)] !== 3;
    return this.#words[this.#area + ((isGlobal ? Engine.TAG_GLOBAL : Engine.CODE_TAG) >> 2)];
  }
  /** INVLPG of this page shall change the tags, because something besides the jump cache goes by them. */
  pin(low: number, high: number): void {
    this.#pinned.add(pageOf(low, high));
  }
  /** @param global the block lies in global pages  @param spans it reaches into the next page */
  add(low: number, high: number, block: number, global: boolean, spans: boolean): void {
    const words = this.#words;
    const isGlobal = global && words[this.#area + (Reg.CPL >> 2)] !== 3;
    this.#notePage(pageOf(low, high));
    if (spans) this.#notePage(pageOf(low, high) + 1);
    const tag = words[this.#area + (Engine.CODE_TAG >> 2)];
    const index = indexOf(low, high, tag);
    const entry = this.#entries + index * (ENTRY_BYTES >> 2);
    words[entry] = low;
    words[entry + 1] = high;
    words[entry + (TAG >> 2)] = isGlobal ? words[this.#area + (Engine.TAG_GLOBAL >> 2)] : tag;
    words[entry + (BLOCK >> 2)] = block;
  }
  #notePage(page: number): void {
    this.#words[this.#pages + ((page & (JUMP_PAGES - 1)) >> 5)] |= 1 << (page & 31);
  }

  #newTag(): number {
    if ((this.#last + 2) >> KEY_BITS !== this.#last >> KEY_BITS) this.#renumber();
    return (this.#last += 2);
  }
  /** Nothing that was put in is found any more, and all tags are new, next to each other; they go on from the last one given out, until there are no more. */
  #renumber(): void {
    const words = this.#words;
    // That of a vCPU that never ran is empty, and not touched yet.
    if (words[this.#area + (Engine.TAG_GLOBAL >> 2)] !== 0) {
      words.fill(0, this.#entries, this.#entries + JUMP_CACHE_BYTES / 4);
      words.fill(0, this.#pages, this.#pages + JUMP_PAGES / 32);
      words.fill(0, this.#codes, this.#codesEnd);
    }
    const behind = this.#last + 2 * (BANK_SETS + 2);
    if (behind > this.#first + TAGS) this.#last = this.#first;
    else if (behind >> KEY_BITS !== this.#last >> KEY_BITS) this.#last = behind & -(2 ** KEY_BITS);
    for (let set = 0; set < BANK_SETS; set++) this.#sets[set] = this.#last += 2;
    words[this.#area + (Engine.TAG_GLOBAL >> 2)] = this.#last += 2;
    this.select(this.#set, words[this.#area + (Reg.CPL >> 2)] === 3);
  }
  flushSet(set: number): void {
    this.#sets[set] = this.#newTag();
    if (set === this.#set) this.select(set, this.#words[this.#area + (Reg.CPL >> 2)] === 3);
  }
  flushGlobal(): void {
    this.#words[this.#area + (Engine.TAG_GLOBAL >> 2)] = this.#newTag();
    this.select(this.#set, this.#words[this.#area + (Reg.CPL >> 2)] === 3);
  }
  /** Nothing that was put in is found any more. */
  flushAll(): void {
    this.#last = this.#first;
    this.#renumber();
  }
  /** Another executor has filled it meanwhile. Unlike after flushAll, tags go on from the last one given out here. */
  reset(): void {
    this.#set = 0;
    this.#renumber();
  }
  /** INVLPG: drops the entries of a page: global ones and a set's. */
  dropPage(set: number, low: number, high: number): void {
    const page = pageOf(low, high);
    if (this.#pinned.has(page)) {
      // what goes by the tag of one address space may also go by a global page of it
      for (let each = 0; each < BANK_SETS; each++) this.flushSet(each);
      this.flushGlobal();
      return;
    }
    const noted = this.#words[this.#pages + ((page & (JUMP_PAGES - 1)) >> 5)];
    if ((noted & (1 << (page & 31))) === 0) return;
    this.#dropCode(page);
    const tag = this.#sets[set]; // user code's differs in a bit that stays inside the piece
    const piece = indexOf(low & -PAGE, high, tag) & -PAGE;
    for (let index = piece; index < piece + PAGE; index++) this.#dropIf(index, page);
    // an instruction that begins in the page before
    const before = ((low & -PAGE) - MAX_INSTRUCTION) | 0;
    const beforeHigh = (low & -PAGE) === 0 ? (high - 1) | 0 : high;
    for (let at = before; at < before + MAX_INSTRUCTION; at++) {
      for (const each of [tag, tag | 1]) this.#dropIf(indexOf(at, beforeHigh, each), (page - 1) | 0);
    }
  }
  /** Native code of the page, and of the one before, whose last instruction may reach into it. */
  #dropCode(page: number): void {
    const words = this.#words;
    for (let entry = this.#codes; entry < this.#codesEnd; entry += CodeCacheEntry.BYTES >> 2) {
      const each = pageOf(words[entry], words[entry + 1]);
      if (each === page || each === ((page - 1) | 0)) words[entry] = words[entry + 1] = 0;
    }
  }
  #dropIf(index: number, page: number): void {
    const words = this.#words;
    const entry = this.#entries + index * (ENTRY_BYTES >> 2);
    if (pageOf(words[entry], words[entry + 1]) === page) words[entry + (TAG >> 2)] = 0;
  }
}
