/* Local APIC in x2APIC mode, one per vCPU: interrupt priorities, timer, interprocessor interrupts. @source SDM vol. 3A §11 (10 in older editions).
 * IRR may be set from any thread; all else is changed only by the executor that runs the vCPU, which is why no lock is needed: whoever sets an IRR
 * bit looks at PPR afterwards, whoever lowers PPR looks at IRR afterwards, and Atomics are sequentially consistent. They also cost some 20 ns each,
 * hence IRR_WORDS, which says which words of IRR to look at, and PPR, kept instead of worked out.
 * Leaves out: xAPIC MMIO, INIT and SIPI (vCPUs start through the ACPI mailbox), SMI, CMCI. */
import { Attention } from "../engine/engine.ts";
import { Wakeups } from "../engine/wakeups.ts";
import { Reg } from "../isa/registers.ts";

/** Where the local APIC of one vCPU keeps its registers: i32 words. */
const Word = {
  TPR: 0,
  SVR: 1,
  ESR: 2,
  ERRORS: 3, // gathered since ESR was last written
  ICR_LOW: 4,
  ICR_HIGH: 5,
  LVT: 6, // timer, thermal, performance, LINT0, LINT1, error: to 12
  INITIAL_COUNT: 12,
  DIVIDE: 13,
  NMI: 14,
  PPR: 15,
  ISR: 16, // 8 words each
  TMR: 24,
  IRR: 32,
  IRR_WORDS: 40, // bit n: word n of IRR may be other than 0
} as const;
export const LOCAL_APIC_STATE_BYTES = 48 * 4;

/** MSR numbers. @source SDM vol. 3A table "Local APIC Register Address Map Supported by x2APIC" */
export const ApicMsr = {
  APIC_BASE: 0x1b,
  TSC_DEADLINE: 0x6e0,
  ID: 0x802,
  VERSION: 0x803,
  TPR: 0x808,
  PPR: 0x80a,
  EOI: 0x80b,
  LDR: 0x80d,
  SVR: 0x80f,
  ISR: 0x810,
  TMR: 0x818,
  IRR: 0x820,
  ESR: 0x828,
  ICR: 0x830,
  LVT_TIMER: 0x832,
  LVT_ERROR: 0x837,
  INITIAL_COUNT: 0x838,
  CURRENT_COUNT: 0x839,
  DIVIDE: 0x83e,
  SELF_IPI: 0x83f,
} as const;

const LVT_MASKED = 1 << 16;
const SVR_ENABLED = 1 << 8;
const TimerMode = { ONE_SHOT: 0, PERIODIC: 1, TSC_DEADLINE: 2 } as const;
const DeliveryMode = { FIXED: 0, LOWEST_PRIORITY: 1, NMI: 4, EXTINT: 7 } as const;
const Shorthand = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;
const ApicError = { SEND_ILLEGAL_VECTOR: 1 << 5, RECEIVE_ILLEGAL_VECTOR: 1 << 6 } as const;
/** Writable bits of each LVT entry; vector, mask and what the entry has besides. */
const LVT_WRITABLE = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];
/** Version 0x14, six LVT entries. */
const VERSION = 0x14 | (5 << 16);
/** A periodic timer must leave the guest time to run: no more than 20 000 interrupts a second. */
const MIN_PERIOD_NS = 50_000;
const TWO32 = 0x1_0000_0000;

/** What local APICs need of the rest of the machine. */
export interface LocalApicPorts {
  /** Host monotonic nanoseconds, the same on all threads. */
  hostNs(): number;
  /** A level-triggered vector was ended: the IOAPIC may send it again. */
  endOfInterrupt(vector: number): void;
}

export class LocalApic {
  readonly id: number;
  readonly #w: Int32Array;
  readonly #regs: Int32Array;
  readonly #all: LocalApics;
  readonly #wakeups: Wakeups;
  readonly #ports: LocalApicPorts;
  readonly #value64 = new BigUint64Array(1);
  readonly #value32 = new Int32Array(this.#value64.buffer);

  /** @param words this APIC's state  @param regs the vCPU's register file as i32 words */
  constructor(
    id: number,
    words: Int32Array,
    regs: Int32Array,
    all: LocalApics,
    wakeups: Wakeups,
    ports: LocalApicPorts,
  ) {
    this.id = id;
    this.#w = words;
    this.#regs = regs;
    this.#all = all;
    this.#wakeups = wakeups;
    this.#ports = ports;
  }

  /** Power-on state, with x2APIC mode already on. */
  reset(): void {
    this.#w.fill(0);
    this.#w[Word.SVR] = 0xff;
    this.#w.fill(LVT_MASKED, Word.LVT, Word.LVT + 6);
    this.#setDeadline(-1);
    Atomics.store(this.#regs, Reg.INTERRUPT_PENDING >> 2, 0);
  }

  // ── interrupts in ──

  /** Accepts a fixed interrupt. Any thread. @returns false if the APIC is software-disabled or the vector is illegal */
  raise(vector: number, level: boolean): boolean {
    const w = this.#w;
    if ((Atomics.load(w, Word.SVR) & SVR_ENABLED) === 0) return false;
    if (vector < 16) {
      this.#error(ApicError.RECEIVE_ILLEGAL_VECTOR);
      return false;
    }
    const word = vector >> 5;
    const bit = 1 << (vector & 31);
    if (level) Atomics.or(w, Word.TMR + word, bit);
    else if ((w[Word.TMR + word]! & bit) !== 0) Atomics.and(w, Word.TMR + word, ~bit);
    Atomics.or(w, Word.IRR + word, bit);
    Atomics.or(w, Word.IRR_WORDS, 1 << word);
    if (vector >> 4 > this.readPpr() >> 4) {
      Atomics.store(this.#regs, Reg.INTERRUPT_PENDING >> 2, 1);
      this.#wake();
    }
    return true;
  }
  /** Any thread. The engine takes it with takeNmi(). */
  raiseNmi(): void {
    Atomics.store(this.#w, Word.NMI, 1);
    this.#wake();
  }
  /** True once for each pending NMI (further ones collapse into it). */
  takeNmi(): boolean {
    return this.#w[Word.NMI] !== 0 && Atomics.exchange(this.#w, Word.NMI, 0) !== 0;
  }
  /** Highest deliverable vector, moved from IRR to ISR; −1 none. */
  acknowledgeInterrupt(): number {
    const w = this.#w;
    const vector = this.#highestRequest();
    if (vector >= 0 && vector >> 4 > w[Word.PPR]! >> 4) {
      const word = vector >> 5;
      const bit = 1 << (vector & 31);
      w[Word.ISR + word]! |= bit;
      if (Atomics.and(w, Word.IRR + word, ~bit) === bit) {
        Atomics.and(w, Word.IRR_WORDS, ~(1 << word));
        // A request that came between these two has said so in IRR_WORDS too early.
        if (Atomics.load(w, Word.IRR + word) !== 0) Atomics.or(w, Word.IRR_WORDS, 1 << word);
      }
      this.#refresh();
      return vector;
    }
    this.#refresh();
    return -1;
  }
  endOfInterrupt(): void {
    const w = this.#w;
    const vector = highest(w, Word.ISR);
    if (vector < 0) return;
    const word = vector >> 5;
    const bit = 1 << (vector & 31);
    w[Word.ISR + word]! &= ~bit;
    if ((w[Word.TMR + word]! & bit) !== 0) this.#ports.endOfInterrupt(vector);
    this.#refresh();
  }

  // ── priorities ──

  /** CR8's view of the task priority: 0–15. */
  readTpr(): number {
    return this.#w[Word.TPR]! >> 4;
  }
  writeTpr(value: number): void {
    this.#writeTaskPriority((value & 15) << 4);
  }
  readPpr(): number {
    return Atomics.load(this.#w, Word.PPR);
  }
  #writeTaskPriority(value: number): void {
    this.#w[Word.TPR] = value & 0xff;
    this.#refresh();
  }
  /** Called by the vCPU's own executor after any change of TPR, ISR or IRR: works out PPR and whether something can be delivered. */
  #refresh(): void {
    const tpr = this.#w[Word.TPR]!;
    const inService = highest(this.#w, Word.ISR);
    const ppr = tpr >> 4 >= inService >> 4 ? tpr : inService & 0xf0;
    Atomics.store(this.#w, Word.PPR, ppr);
    // Cleared before IRR is read: a vector that comes meanwhile from another thread sets it again.
    Atomics.store(this.#regs, Reg.INTERRUPT_PENDING >> 2, 0);
    if (this.#highestRequest() >> 4 <= ppr >> 4) return;
    Atomics.store(this.#regs, Reg.INTERRUPT_PENDING >> 2, 1);
    Atomics.or(this.#regs, Reg.ATTENTION >> 2, Attention.LOOK);
  }
  /** Highest vector in IRR; −1 none. */
  #highestRequest(): number {
    let words = Atomics.load(this.#w, Word.IRR_WORDS);
    while (words !== 0) {
      const word = 31 - Math.clz32(words);
      const bits = Atomics.load(this.#w, Word.IRR + word);
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits);
      words &= ~(1 << word);
    }
    return -1;
  }
  /** Makes the vCPU look, also if it is halted. */
  #wake(): void {
    this.#wakeups.wake(this.id);
  }
  #error(bit: number): void {
    Atomics.or(this.#w, Word.ERRORS, bit);
    const lvt = this.#w[Word.LVT + 5]!;
    if ((lvt & LVT_MASKED) === 0 && (lvt & 0xff) >= 16) this.raise(lvt & 0xff, false);
  }

  // ── timer ──

  /** Reg.DEADLINE has passed: raises the timer's interrupt and arms the next period, if periodic. */
  deadlinePassed(): void {
    const lvt = this.#w[Word.LVT]!;
    const deadline = this.#deadline();
    if (deadline < 0) return;
    let next = -1;
    if (timerMode(lvt) === TimerMode.PERIODIC) {
      const period = Math.max(MIN_PERIOD_NS, this.#countNs());
      const now = this.#ports.hostNs();
      // Periods that the vCPU slept through are lost, as on a processor whose interrupt was still pending.
      next = deadline + period * Math.max(1, Math.ceil((now - deadline) / period));
    }
    this.#setDeadline(next);
    if ((lvt & LVT_MASKED) === 0) this.raise(lvt & 0xff, false);
  }
  #writeTscDeadline(tsc: number): void {
    if (timerMode(this.#w[Word.LVT]!) !== TimerMode.TSC_DEADLINE) return;
    if (tsc === 0) return this.#setDeadline(-1);
    const deadline = tsc - this.#tscOffset();
    this.#setDeadline(Math.max(0, deadline));
    if (deadline <= this.#ports.hostNs()) this.deadlinePassed();
  }
  #writeInitialCount(count: number): void {
    this.#w[Word.INITIAL_COUNT] = count;
    if (timerMode(this.#w[Word.LVT]!) === TimerMode.TSC_DEADLINE) return;
    this.#setDeadline(count === 0 ? -1 : this.#ports.hostNs() + this.#countNs());
  }
  #currentCount(): number {
    const deadline = this.#deadline();
    if (deadline < 0 || timerMode(this.#w[Word.LVT]!) === TimerMode.TSC_DEADLINE) return 0;
    const left = Math.ceil((deadline - this.#ports.hostNs()) / this.#divisor());
    return Math.min(this.#w[Word.INITIAL_COUNT]! >>> 0, Math.max(0, left));
  }
  #divisor(): number {
    const divide = this.#w[Word.DIVIDE]!;
    const code = ((divide >> 1) & 4) | (divide & 3);
    return code === 7 ? 1 : 2 << code;
  }
  #countNs(): number {
    return (this.#w[Word.INITIAL_COUNT]! >>> 0) * this.#divisor();
  }
  #deadline(): number {
    return this.#regs[(Reg.DEADLINE >> 2) + 1]! * TWO32 + (this.#regs[Reg.DEADLINE >> 2]! >>> 0);
  }
  #setDeadline(ns: number): void {
    const high = Math.floor(ns / TWO32);
    this.#regs[Reg.DEADLINE >> 2] = ns - high * TWO32;
    this.#regs[(Reg.DEADLINE >> 2) + 1] = high;
  }
  #tscOffset(): number {
    return this.#regs[(Reg.TSC_OFFSET >> 2) + 1]! * TWO32 + (this.#regs[Reg.TSC_OFFSET >> 2]! >>> 0);
  }

  // ── MSRs ──

  /** @returns undefined for #GP */
  readMsr(index: number): bigint | undefined {
    if (index === ApicMsr.APIC_BASE) return BigInt(this.#apicBase());
    if (index === ApicMsr.TSC_DEADLINE) {
      const deadline = timerMode(this.#w[Word.LVT]!) === TimerMode.TSC_DEADLINE ? this.#deadline() : -1;
      return deadline < 0 ? 0n : BigInt(Math.round(deadline + this.#tscOffset()));
    }
    if (index === ApicMsr.ICR)
      return (BigInt(this.#w[Word.ICR_HIGH]! >>> 0) << 32n) | BigInt(this.#w[Word.ICR_LOW]! >>> 0);
    const value = this.#readRegister(index);
    return value === undefined ? undefined : BigInt(value >>> 0);
  }
  #readRegister(index: number): number | undefined {
    const w = this.#w;
    if (index >= ApicMsr.ISR && index < ApicMsr.ESR) return Atomics.load(w, Word.ISR + index - ApicMsr.ISR);
    if (index >= ApicMsr.LVT_TIMER && index <= ApicMsr.LVT_ERROR) return w[Word.LVT + index - ApicMsr.LVT_TIMER];
    switch (index) {
      case ApicMsr.ID:
        return this.id;
      case ApicMsr.VERSION:
        return VERSION;
      case ApicMsr.TPR:
        return w[Word.TPR];
      case ApicMsr.PPR:
        return this.readPpr();
      case ApicMsr.LDR:
        return logicalId(this.id);
      case ApicMsr.SVR:
        return w[Word.SVR];
      case ApicMsr.ESR:
        return w[Word.ESR];
      case ApicMsr.INITIAL_COUNT:
        return w[Word.INITIAL_COUNT];
      case ApicMsr.CURRENT_COUNT:
        return this.#currentCount();
      case ApicMsr.DIVIDE:
        return w[Word.DIVIDE];
      default:
        return undefined;
    }
  }
  #apicBase(): number {
    return 0xfee00000 + 0xc00 + (this.id === 0 ? 0x100 : 0);
  }

  /** @returns false for #GP (no such register, read-only, reserved bits) */
  writeMsr(index: number, value: bigint): boolean {
    if (index === ApicMsr.TSC_DEADLINE) {
      this.#writeTscDeadline(Number(value));
      return true;
    }
    this.#value64[0] = value;
    const low = this.#value32[0]!;
    const high = this.#value32[1]!;
    if (index === ApicMsr.ICR) return this.#writeIcr(low, high);
    if (high !== 0) return false;
    // Only the mode that the vCPU started in exists.
    if (index === ApicMsr.APIC_BASE) return low >>> 0 === this.#apicBase();
    return this.#writeRegister(index, low);
  }
  #writeRegister(index: number, value: number): boolean {
    if (index >= ApicMsr.LVT_TIMER && index <= ApicMsr.LVT_ERROR)
      return this.#writeLvt(index - ApicMsr.LVT_TIMER, value);
    switch (index) {
      case ApicMsr.EOI:
        if (value !== 0) return false;
        this.endOfInterrupt();
        return true;
      case ApicMsr.TPR:
        if ((value & ~0xff) !== 0) return false;
        this.#writeTaskPriority(value);
        return true;
      case ApicMsr.SVR:
        return this.#writeSvr(value);
      case ApicMsr.ESR:
        if (value !== 0) return false;
        this.#w[Word.ESR] = Atomics.exchange(this.#w, Word.ERRORS, 0);
        return true;
      case ApicMsr.INITIAL_COUNT:
        this.#writeInitialCount(value >>> 0);
        return true;
      case ApicMsr.DIVIDE:
        if ((value & ~0xb) !== 0) return false;
        this.#w[Word.DIVIDE] = value;
        return true;
      case ApicMsr.SELF_IPI:
        if ((value & ~0xff) !== 0) return false;
        this.#sendFixed(this, value);
        return true;
      default:
        return false;
    }
  }
  #writeSvr(value: number): boolean {
    // Bit 12 (no EOI broadcast) is not offered in VERSION.
    if ((value & ~0x3ff) !== 0) return false;
    Atomics.store(this.#w, Word.SVR, value);
    if ((value & SVR_ENABLED) === 0) for (let i = 0; i < 6; i++) this.#w[Word.LVT + i]! |= LVT_MASKED;
    return true;
  }
  #writeLvt(entry: number, value: number): boolean {
    if ((value & ~(LVT_WRITABLE[entry]! | 0x5000)) !== 0) return false;
    const before = this.#w[Word.LVT + entry]!;
    let after = value & LVT_WRITABLE[entry]!;
    if ((this.#w[Word.SVR]! & SVR_ENABLED) === 0) after |= LVT_MASKED;
    this.#w[Word.LVT + entry] = after;
    if (entry === 0 && timerMode(before) !== timerMode(after)) {
      const bothCount = timerMode(before) !== TimerMode.TSC_DEADLINE && timerMode(after) !== TimerMode.TSC_DEADLINE;
      if (!bothCount) this.#setDeadline(-1);
    }
    return true;
  }

  // ── interprocessor interrupts ──

  #writeIcr(low: number, high: number): boolean {
    // Reserved: 12, 13 (delivery status does not exist in x2APIC mode; Linux writes 0), 16, 17 and 20–31.
    if ((low & 0xfff33000) !== 0) return false;
    this.#w[Word.ICR_LOW] = low;
    this.#w[Word.ICR_HIGH] = high;
    const mode = (low >> 8) & 7;
    const shorthand = (low >> 18) & 3;
    if (shorthand === Shorthand.SELF) this.#send(this, mode, low & 0xff);
    else
      for (const target of this.#all.apics) {
        const hit =
          shorthand === Shorthand.NONE
            ? matches(target.id, high, (low & 0x800) !== 0)
            : shorthand === Shorthand.ALL || target !== this;
        if (hit) this.#send(target, mode, low & 0xff);
      }
    return true;
  }
  #send(target: LocalApic, mode: number, vector: number): void {
    if (mode === DeliveryMode.NMI) target.raiseNmi();
    else if (mode === DeliveryMode.FIXED || mode === DeliveryMode.LOWEST_PRIORITY) this.#sendFixed(target, vector);
  }
  #sendFixed(target: LocalApic, vector: number): void {
    if (vector < 16) this.#error(ApicError.SEND_ILLEGAL_VECTOR);
    else target.raise(vector, false);
  }
}

/** The local APICs of a machine. APIC id = vCPU index. */
export class LocalApics {
  readonly apics: readonly LocalApic[];

  /** @param offset of the first APIC's state in `buffer`, LOCAL_APIC_STATE_BYTES apart  @param registerFiles one per vCPU, as i32 words */
  constructor(buffer: SharedArrayBuffer, offset: number, registerFiles: readonly Int32Array[], ports: LocalApicPorts) {
    const wakeups = new Wakeups(registerFiles);
    this.apics = registerFiles.map((regs, id) => {
      const words = new Int32Array(buffer, offset + id * LOCAL_APIC_STATE_BYTES, LOCAL_APIC_STATE_BYTES / 4);
      return new LocalApic(id, words, regs, this, wakeups, ports);
    });
  }

  /** A message from the IOAPIC. Any thread. @param destination 8-bit id or logical destination (cluster 0), 0xFF all */
  deliver(destination: number, logical: boolean, mode: number, vector: number, level: boolean): void {
    const wide = destination === 0xff ? 0xffffffff : destination;
    let best: LocalApic | undefined;
    for (const apic of this.apics) {
      if (!matches(apic.id, wide | 0, logical)) continue;
      if (mode === DeliveryMode.NMI) apic.raiseNmi();
      else if (mode === DeliveryMode.LOWEST_PRIORITY) {
        if (best === undefined || apic.readPpr() < best.readPpr()) best = apic;
      } else if (mode === DeliveryMode.FIXED) apic.raise(vector, level);
    }
    best?.raise(vector, level);
  }

  /** KVM_HC_SEND_IPI: one hypercall instead of a write to ICR per target. @param mask bit n stands for APIC id `first` + n
   *  @returns how many took it */
  sendToMask(mask: bigint, first: number, icr: number): number {
    let count = 0;
    for (let n = 0; n < 128 && first + n < this.apics.length; n++) {
      if (((mask >> BigInt(n)) & 1n) === 0n) continue;
      const apic = this.apics[first + n]!;
      if (((icr >> 8) & 7) === DeliveryMode.NMI) apic.raiseNmi();
      else if (!apic.raise(icr & 0xff, false)) continue;
      count++;
    }
    return count;
  }
}

/** x2APIC logical id: cluster in 16–31, one bit in 0–15. @source SDM vol. 3A §11.12.10.2 */
function logicalId(id: number): number {
  return ((id >> 4) << 16) | (1 << (id & 15));
}
function matches(id: number, destination: number, logical: boolean): boolean {
  if (destination === -1) return true;
  if (!logical) return destination === id;
  return destination >>> 16 === id >> 4 && (destination & (1 << (id & 15))) !== 0;
}
function timerMode(lvt: number): number {
  return (lvt >> 17) & 3;
}
/** Number of the highest set bit of the 256 from word `at` on; −1 none. */
function highest(words: Int32Array, at: number): number {
  for (let i = 7; i >= 0; i--) {
    const word = words[at + i]!;
    if (word !== 0) return i * 32 + 31 - Math.clz32(word);
  }
  return -1;
}
