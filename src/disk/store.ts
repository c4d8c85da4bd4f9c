/* Disks that have names: files of one directory, NAME.raw and NAME.overlay. Making, listing, growing, copying and removing them; who changes the directory holds its lock. A disk
 * that a VM uses is locked itself, and neither grown nor removed. I/O thread. */
import { constants, existsSync } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { createError, DiskError, openError } from "./disk-error.ts";
import { isInUse, lock, tryLock } from "./lock.ts";
import { copyRaw, mergeOverlay } from "./merge.ts";
import { createWhole, syncDirectory } from "./new-file.ts";
import { isOverlayName, OVERLAY_SUFFIX } from "./open.ts";
import { createOverlay, growOverlay, readOverlayHeader } from "./overlay.ts";
import { isOverlaySize } from "./overlay-format.ts";
import { openLocked } from "./raw.ts";

const RAW_SUFFIX = ".raw";
const WORK_SUFFIX = ".new";
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/;
const SECTOR = 512;
/** Another process that makes a disk is waited for so long. */
const LOCK_TRIES = 200;
const LOCK_WAIT_MS = 50;

export type DiskFormat = "raw" | "overlay";
export interface NamedDisk {
  readonly name: string;
  readonly format: DiskFormat;
  readonly path: string;
  readonly sizeBytes: number;
  /** Of the host's disk. */
  readonly usedBytes: number;
  /** Of an overlay. */
  readonly base?: string;
  readonly inUse: boolean;
}
export interface NewDisk {
  readonly name: string;
  readonly format: DiskFormat;
  /** Of a new disk; with `from` at least that one's, which it is if absent. */
  readonly sizeBytes?: number;
  /** A disk's file: copied, or of an overlay the base. */
  readonly from?: string;
  /** Makes the file of a raw disk that is no copy, for example with a file system; without it, it is all zeroes. */
  readonly make?: (path: string, sizeBytes: number) => Promise<unknown>;
}

/** Which file a user means by `--disk`: what has no slash is the disk of that name, if there is one, and else a file like any other. */
export function resolveDisk(directory: string, text: string): string {
  return text.includes("/") ? text : (find(directory, text) ?? text);
}

/** Makes a disk. @returns its file  @throws DiskError */
export async function createDisk(directory: string, disk: NewDisk): Promise<string> {
  checkName(disk.name);
  return changing(directory, async () => {
    if (find(directory, disk.name) !== undefined)
      throw new DiskError("exists", `There is a disk ${disk.name} already: choose another name, or remove it first.`);
    const path = join(directory, disk.name + (disk.format === "raw" ? RAW_SUFFIX : OVERLAY_SUFFIX));
    await make(path, disk);
    return path;
  });
}
async function make(path: string, { format, sizeBytes, from, make: fill }: NewDisk): Promise<void> {
  const size = sizeBytes === undefined ? {} : { sizeBytes };
  if (format === "overlay") {
    if (from === undefined) throw new DiskError("bad-size", "An overlay lies over another disk: say which one it is.");
    if (isOverlayName(from))
      throw new DiskError("bad-size", `${from} is an overlay itself, and cannot be the base of one: export it first.`);
    return createOverlay(path, { base: from, ...size });
  }
  if (from !== undefined) {
    await copyDiskFile(from, path);
    return sizeBytes === undefined ? undefined : growRaw(path, sizeBytes).catch(removing(path));
  }
  if (sizeBytes === undefined) throw new DiskError("bad-size", "A new disk needs a size.");
  checkSize(sizeBytes);
  if (fill === undefined) return createWhole(path, (file) => file.truncate(sizeBytes));
  const work = path + WORK_SUFFIX;
  await fill(work, sizeBytes);
  // Unlike a rename it takes nobody's name away.
  try {
    await link(work, path);
  } finally {
    await unlink(work);
  }
  await syncDirectory(join(path, ".."));
}
function removing(path: string): (error: unknown) => Promise<never> {
  return async (error) => {
    await unlink(path);
    throw error;
  };
}

/** A disk's bytes as a new raw image, with its holes. @throws DiskError */
export async function copyDiskFile(from: string, to: string): Promise<void> {
  await (isOverlayName(from) ? mergeOverlay(from, to) : copyRaw(from, to));
}

/** All disks, by name. */
export async function listDisks(directory: string): Promise<NamedDisk[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw openError(directory, error);
  });
  const disks = names.filter(isDiskFile).map((name) => describe(join(directory, name)));
  const found = (await Promise.all(disks)).filter((disk) => disk !== undefined);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
async function describe(path: string): Promise<NamedDisk | undefined> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return undefined; // removed meanwhile
  try {
    const { size, blocks } = await file.stat();
    const format = isOverlayName(path) ? "overlay" : "raw";
    const header = format === "overlay" ? await readOverlayHeader(path).catch(() => undefined) : undefined;
    return {
      name: nameOf(path),
      format,
      path,
      sizeBytes: format === "raw" ? size : (header?.sizeBytes ?? 0),
      usedBytes: blocks * SECTOR,
      ...(header && { base: header.basePath }),
      inUse: isInUse(file.fd),
    };
  } finally {
    await file.close();
  }
}

/** Makes a disk larger; the guest's file system in it stays as it is. @throws DiskError */
export async function growDisk(path: string, sizeBytes: number): Promise<void> {
  await (isOverlayName(path) ? growOverlay(path, sizeBytes) : growRaw(path, sizeBytes));
}
async function growRaw(path: string, sizeBytes: number): Promise<void> {
  const { file, sizeBytes: before } = await openLocked(path, false);
  try {
    if (sizeBytes < before)
      throw new DiskError("bad-size", `${path} has ${before} bytes: it can grow, but not shrink.`);
    checkSize(sizeBytes);
    await file.truncate(sizeBytes);
    await file.sync();
  } catch (error) {
    throw createError(path, error);
  } finally {
    await file.close();
  }
}

/** Removes a disk. @throws DiskError missing, in-use */
export async function removeDisk(directory: string, name: string): Promise<void> {
  await changing(directory, async () => {
    const path = findDisk(directory, name);
    const file = await open(path, constants.O_RDWR).catch((error: unknown) => {
      throw openError(path, error);
    });
    try {
      lock(file.fd, "exclusive", path);
      await unlink(path);
    } finally {
      await file.close();
    }
    await syncDirectory(directory);
  });
}

/** The file of a disk. @throws DiskError missing */
export function findDisk(directory: string, name: string): string {
  const path = find(directory, name);
  if (path === undefined) throw new DiskError("missing", `There is no disk ${name}: see 'mere disk list'.`);
  return path;
}
function find(directory: string, name: string): string | undefined {
  if (!NAME.test(name)) return undefined;
  for (const suffix of [RAW_SUFFIX, OVERLAY_SUFFIX]) {
    const path = join(directory, name + suffix);
    if (existsSync(path)) return path;
  }
  return undefined;
}

/** Works on the directory, which is made if it is not there; nobody else does meanwhile. What a killed process left half-made goes first. */
async function changing<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const handle = await openDirectory(directory);
  try {
    for (let tries = 0; !tryLock(handle.fd, "exclusive", directory); tries++) {
      if (tries === LOCK_TRIES)
        throw new DiskError("in-use", `${directory} is being changed by another process: try again when it is done.`);
      await setTimeout(LOCK_WAIT_MS);
    }
    for (const name of await readdir(directory)) if (name.endsWith(WORK_SUFFIX)) await unlink(join(directory, name));
    return await work();
  } catch (error) {
    if (isSystemError(error)) throw createError(directory, error);
    throw error;
  } finally {
    await handle.close();
  }
}
async function openDirectory(directory: string): Promise<FileHandle> {
  try {
    await mkdir(directory, { recursive: true });
    return await open(directory, "r");
  } catch (error) {
    throw createError(directory, error);
  }
}
/** One of the system, not a sentence for the user yet. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && error.name === "Error" && "syscall" in error;
}

function isDiskFile(name: string): boolean {
  return NAME.test(nameOf(name)) && (name.endsWith(RAW_SUFFIX) || isOverlayName(name));
}
function nameOf(path: string): string {
  return basename(path, isOverlayName(path) ? OVERLAY_SUFFIX : RAW_SUFFIX);
}
function checkName(name: string): void {
  if (NAME.test(name)) return;
  const rule = "letters, digits, dots, dashes and underscores, with a letter or digit first, and at most 100 of them";
  throw new DiskError("bad-name", `${JSON.stringify(name)} cannot be a disk's name: use ${rule}.`);
}
function checkSize(sizeBytes: number): void {
  if (!isOverlaySize(sizeBytes))
    throw new DiskError("bad-size", `A disk cannot have ${sizeBytes} bytes: choose a multiple of 4 KiB up to 4 TiB.`);
}
