/* Descriptors: how many of the process's file descriptors shares may hold, over all of them: directories that are kept for speed (least recently used go first), and
 * open files, which are the guests' and are refused beyond their part. I/O thread only. */
import { closeSync, readFileSync } from "node:fs";
import { Errno, Refusal } from "./errno.ts";

/** Where the limit cannot be read: what POSIX systems have at least, mostly. */
const USUAL_LIMIT = 1024;
/** Beyond these, more would not help. */
const MOST_DIRECTORIES = 4096;
const MOST_FILES = 65536;

/** Something with a descriptor that may be closed while nobody has it pinned. */
export interface Holder {
  /** −1: none. */
  fd: number;
  /** How many requests use it now. */
  pins: number;
}

export class Descriptors {
  readonly #mostDirectories: number;
  readonly #mostFiles: number;
  /** In order of their last use. */
  readonly #directories = new Set<Holder>();
  #files = 0;

  /** @param limit how many descriptors the process may have (RLIMIT_NOFILE) */
  constructor(limit: number) {
    this.#mostDirectories = Math.max(1, Math.min(MOST_DIRECTORIES, limit >> 3));
    this.#mostFiles = Math.max(1, Math.min(MOST_FILES, limit >> 1));
  }

  /** How many directories are held. */
  get directories(): number {
    return this.#directories.size;
  }
  /** How many open files there are. */
  get files(): number {
    return this.#files;
  }

  /** A directory's descriptor was opened or used. May close others. */
  use(holder: Holder): void {
    this.#directories.delete(holder);
    this.#directories.add(holder);
    if (this.#directories.size <= this.#mostDirectories) return;
    for (const oldest of this.#directories) {
      if (oldest.pins > 0 || oldest === holder) continue;
      this.drop(oldest);
      if (this.#directories.size <= this.#mostDirectories) return;
    }
  }
  /** Closes a directory's descriptor, if there is one and nobody uses it. */
  drop(holder: Holder): void {
    if (holder.pins > 0 || !this.#directories.delete(holder)) return;
    closeSync(holder.fd);
    holder.fd = -1;
  }

  /** A file is about to be opened. @throws Refusal ENFILE */
  takeFile(): void {
    if (this.#files >= this.#mostFiles) throw new Refusal(Errno.ENFILE);
    this.#files++;
  }
  returnFile(): void {
    this.#files--;
  }
}

/** @source proc(5), /proc/pid/limits */
function openFilesLimit(): number {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
    return soft === undefined ? USUAL_LIMIT : Number(soft);
  } catch {
    return USUAL_LIMIT;
  }
}

let ofProcess: Descriptors | undefined;
/** The one that all shares of the process have in common. */
export function processDescriptors(): Descriptors {
  return (ofProcess ??= new Descriptors(openFilesLimit()));
}
