/* What a file system that is being written consists of: inodes in memory, with the blocks of their data. Names are strings of one character a byte, since
 * Linux's names are bytes of no encoding. Whoever makes the tree keeps `links` right. */
import type { BlockRange } from "./geometry.ts";

/** An extended attribute with its full name, such as `security.capability`. */
export interface Xattr {
  readonly name: string;
  readonly value: Uint8Array;
}

/** What an inode of any type has. */
export interface Attributes {
  /** Permissions with set-user-ID, set-group-ID and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly xattrs: readonly Xattr[];
}

export const NO_XATTRS: readonly Xattr[] = [];

/** An extent: blocks of a file, in order of their place in it. */
export interface Extent extends BlockRange {
  /** Of the first block, in the file. */
  readonly logical: number;
}

abstract class InodeBase implements Attributes {
  mode: number;
  uid: number;
  gid: number;
  mtimeSeconds: number;
  mtimeNanos: number;
  xattrs: readonly Xattr[];
  /** Names of it. Those of directories are counted when the file system is written. */
  links = 0;
  /** Given when the file system is written. */
  number = 0;

  constructor(attributes: Attributes) {
    this.mode = attributes.mode;
    this.uid = attributes.uid;
    this.gid = attributes.gid;
    this.mtimeSeconds = attributes.mtimeSeconds;
    this.mtimeNanos = attributes.mtimeNanos;
    this.xattrs = attributes.xattrs;
  }

  take(attributes: Attributes): void {
    this.mode = attributes.mode;
    this.uid = attributes.uid;
    this.gid = attributes.gid;
    this.mtimeSeconds = attributes.mtimeSeconds;
    this.mtimeNanos = attributes.mtimeNanos;
    this.xattrs = attributes.xattrs;
  }
}

export class RegularFile extends InodeBase {
  sizeBytes = 0;
  extents: readonly Extent[] = [];
}

export class Symlink extends InodeBase {
  readonly target: string;
  constructor(attributes: Attributes, target: string) {
    super(attributes);
    this.target = target;
  }
}

export type SpecialType = "character-device" | "block-device" | "fifo";

export class Special extends InodeBase {
  readonly type: SpecialType;
  readonly major: number;
  readonly minor: number;
  constructor(attributes: Attributes, type: SpecialType, major = 0, minor = 0) {
    super(attributes);
    this.type = type;
    this.major = major;
    this.minor = minor;
  }
}

/** A name in a directory. */
export interface Entry {
  readonly inode: Inode;
  /** Which of several merged layers gave it. */
  readonly layer: number;
}

export class Directory extends InodeBase {
  readonly entries = new Map<string, Entry>();
  /** The layer that has last hidden what lower ones put here, or -1. */
  hiddenBelow = -1;
}

export type Inode = RegularFile | Symlink | Special | Directory;
