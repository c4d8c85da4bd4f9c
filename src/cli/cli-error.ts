/* What the command line says when something is wrong: one sentence on standard error that says what to do, and an exit status. */

/** Exit statuses of mere itself; `mere run` otherwise ends with its command's. @source docs/spec.md "Exit status" */
export const ExitStatus = {
  ok: 0,
  /** Something failed: no kernel, no room, a guest that crashed. */
  failure: 1,
  /** The command line itself is wrong; nothing was started. */
  usage: 2,
  /** 128 + SIGINT, as shells report it. */
  interrupted: 130,
  /** 128 + SIGPIPE: who read standard output is gone. */
  brokenPipe: 141,
  /** 128 + SIGTERM. */
  terminated: 143,
} as const;

export type CliErrorCode = "usage" | "failure";

/** An error whose message is meant for the user: a sentence without the program's name and without a final full stop. */
export class CliError extends Error {
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CliError";
    this.code = code;
  }

  get exitStatus(): number {
    return ExitStatus[this.code];
  }
}

/** A mistake on the command line. */
export function usageError(message: string): CliError {
  return new CliError("usage", message);
}

/** Something outside the command line that failed. */
export function failure(message: string, cause?: unknown): CliError {
  return new CliError("failure", message, { cause });
}

/** Is this an error of one of the areas with one of these codes? */
export function isErrorCode(error: unknown, ...codes: readonly string[]): error is Error & { code: string } {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
