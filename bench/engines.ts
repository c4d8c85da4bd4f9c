/* Starts a VM on Mere or QEMU (or the same programs on the host) and reports the lines of its serial console with the time and the processor time that
 * the engine's process had used when each came. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type EngineName = "mere" | "qemu";

/** One line of the console. */
export interface ConsoleLine {
  readonly text: string;
  /** Since the process was started. */
  readonly wallMs: number;
  /** User and system time of all the process's threads; ticks of 10 ms. */
  readonly cpuMs: number;
  /** Guest instructions; only Mere tells them. */
  readonly retired: number | undefined;
}

export interface VmOptions {
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  readonly disk?: string | undefined;
  /** Mere: the shipped `mere run`, or a process that also tells instructions (bench/mere-process.ts). */
  readonly counted?: boolean;
}

/** Guest memory of every VM here. */
export const MEMORY_MIB = 512;
const TICK_MS = 10;
const QEMU_MACHINE = ["-accel", "tcg", "-cpu", "max", "-M", "pc", "-smp", "1", "-m", `${MEMORY_MIB}`];
const QEMU_SERIAL = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"];
const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The command that starts a VM. */
export function vmCommand(engine: EngineName, options: VmOptions): readonly [string, ...string[]] {
  const { kernel, initrd, commandLine, disk } = options;
  if (engine === "mere") {
    const disks = disk === undefined ? [] : ["--disk", `${disk},ro`];
    const exact = [
      "--memory",
      `${MEMORY_MIB}M`,
      "--kernel",
      kernel,
      "--initrd",
      initrd,
      "--append",
      commandLine,
      ...disks,
    ];
    if (options.counted === true)
      return [process.execPath, file("./mere-process.ts"), kernel, initrd, commandLine, disk ?? ""];
    return [process.execPath, file("../bin/mere.js"), "run", ...exact];
  }
  const disks =
    disk === undefined
      ? []
      : ["-drive", `file=${disk},format=raw,if=none,id=disk,readonly=on`, "-device", "virtio-blk-pci,drive=disk"];
  return [
    "qemu-system-x86_64",
    ...QEMU_MACHINE,
    ...QEMU_SERIAL,
    "-kernel",
    kernel,
    "-initrd",
    initrd,
    "-append",
    commandLine,
    ...disks,
  ];
}

/** A started engine. Its lines come from lines() as they are printed. */
export class Vm {
  readonly child: ChildProcess;
  readonly #started = performance.now();
  #stderr = "";

  constructor(command: readonly [string, ...string[]], env?: Readonly<Record<string, string>>) {
    this.child = spawn(command[0], command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.child.on("error", (error) => (this.#stderr += error.message));
    this.child.stderr?.on("data", (chunk: Buffer) => (this.#stderr = (this.#stderr + String(chunk)).slice(-4000)));
  }

  /** Until the process closes its output. */
  async *lines(): AsyncGenerator<ConsoleLine> {
    for await (const line of createInterface({ input: this.child.stdout! })) {
      const [, count, text] = /^(?:(\d+)\t)?(.*?)\r?$/.exec(line)!;
      const wallMs = performance.now() - this.#started;
      yield { text: text!, wallMs, cpuMs: this.cpuMs(), retired: count === undefined ? undefined : Number(count) };
    }
  }

  /** @source proc(5) /proc/pid/stat, fields 14 and 15 */
  cpuMs(): number {
    try {
      const fields = this.#proc("stat").split(") ")[1]!.split(" ");
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
    } catch {
      return NaN;
    }
  }

  /** Proportional set size in MiB: what the process costs the host, shared pages by their share. @source proc(5) smaps_rollup */
  pssMib(): number {
    const text = this.#proc("smaps_rollup");
    return Number(/^Pss:\s+(\d+)/m.exec(text)![1]) / 1024;
  }

  /** Resident part of the largest mappings of the guest's memory in MiB: those of `sizeMib` or more. */
  residentMib(sizeMib: number): number {
    const text = this.#proc("smaps");
    let sum = 0;
    for (const [, size, rss] of text.matchAll(/^Size:\s+(\d+) kB[^]*?^Rss:\s+(\d+) kB/gm))
      if (Number(size) >= sizeMib * 1024) sum += Number(rss);
    return sum / 1024;
  }

  #proc(name: string): string {
    return readFileSync(`/proc/${this.child.pid ?? "self"}/${name}`, "utf8");
  }

  /** Ends it and waits. */
  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null || this.child.pid === undefined) return;
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()));
    this.child.kill("SIGKILL");
    await ended;
  }

  /** What it said besides, for messages. */
  get complaint(): string {
    return this.#stderr.trim();
  }
}
