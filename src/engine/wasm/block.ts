/* What is known of a decoded block (block-records.ts), and who makes native code of it. */

export interface Block {
  /** Index of its record. */
  readonly record: number;
  /** Number of its page in the frames memory. */
  readonly frame: number;
  /** Bytes [from, to) in that page. */
  readonly from: number;
  readonly to: number;
  /** BlockKind. */
  readonly kind: number;
  readonly entry: number;
  readonly entries: number;
  /** Where its native code is, as BlockCompiler says; 0: it is the interpreter's. */
  readonly code: number;
  /** BlockEnd. */
  readonly end: number;
  /** Where a relative jump or call goes, from the start of the page. */
  readonly target: number;
  /** [from, to) in its page: bytes elsewhere that its native code depends on. */
  readonly aheadFrom: number;
  readonly aheadTo: number;
}
/** What a compiler has made of a block; as in Block. */
export type Compiled = Pick<Block, "code" | "to" | "aheadFrom" | "aheadTo">;
/** Makes native code of blocks. */
export interface BlockCompiler {
  /** There may be no room for another block: all of them have to go. */
  readonly isFull: boolean;
  /** Jumps to the block may lead to its code from now on. @param page, from address in the frames memory of the page, and offset in it  @returns undefined: its first instruction is none, or the interpreter's */
  compile(page: number, from: number): Compiled | undefined;
  /** The same for a place of nextLikely(). @returns undefined also where it would have to be translated */
  compileLikely(page: number, from: number): Compiled | undefined;
  /** Where blocks of the page may begin that are at hand and likely to be met soon, after the one that was compiled. @returns offset in the page; −1: nowhere (else), and the
   *  next block may be of another page */
  nextLikely(): number;
  /** The same for one instruction that goes on in the next page. @param bytes of the instruction, as far as it may go  @returns Block.code */
  compileSpanning(bytes: Uint8Array, from: number): number;
  /** Its bytes have changed, or will; it is found no more. */
  drop(block: Block): void;
  /** All blocks are gone. */
  clear(): void;
}
