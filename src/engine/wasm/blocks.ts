/* BlockCache: decoded blocks of one executor. A block is a run of 32-byte entries in the arena, found by the address of its first byte in the frames
 * memory, so that every mapping of a page shares it. Writes to pages with blocks come here and drop what they hit.
 *
 * A dropped block stays where it is, every entry replaced by "look up again", because a vCPU may be in the middle of it; its room comes back
 * when the whole arena is emptied, which happens only between blocks. @source docs/engine.md */
import type { Decoded } from "../../isa/decoded.ts";
import { createDecoder, newDecoded, type Decoder } from "../../isa/decode.ts";
import type { GuestRam } from "../../memory/guest-ram.ts";
import type { Block, BlockCompiler, CodeFrame, Compiled } from "./block.ts";
import { BlockEnd, endingOf } from "./block-end.ts";
import { EntryWriter } from "./entry-writer.ts";
import { PSEUDO, type HandlerTable } from "./handlers.ts";
import {
  arenaOf,
  BLOCK_TABLE_BYTES,
  BLOCK_TABLE_ENTRIES,
  BlockEntry,
  blockTableOf,
  Entry,
  ENTRY_STACK,
  ENTRY_UNCHAINED,
  REGION_HANDLERS,
} from "./layout.ts";
import { RegionEntry } from "./translator/region-entry.ts";
import { clearTargets, hasTargets, TARGET_ENTRIES } from "./jump-targets.ts";

const PAGE = 4096;
const HASH_DIVISOR = 2 ** BlockEntry.HASH_SHIFT;
const TWO_32 = 0x1_0000_0000;
/** Longer runs of straight code are rare; a block must end before its position byte does. */
const MAX_BLOCK = 64;
/** … with a pseudo-instruction or the targets of a jump behind it. */
const MOST_ENTRIES = MAX_BLOCK + TARGET_ENTRIES;
const LINE_SHIFT = 6;
const MAX_INSTRUCTION = 15;
/** Writes beside the code of a page before its blocks are dropped so that writes become fast again. */
const QUIET_WRITES = 64;
const NOTHING_AHEAD = { aheadFrom: 0, aheadTo: 0 } as const;
const NO_ENDING = { end: BlockEnd.OTHER, target: 0, ...NOTHING_AHEAD } as const;

/** Does its code depend on bytes in [from, to) of its page? */
const dependsOn = (block: Block, from: number, to: number): boolean =>
  (block.from < to && block.to > from) || (block.aheadFrom < to && block.aheadTo > from);

/** A block came to the frame (1) or went (−1). */
function countReach(reach: Uint16Array, { from, to, aheadFrom, aheadTo }: Block, change: 1 | -1): void {
  for (let at = from; at < to; at++) reach[at]! += change;
  for (let at = aheadFrom; at < aheadTo; at++) reach[at]! += change;
}
/** Does code of a block depend on bytes in [from, to) of the frame? Kernels patch their code in thousands of places. */
function isReached(frame: CodeFrame, from: number, to: number): boolean {
  if (frame.reach === undefined) {
    frame.reach = new Uint16Array(PAGE);
    for (const block of frame.blocks) countReach(frame.reach, block, 1);
  }
  const { reach } = frame;
  for (let at = from; at < to; at++) if (reach[at] !== 0) return true;
  return false;
}

export class BlockCache {
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;
  readonly #ram: GuestRam;
  readonly #handlers: HandlerTable;
  readonly #decoder: Decoder;
  readonly #d: Decoded = newDecoded();
  readonly #writer: EntryWriter;
  /** Blocks for places where a region begins, for what the interpreter has to do there. */
  readonly #plain = new Map<number, Block>();
  /** Blocks of one instruction that spans two pages: valid only with the same second frame. */
  readonly #spanning = new Map<number, { entry: number; second: number }>();
  readonly #frames = new Map<number, CodeFrame>();
  readonly #window = new Uint8Array(2 * MAX_INSTRUCTION);
  /** Index of the executor whose blocks these are. */
  readonly executor: number;
  readonly #arena: number;
  readonly #table: number;
  #next: number;
  /** Where the arena is full; tests lower it. */
  arenaEnd: number;
  #single = 0;
  /** Writes so far to frames that only other executors have code of, as CodeFrame.quietWrites. */
  readonly #quietElsewhere = new Map<number, number>();
  /** Called before code is first read from a frame: these vCPUs (bits) may have write entries for it. */
  onProtect: (frameAddress: number, writers: number) => void = () => {};
  /** Called when blocks went away (`all`: their room is used again). */
  onDrop: (all: boolean) => void = () => {};
  /** Called when other executors have been told that code of theirs was written. */
  onTold: () => void = () => {};
  /** Called for each new block that can be found; when code in [from, to) of a frame changed; and when all blocks went. */
  onBlock: (block: Block) => void = () => {};
  onChange: (frame: number, from: number, to: number) => void = () => {};
  onClear: () => void = () => {};
  /** Blocks become native code when they are met, and the interpreter's are of one instruction. */
  compiler: BlockCompiler | undefined;

  /** @param executor whose blocks these are */
  constructor(stateBuffer: ArrayBufferLike, ram: GuestRam, handlers: HandlerTable, executor = 0) {
    this.executor = executor;
    const arena = arenaOf(executor);
    this.#arena = this.#next = arena.start;
    this.arenaEnd = arena.end;
    this.#table = blockTableOf(executor);
    this.#words = new Int32Array(stateBuffer);
    this.#halves = new Uint16Array(stateBuffer);
    this.#bytes = new Uint8Array(stateBuffer);
    this.#writer = new EntryWriter(stateBuffer);
    this.#ram = ram;
    this.#handlers = handlers;
    this.#decoder = createDecoder();
  }

  /** Does the entry's memory operand go by the stack (so that a non-canonical address is #SS)? */
  usesStack(entry: number): boolean {
    return entry !== 0 && (this.#bytes[entry + Entry.FLAGS] & ENTRY_STACK) !== 0;
  }
  offsetOf(entry: number): number {
    return this.#halves[(entry + Entry.OFFSET) >> 1];
  }
  lengthOf(entry: number): number {
    return this.#bytes[entry + Entry.LENGTH];
  }
  positionOf(entry: number): number {
    return this.#bytes[entry + Entry.POSITION];
  }
  /** Of the last single instruction that was decoded. */
  get lastMnemonic(): string {
    return this.#d.row.mnemonic;
  }
  isUnchained(entry: number): boolean {
    return (this.#bytes[entry + Entry.FLAGS] & ENTRY_UNCHAINED) !== 0;
  }

  /** First entry of the block at a code address, decoded if it is new.
   *  @param address byte offset in the frames memory  @param secondPage gives the frame address of the next linear page (may throw the guest's fault) */
  find(address: number, secondPage: () => number): number {
    const known = this.blockAt(address);
    if (known !== undefined) {
      this.#tell(address, known.entry);
      return known.entry;
    }
    const spanning = this.#spanning.get(address);
    if (spanning && spanning.second === secondPage()) return spanning.entry;
    if (this.#isFull || this.compiler?.isFull === true) this.clear();
    if (this.compiler === undefined) return this.#decodeBlock(address, MAX_BLOCK, secondPage);
    return this.#compileBlocks(address, this.compiler) || this.#decodeBlock(address, 1, secondPage);
  }
  get #isFull(): boolean {
    return this.#next + MOST_ENTRIES * Entry.BYTES > this.arenaEnd;
  }
  /** Puts a block into the table that generated code looks into. */
  #tell(address: number, block: number): void {
    const at = this.#tableEntry(address);
    this.#words[at] = address;
    this.#words[at + 1] = Math.floor(address / TWO_32);
    this.#words[at + (BlockEntry.BLOCK >> 2)] = block;
  }
  #forget(address: number, block: number): void {
    const at = this.#tableEntry(address);
    if (this.#words[at + (BlockEntry.BLOCK >> 2)] === block) this.#words.fill(0, at, at + BlockEntry.BYTES / 4);
  }
  /** Word index in the state memory. */
  #tableEntry(address: number): number {
    const hash = address ^ Math.floor(address / HASH_DIVISOR);
    return (this.#table + (hash & (BLOCK_TABLE_ENTRIES - 1)) * BlockEntry.BYTES) >> 2;
  }
  /** The interpreter's block where a region or native code begins. */
  findPlain(address: number, secondPage: () => number): number {
    const known = this.#plain.get(address);
    if (known !== undefined) return known.entry;
    if (this.#isFull) this.clear();
    return this.#decodeBlock(address, this.compiler ? 1 : MAX_BLOCK, secondPage, false, true);
  }
  blockAt(address: number): Block | undefined {
    return this.#frames.get(Math.floor(address / PAGE))?.known.get(address % PAGE);
  }

  /** One instruction in a block of its own, for single-stepping: not kept. */
  single(address: number, secondPage: () => number): number {
    return this.#aside(() => this.#decodeBlock(address, 1, secondPage, true));
  }
  /** As single, for an instruction that is given instead of fetched. @param offset its offset in the page of RIP */
  singleFrom(bytes: Uint8Array, offset: number): number {
    return this.#aside(() => {
      const entry = this.#next;
      const failure = this.#decoder.decode(bytes, 0, bytes.length, this.#d);
      if (failure) return this.#pseudo(failure === "undefined" ? PSEUDO.UNDEFINED : PSEUDO.TOO_LONG, offset, 0);
      this.#write(offset, 0);
      if (!this.#d.row.ends) this.#fallThrough(offset + this.#d.length, 1);
      this.#addTargets();
      return entry;
    });
  }
  /** An entry for a region of one instruction, in place of singleFrom's. */
  singleRegion(handler: number, offset: number, length: number): number {
    return this.#aside(() => this.#put(handler, offset, length, 0));
  }
  /** Writes entries where the last single instruction was. */
  #aside(write: () => number): number {
    if (this.#single === 0) {
      this.#single = this.#next;
      this.#next += 4 * Entry.BYTES;
    }
    const next = this.#next;
    this.#next = this.#single;
    const entry = write();
    this.#next = next;
    return entry;
  }

  /** Forgets everything. Only between blocks. */
  clear(): void {
    for (const frame of this.#frames.keys()) this.#unmark(frame);
    this.#frames.clear();
    this.#spanning.clear();
    this.#quietElsewhere.clear();
    this.#words.fill(0, this.#table >> 2, (this.#table + BLOCK_TABLE_BYTES) >> 2);
    this.#plain.clear();
    this.#next = this.#arena;
    this.#single = 0;
    this.compiler?.clear();
    this.onClear();
    this.onDrop(true);
  }

  // ——— decoding ———
  /** @param once for one use  @param plain for #plain */
  #decodeBlock(address: number, limit: number, secondPage: () => number, once = false, plain = false): number {
    const page = address - (address % PAGE);
    const bytes = this.#ram.pool.bytes;
    const start = this.#next;
    if (!once) this.#protect(page);
    let at = address;
    let n = 0;
    let ended = false;
    let failed = false;
    while (n < limit && at < page + PAGE) {
      const failure = this.#decoder.decode(bytes, at, page + PAGE, this.#d);
      if (failure === "needMore") {
        if (n > 0) break;
        return plain ? this.single(address, secondPage) : this.#decodeSpanning(address, secondPage, once);
      }
      if (failure) {
        this.#pseudo(failure === "undefined" ? PSEUDO.UNDEFINED : PSEUDO.TOO_LONG, at - page, n);
        at++;
        n++;
        ended = failed = true;
        break;
      }
      this.#write(at - page, n);
      at += this.#d.length;
      n++;
      if (this.#d.row.ends) {
        ended = true;
        break;
      }
    }
    if (!ended) this.#fallThrough(at - page, n);
    if (once) {
      this.#addTargets();
      this.#bytes[start + Entry.FLAGS] |= ENTRY_UNCHAINED;
      return start;
    }
    this.#pairUp(start);
    const entries = (this.#next - start) / Entry.BYTES;
    this.#addTargets();
    const ending = endingOf(ended && !failed ? this.#d : undefined, ended, at - page);
    const [from, to] = [address - page, at - page];
    this.#add({ key: address, entry: start, entries, from, to, code: 0, ...ending, ...NOTHING_AHEAD }, plain);
    return start;
  }
  #add(block: Block, plain: boolean): void {
    const frame = this.#keep(block, block.key - block.from);
    if (plain) {
      this.#plain.set(block.key, block);
      return;
    }
    frame.known.set(block.from, block);
    this.#tell(block.key, block.entry);
    this.onBlock(block);
  }
  /** Makes a block, and those of its page that are at hand and likely to follow. @returns the block's entry, 0 if the first instruction is not for native code */
  #compileBlocks(address: number, compiler: BlockCompiler): number {
    const from = address % PAGE;
    const page = address - from;
    const frame = this.#protect(page);
    const compiled = compiler.compile(page, from);
    if (compiled === undefined) return 0;
    const entry = this.#addCompiled(page, from, compiled, compiler, frame);
    for (let next = compiler.nextLikely(); next >= 0; next = compiler.nextLikely()) {
      if (frame.known.has(next) || this.#isFull) continue;
      const likely = compiler.compileLikely(page, next);
      if (likely !== undefined) this.#addCompiled(page, next, likely, compiler, frame);
    }
    this.#ram.setCodeLines(page / PAGE, this.executor, frame.low, frame.high);
    return entry;
  }
  /** @returns the block's entry */
  #addCompiled(page: number, from: number, compiled: Compiled, compiler: BlockCompiler, frame: CodeFrame): number {
    const { code, to, aheadFrom, aheadTo } = compiled;
    const entry = this.#putCompiled(from, code);
    const key = page + from;
    const block = { key, entry, entries: 1, from, to, code, end: BlockEnd.OTHER, target: 0, aheadFrom, aheadTo };
    frame.known.set(from, block);
    this.#note(frame, block);
    this.#tell(key, entry);
    compiler.added(block, frame.known);
    return entry;
  }
  /** An entry that leads to native code. */
  #putCompiled(offset: number, code: number): number {
    const entry = this.#put(REGION_HANDLERS, offset, 0, 0);
    this.#words[(entry + RegionEntry.LABEL) >> 2] = code;
    return entry;
  }
  /** Gives pairs of entries their common handler, where there is one; the second keeps its own, unused. */
  #pairUp(start: number): void {
    const step = Entry.BYTES >> 1;
    for (let half = start >> 1; half < (this.#next >> 1) - step; half += step) {
      const pair = this.#handlers.pair(this.#halves[half], this.#halves[half + step]);
      if (pair === 0) continue;
      this.#halves[half] = pair;
      half += step;
    }
  }
  /** A block of the one instruction that begins at the end of a page and ends in the next. */
  #decodeSpanning(address: number, secondPage: () => number, once: boolean): number {
    const page = address - (address % PAGE);
    const pool = this.#ram.pool.bytes;
    const here = page + PAGE - address;
    const second = secondPage();
    if (!once) this.#protect(second);
    this.#window.set(pool.subarray(address, address + here));
    this.#window.set(pool.subarray(second, second + MAX_INSTRUCTION), here);
    const start = this.#next;
    const from = address - page;
    const code = once ? 0 : (this.compiler?.compileSpanning(this.#window, from) ?? 0);
    if (code !== 0) this.#putCompiled(from, code);
    else this.#writeSpanning(from, here);
    this.#bytes[start + Entry.FLAGS] |= ENTRY_UNCHAINED;
    const entries = (this.#next - start) / Entry.BYTES;
    if (code === 0) this.#addTargets();
    if (once) return start;
    this.#spanning.set(address, { entry: start, second });
    const block = { key: address, entry: start, entries, ...NO_ENDING };
    this.#keep({ ...block, from, to: PAGE, code }, page);
    this.#keep({ ...block, from: 0, to: MAX_INSTRUCTION - 1, code }, second);
    return start;
  }
  #writeSpanning(from: number, here: number): void {
    const failure = this.#decoder.decode(this.#window, 0, here + MAX_INSTRUCTION, this.#d);
    if (failure) {
      this.#pseudo(failure === "undefined" ? PSEUDO.UNDEFINED : PSEUDO.TOO_LONG, from, 0);
      return;
    }
    this.#write(from, 0);
    if (!this.#d.row.ends) this.#fallThrough(from + this.#d.length, 1);
  }

  /** From now on no write to the frame goes unseen. Before its bytes are read. */
  #protect(page: number): CodeFrame {
    const number = page / PAGE;
    this.#ram.markAllLines(number, this.executor);
    const known = this.#frames.get(number);
    if (known !== undefined) return known;
    const frame: CodeFrame = { known: new Map(), blocks: [], reach: undefined, quietWrites: 0, low: 0, high: 0 };
    this.#frames.set(number, frame);
    this.onProtect(page, this.#ram.holdCode(number, this.executor));
    return frame;
  }
  #keep(block: Block, page: number): CodeFrame {
    const number = page / PAGE;
    const frame = this.#frames.get(number)!;
    this.#note(frame, block);
    this.#ram.setCodeLines(number, this.executor, frame.low, frame.high);
    return frame;
  }
  #note(frame: CodeFrame, block: Block): void {
    frame.blocks.push(block);
    if (frame.reach !== undefined) countReach(frame.reach, block, 1);
    this.#mark(frame, block.from, block.to);
    if (block.aheadTo > 0) this.#mark(frame, block.aheadFrom, block.aheadTo);
  }

  #mark(list: CodeFrame, from: number, to: number): void {
    for (let line = from >> LINE_SHIFT; line <= (to - 1) >> LINE_SHIFT; line++) {
      if (line < 32) list.low |= 1 << line;
      else list.high |= 1 << (line - 32);
    }
  }
  #put(handler: number, offset: number, length: number, position: number): number {
    const entry = this.#next;
    this.#next += Entry.BYTES;
    const words = this.#words;
    const word = entry >> 2;
    words[word] = handler | (offset << 16);
    for (let i = word + 1; i < word + (Entry.BYTES >> 2); i++) words[i] = 0;
    this.#bytes[entry + Entry.LENGTH] = length;
    this.#bytes[entry + Entry.POSITION] = position;
    return entry;
  }
  #pseudo(handler: number, offset: number, position: number): number {
    return this.#put(handler, offset, 0, position);
  }
  #fallThrough(offset: number, position: number): void {
    const entry = this.#pseudo(PSEUDO.FALL_THROUGH, offset, position);
    this.#words[(entry + Entry.IMM) >> 2] = offset;
  }
  /** Room for the targets of the jump that was decoded last (jump-targets.ts). */
  #addTargets(): void {
    if (!hasTargets(this.#d)) return;
    clearTargets(this.#words, this.#next);
    this.#next += TARGET_ENTRIES * Entry.BYTES;
  }
  #write(offset: number, position: number): void {
    const { handler, form } = this.#handlers.for(this.#d);
    this.#writer.write(this.#put(handler, offset, this.#d.length, position), this.#d, form, offset);
  }

  // ——— invalidation ———
  /** A vCPU of this executor wrote [offset, +size) of a frame that holds code. @param page frame's byte offset */
  codeWritten(page: number, offset: number, size: number): void {
    const frame = page / PAGE;
    const own = 1 << this.executor;
    const holders = this.#ram.codeHolders(frame);
    if ((holders & ~own) !== 0) this.#writtenElsewhere(frame, holders & ~own, offset, size);
    if ((holders & own) !== 0) this.#writtenHere(frame, offset, size);
  }
  /** Other executors have code there: those whose lines were hit are told, all of them if such writes are many. */
  #writtenElsewhere(frame: number, holders: number, offset: number, size: number): void {
    let hit = 0;
    for (let e = 0; holders >> e !== 0; e++) {
      if (holders & (1 << e) && this.#hits(frame, e, offset, size)) hit |= 1 << e;
    }
    const quiet = (this.#quietElsewhere.get(frame) ?? 0) + 1;
    if (quiet >= QUIET_WRITES) hit = holders;
    this.#quietElsewhere.set(frame, hit === holders ? 0 : quiet);
    if (hit !== 0 && this.#ram.tellStale(frame, hit) !== 0) this.onTold();
  }
  #hits(frame: number, executor: number, offset: number, size: number): boolean {
    return this.#ram.hasCodeIn(frame, executor, offset >> LINE_SHIFT, (offset + size - 1) >> LINE_SHIFT);
  }
  #writtenHere(frame: number, offset: number, size: number): void {
    const list = this.#frames.get(frame);
    if (!list) return this.#unmark(frame);
    const hit = this.#hits(frame, this.executor, offset, size);
    if (!hit && ++list.quietWrites < QUIET_WRITES) return;
    const end = offset + size;
    if (hit && this.compiler !== undefined && list.blocks.length > 0 && !isReached(list, offset, end)) return;
    const { blocks } = list;
    let kept = 0;
    for (const block of blocks) {
      if (hit && !dependsOn(block, offset, end)) blocks[kept++] = block;
      else this.#dropFrom(list, block);
    }
    blocks.length = kept;
    if (hit) this.onChange(frame, offset, offset + size);
    else this.onChange(frame, 0, PAGE);
    if (kept === 0) {
      this.#frames.delete(frame);
      this.#unmark(frame);
    }
    this.onDrop(false);
  }
  /** Everything decoded from a frame goes (a device wrote it). */
  dropFrame(frame: number): void {
    const list = this.#frames.get(frame);
    for (const block of list?.blocks ?? []) this.#drop(block);
    this.onChange(frame, 0, PAGE);
    this.#frames.delete(frame);
    this.#unmark(frame);
    this.onDrop(false);
  }
  /** A block is to be made anew. */
  dropBlock(key: number): void {
    const block = this.blockAt(key);
    const list = this.#frames.get(Math.floor(key / PAGE));
    if (block === undefined || list === undefined) return;
    list.blocks = list.blocks.filter((each) => each !== block);
    this.#dropFrom(list, block);
    this.onDrop(false);
  }
  #dropFrom({ reach }: CodeFrame, block: Block): void {
    if (reach !== undefined) countReach(reach, block, -1);
    this.#drop(block);
  }
  #unmark(frame: number): void {
    this.#ram.releaseCode(frame, this.executor);
  }
  #drop(block: Block): void {
    this.#forget(block.key, block.entry);
    const known = this.#frames.get(Math.floor(block.key / PAGE))?.known;
    if (known?.get(block.key % PAGE)?.entry === block.entry) known.delete(block.key % PAGE);
    if (this.#plain.get(block.key)?.entry === block.entry) this.#plain.delete(block.key);
    if (this.#spanning.get(block.key)?.entry === block.entry) this.#spanning.delete(block.key);
    if (block.code !== 0) this.compiler?.drop(block);
    for (let i = 0; i < block.entries; i++) this.#halves[(block.entry + i * Entry.BYTES) >> 1] = PSEUDO.LOOK_UP_AGAIN;
  }
}
