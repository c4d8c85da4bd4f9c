/* An empty journal: its superblock. The rest may hold anything; in a new image it is a hole. @source Linux Documentation/filesystems/ext4/journal.rst;
 * all numbers are big-endian.
 *
 *   0 magic C03B3998 · 4 block type 4 (superblock, version 2) · 8 sequence · 12 block size · 16 blocks · 20 first block of the log · 24 first expected commit
 *   28 start (0: empty) · 32 error · 36 features (3 × 32) · 48 UUID · 64 users */
import { BLOCK_BYTES } from "./geometry.ts";

const MIB_BLOCKS = 2 ** 20 / BLOCK_BYTES;
/** Below it a journal would take too much of the file system. */
const SMALLEST = 8 * MIB_BLOCKS;
const SUPERBLOCK_BYTES = 1024;

/** Blocks of the journal for a file system of so many: as mke2fs chooses up to 1 GiB, then 32 MiB however large it is. A VM's overlay comes to hold all
 *  blocks of the journal once, so that it should not be larger than what its writes need. */
export function journalBlocks(blocks: number): number {
  if (blocks < SMALLEST) return 0;
  if (blocks < 128 * MIB_BLOCKS) return 4 * MIB_BLOCKS;
  return (blocks < 1024 * MIB_BLOCKS ? 16 : 32) * MIB_BLOCKS;
}

export function journalSuperblock(blocks: number): Buffer {
  const into = Buffer.alloc(SUPERBLOCK_BYTES);
  into.writeUInt32BE(0xc03b3998, 0);
  into.writeUInt32BE(4, 4);
  into.writeUInt32BE(BLOCK_BYTES, 12);
  into.writeUInt32BE(blocks, 16);
  into.writeUInt32BE(1, 20);
  into.writeUInt32BE(1, 24);
  into.writeUInt32BE(1, 64);
  return into;
}
