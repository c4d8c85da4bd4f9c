/* mergeOverlay, copyOverlay: an overlay and its base as one raw image, holes kept; copyRaw: a raw image likewise. Where the file system can share blocks (FICLONE) the base is cloned and only what the overlay has is
 * written; else both are copied, and what is zeroes is left out. I/O thread. */
import type { FileHandle } from "node:fs/promises";
import { type BlockFile, HostFile } from "./block-file.ts";
import { ENXIO, libc } from "../device/libc.ts";
import { createWhole } from "./new-file.ts";
import { openOverlayDisk } from "./overlay.ts";
import type { OverlayDisk } from "./overlay-disk.ts";
import { Block, BLOCK_BYTES } from "./overlay-format.ts";
import { openLocked } from "./raw.ts";

const CHUNK_BYTES = 4 << 20;
/** What is looked at as one when zeroes are left out: an extent of less is hardly worth a hole. */
const GRAIN_BYTES = 64 << 10;
const SECTOR = 512;
const ZEROES = new Uint8Array(GRAIN_BYTES);

/** Writes what the overlay's disk holds into a new raw image. No VM may be writing to the overlay.
 *  @param output a new file  @throws DiskError */
export async function mergeOverlay(overlay: string, output: string, options: { base?: string } = {}): Promise<void> {
  const disk = await openOverlayDisk(overlay, { ...options, readOnly: true });
  try {
    await copyOverlay(disk, output);
  } finally {
    await disk.close();
  }
}

/** The same for a disk that is open. Whoever writes to it holds still meanwhile. @param output a new file  @throws DiskError */
export async function copyOverlay(disk: OverlayDisk, output: string): Promise<void> {
  await createWhole(output, (file) => fill(disk, file, output));
}

/** Copies a raw image, to which no VM may be writing. @param output a new file  @throws DiskError */
export async function copyRaw(path: string, output: string): Promise<void> {
  const { file: from, sizeBytes } = await openLocked(path, true);
  const source = new HostFile(path, from);
  try {
    await createWhole(output, async (file) => {
      if (libc()?.clone(file.fd, from.fd) === 0) return;
      await file.truncate(sizeBytes);
      await copy(source, new HostFile(output, file), { offset: 0, end: sizeBytes, holesOf: from.fd });
    });
  } finally {
    await from.close();
  }
}

async function fill(disk: OverlayDisk, file: FileHandle, path: string): Promise<void> {
  const { map, base } = disk.parts;
  const cloned = libc()?.clone(file.fd, base.fd) === 0;
  await file.truncate(disk.sizeBytes);
  const out = new HostFile(path, file);
  const blocks = disk.sizeBytes / BLOCK_BYTES;
  for (let block = 0; block < blocks;) {
    const state = map.get(block);
    const stop = map.runEnd(block, blocks);
    const [offset, length] = [block * BLOCK_BYTES, (stop - block) * BLOCK_BYTES];
    if (state === Block.ZERO) {
      if (cloned && !(await out.punch(offset, length))) await out.zero(offset, length);
    } else if (state === Block.HERE) await copy(disk, out, { offset, end: offset + length, zeroes: cloned });
    else if (!cloned)
      await copy(disk, out, { offset, end: Math.min(offset + length, disk.parts.baseBytes), holesOf: base.fd });
    block = stop;
  }
}

interface Stretch {
  readonly offset: number;
  readonly end: number;
  /** Write zeroes too: the output has something else there. */
  readonly zeroes?: boolean;
  /** The file that has the data at the same offsets: what are holes there is not read. */
  readonly holesOf?: number;
}
async function copy(from: Pick<BlockFile, "read">, out: HostFile, { offset, end, ...how }: Stretch): Promise<void> {
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, Math.max(0, end - offset)));
  for (let at = offset; at < end; at += CHUNK_BYTES) {
    if (how.holesOf !== undefined) at = Math.max(at, dataFrom(how.holesOf, at));
    if (at >= end) return;
    const chunk = buffer.subarray(0, Math.min(CHUNK_BYTES, end - at));
    await from.read(at, [chunk]);
    if (how.zeroes === true) await out.write(at, [chunk]);
    else for (const [start, bytes] of dataIn(chunk)) await out.write(at + start, [bytes]);
  }
}
/** Where the next data of a file may be. */
function dataFrom(fd: number, offset: number): number {
  const at = libc()?.seekData(fd, offset) ?? offset;
  if (at === -ENXIO) return Infinity;
  // A file system that knows no holes.
  return at < 0 ? offset : at - (at % SECTOR);
}
/** The parts of a chunk that are not all zeroes, as long as they can be. */
function* dataIn(chunk: Uint8Array): Generator<[number, Uint8Array]> {
  let start = -1;
  for (let at = 0; at < chunk.length; at += GRAIN_BYTES) {
    const grain = chunk.subarray(at, at + GRAIN_BYTES);
    const empty = Buffer.compare(grain, ZEROES.subarray(0, grain.length)) === 0;
    if (!empty && start < 0) start = at;
    if (empty && start >= 0) yield [start, chunk.subarray(start, at)];
    if (empty) start = -1;
  }
  if (start >= 0) yield [start, chunk.subarray(start)];
}
