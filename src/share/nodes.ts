/* NodeTable: what the guest knows of the share's files: node IDs, which files they mean, and where those were seen last. A node lives until the guest has forgotten it and
 * no node below it lives. I/O thread only. @source docs/shares.md */
import type { BigIntStats } from "node:fs";
import type { Holder } from "./descriptors.ts";
import { Errno, Refusal } from "./errno.ts";
import { FUSE_ROOT_ID } from "./fuse-protocol.ts";
import type { OpenFile } from "./open-files.ts";

/** About 400 MB of the host's memory: a guest that knows so many files at a time has as much for them itself. */
const MOST_NODES = 1 << 20;
const S_IFMT = 0o170000n;

export const FileType = { FIFO: 0o010000, DIRECTORY: 0o040000, REGULAR: 0o100000, LINK: 0o120000, SOCKET: 0o140000 };

/** What a regular file was when it was opened last. */
export interface SeenState {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

export class ShareNode implements Holder {
  readonly id: number;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly birthtimeNs: bigint;
  /** S_IFMT bits of the mode. */
  readonly type: number;
  /** undefined: the root, or a node that was nowhere yet. */
  parent: ShareNode | undefined;
  /** One component, each character a byte. */
  name = "";
  /** An O_PATH descriptor; directories only. */
  fd = -1;
  pins = 0;
  /** The way to it was compared at this time (performance.now()). */
  verifiedMs = -Infinity;
  /** References that the guest holds. */
  lookups = 0;
  /** Not in the table any more. */
  gone = false;
  /** Nodes whose parent it is. */
  children = 0;
  /** One of the files opened from it, if any is open. */
  opened: OpenFile | undefined;
  seen: SeenState | undefined;

  constructor(id: number, stat: BigIntStats) {
    this.id = id;
    this.dev = stat.dev;
    this.ino = stat.ino;
    this.birthtimeNs = stat.birthtimeNs;
    this.type = typeOf(stat);
  }
  get isDirectory(): boolean {
    return this.type === FileType.DIRECTORY;
  }
}
export const typeOf = (stat: BigIntStats): number => Number(stat.mode & S_IFMT);

export class NodeTable {
  readonly root: ShareNode;
  readonly #byId = new Map<number, ShareNode>();
  readonly #byFile = new Map<string, ShareNode>();
  readonly #comparesBirth: boolean;
  readonly #dropped: (node: ShareNode) => void;
  readonly #most: number;
  #nextId = FUSE_ROOT_ID + 1;

  /** @param root what the root is  @param comparesBirth is a file's time of birth one thing for ever: overlayfs changes it at the first write
   *  @param dropped called with each node that is gone  @param most nodes at a time */
  constructor(
    root: BigIntStats,
    comparesBirth: boolean,
    dropped: (node: ShareNode) => void = () => {},
    most = MOST_NODES,
  ) {
    this.#comparesBirth = comparesBirth;
    this.#dropped = dropped;
    this.#most = most;
    this.root = new ShareNode(FUSE_ROOT_ID, root);
    this.#byId.set(FUSE_ROOT_ID, this.root);
    this.#byFile.set(fileKey(root), this.root);
  }
  get size(): number {
    return this.#byId.size;
  }
  /** @throws Refusal ESTALE: the guest has forgotten it, or made it up */
  get(id: number): ShareNode {
    const node = this.#byId.get(id);
    if (node === undefined) throw new Refusal(Errno.ESTALE);
    return node;
  }
  /** The node of a file, if the guest knows it. */
  find(stat: BigIntStats): ShareNode | undefined {
    const node = this.#byFile.get(fileKey(stat));
    return node && this.isSame(node, stat) ? node : undefined;
  }
  /** Is this the node's file, still? */
  isSame(node: ShareNode, stat: BigIntStats): boolean {
    return (
      node.ino === stat.ino &&
      node.dev === stat.dev &&
      node.type === typeOf(stat) &&
      (!this.#comparesBirth || node.birthtimeNs === stat.birthtimeNs)
    );
  }

  /** The guest gets to know a file under a name. @returns its node, with one more reference @throws Refusal ENFILE */
  know(stat: BigIntStats, parent: ShareNode, name: string): ShareNode {
    let node = this.find(stat);
    if (node === undefined) {
      if (this.#byId.size >= this.#most) throw new Refusal(Errno.ENFILE);
      node = new ShareNode(this.#nextId++, stat);
      this.#byId.set(node.id, node);
      // Another file that had this inode number before keeps its own node, by its ID.
      this.#byFile.set(fileKey(stat), node);
    }
    node.lookups++;
    this.move(node, parent, name);
    return node;
  }
  /** A node was seen somewhere. */
  move(node: ShareNode, parent: ShareNode, name: string): void {
    if (node === this.root || (node.parent === parent && node.name === name)) return;
    const before = node.parent;
    if (node.children > 0) this.#cutAbove(node, parent);
    parent.children++;
    node.parent = parent;
    node.name = name;
    node.verifiedMs = -Infinity;
    if (before !== undefined) this.#leave(before);
  }
  /** A directory was seen below one that was last seen below it: where that one is now, nobody knows. */
  #cutAbove(node: ShareNode, below: ShareNode): void {
    for (let n = below; n.parent !== undefined; n = n.parent) {
      if (n.parent !== node) continue;
      n.parent = undefined;
      node.children--;
      return;
    }
  }
  #leave(parent: ShareNode): void {
    parent.children--;
    this.#dropIfUnknown(parent);
  }
  /** The guest gives references back; more than it has are as many as it has. */
  forget(id: number, count: number): void {
    const node = this.#byId.get(id);
    if (node === undefined || node === this.root) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.#dropIfUnknown(node);
  }
  #dropIfUnknown(start: ShareNode): void {
    for (let node: ShareNode | undefined = start; node !== undefined;) {
      if (node === this.root || node.lookups > 0 || node.children > 0 || !this.#byId.delete(node.id)) return;
      const key = `${node.dev}:${node.ino}`;
      if (this.#byFile.get(key) === node) this.#byFile.delete(key);
      node.gone = true;
      this.#dropped(node);
      const parent: ShareNode | undefined = node.parent;
      node.parent = undefined;
      if (parent !== undefined) parent.children--;
      node = parent;
    }
  }
  /** All but the root are forgotten. */
  clear(): void {
    const all = [...this.#byId.values()].filter((node) => node !== this.root);
    for (const node of all) {
      node.gone = true;
      this.#dropped(node);
    }
    this.#byId.clear();
    this.#byFile.clear();
    this.root.children = 0;
    this.#byId.set(FUSE_ROOT_ID, this.root);
    this.#byFile.set(`${this.root.dev}:${this.root.ino}`, this.root);
  }
}
const fileKey = (stat: BigIntStats): string => `${stat.dev}:${stat.ino}`;
