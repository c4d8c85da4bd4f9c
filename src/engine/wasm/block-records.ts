/* What is known of the blocks of one executor: records of eight words in the state memory, in the order in which the blocks were made, and lists of them by place. A list has the blocks that
 * begin in one line of 64 bytes of a frame, and those of lines that are a multiple of BLOCK_LISTS away; the lists of a frame are next to each other. So whoever looks for blocks of one page
 * touches little memory, and a boot, which makes 44,000 blocks, leaves no objects for the garbage collector to copy.
 * A record is named by the index of its first word; 0 is none. Its room comes back when all records go. @source docs/native.md "Kept code" */
import type { Block } from "./block.ts";
import { BlockEnd } from "./block-end.ts";
import { BLOCK_LISTS, BLOCK_RECORD_BYTES, blockListsOf, blockRecordsOf } from "./layout.ts";

const PAGE = 4096;
/** Lines have 64 bytes, and pages 64 lines. */
const LINE_SHIFT = 6;

/** Words of a record. PLACE: where it begins in its frame, its kind from bit 12 and where it ends from bit 16 on. AHEAD: from and to, 16 bits each. ENDING: entries, and BlockEnd from bit 8 on. TARGET: from its end. */
const Field = { FRAME: 0, PLACE: 1, AHEAD: 2, ENTRY: 3, CODE: 4, NEXT: 5, ENDING: 6, TARGET: 7 } as const;
const RECORD_WORDS = BLOCK_RECORD_BYTES / 4;
const [KIND_SHIFT, HIGH_SHIFT, END_SHIFT] = [12, 16, 8];
const FROM = PAGE - 1;
const LOW_HALF = 0xffff;
const FROM_AND_KIND = (1 << 14) - 1;

export const BlockKind = {
  /** It is found by its address. */
  KNOWN: 0,
  /** The interpreter's at a place where a region or native code begins. */
  PLAIN: 1,
  /** Of one instruction that goes on in the next page: good with the frame of that only. */
  SPANNING: 2,
  /** What of that lies there. Its record comes next. */
  REST: 3,
} as const;

export class BlockRecords {
  readonly #words: Int32Array;
  /** Word indices. */
  readonly #lists: number;
  readonly #first: number;
  readonly #end: number;
  #next: number;

  /** @param words of the state memory */
  constructor(words: Int32Array, executor: number) {
    this.#words = words;
    this.#lists = blockListsOf(executor) >> 2;
    const { start, end } = blockRecordsOf(executor);
    this.#first = this.#next = start >> 2;
    this.#end = end >> 2;
  }

  /** Is there room for one that spans two pages? */
  get isFull(): boolean {
    return this.#next + 2 * RECORD_WORDS > this.#end;
  }
  clear(): void {
    this.#words.fill(0, this.#lists, this.#lists + BLOCK_LISTS);
    this.#next = this.#first;
  }

  /** Word index of a list's first record. */
  #listOf(frame: number, from: number): number {
    return this.#lists + (((frame << LINE_SHIFT) | (from >> LINE_SHIFT)) & (BLOCK_LISTS - 1));
  }
  /** @param frame its number  @param kind BlockKind  @returns the block that begins there, the latest one  */
  at(frame: number, from: number, kind: number): number {
    const words = this.#words;
    const place = from | (kind << KIND_SHIFT);
    let block = words[this.#listOf(frame, from)];
    while (
      block !== 0 &&
      ((words[block + Field.PLACE] & FROM_AND_KIND) !== place || words[block + Field.FRAME] !== frame)
    )
      block = words[block + Field.NEXT];
    return block;
  }
  entryOf(block: number): number {
    return this.#words[block + Field.ENTRY];
  }
  /** As in Block. */
  codeOf(block: number): number {
    return this.#words[block + Field.CODE];
  }
  /** Where one that spans two pages goes on. */
  secondFrameOf(block: number): number {
    return this.#words[block + RECORD_WORDS + Field.FRAME];
  }
  #kindOf(block: number): number {
    return (this.#words[block + Field.PLACE] & FROM_AND_KIND) >> KIND_SHIFT;
  }
  #toOf(block: number): number {
    return this.#words[block + Field.PLACE] >> HIGH_SHIFT;
  }
  read(block: number): Block {
    const words = this.#words;
    const [place, ahead] = [words[block + Field.PLACE], words[block + Field.AHEAD]];
    const ending = words[block + Field.ENDING];
    return {
      record: block,
      frame: words[block + Field.FRAME],
      from: place & FROM,
      kind: this.#kindOf(block),
      to: this.#toOf(block),
      aheadFrom: ahead & LOW_HALF,
      aheadTo: ahead >> HIGH_SHIFT,
      entry: words[block + Field.ENTRY],
      entries: ending & ((1 << END_SHIFT) - 1),
      end: ending >> END_SHIFT,
      code: words[block + Field.CODE],
      target: this.#toOf(block) + words[block + Field.TARGET],
    };
  }

  /** A block of one entry, if nothing else is said. @param kind BlockKind, all others as in Block */
  add(
    frame: number,
    from: number,
    kind: number,
    to: number,
    aheadFrom: number,
    aheadTo: number,
    entry: number,
    code: number,
  ): number {
    const words = this.#words;
    const block = this.#next;
    this.#next = block + RECORD_WORDS;
    const list = this.#listOf(frame, from);
    words[block + Field.FRAME] = frame;
    words[block + Field.PLACE] = from | (kind << KIND_SHIFT) | (to << HIGH_SHIFT);
    words[block + Field.AHEAD] = aheadFrom | (aheadTo << HIGH_SHIFT);
    words[block + Field.ENTRY] = entry;
    words[block + Field.CODE] = code;
    words[block + Field.NEXT] = words[list];
    words[block + Field.ENDING] = 1 | (BlockEnd.OTHER << END_SHIFT);
    words[block + Field.TARGET] = 0;
    words[list] = block;
    return block;
  }
  /** As in Block. */
  setEnding(block: number, entries: number, end: number, target: number): void {
    this.#words[block + Field.ENDING] = entries | (end << END_SHIFT);
    this.#words[block + Field.TARGET] = target - this.#toOf(block);
  }

  /** All that depend on bytes of the frame. */
  of(frame: number): Block[] {
    const all: Block[] = [];
    this.#forEach(frame, (block) => all.push(this.read(block)));
    return all;
  }
  #forEach(frame: number, visit: (block: number) => void): void {
    const words = this.#words;
    for (let line = 0; line < PAGE; line += 1 << LINE_SHIFT) {
      for (let block = words[this.#listOf(frame, line)]; block !== 0; block = words[block + Field.NEXT])
        if (words[block + Field.FRAME] === frame) visit(block);
    }
  }
  /** The block of the frame whose native code has this offset, if it is there still. */
  withCode(frame: number, code: number): number {
    let [owner, start] = [0, 0];
    this.#forEach(frame, (block) => {
      const each = this.#kindOf(block) === BlockKind.KNOWN ? this.codeOf(block) : 0;
      if (each > code || each <= start) return;
      [owner, start] = [block, each];
    });
    return owner;
  }
  /** Takes those away that depend on bytes [from, to) of the frame. */
  takeDependent(frame: number, from: number, to: number): Block[] {
    const dependent: number[] = [];
    this.#forEach(frame, (block) => {
      if (this.#dependsOn(block, from, to)) dependent.push(block);
    });
    for (const block of dependent) this.take(block);
    return dependent.map((block) => this.read(block));
  }
  #dependsOn(block: number, from: number, to: number): boolean {
    const place = this.#words[block + Field.PLACE];
    if ((place & FROM) < to && place >> HIGH_SHIFT > from) return true;
    const ahead = this.#words[block + Field.AHEAD];
    return (ahead & LOW_HALF) < to && ahead >> HIGH_SHIFT > from;
  }
  /** From now on it is found no more. @returns was it until now? */
  take(block: number): boolean {
    const words = this.#words;
    let link = this.#listOf(words[block + Field.FRAME], words[block + Field.PLACE] & FROM);
    while (words[link] !== block) {
      if (words[link] === 0) return false;
      link = words[link] + Field.NEXT;
    }
    words[link] = words[block + Field.NEXT];
    return true;
  }
  /** The other record of a block that spans two pages. */
  otherOf({ record, kind }: Block): number {
    return kind === BlockKind.SPANNING ? record + RECORD_WORDS : record - RECORD_WORDS;
  }
}
