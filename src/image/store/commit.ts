/* Images made of what is here already: of a finished root disk, and of an image with another configuration. */
import { createHash } from "node:crypto";
import { link, mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { ENXIO, libc } from "../../device/libc.ts";
import { ImageError } from "../image-error.ts";
import { parseReference } from "../oci/reference.ts";
import type { ImageOptions } from "./options.ts";
import { imagesDir, writingUnder } from "./places.ts";
import { type ImageRecord, ROOT_DISK, nameImage, putImage, readImage } from "./records.ts";
import type { ImageConfig, StoredImage } from "./stored-image.ts";
import { useImage } from "./use.ts";
import { inWorkDirectory } from "./work-directory.ts";

/** Superblock of ext4. @source Linux fs/ext4/ext4.h struct ext4_super_block
 *    0x400 + 0x04 blocks_count_lo   0x0c free_blocks_count_lo   0x18 log_block_size   0x38 magic (0xef53)
 *            0x60 feature_incompat  0x150 blocks_count_hi       0x158 free_blocks_count_hi */
const SUPERBLOCK = 0x400;
const MAGIC = 0xef53;
const INCOMPAT_64BIT = 0x80;

const CHUNK_BYTES = 1 << 20;
const ZEROES = Buffer.alloc(CHUNK_BYTES);

export interface Commit {
  /** What it was made from. */
  readonly base?: StoredImage;
  readonly config: ImageConfig;
  readonly name: string;
  /** Writes its root disk, a raw ext4 file that nobody writes to afterwards, to a new file. */
  readonly writeDisk: (path: string) => Promise<void>;
}

/** Puts a root disk into the store as an image. The same bytes are the same image.
 *  @throws ImageError "bad-reference" if `name` is no name for an image of one's own, "damaged-image" if the disk is no ext4 file system; what writing throws */
export async function commitImage(commit: Commit, options: ImageOptions = {}): Promise<StoredImage> {
  const name = ownName(commit.name);
  const { signal } = options;
  const parent = imagesDir(options);
  return writingUnder(parent, "XDG_DATA_HOME", () =>
    inWorkDirectory(parent, async (work) => {
      const result = join(work, "result");
      await mkdir(result);
      const disk = join(result, ROOT_DISK);
      await commit.writeDisk(disk);
      const usedBytes = await usedBytesOf(disk);
      const id = digestOf({ base: commit.base?.id, config: commit.config, disk: await diskDigest(disk, signal) });
      await putImage(result, record(id, (await stat(disk)).size, usedBytes, commit.config), {}, options);
      return nameImage(id, name, options);
    }),
  );
}

/** An image with another configuration and the same root disk, which takes no more room. @throws as commitImage */
export async function deriveImage(
  derive: { base: StoredImage; config: ImageConfig; name: string },
  options: ImageOptions = {},
): Promise<StoredImage> {
  const name = ownName(derive.name);
  const { base, config } = derive;
  const parent = imagesDir(options);
  const id = digestOf({ base: base.id, config });
  // In use, the base cannot be removed before its disk has its second name.
  const release = await useImage(base, options.signal);
  try {
    return await writingUnder(parent, "XDG_DATA_HOME", () =>
      inWorkDirectory(parent, async (work) => {
        if ((await readImage(id, options)) === undefined) {
          const result = join(work, "result");
          await mkdir(result);
          await link(base.rootDisk, join(result, ROOT_DISK));
          await putImage(result, record(id, base.sizeBytes, base.usedBytes, config), {}, options);
        }
        return nameImage(id, name, options);
      }),
    );
  } finally {
    release();
  }
}

/** A name for an image of one's own. @throws ImageError "bad-reference" */
export function ownName(text: string): string {
  const reference = parseReference(text);
  if (reference.kind === "debian" || reference.digest !== "")
    throw new ImageError(
      "bad-reference",
      `${JSON.stringify(text)} cannot be given to an image: ${reference.kind === "debian" ? "debian means the image made of Debian's packages" : "a digest follows from what is in it"}; choose another name, as in web:1.`,
    );
  return reference.name;
}

function record(id: string, sizeBytes: number, usedBytes: number, config: ImageConfig): ImageRecord {
  return { id, sizeBytes, usedBytes, createdAt: new Date().toISOString(), architecture: "amd64", config };
}

/** Digest of a value that JSON can hold. */
export function digestOf(value: unknown): string {
  return `sha256:${createHash("sha256").update(JSON.stringify(value)).digest("hex")}`;
}

/** Of what a disk holds, and where. Most of it is holes, which cost nothing. */
async function diskDigest(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      signal?.throwIfAborted();
      const data = libc()?.seekData(file.fd, at) ?? at;
      if (data === -ENXIO) break;
      // Whole chunks, so that it does not matter which of the zeroes are holes.
      at = Math.max(at, data - (data % CHUNK_BYTES));
      const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, at);
      const bytes = chunk.subarray(0, bytesRead);
      if (!bytes.equals(ZEROES.subarray(0, bytesRead))) hash.update(`${at}\n`).update(bytes);
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

/** What the files of an ext4 file system take, as its superblock tells. @throws ImageError "not-found", "damaged-image" */
export async function usedBytesOf(disk: string): Promise<number> {
  const block = Buffer.alloc(1024);
  const file = await open(disk, "r").catch((error: NodeJS.ErrnoException) => {
    throw new ImageError(
      "not-found",
      `The disk ${disk} cannot be read (${error.code ?? error.message}); check the path.`,
      {
        cause: error,
      },
    );
  });
  try {
    const { bytesRead } = await file.read(block, 0, block.length, SUPERBLOCK);
    if (bytesRead < block.length || block.readUInt16LE(0x38) !== MAGIC)
      throw new ImageError(
        "damaged-image",
        `The disk ${disk} is no ext4 file system; give a root disk of a VM of Mere's.`,
      );
  } finally {
    await file.close();
  }
  const has64 = (block.readUInt32LE(0x60) & INCOMPAT_64BIT) !== 0;
  const count = (low: number, high: number): number =>
    block.readUInt32LE(low) + (has64 ? block.readUInt32LE(high) * 2 ** 32 : 0);
  const blocks = count(0x04, 0x150) - count(0x0c, 0x158);
  return Math.max(0, blocks) * 1024 * 2 ** Math.min(block.readUInt32LE(0x18), 6);
}
