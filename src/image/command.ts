/* Runs a program to its end without a shell. For apt, dpkg-deb and mke2fs; never for anything that a guest names. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export interface CommandResult {
  /** Exit status; 255 when a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `file` with `args`. Output is read as text; the locale is C, so that messages can be recognised.
 *  @param onStatusLine called for each line that the program writes to file descriptor 3
 *  @throws the system's error (ENOENT …) when the program cannot be started, AbortError once it has ended after `signal` */
export function runCommand(
  file: string,
  args: readonly string[],
  options: { cwd?: string; signal?: AbortSignal | undefined; onStatusLine?: ((line: string) => void) | undefined } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "pipe", "pipe", options.onStatusLine === undefined ? "ignore" : "pipe"],
    });
    const chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
    child.stdout!.on("data", (chunk: Buffer) => chunks.stdout.push(chunk));
    child.stderr!.on("data", (chunk: Buffer) => chunks.stderr.push(chunk));
    if (options.onStatusLine !== undefined)
      createInterface({ input: child.stdio[3] as Readable }).on("line", options.onStatusLine);
    let aborted: Error | undefined;
    child.on("error", (error) => {
      // An aborted program still runs and writes for a moment: whoever removes its files must not be told before it has ended.
      if (error.name === "AbortError") aborted = error;
      else reject(error);
    });
    child.on("close", (code) => {
      if (aborted !== undefined) return reject(aborted);
      resolve({
        status: code ?? 255,
        stdout: Buffer.concat(chunks.stdout).toString(),
        stderr: Buffer.concat(chunks.stderr).toString(),
      });
    });
  });
}
