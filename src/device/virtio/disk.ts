/* Disk: what the block device needs of a disk image, on the I/O thread, and QuickDisk: what executors may do of it on their own threads. Implemented by src/disk. */

/** Offsets and lengths are multiples of 512 and lie inside the disk. Rejections mean an I/O error; the guest sees VIRTIO_BLK_S_IOERR. */
export interface Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Can discard() give space back? */
  readonly canDiscard: boolean;
  /** What executors build their QuickDisk from, in plain data; undefined if all requests are for the I/O thread. Good until close(). */
  readonly quick?: QuickDiskParts | undefined;
  /** Fills all of `into`, which the disk may write until the promise settles. */
  read(offset: number, into: readonly Uint8Array[]): Promise<void>;
  /** Writes all of `from`. Durable only after flush(). */
  write(offset: number, from: readonly Uint8Array[]): Promise<void>;
  /** All writes that were complete when it was called are durable when it resolves. */
  flush(): Promise<void>;
  /** Gives space back; what is read there afterwards is undefined. @returns false if nothing was done */
  discard(offset: number, length: number): Promise<boolean>;
  /** What is read there afterwards is zeroes. @param unmap the space may be given back */
  zero(offset: number, length: number, unmap: boolean): Promise<void>;
  /** After it nothing else may be called. */
  close(): Promise<void>;
}

/** Plain data: survives structured clone. */
export interface QuickDiskParts {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** There is nothing to make durable: FLUSH does nothing. */
  readonly flushless: boolean;
  /** Descriptors, which the Disk owns. */
  readonly file: number;
  /** Of an overlay. */
  readonly overlay?: {
    readonly base: number;
    readonly baseBytes: number;
    readonly map: { readonly words: SharedArrayBuffer; readonly dirty: SharedArrayBuffer };
  };
}

/** The same disk on an executor's thread, beside the Disk on the I/O thread. Offsets and lengths as there. Never waits for the device. */
export interface QuickDisk {
  readonly sizeBytes: number;
  readonly flushless: boolean;
  /** @returns false if it was not done, for whatever reason: the Disk does it, or tells why not. `into` may then hold anything */
  read(offset: number, into: readonly Uint8Array[]): boolean;
  /** @returns false if it was not done, or only in part: the Disk does it again */
  write(offset: number, from: readonly Uint8Array[]): boolean;
}
