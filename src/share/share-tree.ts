/* ShareTree: how nodes are reached. The only place that makes descriptors and paths of them, and so the one that keeps a guest inside the shared directory.
 * A directory is an O_PATH descriptor that was reached from the root, each step compared with the node; a name is one component below such a descriptor, and is not
 * followed; a file is an O_PATH descriptor that was compared likewise. I/O thread only. @source docs/shares.md, path_resolution(7), proc(5) */
import { type BigIntStats, constants } from "node:fs";
import type { Descriptors } from "./descriptors.ts";
import { Errno, Refusal } from "./errno.ts";
import { childPath, type HostCalls, O_PATH } from "./host-calls.ts";
import type { NodeTable, ShareNode } from "./nodes.ts";

/** A descriptor is trusted for so long, then the way to it is compared again. */
const TRUSTED_MS = 1000;
/** Deeper than any path that a program can name. */
const DEEPEST = 2048;

/** What one request holds: directories that must stay open until it ends, and descriptors of its own. */
export class Hold {
  readonly #tree: ShareTree;
  readonly #pinned: ShareNode[] = [];
  readonly #own: number[] = [];

  constructor(tree: ShareTree) {
    this.#tree = tree;
  }
  pin(node: ShareNode): void {
    node.pins++;
    this.#pinned.push(node);
  }
  /** A pin that is not needed any more. */
  unpin(node: ShareNode): void {
    this.#pinned.splice(this.#pinned.lastIndexOf(node), 1);
    this.#unpinned(node);
  }
  #unpinned(node: ShareNode): void {
    if (--node.pins === 0 && node.gone) this.#tree.dropped(node);
  }
  own(fd: number): number {
    this.#own.push(fd);
    return fd;
  }
  release(): void {
    for (const node of this.#pinned) this.#unpinned(node);
    for (const fd of this.#own) this.#tree.calls.closeNow(fd);
  }
}

export class ShareTree {
  readonly calls: HostCalls;
  readonly nodes: NodeTable;
  readonly #descriptors: Descriptors;
  /** Directories of this share whose descriptor was opened once and may still be. */
  readonly #held = new Set<ShareNode>();

  /** @param rootFd of the shared directory, O_PATH; the tree owns it */
  constructor(calls: HostCalls, nodes: NodeTable, descriptors: Descriptors, rootFd: number) {
    this.calls = calls;
    this.nodes = nodes;
    this.#descriptors = descriptors;
    nodes.root.fd = rootFd;
    nodes.root.pins = 1;
  }

  /** A directory's descriptor, good until `hold` is released. @throws Refusal ENOTDIR, ESTALE */
  async directory(node: ShareNode, hold: Hold): Promise<number> {
    if (!node.isDirectory) throw new Refusal(Errno.ENOTDIR);
    const { root } = this.nodes;
    const now = performance.now();
    const way: ShareNode[] = [];
    let top = node;
    while (top !== root && !(top.fd >= 0 && now - top.verifiedMs < TRUSTED_MS)) {
      way.push(top);
      if (top.parent === undefined || way.length > DEEPEST) throw new Refusal(Errno.ESTALE);
      top = top.parent;
    }
    const verifiedMs = top === root ? now : top.verifiedMs;
    hold.pin(top);
    if (top !== root) this.#descriptors.use(top);
    for (const next of way.toReversed()) {
      await this.#step(top, next, hold);
      next.verifiedMs = verifiedMs;
      hold.unpin(top);
      top = next;
    }
    return top.fd;
  }
  /** From an open directory to one in it, which is pinned then. */
  async #step(from: ShareNode, to: ShareNode, hold: Hold): Promise<void> {
    const path = childPath(from.fd, to.name);
    if (to.fd >= 0) {
      hold.pin(to);
      const stat = await this.calls.lstat(path);
      if (stat === undefined || !this.nodes.isSame(to, stat)) throw new Refusal(Errno.ESTALE);
    } else {
      const fd = await this.#openPath(path, to);
      // Another request may have done the same meanwhile.
      if (to.fd >= 0) this.calls.closeNow(fd);
      else {
        to.fd = fd;
        this.#held.add(to);
      }
      hold.pin(to);
    }
    this.#descriptors.use(to);
  }
  /** An O_PATH descriptor of the node, which the caller owns. */
  async #openPath(path: string, node: ShareNode): Promise<number> {
    const fd = await staleIfGone(() => this.calls.open(path, O_PATH | constants.O_NOFOLLOW));
    try {
      if (!this.nodes.isSame(node, await this.calls.fstat(fd))) throw new Refusal(Errno.ESTALE);
      return fd;
    } catch (error) {
      this.calls.closeNow(fd);
      throw error;
    }
  }

  /** A name in a directory, for calls that do not follow it. Good until `hold` is released. @throws Refusal ENOTDIR, ESTALE */
  async name(parent: ShareNode, name: string, hold: Hold): Promise<string> {
    return childPath(await this.directory(parent, hold), name);
  }
  /** Where a node that is not the root was last: it need not be there any more. @throws Refusal ESTALE */
  async lastPath(node: ShareNode, hold: Hold): Promise<string> {
    const { parent, name } = node;
    if (parent === undefined) throw new Refusal(Errno.ESTALE);
    return this.name(parent, name, hold);
  }
  /** An O_PATH descriptor of any node, good until `hold` is released. @throws Refusal ESTALE */
  async descriptor(node: ShareNode, hold: Hold): Promise<number> {
    if (node.isDirectory) return this.directory(node, hold);
    return hold.own(await this.#openPath(await this.lastPath(node, hold), node));
  }
  /** A node's attributes. @throws Refusal ESTALE */
  async stat(node: ShareNode, hold: Hold): Promise<BigIntStats> {
    if (node === this.nodes.root) return this.calls.fstat(node.fd);
    const stat = await this.calls.lstat(await this.lastPath(node, hold));
    if (stat === undefined || !this.nodes.isSame(node, stat)) throw new Refusal(Errno.ESTALE);
    return stat;
  }

  /** The guest has forgotten a node. */
  dropped(node: ShareNode): void {
    if (node === this.nodes.root) return;
    this.#descriptors.drop(node);
    if (node.fd < 0) this.#held.delete(node);
  }
  /** Closes all but the root, and what requests that are under way have pinned, which goes with them. */
  clear(): void {
    this.nodes.clear();
    for (const node of this.#held) this.dropped(node);
  }
  /** Closes the root too. No request may be under way. */
  close(): void {
    this.clear();
    this.calls.closeNow(this.nodes.root.fd);
  }
}

/** What was there is gone, or is something else on whose way one cannot go on: the guest is to look again. */
async function staleIfGone<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") throw new Refusal(Errno.ESTALE);
    throw error;
  }
}
