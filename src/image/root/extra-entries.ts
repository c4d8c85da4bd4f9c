/* Entries that Mere puts over an image's layers: directories for its mounts, files with its settings. */
import { createHash } from "node:crypto";
import { NO_XATTRS } from "../ext4/nodes.ts";
import type { LayerTree } from "./layer-tree.ts";
import type { Segment, TarSink, TarType } from "./tar-reader.ts";

interface Owned {
  /** From the root on. Directories above it are made if need be. */
  readonly path: string;
  /** 12 bits; 0755 for directories, 0644 for files. */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/** Files and links replace what is there; a directory that is there, also behind a link, stays as it is. */
export type ExtraEntry =
  | (Owned & { readonly type: "directory" })
  | (Owned & { readonly type: "file"; readonly data: Uint8Array | string })
  | (Owned & { readonly type: "symlink"; readonly target: string });

/** What every Linux expects to mount something on. */
export const MOUNT_POINTS: readonly ExtraEntry[] = [
  ...["proc", "sys", "dev", "run"].map((path) => ({ type: "directory" as const, path })),
  { type: "directory", path: "tmp", mode: 0o1777 },
];

/** @throws TarError "refused" */
export function addExtras(
  merge: TarSink & { readonly tree: LayerTree; end(): void },
  extras: readonly ExtraEntry[],
): void {
  merge.tree.beginLayer();
  for (const extra of extras) {
    const path = toBytes(extra.path);
    if (extra.type === "directory" && merge.tree.hasDirectory(path)) continue;
    const data = extra.type === "file" ? Buffer.from(extra.data as string) : Buffer.alloc(0);
    const segments: Segment[] = data.length === 0 ? [] : [{ offset: 0, length: data.length }];
    merge.entry({
      type: extra.type satisfies TarType,
      path,
      linkPath: extra.type === "symlink" ? toBytes(extra.target) : "",
      mode: (extra.mode ?? (extra.type === "directory" ? 0o755 : 0o644)) & 0o7777,
      uid: extra.uid ?? 0,
      gid: extra.gid ?? 0,
      mtimeSeconds: 0,
      mtimeNanos: 0,
      xattrs: NO_XATTRS,
      major: 0,
      minor: 0,
      sizeBytes: data.length,
      segments,
    });
    if (data.length > 0) merge.data(data, 0);
  }
  merge.end();
}

/** All that an image depends on, for its identity. */
export function describeExtras(extras: readonly ExtraEntry[]): unknown[] {
  return extras.map((extra) => [
    extra.type,
    extra.path,
    extra.mode ?? null,
    extra.uid ?? 0,
    extra.gid ?? 0,
    extra.type === "file" ? createHash("sha256").update(extra.data).digest("hex") : null,
    extra.type === "symlink" ? extra.target : null,
  ]);
}

const toBytes = (text: string): string => Buffer.from(text).toString("latin1");
