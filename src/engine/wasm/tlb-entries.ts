/* TLB entries as words of the state memory: written, and their right to write taken. @source layout.ts, Tlb */
import {
  BANK_MODES,
  BANK_SET_BYTES,
  BANK_SETS,
  BankSet,
  FEW_ENTRIES,
  TLB_BANK_BYTES,
  TLB_ENTRY_BYTES,
  VCPU_BANK_SETS,
  VCPU_TLB,
} from "./layout.ts";

const TWO_32 = 0x1_0000_0000;

/** Takes the right to write to a frame unseen from a vCPU: its TLB entries for writing there. Called by an executor that is about to decode code of the frame, for its own vCPU or, while it is
 *  alone (world.ts), for any. @param words the state memory  @param area the vCPU's area in it  @param frameAddress byte offset in the frames memory */
export function protectFrame(words: Int32Array, area: number, frameAddress: number): void {
  for (let n = 0; n < BANK_SETS; n++) {
    const set = (area + VCPU_BANK_SETS + n * BANK_SET_BYTES) >> 2;
    const count = words[set + (BankSet.COUNT >> 2)];
    // while they are few, those that were filled are listed
    if (count <= FEW_ENTRIES) {
      const list = set + (BankSet.LIST >> 2);
      for (let i = list; i < list + count; i++) protectEntry(words, words[i] >> 2, frameAddress);
      continue;
    }
    const start = (area + VCPU_TLB + n * BANK_MODES * TLB_BANK_BYTES) >> 2;
    const end = start + ((BANK_MODES * TLB_BANK_BYTES) >> 2);
    for (let entry = start; entry < end; entry += TLB_ENTRY_BYTES >> 2) protectEntry(words, entry, frameAddress);
  }
}
function protectEntry(words: Int32Array, entry: number, frameAddress: number): void {
  if (words[entry + 2] & 1) return; // no write tag
  const low = (words[entry + 4] + words[entry + 2]) | 0; // low half of addend + page
  if (low !== (frameAddress | 0) || hostOf(words, entry) !== frameAddress) return;
  words[entry + 2] = -1;
  words[entry + 3] = -1;
}
/** Where an entry's writes go. */
function hostOf(words: Int32Array, entry: number): number {
  const low = (words[entry + 4] >>> 0) + (words[entry + 2] >>> 0);
  const high = (words[entry + 5] + words[entry + 3] + (low >= TWO_32 ? 1 : 0)) >>> 0;
  return high * TWO_32 + (low >>> 0);
}
/** @param entry index of its first word  @param page, high halves of the page's linear address  @param frame byte offset in the frames memory  @param ramHost index of Engine.RAM_HOST */
export function writeEntry(
  words: Int32Array,
  entry: number,
  page: number,
  high: number,
  frame: number,
  writable: boolean,
  ramHost: number,
): void {
  words.set([page, high, writable ? page : -1, writable ? high : -1], entry);
  const frameLow = frame % TWO_32;
  const pageLow = page >>> 0;
  words[entry + 4] = frameLow - pageLow;
  words[entry + 5] = Math.floor(frame / TWO_32) - high - (frameLow < pageLow ? 1 : 0);
  const hostLow = (words[entry + 4] >>> 0) + (words[ramHost] >>> 0);
  words[entry + 6] = hostLow;
  words[entry + 7] = words[entry + 5] + words[ramHost + 1] + (hostLow >= TWO_32 ? 1 : 0);
}
