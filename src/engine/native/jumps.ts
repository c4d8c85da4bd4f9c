/* Jumps of blocks to other blocks of their page: those of blocks that are new, and those that wait for code. */
import type { Assembler } from "./assembler.ts";

/** Jumps of one page. */
export class JumpList {
  /** Of each the offset of its displacement in the code, and the offset in the page that it is to go to. */
  words: Int32Array = new Int32Array(512);
  /** Words that are used. */
  length = 0;

  add(at: number, to: number): void {
    const { length } = this;
    if (length === this.words.length) this.words = longer(this.words);
    this.words[length] = at;
    this.words[length + 1] = to;
    this.length = length + 2;
  }
}
const longer = (words: Int32Array): Int32Array => {
  const copy = new Int32Array(2 * words.length);
  copy.set(words);
  return copy;
};

/** Lists of jumps, by line of 64 bytes that they go to: those of a page are next to each other, and lines that are a multiple of LISTS apart share one. */
const LISTS = 65536;
const LINE_SHIFT = 6;
/** Words of a jump; NEXT: index of the next one's, 0: none. */
const Field = { AT: 0, PAGE: 1, TO: 2, NEXT: 3 } as const;
const JUMP_WORDS = 4;

/** Jumps that wait for code. */
export class WaitingJumps {
  /** Index of the first one's words. */
  readonly #lists = new Int32Array(LISTS);
  #words: Int32Array = new Int32Array(JUMP_WORDS * 4096);
  #next = JUMP_WORDS;

  /** @param page number of the page  @param to offset in it  @param at as in JumpList */
  add(page: number, to: number, at: number): void {
    const jump = this.#next;
    if (jump === this.#words.length) this.#words = longer(this.#words);
    this.#next = jump + JUMP_WORDS;
    const list = listOf(page, to);
    const words = this.#words;
    words[jump + Field.AT] = at;
    words[jump + Field.PAGE] = page;
    words[jump + Field.TO] = to;
    words[jump + Field.NEXT] = this.#lists[list];
    this.#lists[list] = jump;
  }
  /** There is code for what they wait for. */
  bind(page: number, to: number, code: number, assembler: Assembler): void {
    const list = listOf(page, to);
    const words = this.#words;
    let last = 0;
    for (let jump = this.#lists[list]; jump !== 0; jump = words[jump + Field.NEXT]) {
      if (words[jump + Field.TO] !== to || words[jump + Field.PAGE] !== page) {
        last = jump;
        continue;
      }
      assembler.bind(words[jump + Field.AT], code);
      if (last === 0) this.#lists[list] = words[jump + Field.NEXT];
      else words[last + Field.NEXT] = words[jump + Field.NEXT];
    }
  }
  clear(): void {
    this.#lists.fill(0);
    this.#next = JUMP_WORDS;
  }
}
const listOf = (page: number, to: number): number => ((page << LINE_SHIFT) | (to >> LINE_SHIFT)) & (LISTS - 1);
