/* RDTSC, RDTSCP, RDPMC. @source SDM vol. 3B §18.17; vol. 2B */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import type { RegisterFile } from "../register-file.ts";
import { Reg } from "../registers.ts";
import { Cr4 } from "./control-registers.ts";

const RAX = 0,
  RCX = 1,
  RDX = 2;
const TWO_32 = 0x1_0000_0000;

/** Low 32 bits of an integer to a general register, zero-extended. */
function set32(regs: RegisterFile, n: number, value: number): void {
  regs.set32(Reg.GPR + 8 * n, value);
  regs.set32(Reg.GPR + 8 * n + 4, 0);
}

function rdtsc(cpu: Cpu): void {
  const { regs } = cpu;
  if (regs.cpl !== 0 && regs.get32(Reg.CR4) & Cr4.TSD) throw new GuestFault(Vector.GP, 0);
  const ticks = cpu.ticks?.() ?? -1;
  if (ticks < 0) {
    const tsc = BigInt.asUintN(64, cpu.tsc());
    regs.setGpr(RAX, tsc & 0xffff_ffffn);
    regs.setGpr(RDX, tsc >> 32n);
    return;
  }
  set32(regs, RAX, ticks);
  set32(regs, RDX, Math.floor(ticks / TWO_32));
}

function rdtscp(cpu: Cpu): void {
  rdtsc(cpu);
  set32(cpu.regs, RCX, cpu.regs.get32(Reg.TSC_AUX));
}

/** There are no performance counters: every index is #GP. */
function rdpmc(): never {
  throw new GuestFault(Vector.GP, 0);
}

export const TIME_CALLS: Record<string, CallSpec> = {
  rdtsc: { args: 0, result: false, run: rdtsc },
  rdtscp: { args: 0, result: false, run: rdtscp },
  rdpmc: { args: 0, result: false, run: rdpmc },
};
