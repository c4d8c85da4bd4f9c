/* Blocks of a directory. One that fits into a block is a plain list; a larger one has an index by hash (dir_index), so that looking a name up in a guest
 * costs the same however many there are. @source Linux Documentation/filesystems/ext4/directory.rst
 *
 *   entry: 0 inode (32) · 4 record's length (16) · 6 name's length (8) · 7 type (8) · name, padded to 4
 *   a block of entries ends with a record of 12 bytes: inode 0, length 12, type DE, checksum (32)
 *   index root: "." · ".." with the rest of the block · 24: 0 (32), hash version, 8, levels, 0 · 32: capacity, count (16 each), first block · hash, block, …
 *   index node: an empty record with the whole block · 8: capacity, count, first block · hash, block, … ; both end with 0 (32), checksum (32) */
import { BLOCK_BYTES } from "./geometry.ts";
import { crc32c } from "./crc32c.ts";
import { Ext4Error } from "./ext4-error.ts";
import { hashName } from "./half-md4.ts";

const TAIL = 12;
const LIST_BYTES = BLOCK_BYTES - TAIL;
const HALF_MD4 = 1;
const ROOT_LIST = 32;
const NODE_LIST = 8;
const capacity = (list: number): number => (BLOCK_BYTES - list - 8) / 8;

/** Types of directory entries. */
export const ENTRY_TYPES = {
  file: 1,
  directory: 2,
  "character-device": 3,
  "block-device": 4,
  fifo: 5,
  symlink: 7,
} as const;

export interface DirectoryEntry {
  readonly name: string;
  readonly inode: number;
  readonly type: number;
}

export interface DirectoryBlocks {
  readonly content: Buffer;
  readonly isIndexed: boolean;
}

/** @param inodeSeed of the directory's checksums @param hashSeed the superblock's @throws Ext4Error "too-many" */
export function directoryBlocks(
  entries: readonly DirectoryEntry[],
  {
    self,
    parent,
    inodeSeed,
    hashSeed,
  }: { self: number; parent: number; inodeSeed: number; hashSeed: readonly number[] },
): DirectoryBlocks {
  const dots: DirectoryEntry[] = [
    { name: ".", inode: self, type: ENTRY_TYPES.directory },
    { name: "..", inode: parent, type: ENTRY_TYPES.directory },
  ];
  const all = [...dots, ...entries];
  if (all.reduce((sum, { name }) => sum + recordBytes(name), 0) <= LIST_BYTES)
    return { content: listBlock(all, inodeSeed), isIndexed: false };
  return { content: indexed(entries, dots, inodeSeed, hashSeed), isIndexed: true };
}

const recordBytes = (name: string): number => 8 + ((name.length + 3) & ~3);

function writeRecord(block: Buffer, at: number, { name, inode, type }: DirectoryEntry, length: number): void {
  block.writeUInt32LE(inode, at);
  block.writeUInt16LE(length, at + 4);
  block.writeUInt8(name.length, at + 6);
  block.writeUInt8(type, at + 7);
  block.write(name, at + 8, "latin1");
}

/** @param entries fit into one block; the last takes what is left */
function listBlock(entries: readonly DirectoryEntry[], inodeSeed: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  let at = 0;
  entries.forEach((entry, i) => {
    const length = i === entries.length - 1 ? LIST_BYTES - at : recordBytes(entry.name);
    writeRecord(block, at, entry, length);
    at += length;
  });
  block.writeUInt16LE(TAIL, LIST_BYTES + 4);
  block.writeUInt8(0xde, LIST_BYTES + 7);
  block.writeUInt32LE(crc32c(inodeSeed, block, 0, LIST_BYTES), LIST_BYTES + 8);
  return block;
}

/** What an index says of one block below it. */
interface Child {
  readonly hash: number;
  readonly block: number;
}

function indexed(
  entries: readonly DirectoryEntry[],
  dots: readonly DirectoryEntry[],
  inodeSeed: number,
  hashSeed: readonly number[],
): Buffer {
  const hashed = entries
    .map((entry) => ({ entry, ...hashName(entry.name, hashSeed) }))
    .sort((a, b) => a.major - b.major || a.minor - b.minor);
  const blocks: Buffer[] = [Buffer.alloc(BLOCK_BYTES)];
  const leaves: Child[] = [];
  for (let first = 0; first < hashed.length;) {
    let end = first;
    for (let room = LIST_BYTES; end < hashed.length; end++) {
      room -= recordBytes(hashed[end]!.entry.name);
      if (room < 0) break;
    }
    // The lowest bit tells that names of this hash began in the block before.
    const goesOn = first > 0 && hashed[first - 1]!.major === hashed[first]!.major;
    leaves.push({ hash: hashed[first]!.major + Number(goesOn), block: blocks.length });
    blocks.push(
      listBlock(
        hashed.slice(first, end).map(({ entry }) => entry),
        inodeSeed,
      ),
    );
    first = end;
  }
  const nodes = leaves.length > capacity(ROOT_LIST) ? indexNodes(leaves, blocks, inodeSeed) : undefined;
  if ((nodes ?? leaves).length > capacity(ROOT_LIST))
    throw new Ext4Error("too-many", `A directory with ${entries.length} names is too large: use an image with fewer.`);
  writeRoot(blocks[0]!, dots, nodes ?? leaves, nodes === undefined ? 0 : 1, inodeSeed);
  return Buffer.concat(blocks);
}

function indexNodes(leaves: readonly Child[], blocks: Buffer[], inodeSeed: number): Child[] {
  const nodes: Child[] = [];
  for (let first = 0; first < leaves.length; first += capacity(NODE_LIST)) {
    const block = Buffer.alloc(BLOCK_BYTES);
    block.writeUInt16LE(BLOCK_BYTES, 4);
    writeIndex(block, NODE_LIST, leaves.slice(first, first + capacity(NODE_LIST)), inodeSeed);
    nodes.push({ hash: leaves[first]!.hash, block: blocks.length });
    blocks.push(block);
  }
  return nodes;
}

function writeRoot(
  block: Buffer,
  dots: readonly DirectoryEntry[],
  children: readonly Child[],
  levels: number,
  inodeSeed: number,
): void {
  writeRecord(block, 0, dots[0]!, 12);
  writeRecord(block, 12, dots[1]!, BLOCK_BYTES - 12);
  block.writeUInt8(HALF_MD4, 28);
  block.writeUInt8(8, 29);
  block.writeUInt8(levels, 30);
  writeIndex(block, ROOT_LIST, children, inodeSeed);
}

function writeIndex(block: Buffer, list: number, children: readonly Child[], inodeSeed: number): void {
  children.forEach(({ hash, block: child }, i) => {
    // The first has no hash: what is below the second's belongs to it.
    if (i > 0) block.writeUInt32LE(hash, list + 8 * i);
    block.writeUInt32LE(child, list + 8 * i + 4);
  });
  block.writeUInt16LE(capacity(list), list);
  block.writeUInt16LE(children.length, list + 2);
  const overList = crc32c(inodeSeed, block, 0, list + 8 * children.length);
  // The checksum goes on over its own record, as zeros.
  block.writeUInt32LE(crc32c(overList, block, BLOCK_BYTES - 8, BLOCK_BYTES), BLOCK_BYTES - 4);
}
