/* BlockFile: a file as disks use it: all of a range is read or written or it fails; durable after sync(); holes can be made. HostFile is one of the host. I/O thread;
 * bytes go straight between the file and guest memory. Leaves out: direct I/O (the host's page cache serves the VMs of one image together). */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { DiskError } from "./disk-error.ts";
import { ENOSYS, EOPNOTSUPP, Falloc, libc } from "../device/libc.ts";

/** More than this many pieces in one readv/writev is EINVAL on Linux (IOV_MAX). */
const MAX_PIECES = 1024;
/** Making a hole is done at once: in parts of this size, other requests come between. */
const PUNCH_BYTES = 64 << 20;
const ZERO_BYTES = 1 << 20;
const ZEROES = new Uint8Array(ZERO_BYTES);

/** Errors reject; what was done of a request before it failed is then undefined. */
export interface BlockFile {
  readonly fd: number;
  read(offset: number, into: readonly Uint8Array[]): Promise<void>;
  write(offset: number, from: readonly Uint8Array[]): Promise<void>;
  /** What was written before the call is durable afterwards. */
  sync(): Promise<void>;
  /** Gives a range's space back; it then reads as zeroes. @returns false if the file system cannot, and nothing was done */
  punch(offset: number, length: number): Promise<boolean>;
  /** Makes a range read as zeroes; its space stays. */
  zero(offset: number, length: number): Promise<void>;
  close(): Promise<void>;
}

/** Can HostFile.punch() do anything at all? */
export function canPunch(): boolean {
  return libc() !== undefined;
}

export class HostFile implements BlockFile {
  readonly #path: string;
  readonly #file: FileHandle;
  /** Ways that the file system has refused. */
  readonly #refused = new Set<number>();

  constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }
  get fd(): number {
    return this.#file.fd;
  }
  get handle(): FileHandle {
    return this.#file;
  }
  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await this.#all(offset, into, async (pieces, at) => (await this.#file.readv(pieces, at)).bytesRead);
  }
  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    await this.#all(offset, from, async (pieces, at) => (await this.#file.writev(pieces, at)).bytesWritten);
  }
  async sync(): Promise<void> {
    await this.#file.datasync();
  }
  async punch(offset: number, length: number): Promise<boolean> {
    for (let done = 0; done < length; done += PUNCH_BYTES) {
      if (done > 0) await setImmediate();
      const mode = Falloc.KEEP_SIZE | Falloc.PUNCH_HOLE;
      if (!this.#allocate(mode, offset + done, Math.min(PUNCH_BYTES, length - done))) return false;
    }
    return true;
  }
  async zero(offset: number, length: number): Promise<void> {
    if (this.#allocate(Falloc.KEEP_SIZE | Falloc.ZERO_RANGE, offset, length)) return;
    for (let done = 0; done < length; done += ZERO_BYTES)
      await this.write(offset + done, [ZEROES.subarray(0, Math.min(ZERO_BYTES, length - done))]);
  }
  async close(): Promise<void> {
    await this.#file.close();
  }

  /** @returns false if the file system does not know this, and nothing was done */
  #allocate(mode: number, offset: number, length: number): boolean {
    const calls = libc();
    if (calls === undefined || this.#refused.has(mode)) return false;
    const result = calls.fallocate(this.fd, mode, offset, length);
    if (result === 0) return true;
    if (result !== -EOPNOTSUPP && result !== -ENOSYS)
      throw new DiskError("failed", `${this.#path} cannot be changed (errno ${-result}): check its file system.`);
    this.#refused.add(mode);
    return false;
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

/** A file of `directory` without a name: it is gone when it is closed, however that comes. */
export async function openNameless(directory: string): Promise<FileHandle> {
  // Of the system's headers: O_TMPFILE, which node:fs has no name for. @source open(2)
  const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
  return open(directory, O_TMPFILE | constants.O_RDWR, 0o600);
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

/** Flushes one after another. All that ask while one runs share the next: it starts after they asked. */
export class Flushes {
  readonly #flush: () => Promise<void>;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }
  request(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const start = (): Promise<void> => {
      this.#next = undefined;
      return this.#flush();
    };
    const next = this.#running.then(start, start);
    this.#next = next;
    this.#running = next;
    return next;
  }
}
