/* How large a file system is and how many inodes it has. */
import { Ext4Error } from "./ext4-error.ts";
import { BLOCK_BYTES, BLOCKS_PER_GROUP, INODES_PER_BLOCK, descriptorBlocks, groupsFor } from "./geometry.ts";

const GIB_BLOCKS = 2 ** 30 / BLOCK_BYTES;
/** Costs nothing in a sparse file, and most VMs then never need a larger disk. */
const DEFAULT_BLOCKS = 16 * GIB_BLOCKS;
/** An inode for each 16 KiB, as mke2fs has it. */
const BLOCKS_PER_INODE = 4;
const MAX_INODES_PER_GROUP = 8 * BLOCK_BYTES;
const MIN_BYTES = 2 ** 20;
/** Extents count blocks of a file in 32 bits; nobody needs a disk beyond that. */
const MAX_BYTES = 2 ** 44;
/** A last group with fewer blocks beside its descriptors is left out, as mke2fs does. */
const MIN_LAST_GROUP = 50;

/** Blocks of a file system of a given size, at most so many bytes. @throws Ext4Error "too-small" */
export function blocksOfSize(sizeBytes: number): number {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < MIN_BYTES || sizeBytes > MAX_BYTES)
    throw new Ext4Error("too-small", `A file system cannot have ${sizeBytes} bytes: give a size from 1 MiB to 16 TiB.`);
  const blocks = Math.floor(sizeBytes / BLOCK_BYTES);
  const last = blocks % BLOCKS_PER_GROUP;
  const isTooShort = last > 0 && last < 1 + descriptorBlocks(groupsFor(blocks)) + MIN_LAST_GROUP;
  return isTooShort && blocks > BLOCKS_PER_GROUP ? blocks - last : blocks;
}

/** Blocks of a file system that holds so many and has room for as many and a GiB more. */
export function blocksForContent(content: number): number {
  const wanted = Math.max(DEFAULT_BLOCKS, 2 * content + GIB_BLOCKS);
  return Math.ceil(wanted / BLOCKS_PER_GROUP) * BLOCKS_PER_GROUP;
}

/** @param used inodes that there are @throws Ext4Error "too-many" */
export function inodesPerGroup(blocks: number, used: number): number {
  const groups = groupsFor(blocks);
  const wanted = Math.max(blocks / BLOCKS_PER_INODE, used * 1.25) / groups;
  const perGroup = Math.min(Math.ceil(wanted / INODES_PER_BLOCK) * INODES_PER_BLOCK, MAX_INODES_PER_GROUP);
  if (perGroup * groups < used)
    throw new Ext4Error(
      "too-many",
      `There are ${used} files, more than a file system of ${Math.floor((blocks * BLOCK_BYTES) / 2 ** 20)} MiB can hold: give a larger size.`,
    );
  return perGroup;
}
