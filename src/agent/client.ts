/* AgentClient: the host's side of the agent in a guest. Knows no VM: it is given a way to connect to the guest's ports and to take connections from them
 * (the vsock device, or a stand-in of a test). Each operation has a connection of its own. I/O thread. @source docs/agent.md */
import type { Duplex } from "node:stream";
import { AgentError } from "./agent-error.ts";
import { Channel } from "./channel.ts";
import { copyIn, type CopyCounts, type CopyInOptions } from "./copy-in.ts";
import { copyOut, type CopyOutOptions } from "./copy-out.ts";
import { type AgentExec, type ExecRequest, RunningExec, execFrame } from "./exec.ts";
import { AgentFiles } from "./files.ts";
import { Out, PORT_READY, PROTOCOL_VERSION } from "./protocol.ts";
import { printable } from "./refusal.ts";
import { type AgentTransport, type Cancellable, Requests } from "./requests.ts";
import { type GuestInfo, frozen, guestInfo, power, type PowerOptions, setClock, sync } from "./system.ts";

export type { AgentTransport };

/** For answers that the guest gives at once unless it is overloaded. */
const ANSWER_TIMEOUT_MS = 30_000;
/** Ports below are root's in the guest: no other program passes for the agent. */
const FIRST_FREE_PORT = 1024;

/** When the guest was how far, by its own clock since its kernel started. */
export interface AgentReady {
  readonly agentStartedUs: number;
  readonly modulesLoadedUs: number;
  readonly rootMountedUs: number;
  readonly readyUs: number;
  /** What was asked for and could not be done: a disk that is not there, a name that could not be written. Sentences of the agent's. */
  readonly complaints: readonly string[];
}

export class AgentClient extends AgentFiles {
  readonly #requests: Requests;
  readonly #ready = Promise.withResolvers<AgentReady>();
  readonly #lost = Promise.withResolvers<void>();
  readonly #stopListening: () => void;
  #greeting: Channel | undefined;

  /** To be made before the guest runs: it tells once that it is ready. @param timeoutMs for the first answer to each request */
  constructor(transport: AgentTransport, { timeoutMs = ANSWER_TIMEOUT_MS }: { timeoutMs?: number } = {}) {
    const requests = new Requests(transport, timeoutMs);
    super(requests);
    this.#requests = requests;
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
  /** Takes no more ready signals, and lets go of the agent's own connection. Operations under way go on. */
  close(): void {
    this.#stopListening();
    this.#greeting?.close();
  }

  /** Starts a command. @returns once it runs
   *  @throws AgentError command-not-found, command-not-executable, no-such-user, no-such-group, no-such-directory, busy, unreachable, …; RangeError */
  async exec(request: ExecRequest): Promise<AgentExec> {
    const { channel, answer } = await this.#requests.ask(execFrame(request), Out.STARTED, request.signal);
    return new RunningExec(
      channel,
      channel.read(() => answer.u32()),
    );
  }
  /** Starts a command that goes on without a connection, with /dev/null for its streams; nothing is learned of its end.
   *  @returns its process id in the guest @throws as exec */
  async execDetached(request: ExecRequest): Promise<number> {
    const { channel, answer } = await this.#requests.ask(execFrame(request, true), Out.STARTED, request.signal);
    channel.close();
    return channel.read(() => answer.u32());
  }

  /** Copies a file or a tree of the host into the guest, to the path `to` itself: it is merged into a directory that is there. @throws AgentError; the host's file errors */
  copyIn(from: string, to: string, options: CopyInOptions = {}): Promise<CopyCounts> {
    return copyIn(this.#requests, from, to, options);
  }
  /** Copies a file or a tree of the guest to the host, to the path `to` itself. Nothing is written elsewhere, whatever the guest says.
   *  @throws AgentError; the host's file errors */
  copyOut(from: string, to: string, options: CopyOutOptions = {}): Promise<CopyCounts> {
    return copyOut(this.#requests, from, to, options);
  }

  /** Steps the guest's clock. @param nanoseconds since 1970; the host's time if absent @throws AgentError */
  setClock(nanoseconds: bigint = BigInt(Date.now()) * 1_000_000n, { signal }: Cancellable = {}): Promise<void> {
    return setClock(this.#requests, nanoseconds, signal);
  }
  /** @throws AgentError */
  info({ signal }: Cancellable = {}): Promise<GuestInfo> {
    return guestInfo(this.#requests, signal);
  }
  /** Writes what the guest's file systems hold back to the disks. @throws AgentError */
  sync({ signal }: Cancellable = {}): Promise<void> {
    return sync(this.#requests, signal);
  }
  /** Runs `work` while the root's file system holds still, whole on its disk. @throws AgentError; what `work` throws */
  frozen<T>(work: () => Promise<T>, { signal }: Cancellable = {}): Promise<T> {
    return frozen(this.#requests, work, signal);
  }
  /** Ends all processes, writes the file systems and powers off; with an init of the image through that. Resolves when it has begun: the machine's end
   *  tells when it is done. @param options.graceMs between SIGTERM and SIGKILL, 2 s if absent @throws AgentError */
  powerOff(options: PowerOptions = {}): Promise<void> {
    return power(this.#requests, false, options);
  }
  /** The same with a reset at the end. @throws AgentError */
  reboot(options: PowerOptions = {}): Promise<void> {
    return power(this.#requests, true, options);
  }

  #greet(socket: Duplex, guestPort: number): void {
    if (this.#greeting !== undefined || guestPort >= FIRST_FREE_PORT) {
      socket.destroy();
      return;
    }
    this.#greeting = new Channel(socket);
    void this.#readGreeting(this.#greeting);
  }
  async #readGreeting(channel: Channel): Promise<void> {
    try {
      const reader = await channel.expect(Out.READY, this.#requests.timeoutMs);
      if (channel.read(() => reader.u16()) !== PROTOCOL_VERSION)
        throw new AgentError("version", "The agent in the VM is of another version of Mere; restart the VM.");
      this.#ready.resolve(
        channel.read(() => ({
          agentStartedUs: Number(reader.u64()),
          modulesLoadedUs: Number(reader.u64()),
          rootMountedUs: Number(reader.u64()),
          readyUs: Number(reader.u64()),
          complaints: reader
            .text()
            .split("\n")
            .filter((line) => line !== "")
            .map(printable),
        })),
      );
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
