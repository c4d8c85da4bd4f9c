/* The superblock and the group descriptors. @source Linux Documentation/filesystems/ext4/super.rst, group_descr.rst
 * Features: sparse_super, filetype, extents, 64bit, flex_bg, metadata_csum, dir_index, large_file, huge_file, dir_nlink, extra_isize, has_journal. Leaves out
 * resize_inode: Linux grows a file system without it by meta_bg. */
import { FIRST_INODE, BLOCKS_PER_GROUP, DESCRIPTOR_BYTES, INODE_BYTES, JOURNAL_INODE } from "./geometry.ts";
import { crc32c, crc32cOfU32 } from "./crc32c.ts";

const SUPERBLOCK_BYTES = 1024;
const COMPAT = { HAS_JOURNAL: 0x4, EXT_ATTR: 0x8, DIR_INDEX: 0x20 } as const;
const INCOMPAT = { FILETYPE: 0x2, EXTENTS: 0x40, "64BIT": 0x80, FLEX_BG: 0x200 } as const;
const RO_COMPAT = {
  SPARSE_SUPER: 0x1,
  LARGE_FILE: 0x2,
  HUGE_FILE: 0x8,
  DIR_NLINK: 0x20,
  EXTRA_ISIZE: 0x40,
  METADATA_CSUM: 0x400,
} as const;
const CLEAN = 1;
const GO_ON_AFTER_ERRORS = 1;
const DYNAMIC_REVISION = 1;
const HALF_MD4 = 1;
const XATTR_USER_AND_ACL = 0xc;
const SIGNED_NAME_HASH = 1;
const CHECKSUM_CRC32C = 1;
/** Groups that Linux's allocator takes together, 2^4 of them; their metadata may lie anywhere. */
const LOG_GROUPS_PER_FLEX = 4;

export const GROUP_FLAGS = { INODE_UNINIT: 1, BLOCK_UNINIT: 2, INODE_ZEROED: 4 } as const;

/** What the superblock says of a file system. */
export interface SuperblockFields {
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly inodes: number;
  readonly freeInodes: number;
  readonly inodesPerGroup: number;
  /** Blocks of superblocks, descriptors, bitmaps, inode tables and journal. With it Linux need not count them at each mount. */
  readonly overheadBlocks: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** Up to 16 bytes. */
  readonly label: string;
  readonly hashSeed: readonly number[];
  /** The block area of the journal's inode and its size, or undefined if there is no journal. */
  readonly journal?: { readonly area: Buffer; readonly sizeBytes: number } | undefined;
}

/** @param group in which this copy lies */
export function encodeSuperblock(fields: SuperblockFields, group: number): Buffer {
  const into = Buffer.alloc(SUPERBLOCK_BYTES);
  writeCounts(into, fields);
  writeShape(into, fields, group);
  writeFeatures(into, fields);
  into.set(fields.uuid, 0x68);
  into.write(fields.label, 0x78, 16, "utf8");
  fields.hashSeed.forEach((word, i) => into.writeUInt32LE(word >>> 0, 0xec + 4 * i));
  if (fields.journal !== undefined) writeJournal(into, fields.journal);
  into.writeUInt32LE(crc32c(0xffffffff, into, 0, 0x3fc), 0x3fc);
  return into;
}

function writeCounts(into: Buffer, fields: SuperblockFields): void {
  const { blocks, freeBlocks } = fields;
  into.writeUInt32LE(fields.inodes, 0x0);
  into.writeUInt32LE(blocks % 2 ** 32, 0x4);
  into.writeUInt32LE(Math.floor(blocks / 2 ** 32), 0x150);
  into.writeUInt32LE(freeBlocks % 2 ** 32, 0xc);
  into.writeUInt32LE(Math.floor(freeBlocks / 2 ** 32), 0x158);
  into.writeUInt32LE(fields.freeInodes, 0x10);
  into.writeUInt32LE(fields.overheadBlocks, 0x248);
}

function writeShape(into: Buffer, fields: SuperblockFields, group: number): void {
  into.writeUInt32LE(2, 0x18); // blocks of 2^(10+2) bytes
  into.writeUInt32LE(2, 0x1c);
  into.writeUInt32LE(BLOCKS_PER_GROUP, 0x20);
  into.writeUInt32LE(BLOCKS_PER_GROUP, 0x24);
  into.writeUInt32LE(fields.inodesPerGroup, 0x28);
  into.writeUInt16LE(0xffff, 0x36); // no check after so many mounts
  into.writeUInt16LE(0xef53, 0x38);
  into.writeUInt16LE(CLEAN, 0x3a);
  into.writeUInt16LE(GO_ON_AFTER_ERRORS, 0x3c);
  into.writeUInt32LE(DYNAMIC_REVISION, 0x4c);
  into.writeUInt32LE(FIRST_INODE, 0x54);
  into.writeUInt16LE(INODE_BYTES, 0x58);
  into.writeUInt16LE(group, 0x5a);
  into.writeUInt16LE(DESCRIPTOR_BYTES, 0xfe);
  into.writeUInt16LE(32, 0x15c);
  into.writeUInt16LE(32, 0x15e);
  into.writeUInt8(LOG_GROUPS_PER_FLEX, 0x174);
}

function writeFeatures(into: Buffer, { journal }: SuperblockFields): void {
  const all = (features: Readonly<Record<string, number>>): number =>
    Object.values(features).reduce((sum, bit) => sum | bit, 0);
  into.writeUInt32LE(journal === undefined ? all(COMPAT) & ~COMPAT.HAS_JOURNAL : all(COMPAT), 0x5c);
  into.writeUInt32LE(all(INCOMPAT), 0x60);
  into.writeUInt32LE(all(RO_COMPAT), 0x64);
  into.writeUInt8(HALF_MD4, 0xfc);
  into.writeUInt32LE(XATTR_USER_AND_ACL, 0x100);
  into.writeUInt32LE(SIGNED_NAME_HASH, 0x160);
  into.writeUInt8(CHECKSUM_CRC32C, 0x175);
}

/** With a copy of the journal's inode, in case that its group is damaged. */
function writeJournal(into: Buffer, { area, sizeBytes }: { area: Buffer; sizeBytes: number }): void {
  into.writeUInt32LE(JOURNAL_INODE, 0xe0);
  into.writeUInt8(1, 0xfd);
  area.copy(into, 0x10c);
  into.writeUInt32LE(Math.floor(sizeBytes / 2 ** 32), 0x10c + 60);
  into.writeUInt32LE(sizeBytes % 2 ** 32, 0x10c + 64);
}

export interface GroupFields {
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  readonly freeBlocks: number;
  readonly freeInodes: number;
  readonly directories: number;
  /** Inodes at the end of the table that have never been used. */
  readonly unusedInodes: number;
  readonly flags: number;
  /** Checksums of the bitmaps, 0 where there are none. */
  readonly blockBitmapChecksum: number;
  readonly inodeBitmapChecksum: number;
}

/** @param into DESCRIPTOR_BYTES of zeros @param seed of the file system's checksums */
export function encodeGroup(into: Buffer, group: number, fields: GroupFields, seed: number): void {
  const blocks = [fields.blockBitmap, fields.inodeBitmap, fields.inodeTable];
  blocks.forEach((block, i) => {
    into.writeUInt32LE(block % 2 ** 32, 4 * i);
    into.writeUInt32LE(Math.floor(block / 2 ** 32), 0x20 + 4 * i);
  });
  into.writeUInt16LE(fields.freeBlocks, 0xc);
  into.writeUInt16LE(fields.freeInodes, 0xe);
  into.writeUInt16LE(fields.directories, 0x10);
  into.writeUInt16LE(fields.flags, 0x12);
  into.writeUInt16LE(fields.blockBitmapChecksum & 0xffff, 0x18);
  into.writeUInt16LE(fields.blockBitmapChecksum >>> 16, 0x38);
  into.writeUInt16LE(fields.inodeBitmapChecksum & 0xffff, 0x1a);
  into.writeUInt16LE(fields.inodeBitmapChecksum >>> 16, 0x3a);
  into.writeUInt16LE(fields.unusedInodes, 0x1c);
  const checksum = crc32c(crc32cOfU32(seed, group), into, 0, DESCRIPTOR_BYTES);
  into.writeUInt16LE(checksum & 0xffff, 0x1e);
}
