/* Programs in a VM: started with streams, or run to their end with their output collected. */
import { finished } from "node:stream/promises";
import { Readable, type Writable } from "node:stream";
import type { AgentClient } from "../agent/client.ts";
import { type AgentExec, type ExecRequest, signalNumber } from "../agent/exec.ts";
import { HostError } from "./host-error.ts";
import type { ProcessDefaults } from "./main-process.ts";

/** Options of Vm.start() and Vm.exec(). */
export interface StartOptions {
  /** Added to the VM's. */
  readonly env?: Readonly<Record<string, string>>;
  /** name[:group] or uid[:gid]; the VM's if absent. */
  readonly user?: string;
  /** The VM's if absent. */
  readonly workingDirectory?: string;
  /** The program gets a terminal of this size, on which output and errors are one. */
  readonly tty?: { readonly columns: number; readonly rows: number };
  /** Kills the program after so many milliseconds; its exit is then a HostError "timeout". */
  readonly timeoutMs?: number;
  /** Kills the program. */
  readonly signal?: AbortSignal;
}

/** How a program ended. */
export interface ProcessExit {
  /** 0–255; 128 + n after signal n. */
  readonly exitCode: number;
  /** "SIGKILL", … if a signal ended it. */
  readonly signal?: string;
}

/** A running program in a VM. */
export interface VmProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** When it has ended; its last output may still be on its way to stdout and stderr. @throws HostError "timeout"; the signal's reason; AgentError if the VM ended before */
  readonly exit: Promise<ProcessExit>;
  /** @param signal "SIGTERM" if absent */
  kill(signal?: string): void;
  /** Of its terminal. */
  resize(columns: number, rows: number): void;
}

/** Options of Vm.exec(). */
export interface ExecOptions extends StartOptions {
  /** What the program reads; nothing if absent. */
  readonly stdin?: string | Uint8Array | Readable;
  /** Output and errors are each kept up to so many bytes; 16 MiB if absent. What is beyond is a HostError "bad-option", and the program is killed. */
  readonly maxOutputBytes?: number;
}

/** What a program printed, and how it ended. A status other than 0 is no error. */
export interface ExecResult extends ProcessExit {
  /** As UTF-8. */
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Uint8Array;
}

/** A program's words; a string is a line for the guest's /bin/sh. */
export type Command = string | readonly string[];

const MAX_OUTPUT_BYTES = 16 << 20;
/** Node's timers take no more, and take more for nothing at all. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Starts a program. @throws AgentError, HostError "bad-option"; the signal's reason */
export async function startProcess(
  agent: AgentClient,
  defaults: ProcessDefaults,
  command: Command,
  options: StartOptions = {},
): Promise<VmProcess> {
  options.signal?.throwIfAborted();
  // Once it runs, giving up is a signal to the program; before, the connection ends.
  const starting = new AbortController();
  const onAbort = (): void => starting.abort(options.signal!.reason);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const process = await execOrSay(agent, {
    command: typeof command === "string" ? ["/bin/sh", "-c", command] : command,
    environment: { ...defaults.env, ...options.env },
    user: options.user ?? defaults.user,
    directory: options.workingDirectory ?? defaults.workingDirectory,
    terminal: options.tty,
    signal: starting.signal,
  }).finally(() => options.signal?.removeEventListener("abort", onAbort));
  const exit = exitOf(process, options);
  // Who does not wait for it need not hear that the VM ended.
  exit.catch(() => undefined);
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    exit,
    kill: (signal = "SIGTERM") => process.kill(signal),
    resize: (columns, rows) => process.resize(columns, rows),
  };
}

/** What cannot be a command is the caller's mistake. */
async function execOrSay(agent: AgentClient, request: ExecRequest): Promise<AgentExec> {
  try {
    return await agent.exec(request);
  } catch (error) {
    throw error instanceof RangeError ? new HostError("bad-option", error.message, error) : error;
  }
}

async function exitOf(process: AgentExec, { timeoutMs, signal }: StartOptions): Promise<ProcessExit> {
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => undefined);
  const kill = (reason: unknown): void => {
    process.kill("SIGKILL");
    stopped.reject(reason as Error);
  };
  const timer =
    timeoutMs === undefined || timeoutMs > LONGEST_TIMER_MS
      ? undefined
      : setTimeout(
          () => kill(new HostError("timeout", `The program ran longer than ${timeoutMs} ms and was killed.`)),
          timeoutMs,
        );
  const onAbort = (): void => kill(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  // While it was started.
  if (signal?.aborted === true) onAbort();
  try {
    const exit = await Promise.race([process.exit, stopped.promise]);
    return exitStatus(exit);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** As shells have it. */
function exitStatus(end: Awaited<AgentExec["exit"]>): ProcessExit {
  return "code" in end ? { exitCode: end.code } : { exitCode: 128 + signalNumber(end.signal), signal: end.signal };
}

/** Runs a program to its end. */
export async function execProcess(
  agent: AgentClient,
  defaults: ProcessDefaults,
  command: Command,
  options: ExecOptions = {},
): Promise<ExecResult> {
  const most = options.maxOutputBytes ?? MAX_OUTPUT_BYTES;
  const process = await startProcess(agent, defaults, command, options);
  const fed = feed(process.stdin, options.stdin).catch((error: unknown) => {
    process.kill("SIGKILL");
    throw error;
  });
  const tooMuch = (): HostError => {
    process.kill("SIGKILL");
    return new HostError(
      "bad-option",
      `The program printed more than ${most} bytes and was killed; raise maxOutputBytes, or use start().`,
    );
  };
  const [exit, stdout, stderr] = await Promise.all([
    process.exit,
    collect(process.stdout, most, tooMuch),
    collect(process.stderr, most, tooMuch),
    fed,
  ]);
  return { ...exit, stdout: stdout.toString("utf8"), stderr: stderr.toString("utf8"), stdoutBytes: stdout };
}

/** A program may end without having read all its input. @throws what the input throws before that */
async function feed(stdin: Writable, input: ExecOptions["stdin"]): Promise<void> {
  stdin.on("error", () => undefined);
  if (input === undefined) return void stdin.end();
  if (!(input instanceof Readable)) return void stdin.end(input);
  input.pipe(stdin);
  await Promise.race([finished(stdin).catch(() => undefined), finished(input, { writable: false })]);
}
async function collect(output: Readable, most: number, tooMuch: () => HostError): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of output as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > most) throw tooMuch();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
