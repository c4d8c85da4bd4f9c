/* npm run bench: Mere beside QEMU TCG and the host's own processor in one run, alternating, and what the medians are as ratios. docs/benchmarks.md says how
 * to read them. Needs qemu-system-x86_64 and gcc (Debian: qemu-system-x86, gcc). */
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runCommand } from "../src/image/command.ts";
import { debianDisk } from "../tests/support/debian-disk.ts";
import { type BenchGuest, prepareGuest } from "./guest.ts";
import { countBoot, measureBoot, measureMemory, measurePhases, measureSuite } from "./measure.ts";
import { type Results, machineFacts, programRows, renderReport, writeReport } from "./report.ts";
import { SUITE, type SuiteName } from "./suite.ts";

const HELP = `npm run bench -- [options]
  --runs N      rounds, of which the medians are taken (3)
  --only NAMES  parts (boot, compute, debian, memory, phases) or single programs, with commas between
  --quick       one round of programs at a fifth of their size
  --write       put the tables into docs/benchmarks.md
`;
const QUICK_SCALE = 20;
const PARTS = ["boot", "compute", "debian", "memory", "phases"] as const;
type Part = (typeof PARTS)[number];

interface BenchOptions {
  readonly runs: number;
  readonly scale: number;
  readonly parts: readonly Part[];
  /** Single programs; empty: all. */
  readonly programs: readonly string[];
  readonly write: boolean;
}

function parseOptions(): BenchOptions {
  const { values } = parseArgs({
    options: {
      runs: { type: "string" },
      only: { type: "string" },
      quick: { type: "boolean" },
      write: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const runs = Number(values.runs ?? (values.quick === true ? 1 : 3));
  const names = (values.only ?? "").split(",").filter((name) => name !== "");
  const programs = names.filter((name) => !PARTS.some((part) => part === name));
  const known = new Map(
    Object.entries(SUITE).flatMap(([part, entries]) => entries.map(({ name }) => [name, part as SuiteName])),
  );
  const unknown = programs.find((name) => !known.has(name));
  if (unknown !== undefined || !Number.isInteger(runs) || runs < 1) {
    process.stderr.write(
      `${unknown === undefined ? "--runs takes a number from 1 on" : `there is no benchmark ${unknown}; there are ${[...PARTS, ...known.keys()].join(", ")}`}\n`,
    );
    process.exit(2);
  }
  const parts = PARTS.filter(
    (part) => names.length === 0 || names.includes(part) || programs.some((name) => known.get(name) === part),
  );
  return { runs, scale: values.quick === true ? QUICK_SCALE : 100, parts, programs, write: values.write ?? false };
}

/** @returns the version line, or undefined if the program is not there */
async function versionOf(program: string): Promise<string | undefined> {
  const result = await runCommand(program, ["--version"]).catch(() => undefined);
  return result?.stdout.split("\n")[0];
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function bootRound(guest: BenchGuest, { boot }: Results, qemu: boolean): Promise<void> {
  boot.mere.push(await measureBoot("mere", guest));
  if (qemu) {
    boot.qemu.push(await measureBoot("qemu", guest));
    boot.qemuVmlinux.push(await measureBoot("qemu", guest, guest.vmlinux));
  }
  boot.instructions ??= await countBoot(guest);
}

async function suiteRound(suite: SuiteName, guest: BenchGuest, results: Results, options: RoundOptions): Promise<void> {
  const { scale, programs: only, disk, qemu } = options;
  for (const engine of ["mere", "qemu", "native"] as const) {
    if (engine === "qemu" && !qemu) continue;
    const onProgram = (name: string, { nanos }: { nanos: number }): void =>
      say(`  ${engine} ${name} ${(nanos / 1e9).toFixed(2)} s`);
    for (const [name, sample] of await measureSuite(engine, guest, { suite, scale, only, disk, onProgram })) {
      const entry = results.programs.get(name) ?? { mere: [], qemu: [], native: [] };
      results.programs.set(name, entry);
      entry[engine].push(sample);
    }
  }
}

async function measureAll(guest: BenchGuest, options: BenchOptions, qemu: boolean): Promise<Results> {
  const results: Results = {
    boot: { mere: [], qemu: [], qemuVmlinux: [] },
    programs: new Map(),
    memory: { mere: [], qemu: [] },
    phases: [],
  };
  const disk = options.parts.includes("debian") ? await debianDisk() : undefined;
  for (let round = 1; round <= options.runs; round++) {
    for (const part of options.parts) {
      say(`round ${round} of ${options.runs}: ${part}`);
      // What one part's failure leaves of the others is still worth reading.
      await partRound(part, guest, results, { ...options, disk, qemu }).catch((error: unknown) => {
        say(`${part} failed: ${String(error)}`);
        process.exitCode = 1;
      });
    }
  }
  return results;
}

/** Options of one round. */
interface RoundOptions extends BenchOptions {
  readonly disk: string | undefined;
  /** QEMU is there. */
  readonly qemu: boolean;
}

async function partRound(part: Part, guest: BenchGuest, results: Results, options: RoundOptions): Promise<void> {
  const engines = options.qemu ? (["mere", "qemu"] as const) : (["mere"] as const);
  if (part === "boot") return bootRound(guest, results, options.qemu);
  if (part === "phases") results.phases.push(await measurePhases());
  else if (guest.programs === undefined) say(`${part} is left out: it needs a C compiler`);
  else if (part === "memory")
    for (const engine of engines) results.memory[engine].push(await measureMemory(engine, guest));
  else await suiteRound(part, guest, results, options);
}

async function main(): Promise<void> {
  const options = parseOptions();
  const qemu = await versionOf("qemu-system-x86_64");
  if (qemu === undefined) say("qemu-system-x86_64 was not found, so there are no ratios; install qemu-system-x86");
  const facts = machineFacts();
  const work = await mkdtemp(join(tmpdir(), "mere-bench-"));
  try {
    const guest = await prepareGuest(work);
    if (guest.programs === undefined) say("gcc was not found, so there are no programs to measure; install gcc");
    const results = await measureAll(guest, options, qemu !== undefined);
    const circumstances = [
      ...facts,
      `load average at the end ${loadavg()[0]!.toFixed(1)}`,
      qemu ?? "no QEMU",
      `guest: Debian linux-image-${guest.kernel.version} ${guest.kernel.packageVersion}, 1 vCPU, 512 MiB`,
      `medians of ${options.runs} ${options.runs === 1 ? "round" : "rounds"}, programs at ${options.scale} % of their size, ${new Date().toISOString().slice(0, 10)}`,
    ];
    const report = renderReport(results, circumstances);
    console.log(report);
    if (programRows(results).some(({ sameOutput }) => !sameOutput)) process.exitCode = 1;
    if (options.write) writeReport(new URL("../docs/benchmarks.md", import.meta.url), report);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

await main();
