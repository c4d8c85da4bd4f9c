/* Where the code of a region and those who install it meet: the decoded entry of a place where it is entered, and its record. Both are in the state memory.
 * @source docs/translator.md "Entering and leaving" */
import { Entry } from "../layout.ts";

/** Region entry in the arena, fields of Entry that mean something else there: BASE is the distance in bytes from PAGE_VA to the base page; PLAIN the interpreter's
 *  block for the place, 0 while there is none. */
export const RegionEntry = {
  BASE: Entry.DISP,
  LABEL: Entry.IMM,
  RECORD: Entry.IMM + 4,
  PLAIN: Entry.CHAIN_TAKEN,
} as const;
/** What an executor keeps of a region: the mapping for which its pages are known to be the right ones; i32, below 0, how often it may still be left where it might go on. */
export const RegionRecord = { TAG: 0, EXITS: 4, BASE: 8 } as const;
