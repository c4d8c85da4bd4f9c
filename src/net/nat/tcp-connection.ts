/* One TCP connection with a guest: the state machine between its two halves. A guest's connection is held at its SYN until the host's side is connected;
 * one from the host's side sends SYNs until the guest answers. @source RFC 9293 §3.10, RFC 5961 §3–5 (blind resets), RFC 6528 (random ISS).
 * Leaves out: simultaneous open (a SYN for a SYN is not answered), fast open. Knows no sockets: src/net/nat/splice.ts. I/O thread. */
import { randomInt } from "node:crypto";
import { type ReceiverUser, TcpReceiver } from "./tcp-receiver.ts";
import { Flag, type TcpSegment } from "./tcp-segment.ts";
import { TcpSender } from "./tcp-sender.ts";

/** The specification's names, but that HELD is a SYN-RECEIVED that has not answered yet; whether our FIN or the guest's was first is in the rest. */
export type TcpState = "HELD" | "SYN-SENT" | "SYN-RECEIVED" | "OPEN" | "TIME-WAIT" | "CLOSED";

/** 2^7: windows up to 8 MiB. */
const WINDOW_SCALE = 7;
/** RFC 9293 §3.7.1: what is sent to a guest that does not say. */
const DEFAULT_MSS = 536;
/** Smaller ones only make work. */
const MIN_MSS = 88;
const FIRST_SYN_MS = 200;
const MAX_SYN_MS = 1000;
/** A guest's last FIN may come again because our ACK was lost, after its retransmission timeout; nothing older is on a cable. */
const TIME_WAIT_MS = 2000;
const MAX_SYN_ACK_RETRIES = 6;
/** Without a word from the guest for so long, it is asked; after so many unanswered questions it is gone. */
const KEEP_ALIVE_MS = 600_000;
const MAX_KEEP_ALIVES = 5;

/** What a segment to the guest says. */
export interface OutgoingSegment {
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly length: number;
  /** Of a SYN. */
  readonly scale: number | undefined;
}

/** What carries a connection's segments and gives it time. */
export interface TcpWire {
  /** What the guest may send in one segment: MSS of our SYN. */
  readonly mss: number;
  /** Builds and sends a segment; its bytes come from connection.copy(). @returns false: there is no room, or no way to the guest yet */
  transmit(connection: TcpConnection, segment: OutgoingSegment): boolean;
  /** Milliseconds that never go back. */
  now(): number;
  /** Calls connection.flush() once, after the frames at hand. */
  later(connection: TcpConnection): void;
  /** Calls connection.flush(true) once, in some milliseconds. */
  delay(connection: TcpConnection): void;
  /** Calls connection.onRoom() once, when the cable has room. Connections take turns. */
  whenRoom(connection: TcpConnection): void;
  setTimer(callback: () => void, delayMs: number): unknown;
  clearTimer(timer: unknown): void;
}

/** What the connection is for. */
export interface TcpUser extends ReceiverUser {
  /** Both sides are connected. */
  onOpen(): void;
  /** The guest sends no more. */
  onEnd(): void;
  /** What was sent was acknowledged: there may be room in the queue. */
  onAcknowledged(): void;
  /** Over: both sides have ended, or it was reset, or the guest is gone ("lost"). Nothing but onFree() is called afterwards. */
  onClose(reason: "ended" | "reset" | "lost"): void;
  /** After TIME-WAIT, or at once if there is none: the addresses are free. */
  onFree(): void;
}

export class TcpConnection {
  readonly #wire: TcpWire;
  readonly #user: TcpUser;
  readonly sender: TcpSender;
  #receiver: TcpReceiver | undefined;
  #state: TcpState;
  #isActiveCloser = false;
  #isOver = false;
  #ack: "none" | "delayed" | "now" = "none";
  #unacknowledged = 0;
  #timer: unknown;
  #timerAt = 0;
  #deadline: number | undefined;
  #synMs = FIRST_SYN_MS;
  #synUntil = 0;
  #synAcks = 0;
  #heardAt: number;
  #keepAlives = 0;
  /** Marks of the wire: flush() is due. */
  isDue = false;
  isDelayed = false;

  private constructor(wire: TcpWire, user: TcpUser, state: TcpState) {
    this.#wire = wire;
    this.#user = user;
    this.#state = state;
    this.#heardAt = wire.now();
    this.sender = new TcpSender(
      { transmit: (seq, length, flags) => this.#transmit(seq, length, flags), now: () => wire.now() },
      randomInt(2 ** 32) | 0,
    );
  }

  /** A guest's SYN came: held until accept() or refuse(). */
  static held(wire: TcpWire, user: TcpUser, syn: TcpSegment): TcpConnection {
    const connection = new TcpConnection(wire, user, "HELD");
    connection.#receiveSyn(syn);
    return connection;
  }
  /** Connects to a guest. @param patienceMs how long SYNs are sent */
  static connect(wire: TcpWire, user: TcpUser, patienceMs: number): TcpConnection {
    const connection = new TcpConnection(wire, user, "SYN-SENT");
    connection.#synUntil = wire.now() + patienceMs;
    connection.#sendSyn();
    return connection;
  }

  get state(): TcpState {
    return this.#state;
  }
  /** Bytes that the guest has not acknowledged. */
  get queuedBytes(): number {
    return this.sender.queue.lengthBytes;
  }
  /** Kept because an earlier segment is missing. */
  get heldBytes(): number {
    return this.#receiver?.heldBytes ?? 0;
  }
  /** Is this SYN the one that is held, come again? */
  isSameSyn(segment: TcpSegment): boolean {
    return this.#receiver !== undefined && ((segment.seq + 1) | 0) === this.#receiver.nxt;
  }
  /** May a SYN begin a new connection in the place of this one? @source RFC 9293 §3.10.7.4, RFC 1122 §4.2.2.13 */
  isReplaceableBy(segment: TcpSegment): boolean {
    if (this.#state === "HELD") return !this.isSameSyn(segment);
    return this.#state === "TIME-WAIT" && ((segment.seq - (this.#receiver?.nxt ?? 0)) | 0) > 0;
  }
  copy(seq: number, length: number, target: Uint8Array, at: number): void {
    this.sender.copy(seq, length, target, at);
  }

  // ── for the host's side ──

  /** The host's side is connected: answers the SYN that was held. */
  accept(): void {
    if (this.#state !== "HELD") return;
    this.#state = "SYN-RECEIVED";
    this.#sendSynAck();
  }
  /** Sends bytes, in order; nobody changes them afterwards. */
  write(bytes: Uint8Array): void {
    if (this.#isOver || this.sender.hasEnd) return;
    this.sender.queue.push(bytes);
    this.#wire.later(this);
  }
  /** Nothing more is sent. */
  end(): void {
    if (this.#isOver || this.sender.hasEnd) return;
    this.sender.end();
    this.#isActiveCloser = this.#receiver?.isFinished !== true;
    this.#wire.later(this);
  }
  /** Resets the connection, if it is not over. */
  abort(): void {
    if (this.#isOver) return;
    if (this.#receiver !== undefined) {
      const seq = this.#state === "HELD" ? 0 : this.sender.max;
      this.#emit(seq, 0, Flag.RST | Flag.ACK, 0);
    }
    this.#finish("reset");
  }
  /** Ends without a word: somebody else says why, or nobody needs to know. */
  drop(): void {
    if (this.#state !== "CLOSED") this.#finish("reset");
  }
  /** The host's side has taken bytes: room() has grown. */
  roomChanged(): void {
    if (this.#state !== "OPEN" || this.#receiver!.isFinished || !this.#receiver!.hasNews(this.#wire.mss)) return;
    this.#ack = "now";
    this.#wire.later(this);
  }

  // ── for the wire ──

  /** Takes a segment of this connection. */
  receive(segment: TcpSegment): void {
    this.#heardAt = this.#wire.now();
    this.#keepAlives = 0;
    if (this.#state === "CLOSED") return;
    if (this.#state === "HELD") {
      if (segment.has(Flag.RST) && segment.seq === this.#receiver!.nxt) this.#finish("reset");
      return;
    }
    if (this.#state === "SYN-SENT") this.#receiveInSynSent(segment);
    else this.#receiveSynchronized(segment, this.#receiver!);
  }

  /** Sends what is due. @param isLate the delay of an acknowledgement is over */
  flush(isLate = false): void {
    if (this.#state !== "OPEN" && this.#state !== "TIME-WAIT") return;
    if (this.#state === "OPEN") this.sender.send();
    if (this.#ack === "now" || (this.#ack === "delayed" && isLate)) this.#sendAck();
    else if (this.#ack === "delayed") this.#wire.delay(this);
    if (this.sender.isBlocked) this.#wire.whenRoom(this);
    this.#arm();
  }
  onRoom(): void {
    this.sender.isBlocked = false;
    if (this.#state === "SYN-RECEIVED") this.#sendSynAck();
    // At once: whoever gives room waits for what is left of it.
    else this.flush();
  }
  /** Called now and then: asks a guest that has been silent for long whether it still knows the connection. */
  keepAlive(): void {
    if (this.#state !== "OPEN" || this.#wire.now() - this.#heardAt < KEEP_ALIVE_MS) return;
    if (++this.#keepAlives > MAX_KEEP_ALIVES) this.#finish("lost");
    else this.sender.probe();
  }

  #receiveSyn(syn: TcpSegment): void {
    this.#receiver = new TcpReceiver(this.#user, syn.seq);
    this.sender.mss = Math.max(Math.min(syn.mss ?? DEFAULT_MSS, this.#wire.mss), MIN_MSS);
    // Both sides scale or neither does.
    this.sender.scale = syn.scale ?? 0;
    this.#receiver.scale = syn.scale === undefined ? 0 : WINDOW_SCALE;
    this.sender.setWindow(syn.seq, syn.ack, syn.window);
  }
  #receiveInSynSent(segment: TcpSegment): void {
    const isAck = segment.has(Flag.ACK);
    if (isAck && segment.ack !== this.sender.nxt) {
      if (!segment.has(Flag.RST)) this.#emit(segment.ack, 0, Flag.RST, 0);
      return;
    }
    if (segment.has(Flag.RST)) {
      if (isAck) this.#finish("reset");
      return;
    }
    if (!segment.has(Flag.SYN) || !isAck) return;
    this.#receiveSyn(segment);
    this.sender.acknowledge(segment.ack, false);
    this.#ack = "now";
    this.#open();
  }

  #receiveSynchronized(segment: TcpSegment, receiver: TcpReceiver): void {
    if (!receiver.isAcceptable(segment.seq, segment.lengthInSequence)) {
      this.#receiveUnacceptable(segment, receiver);
      return;
    }
    if (segment.has(Flag.RST)) {
      // RFC 5961 §3.2: only the number that a genuine one has resets.
      if (segment.seq === receiver.nxt) this.#finish("reset");
      else this.#acknowledgeNow();
      return;
    }
    if (segment.has(Flag.SYN)) {
      this.#acknowledgeNow();
      return;
    }
    if (!segment.has(Flag.ACK) || !this.#receiveAck(segment)) return;
    if (this.#state !== "OPEN") return;
    this.#receiveText(segment, receiver);
    if (!this.#isOver) this.#wire.later(this);
  }
  /** @source RFC 9293 §3.10.7.4: unless it is a reset, the answer says where we stand */
  #receiveUnacceptable(segment: TcpSegment, receiver: TcpReceiver): void {
    if (segment.has(Flag.RST)) return;
    if (this.#state === "SYN-RECEIVED" && segment.has(Flag.SYN)) {
      if (this.isSameSyn(segment)) this.#sendSynAck();
      return;
    }
    // With a closed window an honest guest's bytes are beyond it, but its acknowledgement is good.
    if (segment.has(Flag.ACK) && receiver.isWithin(segment.seq) && !this.#receiveAck(segment)) return;
    this.#acknowledgeNow();
  }
  /** @returns false if the rest of the segment is not looked at */
  #receiveAck(segment: TcpSegment): boolean {
    const { ack, seq } = segment;
    if (this.#state === "SYN-RECEIVED") {
      if (ack !== this.sender.nxt) {
        this.#emit(ack, 0, Flag.RST, 0);
        return false;
      }
      this.sender.acknowledge(ack, false);
      this.sender.setWindow(seq, ack, segment.window << this.sender.scale);
      this.#open();
      return true;
    }
    const isNewWindow = this.sender.updateWindow(seq, ack, segment.window << this.sender.scale);
    const isDuplicate = !isNewWindow && segment.payload.length === 0 && !segment.has(Flag.FIN);
    const una = this.sender.una;
    if (!this.sender.acknowledge(ack, isDuplicate)) {
      this.#acknowledgeNow();
      return false;
    }
    if (this.sender.una !== una) this.#acknowledged();
    return !this.#isOver;
  }
  #acknowledged(): void {
    // The timeout counts from the last progress.
    this.#deadline = undefined;
    if (this.#state === "OPEN" && this.sender.isEndAcknowledged && this.#receiver!.isFinished) this.#endBoth();
    else if (this.#state === "OPEN") this.#user.onAcknowledged();
  }
  #receiveText(segment: TcpSegment, receiver: TcpReceiver): void {
    const hasFin = segment.has(Flag.FIN);
    const bytes = segment.payload.length;
    if (bytes === 0 && !hasFin) return;
    const before = receiver.nxt;
    const wasFinished = receiver.isFinished;
    receiver.take(segment.seq, segment.payload, hasFin);
    if (this.#isOver) return;
    const taken = (receiver.nxt - before) | 0;
    this.#unacknowledged += taken;
    // RFC 9293 §3.8.6.3: at least every second full segment; at once whatever tells the guest of a gap or an end.
    const isPrompt = taken === 0 || receiver.hasGap || hasFin || this.#unacknowledged >= 2 * this.#wire.mss;
    this.#ack = isPrompt || this.#ack === "now" ? "now" : "delayed";
    if (wasFinished || !receiver.isFinished) return;
    this.#user.onEnd();
    if (!this.#isOver && this.sender.isEndAcknowledged) this.#endBoth();
  }

  #open(): void {
    this.#state = "OPEN";
    this.#deadline = undefined;
    this.#user.onOpen();
    this.#wire.later(this);
  }
  /** Both FINs are there and ours is acknowledged. */
  #endBoth(): void {
    if (!this.#isActiveCloser) {
      if (this.#ack !== "none") this.#sendAck();
      this.#finish("ended");
      return;
    }
    this.#state = "TIME-WAIT";
    this.#isOver = true;
    this.#deadline = this.#wire.now() + TIME_WAIT_MS;
    this.#ack = "now";
    this.#wire.later(this);
    this.#user.onClose("ended");
  }
  #finish(reason: "ended" | "reset" | "lost"): void {
    const wasOver = this.#isOver;
    this.#state = "CLOSED";
    this.#isOver = true;
    if (this.#timer !== undefined) this.#wire.clearTimer(this.#timer);
    this.#timer = undefined;
    this.sender.close();
    this.#receiver?.close();
    if (!wasOver) this.#user.onClose(reason);
    this.#user.onFree();
  }

  #sendSyn(): void {
    this.#emit(this.sender.una, 0, Flag.SYN, 0, WINDOW_SCALE);
    this.#armFor(this.#synMs);
    this.#synMs = Math.min(this.#synMs * 2, MAX_SYN_MS);
  }
  #sendSynAck(): void {
    const scale = this.#receiver!.scale === 0 ? undefined : this.#receiver!.scale;
    const window = this.#receiver!.advertise(this.#wire.mss, true);
    if (!this.#emit(this.sender.una, 0, Flag.SYN | Flag.ACK, window, scale)) this.#wire.whenRoom(this);
    this.#armFor(this.sender.timeout.ms);
  }
  #acknowledgeNow(): void {
    this.#ack = "now";
    this.#wire.later(this);
  }
  #sendAck(): void {
    if (!this.#transmit(this.sender.max, 0, Flag.ACK)) this.sender.isBlocked = true;
  }
  #transmit(seq: number, length: number, flags: number): boolean {
    if (!this.#emit(seq, length, flags, this.#receiver!.advertise(this.#wire.mss))) return false;
    this.#ack = "none";
    this.#unacknowledged = 0;
    return true;
  }
  #emit(seq: number, length: number, flags: number, window: number, scale?: number): boolean {
    const ack = (flags & Flag.ACK) === 0 ? 0 : this.#receiver!.nxt;
    return this.#wire.transmit(this, { seq, ack, flags, window, length, scale });
  }

  #arm(): void {
    if (this.#state !== "OPEN") {
      if (this.#deadline !== undefined) this.#armAt(this.#deadline);
      return;
    }
    if (!this.sender.needsTimer) this.#deadline = undefined;
    else if (this.#deadline === undefined) this.#armFor(this.sender.timeout.ms);
  }
  #armFor(delayMs: number): void {
    this.#armAt(this.#wire.now() + delayMs);
  }
  /** A timer that is set too early is left: it looks again when it fires, which is rarer than setting it for each segment. */
  #armAt(at: number): void {
    this.#deadline = at;
    if (this.#timer !== undefined && this.#timerAt <= at) return;
    if (this.#timer !== undefined) this.#wire.clearTimer(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#wire.setTimer(() => this.#onTimer(), Math.max(at - this.#wire.now(), 1));
  }
  #onTimer(): void {
    this.#timer = undefined;
    const deadline = this.#deadline;
    if (deadline === undefined) return;
    if (this.#wire.now() < deadline) {
      this.#armAt(deadline);
      return;
    }
    this.#deadline = undefined;
    this.#onDeadline();
  }
  #onDeadline(): void {
    if (this.#state === "TIME-WAIT") this.#finish("ended");
    else if (this.#state === "SYN-SENT") {
      if (this.#wire.now() >= this.#synUntil) this.#finish("lost");
      else this.#sendSyn();
    } else if (this.#state === "SYN-RECEIVED") {
      if (++this.#synAcks > MAX_SYN_ACK_RETRIES) this.abort();
      else {
        this.sender.timeout.backOff();
        this.#sendSynAck();
      }
    } else if (this.#state === "OPEN") {
      if (this.sender.onTimeout()) this.flush();
      else this.abort();
    }
  }
}
