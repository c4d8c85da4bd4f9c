/* World: what the executors of a machine agree on while they run: who is in generated code, and how one of them has the others out of it for a moment.
 * For what no atomic instruction can do: a LOCKed access across cache lines or pages, and taking write rights from another executor's TLBs.
 *
 * An executor says in its RUNS word which vCPU it runs, before a slice and after (0). Who wants to be alone takes LOCK and then waits until all RUNS are 0;
 * who is about to run looks at LOCK after it has set RUNS. A running vCPU is asked by ATTENTION, which it sees at the next block that it looks up or at the end of
 * its fuel: some tens of microseconds. Runs on executor threads, which may block. @source docs/vcpus.md
 * And when all of them hold no address of a frame that was taken from the guest. @source docs/memory.md */
import { Reg } from "../../isa/registers.ts";
import { Attention } from "../engine.ts";
import { World as Place } from "./layout.ts";

const LOCK = Place.LOCK >> 2;
const RETURNS = Place.RETURNS >> 2;
const AWAITED = Place.AWAITED >> 2;
const passesOf = (executor: number): number => (Place.PASSES + executor * Place.PASSES_STEP) >> 2;
const runsOf = (executor: number): number => (Place.RUNS + executor * Place.RUNS_STEP) >> 2;

export class World {
  readonly #words: Int32Array;
  readonly #executors: number;
  readonly #me: number;
  readonly #runs: number;
  readonly #passes: number;

  /** @param words the state memory  @param me the index of the executor on this thread */
  constructor(words: Int32Array, me: number, executors: number) {
    this.#words = words;
    this.#executors = executors;
    this.#me = me;
    this.#runs = runsOf(me);
    this.#passes = passesOf(me);
  }

  // ——— frames that are taken from the guest: docs/memory.md ———
  /** From here until offline(), this executor may hold addresses of frames: one that was found before pass() must not be used after it. */
  online(): void {
    Atomics.add(this.#words, this.#passes, 1);
  }
  offline(): void {
    this.#pass(1);
  }
  /** It holds none now, but for TLB entries. @returns how often frames were taken: if that is not what a vCPU has seen last, its entries are to go */
  pass(): number {
    this.#pass(2);
    return Atomics.load(this.#words, RETURNS);
  }
  #pass(step: 1 | 2): void {
    Atomics.add(this.#words, this.#passes, step);
    if (Atomics.load(this.#words, AWAITED) !== 0) Atomics.notify(this.#words, this.#passes);
  }

  /** A slice is about to run. Waits while another executor wants to be alone. @param state the vCPU's register file */
  enter(state: number): void {
    const words = this.#words;
    for (;;) {
      Atomics.store(words, this.#runs, state);
      const holder = Atomics.load(words, LOCK);
      if (holder === 0) return;
      this.leave();
      Atomics.wait(words, LOCK, holder);
    }
  }
  /** The slice is over. */
  leave(): void {
    Atomics.store(this.#words, this.#runs, 0);
    if (Atomics.load(this.#words, LOCK) !== 0) Atomics.notify(this.#words, this.#runs);
  }

  /** Runs `work` while no other executor is in generated code. May be called from there, by an instruction that has done nothing yet, and must then be
   *  prepared to find memory changed. Not within itself. */
  alone<T>(work: () => T): T {
    if (this.#executors === 1) return work();
    const words = this.#words;
    const running = words[this.#runs]!;
    if (running !== 0) this.leave(); // others may want the same
    for (;;) {
      const holder = Atomics.compareExchange(words, LOCK, 0, this.#me + 1);
      if (holder === 0) break;
      Atomics.wait(words, LOCK, holder);
    }
    try {
      for (let e = 0; e < this.#executors; e++) if (e !== this.#me) this.#stop(runsOf(e));
      return work();
    } finally {
      Atomics.store(words, this.#runs, running);
      Atomics.store(words, LOCK, 0);
      Atomics.notify(words, LOCK);
    }
  }
  #stop(runs: number): void {
    const words = this.#words;
    for (let state; (state = Atomics.load(words, runs)) !== 0;) {
      Atomics.or(words, (state + Reg.ATTENTION) >> 2, Attention.LOOK);
      Atomics.wait(words, runs, state);
    }
  }
}

/** Frames were unmapped. Resolves when no executor holds their addresses any more, in whatever way. Does not block: for the I/O thread, which serves one at a time.
 *  @param words the state memory */
export async function allPassed(words: Int32Array, executors: number): Promise<void> {
  Atomics.add(words, RETURNS, 1);
  Atomics.store(words, AWAITED, 1);
  const before = Array.from({ length: executors }, (_, e) => Atomics.load(words, passesOf(e)));
  for (let e = 0; e < executors; e++) {
    const state = Atomics.load(words, runsOf(e));
    if (state !== 0) Atomics.or(words, (state + Reg.ATTENTION) >> 2, Attention.LOOK);
  }
  for (let e = 0; e < executors; e++) {
    if ((before[e]! & 1) === 0) continue;
    const wait = Atomics.waitAsync(words, passesOf(e), before[e]!);
    if (wait.async) await wait.value;
  }
  Atomics.store(words, AWAITED, 0);
}
