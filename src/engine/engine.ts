/* Engine: runs a vCPU until something outside it is needed. Machine, devices, pools, snapshots and API do not know which engine runs.
 * Called on an executor thread. @source docs/design.md "Two engines under one machine" */
import type { RegisterFile } from "../isa/register-file.ts";
import { hostNanos } from "./clock.ts";

/** Why run() came back. "attention": somebody set ATTENTION.COME_OUT (interrupts are handled inside). */
export type Exit =
  | { kind: "attention" }
  | { kind: "halted" }
  | { kind: "budget" }
  | { kind: "shutdown"; reason: string };

/** Bits of the ATTENTION word: look around (an interrupt, a timer), come out of run(). */
export const Attention = { LOOK: 1, COME_OUT: 2 } as const;

/** What a vCPU reaches outside the processor. Called synchronously on the executor's thread, from inside run(). Addresses are guest-physical.
 *  Never throws on guest data: reads of nothing give all ones, writes to nothing vanish. */
export interface VcpuPorts {
  mmioRead(gpa: number, size: 1 | 2 | 4 | 8): bigint;
  mmioWrite(gpa: number, size: 1 | 2 | 4 | 8, value: bigint): void;
  portIn(port: number, size: 1 | 2 | 4): number;
  portOut(port: number, size: 1 | 2 | 4, value: number): void;
  /** x2APIC and paravirtual MSRs. undefined / false: #GP */
  readMsr(index: number): bigint | undefined;
  writeMsr(index: number, value: bigint): boolean;
  /** Highest-priority deliverable vector, acknowledged (IRR → ISR); −1 none. */
  acknowledgeInterrupt(): number;
  /** True once for each pending NMI. */
  takeNmi(): boolean;
  readTpr(): number;
  writeTpr(value: number): void;
  hypercall(nr: bigint, a0: bigint, a1: bigint, a2: bigint, a3: bigint): bigint;
  /** The TSC-deadline timer of this vCPU has passed (Reg.DEADLINE): raise its interrupt. */
  deadlinePassed(): void;
}

export interface EngineVcpu {
  readonly regs: RegisterFile;
  /** Runs until an exit. @param budget at most about this many instructions (checked at block ends)
   *  @param untilNs host time at which "budget" is reached in any case, to some tens of microseconds */
  run(budget: number, untilNs?: number): Exit;
}

/** What a vCPU takes from the host by itself. A run that is to be repeated exactly has its own. */
export interface HostSources {
  /** Nanoseconds of a monotonic clock: the devices' hostNs. */
  nanos(): number;
  /** For RDRAND and RDSEED. */
  random64(): bigint;
}
export const HOST: HostSources = {
  nanos: hostNanos,
  random64: () => crypto.getRandomValues(new BigUint64Array(1))[0]!,
};
