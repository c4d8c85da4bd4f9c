/* Open files and directories of a guest, by handle. A file's descriptor is closed only after the last request that uses it: its number must not become another file's
 * under a read that is on its way. I/O thread only. */
import type { Descriptors } from "./descriptors.ts";
import { Errno, Refusal } from "./errno.ts";
import type { HostCalls } from "./host-calls.ts";
import type { ShareNode } from "./nodes.ts";

export interface OpenFile {
  readonly kind: "file";
  readonly fd: number;
  readonly node: ShareNode;
  /** Requests that use it now. */
  users: number;
  released: boolean;
}
export interface OpenDirectory {
  readonly kind: "directory";
  readonly node: ShareNode;
  /** What is in it, as of the last time that it was read from its beginning. Each character of a name is a byte. */
  names: readonly string[];
  /** S_IFMT bits of each. */
  types: Uint16Array;
}
/** A directory's listing takes memory, not a descriptor. */
const MOST_DIRECTORIES = 4096;

export class OpenFiles {
  readonly #calls: HostCalls;
  readonly #descriptors: Descriptors;
  readonly #handles = new Map<number, OpenFile | OpenDirectory>();
  #directories = 0;
  #next = 1;

  constructor(calls: HostCalls, descriptors: Descriptors) {
    this.#calls = calls;
    this.#descriptors = descriptors;
  }

  /** Opens a file with `open` and keeps it. @throws Refusal ENFILE, and what `open` throws @returns its handle */
  async addFile(node: () => ShareNode, open: () => Promise<number>): Promise<number> {
    this.#descriptors.takeFile();
    let fd = -1;
    try {
      fd = await open();
      const file: OpenFile = { kind: "file", fd, node: node(), users: 0, released: false };
      file.node.opened = file;
      this.#handles.set(this.#next, file);
      return this.#next++;
    } catch (error) {
      if (fd >= 0) this.#calls.closeNow(fd);
      this.#descriptors.returnFile();
      throw error;
    }
  }
  /** @throws Refusal ENFILE */
  addDirectory(node: ShareNode): number {
    if (this.#directories >= MOST_DIRECTORIES) throw new Refusal(Errno.ENFILE);
    this.#directories++;
    this.#handles.set(this.#next, { kind: "directory", node, names: [], types: new Uint16Array(0) });
    return this.#next++;
  }
  /** @throws Refusal EBADF */
  directory(handle: number): OpenDirectory {
    const found = this.#handles.get(handle);
    if (found?.kind !== "directory") throw new Refusal(Errno.EBADF);
    return found;
  }
  /** Uses an open file. @throws Refusal EBADF, and what `use` throws */
  async withFile<T>(handle: number, use: (file: OpenFile) => Promise<T>): Promise<T> {
    const found = this.#handles.get(handle);
    if (found?.kind !== "file") throw new Refusal(Errno.EBADF);
    return this.withOpen(found, use);
  }
  async withOpen<T>(file: OpenFile, use: (file: OpenFile) => Promise<T>): Promise<T> {
    file.users++;
    try {
      return await use(file);
    } finally {
      if (--file.users === 0 && file.released) await this.#close(file);
    }
  }
  /** @throws Refusal EBADF */
  async release(handle: number): Promise<void> {
    const found = this.#handles.get(handle);
    if (found === undefined) throw new Refusal(Errno.EBADF);
    this.#handles.delete(handle);
    if (found.kind === "directory") this.#directories--;
    else await this.#release(found);
  }
  async #release(file: OpenFile): Promise<void> {
    file.released = true;
    if (file.node.opened === file) {
      file.node.opened = undefined;
      // Another one, if there is one: seldom, and then few.
      for (const other of this.#handles.values())
        if (other.kind === "file" && other.node === file.node) file.node.opened = other;
    }
    if (file.users === 0) await this.#close(file);
  }
  async #close(file: OpenFile): Promise<void> {
    this.#descriptors.returnFile();
    // What a close can still say of written data has no reader; the descriptor is gone in any case.
    await Promise.resolve(this.#calls.close(file.fd)).catch(() => undefined);
  }
  /** Releases all. */
  async clear(): Promise<void> {
    const all = [...this.#handles.values()];
    this.#handles.clear();
    this.#directories = 0;
    for (const file of all) if (file.kind === "file") await this.#release(file);
  }
}
