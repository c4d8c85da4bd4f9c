/* What an executor knows of a frame that it has code of. */
import type { Block } from "./block.ts";

const PAGE = 4096;
const LINE_SHIFT = 6;

export class CodeFrame {
  /** How many depend on it, the interpreter's and those that begin in the page before as well. */
  blocks = 0;
  /** Writes so far that hit no block. */
  quietWrites = 0;
  /** Lines 0–31 and 32–63 that blocks are from. */
  low = 0;
  high = 0;
  /** By byte of the frame, made when it is first written to: how many of the blocks depend on it. */
  #reach: Uint16Array | undefined;

  /** A block came that depends on these bytes; as in Block. */
  note(from: number, to: number, aheadFrom: number, aheadTo: number): void {
    this.blocks++;
    this.#mark(from, to);
    if (aheadTo > 0) this.#mark(aheadFrom, aheadTo);
    if (this.#reach === undefined) return;
    count(this.#reach, from, to, 1);
    count(this.#reach, aheadFrom, aheadTo, 1);
  }
  /** It went. */
  forget({ from, to, aheadFrom, aheadTo }: Block): void {
    this.blocks--;
    if (this.#reach === undefined) return;
    count(this.#reach, from, to, -1);
    count(this.#reach, aheadFrom, aheadTo, -1);
  }
  #mark(from: number, to: number): void {
    for (let line = from >> LINE_SHIFT; line <= (to - 1) >> LINE_SHIFT; line++) {
      if (line < 32) this.low |= 1 << line;
      else this.high |= 1 << (line - 32);
    }
  }
  /** Does code of a block depend on bytes in [from, to)? Kernels patch their code in thousands of places. @param blocks all that there are */
  isReached(from: number, to: number, blocks: () => readonly Block[]): boolean {
    if (this.#reach === undefined) {
      this.#reach = new Uint16Array(PAGE);
      for (const block of blocks()) {
        count(this.#reach, block.from, block.to, 1);
        count(this.#reach, block.aheadFrom, block.aheadTo, 1);
      }
    }
    const reach = this.#reach;
    for (let at = from; at < to; at++) if (reach[at] !== 0) return true;
    return false;
  }
}
function count(reach: Uint16Array, from: number, to: number, change: 1 | -1): void {
  for (let at = from; at < to; at++) reach[at]! += change;
}
