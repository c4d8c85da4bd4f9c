/* Where images and downloads are, and what it means when the system refuses to write there. @source XDG Base Directory Specification */
import { homedir } from "node:os";
import { join } from "node:path";
import { defaultCacheDir } from "../cache.ts";
import { ImageError } from "../image-error.ts";
import type { StorePlaces } from "./options.ts";

/** Where Mere keeps what it cannot make again. */
export function defaultDataDir(): string {
  const base = process.env["XDG_DATA_HOME"];
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".local/share"), "mere");
}

/** The store's directory. */
export function imagesDir(places: StorePlaces = {}): string {
  return join(places.dataDir ?? defaultDataDir(), "images");
}

/** Of downloads under way. */
export function downloadsDir(places: StorePlaces = {}): string {
  return join(places.cacheDir ?? defaultCacheDir(), "downloads");
}

/** What the system says of a directory that cannot be made or written. */
const UNWRITABLE = ["EACCES", "EPERM", "EROFS", "ENOTDIR"];

/** Runs `body`; the system's refusals to write under `directory` become sentences. @param variable names the user's choice of the place */
export async function writingUnder<T>(
  directory: string,
  variable: "XDG_DATA_HOME" | "XDG_CACHE_HOME",
  body: () => Promise<T>,
): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof ImageError || code === undefined) throw error;
    const elsewhere = `set ${variable} to a directory on another disk`;
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new ImageError("no-space", `There is no space left under ${directory}; free some, or ${elsewhere}.`, {
        cause: error,
      });
    if (code === "EFBIG")
      throw new ImageError(
        "no-space",
        `A file under ${directory} would be larger than this system lets it be; raise the limit (ulimit -f), or ${elsewhere}.`,
        { cause: error },
      );
    if (UNWRITABLE.includes(code))
      throw new ImageError(
        "unwritable",
        `${directory} cannot be written (${code}); change its permissions, or set ${variable} to a directory that can.`,
        { cause: error },
      );
    throw error;
  }
}
