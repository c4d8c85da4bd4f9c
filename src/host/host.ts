/* The host's VMs: created, found, listed. In-process: there is no daemon. `import { Host } from "mere"`. */
import { ControlClient } from "./control.ts";
import { HostError } from "./host-error.ts";
import { HostImages } from "./images.ts";
import type { NamedNetworks } from "./named-networks.ts";
import { OwnVm } from "./own-vm.ts";
import { Vm } from "./vm.ts";
import { type VmOptions, resolveVmOptions } from "./vm-config.ts";
import { VmDirectories, type VmRecord, defaultStateDirectory } from "./vm-directory.ts";
import type { ImagePhase } from "../image/store/options.ts";

/** Where a host keeps things. Each has a default of the XDG Base Directory Specification's. */
export interface HostPlaces {
  /** VMs: $XDG_STATE_HOME/mere */
  readonly stateDirectory?: string;
  /** Images and disks: $XDG_DATA_HOME/mere */
  readonly dataDirectory?: string;
  /** Kernels, the agent, downloads: $XDG_CACHE_HOME/mere */
  readonly cacheDirectory?: string;
}

/** What is being done before a VM runs. @param done,total in bytes, percent or steps; total 0: not known */
export type CreateProgress = (phase: ImagePhase | "boot", done: number, total: number) => void;

/** Options of Host.create() that are not the VM's. */
export interface CreateOptions extends VmOptions {
  /** Gives up; nothing is left. */
  readonly signal?: AbortSignal;
  readonly onProgress?: CreateProgress;
  /** The size of the main process's terminal. */
  readonly terminal?: { readonly columns: number; readonly rows: number };
}

export class Host implements AsyncDisposable {
  readonly images: HostImages;
  readonly #places: HostPlaces;
  readonly #stateDirectory: string;
  readonly #directories: VmDirectories;
  #networks: NamedNetworks | undefined;
  readonly #own = new Set<OwnVm>();
  readonly #closing = new AbortController();

  constructor(places: HostPlaces = {}) {
    this.#places = places;
    this.#stateDirectory = places.stateDirectory ?? defaultStateDirectory();
    this.#directories = new VmDirectories(this.#stateDirectory);
    this.images = new HostImages(places);
  }

  /** Creates a VM in this process; it ends with it. @returns once the VM runs
   *  @throws HostError "bad-option", "name-in-use", "boot-failed", …; ImageError, DiskError, NetworkError, KernelError, PackageError */
  async create(options: CreateOptions = {}): Promise<OwnVm> {
    const { signal: given, onProgress, terminal, ...vmOptions } = options;
    const config = resolveVmOptions(vmOptions);
    const signal = given === undefined ? this.#closing.signal : AbortSignal.any([given, this.#closing.signal]);
    signal.throwIfAborted();
    await this.#clean();
    // The machine is not loaded by those who only talk to VMs of other processes.
    const [{ LocalVm }, { NamedNetworks }] = await Promise.all([
      import("./local-vm.ts"),
      import("./named-networks.ts"),
    ]);
    const local = await LocalVm.create(vmOptions.name, config, {
      places: this.#places,
      images: this.images,
      networks: (this.#networks ??= new NamedNetworks(this.#stateDirectory)),
      directories: this.#directories,
      signal,
      ...(onProgress && { onProgress }),
      ...(terminal && { terminal }),
    });
    const vm = new OwnVm(local, this.#directories);
    if (this.#closing.signal.aborted) {
      await vm.end();
      throw this.#closing.signal.reason as Error;
    }
    this.#own.add(vm);
    void vm.wait().finally(() => this.#own.delete(vm));
    return vm;
  }
  /** Creates a VM in a process of its own, which goes on when this one ends. It stays listed when it has ended, until it is removed, unless `ephemeral` says
   *  otherwise. Errors are those of create(). */
  async createDetached(options: Omit<CreateOptions, "terminal"> = {}): Promise<Vm> {
    const { signal, onProgress, ...vmOptions } = options;
    resolveVmOptions(vmOptions);
    await this.#clean();
    const { createDetached } = await import("./detached.ts");
    const order = { places: this.#places, options: { ephemeral: false, ...vmOptions } };
    return this.#elsewhere(await createDetached(order, this.#stateDirectory, { signal, onProgress }));
  }

  /** A VM by its name, its id or the beginning of its id. @throws HostError "no-such-vm", "damaged" */
  async get(nameOrId: string): Promise<Vm> {
    const id = await this.#directories.find(nameOrId);
    for (const vm of this.#own) if (vm.id === id) return vm;
    const record = await this.#directories.read(id);
    if (record === "none") throw new HostError("no-such-vm", `There is no VM ${JSON.stringify(nameOrId)}.`);
    if (record === "damaged") throw damaged(await this.#directories.nameOf(id), id);
    return this.#elsewhere(await this.#current(record));
  }
  /** A VM of another process. */
  #elsewhere(record: VmRecord): Vm {
    return new Vm(record, this.#door(record.id), this.#directories);
  }
  #door(id: string): ControlClient {
    return new ControlClient(this.#directories.path(id, "control.sock"));
  }
  /** All VMs of this user's, oldest first, also those that have ended and were not removed. */
  async list(): Promise<VmRecord[]> {
    const records: VmRecord[] = [];
    for (const id of await this.#directories.ids()) {
      const record = await this.#directories.load(id);
      if (record !== undefined) records.push(await this.#current(record));
    }
    return records
      .filter((record) => !(record.ephemeral && record.status === "failed"))
      .toSorted((a, b) => a.createdAt.localeCompare(b.createdAt));
  }

  /** VMs of which vm.json says nothing that makes sense, as errors whose sentences say what to do; list() leaves them out. */
  async damaged(): Promise<HostError[]> {
    const errors: HostError[] = [];
    for (const id of await this.#directories.ids())
      if ((await this.#directories.read(id)) === "damaged")
        errors.push(damaged(await this.#directories.nameOf(id), id));
    return errors;
  }
  /** Removes what is left of a VM whose record is damaged. @param options.kill ends it if it runs
   *  @throws HostError "no-such-vm", "still-running", "bad-option" if its record is as it should be */
  async removeDamaged(nameOrId: string, { kill = false }: { kill?: boolean } = {}): Promise<void> {
    const id = await this.#directories.find(nameOrId);
    const name = await this.#directories.nameOf(id);
    if ((await this.#directories.read(id)) !== "damaged")
      throw new HostError("bad-option", `The record of the VM ${name ?? id} is not damaged; remove it as any other.`);
    if (this.#directories.isAlive(id)) {
      if (!kill)
        throw new HostError(
          "still-running",
          `The VM ${name ?? id} runs, though its record is damaged; 'mere rm --force ${name ?? id}' kills and removes it.`,
        );
      await this.#door(id).request("kill");
    }
    await this.#directories.remove(id, name);
  }

  /** A record whose process was killed says what happened. */
  async #current(record: VmRecord): Promise<VmRecord> {
    if (record.status !== "running" && record.status !== "starting") return record;
    if (this.#directories.isAlive(record.id)) return record;
    // It may have ended in order since the record was read.
    const last = await this.#directories.load(record.id);
    if (last !== undefined && last.status !== record.status) return this.#current(last);
    const failed: VmRecord = { ...record, status: "failed", reason: "its process was killed" };
    if (record.ephemeral) await this.#directories.remove(record.id, record.name).catch(() => undefined);
    else await this.#directories.save(failed).catch(() => undefined);
    return failed;
  }
  /** Removes what VMs left whose process was killed and that were to leave nothing. */
  async #clean(): Promise<void> {
    await this.list();
    await this.#directories.removeNameless();
  }

  /** Ends the VMs that were created here and still run, and those that are being created; none can be created afterwards. */
  async close(): Promise<void> {
    this.#closing.abort(new HostError("not-running", "The host was closed while a VM was being created."));
    await Promise.all([...this.#own].map((vm) => vm.end()));
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function damaged(name: string | undefined, id: string): HostError {
  return new HostError(
    "damaged",
    `The record of the VM ${name === undefined ? id : `${name} (${id})`} is damaged; remove what is left of it with 'mere rm ${name ?? id}'.`,
  );
}
