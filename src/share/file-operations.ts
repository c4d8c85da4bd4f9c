/* Operations on files: OPEN, CREATE, READ, WRITE, RELEASE, FSYNC, FALLOCATE, COPY_FILE_RANGE. @source Linux include/uapi/linux/fuse.h. I/O thread only.
 *
 *   fuse_read_in, fuse_write_in   +0 u64 fh  +8 offset  +16 u32 size  +20 flags  +24 u64 lock_owner  +32 u32 flags
 *   fuse_fallocate_in             +0 u64 fh  +8 offset  +16 length  +24 u32 mode
 *   fuse_copy_file_range_in       +0 u64 fh_in  +8 off_in  +16 nodeid_out  +24 fh_out  +32 off_out  +40 len  +48 flags
 */
import { type BigIntStats, constants } from "node:fs";
import { range } from "../device/virtio/buffers.ts";
import { Errno, errnoOf, Refusal } from "./errno.ts";
import { ENTRY_BYTES, FOPEN_KEEP_CACHE, FSYNC_FDATASYNC } from "./fuse-protocol.ts";
import { OPEN_BYTES, putOpen } from "./fuse-reply.ts";
import { descriptorPath, O_PATH } from "./host-calls.ts";
import { GRANTED, known, settleMode } from "./name-operations.ts";
import { FileType, type ShareNode } from "./nodes.ts";
import type { OpenFile } from "./open-files.ts";
import { type Answer, type Call, EMPTY, type Share } from "./share.ts";
import type { Hold } from "./share-tree.ts";

const { O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_NONBLOCK, O_SYNC } = constants;
const O_ACCMODE = 3;
/** What of a guest's flags is passed on. O_NONBLOCK is always added: a lease of another process then is an error and no wait. */
const PASSED = O_ACCMODE | O_APPEND | O_SYNC;
/** Pages stay cached only if the file had not changed for so long: a timestamp may not tell two changes apart that follow each other closely. */
const SETTLED_NS = 1_000_000_000n;
/** Allocate, and without another size; punch a hole (1 KEEP_SIZE, 2 PUNCH_HOLE); make zeroes (16 ZERO_RANGE). @source Linux include/uapi/linux/falloc.h */
const FALLOCATE_MODES = [0, 1, 3, 16, 17];
const COPY_PIECE = 1 << 20;
/** One COPY_FILE_RANGE does at most so much: the guest asks again. */
const COPY_MOST = 32 << 20;
const MAX_PIECES = 1024; // IOV_MAX

const writes = (flags: number): boolean => (flags & O_ACCMODE) !== 0 || (flags & O_TRUNC) !== 0;

/** Opens a node's file, which is a regular one. */
async function openNode(share: Share, node: ShareNode, flags: number, hold: Hold): Promise<number> {
  if (node.isDirectory) throw new Refusal(Errno.EISDIR);
  if (node.type === FileType.LINK) throw new Refusal(Errno.ELOOP);
  if (node.type !== FileType.REGULAR) throw new Refusal(Errno.ENXIO);
  const passed = (flags & (PASSED | O_TRUNC)) | O_NONBLOCK;
  try {
    return await share.calls.open(descriptorPath(await share.tree.descriptor(node, hold)), passed);
  } catch (error) {
    const reopened =
      node.opened && errnoOf(error) === Errno.ESTALE ? await reopenRemoved(share, node.opened, passed) : -1;
    if (reopened < 0) throw error;
    return reopened;
  }
}
/** A file that has no name any more, but is open. @returns −1 if it has one, somewhere */
async function reopenRemoved(share: Share, opened: OpenFile, flags: number): Promise<number> {
  return share.files.withOpen(opened, async ({ fd }) =>
    (await share.calls.fstat(fd)).nlink === 0n ? share.calls.open(descriptorPath(fd), flags) : -1,
  );
}

export async function open(share: Share, { request, node, hold }: Call): Promise<Answer> {
  const flags = request.arguments(8).u32(0);
  if (share.readOnly && writes(flags)) throw new Refusal(Errno.EROFS);
  let openFlags = 0;
  const handle = await share.files.addFile(
    () => node,
    async () => {
      const fd = await openNode(share, node, flags, hold);
      if (isUnchanged(node, await share.calls.fstat(fd))) openFlags = FOPEN_KEEP_CACHE;
      return fd;
    },
  );
  return putOpen(Buffer.alloc(OPEN_BYTES), 0, handle, openFlags);
}
/** Is the file as it was when it was opened last? Notes how it is now. */
function isUnchanged(node: ShareNode, { size, mtimeNs, ctimeNs }: BigIntStats): boolean {
  const { seen } = node;
  const settled = BigInt(Date.now()) * 1_000_000n - SETTLED_NS;
  node.seen = mtimeNs < settled && ctimeNs < settled ? { size, mtimeNs, ctimeNs } : undefined;
  return seen !== undefined && seen.size === size && seen.mtimeNs === mtimeNs && seen.ctimeNs === ctimeNs;
}

export async function create(share: Share, call: Call): Promise<Answer> {
  const { request, node: parent, hold } = call;
  const name = request.arguments(16).name();
  const [flags, mode] = [request.u32(0), request.u32(4) & GRANTED];
  const path = await share.tree.name(parent, name, hold);
  let entry: Buffer = Buffer.alloc(0);
  let node: ShareNode | undefined;
  const handle = await share.files.addFile(
    () => node!,
    async () => {
      const opened = await createOrOpen(share, path, flags, mode);
      try {
        const stat = opened.isNew
          ? await settleMode(share, opened.fd, mode, await share.calls.fstat(opened.fd))
          : await share.calls.fstat(opened.fd);
        entry = known(share, stat, parent, name, OPEN_BYTES);
        node = share.nodes.find(stat);
        return opened.fd;
      } catch (error) {
        share.calls.closeNow(opened.fd);
        throw error;
      }
    },
  );
  return putOpen(entry, ENTRY_BYTES, handle, 0);
}
/** What is there already is opened only if it is a regular file, as it is then. */
async function createOrOpen(
  share: Share,
  path: string,
  flags: number,
  mode: number,
): Promise<{ fd: number; isNew: boolean }> {
  const passed = (flags & PASSED) | O_NONBLOCK;
  try {
    return { fd: await share.calls.open(path, passed | O_CREAT | O_EXCL | O_NOFOLLOW, mode), isNew: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || (flags & O_EXCL) !== 0) throw error;
  }
  const there = await share.calls.open(path, O_PATH | O_NOFOLLOW);
  try {
    const stat = await share.calls.fstat(there);
    if (!isRegular(stat)) throw new Refusal(Errno.EEXIST);
    return { fd: await share.calls.open(descriptorPath(there), passed | (flags & O_TRUNC)), isNew: false };
  } finally {
    share.calls.closeNow(there);
  }
}
const isRegular = ({ mode }: BigIntStats): boolean => (Number(mode) & 0o170000) === FileType.REGULAR;

/** @throws Refusal: no file is so large */
function offsetOf(value: number): number {
  if (!Number.isSafeInteger(value)) throw new Refusal(Errno.EINVAL);
  return value;
}

export async function read(share: Share, { request, room, roomBytes }: Call): Promise<Answer> {
  request.arguments(40);
  const offset = offsetOf(request.number(8));
  const size = Math.min(request.u32(16), roomBytes);
  return share.files.withFile(request.number(0), async ({ fd }) => {
    let done = 0;
    while (done < size) {
      const pieces = range(room, done, size).slice(0, MAX_PIECES);
      const count = await share.calls.read(fd, pieces, offset + done, size - done);
      if (count === 0) break;
      done += count;
    }
    return done;
  });
}

export async function write(share: Share, { request }: Call): Promise<Answer> {
  request.arguments(40);
  const offset = offsetOf(request.number(8));
  const size = request.u32(16);
  const data = request.data(size);
  const done = await share.files.withFile(request.number(0), ({ fd }) => writeAll(share, fd, data, offset, size));
  return written(done);
}
/** fuse_write_out */
function written(count: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32LE(count, 0);
  return out;
}
/** @returns how much was written: less than all only if an error came after some */
async function writeAll(
  share: Share,
  fd: number,
  data: readonly Uint8Array[],
  offset: number,
  size: number,
): Promise<number> {
  let done = 0;
  while (done < size) {
    const pieces = range(data, done, size).slice(0, MAX_PIECES);
    try {
      done += await share.calls.write(fd, pieces, offset + done, size - done);
    } catch (error) {
      if (done === 0) throw error;
      break;
    }
  }
  return done;
}

export async function release(share: Share, { request }: Call): Promise<Answer> {
  await share.files.release(request.arguments(24).number(0));
  return EMPTY;
}

export async function fsync(share: Share, { request }: Call): Promise<Answer> {
  const dataOnly = (request.arguments(16).u32(8) & FSYNC_FDATASYNC) !== 0;
  await share.files.withFile(request.number(0), ({ fd }) => share.calls.sync(fd, dataOnly));
  return EMPTY;
}

export async function fallocate(share: Share, { request }: Call): Promise<Answer> {
  const [offset, length] = [offsetOf(request.arguments(32).number(8)), offsetOf(request.number(16))];
  const mode = request.u32(24);
  if (!FALLOCATE_MODES.includes(mode)) throw new Refusal(Errno.EOPNOTSUPP);
  await share.files.withFile(request.number(0), async ({ fd }) => share.calls.fallocate(fd, mode, offset, length));
  return EMPTY;
}

export async function copyFileRange(share: Share, { request }: Call): Promise<Answer> {
  request.arguments(56);
  const [from, to] = [offsetOf(request.number(8)), offsetOf(request.number(32))];
  const length = Math.min(request.number(40), COPY_MOST);
  if (request.u64(48) !== 0n) throw new Refusal(Errno.EINVAL);
  const buffer = new Uint8Array(Math.min(length, COPY_PIECE));
  const done = await share.files.withFile(request.number(0), (source) =>
    share.files.withFile(request.number(24), async (target) => {
      let copied = 0;
      while (copied < length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, length - copied));
        const count = await share.calls.read(source.fd, [piece], from + copied, piece.length);
        const put = await writeAll(share, target.fd, [piece.subarray(0, count)], to + copied, count);
        copied += put;
        if (put < piece.length) break;
      }
      return copied;
    }),
  );
  return written(done);
}
