/* Locks of the store: files that exist to be locked, by src/disk/lock.ts, whose locks the kernel frees when their holder dies. What is added here is the
 * place: a lock counts only if the file is still at its path once it is had, so that a directory can be removed, or replaced, together with its lock. */
import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { type LockKind, holderOf, tryLock as tryFlock } from "../../disk/lock.ts";

/** A lock that is held until it is released or the process ends. */
export interface FileLock {
  /** May be called more than once. */
  release(): void;
}

/** Others hold it. */
export interface Busy {
  /** A process that does, if the system tells. */
  readonly pid: number | undefined;
}

const FIRST_WAIT_MS = 10;
const LONGEST_WAIT_MS = 200;

/** Takes a lock if it is free. A file that is missing is made for an exclusive lock.
 *  @returns "missing": no such file, or its directory is gone or was replaced meanwhile @throws DiskError where the file system knows no locks */
export function tryLock(path: string, kind: LockKind): FileLock | Busy | "missing" {
  let fd: number;
  try {
    fd = openSync(path, kind === "exclusive" ? constants.O_RDWR | constants.O_CREAT : constants.O_RDONLY, 0o644);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "missing";
    throw error;
  }
  let isHeld = false;
  try {
    if (!tryFlock(fd, kind, path)) return { pid: holderOf(fd) };
    isHeld = fstatSync(fd, { bigint: true }).ino === statSync(path, { throwIfNoEntry: false, bigint: true })?.ino;
    if (!isHeld) return "missing";
  } finally {
    if (!isHeld) closeSync(fd);
  }
  return {
    release: () => {
      if (isHeld) closeSync(fd);
      isHeld = false;
    },
  };
}

export function isLock(result: FileLock | Busy | "missing"): result is FileLock {
  return typeof result === "object" && "release" in result;
}

/** Waits for a lock. @returns undefined if the file, or its directory, is not there @throws the signal's reason */
export async function waitForLock(path: string, kind: LockKind, signal?: AbortSignal): Promise<FileLock | undefined> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
    signal?.throwIfAborted();
    const result = tryLock(path, kind);
    if (result === "missing") return undefined;
    if (isLock(result)) return result;
    await setTimeout(waitMs, undefined, { ...(signal !== undefined && { signal }) });
  }
}
