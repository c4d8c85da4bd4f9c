/* Who uses an image: running VMs hold its lock, VMs that are stopped and may start again name their directory. Both keep it from being removed. */
import { createHash } from "node:crypto";
import { access, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ImageError } from "../image-error.ts";
import { type FileLock, waitForLock } from "./file-lock.ts";
import { IMAGE_LOCK } from "./records.ts";
import type { StoredImage } from "./stored-image.ts";

const HOLDS = "holds";

/** Keeps an image from being removed until it is released or the process ends, however that comes.
 *  @returns what releases it @throws ImageError "not-found" if it was removed */
export async function useImage(image: StoredImage, signal?: AbortSignal): Promise<() => void> {
  const lock = await lockImage(image, signal);
  return () => lock.release();
}

/** Keeps an image from being removed as long as `path` exists, also when no process uses it. @throws ImageError "not-found" */
export async function holdImage(image: StoredImage, path: string): Promise<void> {
  const lock = await lockImage(image);
  try {
    const directory = join(dirname(image.rootDisk), HOLDS);
    await mkdir(directory, { recursive: true });
    const holder = resolve(path);
    await writeFile(join(directory, createHash("sha256").update(holder).digest("hex")), holder);
  } finally {
    lock.release();
  }
}

/** Paths that exist and hold the image whose directory this is; the others are forgotten. Called with its lock held exclusively. */
export async function holdersOf(imageDirectory: string): Promise<string[]> {
  const directory = join(imageDirectory, HOLDS);
  const holders: string[] = [];
  for (const file of await readdir(directory).catch(() => [])) {
    const holder = await readFile(join(directory, file), "utf8").catch(() => "");
    const exists = await access(holder).then(
      () => true,
      () => false,
    );
    if (exists) holders.push(holder);
    else await rm(join(directory, file), { force: true });
  }
  return holders;
}

async function lockImage(image: StoredImage, signal?: AbortSignal): Promise<FileLock> {
  const lock = await waitForLock(join(dirname(image.rootDisk), IMAGE_LOCK), "shared", signal);
  if (lock !== undefined) return lock;
  throw new ImageError(
    "not-found",
    `The image ${image.names[0] ?? image.id} has been removed; get it again with 'mere image pull'.`,
  );
}
