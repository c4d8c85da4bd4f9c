/** What can be wrong with a kernel. */
export type KernelErrorCode =
  | "missing"
  | "truncated"
  | "not-a-kernel"
  | "wrong-architecture"
  | "32-bit"
  | "too-old"
  | "unsupported-compression"
  | "corrupt"
  | "does-not-fit"
  | "command-line-too-long";

/** A kernel, its initramfs or its command line cannot be used. The message is one sentence that says what to do. */
export class KernelError extends Error {
  override readonly name = "KernelError";
  readonly code: KernelErrorCode;
  constructor(code: KernelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
