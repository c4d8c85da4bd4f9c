/* Operations on directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR. @source Linux include/uapi/linux/fuse.h. I/O thread only.
 * A listing is taken when it is read from its beginning, and offsets are places in it: names that come or go meanwhile move nothing. */
import { type BigIntStats, constants, type Dirent } from "node:fs";
import { scatter } from "../device/virtio/buffers.ts";
import { Errno, Refusal } from "./errno.ts";
import { DIRENT_BYTES, ENTRY_BYTES, FSYNC_FDATASYNC, FUSE_UNKNOWN_INO } from "./fuse-protocol.ts";
import { direntBytes, OPEN_BYTES, putDirent, putEntry, putOpen } from "./fuse-reply.ts";
import { childPath, descriptorPath } from "./host-calls.ts";
import { FileType } from "./nodes.ts";
import type { OpenDirectory } from "./open-files.ts";
import { type Answer, type Call, EMPTY, type Share } from "./share.ts";

/** What one listing's reply is assembled in at most: the guest asks again. */
const MOST_BYTES = 128 << 10;
/** "." and "..", which the guest's kernel wants from us. */
const DOTS = [".", ".."];
const UNKNOWN_INO = BigInt(FUSE_UNKNOWN_INO);

export async function opendir(share: Share, { node }: Call): Promise<Answer> {
  if (!node.isDirectory) throw new Refusal(Errno.ENOTDIR);
  return putOpen(Buffer.alloc(OPEN_BYTES), 0, share.files.addDirectory(node), 0);
}

export function readdir(share: Share, call: Call): Promise<Answer> {
  return list(share, call, false);
}
export function readdirplus(share: Share, call: Call): Promise<Answer> {
  return list(share, call, true);
}

async function list(share: Share, call: Call, plus: boolean): Promise<Answer> {
  const { request, hold, room, roomBytes } = call;
  request.arguments(40);
  const start = request.number(8);
  const directory = share.files.directory(request.number(0));
  const fd = await share.tree.directory(directory.node, hold);
  if (start === 0) await load(share, directory, fd);
  const out = Buffer.alloc(Math.min(request.u32(16), roomBytes, MOST_BYTES));
  const entryBytes = plus ? ENTRY_BYTES : 0;
  const { names, types } = directory;
  let at = 0;
  // Only these names are known of, whatever is asked for.
  for (let i = start; i < names.length; i++) {
    const name = names[i]!;
    if (at + entryBytes + direntBytes(name) > out.length) break;
    const isDot = i < DOTS.length;
    const stat = plus && !isDot ? await statOf(share, fd, name) : undefined;
    if (plus && !isDot && stat === undefined) continue;
    const node = stat && knownOrNot(share, stat, directory, name);
    if (plus) putEntry(out, at, node ?? 0, stat, share.owners);
    const ino = stat?.ino ?? (isDot ? directory.node.ino : UNKNOWN_INO);
    const type = stat === undefined ? types[i]! : Number(stat.mode);
    putDirent(out, at + entryBytes, name, ino, i + 1, type);
    at += entryBytes + direntBytes(name);
  }
  // A name for which there is no room at all would be the end of the listing for the guest.
  if (at === 0 && out.length < entryBytes + DIRENT_BYTES && start < names.length) throw new Refusal(Errno.EINVAL);
  return scatter(room, out.subarray(0, at));
}
async function load(share: Share, directory: OpenDirectory, fd: number): Promise<void> {
  const { size } = await share.calls.fstat(fd);
  const entries = await share.calls.list(fd, size);
  const types = new Uint16Array(DOTS.length + entries.length).fill(FileType.DIRECTORY, 0, DOTS.length);
  entries.forEach((entry, i) => (types[DOTS.length + i] = typeOf(entry)));
  directory.names = [...DOTS, ...entries.map(({ name }) => name)];
  directory.types = types;
}
function typeOf(entry: Dirent): number {
  if (entry.isFile()) return FileType.REGULAR;
  if (entry.isDirectory()) return FileType.DIRECTORY;
  if (entry.isSymbolicLink()) return FileType.LINK;
  if (entry.isFIFO()) return FileType.FIFO;
  return entry.isSocket() ? FileType.SOCKET : 0;
}
/** undefined: it is gone, or not to be looked at. */
async function statOf(share: Share, fd: number, name: string): Promise<BigIntStats | undefined> {
  try {
    return await share.calls.lstat(childPath(fd, name));
  } catch {
    return undefined;
  }
}
/** The guest may know too many nodes already: it then gets the name alone. */
function knownOrNot(share: Share, stat: BigIntStats, { node }: OpenDirectory, name: string): number {
  try {
    return share.nodes.know(stat, node, name).id;
  } catch (error) {
    if (error instanceof Refusal) return 0;
    throw error;
  }
}

export async function releasedir(share: Share, { request }: Call): Promise<Answer> {
  await share.files.release(request.arguments(24).number(0));
  return EMPTY;
}

export async function fsyncdir(share: Share, { request, hold }: Call): Promise<Answer> {
  const dataOnly = (request.arguments(16).u32(8) & FSYNC_FDATASYNC) !== 0;
  const { node } = share.files.directory(request.number(0));
  const path = descriptorPath(await share.tree.directory(node, hold));
  const fd = hold.own(await share.calls.open(path, constants.O_RDONLY | constants.O_DIRECTORY));
  await share.calls.sync(fd, dataOnly);
  return EMPTY;
}
