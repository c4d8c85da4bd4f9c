/* Where VMs are on the disk: one directory each, so that other processes find them, and names as links to them.
 *
 *   $XDG_STATE_HOME/mere/vms/<id>/          vm.json (VmRecord)  control.sock  output.log
 *   $XDG_STATE_HOME/mere/vms/.names/<name>  symbolic link to ../<id>: making it claims the name
 *
 * A record that says "running" whose process is gone (liveness.ts) is of a VM that was killed. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, readdir, readlink, rename, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { HostError } from "./host-error.ts";
import type { ProcessDefaults } from "./main-process.ts";
import type { VmConfig } from "./vm-config.ts";

export type VmStatus = "starting" | "running" | "exited" | "failed";

/** What is known of a VM without asking it. Plain data: vm.json. */
export interface VmRecord {
  /** 12 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly config: VmConfig;
  /** What programs in it get, unless they say otherwise. */
  readonly defaults: ProcessDefaults;
  readonly status: VmStatus;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly startedAt?: string;
  readonly endedAt?: string;
  /** What was asked for and could not be done in the guest: sentences. */
  readonly complaints?: readonly string[];
  /** From the machine's start until the agent answered, and the part of it that was the agent's; the rest was the kernel's. In milliseconds. */
  readonly readyAfter?: { readonly readyMs: number; readonly agentMs: number };
  /** Of the process that it runs in. */
  readonly pid: number;
  /** When that process started: its number may be another's by now. @source liveness.ts */
  readonly pidStart: string;
  /** The main command's, once it ended: 0–255; 128 + n after signal n. */
  readonly exitCode?: number;
  /** Why it failed, or what ended it. */
  readonly reason?: string;
  /** The host's side of forwarded ports, as they were really opened. */
  readonly ports: readonly PortRecord[];
  /** Is the directory removed when the VM ends? */
  readonly ephemeral: boolean;
}
/** One forwarded port. */
export interface PortRecord {
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: "tcp" | "udp";
}

const NAMES = ".names";
const RECORD = "vm.json";
/** Letters, digits and what file names, host names and shells take without quoting. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
const ID = /^[0-9a-f]{12}$/;

/** @source XDG Base Directory Specification */
export function defaultStateDirectory(): string {
  const base = process.env["XDG_STATE_HOME"];
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".local", "state"), "mere");
}

/** A directory gets its record at once; one that has none for so long gets none. */
const HALF_MADE_MS = 60_000;

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

  /** Makes a directory and claims a name; without one, a name is made up. @throws HostError "name-in-use", "bad-option", "state" */
  async create(name: string | undefined): Promise<{ id: string; name: string }> {
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
    try {
      if (name !== undefined) await this.#claim(name, id);
      return { id, name: name ?? (await this.#inventName(id)) };
    } catch (error) {
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
  /** undefined if there is none, or it is damaged. */
  async load(id: string): Promise<VmRecord | undefined> {
    const text = await readFile(this.path(id, RECORD), "utf8").catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as VmRecord;
    } catch {
      return undefined;
    }
  }
  async ids(): Promise<string[]> {
    const names = await readdir(this.root).catch(() => []);
    return names.filter((name) => ID.test(name));
  }
  /** Removes directories without a record, which are left where a process was killed while it made or removed one. */
  async removeNameless(): Promise<void> {
    for (const id of await this.ids()) {
      const [made, saved] = await Promise.all(
        [this.path(id), this.path(id, RECORD)].map((path) => stat(path).catch(() => undefined)),
      );
      const isOld = made !== undefined && Date.now() - made.mtimeMs > HALF_MADE_MS;
      if (isOld && saved === undefined) await rm(this.path(id), { recursive: true, force: true });
    }
  }
  /** The id of a VM by its name, its id, or the beginning of its id. @throws HostError "no-such-vm" */
  async find(nameOrId: string): Promise<string> {
    const named = NAME.test(nameOrId) ? await this.#holder(nameOrId) : undefined;
    if (named !== undefined && (await this.load(named)) !== undefined) return named;
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
  async remove(id: string, name: string): Promise<void> {
    if ((await this.#holder(name)) === id) await unlink(join(this.root, NAMES, name)).catch(() => undefined);
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
