/* The receiving half of a TCP connection: what of a guest's segments is taken, in which order, and the window it is given. @source RFC 9293 §3.4, §3.8.6,
 * §3.10.7.4. A window is never taken back; what comes beyond it, or finds the memory of all connections used up, is not acknowledged. I/O thread. */

/** Segments kept while an earlier one is missing. The link keeps their order, but a guest with several queues may not. */
const MAX_HELD = 64;
const MAX_WINDOW_FIELD = 0xffff;

export interface ReceiverUser {
  /** Bytes that would be taken now. */
  room(): number;
  /** Takes bytes, in order; views on a frame. @returns false: not now, and the guest will send them again */
  deliver(bytes: Uint8Array): boolean;
}

interface Held {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export class TcpReceiver {
  readonly #user: ReceiverUser;
  /** By how much the window field is scaled; 0 until the SYNs agree. */
  scale = 0;
  /** The next sequence number, RCV.NXT. */
  nxt: number;
  /** The guest may send up to here: RCV.NXT + RCV.WND as it was last told. */
  #edge: number;
  #held: Held[] = [];
  #heldBytes = 0;
  #largestRoom = 0;
  #finSeq: number | undefined;
  #isFinished = false;

  /** @param irs the guest's initial sequence number, the SYN's  */
  constructor(user: ReceiverUser, irs: number) {
    this.#user = user;
    this.nxt = (irs + 1) | 0;
    this.#edge = this.nxt;
  }

  /** The guest's FIN and all before it came. */
  get isFinished(): boolean {
    return this.#isFinished;
  }
  get heldBytes(): number {
    return this.#heldBytes;
  }
  /** What the guest may still send, as it was told. */
  get windowBytes(): number {
    return (this.#edge - this.nxt) | 0;
  }
  get hasGap(): boolean {
    return this.#held.length > 0;
  }

  /** Is any of it within the window? @source RFC 9293 §3.10.7.4, first check */
  isAcceptable(seq: number, length: number): boolean {
    const offset = (seq - this.nxt) | 0;
    const window = this.windowBytes;
    if (length === 0) return window === 0 ? offset === 0 : offset >= 0 && offset < window;
    return offset < window && offset + length > 0;
  }
  /** Does it begin where a guest could be that has kept to its window, also a closed one? Then its acknowledgement is good. */
  isWithin(seq: number): boolean {
    const offset = (seq - this.nxt) | 0;
    return offset >= 0 && offset < Math.max(this.windowBytes, 1);
  }

  /** Takes what is new of an acceptable segment. */
  take(seq: number, payload: Uint8Array, hasFin: boolean): void {
    if (this.#isFinished) return;
    let offset = (seq - this.nxt) | 0;
    let bytes = payload;
    let limit = this.windowBytes;
    if (this.#finSeq !== undefined) limit = Math.min(limit, (this.#finSeq - this.nxt) | 0);
    if (offset < 0) {
      bytes = bytes.subarray(Math.min(-offset, bytes.length));
      offset = 0;
    }
    const isCut = offset + bytes.length > limit;
    if (isCut) bytes = bytes.subarray(0, Math.max(limit - offset, 0));
    if (hasFin && !isCut) this.#finSeq ??= (seq + payload.length) | 0;
    if (offset === 0) this.#advance(bytes);
    else this.#hold((this.nxt + offset) | 0, bytes);
    if (this.#finSeq === this.nxt) {
      this.nxt = (this.nxt + 1) | 0;
      this.#isFinished = true;
      this.#drop();
    }
  }

  /** The window field of a segment that is sent now; moves the edge, but not by little (silly window).  */
  advertise(mss: number, isSyn = false): number {
    const scale = isSyn ? 0 : this.scale;
    const room = Math.max(this.#user.room() - this.#heldBytes, 0);
    this.#largestRoom = Math.max(this.#largestRoom, room);
    const least = Math.min(mss, this.#largestRoom / 2);
    const growth = (this.nxt + room - this.#edge) | 0;
    const window = growth >= least || (growth > 0 && this.windowBytes >= least) ? room : this.windowBytes;
    const field = Math.min(window >>> scale, MAX_WINDOW_FIELD);
    const edge = (this.nxt + (field << scale)) | 0;
    if (((edge - this.#edge) | 0) > 0) this.#edge = edge;
    return field;
  }
  /** Has the window grown so much that the guest should hear of it without having asked? */
  hasNews(mss: number): boolean {
    const room = this.#user.room() - this.#heldBytes;
    return room - this.windowBytes >= Math.max(Math.min(2 * mss, this.#largestRoom / 2), room / 2);
  }
  close(): void {
    this.#drop();
    this.#isFinished = true;
  }

  #drop(): void {
    this.#held = [];
    this.#heldBytes = 0;
  }
  #advance(bytes: Uint8Array): void {
    if (bytes.length > 0) {
      if (!this.#user.deliver(bytes)) return;
      this.nxt = (this.nxt + bytes.length) | 0;
    }
    while (this.#held.length > 0) {
      const { seq, bytes: held } = this.#held[0]!;
      const behind = (this.nxt - seq) | 0;
      if (behind < 0) return;
      const rest = held.subarray(Math.min(behind, held.length));
      if (rest.length > 0 && !this.#user.deliver(rest)) return;
      this.#held.shift();
      this.#heldBytes -= held.length;
      this.nxt = (this.nxt + rest.length) | 0;
    }
  }
  /** Keeps a copy of what fills the first gap that the segment reaches: kept segments never overlap, so together they are at most the window. */
  #hold(seq: number, bytes: Uint8Array): void {
    let at = 0;
    while (at < this.#held.length && ((this.#held[at]!.seq - seq) | 0) <= 0) at++;
    const before = this.#held[at - 1];
    const overlap = before === undefined ? 0 : Math.max((before.seq + before.bytes.length - seq) | 0, 0);
    const start = (seq + overlap) | 0;
    const after = this.#held[at];
    const end = after === undefined ? bytes.length : Math.min(bytes.length, (after.seq - seq) | 0);
    if (overlap >= end || this.#held.length >= MAX_HELD) return;
    this.#held.splice(at, 0, { seq: start, bytes: bytes.slice(overlap, end) });
    this.#heldBytes += end - overlap;
  }
}
