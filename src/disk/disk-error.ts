/* DiskError: what can be wrong with a disk image, in a sentence that says what to do. */

export type DiskErrorCode =
  | "missing"
  | "unreadable"
  | "read-only"
  | "not-a-file"
  | "bad-size"
  | "bad-name"
  | "short"
  | "in-use"
  | "exists"
  | "damaged"
  | "base-missing"
  | "base-changed"
  | "no-space"
  | "failed";

/** Something is wrong with a disk image. The message says what to do. */
export class DiskError extends Error {
  readonly code: DiskErrorCode;
  constructor(code: DiskErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "DiskError";
    this.code = code;
  }
}

function systemCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** Why a file cannot be opened or used. */
export function openError(path: string, error: unknown): DiskError {
  if (error instanceof DiskError) return error;
  const code = systemCode(error);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new DiskError("missing", `${path} does not exist: check the path, or create the image first.`, error);
  if (code === "EACCES" || code === "EPERM")
    return new DiskError("unreadable", `${path} may not be read by this user: change its permissions.`, error);
  return new DiskError("failed", `${path} cannot be opened (${code}): check the file and its file system.`, error);
}

/** Why a file cannot be opened for writing. */
export function openToWriteError(path: string, error: unknown): DiskError {
  const code = systemCode(error);
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new DiskError(
      "read-only",
      `${path} may not be written by this user: change its permissions, or attach it read-only.`,
      error,
    );
  return openError(path, error);
}

/** Why a new file cannot be made. */
export function createError(path: string, error: unknown): DiskError {
  if (error instanceof DiskError) return error;
  const code = systemCode(error);
  if (code === "EEXIST")
    return new DiskError("exists", `${path} exists already: choose another name, or remove it first.`, error);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new DiskError("no-space", `${path} cannot be written: its file system is full; make room there.`, error);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new DiskError("missing", `${path} cannot be made: its directory does not exist; make that first.`, error);
  if (code === "EFBIG")
    return new DiskError("bad-size", `${path} would be larger than its file system allows: choose less.`, error);
  return new DiskError("failed", `${path} cannot be made (${code}): check its directory.`, error);
}
