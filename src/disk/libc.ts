/* The system calls for disks that node:fs lacks, through node:ffi (in Node 26 without a flag, experimental). Mere works without them: then `libc` is undefined.
 * Any thread. @source fallocate(2), flock(2), readv(2) */
import { withCLibrary } from "../device/c-library.ts";

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

/** All take a descriptor first, never throw, and give −errno where they fail. */
export interface Libc {
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  flock(fd: number, operation: number): number;
  /** Where a file has data from `offset` on, or −ENXIO: nowhere. @source lseek(2) SEEK_DATA */
  seekData(fd: number, offset: number): number;
  /** Makes the file share all blocks of another. @source ioctl_ficlone(2) */
  clone(fd: number, from: number): number;
  /** @param vectors address of `count` pairs of u64: address and length  @param flags RWF_NOWAIT or 0  @returns bytes read or written */
  preadv2(fd: number, vectors: bigint, count: number, offset: number, flags: number): number;
  pwritev2(fd: number, vectors: bigint, count: number, offset: number, flags: number): number;
  /** The address of a buffer's bytes, which must stay where they are: those of a SharedArrayBuffer or a wasm memory that does not grow. */
  addressOf(buffer: ArrayBufferLike): bigint;
}

let loaded: { readonly libc: Libc | undefined } | undefined;

/** Undefined where node:ffi is switched off or the C library is another. The first call takes some milliseconds. */
export function libc(): Libc | undefined {
  loaded ??= { libc: load() };
  return loaded.libc;
}

const SIGNATURES = {
  fallocate: { arguments: ["int32", "int32", "int64", "int64"], return: "int32" },
  flock: { arguments: ["int32", "int32"], return: "int32" },
  lseek: { arguments: ["int32", "int64", "int32"], return: "int64" },
  ioctl: { arguments: ["int32", "uint64", "int32"], return: "int32" },
  // Its offset is one word here; the other is the high half on 32-bit systems.
  preadv2: { arguments: ["int32", "uint64", "int32", "int64", "int64", "int32"], return: "int64" },
  pwritev2: { arguments: ["int32", "uint64", "int32", "int64", "int64", "int32"], return: "int64" },
} as const;

function load(): Libc | undefined {
  return withCLibrary(SIGNATURES, ({ functions, ffi, checked, again }) => ({
    fallocate: (fd, mode, offset, length) => again(() => functions.fallocate(fd, mode, BigInt(offset), BigInt(length))),
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
