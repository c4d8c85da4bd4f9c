/* Which regions of 2 MiB and 1 GiB may have TLB entries that large pages filled, of one bank set: INVLPG anywhere in such a page drops all of its entries.
 * Generated code notes them too (walk.ts). On the thread that runs the vCPU. @source SDM vol. 3A §4.10.4.1 */
import { BANK_SET_BYTES, BankSet, LARGE_HALF } from "./layout.ts";

const PAGE_2M = 0x20_0000;

/** Bit of a large region in its bitmap. */
const bitOf = (low: number, high: number, shift: number): number =>
  (((low >>> shift) | (high << (32 - shift))) & (LARGE_HALF - 1)) | (high < 0 ? LARGE_HALF : 0);

/** An entry was filled from a large page. @param words of the state memory  @param set byte offset of the bank set */
export function noteLargePage(words: Int32Array, set: number, low: number, high: number, pageSize: number): void {
  const is2M = pageSize === PAGE_2M;
  const bit = bitOf(low, high, is2M ? 21 : 30);
  words[(set + BankSet.HAS_LARGE) >> 2] = 1;
  words[((set + (is2M ? BankSet.LARGE_2M : BankSet.LARGE_1G)) >> 2) + (bit >> 5)]! |= 1 << (bit & 31);
}
/** May the address lie in a large page that entries were filled from? */
export function mayBeLargePage(words: Int32Array, set: number, low: number, high: number): boolean {
  if (words[(set + BankSet.HAS_LARGE) >> 2] === 0) return false;
  const isNoted = (bitmap: number, bit: number): boolean =>
    (words[((set + bitmap) >> 2) + (bit >> 5)]! & (1 << (bit & 31))) !== 0;
  return isNoted(BankSet.LARGE_2M, bitOf(low, high, 21)) || isNoted(BankSet.LARGE_1G, bitOf(low, high, 30));
}
/** The set has no entries any more. */
export function forgetLargePages(words: Int32Array, set: number): void {
  if (words[(set + BankSet.HAS_LARGE) >> 2] === 0) return;
  words[(set + BankSet.HAS_LARGE) >> 2] = 0;
  words.fill(0, (set + BankSet.LARGE_2M) >> 2, (set + BANK_SET_BYTES) >> 2);
}
