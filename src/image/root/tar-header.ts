/* The 512-byte header of a tar entry. @source POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"
 *
 *   0 name (100) · 100 mode (8) · 108 uid (8) · 116 gid (8) · 124 size (12) · 136 mtime (12) · 148 checksum (8) · 156 type (1) · 157 link name (100)
 *   257 magic "ustar\0" "00", GNU "ustar  \0" · 265 uname (32) · 297 gname (32) · 329 major (8) · 337 minor (8) · 345 prefix (155)
 *
 * Numbers are octal text, or GNU's base 256 with the top bit set. Names of users and groups are left out: the image's numbers count. */
import { TarError } from "./tar-error.ts";

export const TAR_BLOCK = 512;

export interface TarHeader {
  /** One character a byte, like all names here. */
  readonly name: string;
  readonly linkName: string;
  /** The type's byte, as a character. */
  readonly type: string;
  /** 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly major: number;
  readonly minor: number;
}

const DEVICE_TYPES = "34";

/** @returns undefined for a block of zeros, which ends an archive @throws TarError "damaged" */
export function parseHeader(block: Buffer): TarHeader | undefined {
  const expected = checksum(block);
  if (expected.unsigned === 8 * 32 && block.every((byte) => byte === 0)) return undefined;
  const sum = readNumber(block, 148, 8);
  if (sum !== expected.unsigned && sum !== expected.signed)
    throw new TarError("damaged", "a header has a wrong checksum");
  const type = String.fromCharCode(block[156]!);
  const isDevice = DEVICE_TYPES.includes(type);
  const name = readText(block, 0, 100);
  return {
    name: hasPrefix(block) ? join(readText(block, 345, 155), name) : name,
    linkName: readText(block, 157, 100),
    type,
    mode: readNumber(block, 100, 8) & 0o7777,
    uid: readNumber(block, 108, 8),
    gid: readNumber(block, 116, 8),
    sizeBytes: readNumber(block, 124, 12),
    mtimeSeconds: readNumber(block, 136, 12),
    major: isDevice ? readNumber(block, 329, 8) : 0,
    minor: isDevice ? readNumber(block, 337, 8) : 0,
  };
}

const join = (prefix: string, name: string): string => (prefix === "" ? name : `${prefix}/${name}`);

/** GNU's magic means other fields at the prefix's place. */
const hasPrefix = (block: Buffer): boolean => block.toString("latin1", 257, 263) === "ustar\0";

/** The sum over all bytes, the checksum's own taken as blanks; some old programs took bytes as signed. */
function checksum(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 8 * 32;
  let high = 0;
  for (let i = 0; i < TAR_BLOCK; i++) {
    if (i === 148) i = 156;
    unsigned += block[i]!;
    high += block[i]! >> 7;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

export function readText(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at);
  return block.toString("latin1", at, end === -1 || end > at + length ? at + length : end);
}

/** @throws TarError "damaged" if it is no number, or none that can be exact */
export function readNumber(block: Buffer, at: number, length: number): number {
  if (block[at]! >= 0x80) return readBase256(block, at, length);
  let value = 0;
  let i = at;
  const end = at + length;
  while (i < end && block[i] === 0x20) i++;
  for (; i < end && block[i]! >= 0x30 && block[i]! <= 0x37; i++) value = value * 8 + block[i]! - 0x30;
  if (i < end && block[i] !== 0 && block[i] !== 0x20)
    throw new TarError("damaged", "a header has a field that is no number");
  return value;
}

/** Two's complement, big-endian, with the top bit as the mark and the next as the sign. */
function readBase256(block: Buffer, at: number, length: number): number {
  let value = BigInt(block[at]! & 0x7f);
  if (block[at]! & 0x40) value -= 0x80n;
  for (let i = at + 1; i < at + length; i++) value = value * 256n + BigInt(block[i]!);
  const exact = Number(value);
  if (!Number.isSafeInteger(exact)) throw new TarError("damaged", "a header has a number that is too large");
  return exact;
}
