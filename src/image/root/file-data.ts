/* Puts the data of files into an image while they come. Each file starts on a block of its own; what its last block has beyond its end is zeros, and so is
 * what a block has beside the data of a sparse file. */
import type { Ext4Writer } from "../ext4/ext4-writer.ts";
import { BLOCK_BYTES } from "../ext4/geometry.ts";
import type { Extent, RegularFile } from "../ext4/nodes.ts";
import { TarError, shown } from "./tar-error.ts";
import type { Segment, TarEntry } from "./tar-reader.ts";

/** Extents count 32 bits of blocks. */
const MAX_FILE_BYTES = 2 ** 32 * BLOCK_BYTES - BLOCK_BYTES;

export class FileData {
  readonly #writer: Ext4Writer;
  #extents: readonly Extent[] = [];
  /** The extent that is being filled, and the byte of the file that is next in it. */
  #index = 0;
  #next = 0;

  constructor(writer: Ext4Writer) {
    this.#writer = writer;
  }

  /** A file begins: finds room for it. @throws TarError, Ext4Error "too-small" */
  begin(file: RegularFile, { path, sizeBytes, segments }: TarEntry): void {
    if (sizeBytes > MAX_FILE_BYTES)
      throw new TarError("refused", `${shown(path)} has ${sizeBytes} bytes, more than Linux can store`);
    file.sizeBytes = sizeBytes;
    file.extents = this.#place(segments);
    this.#extents = file.extents;
    this.#index = 0;
    this.#next = this.#start();
  }

  /** @param offset in the file, not before what has come */
  write(bytes: Uint8Array, offset: number): void {
    let done = 0;
    while (done < bytes.length) {
      const extent = this.#extents[this.#index]!;
      const end = (extent.logical + extent.count) * BLOCK_BYTES;
      const at = offset + done;
      if (at >= end) {
        this.#fillUp();
        continue;
      }
      this.#zerosTo(at);
      const count = Math.min(bytes.length - done, end - at);
      this.#writer.write(this.#physical(at), count === bytes.length ? bytes : bytes.subarray(done, done + count));
      this.#next = at + count;
      done += count;
    }
  }

  /** The file is complete. */
  end(): void {
    while (this.#index < this.#extents.length) this.#fillUp();
  }

  #start(): number {
    return (this.#extents[this.#index]?.logical ?? 0) * BLOCK_BYTES;
  }

  #physical(at: number): number {
    const { logical, start } = this.#extents[this.#index]!;
    return (start - logical) * BLOCK_BYTES + at;
  }

  #zerosTo(at: number): void {
    if (at > this.#next) this.#writer.zeros(this.#physical(this.#next), at - this.#next);
  }

  #fillUp(): void {
    const { logical, count } = this.#extents[this.#index]!;
    this.#zerosTo((logical + count) * BLOCK_BYTES);
    this.#index++;
    this.#next = this.#start();
  }

  /** Blocks for all that segments touch, as few extents as there can be. */
  #place(segments: readonly Segment[]): Extent[] {
    const runs: { from: number; to: number }[] = [];
    for (const { offset, length } of segments) {
      const from = Math.floor(offset / BLOCK_BYTES);
      const to = Math.ceil((offset + length) / BLOCK_BYTES);
      const last = runs.at(-1);
      if (last !== undefined && from <= last.to) last.to = to;
      else runs.push({ from, to });
    }
    const ranges = this.#writer.allocate(runs.reduce((sum, { from, to }) => sum + to - from, 0));
    const extents: Extent[] = [];
    let [range, used] = [0, 0];
    for (const { from, to } of runs)
      for (let logical = from; logical < to;) {
        const { start, count } = ranges[range]!;
        const here = Math.min(to - logical, count - used);
        extents.push({ logical, start: start + used, count: here });
        logical += here;
        used += here;
        if (used === count) [range, used] = [range + 1, 0];
      }
    return extents;
  }
}
