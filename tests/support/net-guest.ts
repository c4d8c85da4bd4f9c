/* Guests for network tests: Debian's kernel with busybox and a shell on the console, to which a test says its commands one after the other. */
import { readFile } from "node:fs/promises";
import { busyboxApplets } from "../../src/image/busybox.ts";
import { CpioWriter } from "../../src/image/cpio.ts";
import { ensureBusybox, ensureKernel, readModules, vmlinuxPath } from "../../src/image/kernel.ts";
import type { VirtioDevice } from "../../src/device/virtio/device.ts";
import { Machine, type MachineConfig } from "../../src/vm/machine.ts";

const MODULES = ["virtio_mmio", "virtio_console", "virtio_rng", "virtio_net", "af_packet"];

function init(modules: readonly string[]): string {
  return `#!/bin/sh
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in ${modules.join(" ")}; do insmod /modules/$module.ko; done
ifconfig lo up
until [ -c /dev/hvc0 ]; do sleep 0.1; done
exec </dev/hvc0 >/dev/hvc0 2>&1
stty raw -echo
echo @ready
while read -r line; do
  eval "$line"
  echo "@status $?"
done
poweroff -f
`;
}

export interface NetGuestOptions {
  readonly devices: readonly VirtioDevice[];
  readonly cpus?: number;
  /** Put into /bin of the guest. */
  readonly programs?: Readonly<Record<string, Uint8Array>>;
}

/** A guest that runs commands. Dispose of it: it is stopped then. */
export class NetGuest implements AsyncDisposable {
  readonly machine: Machine;
  #output = "";
  #serial = "";
  #onOutput: (() => void) | undefined;
  #ended = false;

  private constructor(config: MachineConfig) {
    this.machine = new Machine({
      ...config,
      serialOutput: (bytes) => void (this.#serial += Buffer.from(bytes).toString("latin1")),
      consoleOutput: (bytes) => {
        this.#output += Buffer.from(bytes).toString("latin1");
        this.#onOutput?.();
      },
    });
    this.machine.start();
    void this.machine.wait().finally(() => {
      this.#ended = true;
      this.#onOutput?.();
    });
  }

  static async boot(options: NetGuestOptions): Promise<NetGuest> {
    const kernel = await ensureKernel({}, "debian");
    const modules = await readModules(kernel, MODULES);
    const busybox = await readFile(await ensureBusybox());
    const cpio = new CpioWriter();
    for (const path of ["bin", "dev", "proc", "sys", "tmp", "modules"]) cpio.directory(path);
    cpio.characterDevice("dev/console", 5, 1);
    cpio.characterDevice("dev/null", 1, 3, 0o666);
    cpio.file("bin/busybox", busybox, 0o755);
    for (const applet of busyboxApplets(busybox)) if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
    for (const [name, bytes] of Object.entries(options.programs ?? {})) cpio.file(`bin/${name}`, bytes, 0o755);
    for (const module of modules) cpio.file(`modules/${module.name}.ko`, module.data);
    cpio.file("init", init(modules.map(({ name }) => name)), 0o755);
    const guest = new NetGuest({
      cpus: options.cpus ?? 1,
      memoryBytes: 256 * 1024 * 1024,
      kernel: await readFile(vmlinuxPath(kernel)),
      initrd: cpio.finish(),
      commandLine: "console=ttyS0 quiet panic=-1",
      disks: [],
      devices: options.devices,
    });
    await guest.#until(/@ready\n/);
    return guest;
  }

  /** Runs a shell line. @returns what it printed; throws with it unless its status is 0 */
  async run(line: string): Promise<string> {
    const { status, output } = await this.attempt(line);
    if (status !== 0) throw new Error(`${line}: status ${status}\n${output}\n${this.#serial}`);
    return output;
  }
  async attempt(line: string): Promise<{ status: number; output: string }> {
    this.machine.consoleInput(Buffer.from(`${line}\n`));
    const [text, status] = await this.#until(/@status (\d+)\n/);
    return { status: Number(status), output: text!.slice(0, text!.lastIndexOf("@status")) };
  }
  /** @returns all up to the end of the match, then its groups */
  async #until(pattern: RegExp): Promise<string[]> {
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match !== null) {
        const end = match.index + match[0].length;
        const text = this.#output.slice(0, end);
        this.#output = this.#output.slice(end);
        return [text, ...match.slice(1)];
      }
      if (this.#ended) throw new Error(`the guest ended\n${this.#output}\n${this.#serial}`);
      await new Promise<void>((resolve) => (this.#onOutput = resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.stop();
  }
}
