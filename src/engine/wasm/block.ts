/* What is known of a decoded block, and of the blocks of a frame. */

export interface Block {
  /** Byte offset of its first instruction in the frames memory. */
  readonly key: number;
  readonly entry: number;
  readonly entries: number;
  /** Bytes [from, to) in its first page. */
  readonly from: number;
  readonly to: number;
  /** Where its native code is, as BlockCompiler says; 0: it is the interpreter's. */
  readonly code: number;
  /** BlockEnd. */
  readonly end: number;
  /** Where a relative jump or call goes, from the start of the page. */
  readonly target: number;
  /** [from, to) in its first page: bytes elsewhere that its native code depends on. */
  readonly aheadFrom: number;
  readonly aheadTo: number;
}
/** What a compiler has made of a block; as in Block. */
export type Compiled = Pick<Block, "code" | "to" | "aheadFrom" | "aheadTo">;
/** Makes native code of blocks. */
export interface BlockCompiler {
  /** There may be no room for another block: all of them have to go. */
  readonly isFull: boolean;
  /** @param page, from address in the frames memory of the page, and offset in it  @returns undefined: its first instruction is none, or the interpreter's */
  compile(page: number, from: number): Compiled | undefined;
  /** The same for a place of nextLikely(). @returns undefined also where it would have to be translated */
  compileLikely(page: number, from: number): Compiled | undefined;
  /** Where blocks of the page may begin that are at hand and likely to be met soon, after the one that was compiled. @returns offset in the page; −1: nowhere (else), and the
   *  next block may be of another page */
  nextLikely(): number;
  /** The same for one instruction that goes on in the next page. @param bytes of the instruction, as far as it may go  @returns Block.code */
  compileSpanning(bytes: Uint8Array, from: number): number;
  /** The block can be found from now on. @param known the page's blocks by offset */
  added(block: Block, known: KnownBlocks): void;
  /** Its bytes have changed, or will. */
  drop(block: Block): void;
  /** All blocks are gone. */
  clear(): void;
}
/** Blocks by offset in their page. */
export type KnownBlocks = ReadonlyMap<number, Block>;
export interface CodeFrame {
  /** Those that are found by their address. (One map for all frames has no place in the processor's caches.) */
  readonly known: Map<number, Block>;
  /** All that depend on it, the interpreter's and those that begin in the page before as well. */
  blocks: Block[];
  /** By byte of the frame, made when it is first written to: how many of the blocks depend on it. */
  reach: Uint16Array | undefined;
  /** Writes so far that hit no block. */
  quietWrites: number;
  /** Lines 0–31 and 32–63 that blocks are from. */
  low: number;
  high: number;
}
