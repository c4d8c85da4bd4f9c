/* Images from files: OCI image layouts and archives of `docker save`, as directories or tar archives, several in one.
 * @source OCI image specification 1.1 "Image Layout", "Annotations" (org.opencontainers.image.ref.name); docker's image/tarexport (manifest.json)
 * Archives of docker before 1.10, which have no manifest.json, are left out. */
import { createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { ImageError } from "../image-error.ts";
import { ownName } from "../store/commit.ts";
import { makeImage } from "../store/make.ts";
import type { ImageOptions } from "../store/options.ts";
import { imagesDir, writingUnder } from "../store/places.ts";
import { type KeptDocuments, nameImage, readImage } from "../store/records.ts";
import type { StoredImage } from "../store/stored-image.ts";
import { inWorkDirectory } from "../store/work-directory.ts";
import { type ArchiveFiles, directoryFiles, readWhole, tarFiles } from "./archive-files.ts";
import { printable } from "./http.ts";
import { type ImageDocument, parseImageConfig } from "./image-config.ts";
import { type FileRange, fileLayers } from "./layer.ts";
import { type Descriptor, type IndexEntry, entriesForMachine, parseManifest } from "./manifest.ts";
import { archiveName } from "./reference.ts";
import { LARGEST_DOCUMENT, sha256 } from "./registry-client.ts";

/** Indexes may name indexes; nobody nests them deeper. */
const DEEPEST_INDEX = 3;
const MOST_IMAGES = 1000;
const REF_NAME = "org.opencontainers.image.ref.name";
/** What containerd and newer dockers write: always a whole reference. */
const IMAGE_NAME = "io.containerd.image.name";

export interface ImportOptions extends ImageOptions {
  /** Name of the image, if the archive has one only; default: its names in the archive, else the archive's own. */
  readonly name?: string | undefined;
  /** What "-" means; default: standard input. */
  readonly input?: NodeJS.ReadableStream | undefined;
}

/** One image of an archive. */
interface ArchivedImage {
  readonly names: readonly string[];
  readonly id: string;
  readonly document: ImageDocument;
  readonly layers: readonly FileRange[];
  readonly documents: KeptDocuments;
}

/** Puts all images of an archive into the store; one for another platform ends the import. @param path a file, a directory, or "-"
 *  @throws ImageError, the builder's errors, the signal's reason */
export async function importImages(path: string, options: ImportOptions = {}): Promise<StoredImage[]> {
  const name = options.name === undefined ? undefined : ownName(options.name);
  const parent = imagesDir(options);
  return writingUnder(parent, "XDG_DATA_HOME", () =>
    inWorkDirectory(parent, async (work) => {
      options.onProgress?.("resolve", 0, 0);
      const files = await openArchive(path, work, options);
      const images = await readImages(files, path === "-" ? "" : basename(resolve(path)));
      if (name !== undefined && images.length > 1)
        throw new ImageError(
          "ambiguous",
          `${files.shown} has ${images.length} images, so one name cannot be given; import it without a name, or save one image alone.`,
        );
      const imported: StoredImage[] = [];
      for (const image of images)
        imported.push(await store(name === undefined ? image : { ...image, names: [name] }, files, options));
      return imported;
    }),
  );
}

async function openArchive(path: string, work: string, options: ImportOptions): Promise<ArchiveFiles> {
  const scratch = join(work, "archive");
  const { signal } = options;
  if (path === "-") {
    const spooled = join(work, "input");
    await pipeline(options.input ?? process.stdin, createWriteStream(spooled), { signal });
    return { ...(await tarFiles(spooled, scratch, signal)), shown: "standard input" };
  }
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new ImageError("not-found", `${path} cannot be read (${error.code ?? error.message}); check the path.`, {
      cause: error,
    });
  });
  return found.isDirectory() ? directoryFiles(path) : tarFiles(path, scratch, signal);
}

async function store(image: ArchivedImage, files: ArchiveFiles, options: ImageOptions): Promise<StoredImage> {
  const { id, document, names, documents } = image;
  const shown = names[0] ?? files.shown;
  if ((await readImage(id, options)) === undefined) {
    const layers = fileLayers(image.layers, document.diffIds, shown, (done, total) =>
      options.onProgress?.("build", done, total),
    );
    await makeImage({ id, config: document.config, content: layers, documents }, options);
  }
  for (const name of names) await nameImage(id, name, options);
  const stored = await readImage(id, options);
  if (stored === undefined)
    throw new ImageError("not-found", `The image ${shown} was removed while it was imported; try again.`);
  return stored;
}

/** @param fileName of the archive, for images that it gives no name; "" if it has none */
async function readImages(files: ArchiveFiles, fileName: string): Promise<ArchivedImage[]> {
  const saved = await readWhole(files, "manifest.json", LARGEST_DOCUMENT);
  if (saved !== undefined) return readSaved(files, saved);
  const index = await readWhole(files, "index.json", LARGEST_DOCUMENT);
  if (index !== undefined) return readLayout(files, index, fileName);
  throw new ImageError(
    "damaged-archive",
    `${files.shown} has neither index.json nor manifest.json; give an OCI image layout or an archive of 'docker save'.`,
  );
}

/** manifest.json: [{"Config": path, "RepoTags": [name] or null, "Layers": [path]}] */
async function readSaved(files: ArchiveFiles, bytes: Buffer): Promise<ArchivedImage[]> {
  const entries = parseList(bytes);
  if (entries === undefined || entries.length === 0 || entries.length > MOST_IMAGES)
    throw damaged(files, "its manifest.json is no list of images");
  const images: ArchivedImage[] = [];
  for (const entry of entries) {
    const { Config: config, RepoTags: tags, Layers: layers } = entry;
    const names = tags ?? [];
    if (typeof config !== "string" || !isTexts(names) || !isTexts(layers))
      throw damaged(files, "its manifest.json names no configuration or no layers");
    const shown = printable(names[0] ?? files.shown);
    const configBytes = await part(files, config, shown);
    const document = parseImageConfig(configBytes, shown);
    if (document.diffIds.length !== layers.length)
      throw damaged(
        files,
        `${shown} has ${layers.length} layers, but its configuration tells of ${document.diffIds.length}`,
      );
    images.push({
      names: names.map(archiveName),
      id: sha256(configBytes),
      document,
      layers: await Promise.all(layers.map((layer) => range(files, layer, shown))),
      documents: { config: configBytes },
    });
  }
  return images;
}

function parseList(bytes: Buffer): Record<string, unknown>[] | undefined {
  try {
    const list: unknown = JSON.parse(bytes.toString());
    if (Array.isArray(list) && list.every((entry) => typeof entry === "object" && entry !== null))
      return list as Record<string, unknown>[];
  } catch {
    // Said by the caller.
  }
  return undefined;
}

async function readLayout(files: ArchiveFiles, bytes: Buffer, fileName: string): Promise<ArchivedImage[]> {
  const index = parseManifest(bytes, `${files.shown}`);
  if (index.kind !== "index") throw damaged(files, "its index.json is no index");
  // Entries of one name are one image for several platforms; without names, so is the whole index.
  const groups = new Map<string, IndexEntry[]>();
  for (const entry of index.entries) {
    const name = entryName(entry, fileName);
    groups.set(name, [...(groups.get(name) ?? []), entry]);
  }
  if (groups.size === 0) throw damaged(files, "its index.json names no image");
  const images = new Map<string, ArchivedImage>();
  for (const [name, entries] of groups) {
    const shown = name === "" ? files.shown : name;
    const image = await readEntry(files, entriesForMachine({ kind: "index", entries }, shown)[0]!, shown, 0);
    const names = [...(images.get(image.id)?.names ?? []), ...(name === "" ? [] : [name])];
    images.set(image.id, { ...image, names });
  }
  return [...images.values()];
}

/** Names in a layout may be tags alone: then the archive's own name goes before. */
function entryName({ annotations }: IndexEntry, fileName: string): string {
  const own = fileName.replace(/(?:\.(?:tar|oci|tgz|gz|zst|docker))+$/i, "").toLowerCase();
  for (const key of [IMAGE_NAME, REF_NAME]) {
    const text = annotations[key];
    if (typeof text !== "string" || text === "") continue;
    const name = tryName(/[:/]/.test(text) ? text : `${own}:${text}`);
    if (name !== undefined) return name;
  }
  return tryName(own) ?? "";
}

function tryName(text: string): string | undefined {
  try {
    return archiveName(text);
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}

async function readEntry(files: ArchiveFiles, entry: Descriptor, shown: string, depth: number): Promise<ArchivedImage> {
  const bytes = await blob(files, entry.digest, shown);
  const manifest = parseManifest(bytes, shown);
  if (manifest.kind === "index") {
    if (depth === DEEPEST_INDEX) throw damaged(files, "its index names indexes without an end");
    return readEntry(files, entriesForMachine(manifest, shown)[0]!, shown, depth + 1);
  }
  const configBytes = await blob(files, manifest.config.digest, shown);
  const document = parseImageConfig(configBytes, shown);
  if (document.diffIds.length !== manifest.layers.length)
    throw damaged(
      files,
      `${shown} has ${manifest.layers.length} layers, but its configuration tells of ${document.diffIds.length}`,
    );
  const layers: FileRange[] = [];
  for (const { digest, sizeBytes } of manifest.layers) {
    const found = await range(files, blobName(digest), shown);
    if (found.length !== sizeBytes)
      throw damaged(files, `the layer ${digest} of ${shown} has ${found.length} bytes, not ${sizeBytes}`);
    layers.push(found);
  }
  return {
    names: [],
    id: manifest.config.digest,
    document,
    layers,
    documents: { manifest: bytes, config: configBytes },
  };
}

/** A small blob, checked. Layers are checked by what they are uncompressed. */
async function blob(files: ArchiveFiles, digest: string, shown: string): Promise<Buffer> {
  const bytes = await part(files, blobName(digest), shown);
  if (sha256(bytes) === digest) return bytes;
  throw new ImageError(
    "digest-mismatch",
    `${digest} of ${shown} in ${files.shown} does not have that digest; make the archive again.`,
  );
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

async function part(files: ArchiveFiles, name: string, shown: string): Promise<Buffer> {
  const bytes = await readWhole(files, name, LARGEST_DOCUMENT);
  return bytes ?? missing(files, name, shown);
}

async function range(files: ArchiveFiles, name: string, shown: string): Promise<FileRange> {
  return (await files.find(name)) ?? missing(files, name, shown);
}

function missing(files: ArchiveFiles, name: string, shown: string): never {
  throw damaged(files, `${printable(name)} of ${shown} is not in it`);
}

function damaged(files: ArchiveFiles, why: string): ImageError {
  return new ImageError("damaged-archive", `${files.shown} is no whole archive of images: ${why}; make it again.`);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === "string");
}
