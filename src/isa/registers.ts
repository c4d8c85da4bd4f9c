/* The architectural state of one vCPU as bytes at fixed offsets: the one layout that the interpreter, the
 * translator, the oracle, the system instructions, snapshots and the debugger share.
 * @source SDM vol. 1 §3.4, §8, §10; vol. 3A §2. Leaves out: the caches derived from it (TLB, decoded blocks).
 *
 *   0x000  16 × i64   general registers RAX RCX RDX RBX RSP RBP RSI RDI R8..R15   "slot n" is offset 8·n
 *   0x080  i64        slot 16 ZERO: always 0 (absent base, index or segment)
 *   0x088  i64        slot 17 PAGE_VA: linear address of the page that RIP is in (base of RIP-relative operands)
 *   0x090  i64        slot 18 FS base          0x098  i64  slot 19 GS base
 *   0x0A0  i64        slot 20 C4096: always 4096
 *   0x0A8  24 bytes   the engine's, as from ENGINE on; here because they are used as often as the general registers
 *   0x0C0  i64        RIP (exact only outside the run loop)
 *   0x0C8  i64        flag result   0x0D0  i64  flag aux   (lazy OSZAPC, see flags.ts)
 *   0x0D8  i64        RFLAGS without OSZAPC (bit 1 set)
 */

/** The general registers in the order of their numbers. */
export const GPR_NAMES: readonly string[] = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15".split(" ");

export const Slot = { ZERO: 16, PAGE_VA: 17, FS_BASE: 18, GS_BASE: 19, C4096: 20 } as const;

/** Byte offsets into the register file. Names are the SDM's. */
export const Reg = {
  GPR: 0x000,
  ZERO: 0x080,
  PAGE_VA: 0x088,
  FS_BASE: 0x090,
  GS_BASE: 0x098,
  C4096: 0x0a0,
  ENGINE_NEAR: 0x0a8,
  RIP: 0x0c0,
  FLAG_RESULT: 0x0c8,
  FLAG_AUX: 0x0d0,
  RFLAGS: 0x0d8,
  // Control registers, i64 each
  CR0: 0x0e0,
  CR2: 0x0e8,
  CR3: 0x0f0,
  CR4: 0x0f8,
  CR8: 0x100,
  EFER: 0x108,
  XCR0: 0x110,
  DR: 0x118, // DR0..DR7, 8 × i64, to 0x158
  /** Segment registers ES CS SS DS FS GS LDTR TR, 16 bytes each: u16 selector, u16 attributes (descriptor bits
   *  40–47 and 52–55 as in VMX access rights), u32 limit, u64 base (FS and GS bases live in slots 18 and 19). */
  SEG: 0x160,
  GDTR_BASE: 0x1e0,
  GDTR_LIMIT: 0x1e8,
  IDTR_BASE: 0x1f0,
  IDTR_LIMIT: 0x1f8,
  XMM: 0x200, // 16 × 16 bytes, to 0x300
  /** x87: physical registers R0..R7, 16 bytes each: u64 significand, u16 sign and exponent, 6 bytes zero. */
  ST: 0x300, // to 0x380
  FCW: 0x380, // u16
  FSW: 0x382, // u16, TOP included
  FTW: 0x384, // u16, full two-bit tags by physical register
  FOP: 0x386, // u16
  FIP: 0x388, // i64
  FDP: 0x390, // i64
  MXCSR: 0x398, // u32
  CPL: 0x39c, // u32
  STAR: 0x3a0,
  LSTAR: 0x3a8,
  CSTAR: 0x3b0,
  SFMASK: 0x3b8,
  KERNEL_GS_BASE: 0x3c0,
  TSC_AUX: 0x3c8,
  SYSENTER_CS: 0x3d0,
  SYSENTER_ESP: 0x3d8,
  SYSENTER_EIP: 0x3e0,
  PAT: 0x3e8,
  TSC_OFFSET: 0x3f0, // guest TSC = host nanoseconds + this
  MISC_ENABLE: 0x3f8,
  MTRR_DEF_TYPE: 0x400,
  /** u32: nonzero while the instruction after STI (1), MOV SS or POP SS (2) runs: interrupts are held off, after MOV SS debug traps too. */
  INTERRUPT_SHADOW: 0x408,
  /** u32: 0 running, 1 halted (HLT), 2 stopped (waits for start), 3 shut down (triple fault). */
  RUN_STATE: 0x40c,
  /** u32: nonzero asks the run loop to come out and look (interrupt, timer, stop). Written by any thread, atomically. */
  ATTENTION: 0x410,
  /** u32: nonzero when the local APIC has a vector it would deliver. */
  INTERRUPT_PENDING: 0x414,
  /** i64 retired instructions, exact outside the run loop. */
  RETIRED: 0x418,
  /** i64: guest nanosecond (host monotonic clock) at which the TSC-deadline timer fires; −1 none. */
  DEADLINE: 0x420,
  /** u32: pending debug exceptions bits as in DR6, for single step. */
  PENDING_DEBUG: 0x428,
  /** u32: 1 from the delivery of an NMI until the next IRET (a further NMI waits). */
  NMI_BLOCKED: 0x42c,
  /** u32: the x2APIC id, as CPUID tells it. */
  APIC_ID: 0x430,
  /** i64: IA32_TSC_ADJUST, what the guest has added to its TSC (already in TSC_OFFSET). */
  TSC_ADJUST: 0x438,
  /** Mailbox of the x87 calls (isa/x87/unit.ts), so that no bigint crosses a call. Dead between instructions, not saved.
   *  VALUE: i64 operand or address in, result out; HIGH: u32, bytes 8–9 of an m80; ARG: u32 form of the instruction;
   *  DONE: u32, nonzero if the result is to be stored. */
  X87_VALUE: 0x440,
  X87_HIGH: 0x448,
  X87_ARG: 0x44c,
  X87_DONE: 0x450,
  /** i64: where the instruction is that INTERRUPT_SHADOW is about; at another RIP the shadow is over. */
  SHADOW_RIP: 0x458,
  /** i64: CR3 of the firmware's identity map from the start by the wakeup mailbox until 64-bit mode was entered again, else 0: only then
   *  may a far jump go to 32-bit code (isa/system/wakeup-path.ts). */
  WAKING: 0x460,
  /** From here to SIZE the engine that runs the vCPU keeps what it likes (not saved). */
  ENGINE: 0x480,
  /** 64 bytes that executors and those who wake them keep (engine/wakeups.ts; not saved, not cleared when the vCPU starts). */
  EXECUTOR: 0xfc0,
  SIZE: 0x1000,
} as const;

/** What Reg.INTERRUPT_SHADOW comes from. */
export const Shadow = { STI: 1, MOV_SS: 2 } as const;

export const SegmentIndex = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

export const Rflags = {
  CF: 1 << 0,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
  /** The six arithmetic flags, kept lazily. */
  OSZAPC: 0x8d5,
} as const;
