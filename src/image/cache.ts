/* The cache on disk: where it is, and how something gets into it whole or not at all. Work is done in a directory ".pull-<pid>-…" beside the result,
 * which is renamed at the end: a pull or a build that is interrupted leaves nothing half-made, and what a killed one left is removed by the next. */
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { PullProgress } from "./apt.ts";
import { PackageError } from "./package-error.ts";

export interface PullOptions {
  /** Default: $XDG_CACHE_HOME/mere or ~/.cache/mere */
  readonly cacheDir?: string | undefined;
  readonly onProgress?: PullProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where Mere keeps what it can make again. @source XDG Base Directory Specification */
export function defaultCacheDir(): string {
  const base = process.env["XDG_CACHE_HOME"];
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".cache"), "mere");
}

/** Where native code is kept between runs (docs/native.md). */
export function keptCodeDirectory(cacheDir: string = defaultCacheDir()): string {
  return join(cacheDir, "code");
}

/** Moves a finished result to its place. Another process that pulls the same may be there first: what it put there is as good. */
export async function putInPlace(result: string, directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  try {
    await rename(result, directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  }
}

/** Runs `body` with the cache's part `kind` and a work directory in it, which goes away afterwards, as do those of pulls that died. */
export async function inPullDirectory<T>(
  options: PullOptions,
  kind: string,
  body: (parent: string, work: string) => Promise<T>,
): Promise<T> {
  const parent = join(options.cacheDir ?? defaultCacheDir(), kind);
  try {
    await mkdir(parent, { recursive: true });
    for (const name of await readdir(parent)) {
      const pid = /^\.pull-(\d+)-/.exec(name)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) await rm(join(parent, name), { recursive: true, force: true });
    }
    const work = await mkdtemp(join(parent, `.pull-${process.pid}-`));
    try {
      return await body(parent, work);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC")
      throw new PackageError(
        "no-space",
        `There is no space left under ${parent}; free some, or set XDG_CACHE_HOME to a directory on another disk.`,
        { cause: error },
      );
    if (code !== undefined && UNWRITABLE.includes(code))
      throw new PackageError(
        "failed",
        `The cache ${parent} cannot be written; set XDG_CACHE_HOME to a directory that can.`,
        { cause: error },
      );
    throw error;
  }
}

/** What the system says of a directory that cannot be made or written. */
const UNWRITABLE = ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"];

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Sorts by the numbers in the text: "6.1.0-9" comes before "6.1.0-56". (A collation of Intl's would take each `mere run` 15 ms to load.) */
export function compareVersions(a: string, b: string): number {
  const [as, bs] = [versionParts(a), versionParts(b)];
  for (let i = 0; i < as.length && i < bs.length; i++) {
    const [x, y] = [as[i]!, bs[i]!];
    const order = Number(x) - Number(y) || (x < y ? -1 : x > y ? 1 : 0);
    if (order !== 0) return order;
  }
  return as.length - bs.length;
}
function versionParts(text: string): string[] {
  return text.match(/\d+|\D+/g) ?? [];
}
