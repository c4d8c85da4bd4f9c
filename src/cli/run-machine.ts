/* What `mere run` does: makes the machine, carries bytes between it and the terminal, and ends with the right status. On the main thread. */
import { openDisk } from "../disk/open.ts";
import { release } from "../host/guest-kernel.ts";
import { keptCodeDirectory } from "../image/cache.ts";
import { ExitRecordFilter } from "../image/exit-record.ts";
import type { Machine, MachineConfig } from "../vm/machine.ts";
import { ExitStatus } from "./cli-error.ts";
import { type GuestFiles, exactGuest, ownInitGuest } from "./guest-files.ts";
import { Interruption } from "./interruption.ts";
import { pullProgress } from "./pull-progress.ts";
import type { RunOptions } from "./run-options.ts";
import { LastLines } from "../vm/last-lines.ts";
import { exitStatusOf, statsLines } from "./run-report.ts";
import { attachTerminal } from "./terminal.ts";

type Disk = MachineConfig["disks"][number];

/** src/vm/machine.ts's; tests give another. */
export type CreateMachine = (config: MachineConfig) => Promise<Machine>;

/** Runs one VM to its end. @returns the exit status of mere
 *  @throws CliError and the errors of the areas, each with a sentence for the user */
export async function runMachine(options: RunOptions, createMachine: CreateMachine): Promise<number> {
  const interruption = new Interruption();
  const disks: Disk[] = [];
  try {
    const guest = await prepare(options, interruption.signal);
    for (const { path, readOnly } of options.disks) disks.push(await openDisk(path, { readOnly }));
    if (interruption.status !== undefined) return interruption.status;
    const output = { serial: new LastLines(), record: new ExitRecordFilter(guest.token ?? "") };
    const machine = await createMachine(machineConfig(options, guest, disks, output));
    release(guest.kernel);
    release(guest.initrd);
    return await runGuest(options, guest, machine, output, interruption);
  } catch (error) {
    // What was asked to stop and then failed because of that has stopped.
    if (interruption.status !== undefined) return interruption.status;
    throw error;
  } finally {
    for (const disk of disks) await disk.close();
    interruption.end();
  }
}

async function prepare(options: RunOptions, signal: AbortSignal): Promise<GuestFiles> {
  const progress = pullProgress();
  try {
    const pull = { onProgress: progress.onProgress, signal };
    return options.boot.kind === "exact"
      ? await exactGuest(options.boot, pull)
      : await ownInitGuest(options.boot, options.disks.length > 0, pull);
  } finally {
    progress.end();
  }
}

/** What comes out of the guest besides the command's output. */
interface GuestOutput {
  readonly serial: LastLines;
  readonly record: ExitRecordFilter;
}

function machineConfig(
  options: RunOptions,
  guest: GuestFiles,
  disks: readonly Disk[],
  output: GuestOutput,
): MachineConfig {
  return {
    cpus: options.cpus,
    memoryBytes: options.memoryBytes,
    codeCacheBytes: options.codeCacheBytes,
    keptCode: options.keptCode ? keptCodeDirectory() : undefined,
    ...(options.translator !== undefined && { translator: options.translator }),
    kernel: guest.kernel,
    initrd: guest.initrd,
    commandLine: guest.commandLine,
    disks: [...disks],
    serialOutput: (bytes) => {
      const rest = guest.token === undefined ? bytes : output.record.push(bytes);
      output.serial.push(rest);
      if (guest.terminal === "ttyS0") process.stdout.write(rest);
    },
    consoleOutput: (bytes) => {
      process.stdout.write(bytes);
    },
  };
}

/** Starts the machine and waits for its end, however it comes. */
async function runGuest(
  options: RunOptions,
  guest: GuestFiles,
  machine: Machine,
  output: GuestOutput,
  interruption: Interruption,
): Promise<number> {
  const stop = (): void => void machine.stop();
  interruption.signal.addEventListener("abort", stop, { once: true });
  machine.start();
  const detach = attach(options, guest, machine, interruption);
  try {
    if (interruption.signal.aborted) stop();
    const end = await machine.wait();
    if (guest.terminal === "ttyS0") process.stdout.write(output.record.flush());
    detach();
    if (options.stats) for (const line of statsLines(machine.stats())) process.stderr.write(`mere run: ${line}\n`);
    if (interruption.status !== undefined) return interruption.status;
    return exitStatusOf(end, guest.token === undefined ? null : output.record.status, output.serial);
  } finally {
    detach();
    interruption.signal.removeEventListener("abort", stop);
    await machine.stop();
  }
}

/** Connects standard input to the guest's terminal, where there is one for it. @returns what undoes it */
function attach(options: RunOptions, guest: GuestFiles, machine: Machine, interruption: Interruption): () => void {
  const { boot } = options;
  if (boot.kind === "own-init" && !boot.console) return () => {};
  const onSerial = guest.terminal === "ttyS0";
  const resize = (): void => {
    const { columns, rows } = process.stdout;
    if (!onSerial && process.stdout.isTTY) machine.resizeConsole(columns, rows);
  };
  resize();
  process.stdout.on("resize", resize);
  if (boot.console && process.stdin.isTTY) process.stderr.write("mere run: Ctrl-] q leaves and stops the VM\n");
  const detach = attachTerminal(process.stdin, boot.console ? "console" : "plain", {
    input: (bytes) => (onSerial ? machine.serialInput(bytes) : machine.consoleInput(bytes)),
    leave: () => interruption.request(ExitStatus.interrupted),
  });
  return () => {
    process.stdout.off("resize", resize);
    detach();
  };
}
