/* A VM that was created in this process, and ends with it. */
import type { LocalVm } from "./local-vm.ts";
import type { VmProcess } from "./process.ts";
import { Vm } from "./vm.ts";
import type { VmDirectories, VmRecord } from "./vm-directory.ts";

/** `await using vm = await host.create()`: it ends with the block, as end() does it. */
export class OwnVm extends Vm implements AsyncDisposable {
  readonly #local: LocalVm;

  constructor(local: LocalVm, directories: VmDirectories) {
    super(local.record, local, directories);
    this.#local = local;
  }
  /** The main process; undefined if the VM has none. Its output is the caller's to read where `logs` is false. */
  get main(): VmProcess | undefined {
    return this.#local.main;
  }
  override async inspect(): Promise<VmRecord> {
    return this.#local.record;
  }
  override async stop(options?: { timeoutMs?: number }): Promise<VmRecord> {
    return this.#gone(super.stop(options));
  }
  override async kill(): Promise<VmRecord> {
    return this.#gone(super.kill());
  }
  override async wait(): Promise<VmRecord> {
    return this.#gone(super.wait());
  }
  async #gone(ended: Promise<VmRecord>): Promise<VmRecord> {
    const record = await ended;
    await this.#local.gone;
    return record;
  }
  /** Ends it at once; what it has to write to disks and shared directories is written first. */
  async end(): Promise<void> {
    const { disks, volumes } = this.#local.record.config;
    const keeps = [...disks, ...volumes].some(({ readOnly }) => !readOnly);
    await (keeps ? this.stop({ timeoutMs: 0 }) : this.kill());
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
