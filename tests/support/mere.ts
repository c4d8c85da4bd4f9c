/* Starts bin/mere.js as a user does and tells how it ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The trampoline. */
export const MERE = fileURLToPath(new URL("../../bin/mere.js", import.meta.url));

export interface Ended {
  /** null: a signal ended it. */
  readonly status: number | null;
  /** As it came: output of a guest need not be text. */
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunningMere {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts mere. @param input standard input, which then ends, or "open" for one that stays; without it there is none */
export function startMere(
  words: readonly string[],
  options: { input?: Uint8Array | "open"; env?: Readonly<Record<string, string>>; cwd?: string } = {},
): RunningMere {
  const child = spawn(process.execPath, [MERE, ...words], {
    stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout!.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr!.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin?.on("error", () => {}); // it may end before it has read all
  if (options.input !== "open") child.stdin?.end(options.input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) =>
      resolve({ status, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
  return { child, ended };
}

/** Starts mere and waits for its end. */
export function runMere(...parameters: Parameters<typeof startMere>): Promise<Ended> {
  return startMere(...parameters).ended;
}

/** Text without trailing white space, for messages of failed assertions. */
export function summary({ status, stdout, stderr }: Ended): string {
  return `status ${String(status)}\nstdout: ${stdout.toString("latin1").slice(-4000)}\nstderr: ${stderr.slice(-4000)}`;
}
