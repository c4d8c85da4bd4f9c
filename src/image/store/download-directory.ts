/* Directories for what is downloaded on the way to an image: one for each image, locked by who is at it. What a killed process left there is gone on with;
 * what nobody went on with for a week is removed. */
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type FileLock, isLock, tryLock, waitForLock } from "./file-lock.ts";
import type { ImageOptions } from "./options.ts";
import { downloadsDir, writingUnder } from "./places.ts";

const ABANDONED_MS = 7 * 24 * 3600 * 1000;
const LOCK = "lock";
/** What was downloaded would only fill the disk further. */
const NO_SPACE = new Set<unknown>(["ENOSPC", "EDQUOT", "no-space"]);

/** Runs `body` with the download directory of an image, alone: who comes second waits. The directory goes when the body has succeeded and stays when it
 *  failed, unless the disk is full or `keeps` says that there is nothing in it to go on with. @param name a file name */
export async function inDownloadDirectory<T>(
  name: string,
  options: ImageOptions,
  body: (directory: string) => Promise<T>,
  keeps: (error: unknown) => boolean = () => true,
): Promise<T> {
  const parent = downloadsDir(options);
  return writingUnder(parent, "XDG_CACHE_HOME", async () => {
    await mkdir(parent, { recursive: true });
    await removeAbandoned(parent);
    const directory = join(parent, name);
    const lock = await lockDirectory(directory, options);
    try {
      const result = await body(directory);
      await rm(directory, { recursive: true, force: true });
      return result;
    } catch (error) {
      if (NO_SPACE.has((error as { code?: unknown }).code) || !keeps(error))
        await rm(directory, { recursive: true, force: true });
      throw error;
    } finally {
      lock.release();
    }
  });
}

async function lockDirectory(directory: string, { signal, onProgress }: ImageOptions): Promise<FileLock> {
  for (;;) {
    await mkdir(directory, { recursive: true });
    const atOnce = tryLock(join(directory, LOCK), "exclusive");
    if (isLock(atOnce)) return atOnce;
    if (atOnce !== "missing") onProgress?.("wait", 0, 0);
    const lock = await waitForLock(join(directory, LOCK), "exclusive", signal);
    // Whoever had it before may have removed the directory with the lock.
    if (lock !== undefined) return lock;
  }
}

async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const directory = join(parent, name);
    if (Date.now() - (await newestChange(directory)) < ABANDONED_MS) continue;
    const lock = tryLock(join(directory, LOCK), "exclusive");
    if (!isLock(lock)) continue;
    await rm(directory, { recursive: true, force: true });
    lock.release();
  }
}

async function newestChange(directory: string): Promise<number> {
  let newest = 0;
  for (const name of [".", ...(await readdir(directory).catch(() => []))])
    newest = Math.max(newest, (await stat(join(directory, name)).catch(() => undefined))?.mtimeMs ?? 0);
  return newest;
}
