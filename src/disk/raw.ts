/* A raw disk image: a file whose bytes are the disk's. I/O thread; reads and writes go straight between the file and guest memory.
 * Leaves out: punching holes (Node has no call for it), direct I/O, block devices. */
import { constants, type Stats } from "node:fs";
import { access, type FileHandle, open, stat } from "node:fs/promises";
import type { Disk } from "../device/virtio/disk.ts";

const SECTOR = 512;
/** More than this many pieces in one readv/writev is EINVAL on Linux (IOV_MAX). */
const MAX_PIECES = 1024;

export type DiskErrorCode = "missing" | "unreadable" | "read-only" | "not-a-file" | "bad-size" | "short" | "failed";

/** Something is wrong with a disk image. The message says what to do. */
export class DiskError extends Error {
  readonly code: DiskErrorCode;
  constructor(code: DiskErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "DiskError";
    this.code = code;
  }
}

/** Opens a raw image. The caller closes it. @throws DiskError */
export async function openRawDisk(path: string, { readOnly = false }: { readOnly?: boolean } = {}): Promise<Disk> {
  const found = await stat(path).catch((error: unknown) => {
    throw openError(path, error);
  });
  const sizeBytes = checkSize(path, found);
  await access(path, constants.R_OK).catch((error: unknown) => {
    throw openError(path, error);
  });
  const file = await open(path, readOnly ? "r" : "r+").catch((error: unknown) => {
    throw readOnly ? openError(path, error) : writeError(path, error);
  });
  return new RawDisk(path, file, sizeBytes, readOnly);
}

function checkSize(path: string, found: Stats): number {
  if (!found.isFile())
    throw new DiskError("not-a-file", `${path} is not a regular file: give the path of a raw disk image.`);
  if (found.size === 0)
    throw new DiskError("bad-size", `${path} is empty: give it a size first, for example with "truncate -s 1G".`);
  if (found.size % SECTOR !== 0)
    throw new DiskError(
      "bad-size",
      `${path} has ${found.size} bytes, which is not a multiple of ${SECTOR}: is it a raw disk image? If so, extend it.`,
    );
  return found.size;
}
function errorCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
function openError(path: string, error: unknown): DiskError {
  const code = errorCode(error);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new DiskError("missing", `${path} does not exist: check the path, or create the image first.`, error);
  if (code === "EACCES" || code === "EPERM")
    return new DiskError("unreadable", `${path} may not be read by this user: change its permissions.`, error);
  return new DiskError("failed", `${path} cannot be opened (${code}): check the file and its file system.`, error);
}
function writeError(path: string, error: unknown): DiskError {
  const code = errorCode(error);
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new DiskError(
      "read-only",
      `${path} may not be written by this user: change its permissions, or attach it read-only.`,
      error,
    );
  return openError(path, error);
}

class RawDisk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly canDiscard = false;
  readonly #path: string;
  readonly #file: FileHandle;

  constructor(path: string, file: FileHandle, sizeBytes: number, readOnly: boolean) {
    this.#path = path;
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.readOnly = readOnly;
  }
  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await this.#all(offset, into, async (pieces, at) => (await this.#file.readv(pieces, at)).bytesRead);
  }
  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    if (this.readOnly)
      throw new DiskError("read-only", `${this.#path} is attached read-only: attach it writable to write.`);
    await this.#all(offset, from, async (pieces, at) => (await this.#file.writev(pieces, at)).bytesWritten);
  }
  async flush(): Promise<void> {
    if (!this.readOnly) await this.#file.datasync();
  }
  async discard(): Promise<boolean> {
    return false;
  }
  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Repeats `step` until all pieces are done: the system may do less than it was asked. */
  async #all(
    offset: number,
    pieces: readonly Uint8Array[],
    step: (pieces: Uint8Array[], at: number) => Promise<number>,
  ): Promise<void> {
    let rest = pieces.filter((piece) => piece.length > 0);
    let at = offset;
    while (rest.length > 0) {
      const done = await step(rest.slice(0, MAX_PIECES), at);
      if (done === 0)
        throw new DiskError(
          "short",
          `${this.#path} ended at byte ${at}: it was made shorter while in use; restore its size.`,
        );
      at += done;
      rest = after(rest, done);
    }
  }
}

/** What is left of `pieces` after their first `count` bytes. */
function after(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  let skip = count;
  let first = 0;
  while (first < pieces.length && skip >= pieces[first]!.length) skip -= pieces[first++]!.length;
  const rest = pieces.slice(first);
  if (skip > 0) rest[0] = rest[0]!.subarray(skip);
  return rest;
}
