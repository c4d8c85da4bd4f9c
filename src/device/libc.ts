/* System calls that node:fs lacks, for disks, shared directories and memory (see c-library.ts). Mere works without them: then `libc()` is undefined, and who
 * uses it says what is missing. Calls are direct: none of these waits for long. Any thread.
 * @source renameat2(2), mknod(2), utimensat(2), fallocate(2), madvise(2), flock(2), readv(2) */
import { withCLibrary } from "./c-library.ts";

/** One second: the number of nanoseconds that tells utimensat something else. @source Linux include/linux/stat.h */
export const UTIME_NOW = (1n << 30n) - 1n;
export const UTIME_OMIT = (1n << 30n) - 2n;
/** @source Linux include/uapi/asm-generic/mman-common.h */
export const MADV_DONTNEED = 4;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
/** FALLOC_FL_*. @source linux/falloc.h */
export const Falloc = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;
/** LOCK_*. @source flock(2) */
export const Flock = { SHARED: 1, EXCLUSIVE: 2, NON_BLOCKING: 4, UNLOCK: 8 } as const;
/** Fail with EAGAIN rather than wait for the device. @source linux/fs.h */
export const RWF_NOWAIT = 8;
const FICLONE = 0x40049409n;
const SEEK_DATA = 3;
export const ENXIO = 6;
export const EAGAIN = 11;
export const ENOSYS = 38;
export const EOPNOTSUPP = 95;
const AT_FDCWD = -100;
const TIMES_BYTES = 32;

/** None throws; where they fail all give −errno, else 0 if nothing else is said. Paths are bytes, as the system takes them. */
export interface Libc {
  /** Neither name is followed. @param flags RENAME_NOREPLACE 1, RENAME_EXCHANGE 2 */
  renameat2(from: string | Buffer, to: string | Buffer, flags: number): number;
  /** @param mode with S_IFIFO or S_IFSOCK */
  mknod(path: string | Buffer, mode: number): number;
  /** Follows the path, as /proc/self/fd/N wants. @param atime, mtime [seconds, nanoseconds or UTIME_NOW or UTIME_OMIT] */
  utimensat(path: string | Buffer, atime: readonly [bigint, bigint], mtime: readonly [bigint, bigint]): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  flock(fd: number, operation: number): number;
  /** Where a file has data from `offset` on, or −ENXIO: nowhere. @source lseek(2) SEEK_DATA */
  seekData(fd: number, offset: number): number;
  /** Makes the file share all blocks of another. @source ioctl_ficlone(2) */
  clone(fd: number, from: number): number;
  /** @param vectors address of `count` pairs of u64: address and length  @param flags RWF_NOWAIT or 0  @returns bytes read or written */
  preadv2(fd: number, vectors: bigint, count: number, offset: number, flags: number): number;
  pwritev2(fd: number, vectors: bigint, count: number, offset: number, flags: number): number;
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
  flock: { arguments: ["int32", "int32"], return: "int32" },
  lseek: { arguments: ["int32", "int64", "int32"], return: "int64" },
  ioctl: { arguments: ["int32", "uint64", "int32"], return: "int32" },
  // Its offset is one word here; the other is the high half on 32-bit systems.
  preadv2: { arguments: ["int32", "uint64", "int32", "int64", "int64", "int32"], return: "int64" },
  pwritev2: { arguments: ["int32", "uint64", "int32", "int64", "int64", "int32"], return: "int64" },
} as const;

function load(): Libc | undefined {
  return withCLibrary(SIGNATURES, ({ functions, ffi, checked, again }) => ({
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
    flock: (fd, operation) => again(() => functions.flock(fd, operation)),
    seekData: (fd, offset) => checked(functions.lseek(fd, BigInt(offset), SEEK_DATA)),
    clone: (fd, from) => again(() => functions.ioctl(fd, FICLONE, from)),
    preadv2: (fd, vectors, count, offset, flags) =>
      checked(functions.preadv2(fd, vectors, count, BigInt(offset), 0n, flags)),
    pwritev2: (fd, vectors, count, offset, flags) =>
      checked(functions.pwritev2(fd, vectors, count, BigInt(offset), 0n, flags)),
    addressOf: (buffer) => ffi.getRawPointer(buffer as ArrayBuffer),
  }));
}

/** The bytes of a path with their NUL. */
function cString(path: string | Buffer): Buffer {
  const bytes = Buffer.from(path);
  return Buffer.concat([bytes, Buffer.of(0)]);
}
