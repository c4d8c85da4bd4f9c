/* What is known of a decoded block, and of the blocks of a frame. */

export interface Block {
  /** Byte offset of its first instruction in the frames memory. */
  readonly key: number;
  readonly entry: number;
  readonly entries: number;
  /** Bytes [from, to) in its first page. */
  readonly from: number;
  readonly to: number;
  /** It is one instruction for which `onlyInterpreted` holds, or ends in what is none. */
  readonly interpreted: boolean;
  /** BlockEnd. */
  readonly end: number;
  /** Where a relative jump or call goes, from the start of the page. */
  readonly target: number;
}
export interface CodeFrame {
  blocks: Block[];
  /** Writes so far that hit no block. */
  quietWrites: number;
  /** Lines 0–31 and 32–63 that blocks are from. */
  low: number;
  high: number;
}
