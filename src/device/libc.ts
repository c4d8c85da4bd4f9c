/* System calls that node:fs lacks, for shared directories and memory (see c-library.ts). Mere works without them: then `libc()` is undefined, and who
 * uses it says what is missing. Calls are direct: none of these waits for long. Any thread. @source renameat2(2), mknod(2), utimensat(2), fallocate(2), madvise(2) */
import { withCLibrary } from "./c-library.ts";

/** One second: the number of nanoseconds that tells utimensat something else. @source Linux include/linux/stat.h */
export const UTIME_NOW = (1n << 30n) - 1n;
export const UTIME_OMIT = (1n << 30n) - 2n;
/** @source Linux include/uapi/asm-generic/mman-common.h */
export const MADV_DONTNEED = 4;
export const MADV_REMOVE = 9;
const AT_FDCWD = -100;
const TIMES_BYTES = 32;

/** None throws; all give 0, or −errno where they fail. Paths are bytes, as the system takes them. */
export interface Libc {
  /** Neither name is followed. @param flags RENAME_NOREPLACE 1, RENAME_EXCHANGE 2 */
  renameat2(from: string | Buffer, to: string | Buffer, flags: number): number;
  /** @param mode with S_IFIFO or S_IFSOCK */
  mknod(path: string | Buffer, mode: number): number;
  /** Follows the path, as /proc/self/fd/N wants. @param atime, mtime [seconds, nanoseconds or UTIME_NOW or UTIME_OMIT] */
  utimensat(path: string | Buffer, atime: readonly [bigint, bigint], mtime: readonly [bigint, bigint]): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** @param address of `buffer`'s first byte is addressOf(buffer) */
  madvise(address: bigint, length: number, advice: number): number;
  /** The address of a buffer's bytes, which must stay where they are: those of a SharedArrayBuffer or of a wasm memory that does not grow. */
  addressOf(buffer: ArrayBufferLike): bigint;
}

let loaded: { readonly libc: Libc | undefined } | undefined;

/** Undefined where node:ffi is switched off or the C library is another. The first call takes some milliseconds. */
export function libc(): Libc | undefined {
  loaded ??= { libc: load() };
  return loaded.libc;
}

const SIGNATURES = {
  renameat2: { arguments: ["int32", "buffer", "int32", "buffer", "uint32"], return: "int32" },
  mknod: { arguments: ["buffer", "uint32", "uint64"], return: "int32" },
  utimensat: { arguments: ["int32", "buffer", "buffer", "int32"], return: "int32" },
  fallocate: { arguments: ["int32", "int32", "int64", "int64"], return: "int32" },
  madvise: { arguments: ["uint64", "uint64", "int32"], return: "int32" },
} as const;

function load(): Libc | undefined {
  return withCLibrary(SIGNATURES, ({ functions, ffi, again }) => ({
    renameat2: (from, to, flags) =>
      again(() => functions.renameat2(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags)),
    mknod: (path, mode) => again(() => functions.mknod(cString(path), mode, 0n)),
    utimensat: (path, atime, mtime) => {
      const times = Buffer.alloc(TIMES_BYTES);
      [...atime, ...mtime].forEach((word, i) => times.writeBigInt64LE(word, 8 * i));
      return again(() => functions.utimensat(AT_FDCWD, cString(path), times, 0));
    },
    fallocate: (fd, mode, offset, length) => again(() => functions.fallocate(fd, mode, BigInt(offset), BigInt(length))),
    madvise: (address, length, advice) => again(() => functions.madvise(address, BigInt(length), advice)),
    addressOf: (buffer) => ffi.getRawPointer(buffer as ArrayBuffer),
  }));
}

/** The bytes of a path with their NUL. */
function cString(path: string | Buffer): Buffer {
  const bytes = Buffer.from(path);
  return Buffer.concat([bytes, Buffer.of(0)]);
}
