/* How each operation begins: connect to the agent, send the request, wait for its first answer. @source docs/agent.md "Protocol". I/O thread. */
import type { Duplex } from "node:stream";
import { VsockError } from "../device/virtio/vsock-error.ts";
import { AgentError } from "./agent-error.ts";
import { Channel } from "./channel.ts";
import { type FrameReader, FrameWriter, Out, PORT_AGENT, PROTOCOL_VERSION } from "./protocol.ts";

/** How to reach a guest: VsockDevice is one. */
export interface AgentTransport {
  connect(port: number, options: { timeoutMs?: number; signal?: AbortSignal | undefined }): Promise<Duplex>;
  listen(port: number, listener: (socket: Duplex, guestPort: number) => void): () => void;
}

export interface Cancellable {
  /** Ends the operation; its error is the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The beginning of a request. */
export function requestFrame(op: number): FrameWriter {
  return new FrameWriter(op).u16(PROTOCOL_VERSION);
}

export class Requests {
  readonly #transport: AgentTransport;
  /** For each answer that is due. */
  readonly timeoutMs: number;

  constructor(transport: AgentTransport, timeoutMs: number) {
    this.#transport = transport;
    this.timeoutMs = timeoutMs;
  }

  /** Connects and sends the request. The channel is the caller's; an abort of the signal ends it. @throws AgentError unreachable; the signal's reason */
  async open(request: Uint8Array, signal?: AbortSignal): Promise<Channel> {
    signal?.throwIfAborted();
    const channel = new Channel(await this.#connect(signal));
    channel.obey(signal);
    channel.post(request);
    return channel;
  }
  /** The same, and waits for the first answer. @throws AgentError, also what the agent refused; the signal's reason */
  async ask(
    request: Uint8Array,
    answerType: number,
    signal?: AbortSignal,
  ): Promise<{ channel: Channel; answer: FrameReader }> {
    const channel = await this.open(request, signal);
    try {
      return { channel, answer: await channel.expect(answerType, this.timeoutMs) };
    } catch (error) {
      channel.close();
      throw error;
    }
  }
  /** For operations of one answer. @param read takes the answer's fields; RangeError from it is the agent's fault */
  async once<T>(request: Uint8Array, read: (answer: FrameReader) => T, signal?: AbortSignal): Promise<T> {
    const { channel, answer } = await this.ask(request, Out.DONE, signal);
    try {
      return channel.read(() => read(answer));
    } finally {
      channel.close();
    }
  }

  async #connect(signal: AbortSignal | undefined): Promise<Duplex> {
    try {
      return await this.#transport.connect(PORT_AGENT, { timeoutMs: this.timeoutMs, signal });
    } catch (error) {
      // What is between here and the guest's device has sentences of its own.
      const isSaid = error instanceof Error && "code" in error && !(error instanceof VsockError);
      if (signal?.aborted || isSaid) throw error;
      const sentence =
        "The agent in the VM cannot be reached; is the VM up, and was it started by this version of Mere?";
      throw new AgentError("unreachable", sentence, { cause: error });
    }
  }
}
