/* For tests: two TcpConnections with a bad network between them, in virtual time. One stands for the guest, so that both directions are the code under test. */
import { type OutgoingSegment, TcpConnection, type TcpUser, type TcpWire } from "./tcp-connection.ts";
import { Flag, TcpSegment } from "./tcp-segment.ts";

/** Decides what happens to each segment: small numbers, drawn by the test. */
export interface Weather {
  /** 0 to 1 each. */
  readonly loss: number;
  readonly duplication: number;
  readonly noRoom: number;
  /** Up to so many milliseconds of delay, drawn for each segment: they overtake each other. */
  readonly jitterMs: number;
  /** How fast the users take bytes: of a window, per millisecond. */
  readonly windowBytes: number;
  readonly drainBytes: number;
  readonly seed: number;
}

export class Simulation {
  now = 0;
  readonly #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  #random: number;

  constructor(seed: number) {
    this.#random = seed | 1;
  }
  /** @returns 0 to 1 */
  random(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) / 2 ** 32;
  }
  at(delayMs: number, run: () => void): { cancelled: boolean } {
    const event = { cancelled: false };
    const entry = { at: this.now + delayMs, order: this.#order++, run: () => event.cancelled || run() };
    let index = this.#events.length;
    while (index > 0 && this.#events[index - 1]!.at > entry.at) index--;
    this.#events.splice(index, 0, entry);
    return event;
  }
  /** Runs until nothing is left to do, or the time is over. @returns whether nothing is left */
  run(untilMs: number): boolean {
    for (let event = this.#events[0]; event !== undefined; event = this.#events[0]) {
      if (event.at > untilMs) return false;
      this.#events.shift();
      this.now = Math.max(this.now, event.at);
      event.run();
    }
    return true;
  }
}

/** One end: sends a stream in pieces, keeps what comes, takes bytes at its own pace. */
export class SimulatedEnd implements TcpUser, TcpWire {
  readonly mss: number;
  readonly received: Uint8Array[] = [];
  closed: string | undefined;
  isFree = false;
  isEnded = false;
  /** The most that ever lay here untaken. */
  maxPending = 0;
  connection: TcpConnection | undefined;
  peer: SimulatedEnd | undefined;
  sentSegments = 0;
  readonly #simulation: Simulation;
  readonly #weather: Weather;
  readonly #toSend: Uint8Array[];
  #pending = 0;
  readonly #delayed = new Set<TcpConnection>();

  constructor(simulation: Simulation, weather: Weather, mss: number, toSend: Uint8Array[]) {
    this.#simulation = simulation;
    this.#weather = weather;
    this.mss = mss;
    this.#toSend = [...toSend];
  }

  // ── the user ──
  room(): number {
    return Math.max(this.#weather.windowBytes - this.#pending, 0);
  }
  deliver(bytes: Uint8Array): boolean {
    this.received.push(bytes.slice());
    this.#pending += bytes.length;
    this.maxPending = Math.max(this.maxPending, this.#pending);
    if (this.#pending === bytes.length) this.#simulation.at(1, () => this.#drain());
    return true;
  }
  onOpen(): void {
    this.#sendNext();
  }
  onEnd(): void {
    this.isEnded = true;
  }
  onAcknowledged(): void {}
  onClose(reason: string): void {
    this.closed = reason;
  }
  onFree(): void {
    this.isFree = true;
  }

  // ── the wire ──
  transmit(connection: TcpConnection, outgoing: OutgoingSegment): boolean {
    const { random } = { random: () => this.#simulation.random() };
    if (random() < this.#weather.noRoom) return false;
    this.sentSegments++;
    const payload = new Uint8Array(outgoing.length);
    if (outgoing.length > 0) connection.copy(outgoing.seq, outgoing.length, payload, 0);
    for (let copies = random() < this.#weather.duplication ? 2 : 1; copies > 0; copies--) {
      if (random() < this.#weather.loss) continue;
      this.#simulation.at(random() * this.#weather.jitterMs, () =>
        this.peer!.arrive(segmentOf(outgoing, payload, this.mss)),
      );
    }
    return true;
  }
  arrive(segment: TcpSegment): void {
    if (this.connection === undefined) {
      if (!segment.has(Flag.SYN) || segment.has(Flag.ACK)) return;
      this.connection = TcpConnection.held(this, this, segment);
      this.#simulation.at(3, () => this.connection!.accept());
    } else this.connection.receive(segment);
  }
  now(): number {
    return this.#simulation.now;
  }
  later(connection: TcpConnection): void {
    if (connection.isDue) return;
    connection.isDue = true;
    this.#simulation.at(0, () => {
      connection.isDue = false;
      connection.flush();
    });
  }
  delay(connection: TcpConnection): void {
    if (this.#delayed.has(connection)) return;
    this.#delayed.add(connection);
    this.#simulation.at(5, () => {
      this.#delayed.delete(connection);
      connection.flush(true);
    });
  }
  whenRoom(connection: TcpConnection): void {
    this.#simulation.at(2, () => connection.onRoom());
  }
  setTimer(callback: () => void, delayMs: number): unknown {
    return this.#simulation.at(delayMs, callback);
  }
  clearTimer(timer: unknown): void {
    (timer as { cancelled: boolean }).cancelled = true;
  }

  #drain(): void {
    this.#pending -= Math.min(this.#pending, this.#weather.drainBytes);
    this.connection!.roomChanged();
    if (this.#pending > 0) this.#simulation.at(1, () => this.#drain());
  }
  #sendNext(): void {
    const piece = this.#toSend.shift();
    if (piece === undefined) {
      this.connection!.end();
      return;
    }
    this.connection!.write(piece);
    this.#simulation.at(this.#simulation.random() * 4, () => this.#sendNext());
  }
}

function segmentOf({ seq, ack, flags, window, scale }: OutgoingSegment, payload: Uint8Array, mss: number): TcpSegment {
  const segment = new TcpSegment();
  Object.assign(segment, { seq, ack, flags, window, payload, sourcePort: 1, destinationPort: 2 });
  segment.mss = mss;
  segment.scale = scale;
  return segment;
}
