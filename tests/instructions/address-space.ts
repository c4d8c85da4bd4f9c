/* The linear address space of an instruction case: the same in every runner, so that a case means the same on the
 * processor, in the oracle and in an engine. High enough to be free in a Node process, low enough for a disp32.
 *
 *   0x6000_0000  2 pages  DATA: readable and writable, user; what lies on either side is not mapped
 *   0x6000_4000  1 page   READ_ONLY: readable, user
 *   0x6001_0000  1 page   CODE: filled with INT3; the instruction under test starts at CODE_START
 *   0x6002_0000  2 pages  HARNESS: the native harness's block and trampoline (tests/native); no case touches it
 */
import { Random } from "./random.ts";

export const PAGE = 4096;
export const DATA = 0x6000_0000;
export const DATA_SIZE = 2 * PAGE;
export const READ_ONLY = 0x6000_4000;
export const CODE = 0x6001_0000;
/** In the middle of its page: relative jumps reach both sides. */
export const CODE_START = CODE + 0x800;
export const HARNESS = 0x6002_0000;

const WORDS = [
  0n,
  1n,
  0xffff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_8000_0000n,
  0x0001_0000_0000_0001n,
  0x3ff0_0000_0000_0000n,
  0x3f80_0000_3f80_0000n,
  0x7ff8_0000_0000_0000n,
  0x7fc0_0000_ff80_0000n,
  0x0000_0001_8000_0001n,
];

function pattern(size: number, seed: number): Uint8Array {
  const random = new Random(seed);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < size; at += 8)
    view.setBigUint64(at, random.below(3) === 0 ? random.pick(WORDS) : random.u64(), true);
  return bytes;
}

/** What DATA holds before a case's own patches. */
export const DATA_PATTERN: Uint8Array = pattern(DATA_SIZE, 0xda7a);
/** What READ_ONLY holds, always. */
export const READ_ONLY_PATTERN: Uint8Array = pattern(PAGE, 0x5ead);
