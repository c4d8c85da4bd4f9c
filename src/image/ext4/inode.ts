/* Inodes as they are on the disk. @source Linux Documentation/filesystems/ext4/inodes.rst
 *
 *   0 mode · 2 uid · 4 size (32) · 8 atime · 12 ctime · 16 mtime · 20 dtime (32 each) · 24 gid · 26 links · 28 sectors (32) · 32 flags (32) · 40 blocks (60 bytes)
 *   100 generation · 104 attribute block (32) · 108 size, bits 32..63 · 116 sectors, bits 32..47 · 118 attribute block, bits 32..47 · 120 uid · 122 gid, bits 16..31
 *   124 checksum · 128 extra size (16) · 130 checksum, bits 16..31 · 132 ctime · 136 mtime · 140 atime, extra bits · 144 crtime · 148 its extra bits · 160 attributes
 *
 * All times are the mtime: an image does not depend on when it was made. */
import { BLOCK_BYTES, INODE_BYTES, blocksFor } from "./geometry.ts";
import { crc32c, crc32cOfU32 } from "./crc32c.ts";
import { ENTRY_TYPES } from "./directory-blocks.ts";
import { ROOT_BYTES, fitsInRoot, writeSmallRoot } from "./extents.ts";
import { type Attributes, type Extent, type Inode, RegularFile, Special, Symlink } from "./nodes.ts";
import { fitInInode, writeToInode } from "./xattrs.ts";

const FORMATS = {
  fifo: 0o010000,
  "character-device": 0o020000,
  directory: 0o040000,
  "block-device": 0o060000,
  file: 0o100000,
  symlink: 0o120000,
} as const;
const BLOCK_AREA = 40;
/** Where in an inode its blocks are told, which the superblock repeats for the journal. */
export const JOURNAL_AREA = { at: BLOCK_AREA, bytes: ROOT_BYTES } as const;
const EXTRA_BYTES = 32;
const EXTENTS_FL = 0x80000;
export const INDEX_FL = 0x1000;
/** A link shorter than the block area is kept in it. */
export const FAST_LINK_BYTES = ROOT_BYTES - 1;
/** Seconds since 1970 that 34 bits hold, from 1901 to 2446. */
const MIN_SECONDS = -(2 ** 31);
const MAX_SECONDS = 2 ** 34 + MIN_SECONDS - 1;

/** What is known of an inode once all its blocks are placed. */
export interface Placed {
  readonly sizeBytes: number;
  readonly links: number;
  readonly flags: number;
  /** Blocks of data, of the extent tree and of attributes. */
  readonly blocks: number;
  readonly extents: readonly Extent[];
  /** Where the extents do not fit into the inode. */
  readonly root?: Buffer | undefined;
  /** Number of the block with its attributes, or 0. */
  readonly xattrBlock: number;
}

/** The seed for all checksums that belong to an inode. @param fileSystemSeed over the UUID */
export const inodeSeed = (fileSystemSeed: number, number: number): number =>
  crc32cOfU32(crc32cOfU32(fileSystemSeed, number), 0);

export function typeOf(inode: Inode): keyof typeof FORMATS {
  if (inode instanceof RegularFile) return "file";
  if (inode instanceof Symlink) return "symlink";
  return inode instanceof Special ? inode.type : "directory";
}

export const entryTypeOf = (inode: Inode): number => ENTRY_TYPES[typeOf(inode)];

/** @param into INODE_BYTES of zeros @param seed of the file system's checksums */
export function encodeInode(into: Buffer, inode: Inode, placed: Placed, seed: number): void {
  writeFields(into, FORMATS[typeOf(inode)], inode, placed);
  const area = into.subarray(BLOCK_AREA, BLOCK_AREA + ROOT_BYTES);
  if (inode instanceof Special) writeDevice(area, inode);
  else if (inode instanceof Symlink && inode.target.length <= FAST_LINK_BYTES) area.write(inode.target, "latin1");
  else writeBlocks(into, area, placed);
  if (inode.xattrs.length > 0 && placed.xattrBlock === 0 && fitInInode(inode.xattrs)) writeToInode(into, inode.xattrs);
  sealInode(into, inodeSeed(seed, inode.number));
}

/** The journal's inode, which has no name. */
export function encodeJournalInode(into: Buffer, extents: readonly Extent[], number: number, seed: number): void {
  const blocks = extents.reduce((sum, { count }) => sum + count, 0);
  const attributes = { mode: 0o600, uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanos: 0, xattrs: [] };
  const placed = { sizeBytes: blocks * BLOCK_BYTES, links: 1, flags: 0, blocks, extents, xattrBlock: 0 };
  writeFields(into, FORMATS.file, attributes, placed);
  writeBlocks(into, into.subarray(BLOCK_AREA, BLOCK_AREA + ROOT_BYTES), placed);
  sealInode(into, inodeSeed(seed, number));
}

function writeFields(into: Buffer, format: number, attributes: Attributes, placed: Placed): void {
  const { uid, gid } = attributes;
  into.writeUInt16LE(format | attributes.mode, 0);
  into.writeUInt16LE(uid & 0xffff, 2);
  into.writeUInt32LE(placed.sizeBytes % 2 ** 32, 4);
  into.writeUInt16LE(gid & 0xffff, 24);
  into.writeUInt16LE(placed.links, 26);
  const sectors = placed.blocks * (BLOCK_BYTES / 512);
  into.writeUInt32LE(sectors % 2 ** 32, 28);
  into.writeUInt32LE(placed.flags, 32);
  into.writeUInt32LE(placed.xattrBlock % 2 ** 32, 104);
  into.writeUInt32LE(Math.floor(placed.sizeBytes / 2 ** 32), 108);
  into.writeUInt16LE(Math.floor(sectors / 2 ** 32), 116);
  into.writeUInt16LE(Math.floor(placed.xattrBlock / 2 ** 32), 118);
  into.writeUInt16LE(uid >>> 16, 120);
  into.writeUInt16LE(gid >>> 16, 122);
  into.writeUInt16LE(EXTRA_BYTES, 128);
  writeTimes(into, attributes);
}

function writeTimes(into: Buffer, { mtimeSeconds, mtimeNanos }: Attributes): void {
  const seconds = Math.min(Math.max(mtimeSeconds, MIN_SECONDS), MAX_SECONDS);
  const low = seconds | 0;
  const extra = (((seconds - low) / 2 ** 32) | (mtimeNanos << 2)) >>> 0;
  for (const at of [8, 12, 16, 144]) into.writeInt32LE(low, at);
  for (const at of [132, 136, 140, 148]) into.writeUInt32LE(extra, at);
}

function writeBlocks(into: Buffer, area: Buffer, { extents, root, flags }: Placed): void {
  into.writeUInt32LE((flags | EXTENTS_FL) >>> 0, 32);
  if (root !== undefined) root.copy(area);
  else if (fitsInRoot(extents)) writeSmallRoot(area, extents);
  else throw new RangeError("extents without a tree");
}

/** @source Linux include/linux/kdev_t.h: old_encode_dev where it fits, else new_encode_dev */
function writeDevice(area: Buffer, { type, major, minor }: Special): void {
  if (type === "fifo") return;
  if (major < 256 && minor < 256) area.writeUInt32LE((major << 8) | minor, 0);
  else area.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, 4);
}

function sealInode(into: Buffer, seed: number): void {
  const checksum = crc32c(seed, into, 0, INODE_BYTES);
  into.writeUInt16LE(checksum & 0xffff, 124);
  into.writeUInt16LE(checksum >>> 16, 130);
}

/** Blocks of a link's target beside the inode. */
export const linkBlocks = ({ target }: Symlink): number =>
  target.length <= FAST_LINK_BYTES ? 0 : blocksFor(target.length);
