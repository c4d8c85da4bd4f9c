/* Files in a VM, for programs: what the agent does of it, in the words of node:fs/promises. Paths are absolute; everything is done as the guest's root. */
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { AgentError } from "../agent/agent-error.ts";
import type { AgentClient } from "../agent/client.ts";
import type { CopyCounts, CopyInOptions } from "../agent/copy-in.ts";
import type { CopyOutOptions } from "../agent/copy-out.ts";
import type { FileEntry, FileInfo } from "../agent/file-info.ts";
import type { FileEvent, ReadOptions, WriteOptions, WriteSource } from "../agent/files.ts";

interface Cancellable {
  readonly signal?: AbortSignal;
}

export class VmFiles {
  readonly #agent: AgentClient;
  constructor(agent: AgentClient) {
    this.#agent = agent;
  }

  /** All of a file, or a part. @throws AgentError "not-found", … as all below */
  async read(path: string, options?: ReadOptions): Promise<Uint8Array> {
    return buffer(await this.#agent.readFile(path, options));
  }
  /** All of a file as UTF-8. */
  async readText(path: string, options?: ReadOptions): Promise<string> {
    return Buffer.from(await this.read(path, options)).toString("utf8");
  }
  /** A file's bytes as they are wanted: for large ones. */
  async readStream(path: string, options?: ReadOptions): Promise<Readable> {
    return this.#agent.readFile(path, options);
  }
  /** Writes a file; without `append` it takes the place of one that is there when it is whole. */
  async write(path: string, source: WriteSource, options?: WriteOptions): Promise<void> {
    await this.#agent.writeFile(path, source, options);
  }
  /** What is in a directory, by name. */
  async list(path: string, options?: Cancellable): Promise<FileEntry[]> {
    const entries = await this.#agent.list(path, options);
    return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }
  async makeDirectory(path: string, options?: { mode?: number; parents?: boolean } & Cancellable): Promise<void> {
    await this.#agent.makeDirectory(path, options);
  }
  async remove(path: string, options?: { recursive?: boolean; force?: boolean } & Cancellable): Promise<void> {
    await this.#agent.remove(path, options);
  }
  async rename(from: string, to: string, options?: Cancellable): Promise<void> {
    await this.#agent.rename(from, to, options);
  }
  /** @param options.followLinks true if absent */
  async stat(path: string, options?: { followLinks?: boolean } & Cancellable): Promise<FileInfo> {
    return this.#agent.stat(path, options);
  }
  /** Is there anything of that name? */
  async exists(path: string, options?: Cancellable): Promise<boolean> {
    try {
      await this.#agent.stat(path, { followLinks: false, ...options });
      return true;
    } catch (error) {
      if (error instanceof AgentError && (error.code === "not-found" || error.code === "not-a-directory")) return false;
      throw error;
    }
  }
  async readLink(path: string, options?: Cancellable): Promise<string> {
    return this.#agent.readLink(path, options);
  }
  async symlink(target: string, path: string, options?: Cancellable): Promise<void> {
    await this.#agent.symlink(target, path, options);
  }
  async changeMode(path: string, mode: number, options?: Cancellable): Promise<void> {
    await this.#agent.changeMode(path, mode, options);
  }
  async changeOwner(path: string, uid: number, gid: number, options?: Cancellable): Promise<void> {
    await this.#agent.changeOwner(path, { uid, gid }, options);
  }
  /** What changes at a path, until the loop over it is left. @returns once it is watched */
  async watch(path: string, options?: { recursive?: boolean } & Cancellable): Promise<AsyncGenerator<FileEvent>> {
    return this.#agent.watch(path, options);
  }
  /** Copies a file or a tree of this machine into the VM, to the path `to` itself. */
  async copyIn(from: string, to: string, options?: CopyInOptions): Promise<CopyCounts> {
    return this.#agent.copyIn(from, to, options);
  }
  /** Copies a file or a tree of the VM to this machine, to the path `to` itself. Nothing is written elsewhere, whatever the guest says. */
  async copyOut(from: string, to: string, options?: CopyOutOptions): Promise<CopyCounts> {
    return this.#agent.copyOut(from, to, options);
  }
}
