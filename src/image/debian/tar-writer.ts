/* Writes entries of a tar archive. @source POSIX.1-2017 pax "ustar Interchange Format", "pax Extended Header"; star(5) (SCHILY.xattr.)
 * Leaves out sparse files: their holes are written as zeros. */
import type { TarEntry } from "../root/tar-reader.ts";

const BLOCK = 512;
const TYPES: Readonly<Record<TarEntry["type"], string>> = {
  file: "0",
  link: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
};

/** Bytes after the last entry. */
export const TAR_END = Buffer.alloc(2 * BLOCK);

/** What an entry of the writer's own needs; names are one character a byte, as in TarEntry. */
export type NewEntry = Pick<TarEntry, "type" | "path" | "mode"> & Partial<TarEntry>;

/** The header of an entry, with a pax header before it where ustar's fields do not suffice. */
export function entryHeader(entry: NewEntry): Buffer {
  const size = entry.type === "file" ? (entry.sizeBytes ?? 0) : 0;
  const records: Buffer[] = [];
  const short = (key: string, value: string, length: number): string => {
    if (value.length <= length) return value;
    records.push(paxRecord(key, Buffer.from(value, "latin1")));
    return value.slice(0, length);
  };
  const path = short("path", entry.path, 100);
  const linkPath = short("linkpath", entry.linkPath ?? "", 100);
  for (const { name, value } of entry.xattrs ?? []) records.push(paxRecord(`SCHILY.xattr.${name}`, value));
  const header = ustar({ ...entry, path, linkPath }, TYPES[entry.type], size);
  if (records.length === 0) return header;
  const extended = Buffer.concat(records);
  const description = ustar({ type: "file", path: "pax", mode: 0o644 }, "x", extended.length);
  return Buffer.concat([description, extended, padding(extended.length), header]);
}

/** What follows the data of a file. */
export function padding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK);
}

/** A whole file. */
export function fileEntry(path: string, content: string | Uint8Array, mode = 0o644): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([
    entryHeader({ type: "file", path, mode, sizeBytes: bytes.length }),
    bytes,
    padding(bytes.length),
  ]);
}

function ustar(entry: NewEntry, type: string, sizeBytes: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(entry.path, 0, 100, "latin1");
  octal(block, 100, 8, entry.mode);
  octal(block, 108, 8, entry.uid ?? 0);
  octal(block, 116, 8, entry.gid ?? 0);
  octal(block, 124, 12, sizeBytes);
  octal(block, 136, 12, Math.max(0, entry.mtimeSeconds ?? 0));
  block.write(type, 156, "latin1");
  block.write(entry.linkPath ?? "", 157, 100, "latin1");
  block.write("ustar\u000000", 257, "latin1");
  octal(block, 329, 8, entry.major ?? 0);
  octal(block, 337, 8, entry.minor ?? 0);
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

/** Octal text, or base 256 where that is too short. */
function octal(block: Buffer, at: number, length: number, value: number): void {
  const text = value.toString(8).padStart(length - 1, "0");
  if (text.length < length) block.write(text, at, "latin1");
  else {
    block.writeBigUInt64BE(BigInt(value), at + length - 8);
    block[at] = 0x80;
  }
}

function paxRecord(key: string, value: Uint8Array): Buffer {
  const rest = 1 + key.length + 1 + value.length + 1;
  // The length counts its own digits.
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`, "latin1"), value, Buffer.from("\n")]);
}
