/* Where things are in the state memory (memory 0, 32-bit, shared) and in its parts. The emitters fold these offsets into code.
 *
 *   0x0000_0000  64 KiB   words of the executors (World); address 0 means "none"
 *   0x0001_0000  vCPU areas, VCPU_BYTES each, MAX_VCPUS of them
 *   for each executor, EXECUTOR_BYTES:
 *     block table: known blocks, 16 bytes each by hash of their address in the frames memory: 0 i64 that address (0: none) · 8 i32 first decoded entry
 *     records of translated regions: 0 i32 tag as in the jump cache, 4 i32 exits (RegionRecord), 8 i64 base page for which its pages are mapped as translated
 *     landings: i32 by hash of a decoded entry, how often a region was left for it
 *     lists of blocks by place, i32 each, and records of blocks, 32 bytes each (block-records.ts)
 *     arena: decoded blocks, 32-byte entries
 *
 * vCPU area: register file (registers.ts, 4 KiB) · jump cache · its pages · native code by RIP · TLB banks · an empty bank · bank sets
 *
 * TLB bank: 512 entries of 32 bytes, direct-mapped by linear page. A bank belongs to one address space (PCID) and one kind of access rights
 * (user; supervisor; supervisor with RFLAGS.AC, which SMAP lets at user pages), so that a change of either changes a base and flushes nothing.
 *   0  i64 tag for reads    linear page address; all ones: none
 *   8  i64 tag for writes
 *   16 i64 addend           address in the frames memory = linear address + addend
 *   24 i64 unused
 *
 * Bank set, one an address space: what flushing it needs to know (BankSet). Its two bitmaps say which regions of 2 MiB and 1 GiB may have entries
 * that large pages filled: bit (region mod LARGE_HALF), LARGE_HALF on for the upper half of the linear addresses.
 *
 * Jump cache entry, 16 bytes, by hash of RIP: 0 i64 RIP · 8 i32 tag · 12 i32 first decoded entry (jump-cache.ts)
 * Its pages: a bitmap, bit (linear page mod JUMP_PAGES) says that entries of the page may be there
 *
 * Decoded entry, 32 bytes:
 *   0  u16 handler (table index)       2  u16 offset of the instruction in its page
 *   4  u8  length in bytes             5  u8  scale (0–3)
 *   6  u16 register A: ModRM.reg       8  u16 register B: ModRM.rm or opcode    10 u16 register C: VEX.vvvv   (byte offsets in the register file)
 *   12 u16 base   14 u16 index   16 u16 segment base (byte offsets of slots)
 *   18 u8  position in the block       19 u8  flags
 *   20 i32 displacement                24 i64 immediate
 * Behind an indirect jump or call, which ends its block: JUMP_TARGETS times 0 i32 target from the page of the jump, 4 u32 how often (jump-targets.ts)
 * In relative jumps: 6 u16 history, of conditional ones: bit 0 is 1 if it was taken last · 12 u32 chained entry if taken · 20 u32 chained entry if not · 24 i64 target relative to the page.
 */
import { Reg } from "../../isa/registers.ts";

export const VCPU_AREA = 0x10000;
export const MAX_VCPUS = 8;
export const MAX_EXECUTORS = MAX_VCPUS;

/** Words of the executors (world.ts, locked.ts), each on its own cache line. PAIR: i64, where in the frames memory a pair is being exchanged; 0: nowhere.
 *  RUNS and PASSES: one for each executor, STEP apart. AWAITED: somebody waits for a change of PASSES. */
export const World = {
  LOCK: 0x40,
  PAIR_LOCK: 0x80,
  PAIR: 0xc0,
  RUNS: 0x100,
  RUNS_STEP: 0x40,
  PASSES: 0x300,
  PASSES_STEP: 0x40,
  RETURNS: 0x500,
  AWAITED: 0x540,
} as const;

export const TLB_ENTRIES = 2048;
export const TLB_ENTRY_BYTES = 32;
/** An entry that is overwritten moves to the place of the page this many bits away, where native code finds it: two pages that are used in turns may have the same place.
 *  So a page's entry is at one of two places, and whoever drops it looks at both. */
export const TLB_OTHER = TLB_ENTRIES / 2;
export const TLB_BANK_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
/** Words of an entry, i64 each: tags of its page for reads and for writes, −1 if it is not for these; what has to be added to an address of the page to have it in the frames memory;
 *  and in the host's memory, for native code. */
export const Tlb = { READ: 0, WRITE: 8, ADDEND: 16, HOST: 24 } as const;
/** Rights kinds of a bank. */
export const BankMode = { USER: 0, SUPERVISOR: 1, SUPERVISOR_AC: 2 } as const;
export const BANK_MODES = 3;
export const BANK_SETS = 8;

export const JUMP_CACHE_ENTRIES = 65536;
export const JUMP_CACHE_BYTES = JUMP_CACHE_ENTRIES * 16;

export const JUMP_PAGES = 32768;

export const VCPU_JUMP_CACHE = Reg.SIZE;
export const VCPU_JUMP_PAGES = VCPU_JUMP_CACHE + JUMP_CACHE_BYTES;
/** Before the jump cache: native code by RIP. KEY is RIP, its upper 16 bits XORed with those of the jump cache's tag; CODE is the code's host address. */
export const VCPU_CODE_CACHE = VCPU_JUMP_PAGES + JUMP_PAGES / 8;
export const CODE_CACHE_ENTRIES = 32768;
export const CodeCacheEntry = { BYTES: 16, KEY: 0, CODE: 8 } as const;
export const VCPU_TLB = VCPU_CODE_CACHE + CODE_CACHE_ENTRIES * CodeCacheEntry.BYTES;
/** A bank that stays empty: while it is chosen every access is looked at (alignment checks). */
export const VCPU_EMPTY_BANK = VCPU_TLB + BANK_SETS * BANK_MODES * TLB_BANK_BYTES;
export const VCPU_BANK_SETS = VCPU_EMPTY_BANK + TLB_BANK_BYTES;
export const BANK_SET_BYTES = 4096;
export const VCPU_BYTES = VCPU_BANK_SETS + BANK_SETS * BANK_SET_BYTES;

export const BLOCK_TABLE_ENTRIES = 131072;
/** Fields of an entry of the block table, and the shift of its hash: (key ^ key >> HASH_SHIFT) mod BLOCK_TABLE_ENTRIES. */
export const BlockEntry = { BYTES: 16, KEY: 0, BLOCK: 8, HASH_SHIFT: 17 } as const;
export const BLOCK_TABLE_BYTES = BLOCK_TABLE_ENTRIES * BlockEntry.BYTES;

/** Records of regions (translator/regions.ts), by handler. */
export const REGION_RECORD_BYTES = 16;
/** Counts of entries of blocks by (entry / 32) mod LANDINGS. */
export const LANDINGS = 4096;
/** Handlers from this number on are regions; the rest of the table is the interpreter's. */
export const REGION_HANDLERS = 32768;
export const MAX_REGIONS = 32768;

const EXECUTORS = Math.ceil((VCPU_AREA + MAX_VCPUS * VCPU_BYTES) / 65536) * 65536;
/** Lists of blocks. */
export const BLOCK_LISTS = 131072;
export const BLOCK_RECORD_BYTES = 32;
const MAX_BLOCK_RECORDS = 1 << 20;
const EXECUTOR_BYTES = 2448 * 65536; // 153 MiB of address space; touched as used
/** Size of the state memory, in wasm pages. */
export const statePages = (executors: number): number => (EXECUTORS + executors * EXECUTOR_BYTES) / 65536;
/** Where executor n keeps its block table. */
export const blockTableOf = (executor: number): number => EXECUTORS + executor * EXECUTOR_BYTES;
/** … the records of its regions. */
export const regionRecordsOf = (executor: number): number => blockTableOf(executor) + BLOCK_TABLE_BYTES;
/** From an executor's block table to its landings. */
export const LANDINGS_FROM_TABLE = BLOCK_TABLE_BYTES + MAX_REGIONS * REGION_RECORD_BYTES;
/** … its lists of blocks. */
export const blockListsOf = (executor: number): number => blockTableOf(executor) + LANDINGS_FROM_TABLE + 4 * LANDINGS;
/** … what is known of blocks: [start, end). */
export const blockRecordsOf = (executor: number): { start: number; end: number } => {
  const start = blockListsOf(executor) + 4 * BLOCK_LISTS;
  return { start, end: start + MAX_BLOCK_RECORDS * BLOCK_RECORD_BYTES };
};
/** … and its decoded blocks: [start, end). */
export const arenaOf = (executor: number): { start: number; end: number } => ({
  start: blockRecordsOf(executor).end,
  end: blockTableOf(executor + 1),
});

/** Above this many filled entries a flush clears whole banks. */
export const FEW_ENTRIES = 504;
/** Bits of a bitmap of large regions for each half of the linear addresses. */
export const LARGE_HALF = 4096;
/** Fields of a bank set. COUNT: i32, entries filled since the last flush; LIST: i32 addresses of the first FEW_ENTRIES of them, so that flushing costs
 *  what filling did; HAS_LARGE: i32, nonzero if a bit of the bitmaps is set. */
export const BankSet = { COUNT: 0, HAS_LARGE: 4, LIST: 16, LARGE_2M: 2048, LARGE_1G: 3072 } as const;

export const Entry = {
  BYTES: 32,
  HANDLER: 0,
  OFFSET: 2,
  LENGTH: 4,
  SCALE: 5,
  REG_A: 6,
  REG_B: 8,
  REG_C: 10,
  BASE: 12,
  INDEX: 14,
  SEGMENT: 16,
  POSITION: 18,
  FLAGS: 19,
  DISP: 20,
  IMM: 24,
  HISTORY: 6,
  CHAIN_TAKEN: 12,
  CHAIN_NEXT: 20,
} as const;

/** Places behind an indirect jump for its targets. */
export const JUMP_TARGETS = 8;
export const JUMP_TARGET_BYTES = 8;

/** Entry flag: this block must not be reached by a chain (it spans two pages, or is for one use). */
export const ENTRY_UNCHAINED = 1;
/** Entry flag: the instruction's memory operand is in the stack segment, so that an address that is not canonical is #SS. */
export const ENTRY_STACK = 2;

/** In Engine.FAULT, above the error code's bits. */
export const FAULT_PENDING = 0x100;

/** The engine's words in the register file (Reg.ENGINE…): all i32. */
export const Engine = {
  /** Address of the current TLB bank. */
  TLB: Reg.ENGINE,
  /** Instructions left in this slice; negative: look around. */
  FUEL: Reg.ENGINE_NEAR,
  /** Address of a chain field to fill with the next block, or 0. */
  LINK: Reg.ENGINE + 8,
  /** Nonzero if an SSE instruction must trap (CR0.EM, CR0.TS, CR4.OSFXSR). */
  SSE_TRAP: Reg.ENGINE + 12,
  /** Nonzero if an x87 instruction must trap (CR0.EM, CR0.TS). */
  X87_TRAP: Reg.ENGINE + 16,
  /** MXCSR flags gathered from the lanes of a packed operation. */
  FP_FLAGS: Reg.ENGINE + 20,
  /** The current address space's banks, by access rights; BANK_SUPERVISOR is BANK_SUPERVISOR_AC while SMAP is off. */
  BANK_USER: Reg.ENGINE + 24,
  BANK_SUPERVISOR: Reg.ENGINE + 28,
  BANK_SUPERVISOR_AC: Reg.ENGINE + 48,
  /** Nonzero while every access is looked at (alignment checks, data breakpoints): the TLB is not filled by refill. */
  NO_REFILL: Reg.ENGINE + 52,
  /** Kind of the flags in FLAG_RESULT and FLAG_AUX (translator/region-flags.ts) on the way from one region to the next; 0, the lazy pair, elsewhere. */
  FLAG_KIND: Reg.ENGINE + 56,
  /** Address of the current bank set. */
  BANK_SET: Reg.ENGINE + 60,
  /** i64: the third word of the flags that FLAG_KIND is about. */
  FLAG_THIRD: Reg.ENGINE + 64,
  /** Tags of jump cache entries that are valid now: the current address space's, and that of global pages. The 8 bytes before each are 0 (native/layout.ts, CodeKey). */
  CODE_TAG: Reg.ENGINE + 0x170,
  CODE_TAG_GLOBAL: Reg.ENGINE + 0x17c,
  /** What they are chosen from: the address space's for user and for supervisor code, global for supervisor code. */
  TAG_USER: Reg.ENGINE + 80,
  TAG_SUPERVISOR: Reg.ENGINE + 84,
  TAG_GLOBAL: Reg.ENGINE + 88,
  /** Address of the block table of the executor that runs the vCPU. */
  BLOCK_TABLE: Reg.ENGINE + 92,
  /** The vCPU's bit in word 1 of the code table (GuestRam). */
  WRITER: Reg.ENGINE + 96,
  /** Fuel of this slice that elements of REP instructions took, which are no instructions. */
  REPEATED: Reg.ENGINE + 100,
  /** i64: the fourth word of the flags that FLAG_KIND is about. */
  FLAG_FOURTH: Reg.ENGINE + 112,
  /** Entry of a region that has left because a stretch of its stack crosses a page (translator/stack-spans.ts); else 0. */
  CROSSING: Reg.ENGINE + 104,
  /** i64 and i32: a #PF that is sure and is to be delivered: its linear address, and its error code with FAULT_PENDING; 0: none. */
  FAULT_ADDRESS: Reg.ENGINE + 120,
  FAULT: Reg.ENGINE + 128,
  /** i64: host address of the frames memory where there is native code. */
  RAM_HOST: Reg.ENGINE + 0x160,
  /** Scratch for 16-byte slow accesses. */
  SCRATCH: Reg.ENGINE + 32,
} as const;

/** A new state memory (memory 0) for a cell. */
export function createStateMemory(executors = 1): WebAssembly.Memory {
  return new WebAssembly.Memory({
    initial: statePages(executors),
    maximum: statePages(MAX_EXECUTORS),
    shared: true,
  });
}
/** Where vCPU n's register file is in the state memory. */
export const vcpuAddress = (n: number): number => VCPU_AREA + n * VCPU_BYTES;
