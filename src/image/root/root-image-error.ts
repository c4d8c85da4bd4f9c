/** What can go wrong when a root image is made. */
export type RootImageErrorCode =
  | "damaged-layer"
  | "refused-entry"
  | "unsupported"
  | "wrong-digest"
  | "too-large"
  | "too-small"
  | "no-space"
  | "unwritable"
  | "failed";

/** A root image could not be made; nothing is left of it. The message is one sentence that says what to do. */
export class RootImageError extends Error {
  override readonly name = "RootImageError";
  readonly code: RootImageErrorCode;
  constructor(code: RootImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
