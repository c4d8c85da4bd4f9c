/* Layers as the root disk's builder reads them: uncompressed, and only with the digest that the configuration tells.
 * @source OCI image specification "Layer DiffID"; RFC 1952 (gzip), RFC 8878 (zstd). The compression is what the bytes are, as in docker: media types have lied. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { ImageError } from "../image-error.ts";
import type { RootLayer } from "../store/options.ts";

/** Bytes of a file; the rest from `start`, or `length` of them. */
export interface FileRange {
  readonly path: string;
  readonly start: number;
  readonly length: number;
}

const CHUNK = 256 * 1024;
const GZIP = [0x1f, 0x8b];
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd];

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

/** Bytes of a file, uncompressed if they are gzip or zstd. @throws ImageError "damaged-layer" while it is read */
export async function* decompressed(range: FileRange, image: string): AsyncGenerator<Uint8Array> {
  const { path, start, length } = range;
  if (length === 0) return;
  const head = await firstBytes(range);
  const file = createReadStream(path, { start, end: start + length - 1, highWaterMark: CHUNK });
  const decoder = startsWith(head, GZIP)
    ? createGunzip({ chunkSize: CHUNK })
    : startsWith(head, ZSTD)
      ? createZstdDecompress({ chunkSize: CHUNK })
      : undefined;
  if (decoder === undefined) return yield* file as AsyncIterable<Uint8Array>;
  // Errors come out of the reading below.
  const output = pipeline(file, decoder, () => {});
  try {
    yield* output as AsyncIterable<Uint8Array>;
  } catch (error) {
    // zlib's codes; those of the system about the file are others.
    if (!/^(?:Z_|ZSTD_|ERR_)/.test((error as NodeJS.ErrnoException).code ?? "")) throw error;
    throw new ImageError(
      "damaged-layer",
      `A layer of ${image} is damaged and cannot be decompressed; get the image again, or use another.`,
      { cause: error },
    );
  }
}

async function firstBytes({ path, start, length }: FileRange): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(4, length)), { position: start });
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}
