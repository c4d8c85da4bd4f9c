/* What device fronts and backs share between threads: places in one SharedArrayBuffer, a spin lock for fronts, and the doorbell by which a
 * front wakes its back. All state is in the buffer, so that any thread can build the same view of it. */

/** Hands out places in a SharedArrayBuffer that is allocated afterwards, each on its own cache line. */
export class SharedPlan {
  #next = 0;
  /** @returns byte offset of `bytes` zeroed bytes, 64-byte aligned */
  take(bytes: number): number {
    const at = this.#next;
    this.#next = (at + bytes + 63) & ~63;
    return at;
  }
  get sizeBytes(): number {
    return this.#next;
  }
}

const SPINS_BEFORE_SLEEP = 200;

/** Mutual exclusion over one word, for sections of well under a microsecond. Not re-entrant. */
export class SpinLock {
  readonly #words: Int32Array;
  readonly #index: number;

  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }
  lock(): void {
    let spins = 0;
    while (Atomics.compareExchange(this.#words, this.#index, 0, 1) !== 0) {
      // The holder may have been preempted on a host with few cores: give it the core instead of burning it.
      if (++spins > SPINS_BEFORE_SLEEP) Atomics.wait(this.#words, this.#index, 1, 0.05);
    }
  }
  unlock(): void {
    Atomics.store(this.#words, this.#index, 0);
  }
}

/** One word of 32 bits by which fronts on any thread call backs on the I/O thread. Rings before or while it is served are not lost. */
export class Doorbell {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#words = new Int32Array(buffer, offset, 1);
  }

  /** Never blocks. @param bit 0–31, given out by layout.ts */
  ring(bit: number): void {
    // Not zero: the I/O thread has been woken already and will see this bit too.
    if (Atomics.or(this.#words, 0, 1 << bit) === 0) Atomics.notify(this.#words, 0);
  }

  /** Serves the bell on the calling thread's event loop, and keeps that thread alive until stopped.
   *  @param handler gets the bits that were rung since the last call; must not throw
   *  @returns stops serving; resolves when the handler will not be called again */
  serve(handler: (bits: number) => void): () => Promise<void> {
    let stopped = false;
    // A pending Atomics.waitAsync does not keep Node's event loop alive; this does.
    const alive = setInterval(() => {}, 0x7fffffff);
    const finished = (async (): Promise<void> => {
      while (!stopped) {
        const bits = Atomics.exchange(this.#words, 0, 0);
        if (bits !== 0) handler(bits);
        if (stopped) break;
        const wait = Atomics.waitAsync(this.#words, 0, 0);
        if (wait.async) await wait.value;
        // Rung again meanwhile: let timers and files have their turn before the next round.
        else await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    return async () => {
      stopped = true;
      clearInterval(alive);
      Atomics.notify(this.#words, 0);
      await finished;
    };
  }
}
