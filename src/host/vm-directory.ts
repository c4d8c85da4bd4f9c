/* Where VMs are on the disk: one directory each, so that other processes find them, and names as links to them.
 *
 *   $XDG_STATE_HOME/mere/vms/<id>/          lock  vm.json (VmRecord)  control.sock  output.log
 *   $XDG_STATE_HOME/mere/vms/.names/<name>  symbolic link to ../<id>: making it claims the name
 *
 * Whoever runs a VM holds the lock of its directory, which the system frees when that process dies: a record that says "running" without it is of a VM that was killed. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, readdir, readlink, rename, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { type FileLock, isLock, tryLock, waitForLock } from "../image/store/file-lock.ts";
import { HostError } from "./host-error.ts";
import { type VmRecord, parseRecord } from "./vm-record.ts";

export type { PortRecord, VmRecord, VmStatus } from "./vm-record.ts";

const NAMES = ".names";
const RECORD = "vm.json";
const LOCK = "lock";
/** Letters, digits and what file names, host names and shells take without quoting. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
const ID = /^[0-9a-f]{12}$/;

/** @source XDG Base Directory Specification */
export function defaultStateDirectory(): string {
  const base = process.env["XDG_STATE_HOME"];
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".local", "state"), "mere");
}

/** A directory gets its lock at once; one that has none for so long gets none. */
const HALF_MADE_MS = 60_000;

/** A VM's directory and name, for the process that is to run it. */
export interface ClaimedVm {
  readonly id: string;
  readonly name: string;
  /** Held as long as the VM is this process's. */
  readonly lock: FileLock;
}

/** Makes names of drafts different. */
let drafts = 0;

/** The VMs' directories under one state directory. */
export class VmDirectories {
  readonly root: string;
  constructor(stateDirectory: string) {
    this.root = join(stateDirectory, "vms");
  }

  path(id: string, file = ""): string {
    return join(this.root, id, file);
  }

  /** Makes a directory, locks it and claims a name; without one, a name is made up. @throws HostError "name-in-use", "bad-option", "state"; DiskError where
   *  files cannot be locked */
  async create(name: string | undefined): Promise<ClaimedVm> {
    if (name !== undefined && !NAME.test(name))
      throw new HostError(
        "bad-option",
        `${JSON.stringify(name)} cannot be a VM's name: take up to 63 letters, digits, "_", "." and "-", a letter or digit first.`,
      );
    if (name !== undefined && ID.test(name))
      throw new HostError("bad-option", `${JSON.stringify(name)} looks like a VM's id; take another name.`);
    const id = randomBytes(6).toString("hex");
    try {
      await mkdir(join(this.root, NAMES), { recursive: true, mode: 0o700 });
      await mkdir(this.path(id), { mode: 0o700 });
    } catch (error) {
      throw stateError(this.root, error);
    }
    let lock: FileLock | undefined;
    try {
      // Who looks at it at this moment holds it shared.
      lock = await waitForLock(this.path(id, LOCK), "exclusive");
      if (lock === undefined)
        throw new HostError("state", `${this.path(id)} was removed while it was made; try again.`);
      if (name !== undefined) await this.#claim(name, id);
      return { id, name: name ?? (await this.#inventName(id)), lock };
    } catch (error) {
      lock?.release();
      await rm(this.path(id), { recursive: true, force: true });
      throw error;
    }
  }
  async #claim(name: string, id: string): Promise<void> {
    const link = join(this.root, NAMES, name);
    for (;;) {
      try {
        await symlink(join("..", id), link);
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw stateError(this.root, error);
      }
      const holder = await this.#holder(name);
      // A link to nothing is left of a VM whose removal was cut short.
      if (holder !== undefined && (await readdir(this.path(holder)).catch(() => undefined)) !== undefined)
        throw new HostError(
          "name-in-use",
          `The name ${name} is in use by VM ${holder}: take another, or remove that VM with 'mere rm ${name}'.`,
        );
      await unlink(link).catch(() => undefined);
    }
  }
  async #holder(name: string): Promise<string | undefined> {
    const target = await readlink(join(this.root, NAMES, name)).catch(() => undefined);
    return target === undefined ? undefined : basename(target);
  }
  async #inventName(id: string): Promise<string> {
    const name = `vm-${id.slice(0, 6)}`;
    await this.#claim(name, id);
    return name;
  }

  /** Writes the record whole or not at all. */
  async save(record: VmRecord): Promise<void> {
    const file = this.path(record.id, RECORD);
    const draft = `${file}.${process.pid}.${drafts++}`;
    try {
      await writeFile(draft, JSON.stringify(record, undefined, 1), { mode: 0o600 });
      await rename(draft, file);
    } catch (error) {
      throw stateError(this.root, error);
    }
  }
  /** "none": there is none, or not yet; "damaged": what is there is no record. */
  async read(id: string): Promise<VmRecord | "none" | "damaged"> {
    try {
      return parseRecord(await readFile(this.path(id, RECORD), "utf8"), id) ?? "damaged";
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code === "ENOENT" || code === "ENOTDIR" ? "none" : "damaged";
    }
  }
  /** undefined if there is none, or it is damaged. */
  async load(id: string): Promise<VmRecord | undefined> {
    const record = await this.read(id);
    return typeof record === "string" ? undefined : record;
  }
  /** Does a process run it? Whatever that process is called where this one looks from. @throws DiskError where files cannot be locked */
  isAlive(id: string): boolean {
    const lock = tryLock(this.path(id, LOCK), "shared");
    if (isLock(lock)) lock.release();
    return lock !== "missing" && !isLock(lock);
  }
  /** By what links say. */
  async nameOf(id: string): Promise<string | undefined> {
    for (const name of await readdir(join(this.root, NAMES)).catch(() => []))
      if ((await this.#holder(name)) === id) return name;
    return undefined;
  }
  async ids(): Promise<string[]> {
    const names = await readdir(this.root).catch(() => []);
    return names.filter((name) => ID.test(name));
  }
  /** Removes directories without a record, which are left where a process was killed while it made or removed one. */
  async removeNameless(): Promise<void> {
    for (const id of await this.ids()) {
      if ((await this.read(id)) !== "none" || this.isAlive(id)) continue;
      const [made, locked] = await Promise.all(
        [this.path(id), this.path(id, LOCK)].map((path) => stat(path).catch(() => undefined)),
      );
      // It may be on its way to its lock, or have come to its record since.
      const isMade = locked === undefined && made !== undefined && Date.now() - made.mtimeMs < HALF_MADE_MS;
      if (!isMade && (await this.read(id)) === "none") await rm(this.path(id), { recursive: true, force: true });
    }
  }
  /** The id of a VM by its name, its id, or the beginning of its id. @throws HostError "no-such-vm" */
  async find(nameOrId: string): Promise<string> {
    const named = NAME.test(nameOrId) ? await this.#holder(nameOrId) : undefined;
    if (named !== undefined && (await this.read(named)) !== "none") return named;
    const matches = /^[0-9a-f]{2,12}$/.test(nameOrId) ? (await this.ids()).filter((id) => id.startsWith(nameOrId)) : [];
    if (matches.length === 1) return matches[0];
    if (matches.length > 1)
      throw new HostError("no-such-vm", `${nameOrId} is the beginning of ${matches.length} VMs' ids; give more of it.`);
    throw new HostError(
      "no-such-vm",
      `There is no VM ${JSON.stringify(nameOrId)}; see 'mere ps --all' for those that there are.`,
    );
  }
  /** Removes a VM's directory and its name. */
  async remove(id: string, name: string | undefined): Promise<void> {
    if (name !== undefined && (await this.#holder(name)) === id)
      await unlink(join(this.root, NAMES, name)).catch(() => undefined);
    await rm(this.path(id), { recursive: true, force: true });
  }
}

/** Why something cannot be kept under `root`. */
export function stateError(root: string, error: unknown): HostError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === "ENOSPC")
    return new HostError("state", `There is no space left under ${root}; free some, or set XDG_STATE_HOME.`, error);
  return new HostError(
    "state",
    `VMs cannot be kept under ${root} (${code}); set XDG_STATE_HOME to a directory that can be written.`,
    error,
  );
}
