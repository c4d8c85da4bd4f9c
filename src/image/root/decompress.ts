/* Layers as they are stored: gzip, zstd or plain tar, told apart by their first bytes, since media types of registries are not always right.
 * @source RFC 1952 §2.3.1, RFC 8878 §3.1 */
import { Readable, type Transform, pipeline } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { TarError } from "./tar-error.ts";

export type Compression = "gzip" | "zstd" | "none";

const CHUNK_BYTES = 256 * 1024;
const MAGIC: Readonly<Record<Compression | "xz" | "bzip2", string>> = {
  gzip: "\x1f\x8b",
  zstd: "\x28\xb5\x2f\xfd",
  xz: "\xfd7zXZ\0",
  bzip2: "BZh",
  none: "",
};
/** zstd's frames that hold no data begin with one of 50 to 5F, then this. */
const SKIPPABLE = "\x2a\x4d\x18";
const HEAD_BYTES = 6;

/** @param head the first 6 bytes or more, or all there are @throws TarError "unsupported" */
export function compressionOf(head: Uint8Array): Compression {
  const text = Buffer.from(head.subarray(0, HEAD_BYTES)).toString("latin1");
  if (text.charCodeAt(0) >> 4 === 5 && text.startsWith(SKIPPABLE, 1)) return "zstd";
  const names = Object.keys(MAGIC) as (keyof typeof MAGIC)[];
  const found = names.find((name) => text.startsWith(MAGIC[name]))!;
  if (found === "xz" || found === "bzip2")
    throw new TarError("unsupported", `it is compressed with ${found}, not with gzip or zstd`);
  return found;
}

/** The bytes behind whichever compression there is. @throws TarError "damaged" and "unsupported", and what the source throws */
export async function* decompressed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  try {
    while (head.length < HEAD_BYTES) {
      const { done, value } = await iterator.next();
      if (done === true) break;
      head = head.length === 0 ? value : Buffer.concat([head, value]);
    }
    const compression = compressionOf(head);
    const all = withHead(head, iterator);
    if (compression === "none") yield* all;
    else yield* through(all, compression);
  } finally {
    await iterator.return?.();
  }
}

async function* withHead(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (;;) {
    const { done, value } = await rest.next();
    if (done === true) return;
    yield value;
  }
}

async function* through(source: AsyncIterable<Uint8Array>, compression: "gzip" | "zstd"): AsyncGenerator<Uint8Array> {
  const options = { chunkSize: CHUNK_BYTES };
  const transform: Transform = compression === "gzip" ? createGunzip(options) : createZstdDecompress(options);
  // What fails is thrown by the loop below, so the callback has nothing to tell.
  pipeline(Readable.from(source), transform, () => {});
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (/^(Z_|ZSTD_|ERR_ZSTD|ERR_ZLIB)/.test(code))
      throw new TarError("damaged", `its ${compression} compression is damaged or cut off`, { cause: error });
    throw error;
  }
}
