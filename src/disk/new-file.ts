/* New files that get their name when they are whole and on the disk. I/O thread. */
import { constants } from "node:fs";
import { type FileHandle, link, open, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { createError, DiskError } from "./disk-error.ts";
import { lock } from "./lock.ts";

/** Makes a file. Until it is whole it is called `path`.new, and locked; one that a killed process left is taken over.
 *  @param fill writes it, and may not close it  @throws DiskError exists, no-space, … with nothing left behind */
export async function createWhole(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const work = `${path}.new`;
  try {
    const file = await openWork(work);
    try {
      await file.truncate(0);
      await fill(file);
      await file.sync();
      // Unlike a rename it takes nobody's name away.
      await link(work, path);
    } finally {
      await unlink(work);
      await file.close();
    }
    await syncDirectory(dirname(path));
  } catch (error) {
    throw createError(path, error);
  }
}

async function openWork(work: string): Promise<FileHandle> {
  for (;;) {
    const file = await open(work, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      lock(file.fd, "exclusive", work);
      // Who held the lock before has removed its file: then this is a file without a name.
      const named = await stat(work).catch(() => undefined);
      if (named?.ino === (await file.stat()).ino) return file;
      await file.close();
    } catch (error) {
      await file.close();
      if (error instanceof DiskError && error.code === "in-use")
        throw new DiskError(
          "in-use",
          `${work} is being made by another process: wait for it, or choose another name.`,
          error,
        );
      throw error;
    }
  }
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
