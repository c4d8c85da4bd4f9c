export type VsockErrorCode = "refused" | "timed-out" | "too-many" | "reset" | "broken" | "closed";

/** A connection into a guest could not be made or was broken. The message is one sentence that says what to do. */
export class VsockError extends Error {
  override readonly name = "VsockError";
  readonly code: VsockErrorCode;
  constructor(code: VsockErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
