/* One connection of the vsock device: a Duplex stream of node:stream over packets with credit. @source virtio 1.2 §5.10.6. I/O thread.
 * In each direction the receiver says how much it can keep (buf_alloc) and how much it has handed on (fwd_cnt): what lies between is the sender's credit. */
import { Duplex } from "node:stream";
import { VsockError } from "./vsock-error.ts";
import { type VsockHeader, VsockOp, VsockShutdown } from "./vsock-packet.ts";

/** How many bytes of a connection wait here for their reader, beside the stream's own buffer. */
export const BUFFER_BYTES = 256 << 10;
/** The guest is told of room when this much of it is new to it. */
const UPDATE_BYTES = BUFFER_BYTES / 4;
const STREAM_BUFFER_BYTES = 64 << 10;
const EMPTY = new Uint8Array(0);

interface Wiring {
  /** There is something to send: next() will be called when the guest has room. */
  ready(): void;
  /** The connection is over. @param reset the guest is to be told */
  gone(reset: boolean): void;
}

export interface VsockPacket {
  readonly header: VsockHeader;
  readonly data: Uint8Array;
  /** Called once the packet is in the guest's memory. */
  readonly sent?: () => void;
}

export class VsockSocket extends Duplex {
  readonly #ports: { readonly hostPort: number; readonly guestPort: number };
  readonly #wiring: Wiring;
  readonly #established = Promise.withResolvers<void>();
  /** Packets without data that are due, by operation; a set, so that asking for more does not make it grow. */
  readonly #due = new Set<number>();
  #state: "new" | "connecting" | "open" | "over" = "new";
  // To the guest: 32-bit counters that wrap.
  #writing: { bytes: Uint8Array; done: () => void } | undefined;
  #sentBytes = 0;
  #peerAlloc = 0;
  #peerForwarded = 0;
  #peerTakesNone = false;
  // From the guest.
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #forwarded = 0;
  #told = 0;
  #wanted = false;
  #peerSendsNone = false;

  constructor(ports: { hostPort: number; guestPort: number }, wiring: Wiring) {
    super({
      allowHalfOpen: true,
      readableHighWaterMark: STREAM_BUFFER_BYTES,
      writableHighWaterMark: STREAM_BUFFER_BYTES,
    });
    this.#ports = ports;
    this.#wiring = wiring;
    // What a guest does must not end the host's process for want of a listener; whoever reads or writes learns of errors there.
    this.on("error", () => {});
    this.#established.promise.catch(() => undefined);
  }

  /** Asks the guest for the connection. @returns resolves when it is there @throws VsockError refused, or what destroyed the socket */
  connect(): Promise<void> {
    this.#state = "connecting";
    this.#want(VsockOp.REQUEST);
    return this.#established.promise;
  }
  /** The guest asked for the connection. */
  accept(header: VsockHeader): void {
    this.#credit(header);
    this.#state = "open";
    this.#want(VsockOp.RESPONSE);
  }

  /** A packet of the guest's. Never throws. */
  receive(header: VsockHeader, data: Uint8Array): void {
    if (this.#state === "over") return;
    this.#credit(header);
    if (header.op === VsockOp.RST) return this.#receiveReset();
    if (this.#state === "connecting") {
      if (header.op !== VsockOp.RESPONSE) return this.#broken();
      this.#state = "open";
      this.#established.resolve();
    } else if (header.op === VsockOp.RW) this.#receiveData(data);
    else if (header.op === VsockOp.CREDIT_REQUEST) this.#want(VsockOp.CREDIT_UPDATE);
    else if (header.op === VsockOp.SHUTDOWN) this.#receiveShutdown(header.flags);
    else if (header.op !== VsockOp.CREDIT_UPDATE) return this.#broken();
    if (this.#mayWrite()) this.#wiring.ready();
  }

  /** The next packet, with at most `room` bytes of data; undefined: there is none now. */
  next(room: number): VsockPacket | undefined {
    for (const op of this.#due) {
      this.#due.delete(op);
      return { header: this.#header(op, op === VsockOp.SHUTDOWN ? VsockShutdown.SEND : 0), data: EMPTY };
    }
    if (!this.#mayWrite()) return undefined;
    const { bytes, done } = this.#writing!;
    const count = Math.min(room, bytes.length, this.#room());
    this.#sentBytes = (this.#sentBytes + count) >>> 0;
    if (count < bytes.length) this.#writing = { bytes: bytes.subarray(count), done };
    else this.#writing = undefined;
    return {
      header: this.#header(VsockOp.RW, 0),
      data: bytes.subarray(0, count),
      ...(count === bytes.length && { sent: done }),
    };
  }
  get hasMore(): boolean {
    return this.#state !== "over" && (this.#due.size > 0 || this.#mayWrite());
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }
  override _write(chunk: Uint8Array, _encoding: string, callback: () => void): void {
    this.#write(chunk, callback);
  }
  override _writev(chunks: { chunk: Uint8Array }[], callback: () => void): void {
    this.#write(chunks.length === 1 ? chunks[0]!.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)), callback);
  }
  override _final(callback: () => void): void {
    if (this.#state === "open" && !this.#peerTakesNone) this.#want(VsockOp.SHUTDOWN);
    callback();
    if (this.#peerSendsNone) this.#over(true);
  }
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // A connection that never was: the guest may still answer, and is then told that there is none.
    this.#over(this.#state !== "new");
    this.#established.reject(error ?? new VsockError("closed", "The connection was closed before it was there."));
    this.#waiting = [];
    this.#waitingBytes = 0;
    callback(error);
  }

  #write(bytes: Uint8Array, done: () => void): void {
    // The guest takes no more: like bytes that are on their way when a peer closes.
    if (this.#peerTakesNone || this.#state === "over" || bytes.length === 0) return done();
    this.#writing = { bytes, done };
    if (this.#mayWrite()) this.#wiring.ready();
  }
  #want(op: number): void {
    this.#due.add(op);
    this.#wiring.ready();
  }
  #header(op: number, flags: number): VsockHeader {
    this.#told = this.#forwarded;
    return { ...this.#ports, op, flags, bufAlloc: BUFFER_BYTES, fwdCnt: this.#forwarded };
  }
  #credit({ bufAlloc, fwdCnt }: VsockHeader): void {
    this.#peerAlloc = bufAlloc;
    this.#peerForwarded = fwdCnt;
  }
  /** What the guest can take. Counters that make no sense leave no room. */
  #room(): number {
    const underWay = (this.#sentBytes - this.#peerForwarded) >>> 0;
    return Math.max(0, this.#peerAlloc - underWay);
  }
  #mayWrite(): boolean {
    return this.#state === "open" && this.#writing !== undefined && this.#room() > 0;
  }

  #receiveData(data: Uint8Array): void {
    if (this.#peerSendsNone || data.length === 0) return;
    if (this.#waitingBytes + data.length > BUFFER_BYTES) return this.#broken();
    this.#waiting.push(data);
    this.#waitingBytes += data.length;
    this.#deliver();
  }
  /** Hands on what waits for as long as the reader wants it. */
  #deliver(): void {
    while (this.#wanted && this.#waiting.length > 0) {
      const data = this.#waiting.shift()!;
      this.#waitingBytes -= data.length;
      this.#forwarded = (this.#forwarded + data.length) >>> 0;
      // Asked for again while it is pushed, perhaps.
      this.#wanted = false;
      if (this.push(data)) this.#wanted = true;
    }
    if (this.#state === "open" && (this.#forwarded - this.#told) >>> 0 >= UPDATE_BYTES && !this.#peerSendsNone)
      this.#want(VsockOp.CREDIT_UPDATE);
    if (this.#peerSendsNone && this.#waiting.length === 0 && this.#wanted) {
      this.#wanted = false;
      this.push(null);
    }
  }
  #receiveShutdown(flags: number): void {
    if ((flags & VsockShutdown.RECEIVE) !== 0) this.#stopWriting();
    if ((flags & VsockShutdown.SEND) !== 0) this.#stopReading();
    // Both sides have said all: the guest waits for this RST to forget the connection.
    if (this.#peerSendsNone && (this.#peerTakesNone || this.writableFinished)) this.#over(true);
  }
  #receiveReset(): void {
    if (this.#state === "connecting") {
      const { guestPort } = this.#ports;
      this.#over(false);
      const sentence = `Nothing in the VM listens on vsock port ${guestPort}; is the program there that should?`;
      this.destroy(new VsockError("refused", sentence));
      return;
    }
    // Linux closes with RST when both ends have shut down; before that it is the loss of the connection.
    const inOrder = this.#peerSendsNone || this.writableFinished;
    this.#over(false);
    if (inOrder) {
      this.#stopWriting();
      this.#stopReading();
    } else this.destroy(new VsockError("reset", "The program in the VM broke the connection off; has it crashed?"));
  }
  #stopWriting(): void {
    this.#peerTakesNone = true;
    const writing = this.#writing;
    this.#writing = undefined;
    writing?.done();
  }
  #stopReading(): void {
    this.#peerSendsNone = true;
    // A writer that goes on learns that nobody is there once all has been read.
    this.once("end", () => {
      if (this.#peerTakesNone && !this.writableEnded) this.destroy();
    });
    this.#deliver();
  }
  #broken(): void {
    this.destroy(new VsockError("broken", "The guest's vsock driver broke the rules; the connection was closed."));
  }
  #over(reset: boolean): void {
    if (this.#state === "over") return;
    const open = this.#state !== "new";
    this.#state = "over";
    this.#due.clear();
    this.#peerTakesNone = true;
    const writing = this.#writing;
    this.#writing = undefined;
    writing?.done();
    this.#wiring.gone(reset && open);
  }
}
