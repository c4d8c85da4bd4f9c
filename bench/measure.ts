/* The measurements: boot, compute, memory. Each starts its own VMs, waits for them and gives plain numbers. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ConsoleLine, type EngineName, MEMORY_MIB, Vm, vmCommand } from "./engines.ts";
import { type BenchGuest, suiteScript } from "./guest.ts";
import { SUITE, type SuiteName } from "./suite.ts";

export interface BootSample {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly retired?: number | undefined;
}

/** One program's one run. */
export interface ProgramSample {
  /** By the guest's own clock. */
  readonly nanos: number;
  /** Of the engine's process, all threads. */
  readonly cpuMs: number;
  readonly checksum: string;
  readonly retired: number | undefined;
}

export interface MemorySample {
  /** The whole process when the init runs, and after the guest has touched 100 MiB. */
  readonly idlePssMib: number;
  readonly touchedPssMib: number;
  /** Guest memory that is resident by then. */
  readonly guestMib: number;
}

/** Same console, no kernel messages, no delays. */
const COMMAND_LINE = "console=ttyS0 quiet panic=-1";
/** A VM that says nothing for so long is stuck. */
const SILENCE_MS = 600_000;

function kernelFor(engine: EngineName, guest: BenchGuest): string {
  return engine === "mere" ? guest.vmlinux : guest.bzImage;
}

/** Process start to the init's first line. @param kernel another kernel file than the engine's own */
export async function measureBoot(
  engine: EngineName,
  guest: BenchGuest,
  kernel = kernelFor(engine, guest),
): Promise<BootSample> {
  const vm = new Vm(vmCommand(engine, { kernel, initrd: guest.bootInitrd, commandLine: `${COMMAND_LINE} bench=boot` }));
  for await (const line of watched(vm)) {
    if (line.text !== "@init") continue;
    await vm.close();
    return { wallMs: line.wallMs, cpuMs: line.cpuMs };
  }
  throw new Error(`${engine} did not boot: ${vm.complaint}`);
}

/** Instructions until the init's first line. */
export async function countBoot(guest: BenchGuest): Promise<number> {
  const options = {
    kernel: guest.vmlinux,
    initrd: guest.bootInitrd,
    commandLine: `${COMMAND_LINE} bench=boot`,
    counted: true,
  };
  const vm = new Vm(vmCommand("mere", options));
  for await (const line of watched(vm)) {
    if (line.text !== "@init") continue;
    await vm.close();
    return line.retired!;
  }
  throw new Error(`mere did not boot: ${vm.complaint}`);
}

export interface SuiteOptions {
  readonly suite: SuiteName;
  /** Percent of the full size. */
  readonly scale: number;
  /** Names to run; empty: all. */
  readonly only: readonly string[];
  readonly disk?: string | undefined;
  readonly onProgram?: (name: string, sample: ProgramSample) => void;
}

/** All programs of a suite in one VM, or on the host. @returns samples by name; a program that failed has none */
export async function measureSuite(
  engine: EngineName | "native",
  guest: BenchGuest,
  options: SuiteOptions,
): Promise<Map<string, ProgramSample>> {
  const vm = engine === "native" ? nativeSuite(guest, options) : vmSuite(engine, guest, options);
  const samples = new Map<string, ProgramSample>();
  let begin: ConsoleLine | undefined;
  for await (const line of watched(vm)) {
    const [word, name, checksum, nanos] = line.text.split(" ");
    if (word === "@begin") begin = line;
    else if (word === "@end" && begin !== undefined && begin.text.split(" ")[1] === name) {
      const retired = line.retired === undefined ? undefined : line.retired - begin.retired!;
      const sample = { nanos: Number(nanos), cpuMs: line.cpuMs - begin.cpuMs, checksum: checksum!, retired };
      samples.set(name!, sample);
      options.onProgram?.(name!, sample);
    } else if (word === "@finished") {
      await vm.close();
      return samples;
    }
  }
  if (engine !== "native") throw new Error(`${engine} ended before the suite: ${vm.complaint}`);
  return samples;
}

function vmSuite(engine: EngineName, guest: BenchGuest, { suite, scale, only, disk }: SuiteOptions): Vm {
  const commandLine = `${COMMAND_LINE} bench=${suite} scale=${scale} only=${only.join(",")}`;
  return new Vm(
    vmCommand(engine, {
      kernel: kernelFor(engine, guest),
      initrd: guest.suiteInitrd,
      commandLine,
      disk,
      counted: true,
    }),
  );
}

function nativeSuite(guest: BenchGuest, { suite, scale, only }: SuiteOptions): Vm {
  const D = guest.programs ?? "";
  // The system's own programs, whatever else the user has.
  const env = {
    PATH: "/usr/bin:/bin",
    D,
    B: guest.busybox,
    T: join(D, "..", "text"),
    C: "",
    scale: `${scale}`,
    only: only.join(","),
  };
  return new Vm(["sh", "-c", suiteScript(SUITE[suite])], env);
}

/** What the host pays for a guest that has touched 100 MiB of its memory. */
export async function measureMemory(engine: EngineName, guest: BenchGuest): Promise<MemorySample> {
  const options = {
    kernel: kernelFor(engine, guest),
    initrd: guest.touchInitrd,
    commandLine: `${COMMAND_LINE} bench=touch`,
  };
  const vm = new Vm(vmCommand(engine, options));
  let idlePssMib = NaN;
  for await (const line of watched(vm)) {
    if (line.text === "@idle") idlePssMib = vm.pssMib();
    if (!line.text.startsWith("@touched")) continue;
    const sample = { idlePssMib, touchedPssMib: vm.pssMib(), guestMib: vm.residentMib(MEMORY_MIB) };
    await vm.close();
    return sample;
  }
  throw new Error(`${engine} did not get to the memory test: ${vm.complaint}`);
}

/** The VM's lines; a VM that falls silent is killed, which ends them. */
async function* watched(vm: Vm): AsyncGenerator<ConsoleLine> {
  const kill = (): void => void vm.child.kill("SIGKILL");
  let timer = setTimeout(kill, SILENCE_MS);
  try {
    for await (const line of vm.lines()) {
      clearTimeout(timer);
      timer = setTimeout(kill, SILENCE_MS);
      yield line;
    }
  } finally {
    clearTimeout(timer);
    await vm.close();
  }
}

/** Steps of `mere run -- true` in ms. */
export interface StartupPhases {
  /** Until the first line of the script. */
  readonly nodeStart: number;
  readonly laps: Readonly<Record<string, number>>;
  readonly instructions: number;
  readonly guestMs: number;
  /** The guest reported its command's status. */
  readonly reported: boolean;
}

/** @see bench/phases.ts */
export async function measurePhases(): Promise<StartupPhases> {
  const script = fileURLToPath(new URL("./phases.ts", import.meta.url));
  const vm = new Vm([process.execPath, script, `${performance.timeOrigin + performance.now()}`]);
  for await (const line of watched(vm)) if (line.text.startsWith("{")) return JSON.parse(line.text) as StartupPhases;
  throw new Error(`the phases could not be measured: ${vm.complaint}`);
}
