/* OverlayDisk: reads and writes of a disk over a base. What is durable when, and why that is enough: docs/disks.md. I/O thread.
 * Requests that overlap while both are under way have no order, as on any disk; those that only share a block do not disturb each other. */
import type { Disk, QuickDiskParts } from "../device/virtio/disk.ts";
import { type BlockFile, Flushes } from "./block-file.ts";
import { DiskError } from "./disk-error.ts";
import { Block, BLOCK_BYTES, DATA_OFFSET } from "./overlay-format.ts";
import { type BlockState, type OverlayMap, pageOffset } from "./overlay-map.ts";
import { byteCount, fillZeroes, piecesOf } from "./pieces.ts";

export interface OverlayParts {
  readonly path: string;
  readonly file: BlockFile;
  readonly base: BlockFile;
  readonly baseBytes: number;
  readonly map: OverlayMap;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Nobody reads the file after this process: nothing is flushed. */
  readonly ephemeral: boolean;
}

export class OverlayDisk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly canDiscard: boolean;
  readonly quick: QuickDiskParts;
  readonly parts: OverlayParts;
  readonly #file: BlockFile;
  readonly #map: OverlayMap;
  readonly #flushes: Flushes;
  /** Requests under way. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** Ends when the last request for a part of a block has. */
  #partial: Promise<void> = Promise.resolve();

  constructor(parts: OverlayParts) {
    this.parts = parts;
    this.#file = parts.file;
    this.#map = parts.map;
    this.sizeBytes = parts.sizeBytes;
    this.readOnly = parts.readOnly;
    this.canDiscard = !parts.readOnly;
    const { sizeBytes, readOnly, baseBytes } = parts;
    const overlay = { base: parts.base.fd, baseBytes, map: parts.map.shared };
    this.quick = { sizeBytes, readOnly, flushless: readOnly || parts.ephemeral, file: parts.file.fd, overlay };
    this.#flushes = new Flushes(() => this.#flush());
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#counted(this.#read(offset, into));
  }
  /** Requests of several steps are not cut off between them by close(). */
  #counted<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    const forget = (): void => void this.#underWay.delete(work);
    work.then(forget, forget);
    return work;
  }
  async #read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const end = offset + byteCount(into);
    for (let at = offset; at < end;) {
      const { state, stop } = this.#run(at, end);
      await this.#readRun(state, at, piecesOf(into, at - offset, stop - offset));
      at = stop;
    }
  }
  /** Bytes from `at` on that are in one state. */
  #run(at: number, end: number): { state: BlockState; stop: number } {
    const first = Math.floor(at / BLOCK_BYTES);
    const stop = this.#map.runEnd(first, Math.ceil(end / BLOCK_BYTES)) * BLOCK_BYTES;
    return { state: this.#map.get(first), stop: Math.min(end, stop) };
  }
  async #readRun(state: BlockState, at: number, into: Uint8Array[]): Promise<void> {
    if (state === Block.HERE) return this.#file.read(DATA_OFFSET + at, into);
    if (state === Block.ZERO) return fillZeroes(into);
    const length = byteCount(into);
    const inBase = Math.max(0, Math.min(length, this.parts.baseBytes - at));
    if (inBase > 0) await this.parts.base.read(at, piecesOf(into, 0, inBase));
    fillZeroes(piecesOf(into, inBase, length));
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#counted(this.#write(offset, from));
  }
  async #write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    this.#mustBeWritable();
    const end = offset + byteCount(from);
    if (end === offset) return;
    if (this.#needsRest(offset) || this.#needsRest(end))
      await this.#alone(() => this.#writeWithRest(offset, end, from));
    else await this.#writeHere(offset, end, from);
  }
  /** Is this the edge of a request in the middle of a block that is not here? */
  #needsRest(edge: number): boolean {
    return edge % BLOCK_BYTES !== 0 && this.#map.get(Math.floor(edge / BLOCK_BYTES)) !== Block.HERE;
  }
  async #writeWithRest(offset: number, end: number, from: readonly Uint8Array[]): Promise<void> {
    const start = this.#needsRest(offset) ? offset - (offset % BLOCK_BYTES) : offset;
    const stop = this.#needsRest(end) ? Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES : end;
    const before = new Uint8Array(offset - start);
    const behind = new Uint8Array(stop - end);
    if (before.length > 0) await this.#read(start, [before]);
    if (behind.length > 0) await this.#read(end, [behind]);
    await this.#writeHere(start, stop, [before, ...from, behind]);
  }
  /** Both edges are those of a block, or of a part of one that is here. */
  async #writeHere(offset: number, end: number, from: readonly Uint8Array[]): Promise<void> {
    await this.#file.write(DATA_OFFSET + offset, from);
    this.#map.set(Math.floor(offset / BLOCK_BYTES), Math.ceil(end / BLOCK_BYTES), Block.HERE);
  }
  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#partial.then(work);
    this.#partial = done.catch(() => undefined);
    return done;
  }

  async flush(): Promise<void> {
    if (!this.quick.flushless) await this.#flushes.request();
  }
  /** Data first: what the map says must be there. */
  async #flush(): Promise<void> {
    const pages = this.#map.takeDirty();
    try {
      await this.#file.sync();
      if (pages.length === 0) return;
      for (const page of pages) await this.#file.write(pageOffset(page), [page.bytes]);
      await this.#file.sync();
    } catch (error) {
      this.#map.giveBack(pages);
      throw error;
    }
  }

  discard(offset: number, length: number): Promise<boolean> {
    return this.#counted(this.#discard(offset, length));
  }
  async #discard(offset: number, length: number): Promise<boolean> {
    this.#mustBeWritable();
    const first = Math.ceil(offset / BLOCK_BYTES);
    const end = Math.floor((offset + length) / BLOCK_BYTES);
    await this.#zeroBlocks(first, end, true);
    return end > first;
  }
  zero(offset: number, length: number, unmap: boolean): Promise<void> {
    return this.#counted(this.#zero(offset, length, unmap));
  }
  async #zero(offset: number, length: number, unmap: boolean): Promise<void> {
    this.#mustBeWritable();
    const first = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.floor((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    if (end <= first) return this.#write(offset, [new Uint8Array(length)]);
    await this.#write(offset, [new Uint8Array(first - offset)]);
    await this.#zeroBlocks(first / BLOCK_BYTES, end / BLOCK_BYTES, unmap);
    await this.#write(end, [new Uint8Array(offset + length - end)]);
  }
  /** @param release the space of blocks that are here */
  async #zeroBlocks(first: number, end: number, release: boolean): Promise<void> {
    for (let block = first; block < end;) {
      const state = this.#map.get(block);
      const stop = this.#map.runEnd(block, end);
      const [offset, length] = [DATA_OFFSET + block * BLOCK_BYTES, (stop - block) * BLOCK_BYTES];
      if (state === Block.HERE && !release) await this.#file.zero(offset, length);
      else this.#map.set(block, stop, Block.ZERO);
      if (state === Block.HERE && release) await this.#file.punch(offset, length);
      block = stop;
    }
  }

  /** Writes down what changed first: a disk that was closed in order is as the guest left it. */
  async close(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    try {
      await this.flush();
    } finally {
      await this.#file.close();
      await this.parts.base.close();
    }
  }
  #mustBeWritable(): void {
    if (this.readOnly)
      throw new DiskError("read-only", `${this.parts.path} is attached read-only: attach it writable to write.`);
  }
}
