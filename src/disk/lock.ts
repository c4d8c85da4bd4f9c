/* Locks on files: many readers or one writer, between processes and within one. The lock belongs to the open file: closing it, or the death of its holder, frees it, so
 * there is nothing to clean up. Advisory: what does not ask is not held off. @source flock(2), proc(5) /proc/locks. Any thread. */
import { spawnSync } from "node:child_process";
import { existsSync, fstatSync, readFileSync } from "node:fs";
import { DiskError } from "./disk-error.ts";
import { EAGAIN, Flock, libc } from "../device/libc.ts";

export type LockKind = "shared" | "exclusive";

/** Locks an open file, or changes the kind of the lock that it has. Never waits. @param fd open for reading or writing
 *  @returns false if others hold it  @throws DiskError failed, where the file system knows no locks */
export function tryLock(fd: number, kind: LockKind, path: string): boolean {
  const status = libc() === undefined ? lockByProgram(fd, kind) : lockByCall(fd, kind);
  if (status === true || status === false) return status;
  throw new DiskError("failed", `${path} cannot be locked (${status}): keep it on a local file system.`);
}

/** Locks an open file. @throws DiskError in-use, with who holds it */
export function lock(fd: number, kind: LockKind, path: string): void {
  if (tryLock(fd, kind, path)) return;
  const holder = holderOf(fd);
  const who = holder === process.pid ? "this process" : holder === undefined ? "another process" : `process ${holder}`;
  const advice =
    kind === "shared"
      ? "stop the VM that writes to it, or give this one a copy"
      : "stop the VM that uses it, or attach it read-only (,ro) everywhere";
  throw new DiskError("in-use", `${path} is in use by ${who}: ${advice}.`);
}

/** Is the file locked by anyone, as /proc/locks tells it? Takes no lock, so it is in nobody's way; who is to act on the answer locks the file. */
export function isInUse(fd: number): boolean {
  return locksOf(fd).length > 0;
}

/** Gives a lock back before the file is closed. */
export function unlock(fd: number): void {
  if (libc()?.flock(fd, Flock.UNLOCK) === undefined) runFlock(fd, "--unlock");
}

/** @returns whether it was locked, or why it cannot be */
function lockByCall(fd: number, kind: LockKind): boolean | string {
  const result = libc()!.flock(fd, (kind === "shared" ? Flock.SHARED : Flock.EXCLUSIVE) | Flock.NON_BLOCKING);
  return result === 0 ? true : result === -EAGAIN ? false : `errno ${-result}`;
}
/** The child locks the open file that it has from this process; what it opened goes with it, what was open here stays. */
function lockByProgram(fd: number, kind: LockKind): boolean | string {
  const status = runFlock(fd, `--${kind}`);
  return status === 0 ? true : status === 1 ? false : `flock: ${status}`;
}
function runFlock(fd: number, option: string): number | string {
  const { status, error } = spawnSync("flock", ["--nonblock", option, "3"], {
    stdio: ["ignore", "ignore", "ignore", fd],
  });
  return status ?? error?.message ?? "killed";
}

/** A process that holds a lock on the file, as /proc/locks tells it; undefined if it does not or that process is gone. */
export function holderOf(fd: number): number | undefined {
  const pid = Number(locksOf(fd)[0]?.[4]);
  return pid > 0 && existsSync(`/proc/${pid}`) ? pid : undefined;
}
/** Lines of /proc/locks about a file: number, FLOCK, ADVISORY, READ or WRITE, pid, device:inode, … */
function locksOf(fd: number): string[][] {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const hex = (value: bigint): string => value.toString(16).padStart(2, "0");
  // The kernel's dev_t as user space sees it. @source sys/sysmacros.h
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const place = `${hex(major)}:${hex(minor)}:${ino}`;
  return readLocks().filter((words) => words[1] === "FLOCK" && words[5] === place);
}
function readLocks(): string[][] {
  try {
    return readFileSync("/proc/locks", "utf8")
      .split("\n")
      .map((line) => line.split(/\s+/));
  } catch {
    return [];
  }
}
