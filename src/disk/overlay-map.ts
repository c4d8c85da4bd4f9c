/* OverlayMap: where each block of an overlay is, in shared memory, so that every thread that serves the disk sees the same; and which 4-KiB pages of it the file does not
 * have yet. Any thread. Two bits a block, sixteen blocks a word; changes are atomic, and those of one block come one after another (overlay.ts). */
import type { Block } from "./overlay-format.ts";
import { BLOCK_BYTES, MAP_OFFSET } from "./overlay-format.ts";

const BLOCKS_PER_WORD = 16;
const PAGE_BYTES = 4096;
const WORDS_PER_PAGE = PAGE_BYTES / 4;
/** All sixteen blocks of a word in one state: times the state. */
const EACH_BLOCK = 0x55555555;
/** A part of the file that is read at a time. */
const CHUNK_BYTES = 1 << 20;

export type BlockState = (typeof Block)[keyof typeof Block];

/** Plain data: survives structured clone. */
export interface SharedMap {
  readonly words: SharedArrayBuffer;
  /** A bit a page. */
  readonly dirty: SharedArrayBuffer;
}
/** A page as it was when it was taken. */
export interface MapPage {
  readonly index: number;
  readonly bytes: Uint8Array;
}

export class OverlayMap {
  readonly shared: SharedMap;
  readonly #words: Int32Array;
  readonly #dirty: Int32Array;

  constructor(shared: SharedMap) {
    this.shared = shared;
    this.#words = new Int32Array(shared.words);
    this.#dirty = new Int32Array(shared.dirty);
  }
  /** All blocks are the base's. */
  static create(sizeBytes: number): OverlayMap {
    const pages = Math.ceil(sizeBytes / BLOCK_BYTES / BLOCKS_PER_WORD / WORDS_PER_PAGE);
    return new OverlayMap({
      words: new SharedArrayBuffer(pages * PAGE_BYTES),
      dirty: new SharedArrayBuffer(Math.ceil(pages / 32) * 4),
    });
  }
  /** Fills a fresh map from a file. Entries that no writer makes count as damage. @returns false for those */
  async load(read: (offset: number, into: Uint8Array) => Promise<void>): Promise<boolean> {
    const bytes = new Uint8Array(this.shared.words);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, bytes.length - at));
      await read(MAP_OFFSET + at, chunk);
      const words = new Int32Array(chunk.buffer);
      for (let i = 0; i < words.length; i++) {
        const word = words[i]!;
        if (word === 0) continue; // memory that is not written costs nothing
        if ((word & (word >>> 1) & EACH_BLOCK) !== 0) return false;
        this.#words[at / 4 + i] = word;
      }
    }
    return true;
  }

  get(block: number): BlockState {
    return ((Atomics.load(this.#words, block >>> 4) >>> (2 * (block & 15))) & 3) as BlockState;
  }
  /** The first block from `first` on, before `end`, that is not in the state of `first`; `end` if there is none. */
  runEnd(first: number, end: number): number {
    const state = this.get(first);
    const full = (EACH_BLOCK * state) | 0;
    let block = first + 1;
    while (block < end) {
      if ((block & 15) === 0 && end - block >= BLOCKS_PER_WORD && Atomics.load(this.#words, block >>> 4) === full)
        block += BLOCKS_PER_WORD;
      else if (this.get(block) === state) block++;
      else return block;
    }
    return end;
  }
  /** Are blocks [first, end) all in this state? */
  isAll(first: number, end: number, state: BlockState): boolean {
    return this.get(first) === state && this.runEnd(first, end) === end;
  }
  /** Puts blocks [first, end) into a state. */
  set(first: number, end: number, state: BlockState): void {
    for (let block = first; block < end;) {
      const index = block >>> 4;
      const from = block & 15;
      const count = Math.min(BLOCKS_PER_WORD - from, end - block);
      const mask = (count === BLOCKS_PER_WORD ? -1 : (1 << (2 * count)) - 1) << (2 * from);
      if (this.#change(index, mask, EACH_BLOCK * state)) this.#markDirty(Math.floor(index / WORDS_PER_PAGE));
      block += count;
    }
  }
  #change(index: number, mask: number, full: number): boolean {
    for (;;) {
      const before = Atomics.load(this.#words, index);
      const after = (before & ~mask) | (full & mask);
      if (after === before) return false;
      if (Atomics.compareExchange(this.#words, index, before, after) === before) return true;
    }
  }
  #markDirty(page: number): void {
    Atomics.or(this.#dirty, page >>> 5, 1 << (page & 31));
  }

  /** Copies of the pages that changed since the last call; they count as clean now. */
  takeDirty(): MapPage[] {
    const pages: MapPage[] = [];
    for (let word = 0; word < this.#dirty.length; word++) {
      if (Atomics.load(this.#dirty, word) === 0) continue;
      const bits = Atomics.exchange(this.#dirty, word, 0);
      for (let bit = 0; bit < 32; bit++) {
        if ((bits & (1 << bit)) === 0) continue;
        const index = 32 * word + bit;
        pages.push({ index, bytes: new Uint8Array(this.shared.words, index * PAGE_BYTES, PAGE_BYTES).slice() });
      }
    }
    return pages;
  }
  /** They could not be written: they count as dirty again. */
  giveBack(pages: readonly MapPage[]): void {
    for (const { index } of pages) this.#markDirty(index);
  }
}

/** Where a page is in the file. */
export function pageOffset(page: MapPage): number {
  return MAP_OFFSET + page.index * PAGE_BYTES;
}
