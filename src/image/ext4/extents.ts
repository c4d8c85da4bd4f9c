/* Extent trees: where the blocks of a file are. @source Linux Documentation/filesystems/ext4/ifork.rst "Extent Tree", fs/ext4/ext4_extents.h
 *
 *   header: 0 magic F30A · 2 entries · 4 capacity · 6 depth · 8 generation (32)
 *   extent: 0 logical (32) · 4 length · 6 start, bits 32..47 · 8 start (32)
 *   index:  0 logical (32) · 4 child (32) · 8 child, bits 32..47
 *   a block ends with its checksum. The root in the inode has room for four entries and no checksum. */
import { BLOCK_BYTES } from "./geometry.ts";
import { crc32c } from "./crc32c.ts";
import type { Extent } from "./nodes.ts";

export const ROOT_BYTES = 60;
const MAGIC = 0xf30a;
const HEADER = 12;
const ENTRY = 12;
const ROOT_ENTRIES = (ROOT_BYTES - HEADER) / ENTRY;
const BLOCK_ENTRIES = Math.floor((BLOCK_BYTES - HEADER - 4) / ENTRY);
/** An initialised extent's length has 15 bits and one value more. */
const MAX_LENGTH = 32768;

/** What the tree needs beside the inode: gives out a block and takes its content. @returns the block's number */
export type StoreBlock = (content: Buffer) => number;

/** Extents no longer than ext4 allows. */
export function cutExtents(extents: readonly Extent[]): readonly Extent[] {
  if (extents.every(({ count }) => count <= MAX_LENGTH)) return extents;
  return extents.flatMap(({ logical, start, count }) =>
    Array.from({ length: Math.ceil(count / MAX_LENGTH) }, (_, i) => ({
      logical: logical + i * MAX_LENGTH,
      start: start + i * MAX_LENGTH,
      count: Math.min(MAX_LENGTH, count - i * MAX_LENGTH),
    })),
  );
}

/** Whether the root holds them all, so that no block beside the inode is needed. */
export const fitsInRoot = (extents: readonly Extent[]): boolean => extents.length <= ROOT_ENTRIES;

/** Writes the root for extents that fit into it. @param into the inode's block area */
export function writeSmallRoot(into: Buffer, extents: readonly Extent[]): void {
  writeHeader(into, extents.length, ROOT_ENTRIES, 0);
  extents.forEach((extent, i) => writeExtent(into, HEADER + i * ENTRY, extent));
}

/** Stores a tree. @param inodeSeed checksum over the file system's and the inode's identity
 *  @returns its root and how many blocks it took */
export function storeTree(
  extents: readonly Extent[],
  inodeSeed: number,
  store: StoreBlock,
): { root: Buffer; blocks: number } {
  let blocks = 0;
  const storeLevel = <T>(items: readonly T[], depth: number, write: (block: Buffer, at: number, item: T) => void) => {
    const children: Child[] = [];
    for (let first = 0; first < items.length; first += BLOCK_ENTRIES) {
      const part = items.slice(first, first + BLOCK_ENTRIES);
      const block = Buffer.alloc(BLOCK_BYTES);
      writeHeader(block, part.length, BLOCK_ENTRIES, depth);
      part.forEach((item, i) => write(block, HEADER + i * ENTRY, item));
      block.writeUInt32LE(crc32c(inodeSeed, block, 0, BLOCK_BYTES - 4), BLOCK_BYTES - 4);
      children.push({ logical: block.readUInt32LE(HEADER), block: store(block) });
      blocks++;
    }
    return children;
  };
  let depth = 1;
  let children = storeLevel(extents, 0, writeExtent);
  while (children.length > ROOT_ENTRIES) children = storeLevel(children, depth++, writeChild);
  const root = Buffer.alloc(ROOT_BYTES);
  writeHeader(root, children.length, ROOT_ENTRIES, depth);
  children.forEach((child, i) => writeChild(root, HEADER + i * ENTRY, child));
  return { root, blocks };
}

interface Child {
  readonly logical: number;
  readonly block: number;
}

function writeHeader(into: Buffer, entries: number, capacity: number, depth: number): void {
  into.writeUInt16LE(MAGIC, 0);
  into.writeUInt16LE(entries, 2);
  into.writeUInt16LE(capacity, 4);
  into.writeUInt16LE(depth, 6);
}

function writeExtent(into: Buffer, at: number, { logical, start, count }: Extent): void {
  into.writeUInt32LE(logical, at);
  into.writeUInt16LE(count, at + 4);
  into.writeUIntLE(Math.floor(start / 2 ** 32), at + 6, 2);
  into.writeUInt32LE(start % 2 ** 32, at + 8);
}

function writeChild(into: Buffer, at: number, { logical, block }: Child): void {
  into.writeUInt32LE(logical, at);
  into.writeUInt32LE(block % 2 ** 32, at + 4);
  into.writeUIntLE(Math.floor(block / 2 ** 32), at + 8, 2);
}
