/** What can go wrong with images: where they come from, what is in them, and the store. */
export type ImageErrorCode =
  /** The text is no reference, or no registry is set for it. */
  | "bad-reference"
  | "no-registry"
  /** The configuration file of Mere, or docker's with credentials, cannot be read. */
  | "bad-config"
  /** The registry does not have it. */
  | "unknown-image"
  /** Neither the store nor the file system has it. */
  | "not-found"
  | "unauthorized"
  | "rate-limited"
  /** The registry answers with something else than the protocol says. */
  | "registry"
  | "stalled"
  | "network"
  | "digest-mismatch"
  | "damaged-layer"
  | "damaged-image"
  | "damaged-archive"
  | "wrong-platform"
  | "unsupported"
  | "no-space"
  | "unwritable"
  | "in-use"
  | "ambiguous"
  /** Packages could not be configured in the VM. */
  | "configure-failed";

/** An image could not be had, read, built or removed. The message is one sentence that says what to do. */
export class ImageError extends Error {
  override readonly name = "ImageError";
  readonly code: ImageErrorCode;
  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
