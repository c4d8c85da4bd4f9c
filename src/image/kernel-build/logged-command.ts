/* Runs a long program with children of its own (make, tar): output goes to a log and line by line to a listener, and when it is asked to stop, the
 * whole group of processes is, and the caller hears of it when all have ended. */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { createInterface } from "node:readline";

/** A compiler that does not heed SIGTERM for that long is killed. */
const GRACE_MS = 5000;

export interface LoggedCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Path of a file that standard output and error are added to. */
  readonly log: string;
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Runs to the end. @returns exit status, 255 when a signal ended it
 *  @throws the system's error (ENOENT, ENOSPC …), or AbortError once everything has ended after `signal` */
export async function runLogged(command: LoggedCommand): Promise<number> {
  command.signal?.throwIfAborted();
  const log = createWriteStream(command.log, { flags: "a" });
  log.on("error", () => {}); // finished tells it
  // Detached: a group of its own, which a signal reaches whole. Ctrl-C on the terminal comes to Mere alone, which stops the group.
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: { ...command.env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stop = (name: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // It has ended.
    }
  };
  let grace: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    stop("SIGTERM");
    grace = setTimeout(() => stop("SIGKILL"), GRACE_MS);
  };
  command.signal?.addEventListener("abort", onAbort, { once: true });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      log.write(`${line}\n`);
      command.onLine?.(line);
    });
  }
  const ended = new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    // Not before the pipes are closed: then no process of the group has them any more.
    child.on("close", (code) => resolve(code ?? 255));
  });
  const status = await ended.finally(() => {
    command.signal?.removeEventListener("abort", onAbort);
    clearTimeout(grace);
  });
  log.end();
  await finished(log);
  command.signal?.throwIfAborted();
  return status;
}
