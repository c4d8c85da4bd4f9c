/* The .xz container and its x86 filter, as far as Linux writes them: kernel payloads (CRC32, x86 filter, LZMA2) and modules (.ko.xz).
 * @source The .xz file format 1.2.0, xz.tukaani.org. Leaves out CRC64 and SHA-256 checks and other filters, as Linux's own decoder does. */
import { crc32 } from "node:zlib";
import { CompressionError } from "./compression-error.ts";
import { decodeLzma2 } from "./lzma2.ts";

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] as const;
const HEADER_SIZE = 12;
const FOOTER_SIZE = 12;
const CHECK_CRC32 = 1;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;

/** Does the data start as an .xz stream? */
export function isXz(data: Uint8Array): boolean {
  return data.length >= HEADER_SIZE && MAGIC.every((byte, i) => data[i] === byte);
}

/** Decompresses one .xz stream. Blocking; about a second for a kernel.
 *  @param sizeBytes how long the result is, or undefined: as its index says  @throws CompressionError */
export function decompressXz(data: Uint8Array, sizeBytes: number = indexedSize(data)): Uint8Array {
  if (!isXz(data)) throw new CompressionError("no xz stream");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const check = data[7]!;
  if (crc32(data.subarray(6, 8)) !== view.getUint32(8, true)) throw new CompressionError("xz stream header is damaged");
  if (data[6] !== 0 || check > CHECK_CRC32)
    throw new CompressionError(`xz check of kind ${check} is not supported (only CRC32)`);
  const out = new Uint8Array(sizeBytes);
  let at = HEADER_SIZE;
  let written = 0;
  while (at < data.length && data[at] !== 0) {
    const block = readBlockHeader(data, at);
    const end = decodeLzma2(data, block.dataAt, out, written);
    const plain = out.subarray(written, end.written);
    if (block.x86Start !== undefined) unfilterX86(plain, block.x86Start);
    for (at = end.at; (at - block.dataAt) % 4 !== 0; at++)
      if (data[at] !== 0) throw new CompressionError("xz block padding is damaged");
    if (check === CHECK_CRC32) {
      if (at + 4 > data.length || crc32(plain) !== view.getUint32(at, true))
        throw new CompressionError("xz block does not match its check");
      at += 4;
    }
    written = end.written;
  }
  if (written !== sizeBytes) throw new CompressionError(`xz data gives ${written} bytes instead of ${sizeBytes}`);
  return out;
}

/** The sum of the blocks' sizes, from the index at the stream's end. */
function indexedSize(data: Uint8Array): number {
  const footer = data.length - FOOTER_SIZE;
  if (footer < HEADER_SIZE || data[data.length - 2] !== 0x59 || data[data.length - 1] !== 0x5a)
    throw new CompressionError("xz stream has no footer");
  const backward = (new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(footer + 4, true) + 1) * 4;
  if (backward > footer) throw new CompressionError("xz index lies outside its stream");
  const reader = { data, at: footer - backward + 1 };
  let total = 0;
  for (let records = readVli(reader); records > 0; records--) {
    readVli(reader);
    total += readVli(reader);
  }
  // 512 MiB: far above any kernel or module; a damaged index must not take the host's memory.
  if (total > 512 * 1024 * 1024) throw new CompressionError(`xz data of ${total} bytes is too large`);
  return total;
}

function readBlockHeader(data: Uint8Array, at: number): { dataAt: number; x86Start: number | undefined } {
  const size = (data[at]! + 1) * 4;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (size > data.length - at || crc32(data.subarray(at, at + size - 4)) !== view.getUint32(at + size - 4, true))
    throw new CompressionError("xz block header is damaged");
  const flags = data[at + 1]!;
  const reader = { data: data.subarray(0, at + size - 4), at: at + 2 };
  if (flags & 0x40) readVli(reader);
  if (flags & 0x80) readVli(reader);
  let x86Start: number | undefined;
  let last = 0;
  for (let i = 0; i <= (flags & 3); i++) {
    last = readVli(reader);
    const properties = readVli(reader);
    if (last === FILTER_X86) x86Start = properties === 4 ? view.getUint32(reader.at, true) : 0;
    else if (last !== FILTER_LZMA2)
      throw new CompressionError(`xz filter 0x${last.toString(16)} is not supported (only x86 and LZMA2)`);
    reader.at += properties;
  }
  if (last !== FILTER_LZMA2) throw new CompressionError("xz block does not end in LZMA2");
  return { dataAt: at + size, x86Start };
}

/** A variable-length integer: 7 bits a byte, least significant first. @source §1.2 */
function readVli(reader: { data: Uint8Array; at: number }): number {
  let value = 0;
  for (let i = 0; i < 7; i++) {
    if (reader.at >= reader.data.length) break;
    const byte = reader.data[reader.at++]!;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  throw new CompressionError("xz integer is damaged");
}

const isSignByte = (byte: number): boolean => byte === 0 || byte === 0xff;
/** By which of the last three bytes were CALL or JMP opcodes: may this opcode's operand have been converted? */
const MASK_ALLOWED = [true, true, true, false, true, false, false, false] as const;
const MASK_BYTE = [0, 1, 2, 2, 3, 3, 3, 3] as const;

/** Turns the absolute targets of CALL and JMP back into relative ones, in place. @source The .xz file format §5.3.2 (Branch/Call/Jump filters) */
function unfilterX86(code: Uint8Array, start: number): void {
  let mask = 0;
  let previous = -5;
  for (let at = 0; at + 5 <= code.length;) {
    if ((code[at]! & 0xfe) !== 0xe8) {
      at++;
      continue;
    }
    const distance = at - previous;
    previous = at;
    if (distance > 5) mask = 0;
    else for (let i = 0; i < distance; i++) mask = (mask & 0x77) << 1;
    const top = code[at + 4]!;
    if (!isSignByte(top) || !MASK_ALLOWED[(mask >>> 1) & 7] || mask >>> 1 >= 0x10) {
      at++;
      mask |= isSignByte(top) ? 0x11 : 1;
      continue;
    }
    let target = code[at + 1]! | (code[at + 2]! << 8) | (code[at + 3]! << 16) | (top << 24);
    let relative: number;
    for (;;) {
      relative = (target - (start + at + 5)) | 0;
      if (mask === 0) break;
      const shift = MASK_BYTE[mask >>> 1]! * 8;
      if (!isSignByte((relative >>> (24 - shift)) & 0xff)) break;
      target = relative ^ (shift === 0 ? -1 : (1 << (32 - shift)) - 1);
    }
    code[at + 1] = relative;
    code[at + 2] = relative >>> 8;
    code[at + 3] = relative >>> 16;
    code[at + 4] = (relative >>> 24) & 1 ? 0xff : 0;
    at += 5;
    mask = 0;
  }
}
