/* The files of a tar archive, or of a directory, by name: where their bytes are, without unpacking anything. An archive is read once, from one end to the other.
 * Compressed archives and standard input are first written to a file of the caller's. */
import { createReadStream, createWriteStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ImageError } from "../image-error.ts";
import { compressionOf } from "../root/decompress.ts";
import { TarError } from "../root/tar-error.ts";
import { type TarEntry, TarReader } from "../root/tar-reader.ts";
import { type FileRange, decompressed } from "./layer.ts";

/** What an archive of images is made of. */
export interface ArchiveFiles {
  /** For messages. */
  readonly shown: string;
  /** Where a file's bytes are; undefined: there is no such file. @param name relative, with / */
  find(name: string): Promise<FileRange | undefined>;
}

/** More have no archives of images; a list of names in memory has an end. */
const MOST_FILES = 100_000;
/** Links that lead to links. */
const MOST_HOPS = 8;
const CHUNK = 1 << 20;

/** A directory as an archive. */
export function directoryFiles(directory: string): ArchiveFiles {
  return {
    shown: directory,
    find: async (name) => {
      if (!isPlain(name)) return undefined;
      const path = join(directory, name);
      const found = await stat(path).catch(() => undefined);
      return found?.isFile() === true ? { path, start: 0, length: found.size } : undefined;
    },
  };
}

/** A tar archive, plain, gzip or zstd. @param scratch a path for the uncompressed archive, should it need one
 *  @param signal ends the reading @throws ImageError "damaged-archive", "not-found" */
export async function tarFiles(path: string, scratch: string, signal?: AbortSignal): Promise<ArchiveFiles> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new ImageError("not-found", `${path} cannot be read (${error.code ?? error.message}); check the path.`, {
      cause: error,
    });
  });
  const whole = { path, start: 0, length: found.size };
  if (!(await isCompressed(path))) return indexed(whole, path, signal);
  try {
    await pipeline(Readable.from(decompressed(whole, path)), createWriteStream(scratch), { signal });
  } catch (error) {
    throw error instanceof ImageError ? damaged(path, "it cannot be decompressed", error) : error;
  }
  return indexed({ path: scratch, start: 0, length: (await stat(scratch)).size }, path, signal);
}

async function isCompressed(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), { position: 0 });
    return compressionOf(buffer.subarray(0, bytesRead)) !== "none";
  } catch (error) {
    if (error instanceof TarError) throw damaged(path, error.message, error);
    throw error;
  } finally {
    await file.close();
  }
}

/** Reads an archive through and remembers where its files are. */
async function indexed(archive: FileRange, shown: string, signal: AbortSignal | undefined): Promise<ArchiveFiles> {
  const files = new Map<string, FileRange>();
  const links = new Map<string, string>();
  let [piece, pieceAt]: [Uint8Array, number] = [new Uint8Array(0), 0];
  let current: TarEntry | undefined;
  const reader = new TarReader({
    entry: (entry) => {
      current = entry;
      if (files.size + links.size >= MOST_FILES) throw new TarError("too-many", "it has too many files");
      const name = plainName(entry.path);
      // Data, if there are any, tell where they begin.
      if (entry.type === "file") files.set(name, { path: archive.path, start: 0, length: 0 });
      else if (entry.type === "symlink") links.set(name, plainName(join(name, "..", entry.linkPath)));
      else if (entry.type === "link") links.set(name, plainName(entry.linkPath));
    },
    data: (bytes, offset) => {
      if (offset !== 0 || current === undefined) return;
      if (current.segments.length !== 1) throw new TarError("unsupported", "it has files with holes");
      const start = pieceAt + bytes.byteOffset - piece.byteOffset;
      files.set(plainName(current.path), { path: archive.path, start, length: current.sizeBytes });
    },
  });
  try {
    const stream = createReadStream(archive.path, { highWaterMark: CHUNK, ...(signal !== undefined && { signal }) });
    for await (const chunk of stream) {
      piece = chunk as Buffer;
      reader.push(piece);
      pieceAt += piece.length;
    }
    reader.finish();
  } catch (error) {
    if (error instanceof TarError) throw damaged(shown, error.message, error);
    throw error;
  }
  return {
    shown,
    find: async (name) => {
      let at = plainName(name);
      for (let hops = 0; hops < MOST_HOPS && links.has(at); hops++) at = links.get(at)!;
      return files.get(at);
    },
  };
}

/** "./a//b" → "a/b". */
function plainName(name: string): string {
  return join("/", name).slice(1);
}

/** A name that cannot leave a directory. */
function isPlain(name: string): boolean {
  return (
    name !== "" && !name.includes("\0") && name.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

function damaged(shown: string, why: string, cause: Error): ImageError {
  return new ImageError("damaged-archive", `${shown} is no whole tar archive: ${why}; make it again.`, { cause });
}

/** A small file, whole; undefined if there is none. @throws ImageError if it is larger than `limit` */
export async function readWhole(files: ArchiveFiles, name: string, limit: number): Promise<Buffer | undefined> {
  const range = await files.find(name);
  if (range === undefined) return undefined;
  if (range.length > limit)
    throw new ImageError(
      "damaged-archive",
      `${files.shown} has a ${JSON.stringify(name.slice(0, 200))} of ${range.length} bytes, more than any image's; make it again.`,
    );
  const file = await open(range.path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(range.length), { position: range.start });
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
