/* Native code of one executor: which blocks have it, and what becomes of it when the guest's code changes. Called on the executor's thread, never while native code runs.
 *
 * A block that has native code has the number REGION_HANDLERS as handler in its first decoded entry, and the host address in it: whatever finds the block finds that.
 * Jumps inside a page go from code to code; all others look the place up as the interpreter does. A block whose code has changed begins with a look-up.
 * When there is no room, everything goes. @source docs/native.md */
import type { GuestRam } from "../../memory/guest-ram.ts";
import { BlockEnd } from "../wasm/block-end.ts";
import type { Block } from "../wasm/block.ts";
import type { BlockCache } from "../wasm/blocks.ts";
import type { HotCode, HotCodeCounts } from "../wasm/hot-code.ts";
import {
  Entry,
  JUMP_CACHE_ENTRIES,
  MAX_VCPUS,
  REGION_HANDLERS,
  VCPU_AREA,
  VCPU_BYTES,
  VCPU_JUMP_CODE,
} from "../wasm/layout.ts";
import { RegionEntry } from "../wasm/translator/region-entry.ts";
import type { RegionLimits } from "../wasm/translator/regions.ts";
import type { WasmVcpu } from "../wasm/vcpu.ts";
import { Assembler } from "./assembler.ts";
import { BlockTranslator } from "./block-translator.ts";
import { entryModule } from "./entry-function.ts";
import { Context, FILE_BIAS } from "./layout.ts";
import { isSupported } from "./supported.ts";
import { type HostAddresses, writeRoutines } from "./routines.ts";

const PAGE = 4096;
/** Room for the longest block. */
const MOST_BLOCK_BYTES = 64 * 1024;
/** Blocks that are translated together with one that is hot. */
const MOST_TOGETHER = 24;

/** Memory for machine code, and how it is called: what only the host can give. */
export interface NativeHost extends HostAddresses {
  /** Executable. */
  readonly code: Uint8Array;
  readonly codeAddress: bigint;
  /** A Context, and its host address, below 2 GiB. */
  readonly context: BigUint64Array;
  readonly contextAddress: number;
  /** Calls the function whose host address stands at `context`, with that as argument. */
  readonly call: (context: number) => number;
  /** From now on its memories are meant where several machines run on one thread. */
  select(): void;
  /** Gives the memory back. Nothing of it may be used after this. */
  release(): void;
}

/** Engines that nobody disposed of: those of tests. */
const unused = new FinalizationRegistry<() => void>((release) => release());

interface Place {
  readonly block: Pick<Block, "key" | "entry" | "from" | "to">;
  /** Frames that its code is from. */
  readonly frames: readonly number[];
  /** Offset in the code. */
  readonly start: number;
  /** The block's first entry, as it was. */
  readonly saved: Int32Array;
}

export class NativeCode implements HotCode {
  readonly #blocks: BlockCache;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;
  readonly #assembler: Assembler;
  readonly #translator: BlockTranslator;
  readonly #limits: RegionLimits;
  readonly #host: NativeHost;
  /** Offset of the code behind the routines. */
  readonly #begin: number;
  /** … and of where the cold half begins. */
  readonly #coldBegin: number;
  readonly #seen = new Map<number, number>();
  /** By address in the frames memory. */
  readonly #places = new Map<number, Place>();
  readonly #byFrame = new Map<number, Set<Place>>();
  /** Displacements of jumps to an address that has no code. */
  readonly #links = new Map<number, number[]>();
  readonly counts: HotCodeCounts = { regions: 0, instructions: 0, bytes: 0, dropped: 0, evicted: 0, declined: 0 };

  /** @param resolve gives core functions and host functions by name */
  constructor(
    host: NativeHost,
    blocks: BlockCache,
    state: WebAssembly.Memory,
    ram: GuestRam,
    table: WebAssembly.Table,
    resolve: (name: string) => unknown,
    limits: RegionLimits,
  ) {
    this.#host = host;
    this.#blocks = blocks;
    this.#words = new Int32Array(state.buffer);
    this.#halves = new Uint16Array(state.buffer);
    this.#bytes = ram.pool.bytes;
    this.#limits = limits;
    this.#assembler = new Assembler(host.code);
    // an offset of 0 is none
    this.#assembler.at = 16;
    const routines = writeRoutines(this.#assembler, host);
    this.#begin = this.#assembler.at;
    this.#host.context[Context.ENTER / 8] = host.codeAddress + BigInt(routines.enter);
    this.#host.context[Context.CODE / 8] = host.codeAddress;
    unused.register(this, () => host.release(), this);
    this.#translator = new BlockTranslator(this.#assembler, routines);
    this.#coldBegin = host.code.length >> 1;
    this.#translator.cold = this.#coldBegin;
    const names = ["refill", "interpret", "landed"];
    const functions = Object.fromEntries(names.map((name) => [name, resolve(name)]));
    const { exports } = new WebAssembly.Instance(
      new WebAssembly.Module(entryModule(ram.pool.pages, host.contextAddress)),
      {
        host: { ...functions, call: host.call },
        mere: { state, ram: ram.pool.shared.memory },
      },
    );
    table.set(REGION_HANDLERS, exports["native"]);
    blocks.onlyInterpreted = (d) => !isSupported(d);
    blocks.onChange = (frame, from, to) => this.#changed(frame, from, to);
    blocks.onClear = () => this.#clear();
  }

  dispose(): void {
    unused.unregister(this);
    this.#host.release();
  }
  select(vcpu: number): void {
    this.#host.select();
    this.#host.context[Context.FILE / 8] = this.#host.stateAddress + BigInt(vcpu + FILE_BIAS);
  }
  get translatesAll(): boolean {
    return this.#limits.threshold === 0;
  }
  isRegion(entry: number): boolean {
    return this.#halves[entry >> 1] === REGION_HANDLERS;
  }
  notePlain(address: number, entry: number): void {
    const place = this.#places.get(address);
    if (place !== undefined) this.#words[(place.block.entry + RegionEntry.PLAIN) >> 2] = entry;
  }
  outgrown(): void {}
  noteCrossing(): void {}
  validate(): number {
    return 0;
  }
  install(): void {}

  see(_vcpu: WasmVcpu, address: number, weight = 1): boolean {
    const { threshold, memory } = this.#limits;
    if (threshold === Infinity || this.#places.has(address)) return true;
    const times = (this.#seen.get(address) ?? 0) + weight;
    if (times < threshold) {
      if (this.#seen.size > memory) this.#seen.clear();
      this.#seen.set(address, times);
      return false;
    }
    this.#seen.delete(address);
    this.#translateFrom(address);
    return false;
  }
  /** Translates a block and what is known of the code that it goes on to in its page. */
  #translateFrom(address: number): void {
    const a = this.#assembler;
    const page = address - (address % PAGE);
    const queue = [address];
    const met = new Set(queue);
    for (let i = 0; i < queue.length && i < MOST_TOGETHER; i++) {
      const block = this.#blocks.blockAt(queue[i]);
      if (block === undefined) {
        this.#translateSpanning(queue[i]);
        continue;
      }
      if (a.at + MOST_BLOCK_BYTES > this.#coldBegin || this.#translator.cold + MOST_BLOCK_BYTES > a.bytes.length) {
        if (i > 0) return;
        this.counts.evicted += this.#places.size;
        this.#clear();
      }
      if (!this.#places.has(queue[i])) this.#translate(block, page);
      const next = (offset: number): void => {
        if (offset < 0 || offset >= PAGE || met.has(page + offset)) return;
        met.add(page + offset);
        queue.push(page + offset);
      };
      if (block.end !== BlockEnd.JUMP && block.end !== BlockEnd.INDIRECT_JUMP) next(block.to);
      if (block.end === BlockEnd.JUMP || block.end === BlockEnd.BRANCH || block.end === BlockEnd.CALL)
        next(block.target);
    }
  }
  /** An instruction that begins on one page and ends on the next. Its block is found only where those pages follow each other. */
  #translateSpanning(address: number): void {
    const block = this.#blocks.spanningAt(address);
    if (block === undefined || this.isRegion(block.entry)) return;
    const page = new Uint8Array(2 * PAGE);
    const { from, length, second } = block;
    const here = PAGE - from;
    page.set(this.#bytes.subarray(address, address + here), from);
    page.set(this.#bytes.subarray(second, second + length - here), PAGE);
    if (!this.#translator.isSupportedAt(page, from)) return;
    const { start, sites } = this.#translator.translate(page, 0, from, from + length);
    void sites; // all lead to other pages, or to themselves in a page that may be another's
    const old = this.#places.get(address);
    if (old !== undefined) this.#drop(old);
    this.#place({ ...block, to: PAGE }, start, [address - from, second]);
  }
  #place(block: Pick<Block, "key" | "entry" | "from" | "to">, start: number, pages: readonly number[]): void {
    const place: Place = {
      block,
      start,
      saved: new Int32Array(Entry.BYTES / 4),
      frames: pages.map((page) => page / PAGE),
    };
    const word = block.entry >> 2;
    place.saved.set(this.#words.subarray(word, word + Entry.BYTES / 4));
    this.#places.set(block.key, place);
    for (const frame of place.frames) {
      const list = this.#byFrame.get(frame);
      if (list) list.add(place);
      else this.#byFrame.set(frame, new Set([place]));
    }
    this.#halves[block.entry >> 1] = REGION_HANDLERS;
    this.#words[(block.entry + RegionEntry.LABEL) >> 2] = start;
    this.#words[(block.entry + RegionEntry.PLAIN) >> 2] = 0;
  }
  #translate(block: Block, page: number): void {
    const a = this.#assembler;
    if (block.interpreted) return;
    const before = a.at;
    const { start, sites } = this.#translator.translate(this.#bytes, page, block.from, block.to);
    this.#place(block, start, [page]);
    for (const { at, target } of sites) this.#link(at, page + target);
    const waiting = this.#links.get(block.key);
    if (waiting !== undefined) {
      for (const at of waiting) a.bind(at, start);
      this.#links.delete(block.key);
    }
    this.counts.regions++;
    this.counts.instructions += block.entries;
    this.counts.bytes += a.at - before;
  }

  /** A jump goes to an address, now or when there is code. @param at offset of its displacement */
  #link(at: number, to: number): void {
    const known = this.#places.get(to);
    if (known !== undefined) return this.#assembler.bind(at, known.start);
    const waiting = this.#links.get(to);
    if (waiting !== undefined) waiting.push(at);
    else this.#links.set(to, [at]);
  }

  #changed(frame: number, from: number, to: number): void {
    for (const place of this.#byFrame.get(frame) ?? [])
      if (place.frames.length > 1 || (place.block.from < to && place.block.to > from)) this.#drop(place);
  }
  #drop(place: Place): void {
    const { block, start } = place;
    this.#restore(place);
    this.#places.delete(block.key);
    for (const frame of place.frames) this.#byFrame.get(frame)?.delete(place);
    this.#link(this.#translator.writeGone(start, block.from), block.key);
    this.counts.dropped++;
  }
  #restore({ block: { entry }, saved }: Place): void {
    if (this.#halves[entry >> 1] === REGION_HANDLERS) this.#words.set(saved, entry >> 2);
  }
  #clear(): void {
    for (const place of this.#places.values()) this.#restore(place);
    this.counts.dropped += this.#places.size;
    this.#places.clear();
    this.#byFrame.clear();
    this.#links.clear();
    this.#seen.clear();
    this.#assembler.at = this.#begin;
    this.#translator.cold = this.#coldBegin;
    for (let n = 0; n < MAX_VCPUS; n++) {
      const word = (VCPU_AREA + n * VCPU_BYTES + VCPU_JUMP_CODE) >> 2;
      this.#words.fill(0, word, word + JUMP_CACHE_ENTRIES);
    }
  }

  at(address: number): ReturnType<HotCode["at"]> {
    const place = this.#places.get(address);
    if (place === undefined) return undefined;
    const { block } = place;
    return {
      runs: [{ frame: Math.floor(address / PAGE), from: block.from, to: block.to }],
      places: [address],
      seed: address,
    };
  }
  /** For tests: native code of this one instruction. @returns its entry, 0 if it is the interpreter's */
  single(bytes: Uint8Array, offset: number): number {
    if (offset + bytes.length > PAGE) return 0;
    const page = new Uint8Array(PAGE);
    page.set(bytes, offset);
    if (!this.#translator.isSupportedAt(page, offset)) return 0;
    this.#assembler.at = this.#begin;
    this.#translator.cold = this.#coldBegin;
    const { start } = this.#translator.translate(page, 0, offset, offset + bytes.length);
    const entry = this.#blocks.singleRegion(REGION_HANDLERS, offset, bytes.length);
    this.#words[(entry + RegionEntry.LABEL) >> 2] = start;
    return entry;
  }
}
