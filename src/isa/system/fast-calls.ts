/* SYSRET where sem/kernel-entry.ts leaves it. SYSENTER and SYSEXIT are #UD (CPUID.SEP = 0): kernels take SYSENTER for a 32-bit
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

function undefinedHere(): never {
  throw new GuestFault(Vector.UD);
}

export const FAST_CALLS: Record<string, CallSpec> = {
  sysret: { args: 1, result: false, run: (cpu, size) => sysret(cpu, Number(size)) },
  sysenter: { args: 0, result: false, run: undefinedHere },
  sysexit: { args: 1, result: false, run: undefinedHere },
};
