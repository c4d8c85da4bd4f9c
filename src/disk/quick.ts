/* QuickDisk on an executor's thread: reads with RWF_NOWAIT, which the kernel refuses where it would have to wait for the device, and writes to its page cache. Straight between the file
 * and guest memory, by the addresses of both. Overlays share their map with the I/O thread. @source preadv2(2), docs/disks.md "Where requests run" */
import type { QuickDisk, QuickDiskParts } from "../device/virtio/disk.ts";
import { type Libc, libc, RWF_NOWAIT } from "../device/libc.ts";
import { Block, BLOCK_BYTES, DATA_OFFSET } from "./overlay-format.ts";
import { OverlayMap } from "./overlay-map.ts";
import { byteCount, fillZeroes, piecesOf } from "./pieces.ts";

/** Linux's block driver makes requests of at most 126 pieces, and a piece of theirs may be two of the host's. */
const MOST_VECTORS = 512;

/** Builds a disk's view for this thread. @returns undefined where the system calls are not to be had */
export function quickDisk(parts: QuickDiskParts): QuickDisk | undefined {
  const calls = libc();
  if (calls === undefined) return undefined;
  const vectors = new Vectors(calls);
  return parts.overlay === undefined ? new QuickRaw(parts, vectors) : new QuickOverlay(parts, vectors);
}

/** Calls with a list of addresses and lengths; iovec of the system. */
class Vectors {
  readonly #calls: Libc;
  // Shared, so that it stays where it is.
  readonly #words = new BigUint64Array(new SharedArrayBuffer(16 * MOST_VECTORS));
  readonly #address: bigint;
  #buffer: ArrayBufferLike | undefined;
  #start = 0n;

  constructor(calls: Libc) {
    this.#calls = calls;
    this.#address = calls.addressOf(this.#words.buffer);
  }
  /** @returns false unless all bytes were read without waiting */
  read(fd: number, offset: number, into: readonly Uint8Array[]): boolean {
    const bytes = this.#fill(into);
    return bytes >= 0 && this.#calls.preadv2(fd, this.#address, into.length, offset, RWF_NOWAIT) === bytes;
  }
  write(fd: number, offset: number, from: readonly Uint8Array[]): boolean {
    const bytes = this.#fill(from);
    return bytes >= 0 && this.#calls.pwritev2(fd, this.#address, from.length, offset, 0) === bytes;
  }
  /** @returns how many bytes; −1 if these are too many pieces */
  #fill(pieces: readonly Uint8Array[]): number {
    if (pieces.length > MOST_VECTORS) return -1;
    let bytes = 0;
    for (let i = 0; i < pieces.length; i++) {
      const { buffer, byteOffset, length } = pieces[i]!;
      // Guest memory is one buffer for good.
      if (buffer !== this.#buffer) {
        this.#start = this.#calls.addressOf(buffer);
        this.#buffer = buffer;
      }
      this.#words[2 * i] = this.#start + BigInt(byteOffset);
      this.#words[2 * i + 1] = BigInt(length);
      bytes += length;
    }
    return bytes;
  }
}

class QuickRaw implements QuickDisk {
  readonly sizeBytes: number;
  readonly flushless: boolean;
  readonly #parts: QuickDiskParts;
  readonly #vectors: Vectors;

  constructor(parts: QuickDiskParts, vectors: Vectors) {
    this.#parts = parts;
    this.#vectors = vectors;
    this.sizeBytes = parts.sizeBytes;
    this.flushless = parts.flushless;
  }
  read(offset: number, into: readonly Uint8Array[]): boolean {
    return this.#vectors.read(this.#parts.file, offset, into);
  }
  write(offset: number, from: readonly Uint8Array[]): boolean {
    return !this.#parts.readOnly && this.#vectors.write(this.#parts.file, offset, from);
  }
}

class QuickOverlay implements QuickDisk {
  readonly sizeBytes: number;
  readonly flushless: boolean;
  readonly #parts: QuickDiskParts;
  readonly #overlay: NonNullable<QuickDiskParts["overlay"]>;
  readonly #map: OverlayMap;
  readonly #vectors: Vectors;

  constructor(parts: QuickDiskParts, vectors: Vectors) {
    this.#parts = parts;
    this.#overlay = parts.overlay!;
    this.#map = new OverlayMap(this.#overlay.map);
    this.#vectors = vectors;
    this.sizeBytes = parts.sizeBytes;
    this.flushless = parts.flushless;
  }
  read(offset: number, into: readonly Uint8Array[]): boolean {
    const end = offset + byteCount(into);
    const lastBlock = Math.ceil(end / BLOCK_BYTES);
    for (let at = offset; at < end;) {
      const first = Math.floor(at / BLOCK_BYTES);
      const stop = Math.min(end, this.#map.runEnd(first, lastBlock) * BLOCK_BYTES);
      const whole = at === offset && stop === end;
      const pieces = whole ? into : piecesOf(into, at - offset, stop - offset);
      if (!this.#readRun(this.#map.get(first), at, stop, pieces)) return false;
      at = stop;
    }
    return true;
  }
  #readRun(state: number, at: number, stop: number, into: readonly Uint8Array[]): boolean {
    if (state === Block.HERE) return this.#vectors.read(this.#parts.file, DATA_OFFSET + at, into);
    const { base, baseBytes } = this.#overlay;
    const inBase = state === Block.ZERO ? 0 : Math.max(0, Math.min(stop, baseBytes) - at);
    if (inBase === stop - at) return this.#vectors.read(base, at, into);
    if (inBase > 0 && !this.#vectors.read(base, at, piecesOf(into, 0, inBase))) return false;
    fillZeroes(piecesOf(into, inBase, stop - at));
    return true;
  }
  /** Data first, then the map, as OverlayDisk does. */
  write(offset: number, from: readonly Uint8Array[]): boolean {
    const end = offset + byteCount(from);
    if (this.#parts.readOnly || end === offset || this.#needsRest(offset) || this.#needsRest(end)) return false;
    if (!this.#vectors.write(this.#parts.file, DATA_OFFSET + offset, from)) return false;
    this.#map.set(Math.floor(offset / BLOCK_BYTES), Math.ceil(end / BLOCK_BYTES), Block.HERE);
    return true;
  }
  #needsRest(edge: number): boolean {
    return edge % BLOCK_BYTES !== 0 && this.#map.get(Math.floor(edge / BLOCK_BYTES)) !== Block.HERE;
  }
}
