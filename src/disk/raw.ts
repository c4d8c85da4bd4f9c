/* A raw disk image: a file whose bytes are the disk's. I/O thread. Leaves out: block devices. */
import { constants, type Stats } from "node:fs";
import { access, type FileHandle, open, stat } from "node:fs/promises";
import type { Disk, QuickDiskParts } from "../device/virtio/disk.ts";
import { type BlockFile, canPunch, Flushes, HostFile } from "./block-file.ts";
import { DiskError, openError, openToWriteError } from "./disk-error.ts";
import { lock } from "./lock.ts";

const SECTOR = 512;

export interface RawDiskOptions {
  readonly readOnly?: boolean;
  /** FLUSH does nothing: for a file that counts only once its writer has synced it after it is closed. */
  readonly unflushed?: boolean;
}

/** Opens a raw image and locks it: for one writer, or for readers. The caller closes it. @throws DiskError */
export async function openRawDisk(path: string, options: RawDiskOptions = {}): Promise<Disk> {
  const { readOnly = false, unflushed = false } = options;
  const { file, sizeBytes } = await openLocked(path, readOnly);
  return new RawDisk(path, new HostFile(path, file), sizeBytes, { readOnly, unflushed: unflushed || readOnly });
}

/** Opens a regular file that can be a disk, with its lock. @throws DiskError */
export async function openLocked(path: string, readOnly: boolean): Promise<{ file: FileHandle; sizeBytes: number }> {
  const found = await stat(path).catch((error: unknown) => {
    throw openError(path, error);
  });
  checkSize(path, found);
  await access(path, constants.R_OK).catch((error: unknown) => {
    throw openError(path, error);
  });
  const file = await open(path, readOnly ? "r" : "r+").catch((error: unknown) => {
    throw readOnly ? openError(path, error) : openToWriteError(path, error);
  });
  try {
    lock(file.fd, readOnly ? "shared" : "exclusive", path);
    // Its last holder may have changed it.
    return { file, sizeBytes: checkSize(path, await file.stat()) };
  } catch (error) {
    await file.close();
    throw error;
  }
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

class RawDisk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly canDiscard: boolean;
  readonly quick: QuickDiskParts;
  readonly #path: string;
  readonly #file: BlockFile;
  readonly #flushes: Flushes;

  constructor(path: string, file: BlockFile, sizeBytes: number, { readOnly, unflushed }: Required<RawDiskOptions>) {
    this.#path = path;
    this.#file = file;
    this.#flushes = new Flushes(() => file.sync());
    this.sizeBytes = sizeBytes;
    this.readOnly = readOnly;
    this.quick = { sizeBytes, readOnly, flushless: unflushed, file: file.fd };
    this.canDiscard = !readOnly && canPunch();
  }
  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await this.#file.read(offset, into);
  }
  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    this.#mustBeWritable();
    await this.#file.write(offset, from);
  }
  async flush(): Promise<void> {
    if (!this.quick.flushless) await this.#flushes.request();
  }
  async discard(offset: number, length: number): Promise<boolean> {
    this.#mustBeWritable();
    return this.#file.punch(offset, length);
  }
  async zero(offset: number, length: number, unmap: boolean): Promise<void> {
    this.#mustBeWritable();
    if (!unmap || !(await this.#file.punch(offset, length))) await this.#file.zero(offset, length);
  }
  async close(): Promise<void> {
    await this.#file.close();
  }
  #mustBeWritable(): void {
    if (this.readOnly)
      throw new DiskError("read-only", `${this.#path} is attached read-only: attach it writable to write.`);
  }
}
