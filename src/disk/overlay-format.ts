/* The file of an overlay: header, map and data. @source docs/disks.md. All numbers little-endian; pure, any thread.
 *
 *   0      8  magic "mere-ovl"            56    8  base: mtime, ns since 1970 (i64)
 *   8      4  version, 1                  64   32  base: SHA-256 of its first 64 KiB
 *   12     4  bytes of the base's path    508   4  CRC-32 of bytes 0–507
 *   16     8  bytes of the disk           512   …  base: absolute path, UTF-8
 *   24     8  bytes of the base           4092  4  CRC-32 of bytes 512–4091
 *   32    24  zero
 *   4096      map: 2 bits a block from bit 0 of each byte up, see Block
 *   2^28 + 4096  data of block n at n × 4096 from here
 *
 * The first sector alone changes when the disk grows: a sector is written whole or not at all. */
import { crc32 } from "node:zlib";
import { DiskError } from "./disk-error.ts";

export const BLOCK_BYTES = 4096;
export const HEADER_BYTES = 4096;
/** Of the header; what growing writes. */
export const FIRST_SECTOR_BYTES = 512;
export const MAP_OFFSET = HEADER_BYTES;
const MAP_ROOM_BYTES = 1 << 28;
export const DATA_OFFSET = MAP_OFFSET + MAP_ROOM_BYTES;
/** For which the map has room: 4 TiB. */
export const MOST_DISK_BYTES = MAP_ROOM_BYTES * 4 * BLOCK_BYTES;
const MAGIC = "mere-ovl";
const VERSION = 1;
const MOST_PATH_BYTES = HEADER_BYTES - FIRST_SECTOR_BYTES - 4;
const PATH_CRC = HEADER_BYTES - 4;
const SECTOR_CRC = FIRST_SECTOR_BYTES - 4;

/** Where a block is. */
export const Block = { BASE: 0, HERE: 1, ZERO: 2 } as const;

/** By what a base is known again. */
export interface BaseIdentity {
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  /** SHA-256 of its first 64 KiB. */
  readonly head: Uint8Array;
}
export interface OverlayHeader {
  /** A multiple of BLOCK_BYTES. */
  readonly sizeBytes: number;
  readonly base: BaseIdentity;
  readonly basePath: string;
}

/** @throws DiskError bad-size, where the path of the base is too long */
export function encodeHeader(header: OverlayHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const path = new TextEncoder().encode(header.basePath);
  if (path.length > MOST_PATH_BYTES)
    throw new DiskError("bad-size", `${header.basePath} is too long a path for an overlay's base: move it.`);
  bytes.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, VERSION, true);
  view.setUint32(12, path.length, true);
  view.setBigUint64(16, BigInt(header.sizeBytes), true);
  view.setBigUint64(24, BigInt(header.base.sizeBytes), true);
  view.setBigInt64(56, header.base.mtimeNs, true);
  bytes.set(header.base.head, 64);
  bytes.set(path, FIRST_SECTOR_BYTES);
  view.setUint32(SECTOR_CRC, crc32(bytes.subarray(0, SECTOR_CRC)), true);
  view.setUint32(PATH_CRC, crc32(bytes.subarray(FIRST_SECTOR_BYTES, PATH_CRC)), true);
  return bytes;
}

/** Reads a header from a file that may be anything. @param fileBytes the file's size  @throws DiskError damaged */
export function decodeHeader(bytes: Uint8Array, fileBytes: number, path: string): OverlayHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const damaged = (what: string): DiskError => new DiskError("damaged", `${path} ${what}`);
  if (bytes.length < HEADER_BYTES || new TextDecoder("latin1").decode(bytes.subarray(0, 8)) !== MAGIC)
    throw damaged("is no overlay of Mere's: give the path of one, or attach a raw image as a raw disk.");
  const damage = (): DiskError => damaged("is a damaged overlay (its header does not add up): restore it from a copy.");
  if (view.getUint32(SECTOR_CRC, true) !== crc32(bytes.subarray(0, SECTOR_CRC))) throw damage();
  const version = view.getUint32(8, true);
  if (version !== VERSION) throw damaged(`is an overlay of version ${version}, from a newer Mere: use that one.`);
  if (view.getUint32(PATH_CRC, true) !== crc32(bytes.subarray(FIRST_SECTOR_BYTES, PATH_CRC))) throw damage();
  const pathBytes = view.getUint32(12, true);
  const sizeBytes = Number(view.getBigUint64(16, true));
  const baseBytes = Number(view.getBigUint64(24, true));
  if (!isOverlaySize(sizeBytes) || baseBytes > sizeBytes || pathBytes > MOST_PATH_BYTES) throw damage();
  if (fileBytes < DATA_OFFSET + sizeBytes) throw damaged("is cut off: restore it from a whole copy.");
  return {
    sizeBytes,
    base: { sizeBytes: baseBytes, mtimeNs: view.getBigInt64(56, true), head: bytes.slice(64, 96) },
    basePath: new TextDecoder().decode(bytes.subarray(FIRST_SECTOR_BYTES, FIRST_SECTOR_BYTES + pathBytes)),
  };
}

/** Can a disk over a base be this large? */
export function isOverlaySize(sizeBytes: number): boolean {
  return (
    Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes <= MOST_DISK_BYTES && sizeBytes % BLOCK_BYTES === 0
  );
}
