/* Extended attributes, in the inode's tail or in a block of their own. @source Linux Documentation/filesystems/ext4/attributes.rst, fs/ext4/xattr.c, acl.h
 *
 *   entry: 0 name length (8) · 1 name index (8) · 2 value's offset (16) · 4 value's inode (32) · 8 value's size (32) · 12 hash (32) · name, padded to 4
 *   in a block: 32 bytes of header (magic, references, blocks, hash, checksum), entries sorted, values from the end downwards, offsets from the block's start
 *   in an inode: the magic, entries, values likewise, offsets from the first entry
 *
 * All attributes of an inode go to one place. Leaves out values in inodes of their own (ea_inode): a block is all there is. */
import { BLOCK_BYTES, INODE_BYTES } from "./geometry.ts";
import { crc32c, crc32cOfU64 } from "./crc32c.ts";
import type { Xattr } from "./nodes.ts";

const MAGIC = 0xea020000;
const BLOCK_HEADER = 32;
const ENTRY = 16;
/** Of an inode, those that its own fields take: 128 and 32 more. */
export const INODE_FIELDS = 160;
const INODE_ROOM = INODE_BYTES - INODE_FIELDS - 4;
const BLOCK_ROOM = BLOCK_BYTES - BLOCK_HEADER;
/** Prefixes that ext4 stores as a number; those of ACLs are whole names. */
const PREFIXES: readonly (readonly [string, number])[] = [
  ["user.", 1],
  ["system.posix_acl_access", 2],
  ["system.posix_acl_default", 3],
  ["trusted.", 4],
  ["security.", 6],
  ["system.", 7],
];
const ACL_INDICES: readonly number[] = [2, 3];

interface Stored {
  readonly index: number;
  /** Without its prefix. */
  readonly name: string;
  readonly value: Uint8Array;
}

/** Why attributes cannot be stored, or undefined if they can. Those of namespaces that Linux does not have must be dropped before. */
export function xattrProblem(xattrs: readonly Xattr[]): string | undefined {
  const stored: Stored[] = [];
  for (const { name, value } of xattrs) {
    const found = splitName(name);
    if (found === undefined || found.name.length > 255)
      return `the name of attribute ${name.slice(0, 60)} is not allowed`;
    const kept = ACL_INDICES.includes(found.index) ? compactAcl(value) : value;
    if (kept === undefined) return `attribute ${name} is no access control list`;
    stored.push({ ...found, value: kept });
  }
  return roomFor(stored) > BLOCK_ROOM ? "its attributes take more than 4 KiB" : undefined;
}

/** Whether Linux has this namespace. */
export const hasNamespace = (name: string): boolean => splitName(name) !== undefined;

export const fitInInode = (xattrs: readonly Xattr[]): boolean => roomFor(toStored(xattrs)) <= INODE_ROOM;

/** Writes attributes that fit into an inode's tail. @param inode all its bytes; the tail is zeros */
export function writeToInode(inode: Buffer, xattrs: readonly Xattr[]): void {
  inode.writeUInt32LE(MAGIC, INODE_FIELDS);
  writeEntries(inode.subarray(INODE_FIELDS + 4), 0, sorted(toStored(xattrs)));
}

/** @param block number of the block, which is part of the checksum @param seed the file system's */
export function xattrBlock(xattrs: readonly Xattr[], block: number, seed: number): Buffer {
  const into = Buffer.alloc(BLOCK_BYTES);
  into.writeUInt32LE(MAGIC, 0);
  into.writeUInt32LE(1, 4);
  into.writeUInt32LE(1, 8);
  into.writeUInt32LE(writeEntries(into, BLOCK_HEADER, sorted(toStored(xattrs))), 12);
  into.writeUInt32LE(crc32c(crc32cOfU64(seed, block), into), 16);
  return into;
}

function toStored(xattrs: readonly Xattr[]): Stored[] {
  return xattrs.map(({ name, value }) => {
    const found = splitName(name)!;
    return { ...found, value: ACL_INDICES.includes(found.index) ? compactAcl(value)! : value };
  });
}

function splitName(name: string): { index: number; name: string } | undefined {
  for (const [prefix, index] of PREFIXES) {
    const isWhole = ACL_INDICES.includes(index);
    if (isWhole ? name === prefix : name.startsWith(prefix) && name.length > prefix.length)
      return { index, name: name.slice(prefix.length) };
  }
  return undefined;
}

const padded = (length: number): number => (length + 3) & ~3;

/** With the four zero bytes that end the list. */
function roomFor(stored: readonly Stored[]): number {
  return stored.reduce((sum, { name, value }) => sum + ENTRY + padded(name.length) + padded(value.length), 4);
}

function sorted(stored: Stored[]): Stored[] {
  return stored.sort(
    (a, b) => a.index - b.index || a.name.length - b.name.length || (a.name < b.name ? -1 : Number(a.name > b.name)),
  );
}

/** @param first offset of the first entry; the values' offsets count from the start of `into` @returns the hash over all */
function writeEntries(into: Buffer, first: number, stored: readonly Stored[]): number {
  let at = first;
  let end = into.length;
  let all = 0;
  for (const { index, name, value } of stored) {
    end -= padded(value.length);
    into.set(value, end);
    let hash = 0;
    for (let i = 0; i < name.length; i++) hash = (hash << 5) ^ (hash >>> 27) ^ name.charCodeAt(i);
    for (let word = end; word < end + value.length; word += 4)
      hash = (hash << 16) ^ (hash >>> 16) ^ into.readInt32LE(word);
    into.writeUInt8(name.length, at);
    into.writeUInt8(index, at + 1);
    into.writeUInt16LE(value.length === 0 ? 0 : end, at + 2);
    into.writeUInt32LE(value.length, at + 8);
    into.writeUInt32LE(hash >>> 0, at + 12);
    into.write(name, at + ENTRY, "latin1");
    at += ENTRY + padded(name.length);
    all = (all << 16) ^ (all >>> 16) ^ hash;
  }
  return all >>> 0;
}

const ACL_ENTRY = 8;
/** ACL_USER and ACL_GROUP name somebody; the other tags need no id. */
const TAGS_WITH_ID = [0x02, 0x08];
const TAGS = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20];

/** An ACL as system calls know it (version 2, 8 bytes an entry) as ext4 stores it (version 1, ids only where they mean something). */
function compactAcl(value: Uint8Array): Uint8Array | undefined {
  const from = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (from.length < 4 || from.length % ACL_ENTRY !== 4 || from.readUInt32LE(0) !== 2) return undefined;
  const into = Buffer.alloc(from.length);
  into.writeUInt32LE(1, 0);
  let end = 4;
  for (let at = 4; at < from.length; at += ACL_ENTRY) {
    const tag = from.readUInt16LE(at);
    if (!TAGS.includes(tag)) return undefined;
    const length = TAGS_WITH_ID.includes(tag) ? ACL_ENTRY : 4;
    from.copy(into, end, at, at + length);
    end += length;
  }
  return into.subarray(0, end);
}
