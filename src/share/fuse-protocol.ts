/* Numbers of the FUSE protocol. @source Linux include/uapi/linux/fuse.h (7.38) */

export const FUSE_VERSION = 7;
/** Newest minor version whose messages are understood, and the oldest whose layouts are these. */
export const FUSE_MINOR = 36;
export const FUSE_OLDEST_MINOR = 31;
export const FUSE_ROOT_ID = 1;
/** Inode number in a directory's listing of which nobody has asked. */
export const FUSE_UNKNOWN_INO = 0xffffffff;

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  COPY_FILE_RANGE: 47,
} as const;

export const InitFlag = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
} as const;

/** fuse_setattr_in.valid */
export const SetAttr = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
} as const;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FSYNC_FDATASYNC = 1 << 0;
/** fuse_rename2_in.flags. @source rename(2) */
export const Rename = { NOREPLACE: 1, EXCHANGE: 2 } as const;

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;
export const ENTRY_BYTES = 128;
export const ATTR_BYTES = 88;
export const DIRENT_BYTES = 24;
export const PAGE_BYTES = 4096;
/** Pages in one READ or WRITE. */
export const MAX_PAGES = 256;
