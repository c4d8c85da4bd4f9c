/* Gives out the blocks of a file system that is being written, from its start on, and takes some back. Where copies of the superblock belong it leaves room.
 * Freed runs are given out again when a request fits into one whole: files of lower layers that upper ones replace then cost no bytes. */
import { BLOCK_BYTES, BLOCKS_PER_GROUP, type BlockRange, groupsFor, hasSuperblock } from "./geometry.ts";
import { Ext4Error } from "./ext4-error.ts";

/** How many runs of a size class that may be too small are looked at before a larger class is taken. */
const TRIES = 4;

export class BlockAllocator {
  /** Copies of the superblock and descriptors: this many blocks at the start of groups that have them. */
  readonly reservedBlocks: number;
  readonly #limitBlocks: number;
  readonly #free: BlockRange[][] = Array.from({ length: 33 }, () => []);
  #next = 0;
  /** Start of the next group that begins with a copy of the superblock, or the end. */
  #nextReserved = 0;
  #freeBlocks = 0;
  #gapBlocks = 0;

  /** @param limitBlocks no block from this one on is given out */
  constructor(limitBlocks: number, reservedBlocks: number) {
    this.#limitBlocks = limitBlocks;
    this.reservedBlocks = reservedBlocks;
    this.#skipReserved();
  }

  /** Blocks from this one on have never been given out. */
  get end(): number {
    return this.#next;
  }
  /** Given out and not freed. */
  get usedBlocks(): number {
    return this.#next - this.#freeBlocks - this.#gapBlocks;
  }
  /** What lies before `end` and is free. */
  freeRanges(): BlockRange[] {
    return this.#free.flat();
  }

  /** @returns as few runs as there can be, in order @throws Ext4Error "too-small" */
  allocate(count: number): BlockRange[] {
    if (count === 0) return [];
    const reused = this.#fromFree(count);
    return reused === undefined ? this.#fromEnd(count) : [reused];
  }

  /** One run that has never been given out before, so reads as zeros. @param count below a group's size without its reserved blocks */
  allocateFresh(count: number): BlockRange {
    const room = this.#roomBeforeReserved();
    if (room < count) {
      this.#check(room);
      this.free([{ start: this.#next, count: room }]);
      this.#next += room;
      this.#skipReserved();
    }
    return this.#fromEnd(count)[0]!;
  }

  free(ranges: readonly BlockRange[]): void {
    for (const range of ranges) {
      if (range.count === 0) continue;
      this.#free[sizeClass(range.count)]!.push(range);
      this.#freeBlocks += range.count;
    }
  }

  #fromFree(count: number): BlockRange | undefined {
    if (this.#freeBlocks < count) return undefined;
    const own = this.#free[sizeClass(count)]!;
    for (let at = own.length - 1; at >= Math.max(0, own.length - TRIES); at--)
      if (own[at]!.count >= count) return this.#split(own.splice(at, 1)[0]!, count);
    for (let larger = sizeClass(count) + 1; larger < this.#free.length; larger++) {
      const range = this.#free[larger]!.pop();
      if (range !== undefined) return this.#split(range, count);
    }
    return undefined;
  }

  #split(range: BlockRange, count: number): BlockRange {
    this.#freeBlocks -= range.count;
    this.free([{ start: range.start + count, count: range.count - count }]);
    return { start: range.start, count };
  }

  #fromEnd(count: number): BlockRange[] {
    this.#check(count);
    const ranges: BlockRange[] = [];
    let left = count;
    while (left > 0) {
      const here = Math.min(left, this.#roomBeforeReserved());
      this.#check(here);
      ranges.push({ start: this.#next, count: here });
      this.#next += here;
      left -= here;
      this.#skipReserved();
    }
    return ranges;
  }

  #check(count: number): void {
    if (this.#next + count > this.#limitBlocks)
      throw new Ext4Error(
        "too-small",
        `What is to be stored does not fit into ${Math.floor((this.#limitBlocks * BLOCK_BYTES) / 2 ** 20)} MiB: give a larger size.`,
      );
  }

  #roomBeforeReserved(): number {
    if (this.#nextReserved <= this.#next) {
      const last = groupsFor(this.#limitBlocks);
      let group = Math.floor(this.#next / BLOCKS_PER_GROUP) + 1;
      while (group < last && !hasSuperblock(group)) group++;
      this.#nextReserved = group * BLOCKS_PER_GROUP;
    }
    return this.#nextReserved - this.#next;
  }

  #skipReserved(): void {
    if (this.#next % BLOCKS_PER_GROUP !== 0 || !hasSuperblock(this.#next / BLOCKS_PER_GROUP)) return;
    this.#next += this.reservedBlocks;
    this.#gapBlocks += this.reservedBlocks;
  }
}

/** Runs of class n have at least 2^n blocks. */
const sizeClass = (count: number): number => Math.floor(Math.log2(count));
