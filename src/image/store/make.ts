/* Makes an image's root disk, from layers or as a copy of another's, and puts it into the store. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { copyRaw } from "../../disk/merge.ts";
import { MOUNT_POINTS } from "../root/extra-entries.ts";
import { type RootImageLayer, buildRootImage } from "../root/root-image.ts";
import type { ImageOptions } from "./options.ts";
import { imagesDir, writingUnder } from "./places.ts";
import { type KeptDocuments, ROOT_DISK, putImage } from "./records.ts";
import type { ImageConfig, StoredImage } from "./stored-image.ts";
import { useImage } from "./use.ts";
import { inWorkDirectory } from "./work-directory.ts";

export interface NewImage {
  readonly id: string;
  readonly config: ImageConfig;
  /** Layers from the lowest to the highest, or the image that it begins as a copy of. */
  readonly content: readonly RootImageLayer[] | StoredImage;
  readonly documents?: KeptDocuments;
  /** Changes the root disk before it is put in place, or looks at it. @returns what its files take then */
  readonly finish?: (disk: string) => Promise<number>;
}

/** Makes the root disk, which takes a while, and puts the image into the store without a name. @throws ImageError, RootImageError, the signal's reason */
export async function makeImage(image: NewImage, options: ImageOptions = {}): Promise<void> {
  const parent = imagesDir(options);
  const { signal } = options;
  await writingUnder(parent, "XDG_DATA_HOME", () =>
    inWorkDirectory(parent, async (work) => {
      const result = join(work, "result");
      await mkdir(result);
      const disk = join(result, ROOT_DISK);
      const built = await makeDisk(image.content, disk, options);
      const usedBytes = (await image.finish?.(disk)) ?? built.usedBytes;
      signal?.throwIfAborted();
      const record = {
        id: image.id,
        sizeBytes: built.sizeBytes,
        usedBytes,
        createdAt: new Date().toISOString(),
        architecture: "amd64" as const,
        config: image.config,
      };
      await putImage(result, record, image.documents ?? {}, options);
    }),
  );
}

/** @returns what is known of the disk */
async function makeDisk(
  content: NewImage["content"],
  disk: string,
  { buildRoot = buildRootImage, signal }: ImageOptions,
): Promise<{ sizeBytes: number; usedBytes: number }> {
  // Mounts want their places, whatever the image has.
  if (!("rootDisk" in content)) return buildRoot({ layers: content, extra: MOUNT_POINTS, output: disk, signal });
  const release = await useImage(content, signal);
  try {
    await copyRaw(content.rootDisk, disk);
  } finally {
    release();
  }
  return content;
}
