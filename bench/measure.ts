/* The measurements: boot, suites, memory, phases. Each starts its own VMs, waits for them and gives plain numbers. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ConsoleLine, type ProgramSample, SuiteReader } from "./console.ts";
import { type EngineName, Vm, vmCommand } from "./engines.ts";
import type { BenchGuest } from "./guest.ts";
import { startPeer } from "./network.ts";
import { needsNetwork, needsScratch, SUITES, type SuiteName, suiteScript } from "./suite.ts";
import { MEMORY_MIB, type MereSwitches } from "./vm-options.ts";

export interface BootSample {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly retired?: number | undefined;
}

export interface MemorySample {
  /** The whole process when the init runs, and after the guest has touched 100 MiB. */
  readonly idlePssMib: number;
  readonly touchedPssMib: number;
  /** Guest memory that is resident by then. */
  readonly guestMib: number;
}

const SCRATCH_BYTES = 64 << 20;
/** Same console, no kernel messages, no delays. */
const COMMAND_LINE = "console=ttyS0 quiet panic=-1";
/** A VM that says nothing for so long is stuck. */
const SILENCE_MS = 600_000;
/** A kernel that is only tried may not be one that the engine boots. */
const TRIED_SILENCE_MS = 60_000;

function kernelFor(engine: EngineName, guest: BenchGuest): string {
  return engine === "mere" ? guest.vmlinux : guest.bzImage;
}

export interface BootOptions {
  /** Another kernel file than the engine's own. */
  readonly kernel?: string;
  readonly cpus?: number;
  /** Mere: in a process that counts instructions, which is started a little faster than `mere run`. */
  readonly counted?: boolean;
  readonly switches?: MereSwitches;
}

/** Process start to the init's first line. @throws Error when it does not come */
export async function measureBoot(
  engine: EngineName,
  guest: BenchGuest,
  { kernel, cpus, counted, switches }: BootOptions = {},
): Promise<BootSample> {
  const options = {
    kernel: kernel ?? kernelFor(engine, guest),
    initrd: guest.bootInitrd,
    commandLine: `${COMMAND_LINE} bench=boot`,
    cpus: cpus ?? 1,
    counted: counted ?? false,
    keptCode: guest.keptCode,
    switches,
  };
  const vm = new Vm(vmCommand(engine, options), switches?.environment);
  for await (const line of watched(vm, kernel === undefined ? SILENCE_MS : TRIED_SILENCE_MS)) {
    if (line.text !== "@init") continue;
    await vm.close();
    return { wallMs: line.wallMs, cpuMs: line.cpuMs, retired: line.retired };
  }
  throw new Error(`${engine} did not boot ${options.kernel}: ${vm.complaint}`);
}

export interface SuiteOptions {
  /** Suites that want the same number of processors; a VM runs them one after the other. */
  readonly suites: readonly SuiteName[];
  /** Percent of the full size. */
  readonly scale: number;
  /** Names to run; empty: all. */
  readonly only: readonly string[];
  /** Another kernel than the engine's own. */
  readonly kernel?: string | undefined;
  readonly switches?: MereSwitches;
  /** A directory for profiles of Mere; its process then ends by itself, since it writes them at its end. */
  readonly profile?: string | undefined;
  readonly onProgram?: (name: string, sample: ProgramSample) => void;
  readonly onFailure?: (what: string) => void;
}

/** All programs of suites in one VM, or on the host. @returns samples by name; a program that failed has none @throws Error when the VM ends before them */
export async function measureSuites(
  engine: EngineName | "native",
  guest: BenchGuest,
  options: SuiteOptions,
): Promise<Map<string, ProgramSample>> {
  const scratch = needsScratch(options.suites) ? await scratchDisk(guest.work) : undefined;
  const peer =
    needsNetwork(options.suites) && guest.programs !== undefined ? await startPeer(guest.programs) : undefined;
  const around = { scratch, port: peer?.port ?? 0 };
  try {
    return engine === "native"
      ? await measureNative(guest, options, around)
      : await readSuites(engine, vmSuites(engine, guest, options, around), options);
  } finally {
    peer?.close();
  }
}

/** What there is besides the programs: a disk to write to, and the port of the network's server (0: none). */
interface Surroundings {
  readonly scratch: string | undefined;
  readonly port: number;
}

async function measureNative(
  guest: BenchGuest,
  options: SuiteOptions,
  around: Surroundings,
): Promise<Map<string, ProgramSample>> {
  const directory = await mkdtemp(
    join(guest.debian?.prefix === undefined ? guest.work : `${guest.debian.root}/tmp`, "bench-"),
  );
  try {
    const samples = new Map<string, ProgramSample>();
    for (const suite of options.suites) {
      if (SUITES[suite].debian && guest.debian?.prefix === undefined) continue;
      for (const [name, sample] of await readSuites(
        "native",
        nativeSuite(guest, suite, { directory, ...around }, options),
        options,
      ))
        samples.set(name, sample);
    }
    return samples;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function readSuites(name: string, vm: Vm, options: SuiteOptions): Promise<Map<string, ProgramSample>> {
  const samples = new Map<string, ProgramSample>();
  const reader = new SuiteReader();
  let finished = false;
  for await (const line of watched(vm)) {
    const event = reader.read(line);
    if (event?.kind === "sample") {
      samples.set(event.name, event.sample);
      options.onProgram?.(event.name, event.sample);
    } else if (event?.kind === "failed") options.onFailure?.(event.what);
    else if (event?.kind === "finished") {
      finished = true;
      if (options.profile === undefined) break;
    }
  }
  if (finished) return samples;
  throw new Error(`${name} ended before the last program of ${options.suites.join(", ")}: ${vm.complaint}`);
}

/** A file that is as large as bench/programs/disk.c wants it, the same each time and in the host's memory. */
async function scratchDisk(work: string): Promise<string> {
  const path = join(work, "scratch");
  const bytes = new Uint32Array(SCRATCH_BYTES / 4);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i, 2654435761) + 1;
  await rm(path, { force: true });
  await writeFile(path, new Uint8Array(bytes.buffer), { flush: true });
  return path;
}

function vmSuites(engine: EngineName, guest: BenchGuest, options: SuiteOptions, { scratch, port }: Surroundings): Vm {
  const { suites, scale, only, kernel, switches, profile } = options;
  const command = vmCommand(engine, {
    kernel: kernel ?? kernelFor(engine, guest),
    initrd: guest.suiteInitrd,
    commandLine: `${COMMAND_LINE} bench=${suites.join(",")} scale=${scale} only=${only.join(",")} port=${port}`,
    cpus: SUITES[suites[0]!].cpus,
    disk: scratch ?? (suites.some((suite) => SUITES[suite].debian) ? guest.debian?.disk : undefined),
    writable: scratch !== undefined,
    network: needsNetwork(suites),
    counted: true,
    keptCode: guest.keptCode,
    switches,
    profile,
  });
  return new Vm(command, switches?.environment);
}

interface NativeSurroundings extends Surroundings {
  readonly directory: string;
}
/** @param directory for files; where there are Debian's programs, it is in what they see as /tmp */
function nativeSuite(
  guest: BenchGuest,
  suite: SuiteName,
  { directory, scratch, port }: NativeSurroundings,
  { scale, only }: SuiteOptions,
): Vm {
  const root = guest.debian?.root ?? "";
  const env = {
    // The system's own programs, whatever else the user has; chroot is in sbin.
    PATH: "/usr/bin:/bin:/usr/sbin:/sbin",
    LC_ALL: "C",
    D: guest.programs ?? "",
    V: scratch ?? "",
    B: guest.busybox,
    T: join(guest.work, "text"),
    C: guest.debian?.prefix ?? "",
    W: directory,
    P: directory.startsWith(root) ? directory.slice(root.length) : directory,
    M: "/dev/shm",
    N: "127.0.0.1",
    port: `${port}`,
    scale: `${scale}`,
    only: only.join(","),
  };
  const script = `${suiteScript(SUITES[suite].entries)}\necho @finished`;
  // With as many processors as the guest has where that is what is compared.
  const pinned = suite === "smp1" ? (["taskset", "1"] as const) : ([] as const);
  return new Vm([...pinned, "sh", "-c", script] as unknown as [string, ...string[]], env);
}

/** What the host pays for a guest that has touched 100 MiB of its memory. */
export async function measureMemory(engine: EngineName, guest: BenchGuest): Promise<MemorySample> {
  const options = {
    kernel: kernelFor(engine, guest),
    initrd: guest.touchInitrd,
    commandLine: `${COMMAND_LINE} bench=touch`,
    cpus: 1,
    keptCode: guest.keptCode,
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
async function* watched(vm: Vm, silenceMs = SILENCE_MS): AsyncGenerator<ConsoleLine> {
  const kill = (): void => void vm.child.kill("SIGKILL");
  let timer = setTimeout(kill, silenceMs);
  try {
    for await (const line of vm.lines()) {
      clearTimeout(timer);
      timer = setTimeout(kill, silenceMs);
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
