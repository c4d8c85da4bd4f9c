/* The order in which a region takes code in: the ways that are likely from its seed come first, and what is hardly ever reached is left out, so that it costs neither the
 * compilers' time nor registers. How likely a branch is, is told by its history, which the interpreter keeps. Runs on the executor's thread. */

/** Results that the history of a branch holds, as bits: 1, it was taken. */
const HISTORY_BITS = 16;
/** A way that is taken less often than this is left out, if the ways to it are what they were. */
const LEAST = 1 / 4096;
/** Offsets must be i32. */
const FARTHEST = 2 ** 30;

/** Part of its executions in which a branch is taken, never 0 nor 1. @param history Entry.HISTORY */
export function takenShare(history: number): number {
  let taken = 0;
  for (let bits = history; bits !== 0; bits &= bits - 1) taken++;
  return (taken + 0.5) / (HISTORY_BITS + 1);
}

interface Way {
  readonly offset: number;
  weight: number;
}

/** Places to go to, the likeliest first; each once. */
export class LikelyWays {
  readonly #waiting = new Map<number, Way>();
  readonly #done = new Set<number>();

  constructor(seed: number) {
    this.#waiting.set(seed, { offset: seed, weight: 1 });
  }
  /** @param weight how often it is reached this way, for each time at the seed */
  add(offset: number, weight: number): void {
    if (this.#done.has(offset) || Math.abs(offset) > FARTHEST) return;
    const known = this.#waiting.get(offset);
    if (known) known.weight += weight;
    else this.#waiting.set(offset, { offset, weight });
  }
  next(): Way | undefined {
    let best: Way | undefined;
    for (const way of this.#waiting.values()) if (best === undefined || way.weight > best.weight) best = way;
    if (best === undefined || best.weight < LEAST) return undefined;
    this.#waiting.delete(best.offset);
    this.#done.add(best.offset);
    return best;
  }
}
