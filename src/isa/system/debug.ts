/* Debug registers, single step and breakpoints. The engine calls singleStepTrap() after an instruction that began with TF set, and, while
 * DR7 has breakpoints enabled, runs instruction by instruction with the match functions. Leaves out: I/O breakpoints, branch single step,
 * RTM and bus-lock debugging. @source SDM vol. 3B §17.2, §17.3
 *
 *   DR7: 31…16 LEN,R/W ×4   13 GD   10 fixed 1   9 GE  8 LE   7…0 G3 L3 … G0 L0
 *   DR6: 15 BT  14 BS  13 BD  3…0 B3…B0; the rest fixed (FFFF0FF0h)
 */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import type { RegisterFile } from "../register-file.ts";
import { Reg, Rflags } from "../registers.ts";
import { deliver } from "./exceptions.ts";

export const DR6_RESET = 0xffff_0ff0;
export const DR7_RESET = 0x400;
const DR6_WRITABLE = 0xe00f; // B0–B3, BD, BS, BT
const DR6_BD = 1 << 13;
export const DR6_BS = 1 << 14;
const DR7_FIXED_ZERO = 0xd800; // bits 11, 12, 14, 15
const DR7_GD = 1 << 13;
const CR4_DE = 1 << 3;
const EXECUTE = 0,
  WRITE = 1,
  READ_WRITE = 3;
/** Bytes watched, by the LEN field. */
const LENGTHS = [1, 2, 8, 4] as const;

const field = (n: number): number => Reg.DR + 8 * n;

/** The register meant by DRn; DR4 and DR5 are DR6 and DR7 unless CR4.DE. #DB if DR7.GD guards them. */
function resolve(cpu: Cpu, n: number): number {
  if (n > 7 || ((n === 4 || n === 5) && cpu.regs.get32(Reg.CR4) & CR4_DE)) throw new GuestFault(Vector.UD);
  if (cpu.regs.get32(field(7)) & DR7_GD) {
    cpu.regs.set32(Reg.PENDING_DEBUG, DR6_BD); // becomes DR6 when the #DB is delivered
    throw new GuestFault(Vector.DB);
  }
  return n === 4 || n === 5 ? n + 2 : n;
}

function writeDr(cpu: Cpu, n: number, value: bigint): void {
  const index = resolve(cpu, n);
  if (index < 4) return cpu.regs.set64(field(index), value);
  if (value >> 32n !== 0n) throw new GuestFault(Vector.GP, 0);
  const low = Number(value);
  const written = index === 6 ? DR6_RESET | (low & DR6_WRITABLE) : (low & ~DR7_FIXED_ZERO) | DR7_RESET;
  cpu.regs.set64(field(index), BigInt(written >>> 0));
  if (index === 7) {
    cpu.regs.set32(Reg.RFLAGS, cpu.regs.get32(Reg.RFLAGS) & ~Rflags.RF); // an RF left from before must not hide the first breakpoint
    cpu.modeChanged();
  }
}

/** Does DR7 enable any breakpoint? Then the engine runs instruction by instruction. */
export function hasBreakpoints(regs: RegisterFile): boolean {
  return (regs.get32(field(7)) & 0xff) !== 0;
}

const enabled = (dr7: number, n: number): boolean => ((dr7 >> (2 * n)) & 3) !== 0;

/** @returns DR6 bits B0–B3 of the code breakpoints at rip; 0 if none or RF is set */
export function matchCodeBreakpoint(regs: RegisterFile, rip: bigint): number {
  const dr7 = regs.get32(field(7));
  if (regs.get32(Reg.RFLAGS) & Rflags.RF) return 0;
  let bits = 0;
  for (let n = 0; n < 4; n++) {
    if (enabled(dr7, n) && ((dr7 >> (16 + 4 * n)) & 3) === EXECUTE && regs.get64(field(n)) === rip) bits |= 1 << n;
  }
  return bits;
}

/** @returns DR6 bits B0–B3 of the data breakpoints that an access of `size` bytes touches; 0 if none */
export function matchDataBreakpoints(regs: RegisterFile, address: bigint, size: number, write: boolean): number {
  const dr7 = regs.get32(field(7));
  let bits = 0;
  for (let n = 0; n < 4; n++) {
    const kind = (dr7 >> (16 + 4 * n)) & 3;
    if (!enabled(dr7, n) || !(kind === READ_WRITE || (kind === WRITE && write))) continue;
    const length = BigInt(LENGTHS[(dr7 >>> (18 + 4 * n)) & 3]!);
    const start = regs.get64(field(n)) & -length & 0xffff_ffff_ffff_ffffn;
    if (address < start + length && start < address + BigInt(size)) bits |= 1 << n;
  }
  return bits;
}

/** @returns numbers of the linear pages with data breakpoints; each breakpoint lies in one */
export function watchedPages(regs: RegisterFile): number[] {
  const dr7 = regs.get32(field(7));
  const pages: number[] = [];
  for (let n = 0; n < 4; n++) {
    const kind = (dr7 >> (16 + 4 * n)) & 3;
    if (enabled(dr7, n) && (kind === WRITE || kind === READ_WRITE)) pages.push(Number(regs.get64(field(n)) >> 12n));
  }
  return pages;
}

/** Does a single-step trap follow an instruction that ended without a fault? Software interrupts clear TF with the transition. SYSCALL traps by the TF that
 *  SFMASK leaves; SYSRET says so itself (sem/kernel-entry.ts). @source SDM vol. 3B §17.3.1.4
 *  @param before TF when it began  @param after TF now */
export function trapsAfter(mnemonic: string, before: boolean, after: boolean): boolean {
  if (mnemonic === "syscall") return after;
  return before && mnemonic !== "sysret" && !mnemonic.startsWith("int");
}

/** #DB before the instruction at a code breakpoint. @param bits from matchCodeBreakpoint */
export function codeBreakpointFault(cpu: Cpu, bits: number): void {
  cpu.regs.set32(Reg.PENDING_DEBUG, bits);
  deliver(cpu, { vector: Vector.DB, kind: "exception", trap: true });
}

/** #DB after an instruction whose accesses matched. @param bits from matchDataBreakpoints; Reg.RIP is the next instruction */
export function dataBreakpointTrap(cpu: Cpu, bits: number): void {
  codeBreakpointFault(cpu, bits);
}

/** #DB after an instruction that began with TF set. Reg.RIP is the next instruction. @param bits of data breakpoints met by the same instruction */
export function singleStepTrap(cpu: Cpu, bits = 0): void {
  codeBreakpointFault(cpu, DR6_BS | bits);
}

export const DEBUG_CALLS: Record<string, CallSpec> = {
  readDr: { args: 1, result: true, run: (cpu, n) => cpu.regs.get64(field(resolve(cpu, Number(n)))) },
  writeDr: { args: 2, result: false, run: (cpu, n, value) => writeDr(cpu, Number(n), value!) },
};
