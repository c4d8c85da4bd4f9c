/* Makes an image's root disk from layers and puts it into the store. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { MOUNT_POINTS } from "../root/extra-entries.ts";
import { type RootImageLayer, buildRootImage } from "../root/root-image.ts";
import type { ImageOptions } from "./options.ts";
import { imagesDir, writingUnder } from "./places.ts";
import { type KeptDocuments, ROOT_DISK, putImage } from "./records.ts";
import type { ImageConfig } from "./stored-image.ts";
import { inWorkDirectory } from "./work-directory.ts";

export interface NewImage {
  readonly id: string;
  readonly config: ImageConfig;
  /** From the lowest to the highest. */
  readonly layers: readonly RootImageLayer[];
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
      const build = options.buildRoot ?? buildRootImage;
      // Mounts want their places, whatever the image has.
      const built = await build({ layers: image.layers, extra: MOUNT_POINTS, output: disk, signal });
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
