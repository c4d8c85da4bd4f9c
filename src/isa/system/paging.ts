/* The page walker: 4-level paging with 4-KiB, 2-MiB and 1-GiB pages. The engine's TLB-miss path, so it allocates nothing and uses 32-bit halves
 * instead of bigint. Leaves out: 5-level paging, protection keys, shadow stacks, memory types (PWT, PCD, PAT have no effect here).
 * Whether an address is canonical is the caller's question (#GP or #SS). @source SDM vol. 3A §4.5–4.8, §4.10.3.1
 *
 *   63  62…52    51…46     45…12            11…9  8  7   6  5  4    3    2    1    0
 *   XD  ignored  reserved  frame or table   ign.  G  PS  D  A  PCD  PWT  U/S  R/W  P
 */
import type { RegisterFile } from "../register-file.ts";
import { Reg } from "../registers.ts";

/** What is done at the address. The values are the #PF error-code bits. */
export const Access = { READ: 0, WRITE: 2, FETCH: 16 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/** #PF error code. @source SDM vol. 3A §4.7 */
export const PageFaultCode = { P: 1, W: 2, U: 4, RSVD: 8, I: 16 } as const;

/** Page-table entries in guest-physical memory, any thread. `gpa` is a multiple of 8. */
export interface PhysicalReader {
  /** Low half of the entry as a 32-bit integer of either sign; all ones outside RAM (the walk then faults with RSVD). */
  readLow(gpa: number): number;
  readHigh(gpa: number): number;
  /** Atomically replaces the low half if it still is `expected` (a value that readLow gave); tells whether it did. */
  compareExchangeLow(gpa: number, expected: number, replacement: number): boolean;
}

const P = 1,
  RW = 2,
  US = 4,
  A = 0x20,
  D = 0x40,
  PS = 0x80,
  G = 0x100;
const XD_HIGH = 0x8000_0000 | 0;
const RESERVED_HIGH = 0x000f_c000; // bits 51–46: beyond MAXPHYADDR
const FRAME_HIGH = 0x0000_3fff;
const RESERVED_1G = 0x3fff_e000; // bits 29–13 of a PDPTE that maps a page
const RESERVED_2M = 0x001f_e000; // bits 20–13 of a PDE that maps a page
const PAGE_1G = 0x4000_0000;
const PAGE_2M = 0x20_0000;
const PAGE_4K = 0x1000;

/** What the control registers say about paging, unpacked. One per vCPU; update() after CR0, CR3, CR4 or EFER changed. */
export class PagingMode {
  /** Guest-physical address of the PML4. */
  root = 0;
  nxe = false;
  wp = false;
  smep = false;
  smap = false;

  update(regs: RegisterFile): void {
    this.root = (regs.get32(Reg.CR3 + 4) & FRAME_HIGH) * 0x1_0000_0000 + ((regs.get32(Reg.CR3) & 0xffff_f000) >>> 0);
    this.nxe = (regs.get32(Reg.EFER) & 0x800) !== 0;
    this.wp = (regs.get32(Reg.CR0) & 0x1_0000) !== 0;
    const cr4 = regs.get32(Reg.CR4);
    this.smep = (cr4 & 0x10_0000) !== 0;
    this.smap = (cr4 & 0x20_0000) !== 0;
  }
}

/** Result of a walk, reused by its owner. After a success all but errorCode are valid; after a fault only errorCode. */
export class Translation {
  /** Guest-physical address of the byte asked for. */
  gpa = 0;
  pageSize = PAGE_4K;
  /** R/W, U/S and XD of all levels together. */
  writable = false;
  user = false;
  nx = false;
  global = false;
  /** D is set in memory: later writes need no walk. */
  dirty = false;
  errorCode = 0;
}

// Of the walk under way, by level (1–4): one walk at a time on a thread, and nothing in a walk calls out to another.
const entryAt = new Float64Array(5);
const entryLow = new Float64Array(5);
const NOT_PRESENT = 0;
const RESERVED = -1;

/** Follows the tables to the entry that maps the page. @returns its level (1–3), NOT_PRESENT or RESERVED */
function descend(memory: PhysicalReader, mode: PagingMode, vaHigh: number, vaLow: number, into: Translation): number {
  const reservedHigh = mode.nxe ? RESERVED_HIGH : RESERVED_HIGH | XD_HIGH;
  let table = mode.root;
  let allowed = RW | US;
  let xd = 0;
  for (let level = 4; ; level--) {
    const index =
      level === 4
        ? vaHigh >>> 7
        : level === 3
          ? (vaHigh << 2) | (vaLow >>> 30)
          : level === 2
            ? vaLow >>> 21
            : vaLow >>> 12;
    const at = table + (index & 511) * 8;
    let low = memory.readLow(at);
    let high = memory.readHigh(at);
    // Another processor may store 8 bytes between the two reads; a half of each would name a frame that was never mapped.
    for (let again = memory.readLow(at); again !== low; again = memory.readLow(at)) {
      low = again;
      high = memory.readHigh(at);
    }
    if ((low & P) === 0) return NOT_PRESENT;
    if ((high & reservedHigh) !== 0) return RESERVED;
    entryAt[level] = at;
    entryLow[level] = low;
    allowed &= low;
    xd |= high;
    if (level > 1 && (low & PS) === 0) {
      table = (high & FRAME_HIGH) * 0x1_0000_0000 + ((low & 0xffff_f000) >>> 0);
      continue;
    }
    if (level === 4 || (level === 3 && (low & RESERVED_1G) !== 0) || (level === 2 && (low & RESERVED_2M) !== 0))
      return RESERVED;
    const pageSize = level === 1 ? PAGE_4K : level === 2 ? PAGE_2M : PAGE_1G;
    into.pageSize = pageSize;
    into.gpa = (high & FRAME_HIGH) * 0x1_0000_0000 + ((low & -pageSize) >>> 0) + (vaLow & (pageSize - 1));
    into.writable = (allowed & RW) !== 0;
    into.user = (allowed & US) !== 0;
    into.nx = (xd & XD_HIGH) !== 0;
    into.global = (low & G) !== 0;
    into.dirty = (low & D) !== 0;
    return level;
  }
}

/** May this access use this translation? @param user CPL is 3  @param ac EFLAGS.AC; false for implicit supervisor accesses (descriptor tables, TSS) */
export function permits(t: Translation, mode: PagingMode, access: Access, user: boolean, ac: boolean): boolean {
  if (access === Access.FETCH) return !t.nx && (user ? t.user : !(mode.smep && t.user));
  if (user) return t.user && (access === Access.READ || t.writable);
  if (t.user && mode.smap && !ac) return false;
  return access === Access.READ || t.writable || !mode.wp;
}

/** Sets A in every entry used and D in the last for a write. @returns false if another processor changed one: walk again */
function markUsed(memory: PhysicalReader, leaf: number, write: boolean): boolean {
  for (let level = 4; level >= leaf; level--) {
    const low = entryLow[level]!;
    const wanted = level === leaf && write ? A | D : A;
    if ((low & wanted) !== wanted && !memory.compareExchangeLow(entryAt[level]!, low, low | wanted)) return false;
  }
  return true;
}

/** Translates one canonical address; sets accessed and dirty bits. Never blocks, allocates nothing.
 *  @param vaHigh @param vaLow halves of the linear address, 32-bit integers of either sign
 *  @param user the access is a user access (CPL 3 and not implicit)  @param ac see permits
 *  @returns true: `into` holds the translation; false: #PF with into.errorCode  @source SDM vol. 3A §4.5, §4.6, §4.7, §4.8 */
export function walk(
  memory: PhysicalReader,
  mode: PagingMode,
  vaHigh: number,
  vaLow: number,
  access: Access,
  user: boolean,
  ac: boolean,
  into: Translation,
): boolean {
  for (;;) {
    const leaf = descend(memory, mode, vaHigh, vaLow, into);
    if (leaf > 0) {
      if (permits(into, mode, access, user, ac)) {
        if (!markUsed(memory, leaf, access === Access.WRITE)) continue;
        if (access === Access.WRITE) into.dirty = true;
        return true;
      }
    }
    // The I bit says "fetch" only where something can forbid fetches.
    const kind = access === Access.FETCH && !mode.nxe && !mode.smep ? 0 : access;
    into.errorCode =
      kind |
      (user ? PageFaultCode.U : 0) |
      (leaf === NOT_PRESENT ? 0 : PageFaultCode.P) |
      (leaf === RESERVED ? PageFaultCode.RSVD : 0);
    return false;
  }
}
