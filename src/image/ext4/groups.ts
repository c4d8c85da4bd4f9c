/* Block groups of a file system that is complete but for them: bitmaps, inode bitmaps, descriptors. Groups that hold nothing say so (BLOCK_UNINIT,
 * INODE_UNINIT) and have no bitmaps on the disk; inode tables are zeroed, since the file reads as zeros where nothing was written: Linux initialises nothing
 * at a mount. @source Linux Documentation/filesystems/ext4/blockgroup.rst */
import { BLOCK_BYTES, BLOCKS_PER_GROUP, type BlockRange, descriptorBlocks, hasSuperblock } from "./geometry.ts";
import { crc32c } from "./crc32c.ts";
import type { BlockAllocator } from "./block-allocator.ts";
import { GROUP_FLAGS, type GroupFields } from "./superblock.ts";

/** Where everything is. */
export interface Layout {
  readonly blocks: number;
  readonly groups: number;
  readonly inodesPerGroup: number;
  /** First block of each group's, by group. */
  readonly blockBitmaps: readonly number[];
  readonly inodeBitmaps: readonly number[];
  readonly inodeTables: readonly number[];
}

/** A group's descriptor and the bitmaps that must be on the disk for it. */
export interface Group {
  readonly fields: GroupFields;
  readonly blockBitmap?: Buffer | undefined;
  readonly inodeBitmap?: Buffer | undefined;
}

/** Describes all groups in order.
 *  @param usedInodes inodes 1 to this are in use  @param directories of each group */
export function* describeGroups(
  layout: Layout,
  allocator: BlockAllocator,
  usedInodes: number,
  directories: ReadonlyMap<number, number>,
  seed: number,
): Generator<Group> {
  const free = freeByGroup(allocator.freeRanges());
  for (let group = 0; group < layout.groups; group++) {
    const blockBitmap = makeBlockBitmap(layout, allocator, group, free.get(group) ?? []);
    const used = Math.min(Math.max(usedInodes - group * layout.inodesPerGroup, 0), layout.inodesPerGroup);
    const inodeBitmap = used === 0 ? undefined : makeInodeBitmap(used, layout.inodesPerGroup);
    const fields: GroupFields = {
      blockBitmap: layout.blockBitmaps[group]!,
      inodeBitmap: layout.inodeBitmaps[group]!,
      inodeTable: layout.inodeTables[group]!,
      freeBlocks: blockBitmap === undefined ? emptyGroupBlocks(layout, group) : countZeros(blockBitmap),
      freeInodes: layout.inodesPerGroup - used,
      directories: directories.get(group) ?? 0,
      unusedInodes: layout.inodesPerGroup - used,
      flags:
        GROUP_FLAGS.INODE_ZEROED |
        (blockBitmap === undefined ? GROUP_FLAGS.BLOCK_UNINIT : 0) |
        (inodeBitmap === undefined ? GROUP_FLAGS.INODE_UNINIT : 0),
      blockBitmapChecksum: blockBitmap === undefined ? 0 : crc32c(seed, blockBitmap),
      inodeBitmapChecksum: inodeBitmap === undefined ? 0 : crc32c(seed, inodeBitmap, 0, layout.inodesPerGroup / 8),
    };
    yield { fields, blockBitmap, inodeBitmap };
  }
}

/** Blocks of the superblock's copy and the descriptors after it. */
export const superblockBlocks = (layout: Layout, group: number): number =>
  hasSuperblock(group) ? 1 + descriptorBlocks(layout.groups) : 0;

const emptyGroupBlocks = (layout: Layout, group: number): number => BLOCKS_PER_GROUP - superblockBlocks(layout, group);

/** @returns undefined for a group that has nothing but perhaps a copy of the superblock. The last has a bitmap always: it may be short. */
function makeBlockBitmap(
  layout: Layout,
  allocator: BlockAllocator,
  group: number,
  free: readonly BlockRange[],
): Buffer | undefined {
  const first = group * BLOCKS_PER_GROUP;
  const isLast = group === layout.groups - 1;
  if (allocator.end <= first && !isLast) return undefined;
  const bitmap = Buffer.alloc(BLOCK_BYTES);
  const inGroup = Math.min(BLOCKS_PER_GROUP, layout.blocks - first);
  setBits(bitmap, 0, Math.min(Math.max(allocator.end - first, 0), inGroup), true);
  for (const { start, count } of free) setBits(bitmap, start - first, start - first + count, false);
  if (hasSuperblock(group)) {
    setBits(bitmap, 0, allocator.reservedBlocks, false);
    setBits(bitmap, 0, superblockBlocks(layout, group), true);
  }
  setBits(bitmap, inGroup, BLOCKS_PER_GROUP, true);
  return bitmap;
}

function makeInodeBitmap(used: number, inodesPerGroup: number): Buffer {
  const bitmap = Buffer.alloc(BLOCK_BYTES);
  setBits(bitmap, 0, used, true);
  // What lies after the group's inodes is not there, so in use.
  setBits(bitmap, inodesPerGroup, BLOCKS_PER_GROUP, true);
  return bitmap;
}

/** Free runs cut at the groups' borders. */
function freeByGroup(ranges: readonly BlockRange[]): Map<number, BlockRange[]> {
  const byGroup = new Map<number, BlockRange[]>();
  for (const range of ranges)
    for (let { start, count } = range; count > 0;) {
      const group = Math.floor(start / BLOCKS_PER_GROUP);
      const here = Math.min(count, (group + 1) * BLOCKS_PER_GROUP - start);
      const list = byGroup.get(group);
      if (list === undefined) byGroup.set(group, [{ start, count: here }]);
      else list.push({ start, count: here });
      start += here;
      count -= here;
    }
  return byGroup;
}

function setBits(bitmap: Buffer, from: number, to: number, value: boolean): void {
  let bit = from;
  const set = (): void => {
    const mask = 1 << (bit & 7);
    bitmap[bit >> 3] = value ? bitmap[bit >> 3]! | mask : bitmap[bit >> 3]! & ~mask;
    bit++;
  };
  while (bit < to && (bit & 7) !== 0) set();
  const whole = Math.max(to & ~7, bit);
  bitmap.fill(value ? 0xff : 0, bit >> 3, whole >> 3);
  bit = whole;
  while (bit < to) set();
}

function countZeros(bitmap: Buffer): number {
  let ones = 0;
  for (let byte of bitmap) for (; byte !== 0; byte &= byte - 1) ones++;
  return bitmap.length * 8 - ones;
}
