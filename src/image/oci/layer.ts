/* Layers in files, as the root disk's builder reads them: uncompressed. It checks their digests.
 * @source OCI image specification "Layer DiffID". The compression is what the bytes are, as in docker: media types have lied. */
import { createReadStream } from "node:fs";
import { ImageError } from "../image-error.ts";
import { decompressed as decompressedBytes } from "../root/decompress.ts";
import type { RootImageLayer } from "../root/root-image.ts";
import { TarError } from "../root/tar-error.ts";

/** Bytes of a file. */
export interface FileRange {
  readonly path: string;
  readonly start: number;
  readonly length: number;
}

const CHUNK = 256 * 1024;

/** Layers as the builder reads them, from the lowest to the highest.
 *  @param diffIds their digests uncompressed  @param image its name, for messages  @param onProgress bytes of the files that were read, of all */
export function fileLayers(
  ranges: readonly FileRange[],
  diffIds: readonly string[],
  image: string,
  onProgress?: (done: number, total: number) => void,
): RootImageLayer[] {
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  const onRead = (bytes: number): void => onProgress?.((done += bytes), total);
  return ranges.map((range, index) => ({
    name: `${index + 1} of ${image}`,
    diffId: diffIds[index]!,
    open: () => decompressed(range, image, onRead),
  }));
}

/** Bytes of a file, uncompressed if they are gzip or zstd. @throws ImageError "damaged-layer", "unsupported" while it is read */
export async function* decompressed(
  range: FileRange,
  image: string,
  onRead?: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const { path, start, length } = range;
  if (length === 0) return;
  const file = createReadStream(path, { start, end: start + length - 1, highWaterMark: CHUNK });
  try {
    yield* decompressedBytes(counted(file as AsyncIterable<Uint8Array>, onRead));
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    throw new ImageError(
      error.code === "unsupported" ? "unsupported" : "damaged-layer",
      `A layer of ${image} cannot be read: ${error.message}; get the image again, or use another.`,
      { cause: error },
    );
  }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  onRead: ((bytes: number) => void) | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    yield chunk;
    onRead?.(chunk.length);
  }
}
