/** What can go wrong when a kernel is built. */
export type KernelBuildErrorCode =
  | "tools-missing"
  | "no-space"
  | "unexpected-source"
  | "options-dropped"
  | "compiler-failed";

/** A kernel could not be built. The message is one sentence that says what to do; for "compiler-failed" the last lines of make's output follow it. */
export class KernelBuildError extends Error {
  override readonly name = "KernelBuildError";
  readonly code: KernelBuildErrorCode;
  constructor(code: KernelBuildErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
