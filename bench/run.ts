/* npm run bench: Mere beside QEMU TCG and the host's own processor in one run, alternating, and what the medians are as ratios. docs/benchmarks.md says how
 * to read them. Needs qemu-system-x86_64 and gcc (Debian: qemu-system-x86, gcc). */
import { access, mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../src/image/command.ts";
import { mereTakesCpus } from "./engines.ts";
import { type FeatureSamples, featureRound, renderFeatures, suitesOf } from "./features.ts";
import { type BenchGuest, prepareGuest } from "./guest.ts";
import { measureBoot, measureMemory, measurePhases, measureSuites } from "./measure.ts";
import { type BenchOptions, HELP, PARTS, type Part, parseOptions } from "./options.ts";
import { machineFacts, renderReport, writeReport } from "./report.ts";
import { type ProgramSamples, type Results, differing, emptyResults } from "./results.ts";
import { SUITES, type SuiteName } from "./suite.ts";
import { SWITCHES } from "./switches.ts";
import { MEMORY_MIB } from "./vm-options.ts";

/** @returns the version line, or undefined if the program is not there */
async function versionOf(program: string): Promise<string | undefined> {
  const result = await runCommand(program, ["--version"]).catch(() => undefined);
  return result?.stdout.split("\n")[0];
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** What failed is told and makes the status 1; what else there is to measure is still worth reading. */
function fail(what: string): void {
  say(what);
  process.exitCode = 1;
}

/** What a round measures. */
interface Round {
  readonly guest: BenchGuest;
  readonly options: BenchOptions;
  readonly results: Results;
  /** QEMU is there. */
  readonly qemu: boolean;
  /** Mere makes VMs of two vCPUs. */
  readonly twoCpus: boolean;
}

async function bootRound({ guest, results, qemu }: Round): Promise<void> {
  const { boot } = results;
  boot.mere.push(await measureBoot("mere", guest));
  if (qemu) {
    boot.qemu.push(await measureBoot("qemu", guest));
    boot.qemuVmlinux.push(await measureBoot("qemu", guest, { kernel: guest.vmlinux }));
  }
  const kernel = guest.mereKernel;
  if (kernel !== undefined) {
    boot.mereOwn.push(await measureBoot("mere", guest, { kernel }));
    // A kernel that is built for Mere need not have what QEMU wants to boot it; what failed once is not tried again.
    if (qemu && boot.qemuOwn.length === boot.mereOwn.length - 1)
      await measureBoot("qemu", guest, { kernel }).then(
        (sample) => boot.qemuOwn.push(sample),
        (error: unknown) => say(`left out: ${String(error)}`),
      );
  }
  boot.instructions ??= (await measureBoot("mere", guest, { counted: true })).retired;
}

async function suiteRound(suite: SuiteName, { guest, options, results, qemu }: Round): Promise<void> {
  for (const engine of ["mere", "qemu", "native"] as const) {
    if (engine === "qemu" && !qemu) continue;
    const measured = await measureSuites(engine, guest, {
      suites: [suite],
      scale: options.scale,
      only: options.only,
      onProgram: (name, { nanos }) => say(`  ${engine} ${name} ${(nanos / 1e9).toFixed(2)} s`),
      onFailure: (what) => fail(`  ${engine}: ${what} failed`),
    });
    for (const [name, sample] of measured) {
      const entry: ProgramSamples = results.programs.get(name) ?? { mere: [], qemu: [], native: [] };
      results.programs.set(name, entry);
      entry[engine].push(sample);
    }
  }
}

async function partRound(part: Part, round: Round): Promise<void> {
  const { guest, results } = round;
  if (part === "boot") return bootRound(round);
  if (part === "phases") results.phases.push(await measurePhases());
  else if (guest.programs === undefined) say(`${part} is left out: it needs a C compiler`);
  else if (part === "memory") {
    results.memory.mere.push(await measureMemory("mere", guest));
    if (round.qemu) results.memory.qemu.push(await measureMemory("qemu", guest));
  } else if (part === "smp" && !round.twoCpus) say("smp is left out: this version of Mere makes no VM of 2 vCPUs");
  else for (const suite of PARTS[part]) await suiteRound(suite, round);
}

async function compareEngines(work: string, options: BenchOptions): Promise<void> {
  const qemu = await versionOf("qemu-system-x86_64");
  if (qemu === undefined) say("qemu-system-x86_64 was not found, so there are no ratios; install qemu-system-x86");
  const facts = machineFacts();
  const suites = options.parts.flatMap((part): readonly SuiteName[] => PARTS[part]);
  const { only, mereKernel } = options;
  const { keptCode } = options;
  const guest = await prepareGuest(work, { suites, only, qemu: qemu !== undefined, mereKernel, keptCode });
  if (guest.programs === undefined) say("gcc was not found, so there are no programs to measure; install gcc");
  if (guest.debian !== undefined && guest.debian.prefix === undefined)
    say("this user can run nothing in another root directory, so Debian's programs have no native column");
  const twoCpus = options.parts.includes("smp") && (await mereTakesCpus(2));
  const results = emptyResults();
  for (let n = 1; n <= options.runs; n++) {
    for (const part of options.parts) {
      say(`round ${n} of ${options.runs}: ${part}`);
      const round = { guest, options, results, qemu: qemu !== undefined, twoCpus };
      await partRound(part, round).catch((error: unknown) => fail(`${part} failed: ${String(error)}`));
    }
  }
  const circumstances = [
    ...facts,
    `load average at the end ${loadavg()[0]!.toFixed(1)}`,
    qemu ?? "no QEMU",
    `guest: Debian linux-image-${guest.kernel.version} ${guest.kernel.packageVersion}, 1 vCPU where nothing else is said, ${MEMORY_MIB} MiB`,
    `medians of ${options.runs} ${options.runs === 1 ? "round" : "rounds"}, programs at ${options.scale} % of their size, Mere ${options.keptCode ? "with" : "without"} code that was kept by earlier rounds and runs, ${new Date().toISOString().slice(0, 10)}`,
  ];
  const report = renderReport(results, circumstances);
  console.log(report);
  for (const name of differing(results)) fail(`${name}: its output is not the same everywhere`);
  if (options.write) writeReport(new URL("../docs/benchmarks.md", import.meta.url), report);
}

/** --engine: one boot for all programs that want the same number of processors. */
async function runOneEngine(work: string, options: BenchOptions, engine: "mere" | "qemu" | "native"): Promise<void> {
  const suites = options.parts.flatMap((part): readonly SuiteName[] => PARTS[part]);
  const { only, scale, mereKernel, keptCode } = options;
  const guest = await prepareGuest(work, { suites, only, qemu: engine === "qemu", mereKernel, keptCode });
  for (let n = 1; n <= options.runs; n++) {
    for (const cpus of new Set(suites.map((suite) => SUITES[suite].cpus))) {
      const wanted = suites.filter(
        (suite) =>
          SUITES[suite].cpus === cpus &&
          (only.length === 0 || SUITES[suite].entries.some(({ name }) => only.includes(name))),
      );
      if (wanted.length === 0) continue;
      if (engine === "mere" && cpus > 1 && !(await mereTakesCpus(cpus))) {
        say(`${wanted.join(", ")}: left out, since this version of Mere makes no VM of ${cpus} vCPUs`);
        continue;
      }
      await measureSuites(engine, guest, {
        suites: wanted,
        scale,
        only,
        kernel: mereKernel,
        profile: options.profile,
        onProgram(name, { nanos, cpuMs, retired, operations }) {
          const columns = [
            name.padEnd(18),
            `${(nanos / 1e9).toFixed(3).padStart(8)} s`,
            retired === undefined ? "" : `${(retired / cpuMs / 1000).toFixed(0).padStart(6)} M instr/s`,
            retired === undefined ? "" : `${(retired / 1e6).toFixed(0).padStart(7)} M instr`,
            operations === undefined ? "" : `${(nanos / 1000 / operations).toFixed(2).padStart(8)} µs each`,
            operations === undefined ? "" : `${((cpuMs * 1000) / operations).toFixed(2).padStart(8)} µs of processor`,
          ];
          console.log(columns.filter((column) => column !== "").join(" "));
        },
        onFailure: (what) => fail(`${what} failed`),
      });
    }
  }
}

/** --features. */
async function compareFeatures(work: string, options: BenchOptions): Promise<void> {
  const twoCpus = await mereTakesCpus(2);
  const chosen = SWITCHES.filter(({ name, offered, cpus }) => {
    if (options.only.length > 0 && !options.only.includes(name)) return false;
    if (!offered) say(`${name} is left out: this version of Mere does not have it`);
    else if ((cpus ?? 1) > 1 && !twoCpus)
      say(`${name} is left out: this version of Mere makes no VM of ${cpus!} vCPUs`);
    else return true;
    return false;
  });
  const loads = chosen.map(({ load }) => load);
  const guest = await prepareGuest(work, {
    suites: suitesOf(chosen),
    only: loads,
    qemu: false,
    mereKernel: undefined,
    keptCode: options.keptCode,
  });
  const samples: FeatureSamples = new Map();
  for (let n = 1; n <= options.runs; n++) {
    say(`round ${n} of ${options.runs}`);
    await featureRound(guest, chosen, samples, { scale: options.scale, say });
  }
  const { text, differing: wrong } = renderFeatures(chosen, samples);
  console.log(text);
  for (const name of wrong) fail(`${name}: its load's output is not the same on and off`);
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") {
    process.stdout.write(HELP);
    return;
  }
  if ("mistake" in options) {
    say(options.mistake);
    process.exitCode = 2;
    return;
  }
  if (options.mereKernel !== undefined) await access(options.mereKernel);
  const work = await mkdtemp(join(tmpdir(), "mere-bench-"));
  try {
    if (options.features) await compareFeatures(work, options);
    else if (options.engine !== undefined) await runOneEngine(work, options, options.engine);
    else await compareEngines(work, options);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

await main();
