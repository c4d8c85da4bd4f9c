/* How a vCPU is called, by whatever thread, wherever it is: the words that executors and callers share, at the end of each register file.
 * A vCPU belongs to one executor at a time, the owner: the index in its OWNER word, with RUNNING while the executor runs it. An executor has a bell, in the
 * register file of the vCPU of its own index (there are never more executors than vCPUs); that is the one word it waits on, however many vCPUs it has.
 *
 *   +0x00  i32  OWNER     executor, and RUNNING            of this vCPU
 *   +0x04  i32  READY_US  µs of the host when this vCPU became ready to run without running (the low 31 bits, never 0); 0: it is not
 *   +0x08  i32  KICKED    its next HLT (or the one it is in) ends by itself
 *   +0x10  i32  BELL      changes with every call          of the executor of the same index
 *   +0x14  i32  CURRENT   vCPU that it runs, plus 1; 0: none
 *   +0x18  i32  ASLEEP    nonzero while it waits on BELL
 *
 * Nothing is lost: a caller sets ATTENTION first and looks at OWNER then; an executor gives up RUNNING first and looks at ATTENTION then, and it reads BELL before
 * it looks for work. Atomics are sequentially consistent. @source docs/vcpus.md */
import { Reg } from "../isa/registers.ts";
import { hostNanos } from "./clock.ts";
import { Attention } from "./engine.ts";

const at = (offset: number): number => (Reg.EXECUTOR + offset) >> 2;
/** Indices of the words in a register file taken as i32. */
export const Word = {
  ATTENTION: Reg.ATTENTION >> 2,
  OWNER: at(0),
  READY_US: at(4),
  KICKED: at(8),
  BELL: at(0x10),
  CURRENT: at(0x14),
  ASLEEP: at(0x18),
} as const;
/** In OWNER: the executor is running the vCPU, nobody else may touch what is not for all. */
export const RUNNING = 0x100;
export const executorOf = (owner: number): number => owner & 0xff;

/** The host's time for READY_US. */
export const hostMicros = (): number => ((hostNanos() / 1000) % 0x7fff_ffff) | 1;

export class Wakeups {
  readonly #files: readonly Int32Array[];

  /** @param files the register files of all vCPUs, as i32 words */
  constructor(files: readonly Int32Array[]) {
    this.#files = files;
  }

  /** Makes vCPU n look around, also if it is halted. Any thread, never blocks. @param attention bits of Attention */
  wake(n: number, attention: number = Attention.LOOK): void {
    const file = this.#files[n]!;
    Atomics.or(file, Word.ATTENTION, attention);
    const owner = Atomics.load(file, Word.OWNER);
    if ((owner & RUNNING) !== 0) return;
    const executor = executorOf(owner);
    const current = Atomics.load(this.#files[executor]!, Word.CURRENT);
    if (current === 0) return this.ring(executor);
    // Its executor has another one in hand: whoever sleeps takes this one, else that one makes room.
    Atomics.compareExchange(file, Word.READY_US, 0, hostMicros());
    if (!this.ringSleeper()) Atomics.or(this.#files[current - 1]!, Word.ATTENTION, Attention.COME_OUT);
    this.ring(executor);
  }
  /** Ends its HLT, interrupt or not (KVM_HC_KICK_CPU). */
  kick(n: number): void {
    Atomics.store(this.#files[n]!, Word.KICKED, 1);
    this.wake(n);
  }
  /** Lets it go first, if it is ready but waits for its executor (KVM_HC_SCHED_YIELD). */
  favour(n: number): void {
    if (Atomics.load(this.#files[n]!, Word.READY_US) !== 0) this.wake(n);
  }
  /** All of them. */
  wakeAll(attention: number): void {
    this.#files.forEach((_, n) => this.wake(n, attention));
    // Also executors that have no vCPU just now.
    this.#files.forEach((_, executor) => this.ring(executor));
  }
  ring(executor: number): void {
    const file = this.#files[executor]!;
    Atomics.add(file, Word.BELL, 1);
    Atomics.notify(file, Word.BELL);
  }
  /** Calls an executor that has nothing to do. @returns false if all have */
  ringSleeper(): boolean {
    const sleeper = this.#files.findIndex((file) => Atomics.load(file, Word.ASLEEP) !== 0);
    if (sleeper < 0) return false;
    this.ring(sleeper);
    return true;
  }
}
