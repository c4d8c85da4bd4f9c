/* Copies a file or a tree of a guest to the host. The guest says what is made, so each entry is checked: its name has only parts that are below the target, and it is made in a
 * directory that this copy made or entered itself and found to be none but a directory. Nothing is followed: a link of the guest's becomes a link and is never walked through.
 * Set-uid and set-gid bits, owners and devices stay behind. I/O thread. */
import { constants } from "node:fs";
import { chmod, type FileHandle, lstat, lutimes, mkdir, open, symlink, unlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AgentError } from "./agent-error.ts";
import { type Channel, type Frame, lost, refuse } from "./channel.ts";
import type { CopyCounts } from "./copy-in.ts";
import { type FileEntry, readEntry } from "./file-info.ts";
import { FrameReader, Op, Out } from "./protocol.ts";
import { type Cancellable, type Requests, requestFrame } from "./requests.ts";

export interface CopyOutOptions extends Cancellable {
  /** Called now and then. */
  readonly onProgress?: (counts: Readonly<CopyCounts>) => void;
}

/** Copies the guest's `from` to the host's path `to`, which a directory is merged into and a file takes the place of.
 *  @throws AgentError, "broken" also for entries that would leave the target; the host's file errors */
export async function copyOut(
  requests: Requests,
  from: string,
  to: string,
  options: CopyOutOptions,
): Promise<CopyCounts> {
  const channel = await requests.open(requestFrame(Op.COPY_OUT).text(from).finish(), options.signal);
  const copy = new CopyOut(channel, to);
  try {
    for (;;) {
      const frame = await channel.next();
      if (frame === undefined) throw lost();
      refuse(frame);
      if (frame.type === Out.DONE) break;
      await copy.take(frame);
      if (copy.counts.files % 100 === 0) options.onProgress?.(copy.counts);
    }
  } finally {
    channel.close();
    await copy.close();
  }
  options.onProgress?.(copy.counts);
  return copy.counts;
}

class CopyOut {
  readonly counts: CopyCounts = { files: 0, directories: 0, links: 0, bytes: 0, skipped: 0 };
  readonly #channel: Channel;
  readonly #to: string;
  /** Directories that this copy made or entered, by their path below the target; false when they have come the second time. */
  readonly #directories = new Map<string, boolean>();
  #file: { handle: FileHandle; entry: FileEntry } | undefined;

  constructor(channel: Channel, to: string) {
    this.#channel = channel;
    this.#to = to;
  }

  async take(frame: Frame): Promise<void> {
    if (frame.type === Out.DATA && this.#file !== undefined) return this.#data(frame.payload);
    if (frame.type !== Out.ENTRY || this.#file !== undefined)
      throw this.#channel.broken(`a frame of type ${frame.type} is wrong in a tree`);
    const entry = this.#channel.read(() => readEntry(new FrameReader(frame.payload)));
    const path = this.#path(entry.name);
    if (entry.kind === "directory") await this.#directory(path, entry);
    else if (entry.kind === "file") await this.#begin(path, entry);
    else if (entry.kind === "symlink") await this.#link(path, entry);
    else this.counts.skipped++;
  }
  async close(): Promise<void> {
    await this.#file?.handle.close();
    this.#file = undefined;
  }

  /** Where an entry goes. @throws AgentError when that is not below the target */
  #path(name: string): string {
    if (name === "") {
      if (this.#directories.size > 0 && !this.#directories.has(""))
        throw this.#channel.broken("a second root in a tree");
      return this.#to;
    }
    const parts = name.split("/");
    const parent = parts.slice(0, -1).join("/");
    const wrong = parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"));
    if (wrong || this.#directories.get(parent) !== true)
      throw this.#channel.broken(`an entry of a tree is not below it: ${JSON.stringify(name.slice(0, 200))}`);
    return join(this.#to, ...parts);
  }

  async #directory(path: string, entry: FileEntry): Promise<void> {
    const state = this.#directories.get(entry.name);
    if (state === false) throw this.#channel.broken("a directory comes a third time");
    this.#directories.set(entry.name, state === undefined);
    if (state === true) {
      await chmod(path, entry.mode & 0o777);
      await utimes(path, entry.modified, entry.modified);
      return;
    }
    this.counts.directories++;
    await mkdir(path, { mode: 0o700 }).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST" || !(await lstat(path)).isDirectory()) throw occupied(path, error);
    });
  }
  async #begin(path: string, entry: FileEntry): Promise<void> {
    this.counts.files++;
    await makeRoom(path);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    this.#file = { handle: await open(path, flags, 0o600), entry };
  }
  async #data(data: Buffer): Promise<void> {
    const { handle, entry } = this.#file!;
    this.counts.bytes += data.length;
    if (data.length > 0) {
      await handle.writeFile(data);
      return;
    }
    await handle.chmod(entry.mode & 0o777);
    await handle.utimes(entry.modified, entry.modified);
    await this.close();
  }
  async #link(path: string, entry: FileEntry): Promise<void> {
    if (entry.target === undefined || entry.target === "" || entry.target.includes("\0"))
      throw this.#channel.broken("a link that leads nowhere");
    this.counts.links++;
    await makeRoom(path);
    await symlink(entry.target, path);
    await lutimes(path, entry.modified, entry.modified);
  }
}

/** Takes away a file or link that is in the place of another; never a directory. */
async function makeRoom(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw occupied(path, error);
  });
}

function occupied(path: string, cause: unknown): AgentError {
  const sentence = `${path} cannot be written from the VM; see what is there, and whether ${dirname(path)} may be written.`;
  return new AgentError("exists", sentence, { cause });
}
