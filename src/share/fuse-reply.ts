/* What replies consist of: attributes, entries, listings. Little-endian, as the guest's processor.
 *
 *   fuse_attr        +0 u64 ino  +8 size  +16 blocks  +24 atime  +32 mtime  +40 ctime  +48 u32 atimensec  +52 mtimensec  +56 ctimensec
 *                    +60 mode  +64 nlink  +68 uid  +72 gid  +76 rdev  +80 blksize  +84 flags
 *   fuse_entry_out   +0 u64 nodeid  +8 generation  +16 entry_valid  +24 attr_valid  +32 u32 entry_valid_nsec  +36 attr_valid_nsec  +40 fuse_attr
 *   fuse_dirent      +0 u64 ino  +8 off  +16 u32 namelen  +20 type  +24 name, padded to 8
 */
import type { BigIntStats } from "node:fs";
import { ATTR_BYTES, DIRENT_BYTES, ENTRY_BYTES } from "./fuse-protocol.ts";

/** How long the guest may believe names and attributes. */
export const VALID_SECONDS = 1n;
const NS = 1_000_000_000n;
const S_IFMT = 0o170000;
export const NOBODY = 65534;

/** Who files belong to in the guest. */
export interface Owners {
  /** The user and group of this process, and what they are in the guest. */
  readonly host: { readonly uid: number; readonly gid: number };
  readonly guest: { readonly uid: number; readonly gid: number };
}
export const uidInGuest = ({ host, guest }: Owners, uid: number): number => (uid === host.uid ? guest.uid : NOBODY);
export const gidInGuest = ({ host, guest }: Owners, gid: number): number => (gid === host.gid ? guest.gid : NOBODY);

function putAttr(into: Buffer, at: number, stat: BigIntStats, owners: Owners): void {
  into.writeBigUInt64LE(BigInt.asUintN(64, stat.ino), at);
  into.writeBigUInt64LE(stat.size, at + 8);
  into.writeBigUInt64LE(stat.blocks, at + 16);
  [stat.atimeNs, stat.mtimeNs, stat.ctimeNs].forEach((ns, i) => {
    const nanos = ((ns % NS) + NS) % NS; // times before 1970 count down
    into.writeBigUInt64LE(BigInt.asUintN(64, (ns - nanos) / NS), at + 24 + 8 * i);
    into.writeUInt32LE(Number(nanos), at + 48 + 4 * i);
  });
  into.writeUInt32LE(Number(stat.mode), at + 60);
  into.writeUInt32LE(Number(BigInt.asUintN(32, stat.nlink)), at + 64);
  into.writeUInt32LE(uidInGuest(owners, Number(stat.uid)), at + 68);
  into.writeUInt32LE(gidInGuest(owners, Number(stat.gid)), at + 72);
  // rdev stays 0: the number of a host's device would name one of the guest's.
  into.writeUInt32LE(Number(BigInt.asUintN(32, stat.blksize)), at + 80);
}

/** fuse_attr_out */
export function attrOut(stat: BigIntStats, owners: Owners): Buffer {
  const out = Buffer.alloc(16 + ATTR_BYTES);
  out.writeBigUInt64LE(VALID_SECONDS, 0);
  putAttr(out, 16, stat, owners);
  return out;
}

/** Writes a fuse_entry_out. @param node 0: there is no such name */
export function putEntry(into: Buffer, at: number, node: number, stat: BigIntStats | undefined, owners: Owners): void {
  into.writeBigUInt64LE(BigInt(node), at);
  into.writeBigUInt64LE(VALID_SECONDS, at + 16);
  into.writeBigUInt64LE(VALID_SECONDS, at + 24);
  if (stat !== undefined) putAttr(into, at + 40, stat, owners);
}
export function entryOut(node: number, stat: BigIntStats | undefined, owners: Owners, more = 0): Buffer {
  const out = Buffer.alloc(ENTRY_BYTES + more);
  putEntry(out, 0, node, stat, owners);
  return out;
}
/** Writes a fuse_open_out. */
export function putOpen(into: Buffer, at: number, handle: number, flags: number): Buffer {
  into.writeBigUInt64LE(BigInt(handle), at);
  into.writeUInt32LE(flags, at + 8);
  return into;
}
export const OPEN_BYTES = 16;

export const direntBytes = (name: string): number => (DIRENT_BYTES + name.length + 7) & ~7;

/** Writes a fuse_dirent. @param name each character a byte  @param next offset of the entry after it  @param mode of which the type is told */
export function putDirent(into: Buffer, at: number, name: string, ino: bigint, next: number, mode: number): void {
  into.writeBigUInt64LE(BigInt.asUintN(64, ino), at);
  into.writeBigUInt64LE(BigInt(next), at + 8);
  into.writeUInt32LE(name.length, at + 16);
  into.writeUInt32LE((mode & S_IFMT) >> 12, at + 20);
  into.write(name, at + DIRENT_BYTES, "latin1");
}
