/* LZ4 "legacy" frames, the form that Linux's build makes (`lz4 -l`): a magic number, then blocks of a u32 compressed size and the data.
 * @source lz4 doc/lz4_Block_format.md, lz4_Frame_format.md §"Legacy frame". Leaves out the modern frame, which the kernel does not read.
 * No library: the maintained ones are native or do not read legacy frames, and the format is one page. */
import { CompressionError } from "./compression-error.ts";

export const LZ4_LEGACY_MAGIC = 0x184c2102;

const MIN_MATCH = 4;

/** Decompresses a legacy frame. Blocking; tens of milliseconds for a kernel.
 *  @param sizeBytes what the data must decompress to  @throws CompressionError on damaged data, or a different size */
export function decompressLz4Legacy(data: Uint8Array, sizeBytes: number): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 4 || view.getUint32(0, true) !== LZ4_LEGACY_MAGIC)
    throw new CompressionError("no LZ4 legacy frame");
  const out = new Uint8Array(sizeBytes);
  let at = 4;
  let written = 0;
  while (at + 4 <= data.length) {
    const length = view.getUint32(at, true);
    at += 4;
    if (length === LZ4_LEGACY_MAGIC) continue; // concatenated frames
    if (length > data.length - at) throw new CompressionError("LZ4 data ends inside a block");
    written = decompressBlock(data, at, at + length, out, written);
    at += length;
  }
  if (written !== sizeBytes) throw new CompressionError(`LZ4 data gives ${written} bytes instead of ${sizeBytes}`);
  return out;
}

/** One block: sequences of token, literals, offset, match. @returns where writing ended */
function decompressBlock(data: Uint8Array, start: number, end: number, out: Uint8Array, written: number): number {
  const blockStart = written;
  let at = start;
  while (at < end) {
    const token = data[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (at >= end) throw new CompressionError("LZ4 length runs out of its block");
        literals += more = data[at++]!;
      } while (more === 255);
    }
    if (literals > end - at || literals > out.length - written)
      throw new CompressionError("LZ4 literals run out of their block");
    if (literals > 32) out.set(data.subarray(at, at + literals), written);
    else for (let i = 0; i < literals; i++) out[written + i] = data[at + i]!;
    at += literals;
    written += literals;
    if (at === end) return written; // the last sequence has no match
    if (end - at < 2) throw new CompressionError("LZ4 offset runs out of its block");
    const offset = data[at]! | (data[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + MIN_MATCH;
    if (length === 15 + MIN_MATCH) {
      let more: number;
      do {
        if (at >= end) throw new CompressionError("LZ4 length runs out of its block");
        length += more = data[at++]!;
      } while (more === 255);
    }
    if (offset === 0 || offset > written - blockStart) throw new CompressionError("LZ4 match lies before its block");
    if (length > out.length - written) throw new CompressionError("LZ4 data is longer than it says");
    // An overlapping match repeats what it is just writing, so it cannot be one copy.
    if (offset >= length && length > 32) out.copyWithin(written, written - offset, written - offset + length);
    else for (let i = 0; i < length; i++) out[written + i] = out[written - offset + i]!;
    written += length;
  }
  return written;
}
