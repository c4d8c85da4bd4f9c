/* How long to wait for an acknowledgement. @source RFC 6298; Karn's rule is kept by whoever times. */

const INITIAL_MS = 1000;
/** RFC 6298 §2.4, though Linux has 200 ms: what a guest drops is mostly seen by duplicates, and one whose processors are busy elsewhere answers late. */
const MIN_MS = 1000;
/** RFC 6298 §2.5 would have 60 s: a guest that comes back after a pause should not wait so long. */
const MAX_MS = 8000;

export class RetransmissionTimeout {
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #ms = INITIAL_MS;

  get ms(): number {
    return this.#ms;
  }
  /** A segment that was sent once was acknowledged after so long. */
  measure(rttMs: number): void {
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = rttMs;
      this.#variationMs = rttMs / 2;
    } else {
      this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.#smoothedMs - rttMs);
      this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * rttMs;
    }
    this.#settle();
  }
  /** Nothing came in time. */
  backOff(): void {
    this.#ms = Math.min(this.#ms * 2, MAX_MS);
  }
  /** Something new was acknowledged: the next wait is an ordinary one again. */
  recover(): void {
    this.#settle();
  }

  #settle(): void {
    const wanted = this.#smoothedMs === undefined ? INITIAL_MS : this.#smoothedMs + 4 * this.#variationMs;
    this.#ms = Math.min(Math.max(wanted, MIN_MS), MAX_MS);
  }
}
