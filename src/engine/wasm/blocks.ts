/* BlockCache: decoded blocks of one executor. A block is a run of 32-byte entries in the arena, found by the address of its first byte in the frames
 * memory, so that every mapping of a page shares it. Writes to pages with blocks come here and drop what they hit.
 *
 * A dropped block stays where it is, every entry replaced by "look up again", because a vCPU may be in the middle of it; its room comes back
 * when the whole arena is emptied, which happens only between blocks. @source docs/engine.md */
import type { Decoded } from "../../isa/decoded.ts";
import { createDecoder, newDecoded, type Decoder } from "../../isa/decode.ts";
import type { GuestRam } from "../../memory/guest-ram.ts";
import type { Block, BlockCompiler, Compiled } from "./block.ts";
import { BlockEnd, endingOf } from "./block-end.ts";
import { BlockKind, BlockRecords } from "./block-records.ts";
import { CodeFrame } from "./code-frame.ts";
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
const PAGE_SHIFT = 12;
/** Longer runs of straight code are rare; a block must end before its position byte does. */
const MAX_BLOCK = 64;
/** … with a pseudo-instruction or the targets of a jump behind it. */
const MOST_ENTRIES = MAX_BLOCK + TARGET_ENTRIES;
const LINE_SHIFT = 6;
const MAX_INSTRUCTION = 15;
/** Writes beside the code of a page before its blocks are dropped so that writes become fast again. */
const QUIET_WRITES = 64;

export class BlockCache {
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;
  readonly #ram: GuestRam;
  readonly #handlers: HandlerTable;
  readonly #decoder: Decoder;
  readonly #d: Decoded = newDecoded();
  readonly #writer: EntryWriter;
  /** By number. */
  readonly #frames = new Map<number, CodeFrame>();
  readonly #window = new Uint8Array(2 * MAX_INSTRUCTION);
  readonly records: BlockRecords;
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
  onBlock: (address: number, entry: number) => void = () => {};
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
    this.records = new BlockRecords(this.#words, executor);
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
    const [frame, from] = [Math.floor(address / PAGE), address & (PAGE - 1)];
    const { records } = this;
    const known = records.at(frame, from, BlockKind.KNOWN);
    if (known !== 0) {
      const entry = records.entryOf(known);
      this.#tell(frame, from, entry);
      return entry;
    }
    const spanning = records.at(frame, from, BlockKind.SPANNING);
    if (spanning !== 0 && records.secondFrameOf(spanning) === secondPage() / PAGE) return records.entryOf(spanning);
    if (this.#isFull || this.compiler?.isFull === true) this.clear();
    if (this.compiler === undefined) return this.#decodeBlock(address, MAX_BLOCK, secondPage);
    return this.#compileBlocks(address, this.compiler) || this.#decodeBlock(address, 1, secondPage);
  }
  get #isFull(): boolean {
    return this.#next + MOST_ENTRIES * Entry.BYTES > this.arenaEnd || this.records.isFull;
  }
  /** Puts a block into the table that generated code looks into. */
  #tell(frame: number, from: number, block: number): void {
    const words = this.#words;
    const at = this.#tableEntry(frame, from);
    words[at] = (frame << PAGE_SHIFT) | from;
    words[at + 1] = frame >>> (32 - PAGE_SHIFT);
    words[at + (BlockEntry.BLOCK >> 2)] = block;
  }
  #forget(frame: number, from: number, block: number): void {
    const at = this.#tableEntry(frame, from);
    if (this.#words[at + (BlockEntry.BLOCK >> 2)] === block) this.#words.fill(0, at, at + BlockEntry.BYTES / 4);
  }
  /** Word index in the state memory. */
  #tableEntry(frame: number, from: number): number {
    const hash = ((frame << PAGE_SHIFT) | from) ^ (frame >>> (BlockEntry.HASH_SHIFT - PAGE_SHIFT));
    return (this.#table + (hash & (BLOCK_TABLE_ENTRIES - 1)) * BlockEntry.BYTES) >> 2;
  }
  /** The interpreter's block where a region or native code begins. */
  findPlain(address: number, secondPage: () => number): number {
    const known = this.records.at(Math.floor(address / PAGE), address & (PAGE - 1), BlockKind.PLAIN);
    if (known !== 0) return this.records.entryOf(known);
    if (this.#isFull) this.clear();
    return this.#decodeBlock(address, this.compiler ? 1 : MAX_BLOCK, secondPage, false, true);
  }
  /** The block that is found at a code address. */
  blockAt(address: number): Block | undefined {
    const block = this.records.at(Math.floor(address / PAGE), address & (PAGE - 1), BlockKind.KNOWN);
    return block === 0 ? undefined : this.records.read(block);
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
    this.records.clear();
    this.#quietElsewhere.clear();
    this.#words.fill(0, this.#table >> 2, (this.#table + BLOCK_TABLE_BYTES) >> 2);
    this.#next = this.#arena;
    this.#single = 0;
    this.compiler?.clear();
    this.onClear();
    this.onDrop(true);
  }

  // ——— decoding ———
  /** @param once for one use  @param plain see BlockKind.PLAIN */
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
    const kind = plain ? BlockKind.PLAIN : BlockKind.KNOWN;
    const [frame, from] = [page / PAGE, address - page];
    const block = this.#keep(frame, from, kind, at - page, start, 0);
    this.records.setEnding(block, entries, ending.end, ending.target);
    if (plain) return start;
    this.#tell(frame, from, start);
    this.onBlock(address, start);
    return start;
  }
  /** Makes a block, and those of its page that are at hand and likely to follow. @returns the block's entry, 0 if the first instruction is not for native code */
  #compileBlocks(address: number, compiler: BlockCompiler): number {
    const from = address & (PAGE - 1);
    const page = address - from;
    const frame = this.#protect(page);
    const compiled = compiler.compile(page, from);
    if (compiled === undefined) return 0;
    const number = page / PAGE;
    const entry = this.#addCompiled(number, from, compiled, frame);
    for (let next = compiler.nextLikely(); next >= 0; next = compiler.nextLikely()) {
      if (this.records.at(number, next, BlockKind.KNOWN) !== 0 || this.#isFull) continue;
      const likely = compiler.compileLikely(page, next);
      if (likely !== undefined) this.#addCompiled(number, next, likely, frame);
    }
    this.#ram.setCodeLines(number, this.executor, frame.low, frame.high);
    return entry;
  }
  /** @param number the page's  @returns the block's entry */
  #addCompiled(number: number, from: number, { code, to, aheadFrom, aheadTo }: Compiled, frame: CodeFrame): number {
    const entry = this.#putCompiled(from, code);
    this.records.add(number, from, BlockKind.KNOWN, to, aheadFrom, aheadTo, entry, code);
    frame.note(from, to, aheadFrom, aheadTo);
    this.#tell(number, from, entry);
    return entry;
  }
  /** An entry that leads to native code. */
  #putCompiled(offset: number, code: number): number {
    const entry = this.#next;
    this.#next = entry + Entry.BYTES;
    const words = this.#words;
    const word = entry >> 2;
    words[word] = REGION_HANDLERS | (offset << 16);
    for (let i = 1; i < Entry.BYTES >> 2; i++) words[word + i] = 0;
    words[word + (RegionEntry.LABEL >> 2)] = code;
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
    const spanning = this.#keep(page / PAGE, from, BlockKind.SPANNING, PAGE, start, code);
    const rest = this.#keep(second / PAGE, 0, BlockKind.REST, MAX_INSTRUCTION - 1, start, code);
    for (const block of [spanning, rest]) this.records.setEnding(block, entries, BlockEnd.OTHER, 0);
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
    const frame = new CodeFrame();
    this.#frames.set(number, frame);
    this.onProtect(page, this.#ram.holdCode(number, this.executor));
    return frame;
  }
  /** As BlockRecords.add, for a frame that is protected. */
  #keep(number: number, from: number, kind: number, to: number, entry: number, code: number): number {
    const frame = this.#frames.get(number)!;
    frame.note(from, to, 0, 0);
    this.#ram.setCodeLines(number, this.executor, frame.low, frame.high);
    return this.records.add(number, from, kind, to, 0, 0, entry, code);
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
    if (hit && this.compiler !== undefined && list.blocks > 0) {
      if (!list.isReached(offset, end, () => this.records.of(frame))) return;
    }
    if (hit) this.#dropBlocks(frame, offset, end);
    else this.#dropBlocks(frame, 0, PAGE);
    if (list.blocks === 0) {
      this.#frames.delete(frame);
      this.#unmark(frame);
    }
    this.onDrop(false);
  }
  /** Everything decoded from a frame goes (a device wrote it). */
  dropFrame(frame: number): void {
    this.#dropBlocks(frame, 0, PAGE);
    this.#frames.delete(frame);
    this.#unmark(frame);
    this.onDrop(false);
  }
  /** Those blocks go that depend on bytes [from, to) of a frame. */
  #dropBlocks(frame: number, from: number, to: number): void {
    for (const block of this.records.takeDependent(frame, from, to)) this.#drop(block);
    this.onChange(frame, from, to);
  }
  /** A block is to be made anew. */
  dropBlock(key: number): void {
    const block = this.blockAt(key);
    if (block === undefined) return;
    this.records.take(block.record);
    this.#drop(block);
    this.onDrop(false);
  }
  #unmark(frame: number): void {
    this.#ram.releaseCode(frame, this.executor);
  }
  /** @param block that has been taken out of the records */
  #drop(block: Block): void {
    const { frame, from, kind, entry, entries } = block;
    this.#frames.get(frame)?.forget(block);
    if (kind === BlockKind.SPANNING || kind === BlockKind.REST) {
      const other = this.records.otherOf(block);
      if (this.records.take(other)) this.#drop(this.records.read(other));
    }
    if (kind === BlockKind.REST) return;
    if (kind === BlockKind.KNOWN) this.#forget(frame, from, entry);
    if (block.code !== 0) this.compiler?.drop(block);
    for (let i = 0; i < entries; i++) this.#halves[(entry + i * Entry.BYTES) >> 1] = PSEUDO.LOOK_UP_AGAIN;
  }
}
