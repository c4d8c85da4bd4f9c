/* Writes to an image file in pieces of a MiB, one after the other: what goes to neighbouring places becomes one write. Whoever writes must call drain() now
 * and then, so that no more than a few pieces wait. What is never written is a hole of the file and reads as zeros. I/O thread. */
import type { FileHandle } from "node:fs/promises";
import { Ext4Error } from "./ext4-error.ts";

const PIECE_BYTES = 1 << 20;
/** Pieces that may wait for the disk while more is read. */
const MAX_WAITING = 4;

export class ImageWriter {
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #spare: Buffer[] = [];
  #piece: Buffer;
  #start = 0;
  #filled = 0;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();
  #error: Error | undefined;

  /** @param path for messages. The caller closes the file after finish() */
  constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
  }

  /** What is written next goes to this byte of the file. */
  seek(offset: number): void {
    if (offset === this.#start + this.#filled) return;
    this.#flush();
    this.#start = offset;
  }

  /** The bytes are copied. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const count = Math.min(bytes.length - at, PIECE_BYTES - this.#filled);
      this.#piece.set(at === 0 && count === bytes.length ? bytes : bytes.subarray(at, at + count), this.#filled);
      this.#advance(count);
      at += count;
    }
  }

  zeros(count: number): void {
    for (let left = count; left > 0;) {
      const here = Math.min(left, PIECE_BYTES - this.#filled);
      this.#piece.fill(0, this.#filled, this.#filled + here);
      this.#advance(here);
      left -= here;
    }
  }

  /** Waits until little is waiting. @throws Ext4Error of any earlier write */
  async drain(): Promise<void> {
    if (this.#waiting > MAX_WAITING) await this.#last;
    if (this.#error !== undefined) throw this.#error;
  }

  /** Everything is written and on the disk. @throws Ext4Error */
  async finish(sizeBytes: number): Promise<void> {
    this.#flush();
    await this.settle();
    if (this.#error !== undefined) throw this.#error;
    try {
      await this.#file.truncate(sizeBytes);
      await this.#file.sync();
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** No write is under way any more; whether they worked is not said. */
  async settle(): Promise<void> {
    await this.#last;
  }

  #advance(count: number): void {
    this.#filled += count;
    if (this.#filled === PIECE_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#filled === 0) return;
    const [piece, start, length] = [this.#piece, this.#start, this.#filled];
    this.#piece = this.#spare.pop() ?? Buffer.allocUnsafe(PIECE_BYTES);
    this.#start += length;
    this.#filled = 0;
    this.#waiting++;
    this.#last = this.#last.then(() => this.#put(piece, start, length));
  }

  async #put(piece: Buffer, start: number, length: number): Promise<void> {
    try {
      for (let done = 0; done < length && this.#error === undefined;)
        done += (await this.#file.write(piece, done, length - done, start + done)).bytesWritten;
    } catch (error) {
      this.#error ??= writeError(this.#path, error);
    }
    this.#waiting--;
    this.#spare.push(piece);
  }
}

/** What a failed write, or opening to write, means for the user. */
export function writeError(path: string, error: unknown): Ext4Error {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new Ext4Error("no-space", `There is no space left to write ${path}: free some, then try again.`, {
      cause: error,
    });
  if (code === "EFBIG")
    return new Ext4Error("too-small", `${path} may not become so large on its file system: give a smaller size.`, {
      cause: error,
    });
  if (code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "ENOENT" || code === "ENOTDIR")
    return new Ext4Error(
      "unwritable",
      `${path} cannot be written (${code}): check its folder and who may write there.`,
      {
        cause: error,
      },
    );
  return new Ext4Error("failed", `${path} cannot be written (${code}): check the disk it is on.`, { cause: error });
}
