/* Directories for work that becomes something with a name only at its end. Each holds a lock while its process lives: what a killed process left is known
 * by its free lock, and goes with the next work beside it. */
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isLock, tryLock } from "./file-lock.ts";

const PREFIX = ".work-";
const LOCK = "lock";

/** Runs `body` with a new directory in `parent`, which goes away afterwards however it ends. */
export async function inWorkDirectory<T>(parent: string, body: (work: string) => Promise<T>): Promise<T> {
  await mkdir(parent, { recursive: true });
  await removeDeadWork(parent);
  const work = await mkdtemp(join(parent, PREFIX));
  const lock = tryLock(join(work, LOCK), "exclusive");
  try {
    return await body(work);
  } finally {
    if (isLock(lock)) lock.release();
    await rm(work, { recursive: true, force: true });
  }
}

async function removeDeadWork(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const directory = join(parent, name);
    // A shared lock makes no file: one that was made this moment and has no lock yet is left alone.
    const lock = tryLock(join(directory, LOCK), "shared");
    if (!isLock(lock)) continue;
    await rm(directory, { recursive: true, force: true });
    lock.release();
  }
}
