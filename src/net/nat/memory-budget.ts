/* What all connections of a gateway may hold together of bytes on their way: near the end each gets less, at the end nothing. */

export class MemoryBudget {
  readonly #limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }
  get usedBytes(): number {
    return this.#usedBytes;
  }
  /** @param change may be negative */
  account(change: number): void {
    this.#usedBytes += change;
  }
  /** What one connection may hold: `wanted` while less than half is used, then a share of what is left. */
  share(wanted: number): number {
    const left = this.#limitBytes - this.#usedBytes;
    return left >= this.#limitBytes / 2 ? wanted : Math.max(Math.min(wanted, Math.floor(left / 16)), 0);
  }
  /** Would so many more bytes be too many? */
  isExhaustedBy(bytes: number): boolean {
    return this.#usedBytes + bytes > this.#limitBytes;
  }
}
