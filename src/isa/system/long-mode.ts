/* The state in which a vCPU starts: 64-bit mode with paging, flat segments, everything else as after reset.
 * @source Linux Documentation/x86/boot.rst "64-bit Boot Protocol"; SDM vol. 3A table 9-1 */
import type { RegisterFile } from "../register-file.ts";
import { Reg, SegmentIndex } from "../registers.ts";
import { Cr0, Cr4 } from "./control-registers.ts";
import { DR6_RESET, DR7_RESET } from "./debug.ts";
import { Attributes } from "./descriptors.ts";
import { Efer, MISC_ENABLE_RESET, PAT_RESET } from "./msr.ts";

/** Selectors of the flat segments: Linux's __BOOT_CS and __BOOT_DS. */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;
/** The GDT those selectors are for: two null entries, 64-bit code, data. The boot loader puts it into guest memory. */
export const BOOT_GDT: readonly bigint[] = [0n, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn];

export interface LongModeStart {
  readonly rip: bigint;
  readonly rsp: bigint;
  /** boot_params for Linux. */
  readonly rsi: bigint;
  /** Guest-physical address of a PML4 that maps at least what the start needs (NX bits not allowed: EFER.NXE is 0). */
  readonly cr3: bigint;
  /** Linear address where BOOT_GDT is. */
  readonly gdtBase: bigint;
  readonly apicId: number;
}

/** Fills the register file; engine fields are not touched. Interrupts are off, RUN_STATE is running. */
export function initializeLongMode(regs: RegisterFile, start: LongModeStart): void {
  regs.bytes.fill(0, 0, Reg.ENGINE);
  regs.set64(Reg.C4096, 4096n);
  regs.set64(Reg.RIP, start.rip);
  regs.set64(Reg.PAGE_VA, start.rip & ~0xfffn);
  regs.setGpr(4, start.rsp);
  regs.setGpr(6, start.rsi);
  regs.rflags = 2;
  regs.set64(Reg.CR0, BigInt((Cr0.PG | Cr0.WP | Cr0.NE | Cr0.ET | Cr0.MP | Cr0.PE) >>> 0));
  regs.set64(Reg.CR3, start.cr3);
  regs.set64(Reg.CR4, BigInt(Cr4.PAE));
  regs.set64(Reg.EFER, BigInt(Efer.LME | Efer.LMA));
  regs.set64(Reg.XCR0, 1n);
  regs.set64(Reg.DR + 8 * 6, BigInt(DR6_RESET));
  regs.set64(Reg.DR + 8 * 7, BigInt(DR7_RESET));

  const flat = { limit: 0xffff_ffff, base: 0n };
  regs.setSegment(SegmentIndex.CS, { ...flat, selector: BOOT_CS, attributes: Attributes.CODE64_KERNEL });
  for (const index of [SegmentIndex.DS, SegmentIndex.ES, SegmentIndex.SS]) {
    regs.setSegment(index, { ...flat, selector: BOOT_DS, attributes: Attributes.DATA_KERNEL });
  }
  regs.setSegment(SegmentIndex.TR, { selector: 0, attributes: Attributes.TSS64_BUSY, limit: 0xffff, base: 0n });
  regs.set64(Reg.GDTR_BASE, start.gdtBase);
  regs.set64(Reg.GDTR_LIMIT, BigInt(8 * BOOT_GDT.length - 1));

  regs.set16(Reg.FCW, 0x37f);
  regs.set16(Reg.FTW, 0xffff);
  regs.set32(Reg.MXCSR, 0x1f80);
  regs.set64(Reg.PAT, PAT_RESET);
  regs.set64(Reg.MISC_ENABLE, MISC_ENABLE_RESET);
  regs.set64(Reg.DEADLINE, -1n);
  regs.set32(Reg.APIC_ID, start.apicId);
}
