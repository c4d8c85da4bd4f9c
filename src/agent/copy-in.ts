/* Copies a file or a tree of the host into a guest, as one stream of entries (guest/tree.c takes it). Symbolic links are copied as links; what is neither
 * file, directory nor link is passed over. I/O thread; files are read in pieces, so large ones take little memory. */
import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, opendir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { dataFrame, upload } from "./files.ts";
import { FileType, writeInfo } from "./file-info.ts";
import { DATA_LIMIT_BYTES, FrameWriter, In, Op } from "./protocol.ts";
import { type Cancellable, type Requests, requestFrame } from "./requests.ts";

export interface CopyCounts {
  files: number;
  directories: number;
  links: number;
  bytes: number;
  /** Devices, sockets and the like, which are not copied. */
  skipped: number;
}

export interface CopyInOptions extends Cancellable {
  /** Whose the files are in the guest; "keep": the host's numbers. Default: root's. */
  readonly owner?: { readonly uid: number; readonly gid: number } | "keep";
  /** Called now and then. */
  readonly onProgress?: (counts: Readonly<CopyCounts>) => void;
}

const NOTHING = new Uint8Array(0);
/** A pipe that took a file's place must not keep a thread. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Files that say they are empty need not be so. */
const LEAST_READ_BYTES = 4096;

/** Small files of a directory are read while others are on their way. */
const SMALL_BYTES = 32 << 10;
const READ_AHEAD = 8;

/** A small file: its entry, data and end. */
interface Small {
  readonly message: Buffer;
  readonly bytesRead: number;
}
/** What is known of a directory's entry when its turn comes; undefined: a file that is to be read in pieces. */
type Loaded = Small | Stats | undefined;
type Send = (frame: Uint8Array) => Promise<boolean>;

/** Copies `from` to the path `to`, which a directory is merged into and a file takes the place of. @throws AgentError; the host's file errors */
export async function copyIn(
  requests: Requests,
  from: string,
  to: string,
  options: CopyInOptions,
): Promise<CopyCounts> {
  // Before anything is made in the guest: a source that is not there is told as such.
  const root = await lstat(from);
  const channel = await requests.open(requestFrame(Op.COPY_IN).text(to).finish(), options.signal);
  const copy = new CopyIn(options);
  await upload(channel, requests.timeoutMs, async (send) => void (await copy.entry(send, from, "", root)));
  options.onProgress?.(copy.counts);
  return copy.counts;
}

class CopyIn {
  readonly counts: CopyCounts = { files: 0, directories: 0, links: 0, bytes: 0, skipped: 0 };
  readonly #options: CopyInOptions;

  constructor(options: CopyInOptions) {
    this.#options = options;
  }

  /** @returns is there any use in going on */
  async entry(send: Send, path: string, name: string, stat: Stats): Promise<boolean> {
    if (stat.isFile()) return this.#file(send, path, name);
    if (stat.isSymbolicLink()) {
      this.counts.links++;
      return send(this.#frame(name, stat, FileType.SYMLINK, await readlink(path)));
    }
    if (stat.isDirectory()) return this.#directory(send, path, name, stat);
    this.counts.skipped++;
    return true;
  }

  async #directory(send: Send, path: string, name: string, stat: Stats): Promise<boolean> {
    this.counts.directories++;
    if (!(await send(this.#frame(name, stat, FileType.DIRECTORY)))) return false;
    const ahead: { path: string; name: string; loaded: Promise<Loaded> }[] = [];
    const sendFirst = async (): Promise<boolean> => {
      const first = ahead.shift()!;
      return this.#sendLoaded(send, first.path, first.name, await first.loaded);
    };
    for await (const child of await opendir(path)) {
      const childPath = join(path, child.name);
      const childName = name === "" ? child.name : `${name}/${child.name}`;
      const loaded = child.isFile() ? this.#load(childPath, childName) : lstat(childPath);
      // Told when its turn comes.
      loaded.catch(() => undefined);
      ahead.push({ path: childPath, name: childName, loaded });
      if (ahead.length >= READ_AHEAD && !(await sendFirst())) return false;
    }
    while (ahead.length > 0) if (!(await sendFirst())) return false;
    // Once more: its time has changed with what was made in it.
    return send(this.#frame(name, stat, FileType.DIRECTORY));
  }
  /** Reads a small file into one message. @returns undefined when it is not small */
  async #load(path: string, name: string): Promise<Small | undefined> {
    const file = await open(path, READ_FLAGS);
    try {
      const stat = await file.stat();
      if (stat.size > SMALL_BYTES || !stat.isFile()) return undefined;
      const buffer = Buffer.allocUnsafe(SMALL_BYTES + 1);
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead > SMALL_BYTES) return undefined;
      const data = bytesRead > 0 ? dataFrame(buffer.subarray(0, bytesRead)) : NOTHING;
      return { message: Buffer.concat([this.#frame(name, stat, FileType.FILE), data, dataFrame(NOTHING)]), bytesRead };
    } finally {
      await file.close();
    }
  }
  async #sendLoaded(send: Send, path: string, name: string, loaded: Loaded): Promise<boolean> {
    if (loaded === undefined) return this.#file(send, path, name);
    if (!("message" in loaded)) return this.entry(send, path, name, loaded);
    this.counts.files++;
    this.counts.bytes += loaded.bytesRead;
    if (this.counts.files % 100 === 0) this.#options.onProgress?.(this.counts);
    return send(loaded.message);
  }
  async #file(send: Send, path: string, name: string): Promise<boolean> {
    const file = await open(path, READ_FLAGS);
    try {
      this.counts.files++;
      const stat = await file.stat();
      return await this.#data(send, file, this.#frame(name, stat, FileType.FILE), stat.size);
    } finally {
      await file.close();
      if (this.counts.files % 100 === 0) this.#options.onProgress?.(this.counts);
    }
  }
  async #data(send: Send, file: FileHandle, entry: Buffer, sizeBytes: number): Promise<boolean> {
    const room = Math.min(Math.max(sizeBytes + 1, LEAST_READ_BYTES), DATA_LIMIT_BYTES);
    let frames: Buffer[] = [entry];
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(room), 0, room);
      this.counts.bytes += bytesRead;
      if (bytesRead > 0) frames.push(dataFrame(buffer.subarray(0, bytesRead)));
      // A short read is the end of a regular file.
      const atEnd = bytesRead < room;
      if (atEnd) frames.push(dataFrame(NOTHING));
      if (!(await send(Buffer.concat(frames)))) return false;
      if (atEnd) return true;
      frames = [];
    }
  }
  #frame(name: string, stat: Stats, type: number, target = ""): Buffer {
    const { owner = { uid: 0, gid: 0 } } = this.#options;
    const { uid, gid } = owner === "keep" ? stat : owner;
    const info = { mode: type | (stat.mode & 0o7777), uid, gid, sizeBytes: stat.size, modifiedMs: stat.mtimeMs };
    return writeInfo(new FrameWriter(In.ENTRY).text(name), info).text(target).finish();
  }
}
