/* Starts a VM on Mere or QEMU (or the same programs on the host) and reports the lines of its serial console with the time and the processor time that
 * the engine's process had used when each came. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runCommand } from "../src/image/command.ts";
import type { ConsoleLine } from "./console.ts";
import { MEMORY_MIB, type VmOptions } from "./vm-options.ts";

export type EngineName = "mere" | "qemu";

/** An engine that does not end by then is killed. */
const LATEST_END_MS = 10_000;
const TICK_MS = 10;
/** thread=multi: a host thread for each vCPU. */
const QEMU_MACHINE = ["-accel", "tcg,thread=multi", "-cpu", "max", "-M", "pc", "-m", `${MEMORY_MIB}`];
const QEMU_SERIAL = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"];
const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The command that starts a VM. */
export function vmCommand(engine: EngineName, options: VmOptions): readonly [string, ...string[]] {
  if (engine === "qemu") return qemuCommand(options);
  if (options.counted === true) {
    const profile = options.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profile}`];
    return [process.execPath, ...profile, file("./mere-process.ts"), JSON.stringify(options)];
  }
  const { kernel, initrd, commandLine, disk, writable, cpus, keptCode } = options;
  const machine = [
    "--memory",
    `${MEMORY_MIB}M`,
    "--cpus",
    `${cpus}`,
    ...(disk === undefined ? [] : ["--disk", writable === true ? disk : `${disk},ro`]),
    ...(keptCode === false ? ["--no-kept-code"] : []),
  ];
  const boot = ["--kernel", kernel, "--initrd", initrd, "--append", commandLine];
  return [process.execPath, file("../bin/mere.js"), "run", ...machine, ...boot];
}

function qemuCommand({
  kernel,
  initrd,
  commandLine,
  disk,
  writable,
  cpus,
  network,
}: VmOptions): readonly [string, ...string[]] {
  const disks =
    disk === undefined
      ? []
      : [
          "-drive",
          `file=${disk},format=raw,if=none,id=disk,readonly=${writable === true ? "off" : "on"}`,
          "-device",
          "virtio-blk-pci,drive=disk",
        ];
  const card = network === true ? ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"] : [];
  const boot = ["-kernel", kernel, "-initrd", initrd, "-append", commandLine];
  return ["qemu-system-x86_64", ...QEMU_MACHINE, "-smp", `${cpus}`, ...QEMU_SERIAL, ...boot, ...disks, ...card];
}

/** Does this version of Mere make VMs of so many vCPUs? Asks the shipped `mere run`, which looks at its options before the kernel that is not there. */
export async function mereTakesCpus(cpus: number): Promise<boolean> {
  const words = ["run", "--cpus", `${cpus}`, "--kernel", "/nonexistent", "--", "true"];
  const { stderr } = await runCommand(process.execPath, [file("../bin/mere.js"), ...words]);
  return !stderr.includes("--cpus");
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

  /** Asks it to end, so that it keeps what it keeps for the next run, and waits. */
  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null || this.child.pid === undefined) return;
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()));
    this.child.kill("SIGTERM");
    const late = setTimeout(() => this.child.kill("SIGKILL"), LATEST_END_MS);
    await ended;
    clearTimeout(late);
  }

  /** What it said besides, for messages. */
  get complaint(): string {
    return this.#stderr.trim();
  }
}
