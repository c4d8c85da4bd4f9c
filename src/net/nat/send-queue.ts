/* Bytes on their way to a guest, from the first that it has not acknowledged: the host socket's chunks as they came, so that each byte is copied once, into
 * its frame. I/O thread. */

export class SendQueue {
  #chunks: Uint8Array[] = [];
  /** Chunks before this one are gone; the array is cut when half of it is. */
  #head = 0;
  /** Bytes of the first chunk that are gone. */
  #skipped = 0;
  #lengthBytes = 0;
  /** Where copy() ended, since the next one mostly begins there: a position from the queue's start, its chunk, and the chunk's position. */
  #cursor = 0;
  #cursorStart = 0;

  get lengthBytes(): number {
    return this.#lengthBytes;
  }
  /** Takes a chunk, which nobody changes afterwards. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#lengthBytes += chunk.length;
  }
  /** Drops bytes at the start; at most lengthBytes. */
  drop(bytes: number): void {
    this.#lengthBytes -= bytes;
    let rest = bytes + this.#skipped;
    while (this.#head < this.#chunks.length && rest >= this.#chunks[this.#head]!.length) {
      rest -= this.#chunks[this.#head]!.length;
      this.#head++;
    }
    this.#skipped = rest;
    if (this.#head > 32 && this.#head * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#cursor = Math.max(this.#cursor - this.#head, 0);
      this.#head = 0;
    }
    // The cursor's positions count from the queue's start, which has moved.
    this.#cursorStart -= bytes;
    if (this.#cursor <= this.#head) this.#rewind();
  }
  /** Copies `length` bytes that begin `offset` bytes behind the start; they are there. */
  copy(offset: number, length: number, target: Uint8Array, at: number): void {
    if (offset < this.#cursorStart) this.#rewind();
    let index = this.#cursor;
    let start = this.#cursorStart;
    while (start + this.#chunks[index]!.length <= offset) start += this.#chunks[index++]!.length;
    let from = offset - start;
    for (let left = length; left > 0;) {
      const chunk = this.#chunks[index]!;
      const part = Math.min(left, chunk.length - from);
      target.set(from === 0 && part === chunk.length ? chunk : chunk.subarray(from, from + part), at);
      at += part;
      left -= part;
      from += part;
      if (left > 0) {
        start += chunk.length;
        index++;
        from = 0;
      }
    }
    this.#cursor = index;
    this.#cursorStart = start;
  }
  clear(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#skipped = 0;
    this.#lengthBytes = 0;
    this.#rewind();
  }

  #rewind(): void {
    this.#cursor = this.#head;
    this.#cursorStart = -this.#skipped;
  }
}
