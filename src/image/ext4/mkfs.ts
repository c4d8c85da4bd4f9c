/* An empty ext4 file system, as mke2fs makes it: for new disks. */
import { randomBytes } from "node:crypto";
import { Ext4Writer, type Ext4Summary } from "./ext4-writer.ts";
import { Ext4Error } from "./ext4-error.ts";
import { withNewFile } from "./new-file.ts";
import { Directory, NO_XATTRS } from "./nodes.ts";

const LABEL_BYTES = 16;

export interface MkfsOptions {
  /** At most 16 bytes of UTF-8. */
  readonly label?: string | undefined;
  /** 16 bytes; without it a random one (version 4). */
  readonly uuid?: Uint8Array | undefined;
}

/** Makes a file with an empty file system, whose root belongs to root and has `lost+found`. Takes a few blocks on the disk whatever the size.
 *  @param path is replaced if it is there @throws Ext4Error */
export async function mkfsExt4(path: string, sizeBytes: number, options: MkfsOptions = {}): Promise<Ext4Summary> {
  checkLabel(options.label);
  const now = Date.now();
  const attributes = (mode: number) => ({
    mode,
    uid: 0,
    gid: 0,
    mtimeSeconds: Math.floor(now / 1000),
    mtimeNanos: (now % 1000) * 1e6,
    xattrs: NO_XATTRS,
  });
  const root = new Directory(attributes(0o755));
  root.entries.set("lost+found", { inode: new Directory(attributes(0o700)), layer: 0 });
  return withNewFile(path, async (file) => {
    const writer = new Ext4Writer(file, path, { sizeBytes, limitBytes: sizeBytes });
    try {
      return await writer.finish(root, { uuid: options.uuid ?? randomUuid(), label: options.label });
    } finally {
      await writer.settle();
    }
  });
}

/** @throws Ext4Error "too-many" */
export function checkLabel(label = ""): void {
  if (Buffer.byteLength(label) > LABEL_BYTES)
    throw new Ext4Error("too-many", `The label "${label}" is longer than ${LABEL_BYTES} bytes: give a shorter one.`);
}

function randomUuid(): Uint8Array {
  return asUuid(randomBytes(16), 4);
}

/** Makes 16 bytes a UUID of a version. @source RFC 9562 §4 */
export function asUuid(bytes: Uint8Array, version: number): Uint8Array {
  const uuid = Uint8Array.from(bytes.subarray(0, 16));
  uuid[6] = (uuid[6]! & 0x0f) | (version << 4);
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}
