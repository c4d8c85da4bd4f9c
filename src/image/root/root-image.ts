/* Makes the root disk of VMs from the layers of an image: one ext4 file, without root, without unpacking anything on the host. docs/images.md "From layers to a
 * root disk" says how. I/O thread; gives way to others now and then. */
import { createHash } from "node:crypto";
import { Readable, addAbortSignal } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { Ext4Error } from "../ext4/ext4-error.ts";
import { Ext4Writer } from "../ext4/ext4-writer.ts";
import { asUuid, checkLabel } from "../ext4/mkfs.ts";
import { withNewFile } from "../ext4/new-file.ts";
import { type ExtraEntry, addExtras, describeExtras } from "./extra-entries.ts";
import { FileData } from "./file-data.ts";
import { LayerTree } from "./layer-tree.ts";
import { RootImageError, type RootImageErrorCode } from "./root-image-error.ts";
import { TarError } from "./tar-error.ts";
import { TarReader, type TarSink } from "./tar-reader.ts";

/** A layer: a tar archive, not compressed (see decompressed()). */
export interface RootImageLayer {
  /** For messages. */
  readonly name: string;
  /** Called once, when the layers before it are done. */
  open(): AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;
  /** What the archive's bytes must give, as in an image's configuration: `sha256:` and 64 hex digits. */
  readonly diffId?: string | undefined;
  /** A directory over a link to a directory leaves the link, as dpkg does; container runtimes replace it. */
  readonly keepDirectoryLinks?: boolean | undefined;
}

export interface RootImageProgress {
  /** Which layer is being read, from 0. */
  readonly layer: number;
  /** Bytes of it that were read. */
  readonly bytes: number;
}

export interface RootImageOptions {
  /** From the lowest to the topmost. */
  readonly layers: Iterable<RootImageLayer> | AsyncIterable<RootImageLayer>;
  /** Put over the layers. */
  readonly extra?: readonly ExtraEntry[] | undefined;
  /** Path of the image, which is replaced if it is there. */
  readonly output: string;
  /** Of the disk, 1 MiB to 16 TiB; without it 16 GiB, or as much as is stored and as much again and 1 GiB. What is free takes no place on the host. */
  readonly sizeBytes?: number | undefined;
  /** Without sizeBytes, more than this is not stored (64 GiB): a small archive can be very much longer when it is decompressed. */
  readonly limitBytes?: number | undefined;
  /** 16 bytes; without them they are made of the content: same layers, same image. */
  readonly uuid?: Uint8Array | undefined;
  /** At most 16 bytes of UTF-8. */
  readonly label?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: RootImageProgress) => void) | undefined;
}

export interface RootImage {
  /** Of the disk. */
  readonly sizeBytes: number;
  /** What the tree takes of it. */
  readonly usedBytes: number;
  /** Files, directories and all else that is there. */
  readonly files: number;
  /** SHA-256 of each layer's archive, as `sha256:…`. */
  readonly diffIds: readonly string[];
  /** 16 bytes. */
  readonly uuid: Uint8Array;
}

const DEFAULT_LIMIT = 64 * 2 ** 30;
/** Archives are read in pieces of this at most, so that what waits for the disk stays small. */
const PIECE_BYTES = 1 << 20;
/** Changes when the same layers give another image. */
const RECIPE = 1;

/** Makes the image. It appears when it is whole and on the disk; after an error there is nothing of it.
 *  @throws RootImageError; what a layer's source throws of its own; the signal's reason */
export async function buildRootImage(options: RootImageOptions): Promise<RootImage> {
  const { output, sizeBytes, limitBytes = DEFAULT_LIMIT, label, signal } = options;
  try {
    checkLabel(label);
    return await withNewFile(output, async (file) => {
      const writer = new Ext4Writer(file, output, { sizeBytes, limitBytes });
      try {
        const merge = new Merge(writer);
        const diffIds: string[] = [];
        for await (const layer of options.layers) {
          signal?.throwIfAborted();
          diffIds.push(await readLayer(merge, layer, diffIds.length, options));
        }
        const uuid = options.uuid ?? uuidOf(diffIds, options);
        inLayer("what Mere adds", () => addExtras(merge, options.extra ?? []));
        const summary = await writer.finish(merge.tree.root, { uuid, label }, signal);
        return { ...summary, diffIds, uuid };
      } finally {
        await writer.settle();
      }
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof Ext4Error ? fromExt4(error, sizeBytes !== undefined) : error;
  }
}

/** Entries into the tree, data into the image. */
export class Merge implements TarSink {
  readonly tree: LayerTree;
  readonly writer: Ext4Writer;
  readonly #data: FileData;
  #hasFile = false;

  constructor(writer: Ext4Writer) {
    this.writer = writer;
    this.#data = new FileData(writer);
    this.tree = new LayerTree((file) => writer.free(file.extents));
  }
  entry(entry: Parameters<TarSink["entry"]>[0]): void {
    this.end();
    const file = this.tree.add(entry);
    if (file !== undefined) this.#data.begin(file, entry);
    this.#hasFile = file !== undefined;
  }
  data(bytes: Uint8Array, offset: number): void {
    if (this.#hasFile) this.#data.write(bytes, offset);
  }
  /** No more data of the entry come. */
  end(): void {
    if (this.#hasFile) this.#data.end();
    this.#hasFile = false;
  }
}

async function readLayer(
  merge: Merge,
  layer: RootImageLayer,
  index: number,
  { signal, onProgress }: RootImageOptions,
): Promise<string> {
  merge.tree.beginLayer(layer);
  const reader = new TarReader(merge);
  const hash = createHash("sha256");
  let bytes = 0;
  let sinceOthers = 0;
  try {
    for await (const chunk of abortable(await layer.open(), signal)) {
      hash.update(chunk);
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        const piece = chunk.subarray(at, at + PIECE_BYTES);
        reader.push(piece);
        await merge.writer.drain();
        if ((sinceOthers += piece.length) < PIECE_BYTES) continue;
        sinceOthers = 0;
        await setImmediate();
        signal?.throwIfAborted();
      }
      bytes += chunk.length;
      onProgress?.({ layer: index, bytes });
    }
    const isMarked = reader.finish();
    merge.end();
    const diffId = `sha256:${hash.digest("hex")}`;
    checkWhole(layer, isMarked, diffId);
    return diffId;
  } catch (error) {
    throw ofLayer(layer.name, error);
  }
}

/** A source of any kind that stops when the signal says so, even while nothing comes. */
function abortable(source: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  if (signal === undefined) return source;
  return addAbortSignal(signal, source instanceof Readable ? source : Readable.from(source));
}

/** An archive that stops between two entries may be cut off: then its digest decides. */
function checkWhole({ name, diffId: expected }: RootImageLayer, isMarked: boolean, diffId: string): void {
  if (expected !== undefined && expected !== diffId)
    throw new RootImageError(
      "wrong-digest",
      `Layer ${name} has other content than its digest ${expected} says: pull the image again.`,
    );
  if (expected === undefined && !isMarked) throw new TarError("damaged", "its end is missing");
}

function inLayer(name: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw ofLayer(name, error);
  }
}

const CODES: Readonly<Record<TarError["code"], RootImageErrorCode>> = {
  damaged: "damaged-layer",
  refused: "refused-entry",
  unsupported: "unsupported",
  "too-many": "too-large",
};
const SENTENCES: Readonly<Record<TarError["code"], (name: string, what: string) => string>> = {
  damaged: (name, what) => `Layer ${name} is damaged: ${what}. Pull or make the image again.`,
  refused: (name, what) =>
    `Layer ${name} has an entry that is refused: ${what}. Use another image, or make this one again without it.`,
  unsupported: (name, what) => `Layer ${name} cannot be read: ${what}. Make the image with another tool.`,
  "too-many": (name, what) => `Layer ${name} is too large: ${what}. Use a smaller image.`,
};

/** Errors of archives get the layer's name; those of reading a file or a pipe too. What has words for the user already stays as it is. */
function ofLayer(name: string, error: unknown): unknown {
  if (error instanceof TarError)
    return new RootImageError(CODES[error.code], SENTENCES[error.code](name, error.message), { cause: error });
  if (error instanceof Error && "syscall" in error)
    return new RootImageError(
      "failed",
      `Layer ${name} cannot be read (${error.message}): check the file it comes from.`,
      {
        cause: error,
      },
    );
  return error;
}

function fromExt4(error: Ext4Error, hasSize: boolean): RootImageError {
  const isTooMuch = error.code === "too-many" || (error.code === "too-small" && !hasSize);
  return new RootImageError(isTooMuch ? "too-large" : (error.code as RootImageErrorCode), error.message, {
    cause: error,
  });
}

function uuidOf(diffIds: readonly string[], { extra = [], sizeBytes, label }: RootImageOptions): Uint8Array {
  const content = JSON.stringify([RECIPE, diffIds, describeExtras(extra), sizeBytes ?? null, label ?? ""]);
  return asUuid(createHash("sha256").update(content).digest(), 8);
}
