/* Layers as the root disk's builder reads them: uncompressed, and only with the digest that the configuration tells.
 * @source OCI image specification "Layer DiffID"; RFC 1952 (gzip), RFC 8878 (zstd). The compression is what the bytes are, as in docker: media types have lied. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { ImageError } from "../image-error.ts";
import { decompressed as decompressedBytes } from "../root/decompress.ts";
import { TarError } from "../root/tar-error.ts";
import type { RootLayer } from "../store/options.ts";

/** Bytes of a file; the rest from `start`, or `length` of them. */
export interface FileRange {
  readonly path: string;
  readonly start: number;
  readonly length: number;
}

const CHUNK = 256 * 1024;

/** A layer in a file. Reading it throws ImageError: "damaged-layer" where the compression is broken, "digest-mismatch" at its end.
 *  @param diffId digest of the bytes uncompressed  @param image its name, for messages */
export function fileLayer(range: FileRange, diffId: string, image: string): RootLayer {
  return { name: `${image} ${diffId}`, open: () => checked(decompressed(range, image), diffId, image) };
}

/** A reader may stop at the archive's end mark: what follows counts for the digest all the same, so the rest is read then. */
function checked(bytes: AsyncIterable<Uint8Array>, diffId: string, image: string): AsyncIterableIterator<Uint8Array> {
  const hash = createHash("sha256");
  const source = bytes[Symbol.asyncIterator]();
  let isOver = false;
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    if (isOver) return { done: true, value: undefined };
    // Until there is a chunk, so that after an error nothing more is read.
    isOver = true;
    const step = await source.next();
    if (step.done !== true) {
      isOver = false;
      hash.update(step.value);
    } else if (`sha256:${hash.digest("hex")}` !== diffId) throw wrongContent(diffId, image);
    return step;
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next,
    return: async () => {
      while ((await next()).done !== true);
      return { done: true, value: undefined };
    },
  };
}

function wrongContent(diffId: string, image: string): ImageError {
  return new ImageError(
    "digest-mismatch",
    `A layer of ${image} does not have the content that its configuration tells (${diffId}); get the image again, or use another.`,
  );
}

/** Bytes of a file, uncompressed if they are gzip or zstd. @throws ImageError "damaged-layer", "unsupported" while it is read */
export async function* decompressed(range: FileRange, image: string): AsyncGenerator<Uint8Array> {
  const { path, start, length } = range;
  if (length === 0) return;
  const file = createReadStream(path, { start, end: start + length - 1, highWaterMark: CHUNK });
  try {
    yield* decompressedBytes(file as AsyncIterable<Uint8Array>);
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    throw new ImageError(
      error.code === "unsupported" ? "unsupported" : "damaged-layer",
      `A layer of ${image} cannot be read: ${error.message}; get the image again, or use another.`,
      { cause: error },
    );
  }
}
