/* What `mere run IMAGE` does: a VM of an image with its command on this process's streams, or one that goes on by itself. */
import { setTimeout } from "node:timers/promises";
import { HostError } from "../host/host-error.ts";
import { type CreateProgress, Host } from "../host/host.ts";
import type { OwnVm } from "../host/own-vm.ts";
import type { VmRecord } from "../host/vm-directory.ts";
import { attachProcess, terminalSize } from "./attach-process.ts";
import { type CliError, ExitStatus, failure, isErrorCode } from "./cli-error.ts";
import { createProgress } from "./create-progress.ts";
import { onBrokenPipe, onEndSignals } from "./end-signals.ts";
import { formatBytes, formatCount, formatRate } from "./format.ts";
import { Interruption } from "./interruption.ts";
import type { RunImageOptions } from "./run-image-options.ts";
import { startStatus } from "./start-status.ts";

/** The main process has this long to end after Ctrl-C or SIGTERM, then the VM is stopped where it is. */
const GRACE_MS = 10_000;

/** @returns the exit status of mere */
export async function runImage(options: RunImageOptions): Promise<number> {
  const interruption = new Interruption();
  const progress = createProgress();
  const { signal } = interruption;
  try {
    const host = new Host();
    return await startStatus(async () => {
      if (!options.detach) return runAttached(host, options, interruption, progress);
      const vm = await host.createDetached({ ...options.vm, signal, onProgress: progress.onProgress });
      progress.end();
      // With --rm, a short command may have left nothing already.
      complain(await vm.inspect().catch(() => ({})));
      process.stdout.write(`${vm.id}\n`);
      return ExitStatus.ok;
    });
  } catch (error) {
    if (interruption.status !== undefined) return interruption.status;
    throw isErrorCode(error, "no-registry") ? withoutImage(error, options) : error;
  } finally {
    progress.end("not finished");
    interruption.end();
  }
}

/** What could not be done in the guest does not keep the command from running. */
function complain({ complaints = [] }: Pick<VmRecord, "complaints">): void {
  for (const sentence of complaints) process.stderr.write(`mere run: ${sentence}\n`);
}

/** Who wrote a command where the image belongs is told how to run it. */
function withoutImage(error: Error, { vm: { image = "", command = [] } }: RunImageOptions): CliError {
  const words = [image, ...command].join(" ");
  return failure(`${error.message} To run a command without an image, write 'mere run -- ${words}'`, error);
}

async function runAttached(
  host: Host,
  { vm: vmOptions, stats, timeoutMs }: RunImageOptions,
  interruption: Interruption,
  progress: { onProgress: CreateProgress; end: () => void },
): Promise<number> {
  const { signal } = interruption;
  await using vm = await host.create({
    ...vmOptions,
    signal,
    onProgress: progress.onProgress,
    terminal: terminalSize(),
  });
  progress.end();
  complain(await vm.inspect());
  const ended = vm.wait();
  const end = onSignals(vm, interruption);
  const timer = new AbortController();
  const late =
    timeoutMs === undefined
      ? undefined
      : setTimeout(timeoutMs, "late", { signal: timer.signal }).catch(() => undefined);
  try {
    const attached = attachMain(vm, vmOptions, interruption);
    const first = await Promise.race([attached, ...(late === undefined ? [] : [late])]);
    if (first === "late") {
      await vm.end();
      throw new HostError("timeout", `The VM ran longer than ${timeoutMs! / 1000} s and was stopped.`);
    }
    if (stats) await printStats(vm);
    const record = await ended;
    return interruption.status ?? statusOf(record);
  } finally {
    timer.abort();
    end();
  }
}

/** Its streams here, until it ends; a VM that ends before is what the record says. */
async function attachMain(vm: OwnVm, { stdin, tty }: RunImageOptions["vm"], interruption: Interruption): Promise<void> {
  const leave = (): void => {
    interruption.request(ExitStatus.interrupted);
    // No time for the command, but disks are written.
    void vm.end();
  };
  if (vm.main === undefined) return;
  await attachProcess(vm.main, { stdin: stdin ?? false, tty: tty ?? false, leave }).catch(() => undefined);
}

/** The first signal is the main process's, as if it ran here; if it does not end then, or another comes, the VM is stopped. */
function onSignals(vm: OwnVm, interruption: Interruption): () => void {
  const { signal } = interruption;
  const off = onEndSignals(
    (name) => void vm.signal(name).catch(() => vm.kill()),
    () => void vm.kill(),
  );
  const offPipe = onBrokenPipe(
    interruption,
    (name) => void vm.signal(name).catch(() => vm.kill()),
    () => void vm.end(),
  );
  const grace = new AbortController();
  const onAbort = (): void =>
    void setTimeout(GRACE_MS, undefined, { signal: grace.signal }).then(
      () => vm.end(),
      () => undefined,
    );
  signal.addEventListener("abort", onAbort, { once: true });
  return () => {
    grace.abort();
    signal.removeEventListener("abort", onAbort);
    off();
    offPipe();
  };
}

function statusOf({ exitCode, reason, status }: VmRecord): number {
  if (status !== "failed" && exitCode !== undefined) return exitCode;
  throw failure(`the VM ended before its command: ${reason ?? status}`);
}

async function printStats(vm: OwnVm): Promise<void> {
  const { instructions, uptimeSeconds, memory, cpuSeconds } = await vm.metrics();
  process.stderr.write(
    `mere run: ${formatCount(instructions)} instructions in ${uptimeSeconds.toFixed(1)} s (${formatRate(instructions / uptimeSeconds)}), ` +
      `${cpuSeconds.toFixed(1)} s of processor time, ${formatBytes(memory.usedBytes)} of memory\n`,
  );
}
