/* Values on the command line: sizes, counts and files. Each parser takes the option's name for its sentence and throws a usage CliError. */
import { accessSync, constants as access, statSync } from "node:fs";
import { constants } from "node:os";
import { sizeInBytes } from "../host/size.ts";
import { CODE_CACHE, MEMORY } from "../host/vm-config.ts";
import { usageError } from "./cli-error.ts";

/** A size in bytes: "512M", "1G", "1.5GiB", "1048576". */
export function parseSize(option: string, text: string): number {
  const bytes = sizeInBytes(text);
  if (bytes === undefined) {
    throw usageError(`${option} ${quote(text)} is no size; write bytes, or a number with K, M or G, as in 512M or 1G`);
  }
  return bytes;
}

const PAGE_BYTES = 4096;

/** RAM size of a VM in bytes: whole pages within MEMORY's limits. */
export function parseMemory(option: string, text: string): number {
  const bytes = parseSize(option, text);
  if (bytes < MEMORY.least || bytes > MEMORY.most) {
    throw usageError(`${option} ${quote(text)} is outside what a VM can have; choose between 64M and 16G`);
  }
  if (bytes % PAGE_BYTES !== 0) {
    throw usageError(`${option} ${quote(text)} is not a whole number of pages; choose a multiple of 4K`);
  }
  return bytes;
}

/** The most that Mere's overlays have room for. */
const MOST_DISK_BYTES = 4 * 2 ** 40;

/** Size of a disk in bytes: a multiple of 4 KiB up to 4 TiB. */
export function parseDiskSize(option: string, text: string): number {
  const bytes = parseSize(option, text);
  if (bytes <= 0 || bytes > MOST_DISK_BYTES) {
    throw usageError(`${option} ${quote(text)} is no size for a disk; choose up to 4T`);
  }
  if (bytes % PAGE_BYTES !== 0) throw usageError(`${option} ${quote(text)} is odd for a disk; choose a multiple of 4K`);
  return bytes;
}

/** Memory for translated code in bytes. 0: none stays for long. */
export function parseCodeCache(option: string, text: string): number {
  const bytes = parseSize(option, text);
  if (bytes > CODE_CACHE.most) throw usageError(`${option} ${quote(text)} is too much; choose at most 4G`);
  return bytes;
}

/** A whole number between least and most. @param noun plural, for the sentence: "CPUs" */
export function parseCount(option: string, text: string, noun: string, least: number, most: number): number {
  const count = /^\d{1,9}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (!(count >= least && count <= most)) {
    throw usageError(
      `${option} ${quote(text)} is no number of ${noun}; choose a whole number from ${least} to ${most}`,
    );
  }
  return count;
}

/** A path to a file that exists and can be read (and written, if `writable`). Looked at now, so that the mistake shows before work begins. */
export function parseFile(option: string, path: string, writable = false): string {
  if (path === "") throw usageError(`${option} needs the path of a file`);
  let isFile: boolean;
  try {
    const stats = statSync(path);
    isFile = stats.isFile() || stats.isBlockDevice();
  } catch (error) {
    throw usageError(`${option} ${quote(path)} cannot be opened: ${reasonOf(error)}; check the path`);
  }
  if (!isFile) throw usageError(`${option} ${quote(path)} is not a file; give the path of a file`);
  try {
    accessSync(path, writable ? access.R_OK | access.W_OK : access.R_OK);
  } catch {
    throw usageError(
      `${option} ${quote(path)} may not be ${writable ? "read and written" : "read"}; check its permissions`,
    );
  }
  return path;
}

/** A user's text in a sentence; control characters are shown, not obeyed. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES") return "permission denied";
  if (code === "ENOTDIR") return "a part of the path is not a directory";
  return typeof code === "string" ? code : String(error);
}

const MOST_SECONDS = 86_400;

/** A time in seconds; fractions are allowed. */
export function parseSeconds(option: string, text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (!(seconds <= MOST_SECONDS))
    throw usageError(`${option} ${quote(text)} is no time; write seconds, at most ${MOST_SECONDS}`);
  return seconds;
}

/** A signal's name with SIG: "hup", "SIGHUP" and "1" are SIGHUP. */
export function parseSignal(option: string, text: string): string {
  const name = text.toUpperCase().replace(/^(SIG)?/, "SIG");
  if (name in constants.signals) return name;
  const numbered = Object.entries(constants.signals).find(([, number]) => String(number) === text);
  if (numbered !== undefined) return numbered[0];
  throw usageError(`${option} ${quote(text)} is no signal; write a name such as TERM, HUP or KILL`);
}

/** Adds "NAME=value", or "NAME" with this process's value, to what was collected. */
export function collectEnv(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  const name = at < 0 ? text : text.slice(0, at);
  if (name === "") throw usageError(`--env ${quote(text)} has no name; write NAME=value`);
  const value = at < 0 ? process.env[name] : text.slice(at + 1);
  if (value === undefined) throw usageError(`--env ${quote(name)} is not set here; write ${name}=value`);
  return { ...before, [name]: value };
}

/** Adds a value of an option that may be repeated. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}
