/* CALLS: every call that semantic functions may make, by name. Engines bind them as imports, the oracle calls them.
 * A test checks that every name used in the tables is here. */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { CRYPTO_CALLS } from "../sem/crypto.ts";
import { INTEGER_CALLS } from "../sem/integer-calls.ts";
import { SSE_CALLS } from "../sem/sse-calls.ts";
import { X87_CALLS } from "../x87/calls.ts";
import { CONTROL_CALLS, Cr0 } from "./control-registers.ts";
import { CPUID_CALLS } from "./cpuid.ts";
import { DEBUG_CALLS } from "./debug.ts";
import { FAR_CALLS } from "./far-transfers.ts";
import { FAST_CALLS } from "./fast-calls.ts";
import { MSR_CALLS } from "./msr.ts";
import { PORT_CALLS } from "./ports.ts";
import { RFLAGS_CALLS } from "./rflags.ts";
import { SEGMENT_CALLS } from "./segments.ts";
import { TIME_CALLS } from "./time-stamp.ts";

const FSW_ES = 0x80;
/** What KVM answers to a hypercall from CPL 3. */
const KVM_EPERM = -1n;

/** VMCALL, VMMCALL: number in RAX, arguments in RBX RCX RDX RSI, result in RAX. @source Linux Documentation/virt/kvm/x86/hypercalls.rst */
function vmcall(cpu: Cpu): void {
  const { regs } = cpu;
  const result =
    regs.cpl === 0 ? cpu.hypercall(regs.gpr(0), regs.gpr(3), regs.gpr(1), regs.gpr(2), regs.gpr(6)) : KVM_EPERM;
  regs.setGpr(0, result);
}

/** WAIT/FWAIT: #NM if CR0.MP and CR0.TS; #MF if an unmasked x87 exception waits. @source SDM vol. 2D "WAIT/FWAIT" */
function wait(cpu: Cpu): void {
  const both = Cr0.MP | Cr0.TS;
  if ((cpu.regs.get32(Reg.CR0) & both) === both) throw new GuestFault(Vector.NM);
  if (cpu.regs.get16(Reg.FSW) & FSW_ES) throw new GuestFault(Vector.MF);
}

/** MONITOR, MWAIT: CPUID does not offer them. */
function notOffered(): never {
  throw new GuestFault(Vector.UD);
}

const SINGLE_CALLS: Record<string, CallSpec> = {
  interruptsMayBeOpen: { args: 0, result: false, run: (cpu) => cpu.interruptsMayBeOpen() },
  modeChanged: { args: 0, result: false, run: (cpu) => cpu.modeChanged() },
  hlt: { args: 0, result: false, run: (cpu) => cpu.halt() },
  vmcall: { args: 0, result: false, run: vmcall },
  rdrand: { args: 0, result: true, run: (cpu) => BigInt.asUintN(64, cpu.random64()) },
  wait: { args: 0, result: false, run: wait },
  monitor: { args: 0, result: false, run: notOffered },
  mwait: { args: 0, result: false, run: notOffered },
  // Caches of guest memory are coherent with everything that looks at it.
  wbinvd: { args: 0, result: false, run: () => undefined },
};

/** The records by area; no name is in two of them (a test checks). */
export const CALL_AREAS: readonly Readonly<Record<string, CallSpec>>[] = [
  SINGLE_CALLS,
  CRYPTO_CALLS,
  CONTROL_CALLS,
  CPUID_CALLS,
  DEBUG_CALLS,
  FAR_CALLS,
  FAST_CALLS,
  MSR_CALLS,
  PORT_CALLS,
  RFLAGS_CALLS,
  SEGMENT_CALLS,
  TIME_CALLS,
  SSE_CALLS,
  INTEGER_CALLS,
  X87_CALLS,
];

export const CALLS: Readonly<Record<string, CallSpec>> = Object.assign({}, ...CALL_AREAS);
