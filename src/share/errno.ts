/* Errors of requests, as Linux numbers them: what the guest gets. @source Linux include/uapi/asm-generic/errno-base.h, errno.h */

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EFBIG: 27,
  EROFS: 30,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  EOPNOTSUPP: 95,
  ESTALE: 116,
} as const;
const LARGEST = 4095;

/** A request is refused. */
export class Refusal extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

/** The number of whatever was thrown: by a request's handler, or by node:fs, whose numbers are negative. */
export function errnoOf(error: unknown): number {
  const number = Math.abs((error as { errno?: number } | undefined)?.errno ?? Errno.EIO);
  return number >= 1 && number <= LARGEST ? number : Errno.EIO;
}
