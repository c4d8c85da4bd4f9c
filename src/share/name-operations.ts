/* Operations on names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, RENAME2, READLINK. @source Linux include/uapi/linux/fuse.h
 * Every name is one checked component below an open directory, and no call here follows it. I/O thread only. */
import { type BigIntStats, constants } from "node:fs";
import { Errno, Refusal } from "./errno.ts";
import { Rename } from "./fuse-protocol.ts";
import { entryOut } from "./fuse-reply.ts";
import { childPath, O_PATH } from "./host-calls.ts";
import { FileType, type ShareNode } from "./nodes.ts";
import { type Answer, type Call, EMPTY, type Share } from "./share.ts";

const S_IFMT = 0o170000;
/** Permissions and the sticky bit: a guest makes nothing that runs as somebody else on the host. */
export const GRANTED = 0o1777;
const S_ISGID = 0o2000;

/** The guest gets to know what a name in `parent` is. */
export function known(share: Share, stat: BigIntStats, parent: ShareNode, name: string, more = 0): Buffer {
  return entryOut(share.nodes.know(stat, parent, name).id, stat, share.owners, more);
}
/** The same for what was just made there. @throws Refusal ENOENT if it is gone already */
async function made(share: Share, { node }: Call, path: string, name: string): Promise<Answer> {
  const stat = await share.calls.lstat(path);
  if (stat === undefined) throw new Refusal(Errno.ENOENT);
  return known(share, stat, node, name);
}

export async function lookup(share: Share, { request, node, hold }: Call): Promise<Answer> {
  const name = request.arguments(0).name();
  const stat = await share.calls.lstat(await share.tree.name(node, name, hold));
  return stat === undefined ? entryOut(0, undefined, share.owners) : known(share, stat, node, name);
}

/** Gives what was just made the mode that the guest wants: this process's umask was applied to it. @param fd of any kind */
export async function settleMode(share: Share, fd: number, mode: number, stat: BigIntStats): Promise<BigIntStats> {
  const now = Number(stat.mode);
  if ((now & GRANTED) === mode) return stat;
  await share.calls.chmod(fd, mode | (now & S_ISGID));
  return share.calls.fstat(fd);
}

export async function mknod(share: Share, call: Call): Promise<Answer> {
  const { request, node, hold } = call;
  const name = request.arguments(16).name();
  const mode = request.u32(0);
  const type = mode & S_IFMT;
  const path = await share.tree.name(node, name, hold);
  if (type === FileType.FIFO || type === FileType.SOCKET) {
    share.calls.mknod(path, type | (mode & GRANTED));
    const fd = hold.own(await share.calls.open(path, O_PATH | constants.O_NOFOLLOW));
    return known(share, await settleMode(share, fd, mode & GRANTED, await share.calls.fstat(fd)), node, name);
  }
  if (type !== FileType.REGULAR) throw new Refusal(Errno.EPERM);
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  const fd = hold.own(await share.calls.open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode & GRANTED));
  const stat = await settleMode(share, fd, mode & GRANTED, await share.calls.fstat(fd));
  return known(share, stat, node, name);
}

export async function mkdir(share: Share, { request, node, hold }: Call): Promise<Answer> {
  const name = request.arguments(8).name();
  const mode = request.u32(0) & GRANTED;
  const path = await share.tree.name(node, name, hold);
  await share.calls.mkdir(path, mode);
  const { O_DIRECTORY, O_NOFOLLOW } = constants;
  const fd = hold.own(await share.calls.open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return known(share, await settleMode(share, fd, mode, await share.calls.fstat(fd)), node, name);
}

export async function symlink(share: Share, call: Call): Promise<Answer> {
  const { request, node, hold } = call;
  const name = request.arguments(0).name();
  const target = request.target();
  const path = await share.tree.name(node, name, hold);
  await share.calls.symlink(target, path);
  return made(share, call, path, name);
}

export async function readlink(share: Share, { node, hold }: Call): Promise<Answer> {
  if (node.type !== FileType.LINK) throw new Refusal(Errno.EINVAL);
  const path = await share.tree.lastPath(node, hold);
  const target = await share.calls.readlink(path);
  // What was read is the node's if the node is what is there: a link's target never changes.
  const stat = await share.calls.lstat(path);
  if (stat === undefined || !share.nodes.isSame(node, stat)) throw new Refusal(Errno.ESTALE);
  return target;
}

export async function link(share: Share, call: Call): Promise<Answer> {
  const { request, node, hold } = call;
  const name = request.arguments(8).name();
  const old = share.nodes.get(request.number(0));
  if (old.isDirectory) throw new Refusal(Errno.EPERM);
  const path = await share.tree.name(node, name, hold);
  await share.tree.stat(old, hold);
  await share.calls.link([await share.tree.lastPath(old, hold), path]);
  const stat = await share.calls.lstat(path);
  if (stat !== undefined && share.nodes.isSame(old, stat)) return known(share, stat, node, name);
  // Another file had taken the old name: that one was not meant.
  if (stat !== undefined) await share.calls.unlink(path);
  throw new Refusal(Errno.ESTALE);
}

export async function unlink(share: Share, { request, node, hold }: Call): Promise<Answer> {
  await share.calls.unlink(await share.tree.name(node, request.arguments(0).name(), hold));
  return EMPTY;
}
export async function rmdir(share: Share, { request, node, hold }: Call): Promise<Answer> {
  await share.calls.rmdir(await share.tree.name(node, request.arguments(0).name(), hold));
  return EMPTY;
}

export async function rename(share: Share, call: Call): Promise<Answer> {
  return renameWith(share, call, 8, 0);
}
export async function rename2(share: Share, call: Call): Promise<Answer> {
  return renameWith(share, call, 16, call.request.arguments(16).u32(8));
}
async function renameWith(share: Share, call: Call, argumentBytes: number, flags: number): Promise<Answer> {
  const { request, node, hold } = call;
  request.arguments(argumentBytes);
  const from = { parent: node, name: request.name() };
  const to = { parent: share.nodes.get(request.number(0)), name: request.name() };
  if ((flags & ~(Rename.NOREPLACE | Rename.EXCHANGE)) !== 0) throw new Refusal(Errno.EINVAL);
  const [fromFd, toFd] = [await share.tree.directory(from.parent, hold), await share.tree.directory(to.parent, hold)];
  const [fromPath, toPath] = [childPath(fromFd, from.name), childPath(toFd, to.name)];
  if (flags === 0) await share.calls.rename([fromPath, toPath]);
  else share.calls.renameWith([fromPath, toPath], flags);
  await seenAt(share, toPath, to);
  if (flags === Rename.EXCHANGE) await seenAt(share, fromPath, from);
  return EMPTY;
}
/** What is there now was somewhere else before. */
async function seenAt(share: Share, path: string, place: { parent: ShareNode; name: string }): Promise<void> {
  const stat = await share.calls.lstat(path);
  const moved = stat && share.nodes.find(stat);
  if (moved !== undefined) share.nodes.move(moved, place.parent, place.name);
}
