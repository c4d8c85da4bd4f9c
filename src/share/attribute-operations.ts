/* Operations on attributes: GETATTR, SETATTR, ACCESS, STATFS. @source Linux include/uapi/linux/fuse.h. I/O thread only.
 *
 *   fuse_setattr_in   +0 u32 valid  +8 u64 fh  +16 size  +32 atime  +40 mtime  +56 u32 atimensec  +60 mtimensec  +68 mode  +76 uid  +80 gid
 *   fuse_kstatfs      +0 u64 blocks  +8 bfree  +16 bavail  +24 files  +32 ffree  +40 u32 bsize  +44 namelen  +48 frsize
 */
import { type BigIntStats, constants } from "node:fs";
import { UTIME_NOW, UTIME_OMIT } from "../device/libc.ts";
import { Errno, Refusal } from "./errno.ts";
import { SetAttr } from "./fuse-protocol.ts";
import { attrOut, gidInGuest, uidInGuest } from "./fuse-reply.ts";
import { descriptorPath, type FileTime } from "./host-calls.ts";
import { FileType } from "./nodes.ts";
import { type Answer, attributes, type Call, EMPTY, type Share } from "./share.ts";

const SETATTR_BYTES = 88;
const STATFS_BYTES = 80;
const PERMISSIONS = 0o7777;
const SET_ID = 0o6000;
const NAME_MAX = 255;
const NANOS = 1_000_000_000;
const ACCESS_MASK = 7;

export async function getattr(share: Share, { node, hold }: Call): Promise<Answer> {
  return attrOut(await attributes(share, node, hold), share.owners);
}

export async function setattr(share: Share, call: Call): Promise<Answer> {
  const { request, node, hold } = call;
  const valid = request.arguments(SETATTR_BYTES).u32(0);
  const before = await attributes(share, node, hold);
  checkOwner(share, call, valid, before);
  const mode = request.u32(68) & PERMISSIONS;
  if ((valid & SetAttr.MODE) !== 0 && (mode & SET_ID & ~Number(before.mode)) !== 0) throw new Refusal(Errno.EPERM);
  if ((valid & SetAttr.SIZE) !== 0) await setSize(share, call, (valid & SetAttr.FH) !== 0);
  const times = (valid & (SetAttr.ATIME | SetAttr.MTIME)) === 0 ? undefined : timesOf(call, valid);
  if ((valid & SetAttr.MODE) !== 0 || times !== undefined) {
    await withDescriptor(share, call, async (fd) => {
      if ((valid & SetAttr.MODE) !== 0) await share.calls.chmod(fd, mode);
      if (times !== undefined) await share.calls.setTimes(fd, times.atime, times.mtime, before);
    });
  }
  return attrOut(await attributes(share, node, hold), share.owners);
}

/** Owners cannot be changed: only what is so already can be asked for. */
function checkOwner(share: Share, { request }: Call, valid: number, { uid, gid }: BigIntStats): void {
  const { owners } = share;
  if ((valid & SetAttr.UID) !== 0 && request.u32(76) !== uidInGuest(owners, Number(uid)))
    throw new Refusal(Errno.EPERM);
  if ((valid & SetAttr.GID) !== 0 && request.u32(80) !== gidInGuest(owners, Number(gid)))
    throw new Refusal(Errno.EPERM);
}
/** A time that is not given stays. */
function timesOf({ request }: Call, valid: number): { atime: FileTime; mtime: FileTime } {
  const choose = (set: number, isNow: number, seconds: number, nanos: number): FileTime => {
    if ((valid & isNow) !== 0) return [0n, UTIME_NOW];
    if ((valid & set) === 0) return [0n, UTIME_OMIT];
    return [BigInt.asIntN(64, request.u64(seconds)), BigInt(request.u32(nanos) % NANOS)];
  };
  return {
    atime: choose(SetAttr.ATIME, SetAttr.ATIME_NOW, 32, 56),
    mtime: choose(SetAttr.MTIME, SetAttr.MTIME_NOW, 40, 60),
  };
}
async function setSize(share: Share, call: Call, byHandle: boolean): Promise<void> {
  const { request, node, hold } = call;
  const size = request.number(16);
  if (!Number.isSafeInteger(size)) throw new Refusal(Errno.EFBIG);
  if (byHandle) {
    await share.files.withFile(request.number(8), async ({ fd }) => share.calls.truncate(fd, size));
    return;
  }
  if (node.isDirectory) throw new Refusal(Errno.EISDIR);
  if (node.type !== FileType.REGULAR) throw new Refusal(Errno.EINVAL);
  const path = await share.tree.descriptor(node, hold);
  const fd = await share.calls.open(descriptorPath(path), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await share.calls.truncate(fd, size);
  } finally {
    await share.calls.close(fd);
  }
}
/** Any descriptor of the node: of the file that is open, if one is, wherever its name went. */
async function withDescriptor(share: Share, { node, hold }: Call, use: (fd: number) => Promise<void>): Promise<void> {
  if (node.opened !== undefined) await share.files.withOpen(node.opened, ({ fd }) => use(fd));
  else await use(await share.tree.descriptor(node, hold));
}

export async function access(share: Share, call: Call): Promise<Answer> {
  const mask = call.request.arguments(8).u32(0) & ACCESS_MASK;
  if (share.readOnly && (mask & constants.W_OK) !== 0) throw new Refusal(Errno.EROFS);
  await withDescriptor(share, call, async (fd) => share.calls.access(fd, mask));
  return EMPTY;
}

export async function statfs(share: Share): Promise<Answer> {
  const { blocks, bfree, bavail, files, ffree, bsize, frsize } = await share.calls.statfs(share.nodes.root.fd);
  const out = Buffer.alloc(STATFS_BYTES);
  [blocks, bfree, bavail, files, ffree].forEach((value, i) => out.writeBigUInt64LE(BigInt.asUintN(64, value), 8 * i));
  out.writeUInt32LE(Number(BigInt.asUintN(32, bsize)), 40);
  out.writeUInt32LE(NAME_MAX, 44);
  out.writeUInt32LE(Number(BigInt.asUintN(32, frsize || bsize)), 48);
  return out;
}
