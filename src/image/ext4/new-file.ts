/* A file that appears under its name when it is whole, or not at all. I/O thread. */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { writeError } from "./image-writer.ts";

/** Runs `fill` on a new file in the folder of `path`, then gives it that name. What is there under it is replaced.
 *  @param fill must have written to the disk and have ended all its writes when it returns or throws @throws Ext4Error, and what `fill` throws */
export async function withNewFile<T>(path: string, fill: (file: FileHandle) => Promise<T>): Promise<T> {
  const temporary = join(dirname(path), `.${basename(path).slice(0, 200)}.${randomBytes(6).toString("hex")}.partial`);
  const file = await open(temporary, "wx", 0o644).catch((error: unknown) => {
    throw writeError(path, error);
  });
  try {
    let result: T;
    try {
      result = await fill(file);
    } finally {
      await file.close();
    }
    await rename(temporary, path).catch((error: unknown) => {
      throw writeError(path, error);
    });
    await syncFolder(dirname(path));
    return result;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Only then the name survives a crash. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
