/* One connection to the agent as frames. What the agent sends is checked here: a frame that is too long, or one that does not come in time, ends the
 * connection; frames that nobody has taken yet hold up the socket instead of growing. I/O thread. */
import type { Duplex } from "node:stream";
import { AgentError } from "./agent-error.ts";
import { FRAME_HEADER_BYTES, FRAME_LIMIT_BYTES, FrameReader, Out } from "./protocol.ts";
import { refusalError } from "./refusal.ts";

/** Frames of this many bytes may wait before the socket is paused. */
const QUEUE_BYTES = 256 << 10;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

export class Channel {
  readonly #socket: Duplex;
  readonly #frames: Frame[] = [];
  #queuedBytes = 0;
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #waiting: PromiseWithResolvers<Frame | undefined> | undefined;
  #failure: Error | undefined;
  #ended = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("end", () => this.#end());
    socket.on("close", () => this.#end());
    socket.on("error", (error: Error) => this.fail(lost(error)));
    if (socket.destroyed) this.fail(lost(socket.errored ?? undefined));
  }

  /** The next frame; undefined when the agent has closed the connection. @throws AgentError lost, broken, timed-out */
  async next(timeoutMs?: number): Promise<Frame | undefined> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#queuedBytes -= frame.payload.length;
      if (this.#queuedBytes < QUEUE_BYTES) this.#socket.resume();
      return frame;
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) return undefined;
    const waiting = (this.#waiting ??= Promise.withResolvers());
    if (timeoutMs === undefined) return waiting.promise;
    const timer = setTimeout(() => this.fail(timedOut(timeoutMs)), timeoutMs);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Has the connection ended, or failed? What came before can still be read. */
  get over(): boolean {
    return this.#ended || this.#failure !== undefined;
  }

  /** The next frame, which must be of that type. @throws AgentError also for what the agent refuses */
  async expect(type: number, timeoutMs?: number): Promise<FrameReader> {
    const frame = await this.next(timeoutMs);
    if (frame === undefined) throw lost();
    refuse(frame);
    if (frame.type !== type) throw this.broken(`it sent a frame of type ${frame.type} where ${type} was due`);
    return new FrameReader(frame.payload);
  }

  /** Sends one frame. @returns resolves when the socket can take more, or takes no more ever: the agent's answer then says why */
  async send(frame: Uint8Array): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed || socket.write(frame)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        socket.off("drain", done);
        socket.off("close", done);
        resolve();
      };
      socket.on("drain", done);
      socket.on("close", done);
    });
  }
  /** Sends without waiting: for small frames whose number is bounded. */
  post(frame: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(frame);
  }

  /** From now on, the frame that is waited for has so long to come. */
  expire(timeoutMs: number): void {
    const { promise } = this.#waiting ?? {};
    if (promise === undefined) return;
    const timer = setTimeout(() => this.fail(timedOut(timeoutMs)), timeoutMs);
    const stop = (): void => clearTimeout(timer);
    promise.then(stop, stop);
  }
  /** Lets a signal end the connection, for as long as that lasts. */
  obey(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const abort = (): void => this.fail(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    this.#socket.once("close", () => signal.removeEventListener("abort", abort));
    if (signal.aborted) abort();
  }
  /** Reads fields of a frame. @throws AgentError broken where they are not there */
  read<T>(fields: () => T): T {
    try {
      return fields();
    } catch (error) {
      if (error instanceof RangeError) throw this.broken(error.message);
      throw error;
    }
  }

  /** Ends the connection because the agent broke the protocol. @returns the error, for throwing */
  broken(what: string): AgentError {
    const error = new AgentError("broken", `The agent in the VM breaks the protocol (${what}); restart the VM.`);
    this.fail(error);
    return error;
  }
  /** Ends the connection; what waits for a frame gets the error. */
  fail(error: Error): void {
    if (this.#failure === undefined && !this.#ended) {
      this.#failure = error;
      this.#waiting?.reject(error);
      this.#waiting = undefined;
    }
    this.close();
  }
  close(): void {
    this.#socket.destroy();
  }

  #end(): void {
    if (this.#failure !== undefined || this.#ended) return;
    if (this.#chunkBytes > 0) {
      this.fail(lost());
      return;
    }
    this.#ended = true;
    this.#waiting?.resolve(undefined);
    this.#waiting = undefined;
  }
  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    while (this.#chunkBytes >= FRAME_HEADER_BYTES) {
      const header = this.#peek(FRAME_HEADER_BYTES);
      const length = header.readUInt32LE(0);
      if (length > FRAME_LIMIT_BYTES) {
        this.broken(`it announces a frame of ${length} bytes`);
        return;
      }
      if (this.#chunkBytes < FRAME_HEADER_BYTES + length) return;
      const bytes = this.#peek(FRAME_HEADER_BYTES + length);
      this.#drop(FRAME_HEADER_BYTES + length);
      this.#deliver({ type: header[4]!, payload: bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length) });
    }
  }
  /** The first `count` bytes; joins chunks only where they are needed together. */
  #peek(count: number): Buffer {
    if (this.#chunks[0]!.length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }
  #drop(count: number): void {
    this.#chunkBytes -= count;
    const rest = this.#chunks[0]!.subarray(count);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
  }
  #deliver(frame: Frame): void {
    if (this.#waiting !== undefined) {
      this.#waiting.resolve(frame);
      this.#waiting = undefined;
      return;
    }
    this.#frames.push(frame);
    this.#queuedBytes += frame.payload.length + FRAME_HEADER_BYTES;
    if (this.#queuedBytes >= QUEUE_BYTES) this.#socket.pause();
  }
}

/** @throws AgentError what an Out.ERROR frame says */
export function refuse(frame: Frame): void {
  if (frame.type === Out.ERROR) throw refusalError(new FrameReader(frame.payload));
}

export function lost(cause?: Error): AgentError {
  const sentence = "The connection to the agent in the VM was lost; has the VM ended, or was the agent killed?";
  return new AgentError("lost", sentence, { cause });
}

function timedOut(timeoutMs: number): AgentError {
  const sentence = `The agent in the VM did not answer within ${timeoutMs / 1000} s; is the guest overloaded or stopped?`;
  return new AgentError("timed-out", sentence);
}
