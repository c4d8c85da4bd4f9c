/* Disk: what the block device needs of a disk image. Implemented by src/disk. I/O thread only. */

/** Offsets and lengths are multiples of 512 and lie inside the disk. Rejections mean an I/O error; the guest sees VIRTIO_BLK_S_IOERR. */
export interface Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Can discard() give space back? */
  readonly canDiscard: boolean;
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
