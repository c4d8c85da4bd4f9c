/* What the operations of a share work with, and what each of them is. I/O thread only. */
import type { BigIntStats } from "node:fs";
import type { Owners } from "./fuse-reply.ts";
import type { FuseRequest } from "./fuse-request.ts";
import type { HostCalls } from "./host-calls.ts";
import type { NodeTable, ShareNode } from "./nodes.ts";
import type { OpenFiles } from "./open-files.ts";
import type { Hold, ShareTree } from "./share-tree.ts";

export interface Share {
  readonly calls: HostCalls;
  readonly nodes: NodeTable;
  readonly tree: ShareTree;
  readonly files: OpenFiles;
  readonly owners: Owners;
  readonly readOnly: boolean;
}
/** One request under way. */
export interface Call {
  readonly request: FuseRequest;
  /** The node that the request is about. */
  readonly node: ShareNode;
  /** Released when the request ends. */
  readonly hold: Hold;
  /** Where data of the reply go, after its header. */
  readonly room: readonly Uint8Array[];
  readonly roomBytes: number;
}
/** What follows the reply's header, or how many bytes of `room` it has filled. */
export type Answer = Uint8Array | number;
export type Operation = (share: Share, call: Call) => Promise<Answer>;

export const EMPTY: Uint8Array = new Uint8Array(0);

/** Attributes of a node: of the file that is open, if one is, wherever its name went. @throws Refusal ESTALE */
export async function attributes(share: Share, node: ShareNode, hold: Hold): Promise<BigIntStats> {
  if (node.opened === undefined) return share.tree.stat(node, hold);
  return share.files.withOpen(node.opened, async ({ fd }) => share.calls.fstat(fd));
}
