/* What is told of a file in a guest, in frames both ways: mode, uid, gid, size, mtime. */
import type { FrameReader, FrameWriter } from "./protocol.ts";

/** S_IFMT's values. @source inode(7) */
export const FileType = { DIRECTORY: 0o040000, FILE: 0o100000, SYMLINK: 0o120000, MASK: 0o170000 } as const;

export type FileKind = "file" | "directory" | "symlink" | "other";

/** A file's attributes. */
export interface FileInfo {
  readonly kind: FileKind;
  /** Permission bits with set-uid, set-gid and sticky: 0–07777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  /** To the microsecond or so: a Date holds milliseconds. */
  readonly modified: Date;
}

/** A file in a directory. Names that are not UTF-8 come with U+FFFD in them. */
export interface FileEntry extends FileInfo {
  readonly name: string;
  /** Where a symbolic link leads. */
  readonly target?: string;
}

/** To the nearest millisecond, as Node tells the times of files. */
const toDate = (seconds: number, nanoseconds: number): Date => new Date(Math.round(seconds * 1000 + nanoseconds / 1e6));

/** @throws RangeError when the frame ends too early */
export function readInfo(reader: FrameReader): FileInfo {
  const mode = reader.u32();
  const info = { uid: reader.u32(), gid: reader.u32(), sizeBytes: Number(reader.u64()) };
  const seconds = Number(reader.i64());
  const nanoseconds = reader.u32();
  const type = mode & FileType.MASK;
  let kind: FileKind = "other";
  if (type === FileType.FILE) kind = "file";
  else if (type === FileType.DIRECTORY) kind = "directory";
  else if (type === FileType.SYMLINK) kind = "symlink";
  return { kind, mode: mode & 0o7777, ...info, modified: toDate(seconds, nanoseconds) };
}

/** @throws RangeError when the frame ends too early */
export function readEntry(reader: FrameReader): FileEntry {
  const name = reader.text();
  const info = readInfo(reader);
  const target = reader.text();
  return { name, ...info, ...(info.kind === "symlink" && { target }) };
}

/** @param modifiedMs may have a fraction */
export function writeInfo(
  frame: FrameWriter,
  info: { mode: number; uid: number; gid: number; sizeBytes: number; modifiedMs: number },
): FrameWriter {
  const seconds = Math.floor(info.modifiedMs / 1000);
  return frame
    .u32(info.mode)
    .u32(info.uid)
    .u32(info.gid)
    .u64(BigInt(info.sizeBytes))
    .u64(BigInt(seconds))
    .u32(Math.floor((info.modifiedMs - seconds * 1000) * 1e6));
}
