/* The sending half of a TCP connection: what goes to the guest and when, and again if it was lost. @source RFC 9293 §3.8, RFC 6298, RFC 6582 (recovery).
 * No congestion window: nothing lies between the gateway and its guest, and a cable without room says so. Only after a timeout is the amount in flight
 * limited, and doubled with each acknowledgement. Leaves out: Nagle (the host's side has chosen its pieces), SACK. I/O thread. */
import { RetransmissionTimeout } from "./retransmission-timeout.ts";
import { SendQueue } from "./send-queue.ts";
import { Flag } from "./tcp-segment.ts";

/** At up to 8 s each, a quarter of an hour, as Linux has it. */
const MAX_RETRIES = 115;
const DUPLICATES = 3;
const NO_LIMIT = 0x7fff_ffff;
/** A limit on bytes in flight that has grown so far is none. */
const LIMIT_END = 4 << 20;

export interface SenderOutput {
  /** Sends one segment with `length` bytes of the queue that begin at seq. @returns false: there was no room */
  transmit(seq: number, length: number, flags: number): boolean;
  /** Milliseconds that never go back. */
  now(): number;
}

export class TcpSender {
  readonly queue: SendQueue = new SendQueue();
  readonly timeout: RetransmissionTimeout = new RetransmissionTimeout();
  readonly #output: SenderOutput;
  /** Oldest unacknowledged, next to send, and the end of what was ever sent: SND.UNA, SND.NXT, and NXT's highest value. */
  una: number;
  nxt: number;
  #max: number;
  /** The sequence number of the queue's first byte. */
  #queueSeq: number;
  /** The guest's window in bytes, and the segment that told it: SND.WND, SND.WL1, SND.WL2. */
  #window = 0;
  #windowSeq = 0;
  #windowAck = 0;
  #largestWindow = 0;
  /** By how much the guest scales its window field. */
  scale = 0;
  mss = 536;
  #hasEnd = false;
  /** The cable had no room; nothing is sent before resume(). */
  isBlocked = false;
  #limit = NO_LIMIT;
  #retries = 0;
  #duplicates = 0;
  /** Recovery lasts until this is acknowledged. */
  #recover: number | undefined;
  #timedSeq: number | undefined;
  #timedAt = 0;

  constructor(output: SenderOutput, iss: number) {
    this.#output = output;
    this.una = iss;
    this.nxt = (iss + 1) | 0;
    this.#max = this.nxt;
    this.#queueSeq = this.nxt;
  }

  get isEndAcknowledged(): boolean {
    return this.#hasEnd && this.una === ((this.#endSeq + 1) | 0);
  }
  get hasEnd(): boolean {
    return this.#hasEnd;
  }
  get inFlightBytes(): number {
    return (this.nxt - this.una) | 0;
  }
  /** Something waits for an acknowledgement, or for a window. */
  get needsTimer(): boolean {
    return this.isBlocked || this.#max !== this.una || this.#unsent > 0 || (this.#hasEnd && this.#unsent === 0);
  }
  /** What a segment without data says: a number before it, after going back, would be outside the guest's window. */
  get max(): number {
    return this.#max;
  }
  get #endSeq(): number {
    return (this.#queueSeq + this.queue.lengthBytes) | 0;
  }
  /** -1 after the FIN. */
  get #unsent(): number {
    return (this.#endSeq - this.nxt) | 0;
  }
  /** Copies bytes of the queue into a frame. */
  copy(seq: number, length: number, target: Uint8Array, at: number): void {
    this.queue.copy((seq - this.#queueSeq) | 0, length, target, at);
  }

  /** No more is pushed into the queue: a FIN follows it. */
  end(): void {
    this.#hasEnd = true;
  }

  /** Sends what the guest's window and the cable have room for.
   *  @param isForced a small segment, too: nothing else is in flight that would bring an acknowledgement */
  send(isForced = false): void {
    while (!this.isBlocked) {
      const unsent = this.#unsent;
      const window = Math.min(this.#window, this.#limit);
      const usable = (this.una + window - this.nxt) | 0;
      let length = Math.min(unsent, usable, this.#maxSegment());
      if (length < unsent) {
        if (length <= 0 || (!isForced && this.#isTooSmall(length))) return;
        if (length > this.mss) length -= length % this.mss;
      }
      const hasFin = this.#hasEnd && unsent >= 0 && length === unsent && usable > length;
      if (length <= 0 && !hasFin) return;
      this.#sendSegment(Math.max(length, 0), length === unsent, hasFin);
    }
  }

  /** An acknowledgement of something sent came. @returns false if it acknowledges what was never sent */
  acknowledge(ack: number, isDuplicate: boolean): boolean {
    if (((ack - this.#max) | 0) > 0) return false;
    this.#retries = 0;
    const advance = (ack - this.una) | 0;
    if (advance > 0) this.#advance(ack);
    else if (advance === 0 && isDuplicate && this.inFlightBytes > 0) this.#duplicate();
    return true;
  }
  /** The guest's window, if this segment is newer than the one that told the last. @param bytes scaled @returns whether it changed */
  updateWindow(seq: number, ack: number, bytes: number): boolean {
    const isNewer =
      ((seq - this.#windowSeq) | 0) > 0 || (seq === this.#windowSeq && ((ack - this.#windowAck) | 0) >= 0);
    if (!isNewer) return false;
    const isChanged = bytes !== this.#window;
    this.setWindow(seq, ack, bytes);
    return isChanged;
  }
  setWindow(seq: number, ack: number, bytes: number): void {
    this.#windowSeq = seq;
    this.#windowAck = ack;
    this.#window = bytes;
    this.#largestWindow = Math.max(this.#largestWindow, bytes);
  }

  /** Nothing was acknowledged for the timeout. @returns false: that has been so too often, the guest is gone */
  onTimeout(): boolean {
    if (++this.#retries > MAX_RETRIES) return false;
    if (this.isBlocked) {
      // Nothing is lost: the guest takes no frames. Whether it does now is asked in case its device forgot to say so.
      this.isBlocked = false;
      this.send(true);
      return true;
    }
    this.timeout.backOff();
    this.#timedSeq = undefined;
    this.#recover = undefined;
    this.#duplicates = 0;
    if (this.#window === 0) this.probe();
    else {
      this.nxt = this.una;
      this.#limit = Math.min(this.#window, 2 * this.mss);
      this.send(true);
    }
    return true;
  }
  /** Asks where the guest stands: a segment with an old number, which it must answer. */
  probe(): void {
    this.#output.transmit((this.una - 1) | 0, 0, Flag.ACK);
  }
  close(): void {
    this.queue.clear();
  }

  /** Is it better to wait until the window lets more go out together? Only where an acknowledgement will come, or a window update must. */
  #isTooSmall(length: number): boolean {
    if (length < this.mss && length < this.#largestWindow / 2) return true;
    const share = Math.min(this.#largestWindow, this.#limit) / 4;
    return this.inFlightBytes > 0 && length < Math.min(this.#maxSegment(), share);
  }
  #sendSegment(length: number, isLast: boolean, hasFin: boolean): void {
    const flags = Flag.ACK | (isLast && length > 0 ? Flag.PSH : 0) | (hasFin ? Flag.FIN : 0);
    if (!this.#output.transmit(this.nxt, length, flags)) {
      this.isBlocked = true;
      return;
    }
    const isNew = this.nxt === this.#max;
    this.nxt = (this.nxt + length + (hasFin ? 1 : 0)) | 0;
    if (((this.nxt - this.#max) | 0) > 0) this.#max = this.nxt;
    if (isNew && this.#timedSeq === undefined) {
      this.#timedSeq = this.nxt;
      this.#timedAt = this.#output.now();
    }
  }
  /** 64 KiB and whole segments, so that a packet is cut evenly. */
  #maxSegment(): number {
    return this.mss * Math.floor(65_000 / this.mss);
  }

  #advance(ack: number): void {
    this.una = ack;
    if (((this.nxt - ack) | 0) < 0) this.nxt = ack;
    const acknowledged = (ack - this.#queueSeq) | 0;
    const bytes = Math.min(acknowledged, this.queue.lengthBytes);
    if (bytes > 0) {
      this.queue.drop(bytes);
      this.#queueSeq = (this.#queueSeq + bytes) | 0;
    }
    if (this.#timedSeq !== undefined && ((ack - this.#timedSeq) | 0) >= 0) {
      this.timeout.measure(this.#output.now() - this.#timedAt);
      this.#timedSeq = undefined;
    } else this.timeout.recover();
    if (this.#limit < NO_LIMIT) this.#limit = this.#limit >= LIMIT_END ? NO_LIMIT : this.#limit * 2;
    this.#duplicates = 0;
    if (this.#recover === undefined) return;
    if (((ack - this.#recover) | 0) >= 0) this.#recover = undefined;
    else this.#retransmit();
  }
  #duplicate(): void {
    if (++this.#duplicates !== DUPLICATES || this.#recover !== undefined) return;
    this.#recover = this.#max;
    this.#retransmit();
  }
  /** Sends the oldest segment again, as large as a packet may be: what was lost is a packet. */
  #retransmit(): void {
    this.#timedSeq = undefined;
    const rest = (this.#endSeq - this.una) | 0;
    const length = Math.min(rest, (this.#max - this.una) | 0, this.#maxSegment(), Math.max(this.#window, this.mss));
    const hasFin = this.#hasEnd && length === rest && ((this.#max - this.#endSeq) | 0) > 0;
    if (length <= 0 && !hasFin) return;
    this.#output.transmit(this.una, Math.max(length, 0), Flag.ACK | (hasFin ? Flag.FIN : 0));
  }
}
