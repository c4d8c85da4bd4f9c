/* Joins a guest's TCP connection to a stream of the host's: a socket, or a service of the gateway itself. Bytes, ends and resets go both ways, and each side
 * is read only as fast as the other one takes. Guest's bytes go into the socket as they lie in their frame. I/O thread. */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { MemoryBudget } from "./memory-budget.ts";
import type { TcpConnection, TcpUser } from "./tcp-connection.ts";

/** For a guest 1 ms away, 8 Gbit/s. */
const WINDOW_BYTES = 1 << 20;
/** The host's side is paused above the first, and read again below the second. */
const QUEUE_BYTES = 1 << 20;
const RESUME_BYTES = QUEUE_BYTES / 2;
/** A frame that holds much less than its buffer is copied, or small segments would keep large buffers. */
const WASTE = 4;

/** Whoever keeps connections. */
export interface SpliceOwner {
  /** The connection is over; its addresses may be kept for TIME-WAIT. */
  onOver(): void;
  /** Its addresses are free. */
  onFree(): void;
}

export class Splice implements TcpUser {
  readonly #stream: Duplex;
  readonly #budget: MemoryBudget;
  readonly #owner: SpliceOwner;
  #connection: TcpConnection | undefined;
  #accounted = 0;
  #isPaused = true;
  #isDone = false;

  /** @param stream allows half-open, and is paused until the guest's side is open */
  constructor(stream: Duplex, budget: MemoryBudget, owner: SpliceOwner) {
    this.#stream = stream;
    this.#budget = budget;
    this.#owner = owner;
    stream.pause();
    stream.on("data", (chunk: Uint8Array) => this.#onData(chunk));
    stream.on("end", () => this.#connection?.end());
    stream.on("drain", () => this.#onDrain());
    stream.on("error", () => this.#onStreamGone());
    stream.on("close", () => this.#onStreamGone());
  }

  /** Set once, before anything else happens. */
  set connection(connection: TcpConnection) {
    this.#connection = connection;
  }

  // ── the guest's side ──

  room(): number {
    return Math.max(this.#budget.share(WINDOW_BYTES) - this.#stream.writableLength, 0);
  }
  deliver(bytes: Uint8Array): boolean {
    if (this.#budget.isExhaustedBy(bytes.length)) return false;
    if (!this.#stream.writable) {
      // The host's side takes no more. Its error or close says so too, but later.
      this.#connection!.abort();
      return false;
    }
    const isWasteful = bytes.length * WASTE < bytes.buffer.byteLength && this.#stream.writableLength > 0;
    this.#stream.write(isWasteful ? bytes.slice() : bytes);
    this.#account();
    return true;
  }
  onOpen(): void {
    this.#isPaused = false;
    this.#stream.resume();
  }
  onEnd(): void {
    this.#stream.end();
  }
  onAcknowledged(): void {
    this.#account();
    if (!this.#isPaused || this.#connection!.queuedBytes > this.#budget.share(RESUME_BYTES)) return;
    this.#isPaused = false;
    this.#stream.resume();
  }
  onClose(reason: "ended" | "reset" | "lost"): void {
    this.#isDone = true;
    this.#account();
    this.#owner.onOver();
    if (reason === "ended") return;
    // What the guest had sent before its end arrives, though it takes no answer any more.
    if (this.#stream instanceof Socket && this.#stream.writableEnded) this.#stream.destroySoon();
    else if (this.#stream instanceof Socket && !this.#stream.connecting) this.#stream.resetAndDestroy();
    else this.#stream.destroy();
  }
  onFree(): void {
    this.#owner.onFree();
  }

  // ── the host's side ──

  #onData(chunk: Uint8Array): void {
    const connection = this.#connection;
    if (connection === undefined || this.#isDone) return;
    connection.write(chunk);
    this.#account();
    if (connection.queuedBytes < this.#budget.share(QUEUE_BYTES)) return;
    this.#isPaused = true;
    this.#stream.pause();
  }
  #onDrain(): void {
    this.#account();
    if (!this.#isDone) this.#connection?.roomChanged();
  }
  /** An error, or closed before both sides had ended: what the guest was sent is cut off, and it must know. */
  #onStreamGone(): void {
    const isWhole = this.#stream.readableEnded && this.#stream.writableFinished;
    if (!this.#isDone && !isWhole) this.#connection?.abort();
    this.#account();
  }
  #account(): void {
    const queued = this.#isDone ? 0 : (this.#connection?.queuedBytes ?? 0) + (this.#connection?.heldBytes ?? 0);
    const written = this.#stream.destroyed ? 0 : this.#stream.writableLength;
    this.#budget.account(queued + written - this.#accounted);
    this.#accounted = queued + written;
  }
}
