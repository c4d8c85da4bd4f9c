/* Removal of images: never one that is used, and never half. */
import { rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ImageError } from "../image-error.ts";
import { isLock, tryLock } from "./file-lock.ts";
import type { StorePlaces } from "./options.ts";
import { imagesDir, writingUnder } from "./places.ts";
import { IMAGE_LOCK, forgetName } from "./records.ts";
import type { StoredImage } from "./stored-image.ts";
import { holdersOf } from "./use.ts";
import { inWorkDirectory } from "./work-directory.ts";

/** Takes an image out of the store with all its names. @throws ImageError "in-use", "not-found" if another process was faster */
export async function removeStored(image: StoredImage, places: StorePlaces = {}): Promise<void> {
  const parent = imagesDir(places);
  const directory = dirname(image.rootDisk);
  const shown = image.names[0] ?? image.id;
  await writingUnder(parent, "XDG_DATA_HOME", async () => {
    const lock = tryLock(join(directory, IMAGE_LOCK), "exclusive");
    if (lock === "missing")
      throw new ImageError("not-found", `The image ${shown} is gone already; see 'mere image list'.`);
    if (!isLock(lock)) {
      const who = lock.pid === undefined ? "a running VM" : `the VM of process ${lock.pid}`;
      throw new ImageError("in-use", `The image ${shown} is used by ${who}; stop it, then remove the image.`);
    }
    try {
      const [holder] = await holdersOf(directory);
      if (holder !== undefined)
        throw new ImageError(
          "in-use",
          `The image ${shown} is the root of a VM that is stopped (${holder}); remove the VM, then the image.`,
        );
      for (const name of image.names) await forgetName(name, places);
      // Renamed while nobody can get the lock: an image is there whole or not at all.
      await inWorkDirectory(parent, (work) => rename(directory, join(work, "removed")));
    } finally {
      lock.release();
    }
  });
}
