/* HostCalls: the file system calls of the server, each made directly or on Node's thread pool. A direct one is ten times as fast if the host has the answer in memory, and
 * holds up the I/O thread if it has not: so direct calls are for file systems known to be local, and pause for a while when one took long.
 * Paths are strings whose characters are bytes (latin1): names need not be UTF-8. Errors are node:fs's. I/O thread only. */
import * as fs from "node:fs";
import { promisify } from "node:util";
import { type Libc, libc, UTIME_NOW, UTIME_OMIT } from "../device/libc.ts";
import { Errno, Refusal } from "./errno.ts";

export const O_PATH = 0o10000000;
/** A direct call that took longer than this … */
const SLOW_MS = 5;
/** … sends all calls to the pool for so long. */
const PAUSE_MS = 1000;
/** Transfers beyond this go to the pool: a copy of some 50 µs, half of what the pool takes for it. */
const DIRECT_BYTES = 1 << 20;
/** A directory of this st_size has thousands of names. */
const DIRECT_DIRECTORY_BYTES = 64n << 10n;

/** statfs's f_type of file systems whose small calls are fast. @source statfs(2), Linux include/uapi/linux/magic.h */
const LOCAL_TYPES = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0xf2f52010, // f2fs
  0x2fc12fc1, // zfs
  0xca451a4e, // bcachefs
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x794c7630, // overlayfs
]);
export const OVERLAYFS = 0x794c7630;
export const isLocal = (type: number): boolean => LOCAL_TYPES.has(type);

type Soon<T> = T | Promise<T>;
const BIG = { bigint: true } as const;
const BIG_OR_NOTHING = { bigint: true, throwIfNoEntry: false } as const;
const LISTING = { withFileTypes: true, encoding: "latin1" } as const;
const OWN_FILES = "/proc/self/fd/";

const pool = {
  open: promisify(fs.open),
  close: promisify(fs.close),
  fstat: promisify(fs.fstat),
  lstat: promisify(fs.lstat),
  readv: promisify(fs.readv),
  writev: promisify(fs.writev),
  ftruncate: promisify(fs.ftruncate),
  fsync: promisify(fs.fsync),
  fdatasync: promisify(fs.fdatasync),
  fchmod: promisify(fs.fchmod),
  chmod: promisify(fs.chmod),
  utimes: promisify(fs.utimes),
  access: promisify(fs.access),
  mkdir: promisify(fs.mkdir),
  rmdir: promisify(fs.rmdir),
  unlink: promisify(fs.unlink),
  rename: promisify(fs.rename),
  link: promisify(fs.link),
  symlink: promisify(fs.symlink),
  readdir: promisify(fs.readdir),
  statfs: promisify(fs.statfs),
};

/** The open descriptor itself, whatever it is of. */
export const descriptorPath = (fd: number): string => OWN_FILES + fd;
/** A name in an open directory. @param name one component, checked */
export const childPath = (directory: number, name: string): string => `${OWN_FILES}${directory}/${name}`;

/** What node:fs takes: a string would be encoded as UTF-8. */
function hostPath(path: string): string | Buffer {
  // oxlint-disable-next-line no-control-regex -- exactly the characters that UTF-8 and latin1 have in common
  return /^[\x00-\x7f]*$/.test(path) ? path : Buffer.from(path, "latin1");
}

/** Seconds since 1970, and nanoseconds or UTIME_NOW or UTIME_OMIT. */
export type FileTime = readonly [seconds: bigint, nanos: bigint];
function inSeconds([seconds, nanos]: FileTime, beforeNs: bigint): number {
  if (nanos === UTIME_NOW) return Date.now() / 1000;
  return nanos === UTIME_OMIT ? Number(beforeNs) / 1e9 : Number(seconds) + Number(nanos) / 1e9;
}
/** @param result of a call of libc @throws Refusal */
function checked(result: number): void {
  if (result < 0) throw new Refusal(-result);
}

/** Two names of one directory entry, or of one file. */
type Pair = readonly [from: string, to: string];

export class HostCalls {
  readonly #local: boolean;
  /** What it does is done at once: only for local file systems. */
  readonly #libc: Libc | undefined;
  #pausedUntil = 0;

  /** @param local may calls be made directly at all */
  constructor(local: boolean) {
    this.#local = local;
    this.#libc = local ? libc() : undefined;
  }

  #call<T>(direct: () => T, pooled: () => Promise<T>): Soon<T> {
    if (!this.#local) return pooled();
    const before = performance.now();
    if (before < this.#pausedUntil) return pooled();
    try {
      return direct();
    } finally {
      const after = performance.now();
      if (after - before > SLOW_MS) this.#pausedUntil = after + PAUSE_MS;
    }
  }

  open(path: string, flags: number, mode = 0): Soon<number> {
    const at = hostPath(path);
    return this.#call(
      () => fs.openSync(at, flags, mode),
      () => pool.open(at, flags, mode),
    );
  }
  /** Of O_PATH descriptors, and of files only read: nothing that could wait. */
  closeNow(fd: number): void {
    fs.closeSync(fd);
  }
  /** Of files that were written: a network file system sends them now. */
  close(fd: number): Soon<void> {
    return this.#call(
      () => fs.closeSync(fd),
      () => pool.close(fd),
    );
  }
  fstat(fd: number): Soon<fs.BigIntStats> {
    return this.#call(
      () => fs.fstatSync(fd, BIG),
      () => pool.fstat(fd, BIG),
    );
  }
  /** @returns undefined if there is no such name */
  lstat(path: string): Soon<fs.BigIntStats | undefined> {
    const at = hostPath(path);
    return this.#call(
      () => fs.lstatSync(at, BIG_OR_NOTHING),
      () =>
        pool.lstat(at, BIG).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
          throw error;
        }),
    );
  }
  /** @returns bytes read, less than asked at the end of the file */
  read(fd: number, into: readonly Uint8Array[], offset: number, length: number): Soon<number> {
    if (length > DIRECT_BYTES) return pool.readv(fd, into, offset).then(({ bytesRead }) => bytesRead);
    return this.#call(
      () => fs.readvSync(fd, into, offset),
      () => pool.readv(fd, into, offset).then(({ bytesRead }) => bytesRead),
    );
  }
  /** @returns bytes written, which may be less than asked */
  write(fd: number, from: readonly Uint8Array[], offset: number, length: number): Soon<number> {
    if (length > DIRECT_BYTES) return pool.writev(fd, from, offset).then(({ bytesWritten }) => bytesWritten);
    return this.#call(
      () => fs.writevSync(fd, from, offset),
      () => pool.writev(fd, from, offset).then(({ bytesWritten }) => bytesWritten),
    );
  }
  truncate(fd: number, size: number): Soon<void> {
    return this.#call(
      () => fs.ftruncateSync(fd, size),
      () => pool.ftruncate(fd, size),
    );
  }
  sync(fd: number, dataOnly: boolean): Promise<void> {
    return dataOnly ? pool.fdatasync(fd) : pool.fsync(fd);
  }
  /** Of a file opened for more than its path. */
  fchmod(fd: number, mode: number): Soon<void> {
    return this.#call(
      () => fs.fchmodSync(fd, mode),
      () => pool.fchmod(fd, mode),
    );
  }
  /** Of whatever the descriptor is of, also one of O_PATH. */
  chmod(fd: number, mode: number): Soon<void> {
    const at = descriptorPath(fd);
    return this.#call(
      () => fs.chmodSync(at, mode),
      () => pool.chmod(at, mode),
    );
  }
  /** The same; of a symbolic link itself too. Where it must go without utimensat, times are exact to about a microsecond. */
  setTimes(fd: number, atime: FileTime, mtime: FileTime, before: fs.BigIntStats): Soon<void> {
    const at = descriptorPath(fd);
    if (this.#libc !== undefined) return checked(this.#libc.utimensat(at, atime, mtime));
    const [a, m] = [inSeconds(atime, before.atimeNs), inSeconds(mtime, before.mtimeNs)];
    return this.#call(
      () => fs.utimesSync(at, a, m),
      () => pool.utimes(at, a, m),
    );
  }
  access(fd: number, mode: number): Soon<void> {
    const at = descriptorPath(fd);
    return this.#call(
      () => fs.accessSync(at, mode),
      () => pool.access(at, mode),
    );
  }
  mkdir(path: string, mode: number): Soon<void> {
    const at = hostPath(path);
    return this.#call<void>(
      () => {
        fs.mkdirSync(at, mode);
      },
      () => pool.mkdir(at, mode) as Promise<void>,
    );
  }
  rmdir(path: string): Soon<void> {
    const at = hostPath(path);
    return this.#call(
      () => fs.rmdirSync(at),
      () => pool.rmdir(at),
    );
  }
  unlink(path: string): Soon<void> {
    const at = hostPath(path);
    return this.#call(
      () => fs.unlinkSync(at),
      () => pool.unlink(at),
    );
  }
  rename([from, to]: Pair): Soon<void> {
    const [a, b] = [hostPath(from), hostPath(to)];
    return this.#call(
      () => fs.renameSync(a, b),
      () => pool.rename(a, b),
    );
  }
  /** With flags of renameat2. @throws Refusal EINVAL where that is not to be had */
  renameWith([from, to]: Pair, flags: number): void {
    if (this.#libc === undefined) throw new Refusal(Errno.EINVAL);
    checked(this.#libc.renameat2(hostPath(from), hostPath(to), flags));
  }
  /** A fifo or a socket that nobody listens at. @throws Refusal EPERM where mknod is not to be had */
  mknod(path: string, mode: number): void {
    if (this.#libc === undefined) throw new Refusal(Errno.EPERM);
    checked(this.#libc.mknod(hostPath(path), mode));
  }
  /** @throws Refusal EOPNOTSUPP where it is not to be had */
  fallocate(fd: number, mode: number, offset: number, length: number): void {
    if (this.#libc === undefined) throw new Refusal(Errno.EOPNOTSUPP);
    checked(this.#libc.fallocate(fd, mode, offset, length));
  }
  /** Follows neither name. */
  link([from, to]: Pair): Soon<void> {
    const [a, b] = [hostPath(from), hostPath(to)];
    return this.#call(
      () => fs.linkSync(a, b),
      () => pool.link(a, b),
    );
  }
  symlink(target: Buffer, path: string): Soon<void> {
    const at = hostPath(path);
    return this.#call(
      () => fs.symlinkSync(target, at),
      () => pool.symlink(target, at),
    );
  }
  readlink(path: string): Soon<Buffer> {
    const at = hostPath(path);
    return this.#call(
      () => fs.readlinkSync(at, "buffer"),
      () => fs.promises.readlink(at, "buffer"),
    );
  }
  /** The names of an open directory, each character a byte. @param size its st_size */
  list(fd: number, size: bigint): Soon<fs.Dirent[]> {
    const at = descriptorPath(fd);
    if (size > DIRECT_DIRECTORY_BYTES) return pool.readdir(at, LISTING);
    return this.#call(
      () => fs.readdirSync(at, LISTING),
      () => pool.readdir(at, LISTING),
    );
  }
  statfs(fd: number): Soon<fs.BigIntStatsFs> {
    const at = descriptorPath(fd);
    return this.#call(
      () => fs.statfsSync(at, BIG),
      () => pool.statfs(at, BIG),
    );
  }
}
