/* AgentClient: the host's side of the agent in a guest. Knows no VM: it is given a way to connect to the guest's ports and to take connections from them
 * (the vsock device, or a stand-in of a test). Each operation has a connection of its own. I/O thread. @source docs/agent.md */
import type { Duplex } from "node:stream";
import { AgentError } from "./agent-error.ts";
import { Channel } from "./channel.ts";
import { type AgentExec, type ExecRequest, RunningExec, execFrame } from "./exec.ts";
import { Out, PORT_AGENT, PORT_READY, PROTOCOL_VERSION } from "./protocol.ts";

/** For answers that the guest gives at once unless it is overloaded. */
const ANSWER_TIMEOUT_MS = 30_000;
/** u16 version, four times u64 */
const GREETING_BYTES = 34;
/** Ports below are root's in the guest: no other program passes for the agent. */
const FIRST_FREE_PORT = 1024;

/** How to reach a guest: VsockDevice is one. */
export interface AgentTransport {
  connect(port: number, options: { timeoutMs?: number; signal?: AbortSignal | undefined }): Promise<Duplex>;
  listen(port: number, listener: (socket: Duplex, guestPort: number) => void): () => void;
}

/** When the guest was how far, by its own clock since its kernel started. */
export interface AgentReady {
  readonly agentStartedUs: number;
  readonly modulesLoadedUs: number;
  readonly rootMountedUs: number;
  readonly readyUs: number;
}

export class AgentClient {
  readonly #transport: AgentTransport;
  readonly #timeoutMs: number;
  readonly #ready = Promise.withResolvers<AgentReady>();
  readonly #lost = Promise.withResolvers<void>();
  readonly #stopListening: () => void;
  #greeted = false;

  /** To be made before the guest runs: it tells once that it is ready. @param timeoutMs for the first answer to each request */
  constructor(transport: AgentTransport, { timeoutMs = ANSWER_TIMEOUT_MS }: { timeoutMs?: number } = {}) {
    this.#transport = transport;
    this.#timeoutMs = timeoutMs;
    this.#ready.promise.catch(() => undefined);
    this.#stopListening = transport.listen(PORT_READY, (socket, guestPort) => this.#greet(socket, guestPort));
  }

  /** Waits until the agent is ready. @throws AgentError timed-out, version; the signal's reason */
  async ready(timeoutMs: number, signal?: AbortSignal): Promise<AgentReady> {
    signal?.throwIfAborted();
    const given = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const sentence = `The VM's agent was not ready within ${timeoutMs / 1000} s; see the guest's messages on its serial port.`;
      given.reject(new AgentError("timed-out", sentence));
    }, timeoutMs);
    const abort = (): void => given.reject(signal!.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([this.#ready.promise, given.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
  /** Resolves when the agent has gone after it was ready: the guest is shutting down, or it was killed. */
  get lost(): Promise<void> {
    return this.#lost.promise;
  }
  /** Takes no more ready signals. Operations under way go on. */
  close(): void {
    this.#stopListening();
  }

  /** Starts a command. @returns once it runs
   *  @throws AgentError command-not-found, command-not-executable, no-such-user, no-such-group, no-such-directory, busy, unreachable, …; RangeError */
  async exec(request: ExecRequest): Promise<AgentExec> {
    const { channel, answer } = await this.#ask(execFrame(request), Out.STARTED, request.signal);
    if (answer.rest !== 4) throw channel.broken("its first answer has a wrong length");
    return new RunningExec(channel, answer.u32(), request.signal);
  }
  /** Starts a command that goes on without a connection, with /dev/null for its streams; nothing is learned of its end.
   *  @returns its process id in the guest @throws as exec */
  async execDetached(request: ExecRequest): Promise<number> {
    const { channel, answer } = await this.#ask(execFrame(request, true), Out.STARTED, request.signal);
    if (answer.rest !== 4) throw channel.broken("its first answer has a wrong length");
    channel.close();
    return answer.u32();
  }

  /** Connects, asks, and waits for the first answer. The channel is the caller's. */
  async #ask(
    request: Uint8Array,
    answerType: number,
    signal: AbortSignal | undefined,
  ): Promise<{ channel: Channel; answer: Awaited<ReturnType<Channel["expect"]>> }> {
    const channel = new Channel(await this.#connect(signal));
    const abort = (): void => channel.fail(signal!.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      channel.post(request);
      return { channel, answer: await channel.expect(answerType, this.#timeoutMs) };
    } catch (error) {
      channel.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }
  async #connect(signal: AbortSignal | undefined): Promise<Duplex> {
    try {
      return await this.#transport.connect(PORT_AGENT, { timeoutMs: this.#timeoutMs, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      const sentence =
        "The agent in the VM cannot be reached; is the VM up, and was it started by this version of Mere?";
      throw new AgentError("unreachable", sentence, { cause: error });
    }
  }

  #greet(socket: Duplex, guestPort: number): void {
    if (this.#greeted || guestPort >= FIRST_FREE_PORT) {
      socket.destroy();
      return;
    }
    this.#greeted = true;
    void this.#readGreeting(new Channel(socket));
  }
  async #readGreeting(channel: Channel): Promise<void> {
    try {
      const reader = await channel.expect(Out.READY, this.#timeoutMs);
      if (reader.rest !== GREETING_BYTES) throw channel.broken("its greeting has a wrong length");
      if (reader.u16() !== PROTOCOL_VERSION)
        throw new AgentError("version", "The agent in the VM is of another version of Mere; restart the VM.");
      this.#ready.resolve({
        agentStartedUs: Number(reader.u64()),
        modulesLoadedUs: Number(reader.u64()),
        rootMountedUs: Number(reader.u64()),
        readyUs: Number(reader.u64()),
      });
      // Nothing more comes; the end does.
      await channel.next().catch(() => undefined);
    } catch (error) {
      this.#ready.reject(error as Error);
    } finally {
      channel.close();
      this.#lost.resolve();
    }
  }
}
