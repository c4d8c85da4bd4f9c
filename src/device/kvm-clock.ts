/* KVM's paravirtual clock and steal time of one vCPU: MSRs that name places in guest memory, which are filled here.
 * @source Linux Documentation/virt/kvm/x86/msr.rst; arch/x86/include/asm/pvclock-abi.h
 * The TSC counts nanoseconds, so the clock's scale is the identity and its page needs no updates while the vCPU runs.
 * Runs on the executor that runs the vCPU. Leaves out: asynchronous page faults, paravirtual EOI, poll control.
 *
 *   pvclock_vcpu_time_info            pvclock_wall_clock     kvm_steal_time
 *   +0   u32 version                  +0  u32 version        +0   u64 steal (ns)
 *   +8   u64 tsc_timestamp            +4  u32 seconds        +8   u32 version
 *   +16  u64 system_time (ns)         +8  u32 nanoseconds    +12  u32 flags
 *   +24  u32 tsc_to_system_mul                               +16  u8  preempted
 *   +28  i8  tsc_shift
 *   +29  u8  flags
 */
import { Reg } from "../isa/registers.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";

export const KvmMsr = {
  WALL_CLOCK: 0x11,
  SYSTEM_TIME: 0x12,
  WALL_CLOCK_NEW: 0x4b564d00,
  SYSTEM_TIME_NEW: 0x4b564d01,
  STEAL_TIME: 0x4b564d03,
} as const;

/** u64 words of shared state. */
const Word = {
  WALL_CLOCK: 0,
  SYSTEM_TIME: 1,
  STEAL_TIME: 2,
  SYSTEM_VERSION: 3,
  STEAL_VERSION: 4,
  STEAL: 5,
  PREEMPTED: 6,
} as const;
export const KVM_CLOCK_STATE_BYTES = 7 * 8;

const ENABLED = 1n;
const STEAL_RESERVED = 0x3en;
const TSC_STABLE = 1;
/** ns = (ticks << 1) × 2^31 >> 32: one nanosecond a tick. */
const SCALE = { multiplier: 0x80000000, shift: 1 } as const;
/** Bits of `preempted`. */
const PREEMPTED = 1;
const FLUSH_TLB = 2;
const BILLION = 1_000_000_000n;

/** Where the clock's time comes from. */
export interface ClockSource {
  /** Host monotonic nanoseconds. */
  hostNs(): number;
  /** Nanoseconds since 1970, UTC. */
  realtimeNs(): bigint;
}

export class KvmClock {
  readonly #w: BigUint64Array;
  readonly #regs: Int32Array;
  readonly #memory: GuestMemory;
  readonly #source: ClockSource;

  /** @param regs the vCPU's register file as i32 words */
  constructor(buffer: SharedArrayBuffer, offset: number, regs: Int32Array, memory: GuestMemory, source: ClockSource) {
    this.#w = new BigUint64Array(buffer, offset, KVM_CLOCK_STATE_BYTES / 8);
    this.#regs = regs;
    this.#memory = memory;
    this.#source = source;
  }

  /** @returns undefined if the MSR is not one of these */
  readMsr(index: number): bigint | undefined {
    if (index === KvmMsr.WALL_CLOCK || index === KvmMsr.WALL_CLOCK_NEW) return this.#w[Word.WALL_CLOCK];
    if (index === KvmMsr.SYSTEM_TIME || index === KvmMsr.SYSTEM_TIME_NEW) return this.#w[Word.SYSTEM_TIME];
    if (index === KvmMsr.STEAL_TIME) return this.#w[Word.STEAL_TIME];
    return undefined;
  }
  /** @returns false for #GP. A place outside RAM is no error: it is just never filled, as in KVM. */
  writeMsr(index: number, value: bigint): boolean {
    if (index === KvmMsr.WALL_CLOCK || index === KvmMsr.WALL_CLOCK_NEW) {
      this.#w[Word.WALL_CLOCK] = value;
      this.#writeWallClock();
    } else if (index === KvmMsr.SYSTEM_TIME || index === KvmMsr.SYSTEM_TIME_NEW) {
      this.#w[Word.SYSTEM_TIME] = value;
      this.refresh();
    } else if (index === KvmMsr.STEAL_TIME) {
      if ((value & STEAL_RESERVED) !== 0n) return false;
      this.#w[Word.STEAL_TIME] = value;
      this.setSteal(Number(this.#w[Word.STEAL]));
    } else return false;
    return true;
  }

  /** Writes the clock page anew; needed after TSC_OFFSET was changed (restore, migration). */
  refresh(): void {
    const place = this.#w[Word.SYSTEM_TIME]!;
    if ((place & ENABLED) === 0n) return;
    const at = Number(place & ~ENABLED);
    const version = this.#nextVersion(Word.SYSTEM_VERSION);
    const tsc = this.#tsc();
    if (!this.#memory.writeU32(at, version - 1)) return;
    this.#memory.writeU32(at + 4, 0);
    this.#memory.writeU64(at + 8, tsc);
    this.#memory.writeU64(at + 16, tsc);
    this.#memory.writeU32(at + 24, SCALE.multiplier);
    this.#memory.writeU32(at + 28, SCALE.shift | (TSC_STABLE << 8));
    this.#memory.writeU32(at, version);
  }
  /** Tells the guest how long its vCPU was ready but did not run. @param ns total so far; never falls */
  setSteal(ns: number): void {
    this.#w[Word.STEAL] = BigInt(Math.max(0, Math.round(ns)));
    const at = this.#stealAt();
    if (at < 0) return;
    const version = this.#nextVersion(Word.STEAL_VERSION);
    if (!this.#memory.writeU32(at + 8, version - 1)) return;
    this.#memory.writeU64(at, this.#w[Word.STEAL]!);
    this.#memory.writeU32(at + 12, 0);
    this.#memory.writeU32(at + 8, version);
  }
  addSteal(ns: number): void {
    this.setSteal(Number(this.#w[Word.STEAL]) + ns);
  }
  /** The vCPU is ready but does not run: others that spin for it should yield, and need not wait for it to flush its TLB. */
  preempted(): void {
    const at = this.#stealAt();
    if (at < 0) return;
    this.#w[Word.PREEMPTED] = 1n;
    this.#memory.exchangeU8(at + 16, PREEMPTED);
  }
  /** The vCPU is about to run. @returns true if its TLB must be flushed before */
  resumed(): boolean {
    if (this.#w[Word.PREEMPTED] === 0n) return false;
    this.#w[Word.PREEMPTED] = 0n;
    const at = this.#stealAt();
    return at >= 0 && ((this.#memory.exchangeU8(at + 16, 0) ?? 0) & FLUSH_TLB) !== 0;
  }

  #stealAt(): number {
    const place = this.#w[Word.STEAL_TIME]!;
    return (place & ENABLED) === 0n ? -1 : Number(place & ~(STEAL_RESERVED | ENABLED));
  }
  #writeWallClock(): void {
    const at = Number(this.#w[Word.WALL_CLOCK]!);
    // The time of day when the clock read 0, to the nanosecond.
    const started = this.#source.realtimeNs() - this.#tsc();
    const version = (((this.#memory.readU32(at) ?? 0) | 1) + 1) >>> 0;
    if (!this.#memory.writeU32(at, (version - 1) >>> 0)) return;
    this.#memory.writeU32(at + 4, Number((started / BILLION) & 0xffffffffn));
    this.#memory.writeU32(at + 8, Number(started % BILLION));
    this.#memory.writeU32(at, version);
  }
  #nextVersion(word: number): number {
    const version = (Number(this.#w[word]!) + 2) & 0x7ffffffe;
    this.#w[word] = BigInt(version);
    // Zero means "never filled in".
    return version === 0 ? this.#nextVersion(word) : version;
  }
  #tsc(): bigint {
    const low = this.#regs[Reg.TSC_OFFSET >> 2]! >>> 0;
    const offset = (BigInt(this.#regs[(Reg.TSC_OFFSET >> 2) + 1]!) << 32n) | BigInt(low);
    return BigInt.asUintN(64, BigInt(Math.round(this.#source.hostNs())) + offset);
  }
}
