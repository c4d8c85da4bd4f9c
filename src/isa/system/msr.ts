/* Model-specific registers. What is not here is #GP(0), as on a processor. The x2APIC, the TSC deadline and the paravirtual MSRs are the machine's:
 * they go to Cpu.readDeviceMsr and writeDeviceMsr. Leaves out: MTRRs beyond an empty set, performance counters, machine check, SPEC_CTRL and
 * PRED_CMD (nothing here runs ahead of what it executes). @source SDM vol. 4 ch. 2; Linux Documentation/virt/kvm/x86/msr.rst */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { isCanonical } from "./linear-address.ts";

export const Efer = { SCE: 1, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** IA32_ARCH_CAPABILITIES: "not affected" bits. True because the engine executes in program order and checks every access before it uses data.
 *  RDCL_NO (no page-table isolation), SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO,
 *  BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. IBRS_ALL is not told: it would promise SPEC_CTRL. RSBA, RRSBA clear: returns are not predicted. */
export const ARCH_CAPABILITIES = [0, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce(
  (bits, bit) => bits | (1n << BigInt(bit)),
  0n,
);

/** Power-on value: WB WT UC- UC, twice. */
export const PAT_RESET = 0x0007_0406_0007_0406n;
/** Fast strings on (Linux takes REP MOVSB as slow without it); branch trace and PEBS unavailable. */
export const MISC_ENABLE_RESET = 0x1801n;
/** Microcode revision: a fixed number, high enough for lists of bad revisions. */
const MICROCODE_REVISION = 0x7fff_ffffn << 32n;
const DEBUGCTL_LBR_BTF = 3n;

interface Msr {
  read(cpu: Cpu): bigint;
  /** @returns false: the value is refused */
  write(cpu: Cpu, value: bigint): boolean;
}

const stored = (field: number, accepts: (value: bigint) => boolean = () => true): Msr => ({
  read: (cpu) => cpu.regs.get64(field),
  write: (cpu, value) => {
    if (!accepts(value)) return false;
    cpu.regs.set64(field, value);
    return true;
  },
});
const constant = (value: bigint, acceptsWrite: (value: bigint) => boolean = () => false): Msr => ({
  read: () => value,
  write: (_cpu, written) => acceptsWrite(written),
});

const fits32 = (value: bigint): boolean => value >> 32n === 0n;
const isMemoryType = (type: bigint): boolean => type <= 7n && type !== 2n && type !== 3n;

function isPat(value: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) if (!isMemoryType((value >> shift) & 0xffn)) return false;
  return true;
}

function isMtrrDefault(value: bigint): boolean {
  const type = value & 0xffn;
  return (value & ~0xcffn) === 0n && type !== 7n && isMemoryType(type);
}

/** LMA follows LME and paging, which is always on: LME cannot be cleared, LMA is not writable. */
function writeEfer(cpu: Cpu, value: bigint): boolean {
  const supported = BigInt(Efer.SCE | Efer.LME | Efer.LMA | Efer.NXE);
  if ((value & ~supported) !== 0n || !(value & BigInt(Efer.LME))) return false;
  const old = cpu.regs.get64(Reg.EFER);
  const efer = value | BigInt(Efer.LMA);
  cpu.regs.set64(Reg.EFER, efer);
  if ((old ^ efer) & BigInt(Efer.NXE)) cpu.flushTlb({ kind: "all" });
  cpu.modeChanged();
  return true;
}

/** IA32_TSC_ADJUST keeps what writes to either register have added to the counter. @source SDM vol. 3B §18.17.3 */
function moveTsc(cpu: Cpu, by: bigint): boolean {
  const { regs } = cpu;
  regs.set64(Reg.TSC_OFFSET, regs.get64(Reg.TSC_OFFSET) + by);
  regs.set64(Reg.TSC_ADJUST, regs.get64(Reg.TSC_ADJUST) + by);
  return true;
}

const MSRS: ReadonlyMap<number, Msr> = new Map<number, Msr>([
  [0x10, { read: (cpu) => cpu.tsc(), write: (cpu, value) => moveTsc(cpu, value - cpu.tsc()) }],
  [0x17, constant(0n)], // IA32_PLATFORM_ID
  [
    0x3b,
    {
      read: (cpu) => cpu.regs.get64(Reg.TSC_ADJUST),
      write: (cpu, value) => moveTsc(cpu, value - cpu.regs.get64(Reg.TSC_ADJUST)),
    },
  ],
  [0x8b, constant(MICROCODE_REVISION, () => true)], // IA32_BIOS_SIGN_ID: written 0 before it is read
  [0xfe, constant(0n)], // IA32_MTRRCAP: no ranges
  [0x10a, constant(ARCH_CAPABILITIES)],
  [0x174, stored(Reg.SYSENTER_CS)],
  [0x175, stored(Reg.SYSENTER_ESP, isCanonical)],
  [0x176, stored(Reg.SYSENTER_EIP, isCanonical)],
  [0x1a0, stored(Reg.MISC_ENABLE)],
  [0x1d9, constant(0n, (value) => (value & ~DEBUGCTL_LBR_BTF) === 0n)], // IA32_DEBUGCTL: accepted, without effect
  [0x277, stored(Reg.PAT, isPat)],
  [0x2ff, stored(Reg.MTRR_DEF_TYPE, isMtrrDefault)],
  [0xc000_0080, { read: (cpu) => cpu.regs.get64(Reg.EFER), write: writeEfer }],
  [0xc000_0081, stored(Reg.STAR)],
  [0xc000_0082, stored(Reg.LSTAR, isCanonical)],
  [0xc000_0083, stored(Reg.CSTAR, isCanonical)],
  [0xc000_0084, stored(Reg.SFMASK, fits32)],
  [0xc000_0100, stored(Reg.FS_BASE, isCanonical)],
  [0xc000_0101, stored(Reg.GS_BASE, isCanonical)],
  [0xc000_0102, stored(Reg.KERNEL_GS_BASE, isCanonical)],
  [0xc000_0103, stored(Reg.TSC_AUX, fits32)],
]);

/** IA32_APIC_BASE, x2APIC, IA32_TSC_DEADLINE, KVM's (both numberings of the clock). */
function isDeviceMsr(index: number): boolean {
  return (
    index === 0x1b ||
    (index >= 0x800 && index <= 0x8ff) ||
    index === 0x6e0 ||
    index === 0x11 ||
    index === 0x12 ||
    index >>> 8 === 0x4b_564d
  );
}

/** @returns undefined if there is no such MSR. Also for snapshots and the debugger. */
export function readMsr(cpu: Cpu, index: number): bigint | undefined {
  return isDeviceMsr(index) ? cpu.readDeviceMsr(index) : MSRS.get(index)?.read(cpu);
}

/** @returns false if there is no such MSR or it refuses the value */
export function writeMsr(cpu: Cpu, index: number, value: bigint): boolean {
  return isDeviceMsr(index) ? cpu.writeDeviceMsr(index, value) : (MSRS.get(index)?.write(cpu, value) ?? false);
}

const RAX = 0,
  RCX = 1,
  RDX = 2;
const LOW = 0xffff_ffffn;

function rdmsr(cpu: Cpu): void {
  const value = readMsr(cpu, Number(cpu.regs.gpr(RCX) & LOW));
  if (value === undefined) throw new GuestFault(Vector.GP, 0);
  cpu.regs.setGpr(RAX, value & LOW);
  cpu.regs.setGpr(RDX, (value >> 32n) & LOW);
}

function wrmsr(cpu: Cpu): void {
  const value = ((cpu.regs.gpr(RDX) & LOW) << 32n) | (cpu.regs.gpr(RAX) & LOW);
  if (!writeMsr(cpu, Number(cpu.regs.gpr(RCX) & LOW), value)) throw new GuestFault(Vector.GP, 0);
}

export const MSR_CALLS: Record<string, CallSpec> = {
  rdmsr: { args: 0, result: false, run: rdmsr },
  wrmsr: { args: 0, result: false, run: wrmsr },
};
