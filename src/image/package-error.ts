/** What can go wrong with Debian packages. */
export type PackageErrorCode =
  | "apt-missing"
  | "no-keys"
  | "no-sources"
  | "no-network"
  | "no-space"
  | "unknown-package"
  | "unexpected-content"
  | "failed";

/** A package could not be had or unpacked. The message is one sentence that says what to do. */
export class PackageError extends Error {
  override readonly name = "PackageError";
  readonly code: PackageErrorCode;
  constructor(code: PackageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
