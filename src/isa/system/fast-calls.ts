/* SYSCALL and SYSRET, SWAPGS, and the FS/GS base instructions. SYSENTER and SYSEXIT are #UD (CPUID.SEP = 0): kernels take SYSENTER for a 32-bit
 * call and would return to compatibility mode, which this processor does not have. @source SDM vol. 2B "SYSCALL", "SYSRET"; vol. 3A §5.8.8 */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import type { RegisterFile } from "../register-file.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { Attributes, selectorFault } from "./descriptors.ts";
import { requireCanonical } from "./linear-address.ts";

const RCX = 1,
  R11 = 11;
const EFER_SCE = 1;
const CR4_FSGSBASE = 1 << 16;
/** RFLAGS bits that SYSRET takes from R11: all but RF, VM and the reserved ones. */
const SYSRET_FLAGS = 0x3c_7fd7;

/** CS or SS with fixed attributes, flat: no descriptor is read. */
function setFlat(regs: RegisterFile, index: number, selector: number, attributes: number): void {
  const at = Reg.SEG + 16 * index;
  regs.set16(at, selector);
  regs.set16(at + 2, attributes);
  regs.set32(at + 4, 0xffff_ffff);
  regs.set64(at + 8, 0n);
}

function requireEnabled(cpu: Cpu): void {
  if ((cpu.regs.get32(Reg.EFER) & EFER_SCE) === 0) throw new GuestFault(Vector.UD);
}

function syscall(cpu: Cpu): void {
  requireEnabled(cpu);
  const { regs } = cpu;
  const rflags = regs.rflags;
  const selector = regs.get16(Reg.STAR + 4) & 0xfffc;
  regs.setGpr(RCX, cpu.nextRip());
  regs.setGpr(R11, BigInt((rflags & ~Rflags.RF) >>> 0));
  regs.rflags = rflags & ~(regs.get32(Reg.SFMASK) | Rflags.RF);
  setFlat(regs, SegmentIndex.CS, selector, Attributes.CODE64_KERNEL);
  setFlat(regs, SegmentIndex.SS, (selector + 8) & 0xffff, Attributes.DATA_KERNEL);
  regs.cpl = 0;
  cpu.modeChanged();
  cpu.setRip(regs.get64(Reg.LSTAR));
}

function sysret(cpu: Cpu, size: number): void {
  requireEnabled(cpu);
  const { regs } = cpu;
  if (regs.cpl !== 0) throw new GuestFault(Vector.GP, 0);
  const selector = regs.get16(Reg.STAR + 6);
  if (size !== 8) throw selectorFault(Vector.GP, selector | 3);
  const rip = regs.gpr(RCX);
  requireCanonical(rip);
  regs.rflags = (Number(regs.gpr(R11) & 0xffff_ffffn) & SYSRET_FLAGS) | 2;
  setFlat(regs, SegmentIndex.CS, ((selector + 16) & 0xffff) | 3, Attributes.CODE64_USER);
  setFlat(regs, SegmentIndex.SS, ((selector + 8) & 0xffff) | 3, Attributes.DATA_USER);
  regs.cpl = 3;
  cpu.modeChanged();
  cpu.setRip(rip);
  if (regs.get32(Reg.RFLAGS) & (Rflags.IF | Rflags.TF)) cpu.interruptsMayBeOpen();
}

function swapgs(cpu: Cpu): void {
  const { regs } = cpu;
  const base = regs.get64(Reg.GS_BASE);
  regs.set64(Reg.GS_BASE, regs.get64(Reg.KERNEL_GS_BASE));
  regs.set64(Reg.KERNEL_GS_BASE, base);
}

function checkFsgsbase(cpu: Cpu): void {
  if ((cpu.regs.get32(Reg.CR4) & CR4_FSGSBASE) === 0) throw new GuestFault(Vector.UD);
}

function writeBase(cpu: Cpu, field: number, value: bigint): void {
  checkFsgsbase(cpu);
  requireCanonical(value);
  cpu.regs.set64(field, value);
}

function undefinedHere(): never {
  throw new GuestFault(Vector.UD);
}

export const FAST_CALLS: Record<string, CallSpec> = {
  syscall: { args: 0, result: false, run: syscall },
  sysret: { args: 1, result: false, run: (cpu, size) => sysret(cpu, Number(size)) },
  sysenter: { args: 0, result: false, run: undefinedHere },
  sysexit: { args: 1, result: false, run: undefinedHere },
  swapgs: { args: 0, result: false, run: swapgs },
  checkFsgsbase: { args: 0, result: false, run: checkFsgsbase },
  writeFsBase: { args: 1, result: false, run: (cpu, value) => writeBase(cpu, Reg.FS_BASE, value!) },
  writeGsBase: { args: 1, result: false, run: (cpu, value) => writeBase(cpu, Reg.GS_BASE, value!) },
};
