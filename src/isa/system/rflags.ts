/* POPF, CLI and STI where sem/kernel-entry.ts leaves them: user code, rare flags, a waiting interrupt. Leaves out: virtual-8086 mode and its VME/PVI extensions.
 * @source SDM vol. 2; vol. 3A §2.3, §6.8.1 */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import type { RegisterFile } from "../register-file.ts";
import { Reg, Rflags, Shadow } from "../registers.ts";

const RSP = 4;

/** IOPL, 0–3. */
export function ioPrivilege(regs: RegisterFile): number {
  return (regs.get32(Reg.RFLAGS) >> 12) & 3;
}

function requireIoPrivilege(cpu: Cpu): void {
  if (cpu.regs.cpl > ioPrivilege(cpu.regs)) throw new GuestFault(Vector.GP, 0);
}

function cli(cpu: Cpu): void {
  requireIoPrivilege(cpu);
  cpu.regs.set32(Reg.RFLAGS, cpu.regs.get32(Reg.RFLAGS) & ~Rflags.IF);
}

function sti(cpu: Cpu): void {
  requireIoPrivilege(cpu);
  const rflags = cpu.regs.get32(Reg.RFLAGS);
  if (rflags & Rflags.IF) return;
  cpu.regs.set32(Reg.RFLAGS, rflags | Rflags.IF);
  cpu.regs.set32(Reg.INTERRUPT_SHADOW, Shadow.STI);
  cpu.regs.set64(Reg.SHADOW_RIP, cpu.nextRip());
  cpu.interruptsMayBeOpen();
}

function popf(cpu: Cpu, size: number): void {
  const { regs } = cpu;
  const image = Number(BigInt.asUintN(32, cpu.read(regs.gpr(RSP), size)));
  let writable: number = Rflags.OSZAPC | Rflags.TF | Rflags.DF | Rflags.NT;
  if (size !== 2) writable |= Rflags.AC | Rflags.ID;
  if (regs.cpl <= ioPrivilege(regs)) writable |= Rflags.IF;
  if (regs.cpl === 0) writable |= Rflags.IOPL;
  const old = regs.rflags;
  const rflags = (old & ~(writable | Rflags.RF)) | (image & writable);
  regs.setGpr(RSP, regs.gpr(RSP) + BigInt(size));
  regs.rflags = rflags;
  if ((old ^ rflags) & Rflags.AC) cpu.modeChanged();
  if (rflags & ~old & (Rflags.IF | Rflags.TF)) cpu.interruptsMayBeOpen();
}

export const RFLAGS_CALLS: Record<string, CallSpec> = {
  cli: { args: 0, result: false, run: cli },
  sti: { args: 0, result: false, run: sti },
  popf: { args: 1, result: false, run: (cpu, size) => popf(cpu, Number(size)) },
};
