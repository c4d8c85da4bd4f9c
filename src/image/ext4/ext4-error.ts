/** What can go wrong when a file system is written. */
export type Ext4ErrorCode = "no-space" | "too-small" | "too-many" | "unwritable" | "failed";

/** A file system could not be written. The message is one sentence that says what to do. */
export class Ext4Error extends Error {
  override readonly name = "Ext4Error";
  readonly code: Ext4ErrorCode;
  constructor(code: Ext4ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
