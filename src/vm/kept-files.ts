/* Where native code is kept between runs: a directory for each version of the translator and kind of host, with files that only ever appear whole, and go. What one run has made anew becomes
 * a file at its end, together with files that are not much larger, so that there are few. It is a cache: whatever goes wrong here costs time, nothing else.
 * @source docs/native.md "Kept code"; engine/native/kept-code.ts, which says what is in them */
import * as fs from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { threadId } from "node:worker_threads";
import type { KeptFiles } from "../engine/native/kept-code.ts";
import { endOf, Header, type HostBoot } from "../engine/native/kept-file.ts";
import { MergedRecords } from "../engine/native/merged-records.ts";

/** What one directory may have, and what one file may have that is made of several. */
const MOST_BYTES = 256 << 20;
const MOST_MERGED_BYTES = 24 << 20;
/** Fewer new ones are not worth a file. */
const LEAST_BYTES = 32 << 10;
/** More files than this become fewer. */
const MOST_FILES = 6;
const DAY_MS = 86_400_000;
/** What nobody has used for so long goes: other versions' directories, of which there are so many at most, and files that never became whole. */
const [OLD_DIRECTORY_MS, OLD_PART_MS] = [30 * DAY_MS, DAY_MS];
const MOST_OTHERS = 2;
/** Folders of src that native code depends on. */
export const TRANSLATOR_SOURCES: readonly string[] = ["engine", "isa", "memory"];
const SUFFIX = ".code";

let version: string | undefined;
/** Of the translator: any change of its sources makes another one. */
function translatorVersion(): string {
  if (typeof BUILT !== "undefined") return BUILT.translator;
  if (version !== undefined) return version;
  const texts = [fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")];
  for (const source of TRANSLATOR_SOURCES) {
    const root = fileURLToPath(new URL(`../${source}`, import.meta.url));
    for (const name of fs.readdirSync(root, { recursive: true }).map(String).sort()) {
      const { size, mtimeMs } = fs.statSync(join(root, name));
      texts.push(`${name} ${size} ${mtimeMs}`);
    }
  }
  return (version = texts.join("\n"));
}
/** The directory for code of this version, in `parent`. @param features that the code depends on */
export function keptDirectory(parent: string, features: readonly string[]): string {
  return join(parent, nameOf([translatorVersion(), process.arch, ...features].join("\n")));
}
const VERSION = /^[0-9a-f]{16}$/;
/** FNV-1a of 64 bits: nothing here has to withstand anybody, and node:crypto takes each start of a VM 20 ms to load. */
function nameOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, "0");
}

interface KeptFile {
  readonly path: string;
  readonly bytes: number;
}
/** The files of a directory, those first that nobody has used for the longest time. */
export function keptFiles(directory: string): KeptFile[] {
  const files: (KeptFile & { readonly since: number })[] = [];
  for (const name of attempt(() => fs.readdirSync(directory)) ?? []) {
    if (!name.endsWith(SUFFIX)) continue;
    const path = join(directory, name);
    const stat = attempt(() => fs.statSync(path));
    if (stat !== undefined) files.push({ path, bytes: stat.size, since: stat.mtimeMs });
  }
  return files.toSorted((a, b) => a.since - b.since);
}
function attempt<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    return undefined;
  }
}
/** A directory's files with their descriptors, for the calling thread to map and close. */
export function openKeptFiles(directory: string): (KeptFile & { readonly fd: number })[] {
  return keptFiles(directory).flatMap((file) => {
    const fd = attempt(() => fs.openSync(file.path, "r"));
    return fd === undefined ? [] : [{ ...file, fd }];
  });
}

const BOOT_ID = "/proc/sys/kernel/random/boot_id";
/** @source random(4) */
function hostBoot(): HostBoot {
  const digits = attempt(() => fs.readFileSync(BOOT_ID, "latin1"))?.replaceAll("-", "") ?? "";
  return [parseInt(digits.slice(0, 8), 16) || 0, parseInt(digits.slice(8, 16), 16) || 0];
}

let parts = 0;
/** A file while it is written. */
class NewFile {
  readonly #directory: string;
  readonly #part: string;
  readonly #fd: number;
  bytes: number = Header.BYTES;

  constructor(directory: string) {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#directory = directory;
    this.#part = join(directory, `${process.pid}-${threadId}-${parts++}.part`);
    this.#fd = fs.openSync(this.#part, "wx", 0o600);
    fs.writeSync(this.#fd, new Uint8Array(Header.BYTES));
  }
  append(bytes: Uint8Array): void {
    fs.writeSync(this.#fd, bytes);
    this.bytes += bytes.length;
  }
  /** As KeptFiles.finish. @param boot in which all records were written  @returns the file's path */
  finish(places: Int32Array, records: number, boot: HostBoot): string {
    const { end, header } = endOf(places, records, this.bytes, boot);
    this.append(end);
    fs.writeSync(this.#fd, header, 0, Header.BYTES, 0);
    fs.closeSync(this.#fd);
    const path = join(this.#directory, `${Date.now().toString(36)}-${process.pid}-${threadId}-${parts++}${SUFFIX}`);
    fs.renameSync(this.#part, path);
    return path;
  }
  abandon(): void {
    attempt(() => fs.closeSync(this.#fd));
    attempt(() => fs.unlinkSync(this.#part));
  }
}

/** One executor's: the files that are mapped, and what it makes anew. */
export class ExecutorFiles implements KeptFiles {
  readonly #directory: string;
  readonly #paths: readonly string[];
  readonly mapped: readonly number[];
  readonly boot: HostBoot = hostBoot();
  #file: NewFile | undefined;
  #failed = false;

  /** @param files those that are mapped: where, and their paths */
  constructor(directory: string, files: readonly (readonly [at: number, path: string])[] = []) {
    this.#directory = directory;
    this.mapped = files.map(([at]) => at);
    this.#paths = files.map(([, path]) => path);
  }
  /** They are not the first ones to go. */
  used(files: readonly number[]): void {
    const now = new Date();
    const paths = files.map((n) => this.#paths[n]!);
    for (const path of paths.length > 0 ? [...paths, this.#directory] : [])
      attempt(() => fs.utimesSync(path, now, now));
  }
  append(records: Uint8Array): void {
    this.#try(() => (this.#file ??= new NewFile(this.#directory)).append(records));
  }
  finish(places: Int32Array, records: number, last: boolean): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#try(() => {
      const others = keptFiles(this.#directory);
      const isLittle = file.bytes < LEAST_BYTES && others.length > 0;
      if (isLittle) file.abandon();
      const path = isLittle ? undefined : file.finish(places, records, this.boot);
      this.#file = undefined;
      if (last && path !== undefined) tidy(this.#directory, others, { path, bytes: file.bytes });
    });
  }
  #try(what: () => void): void {
    if (this.#failed) return;
    try {
      what();
    } catch {
      this.#failed = true; // no room, or not ours to write
      this.#file?.abandon();
      this.#file = undefined;
    }
  }
}

/** Few files, and not too much in them. @param others from before the new file */
function tidy(directory: string, others: readonly KeptFile[], made: KeptFile): void {
  if (others.length === 0) removeOld(directory);
  let sum = made.bytes;
  const together: KeptFile[] = [made];
  for (const file of others.toSorted((a, b) => a.bytes - b.bytes)) {
    const isSmall = file.bytes <= 2 * sum || others.length - together.length >= MOST_FILES;
    if (!isSmall || sum + file.bytes > MOST_MERGED_BYTES) break;
    together.push(file);
    sum += file.bytes;
  }
  if (together.length > 1) merge(directory, together);
  const left = keptFiles(directory);
  let total = left.reduce((bytes, file) => bytes + file.bytes, 0);
  for (const file of left) {
    if (total <= MOST_BYTES) return;
    attempt(() => fs.unlinkSync(file.path));
    total -= file.bytes;
  }
}
/** Makes one file of several; what is in two of them is in it once. */
function merge(directory: string, files: readonly KeptFile[]): void {
  const file = new NewFile(directory);
  try {
    const merged = new MergedRecords(hostBoot());
    for (const { path } of files) {
      const bytes = attempt(() => fs.readFileSync(path));
      if (bytes !== undefined) file.append(merged.take(bytes, file.bytes));
    }
    file.finish(merged.places.words, merged.places.count, merged.boot);
  } catch (error) {
    file.abandon();
    throw error;
  }
  for (const { path } of files) attempt(() => fs.unlinkSync(path));
}
/** Other versions' code that nobody has used for long, and what never became a file. */
function removeOld(directory: string): void {
  const parent = join(directory, "..");
  const ageOf = (path: string): number => Date.now() - (attempt(() => fs.statSync(path).mtimeMs) ?? Infinity);
  const others = (attempt(() => fs.readdirSync(parent)) ?? [])
    .filter((name) => VERSION.test(name)) // nothing else is ours
    .map((name) => join(parent, name))
    .filter((path) => path !== directory)
    .toSorted((a, b) => ageOf(a) - ageOf(b));
  for (const [n, path] of others.entries())
    if (n >= MOST_OTHERS || ageOf(path) > OLD_DIRECTORY_MS) attempt(() => fs.rmSync(path, { recursive: true }));
  for (const name of attempt(() => fs.readdirSync(directory)) ?? []) {
    const path = join(directory, name);
    if (name.endsWith(".part") && ageOf(path) > OLD_PART_MS) attempt(() => fs.unlinkSync(path));
  }
}
