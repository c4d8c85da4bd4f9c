/* Translates a block of guest code into native code: mostly the same instructions, with the guest's registers in others, and each access to memory through the TLB.
 * @source docs/native.md */
import type { Decoded } from "../../isa/decoded.ts";
import { createDecoder, newDecoded } from "../../isa/decode.ts";
import { Cc } from "./assembler.ts";
import { Place, type Sites, StubKind } from "./block-emitter.ts";
import { Role } from "./merged-accesses.ts";
import { blockStart, FUEL, inWords } from "./operands.ts";
import { X87Instructions } from "./x87-instructions.ts";
import { readRaw } from "./raw.ts";
import { Flags, isSupported, liveness, treatment, Way } from "./supported.ts";

const PAGE = 4096;
/** A block must end before its position byte does. */
export const MOST_INSTRUCTIONS = 64;
/** What a block begins with: SUB of the fuel, and a jump for when there was none. */
const FUEL_BYTES = 10;
/** So many instructions are looked at, where a block goes on, for one that writes the flags. */
const MOST_AHEAD = 8;

/** Distances are counted from the page's beginning, which must not wrap. */
const FARTHEST = 0x7fff_ffff - PAGE - 15;
function reachesTooFar(d: Decoded): boolean {
  if (d.ripRelative && d.disp > FARTHEST) return true;
  return d.operandCount > 0 && d.operands[0].kind === "rel" && d.imm32 > FARTHEST;
}

/** Where accesses of a block lie, most likely. */
export const Pages = {
  /** Each by itself, in one page or two. */
  ANY: 0,
  /** In one page: they are made sure of in groups, and what is in two is the interpreter's. */
  ONE: 1,
  /** Often in one page, sometimes in two: groups, and code without them as well. */
  BOTH: 2,
} as const;

/** What was written. */
export interface Written {
  /** Instructions; 0: there is no supported one. */
  count: number;
  /** Offset of its code, and of what of it seldom runs; both are multiples of 4. */
  code: number;
  cold: number;
  /** Offset in the page behind what was looked at from its beginning on. */
  to: number;
  /** Offsets in the page of what else was looked at, [from, to). */
  aheadFrom: number;
  aheadTo: number;
  /** Is it for accesses in two pages as well (Pages.BOTH)? */
  copies: boolean;
  sites: Sites;
}

export const newWritten = (): Written => ({
  count: 0,
  code: 0,
  cold: 0,
  to: 0,
  aheadFrom: 0,
  aheadTo: 0,
  copies: false,
  sites: [],
});

export class BlockTranslator extends X87Instructions {
  /** Offset where code goes that seldom runs: apart, so that what often runs is close together. */
  cold = 0;
  readonly #decoder = createDecoder();
  /** The block's instructions. */
  readonly #decoded: Decoded[] = [];
  /** By instruction: may its flags, or those from before it, be read behind it? */
  readonly #needed = new Uint8Array(MOST_INSTRUCTIONS);
  readonly #ahead: Decoded = newDecoded();
  readonly #written = newWritten();

  /** Writes a block: its instructions up to a jump, to one that is not supported, or to `limit`.
   *  @param bytes that have it  @param page offset in `bytes` of the page's first byte  @param from, limit offsets in the page  @param most instructions
   *  @param kernel is it most likely the kernel's?  @param pages Pages  @returns one object, reused */
  translate(
    bytes: Uint8Array,
    page: number,
    from: number,
    limit: number,
    most: number,
    kernel: boolean,
    pages: number = Pages.ANY,
  ): Written {
    const { a } = this;
    const written = this.#written;
    this.bytes = bytes;
    this.kernel = kernel;
    this.beginStubs();
    this.sites = written.sites = [];
    this.count = written.count = this.#decode(page, from, limit, most);
    if (this.count === 0) return written;
    this.start = written.code = a.at = blockStart(a.at);
    written.cold = this.cold = inWords(this.cold);
    a.relativeCount = 0;
    this.inOnePage = pages === Pages.ONE;
    this.merges = pages !== Pages.ANY && this.#findGroups(from);
    written.copies = pages === Pages.BOTH;
    this.copies = this.merges && pages === Pages.BOTH;
    // alone, an instruction has exact flags: it is looked at by itself
    this.flagsThere = this.flagsNext = true;
    if (most > 1) this.#findFlagsAhead(page, limit);
    this.#findNeeded();
    this.flags = Place.FILE;
    a.arithmetic(5, FUEL, this.count, false);
    const none = a.branchAhead(Cc.S);
    this.stub(StubKind.FUEL, none, from, a.at);
    this.sseChecked = this.x87Checked = false;
    this.#write(page, from, 0);
    const end = a.at;
    a.at = this.cold;
    this.writeStubs();
    if (this.copies) this.#writeCopy(page, from);
    this.cold = a.at;
    a.at = end;
    return written;
  }
  /** Writes the instructions from number `first` on. @param from offset of the first one's in the page */
  #write(page: number, from: number, first: number): void {
    let ended = false;
    let at = from;
    for (let i = first; i < this.count; i++) {
      const d = this.#decoded[i];
      this.offset = at;
      this.index = i;
      this.treatment = treatment(d.row);
      this.beginInstruction();
      if (this.treatment.sse && !this.sseChecked) this.checkSse();
      ended = this.#instruction(d, page + at);
      at += d.length;
      if (this.#needed[i] === 0) this.flags = Place.FILE;
    }
    if (ended) return;
    this.saveFlags();
    this.goTo(at);
  }
  /** The block once more, without groups, from the first one's first access on. */
  #writeCopy(page: number, from: number): void {
    const { merged } = this.accesses;
    let first = 0;
    for (; merged[first].role !== Role.FIRST; first++) from += this.#decoded[first].length;
    this.merges = false;
    this.flags = Place.FILE;
    this.sseChecked = this.x87Checked = false;
    this.beginStubs();
    this.#write(page, from, first);
    this.endCopy();
    this.writeStubs();
  }
  /** @returns how many instructions the block has */
  #decode(page: number, from: number, limit: number, most: number): number {
    const decoded = this.#decoded;
    let count = 0;
    let at = from;
    while (count < most && at < limit) {
      const d = (decoded[count] ??= newDecoded());
      if (this.#decoder.decode(this.bytes, page + at, page + limit, d) !== undefined || !isSupported(d)) break;
      if (reachesTooFar(d)) break;
      at += d.length;
      count++;
      if (d.row.ends === true) break;
    }
    this.#written.to = at;
    this.#written.aheadFrom = this.#written.aheadTo = 0;
    return count;
  }
  /** Sets flagsThere and flagsNext. What that depends on goes to #written. */
  #findFlagsAhead(page: number, limit: number): void {
    const written = this.#written;
    const last = this.#decoded[this.count - 1];
    const end = written.to;
    const ends = last.row.ends === true;
    const relative = ends && last.operandCount > 0 && last.operands[0].kind === "rel";
    if (ends && (!relative || last.row.mnemonic === "jrcxz")) return;
    const target = end + last.imm32;
    if (!relative) this.flagsThere = false;
    else if (target >= 0 && target < PAGE) {
      written.aheadFrom = target;
      written.aheadTo = this.#lookAhead(page, target, limit);
      this.flagsThere = this.#found !== Flags.WRITES;
    }
    if (relative && last.row.cc === undefined) this.flagsNext = false;
    else {
      written.to = this.#lookAhead(page, end, limit);
      this.flagsNext = this.#found !== Flags.WRITES;
    }
  }
  /** What the first instruction that has to do with the flags does with them. */
  #found: number = Flags.READS;
  /** @returns offset behind what was looked at */
  #lookAhead(page: number, at: number, limit: number): number {
    const d = this.#ahead;
    this.#found = Flags.READS;
    for (let n = 0; n < MOST_AHEAD && at < limit; n++) {
      if (this.#decoder.decode(this.bytes, page + at, page + limit, d) !== undefined) return limit;
      at += d.length;
      if (!isSupported(d)) return at;
      const flags = liveness(d);
      if (flags !== Flags.NONE) this.#found = flags;
      if (flags !== Flags.NONE || d.row.ends === true) return at;
    }
    return at;
  }
  #findGroups(from: number): boolean {
    const { accesses } = this;
    accesses.begin();
    for (let i = 0, next = from; i < this.count; i++) {
      const d = this.#decoded[i];
      next += d.length;
      accesses.add(i, d, treatment(d.row), next);
    }
    return accesses.any;
  }
  #findNeeded(): void {
    let needed = this.flagsThere || this.flagsNext;
    for (let i = this.count - 1; i >= 0; i--) {
      this.#needed[i] = needed ? 1 : 0;
      const flags = liveness(this.#decoded[i]);
      if (flags !== Flags.NONE) needed = flags !== Flags.WRITES;
    }
  }
  /** Writes over a block whose code has changed: RIP is at `offset` of its page. @param start as from `translate`
   *  @returns offset of a displacement, for when there is code again */
  writeGone(start: number, offset: number): number {
    const a = this.a;
    const end = a.at;
    // what is done without fuel is needed no more, and has room: blocks may go when there is none
    const outOfFuel = start + FUEL_BYTES + a.displacement(start + FUEL_BYTES - 4);
    a.at = start;
    const at = a.jumpAhead();
    a.bind(at, outOfFuel);
    a.at = outOfFuel;
    a.call(this.routines.gone);
    a.word(offset);
    a.at = end;
    return at;
  }

  /** @returns has it left? */
  #instruction(d: Decoded, at: number): boolean {
    const { way } = this.treatment;
    if (way === Way.NOTHING) return false;
    if (this.treatment.x87) {
      this.x87(d, at);
      return false;
    }
    if (way !== Way.SAME) return this.own(d, at);
    readRaw(this.bytes, at, this.treatment.modrm, this.raw);
    this.same(d, at + d.length);
    return false;
  }
}
