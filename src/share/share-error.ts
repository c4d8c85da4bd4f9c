/* What can be wrong with a directory that is to be shared. */

export type ShareErrorCode = "missing" | "not-a-directory" | "not-accessible" | "no-proc" | "failed";

/** A directory cannot be shared. The message says what to do. */
export class ShareError extends Error {
  readonly code: ShareErrorCode;
  constructor(code: ShareErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "ShareError";
    this.code = code;
  }
}
