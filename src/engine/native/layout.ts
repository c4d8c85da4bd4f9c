/* Where native code keeps the guest's registers, and its words in the register file. @source docs/native.md */
import { Reg } from "../../isa/registers.ts";
import { Engine, TLB_ENTRIES, TLB_ENTRY_BYTES } from "../wasm/layout.ts";
import { Host } from "./assembler.ts";

/** In no host register: in the frame. */
export const IN_MEMORY = -1;
/** Host registers of the guest's, by number. RAX and R13 are the translator's own, R15 is the address of the TLB bank, RSP the thread's stack; the GS base is the register file's address. */
export const HOST_OF: readonly number[] = [
  Host.R10,
  Host.RCX,
  Host.RDX,
  Host.RBX,
  Host.R11,
  Host.RBP,
  Host.RSI,
  Host.RDI,
  Host.R8,
  Host.R9,
  IN_MEMORY,
  IN_MEMORY,
  Host.R12,
  IN_MEMORY,
  Host.R14,
  IN_MEMORY,
];
export const SCRATCH = Host.RAX;
/** The address of the current access. */
export const ADDRESS = Host.R13;
/** The host address of the current TLB bank. */
export const BANK = Host.R15;

/** What is used all the time lies on the thread's stack while native code runs, by distance from RSP: there a processor can hand a word that was just stored to who loads it without waiting
 *  for memory; by GS it does not. FUEL: i32, FLAGS: u16, as Engine.FUEL and Native.FLAGS; i64 each: PAGE_VA, the guest's registers that are IN_MEMORY, scratch, and what has to be added to
 *  addresses of a group of accesses (merged-accesses.ts). MXCSR: i32, the host's. One byte reaches all that code of blocks uses. */
export const Frame = {
  FUEL: 0,
  FLAGS: 4,
  PAGE_VA: 8,
  GPRS: 16,
  TEMP: 48,
  TEMP2: 56,
  ADDENDS: 64,
  MXCSR: 128,
  BYTES: 136,
} as const;
/** Where the frame has the guest's registers that are IN_MEMORY, by number. */
export const FRAME_GPRS: readonly (readonly [n: number, offset: number])[] = HOST_OF.flatMap((host, n) =>
  host === IN_MEMORY ? [n] : [],
).map((n, i) => [n, Frame.GPRS + 8 * i]);

/** Words of native code in the register file. */
export const Native = {
  /** i32: offset in the code where to begin, or to begin again. */
  TARGET: Reg.ENGINE + 0x100,
  /** i32: Info of the instruction for which it was left. */
  INFO: Reg.ENGINE + 0x104,
  /** i32: the decoded entry for which it was left. */
  ENTRY: Reg.ENGINE + 0x108,
  /** u16: OSZAPC while they are in no register, as SETO AL; LAHF make them. */
  FLAGS: Reg.ENGINE_NEAR + 4,
  /** i64: linear address of the access that is not in the TLB. */
  ADDRESS: Reg.ENGINE + 0x110,
  /** i64: host address of the register file. */
  FILE: Reg.ENGINE_NEAR + 8,
  TEMP3: Reg.ENGINE + 0x130,
  /** i64: host address of the executor's code. */
  CODE: Reg.ENGINE + 0x138,
  /** i32: 1 while the host's x87 registers are the guest's; 2 if they were when native code was left. */
  X87: Reg.ENGINE + 0x158,
  /** 108 bytes, as FNSAVE writes them. */
  X87_IMAGE: Reg.ENGINE + 0x180,
  /** 16 bytes: what an access that lies in two pages reads or writes. */
  SPLIT: Reg.ENGINE + 0x140,
  /** The frame from TEMP on, while native code is left for an access that is not in the TLB. */
  FRAME: Reg.ENGINE + 0x1f0,
  /** i64: where the code for such an access is. */
  RESUME: Reg.ENGINE + 0x150,
} as const;

/** i64: the lower 16 bits of the tag in force as the upper ones, and nothing below: of the current address space, and of global pages. */
export const CodeKey = { OWN: Engine.CODE_TAG - 6, GLOBAL: Engine.CODE_TAG_GLOBAL - 6 } as const;

/** A TLB entry's distance from its bank is (address >> INDEX_SHIFT) & INDEX_MASK. */
export const INDEX_SHIFT: number = 12 - Math.log2(TLB_ENTRY_BYTES);
export const INDEX_MASK: number = (TLB_ENTRIES - 1) * TLB_ENTRY_BYTES;

/** Fields of INFO: offset in the page of RIP; instructions of the block from this one on; of an access: does it write, its size, can it be done in two pages, and is it a read
 *  for which a page is wanted that may be written to? */
export const Info = {
  OFFSET_BITS: 12,
  AHEAD: 12,
  AHEAD_BITS: 7,
  WRITE: 19,
  SIZE: 20,
  SIZE_BITS: 5,
  SPLIT: 25,
  OTHERS: 26,
} as const;

/** Why native code was left. */
export const Left = {
  /** RIP says where to go on. */
  LOOK_UP: 0,
  /** RIP, PAGE_VA and ENTRY do. */
  ENTRY: 1,
  /** ADDRESS is to be put into the TLB; then it goes on at TARGET. */
  MISS: 2,
  /** The instruction of INFO is the interpreter's. */
  INTERPRET: 3,
} as const;

/** What the way in gets, below 2 GiB: u64 host address of Routines.enter; u64 that of the code. */
export const Context = { ENTER: 0, CODE: 8, BYTES: 16 } as const;
