/* A VM for tests of devices: Debian's cloud kernel, Mere's own init, the modules that a test names, and devices that it makes. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { VirtioDevice } from "../../src/device/virtio/device.ts";
import { buildInitramfs } from "../../src/image/initramfs.ts";
import { ensureBusybox, ensureKernel, readModules, vmlinuxPath } from "../../src/image/kernel.ts";
import { createMachine, type Machine } from "../../src/vm/machine.ts";

export interface DeviceGuestOptions {
  /** Modules beyond those of the console. */
  modules: readonly string[];
  devices: readonly VirtioDevice[];
  /** A shell script. */
  script: string;
  cpus?: number;
  memoryBytes?: number;
}

export class DeviceGuest {
  readonly machine: Machine;
  /** What the script has written so far, without carriage returns. */
  text = "";
  #heard = Promise.withResolvers<void>();
  #ended = false;

  private constructor(makeMachine: (output: (bytes: Uint8Array) => void) => Machine) {
    this.machine = makeMachine((bytes) => {
      this.text += Buffer.from(bytes).toString("latin1").replaceAll("\r", "");
      this.#wake();
    });
  }
  #wake(): void {
    this.#heard.resolve();
    this.#heard = Promise.withResolvers();
  }

  /** Boots. The caller calls stop(). */
  static async start(options: DeviceGuestOptions): Promise<DeviceGuest> {
    const kernel = await ensureKernel({}, "debian");
    const modules = ["virtio_mmio", "virtio_console", "virtio_rng", ...options.modules];
    const initrd = buildInitramfs({
      busybox: await readFile(await ensureBusybox()),
      modules: await readModules(kernel, modules),
      command: ["sh", "-c", options.script],
      stdin: "terminal",
      token: randomBytes(12).toString("hex"),
    });
    const vmlinux = await readFile(vmlinuxPath(kernel));
    const { cpus = 1, memoryBytes = 512 << 20, devices } = options;
    const config = { cpus, memoryBytes, kernel: vmlinux, initrd, commandLine: "console=ttyS0 quiet panic=-1", devices };
    let serial = "";
    const machine = await createMachine({
      ...config,
      disks: [],
      serialOutput: (bytes) => (serial += Buffer.from(bytes).toString("latin1")),
      consoleOutput: (bytes) => output(bytes),
    });
    let output: (bytes: Uint8Array) => void = () => {};
    const guest = new DeviceGuest((hear) => {
      output = hear;
      return machine;
    });
    machine.start();
    void machine.wait().then(
      ({ reason }) => guest.#end(`\n[the machine ended: ${reason}]\n${serial.slice(-2000)}`),
      (error: Error) => guest.#end(`\n[the machine failed: ${error.message}]`),
    );
    return guest;
  }
  #end(words: string): void {
    this.#ended = true;
    this.text += words;
    this.#wake();
  }

  /** Waits until the guest has written `mark`. @param from looked for from here on in `text`  @throws Error with what it wrote, if it ends before */
  async until(mark: string, from = 0): Promise<void> {
    const seen = (): boolean => this.text.includes(mark, from);
    while (!seen()) {
      if (this.#ended) throw new Error(`the guest ended without ${mark}:\n${this.text.slice(-6000)}`);
      await this.#heard.promise;
    }
  }
  /** Types a line. */
  type(line: string): void {
    this.machine.consoleInput(Buffer.from(`${line}\n`));
  }
  /** What is between the line "== name" and the next one that begins so. */
  section(name: string): string {
    const start = this.text.indexOf(`== ${name}\n`);
    if (start < 0) throw new Error(`no section ${name} in:\n${this.text.slice(-6000)}`);
    const body = this.text.slice(start + name.length + 4);
    const end = body.search(/^== /m);
    return end < 0 ? body : body.slice(0, end);
  }
  async stop(): Promise<void> {
    await this.machine.stop();
  }
}
