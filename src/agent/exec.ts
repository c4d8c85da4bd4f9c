/* One command in a guest: its streams, signals and end, over a channel of its own. The agent may send at most a window of each output stream ahead of its
 * reader, and the host of input ahead of the command, so no stream holds up another, and each takes bounded memory. @source docs/agent.md "exec" */
import { constants } from "node:os";
import { Readable, Writable } from "node:stream";
import type { AgentError } from "./agent-error.ts";
import { type Channel, type Frame, lost } from "./channel.ts";
import { DATA_LIMIT_BYTES, FrameReader, FrameWriter, In, Op, Out, STREAM_WINDOW_BYTES } from "./protocol.ts";
import { type Cancellable, requestFrame } from "./requests.ts";

/** A reader's progress is told to the agent in steps of this many bytes. */
const CREDIT_BYTES = STREAM_WINDOW_BYTES / 4;
const TTY = 1;
const DETACHED = 2;

/** What to run. An abort of its signal ends the command as a lost connection does. */
export interface ExecRequest extends Cancellable {
  /** Program and arguments; a program without a slash is looked for in PATH of `environment`. At most 1 MiB with the environment. */
  readonly command: readonly string[];
  /** The whole environment; PATH and HOME are added where they are missing, and TERM for a terminal. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Default "/"; must exist. */
  readonly directory?: string | undefined;
  /** "name", "uid", "name:group", "uid:gid"; default root. */
  readonly user?: string | undefined;
  /** A terminal of this size: input and output are then one stream, and stderr is empty. */
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined;
}

export type ExecEnd = { readonly code: number } | { readonly signal: string };

/** A running command. If the connection goes away, the command's process group gets SIGHUP and two seconds later SIGKILL. */
export interface AgentExec {
  /** The guest's process id. */
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** How the command ended; rejects with AgentError when that cannot be known. What it wrote may still be on its way to stdout and stderr. */
  readonly exit: Promise<ExecEnd>;
  /** Sends a signal to the command's process group. @param signal "SIGTERM", "TERM", "SIGRTMIN+3", 15 @throws RangeError when it is none */
  kill(signal?: string | number): void;
  resize(columns: number, rows: number): void;
}

/** @throws RangeError when something cannot be a word in a guest */
export function execFrame(request: ExecRequest, detached = false): Buffer {
  const { command, terminal } = request;
  if (command.length === 0) throw new RangeError("A command needs at least a program's name.");
  const environment = Object.entries({
    ...(terminal !== undefined && { TERM: "xterm" }),
    ...request.environment,
  });
  const frame = requestFrame(Op.EXEC)
    .u8((terminal === undefined ? 0 : TTY) | (detached ? DETACHED : 0))
    .u16(terminal?.columns ?? 0)
    .u16(terminal?.rows ?? 0)
    .text(request.directory ?? "")
    .text(request.user ?? "");
  frame.u32(command.length);
  for (const word of command) frame.text(word);
  frame.u32(environment.length);
  for (const [name, value] of environment) {
    if (name === "" || name.includes("=")) throw new RangeError(`"${name}" cannot be an environment variable's name.`);
    frame.text(`${name}=${value}`);
  }
  return frame.finish();
}

/** Output of a command: what the agent has sent and the reader has not taken waits here, a window at most. */
class OutputStream extends Readable {
  readonly #channel: Channel;
  readonly #type: number;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #taken = 0;
  #wanted = false;
  #ended = false;

  constructor(channel: Channel, type: number) {
    super({ highWaterMark: DATA_LIMIT_BYTES });
    this.#channel = channel;
    this.#type = type;
    // The command's promise tells of a lost connection; nobody has to listen at each stream.
    this.on("error", () => {});
  }
  /** @returns was that within the window */
  receive(data: Buffer): boolean {
    if (this.#ended) return false;
    if (data.length === 0) this.#ended = true;
    if (this.#waitingBytes + this.#taken + data.length > STREAM_WINDOW_BYTES) return false;
    if (data.length > 0) this.#waiting.push(data);
    this.#waitingBytes += data.length;
    this.#deliver();
    return true;
  }
  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }
  /** Who destroys the stream wants the command to go on without a reader. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    callback(error);
    this.#deliver();
  }
  #deliver(): void {
    while ((this.#wanted || this.destroyed) && this.#waiting.length > 0) {
      const data = this.#waiting.shift()!;
      this.#waitingBytes -= data.length;
      this.#taken += data.length;
      if (this.destroyed) continue;
      // Asked for again while it is pushed, perhaps.
      this.#wanted = false;
      if (this.push(data)) this.#wanted = true;
    }
    if (this.#taken >= CREDIT_BYTES && !this.#ended) {
      this.#channel.post(new FrameWriter(In.CREDIT).u8(this.#type).u32(this.#taken).finish());
      this.#taken = 0;
    }
    if (this.#ended && this.#waiting.length === 0 && this.#wanted) {
      this.#wanted = false;
      this.push(null);
    }
  }
}

/** Input of a command: at most a window of it is on its way. */
class InputStream extends Writable {
  readonly #channel: Channel;
  #credit = STREAM_WINDOW_BYTES;
  #writing: { data: Buffer; done: () => void } | undefined;

  constructor(channel: Channel) {
    super({ highWaterMark: DATA_LIMIT_BYTES });
    this.#channel = channel;
    this.on("error", () => {});
  }
  /** @returns was that no more than had been sent */
  taken(count: number): boolean {
    this.#credit += count;
    this.#send();
    return this.#credit <= STREAM_WINDOW_BYTES;
  }
  override _write(data: Buffer, _encoding: string, done: () => void): void {
    this.#writing = { data, done };
    this.#send();
  }
  override _final(done: () => void): void {
    this.#channel.post(new FrameWriter(In.STDIN).finish());
    done();
  }
  #send(): void {
    while (this.#writing !== undefined && this.#credit > 0) {
      const { data, done } = this.#writing;
      const part = data.subarray(0, Math.min(this.#credit, DATA_LIMIT_BYTES));
      this.#credit -= part.length;
      this.#channel.post(new FrameWriter(In.STDIN).bytes(part).finish());
      this.#writing = part.length < data.length ? { data: data.subarray(part.length), done } : undefined;
      if (this.#writing === undefined) done();
    }
  }
}

/** The command of a channel on which the agent has said Out.STARTED. Owns the channel. */
export class RunningExec implements AgentExec {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exit: Promise<ExecEnd>;
  readonly #channel: Channel;
  readonly #input: InputStream;
  readonly #output: OutputStream;
  readonly #errors: OutputStream;
  readonly #exit = Promise.withResolvers<ExecEnd>();

  constructor(channel: Channel, pid: number) {
    this.pid = pid;
    this.#channel = channel;
    this.stdin = this.#input = new InputStream(channel);
    this.stdout = this.#output = new OutputStream(channel, Out.STDOUT);
    this.stderr = this.#errors = new OutputStream(channel, Out.STDERR);
    this.exit = this.#exit.promise;
    this.exit.catch(() => undefined);
    void this.#carry();
  }
  kill(signal: string | number = "SIGTERM"): void {
    this.#channel.post(new FrameWriter(In.SIGNAL).u32(signalNumber(signal)).finish());
  }
  resize(columns: number, rows: number): void {
    this.#channel.post(new FrameWriter(In.RESIZE).u16(columns).u16(rows).finish());
  }

  async #carry(): Promise<void> {
    let open = 2;
    let ended = false;
    try {
      while (open > 0 || !ended) {
        const frame = await this.#channel.next();
        if (frame === undefined) throw lost();
        if (frame.type === Out.EXIT && ended) throw this.#channel.broken("a command ends twice");
        if (frame.type === Out.EXIT) ended = true;
        if ((frame.type === Out.STDOUT || frame.type === Out.STDERR) && frame.payload.length === 0) open--;
        this.#obey(frame);
      }
      // What the command did not read is of no use any more.
      this.#input.destroy();
      this.#channel.close();
    } catch (error) {
      this.#fail(error as Error);
    }
  }
  #obey({ type, payload }: Frame): void {
    const reader = new FrameReader(payload);
    let right = true;
    if (type === Out.STDOUT) right = this.#output.receive(payload);
    else if (type === Out.STDERR) right = this.#errors.receive(payload);
    else if (type === Out.STDIN_TAKEN) right = reader.rest === 4 && this.#input.taken(reader.u32());
    else if (type === Out.EXIT) right = this.#receiveExit(reader);
    else right = false;
    if (!right) throw this.#channel.broken(`a frame of type ${type} is wrong here`);
  }
  #receiveExit(reader: FrameReader): boolean {
    if (reader.rest !== 5) return false;
    const kind = reader.u8();
    const value = reader.u32();
    if (kind !== 0 && (value === 0 || value > LAST_SIGNAL)) return false;
    this.#exit.resolve(kind === 0 ? { code: value & 0xff } : { signal: signalName(value) });
    return true;
  }
  #fail(error: Error | AgentError): void {
    this.#exit.reject(error);
    this.#input.destroy(error);
    this.#output.destroy(error);
    this.#errors.destroy(error);
    this.#channel.fail(error);
  }
}

/** SIGRTMIN as C libraries count: two real-time signals are theirs. */
const FIRST_REAL_TIME = 34;
const LAST_SIGNAL = 64;

/** A name as docker and kill(1) take it, as a number of Linux's. @throws RangeError */
export function signalNumber(signal: string | number): number {
  const name = String(signal).toUpperCase().replace(/^SIG/, "");
  const offset = /^RTMIN(?:\+(\d+))?$/.exec(name);
  const known = constants.signals[`SIG${name}` as NodeJS.Signals] as number | undefined;
  const number = offset === null ? (known ?? Number(name)) : FIRST_REAL_TIME + Number(offset[1] ?? 0);
  if (Number.isInteger(number) && number > 0 && number <= LAST_SIGNAL) return number;
  throw new RangeError(`${JSON.stringify(signal)} is no signal; take a name such as SIGTERM, or a number.`);
}

function signalName(number: number): string {
  if (number >= FIRST_REAL_TIME) return `SIGRTMIN+${number - FIRST_REAL_TIME}`;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `SIG${number}`;
}
