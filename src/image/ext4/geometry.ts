/* The shape of the file systems that Mere writes. @source Linux Documentation/filesystems/ext4 (blockgroup, super, group_descr). Leaves out other block and
 * inode sizes, meta_bg and clusters. */

export const BLOCK_BYTES = 4096;
/** As many as a bitmap of one block has bits. */
export const BLOCKS_PER_GROUP = 8 * BLOCK_BYTES;
export const INODE_BYTES = 256;
export const INODES_PER_BLOCK = BLOCK_BYTES / INODE_BYTES;
export const DESCRIPTOR_BYTES = 64;

export const ROOT_INODE = 2;
export const JOURNAL_INODE = 8;
/** Those before it are the file system's own. */
export const FIRST_INODE = 11;

/** A run of blocks. */
export interface BlockRange {
  readonly start: number;
  readonly count: number;
}

export const blocksFor = (bytes: number): number => Math.ceil(bytes / BLOCK_BYTES);

/** Groups 0, 1 and the powers of 3, 5 and 7 begin with a copy of the superblock and of the group descriptors (sparse_super). */
export function hasSuperblock(group: number): boolean {
  if (group <= 1) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

export const groupsFor = (blocks: number): number => Math.ceil(blocks / BLOCKS_PER_GROUP);

/** Blocks that the descriptors of so many groups take. */
export const descriptorBlocks = (groups: number): number => blocksFor(groups * DESCRIPTOR_BYTES);
