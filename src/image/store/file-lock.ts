/* Locks on files that the kernel frees when their holder dies. Node has no call for them, but SQLite, which Node has, locks its databases with fcntl: a
 * transaction on an empty file is a lock, and writes nothing. They hold between processes of one kernel, also in different containers, and between holders
 * in one process. A lock file must never be opened by anything else in the process: closing such a file would free the lock.
 * @source fcntl(2) "Advisory record locking"; SQLite "File Locking And Concurrency In SQLite Version 3" */
import { statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers/promises";

/** A lock that is held until it is released or the process ends. */
export interface FileLock {
  /** May be called more than once. */
  release(): void;
}

export type LockMode = "shared" | "exclusive";

/** SQLite's results. @source sqlite3.h */
const SQLITE_BUSY = 5;
const SQLITE_CANTOPEN = 14;
const FIRST_WAIT_MS = 10;
const LONGEST_WAIT_MS = 200;

/** Held locks: a database that is collected as garbage would free its lock. */
const held = new Set<DatabaseSync>();

/** Takes a lock if it is free. A file that is missing is made for an exclusive lock.
 *  @returns the lock; "busy"; or "missing": no such file, or its directory is gone or was replaced meanwhile */
export function tryLock(path: string, mode: LockMode): FileLock | "busy" | "missing" {
  const before = inodeOf(path);
  if (mode === "shared" && before === undefined) return "missing";
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(path, { readOnly: mode === "shared" });
  } catch (error) {
    if (sqliteCode(error) === SQLITE_CANTOPEN) return "missing";
    throw error;
  }
  try {
    database.exec("PRAGMA busy_timeout = 0");
    if (mode === "exclusive") database.exec("BEGIN EXCLUSIVE");
    else database.exec("BEGIN; SELECT count(*) FROM sqlite_schema");
  } catch (error) {
    database.close();
    if (sqliteCode(error) === SQLITE_BUSY) return "busy";
    if (sqliteCode(error) === SQLITE_CANTOPEN) return "missing";
    throw error;
  }
  const after = inodeOf(path);
  if (after === undefined || (before !== undefined && before !== after)) {
    database.close();
    return "missing";
  }
  held.add(database);
  return {
    release: () => {
      if (held.delete(database)) database.close();
    },
  };
}

/** Waits for a lock. @returns undefined if the file, or its directory, is not there @throws AbortError */
export async function waitForLock(path: string, mode: LockMode, signal?: AbortSignal): Promise<FileLock | undefined> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
    signal?.throwIfAborted();
    const lock = tryLock(path, mode);
    if (lock === "missing") return undefined;
    if (lock !== "busy") return lock;
    await setTimeout(waitMs, undefined, { ...(signal !== undefined && { signal }) });
  }
}

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { throwIfNoEntry: false, bigint: true })?.ino;
}

/** The primary result code; extended codes have more in higher bits. */
function sqliteCode(error: unknown): number | undefined {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === "number" ? errcode & 0xff : undefined;
}
