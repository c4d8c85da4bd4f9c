/* ShareServer: a directory of the host as a FUSE file system for one guest. Answers every request, with an errno of Linux where it fails.
 * @source Linux include/uapi/linux/fuse.h. I/O thread only. Leaves out (ENOSYS): FLUSH, extended attributes, locks, LSEEK, IOCTL, BMAP, POLL, SYNCFS. */
import { constants } from "node:fs";
import { open as openFile, stat } from "node:fs/promises";
import { range, scatter } from "../device/virtio/buffers.ts";
import type { FuseServer } from "../device/virtio/fuse-server.ts";
import { access, getattr, setattr, statfs } from "./attribute-operations.ts";
import { type Descriptors, processDescriptors } from "./descriptors.ts";
import { fsyncdir, opendir, readdir, readdirplus, releasedir } from "./directory-operations.ts";
import { Errno, errnoOf, Refusal } from "./errno.ts";
import { copyFileRange, create, fallocate, fsync, open, read, release, write } from "./file-operations.ts";
import { answerInit } from "./fuse-init.ts";
import { OUT_HEADER_BYTES, Opcode } from "./fuse-protocol.ts";
import type { Owners } from "./fuse-reply.ts";
import { FuseRequest } from "./fuse-request.ts";
import { descriptorPath, HostCalls, isLocal, O_PATH, OVERLAYFS } from "./host-calls.ts";
import * as names from "./name-operations.ts";
import { NodeTable } from "./nodes.ts";
import { OpenFiles } from "./open-files.ts";
import { type Answer, EMPTY, type Operation, type Share } from "./share.ts";
import { ShareError } from "./share-error.ts";
import { Hold, ShareTree } from "./share-tree.ts";

const FORGET_ONE_BYTES = 16;
const READING: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [Opcode.LOOKUP, names.lookup],
  [Opcode.GETATTR, getattr],
  [Opcode.READLINK, names.readlink],
  [Opcode.OPEN, open],
  [Opcode.READ, read],
  [Opcode.STATFS, statfs],
  [Opcode.RELEASE, release],
  [Opcode.FSYNC, fsync],
  [Opcode.OPENDIR, opendir],
  [Opcode.READDIR, readdir],
  [Opcode.READDIRPLUS, readdirplus],
  [Opcode.RELEASEDIR, releasedir],
  [Opcode.FSYNCDIR, fsyncdir],
  [Opcode.ACCESS, access],
]);
const CHANGING: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [Opcode.SETATTR, setattr],
  [Opcode.SYMLINK, names.symlink],
  [Opcode.MKNOD, names.mknod],
  [Opcode.MKDIR, names.mkdir],
  [Opcode.UNLINK, names.unlink],
  [Opcode.RMDIR, names.rmdir],
  [Opcode.RENAME, names.rename],
  [Opcode.RENAME2, names.rename2],
  [Opcode.LINK, names.link],
  [Opcode.WRITE, write],
  [Opcode.CREATE, create],
  [Opcode.FALLOCATE, fallocate],
  [Opcode.COPY_FILE_RANGE, copyFileRange],
]);

export interface ShareOptions {
  /** All that changes something is refused. */
  readOnly?: boolean;
  /** Who files of this process's user and group belong to in the guest; root if absent. */
  owner?: { readonly uid: number; readonly gid: number };
  /** For tests: descriptors of its own instead of the process's. */
  descriptors?: Descriptors;
  /** For tests: are direct calls allowed, whatever the file system is? */
  direct?: boolean;
}

/** A shared directory, ready for FsDevice. The caller closes it after the machine has ended.
 *  @throws ShareError */
export async function openShare(directory: string, options: ShareOptions = {}): Promise<ShareServer> {
  const found = await stat(directory).catch((error: unknown) => {
    throw openError(directory, error);
  });
  if (!found.isDirectory())
    throw new ShareError("not-a-directory", `${directory} is not a directory: share the directory that it is in.`);
  const opened = await openFile(directory, O_PATH | constants.O_DIRECTORY).catch((error: unknown) => {
    throw openError(directory, error);
  });
  try {
    return await serverOf(directory, opened.fd, options);
  } finally {
    await opened.close();
  }
}
async function serverOf(directory: string, opened: number, options: ShareOptions): Promise<ShareServer> {
  const calls = new HostCalls(false);
  let fd = -1;
  try {
    // A descriptor of our own, that no FileHandle closes; and the first use of /proc.
    fd = await calls.open(descriptorPath(opened), O_PATH | constants.O_DIRECTORY);
    await calls.access(fd, constants.R_OK | constants.X_OK);
    const { type } = await calls.statfs(fd);
    const local = options.direct ?? isLocal(Number(type));
    return new ShareServer(fd, await calls.fstat(fd), new HostCalls(local), Number(type) !== OVERLAYFS, options);
  } catch (error) {
    if (fd >= 0) calls.closeNow(fd);
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      throw new ShareError(
        "no-proc",
        `${directory} cannot be shared because /proc is not mounted: mount it, for example with "mount -t proc proc /proc".`,
        error,
      );
    throw openError(directory, error);
  }
}
function openError(directory: string, error: unknown): ShareError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new ShareError(
      "missing",
      `${directory} does not exist: check the path, or make the directory first.`,
      error,
    );
  if (code === "EACCES" || code === "EPERM")
    return new ShareError(
      "not-accessible",
      `${directory} may not be read by this user: change its permissions.`,
      error,
    );
  return new ShareError("failed", `${directory} cannot be opened (${code}): check its file system.`, error);
}

export class ShareServer implements FuseServer {
  readonly #share: Share;
  #closed = false;
  #underWay = 0;
  #idle = Promise.withResolvers<void>();

  /** Use openShare(). @param rootFd O_PATH; the server owns it */
  constructor(
    rootFd: number,
    root: Awaited<ReturnType<HostCalls["fstat"]>>,
    calls: HostCalls,
    comparesBirth: boolean,
    options: ShareOptions,
  ) {
    const descriptors = options.descriptors ?? processDescriptors();
    const nodes = new NodeTable(root, comparesBirth, (node) => tree.dropped(node));
    const tree = new ShareTree(calls, nodes, descriptors, rootFd);
    const owners: Owners = {
      host: { uid: process.geteuid!(), gid: process.getegid!() },
      guest: options.owner ?? { uid: 0, gid: 0 },
    };
    const files = new OpenFiles(calls, descriptors);
    this.#share = { calls, nodes, tree, files, owners, readOnly: options.readOnly ?? false };
  }
  /** How many files and directories the guest knows now. */
  get knownNodes(): number {
    return this.#share.nodes.size;
  }

  async handle(parts: readonly Uint8Array[], reply: readonly Uint8Array[]): Promise<number> {
    const request = new FuseRequest(parts);
    if (!request.isWhole || this.#closed) return 0;
    this.#underWay++;
    try {
      return await this.#answer(request, reply);
    } finally {
      if (--this.#underWay === 0) this.#idle.resolve();
    }
  }
  async #answer(request: FuseRequest, reply: readonly Uint8Array[]): Promise<number> {
    if (this.#forgets(request) || request.opcode === Opcode.INTERRUPT) return 0;
    const replyBytes = reply.reduce((sum, part) => sum + part.length, 0);
    if (replyBytes < OUT_HEADER_BYTES) return 0;
    const header = Buffer.alloc(OUT_HEADER_BYTES);
    header.writeBigUInt64LE(request.unique, 8);
    let bytes = OUT_HEADER_BYTES;
    try {
      const room = range(reply, OUT_HEADER_BYTES, replyBytes);
      const answer = await this.#run(request, room, replyBytes - OUT_HEADER_BYTES);
      if (typeof answer !== "number" && scatter(room, answer) < answer.length) throw new Refusal(Errno.ERANGE);
      bytes += typeof answer === "number" ? answer : answer.length;
    } catch (error) {
      header.writeInt32LE(-errnoOf(error), 4);
    }
    header.writeUInt32LE(bytes, 0);
    scatter(reply, header);
    return bytes;
  }

  /** FORGET and BATCH_FORGET have no answer. @returns was it one of them */
  #forgets(request: FuseRequest): boolean {
    const { opcode } = request;
    const { nodes } = this.#share;
    if (opcode !== Opcode.FORGET && opcode !== Opcode.BATCH_FORGET) return false;
    // One that is too short forgets nothing.
    if (request.length < 48) return true;
    request.arguments(8);
    if (opcode === Opcode.FORGET) nodes.forget(request.nodeId, request.number(0));
    else {
      const count = Math.min(request.u32(0), request.countOf(FORGET_ONE_BYTES));
      for (let i = 0; i < count; i++)
        nodes.forget(request.number(8 + FORGET_ONE_BYTES * i), request.number(16 + FORGET_ONE_BYTES * i));
    }
    return true;
  }
  async #run(request: FuseRequest, room: readonly Uint8Array[], roomBytes: number): Promise<Answer> {
    const { opcode } = request;
    const share = this.#share;
    if (opcode === Opcode.INIT || opcode === Opcode.DESTROY) {
      // A driver that begins anew, or ends: what the one before knew is nothing to it.
      await this.#forgetAll();
      return opcode === Opcode.INIT ? answerInit(request) : EMPTY;
    }
    const operation = READING.get(opcode) ?? CHANGING.get(opcode);
    if (operation === undefined) throw new Refusal(Errno.ENOSYS);
    if (share.readOnly && CHANGING.has(opcode)) throw new Refusal(Errno.EROFS);
    const hold = new Hold(share.tree);
    try {
      return await operation(share, { request, node: share.nodes.get(request.nodeId), hold, room, roomBytes });
    } finally {
      hold.release();
    }
  }
  async #forgetAll(): Promise<void> {
    await this.#share.files.clear();
    this.#share.tree.clear();
  }

  /** Answers nothing any more, waits for what is under way, and closes all that is open. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#underWay > 0) {
      this.#idle = Promise.withResolvers<void>();
      await this.#idle.promise;
    }
    await this.#forgetAll();
    this.#share.tree.close();
  }
}
