/* The store on disk: images by id, names that lead to them (docs/images.md "Store"). This file reads, puts and names; removal is in remove.ts.
 *
 *   images/by-id/<64 hex>/    root.ext4  manifest.json  config.json  image.json  lock
 *   images/names/<64 hex>     {"name", "id"}; the file's name is the digest of the image's */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ImageError } from "../image-error.ts";
import type { StorePlaces } from "./options.ts";
import { imagesDir } from "./places.ts";
import { waitForLock } from "./file-lock.ts";
import type { StoredImage } from "./stored-image.ts";

export const ROOT_DISK = "root.ext4";
export const IMAGE_LOCK = "lock";
const RECORD = "image.json";
/** Changes when older Meres could not read the record. */
const FORMAT = 1;

/** What image.json holds. */
export type ImageRecord = Omit<StoredImage, "names" | "rootDisk">;

/** Files kept beside the root disk, as they came. */
export interface KeptDocuments {
  readonly manifest?: Uint8Array;
  readonly config?: Uint8Array;
}

/** Directory of an image, whether it is there or not. */
export function imageDirectory(id: string, places: StorePlaces = {}): string {
  return join(imagesDir(places), "by-id", digestHex(id));
}

/** The images of the store, newest first. */
export async function listImages(places: StorePlaces = {}): Promise<StoredImage[]> {
  const names = await readNames(places);
  const ids = await readdir(join(imagesDir(places), "by-id")).catch(() => []);
  const images: StoredImage[] = [];
  for (const hex of ids) {
    const image = await readRecord(`sha256:${hex}`, names, places);
    if (image !== undefined) images.push(image);
  }
  return images.sort((a, b) => (a.createdAt < b.createdAt ? 1 : a.createdAt > b.createdAt ? -1 : 0));
}

/** An image by its whole id. */
export async function readImage(id: string, places: StorePlaces = {}): Promise<StoredImage | undefined> {
  return readRecord(id, await readNames(places), places);
}

/** An image by one of its names, as normalizeName (references.ts) gives it. */
export async function imageByName(name: string, places: StorePlaces = {}): Promise<StoredImage | undefined> {
  const names = await readNames(places);
  const id = names.get(name);
  return id === undefined ? undefined : readRecord(id, names, places);
}

/** Puts a finished directory (with root.ext4 in it) into the store. If another process was faster, its image stays and this one goes.
 *  The directory must be on the store's file system; it is gone afterwards. */
export async function putImage(
  directory: string,
  record: ImageRecord,
  documents: KeptDocuments,
  places: StorePlaces = {},
): Promise<void> {
  await chmod(join(directory, ROOT_DISK), 0o444);
  await writeFile(join(directory, RECORD), JSON.stringify({ format: FORMAT, ...record }, undefined, 1));
  await writeFile(join(directory, IMAGE_LOCK), "");
  if (documents.manifest !== undefined) await writeFile(join(directory, "manifest.json"), documents.manifest);
  if (documents.config !== undefined) await writeFile(join(directory, "config.json"), documents.config);
  for (const name of [ROOT_DISK, RECORD]) await syncFile(join(directory, name));
  const place = imageDirectory(record.id, places);
  await mkdir(join(imagesDir(places), "by-id"), { recursive: true });
  await rename(directory, place).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  });
  await rm(directory, { recursive: true, force: true });
}

/** Gives an image of the store a name, which another image may have had. @throws ImageError "not-found" if the image was removed meanwhile */
export async function nameImage(id: string, name: string, places: StorePlaces = {}): Promise<StoredImage> {
  const directory = join(imagesDir(places), "names");
  await mkdir(directory, { recursive: true });
  // Held shared while the name is written, the image cannot be removed in between.
  const lock = await waitForLock(join(imageDirectory(id, places), IMAGE_LOCK), "shared");
  try {
    if (lock !== undefined) {
      const temporary = join(directory, `.${randomBytes(8).toString("hex")}`);
      await writeFile(temporary, JSON.stringify({ name, id }));
      await rename(temporary, nameFile(name, places));
    }
    const image = await readImage(id, places);
    if (lock !== undefined && image !== undefined) return image;
  } finally {
    lock?.release();
  }
  throw new ImageError("not-found", `The image ${name} was removed while it was named; try again.`);
}

/** Takes a name away; the image stays. */
export async function forgetName(name: string, places: StorePlaces = {}): Promise<void> {
  await rm(nameFile(name, places), { force: true });
}

/** Writes a file's bytes through to the disk. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The 64 digits of "sha256:…". */
export function digestHex(id: string): string {
  return id.slice("sha256:".length);
}

function nameFile(name: string, places: StorePlaces): string {
  return join(imagesDir(places), "names", createHash("sha256").update(name).digest("hex"));
}

/** All names with the ids that they lead to. */
async function readNames(places: StorePlaces): Promise<Map<string, string>> {
  const directory = join(imagesDir(places), "names");
  const names = new Map<string, string>();
  for (const file of await readdir(directory).catch(() => [])) {
    if (file.startsWith(".")) continue;
    const { name, id } = ((await readJson(join(directory, file))) ?? {}) as { name?: unknown; id?: unknown };
    if (typeof name === "string" && typeof id === "string") names.set(name, id);
  }
  return names;
}

async function readRecord(
  id: string,
  names: ReadonlyMap<string, string>,
  places: StorePlaces,
): Promise<StoredImage | undefined> {
  const directory = imageDirectory(id, places);
  const record = (await readJson(join(directory, RECORD))) as (ImageRecord & { format: number }) | undefined;
  // What a newer Mere put there is not this one's to read.
  if (record?.format !== FORMAT || record.id !== id) return undefined;
  const { sizeBytes, usedBytes, createdAt, architecture, config } = record;
  const own = [...names].filter(([, other]) => other === id).map(([name]) => name);
  return {
    id,
    names: own.sort(),
    rootDisk: join(directory, ROOT_DISK),
    sizeBytes,
    usedBytes,
    createdAt,
    architecture,
    config,
  };
}

/** A file of the store's; undefined if it is not there or is damaged. */
async function readJson(path: string): Promise<object | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as object);
  } catch {
    return undefined;
  }
}
