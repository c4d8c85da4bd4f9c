/* Cpu: what plain-TypeScript instruction work (exceptions, descriptor loads, MSRs, x87, CPUID) sees of a vCPU. Implemented by
 * each engine over its register file and memory, and by the oracle. Runs on the executor's thread.
 * Faults leave by throwing GuestFault; the engine turns it into exception delivery. */
import type { RegisterFile } from "./register-file.ts";
import type { CpuModel } from "./system/cpu-model.ts";

const PAGE_FAULT = 14;

/** An exception to deliver in the guest. Thrown by Cpu calls; never reaches the host's user. */
export class GuestFault extends Error {
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** Linear address for #PF. */
  readonly address: bigint | undefined;
  constructor(vector: number, errorCode?: number, address?: bigint) {
    super(`guest exception ${vector}`);
    this.vector = vector;
    this.errorCode = errorCode;
    this.address = address;
  }
}

/** A #PF that is thrown again and again: to make an Error costs more than all else about a fault. Valid until the next one of its owner. */
export class PageFault extends GuestFault {
  declare errorCode: number;
  declare address: bigint;
  constructor() {
    super(PAGE_FAULT, 0, 0n);
  }
  again(errorCode: number, address: bigint): this {
    this.errorCode = errorCode;
    this.address = address;
    return this;
  }
}

export const Vector = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const;

/** "system" accesses (descriptor tables, TSS, exception frames) are supervisor accesses whatever the CPL. */
export type Privilege = "current" | "system";

export interface Cpu {
  readonly regs: RegisterFile;
  /** What CPUID tells; one object for all vCPUs of a VM. */
  readonly model: CpuModel;
  /** Reads size bytes (1–8) at a linear address as an unsigned integer; throws GuestFault. */
  read(address: bigint, size: number, privilege?: Privilege): bigint;
  write(address: bigint, size: number, value: bigint, privilege?: Privilege): void;
  /** Copies bytes that are all plain memory and may be accessed; else does nothing, and the caller goes by read() and write(). @returns was it done? */
  copyIn?(address: bigint, into: Uint8Array): boolean;
  copyOut?(address: bigint, from: Uint8Array): boolean;
  /** Throws the #PF that a write would cause to any byte of the range. */
  probeWrite(address: bigint, size: number, privilege?: Privilege): void;
  /** Linear address of the instruction after the current one. */
  nextRip(): bigint;
  /** Linear address of the current instruction. */
  currentRip(): bigint;
  /** Sets RIP for what runs next and ends the block. Regs.RIP is written by the engine from this. */
  setRip(rip: bigint): void;
  /** Translations may have changed: CR3/CR4/CR0/EFER write, PCID, INVLPG (one address), INVPCID. */
  flushTlb(
    scope: { kind: "all" } | { kind: "nonGlobal"; pcid?: number } | { kind: "address"; address: bigint; pcid?: number },
  ): void;
  /** Paging mode, CPL, AC, CR3, CR0.TS/EM, CR4.OSFXSR or DR7 changed: the engine chooses TLBs (and stepping) anew. */
  modeChanged(): void;
  /** Guest TSC in ticks (1 GHz nominal: nanoseconds). */
  tsc(): bigint;
  random64(): bigint;
  /** MSRs that belong to devices (x2APIC, kvmclock, …): undefined if there is none, which gives #GP. */
  readDeviceMsr(index: number): bigint | undefined;
  /** @returns false if there is no such MSR or the value is refused (#GP) */
  writeDeviceMsr(index: number, value: bigint): boolean;
  portIn(port: number, size: 1 | 2 | 4): number;
  portOut(port: number, size: 1 | 2 | 4, value: number): void;
  /** Local APIC task priority (CR8). */
  readTpr(): number;
  writeTpr(value: number): void;
  /** A KVM hypercall (VMCALL/VMMCALL). */
  hypercall(nr: bigint, a0: bigint, a1: bigint, a2: bigint, a3: bigint): bigint;
  /** HLT: the vCPU sleeps until an interrupt. */
  halt(): void;
  /** Interrupts may have become deliverable (IF set, shadow over, TPR lowered), or TF was set: the engine looks before the next instruction. */
  interruptsMayBeOpen(): void;
}
