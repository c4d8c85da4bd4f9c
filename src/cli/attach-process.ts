/* A program in a VM on this process's standard streams: a terminal in raw mode with an escape, or plain streams with backpressure. */
import type { Readable, Writable } from "node:stream";
import type { ProcessExit, VmProcess } from "../host/process.ts";
import { attachTerminal } from "./terminal.ts";

export interface AttachOptions {
  /** Give it this process's standard input; else it reads nothing. */
  readonly stdin: boolean;
  /** It has a terminal. */
  readonly tty: boolean;
  /** The user typed the escape, Ctrl-] q. */
  readonly leave: () => void;
}

/** The size of the user's terminal. */
export function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

/** Carries bytes until the program has ended and its output is written. Standard output that closes is the Interruption's business:
 *  what is printed then is dropped. */
export async function attachProcess(program: VmProcess, options: AttachOptions): Promise<ProcessExit> {
  const detach = options.tty ? attachTty(program, options) : attachPlain(program, options);
  const output = Promise.all([copy(program.stdout, process.stdout), copy(program.stderr, process.stderr)]);
  // Where they are cut off, so is the exit, which says why.
  output.catch(() => undefined);
  try {
    const exit = await program.exit;
    await output;
    return exit;
  } finally {
    detach();
  }
}

/** @param to should have a listener for its errors; what comes after one is dropped */
export async function copy(from: Readable, to: Writable): Promise<void> {
  for await (const chunk of from as AsyncIterable<Uint8Array>) if (!to.write(chunk) && !to.destroyed) await drained(to);
}

/** Resolves when a stream takes more, or takes nothing any more. Leaves no listeners on it. */
function drained(to: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      to.off("drain", done).off("close", done).off("error", done);
      resolve();
    };
    to.on("drain", done).on("close", done).on("error", done);
  });
}

function attachTty(program: VmProcess, { stdin, leave }: AttachOptions): () => void {
  const resize = (): void => {
    const { columns, rows } = terminalSize();
    program.resize(columns, rows);
  };
  process.stdout.on("resize", resize);
  program.stdin.on("error", () => undefined);
  const detach = stdin
    ? attachTerminal(process.stdin, "console", { input: (bytes) => void program.stdin.write(bytes), leave })
    : () => undefined;
  return () => {
    process.stdout.off("resize", resize);
    detach();
  };
}

function attachPlain(program: VmProcess, { stdin }: AttachOptions): () => void {
  // A program may close its input, or end, before all was given.
  program.stdin.on("error", () => process.stdin.unpipe(program.stdin));
  if (!stdin) {
    program.stdin.end();
    return () => undefined;
  }
  // A directory, say: the program's input ends.
  const onError = (error: Error): void => {
    process.stderr.write(`mere: standard input cannot be read (${error.message})\n`);
    program.stdin.end();
  };
  process.stdin.on("error", onError);
  process.stdin.pipe(program.stdin);
  return () => {
    process.stdin.off("error", onError);
    process.stdin.unpipe(program.stdin);
    process.stdin.pause();
  };
}
