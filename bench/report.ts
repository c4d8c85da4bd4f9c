/* Medians, ratios and the tables of docs/benchmarks.md, in Markdown. */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { SUITE } from "./suite.ts";
import type { BootSample, MemorySample, ProgramSample, StartupPhases } from "./measure.ts";

/** What issue 2 asks of this tier, as ratios to QEMU. */
export const BARS = { boot: 6, compute: 8 } as const;

/** All samples of a run of the benchmark; each list has one entry per round. */
export interface Results {
  readonly boot: {
    readonly mere: BootSample[];
    readonly qemu: BootSample[];
    readonly qemuVmlinux: BootSample[];
    instructions?: number;
  };
  readonly programs: Map<
    string,
    { readonly mere: ProgramSample[]; readonly qemu: ProgramSample[]; readonly native: ProgramSample[] }
  >;
  readonly memory: { readonly mere: MemorySample[]; readonly qemu: MemorySample[] };
  readonly phases: StartupPhases[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** A program's medians. */
export interface ProgramRow {
  readonly name: string;
  readonly nativeMs: number;
  readonly qemuMs: number;
  readonly mereMs: number;
  /** Mere to QEMU by the guests' clocks, and by processor time of the engines' processes. */
  readonly wallRatio: number;
  readonly cpuRatio: number;
  /** Millions of guest instructions per second of processor time. */
  readonly mereMips: number;
  readonly qemuMips: number;
  readonly sameOutput: boolean;
}

/** Rows of all programs that both engines ran, the worst ratio first. */
export function programRows(results: Results): ProgramRow[] {
  const rows: ProgramRow[] = [];
  for (const [name, { mere, qemu, native }] of results.programs) {
    if (mere.length === 0 || qemu.length === 0) continue;
    const [mereMs, qemuMs] = [mere, qemu].map((samples) => median(samples.map(({ nanos }) => nanos / 1e6))) as [
      number,
      number,
    ];
    const [mereCpu, qemuCpu] = [mere, qemu].map((samples) => median(samples.map(({ cpuMs }) => cpuMs))) as [
      number,
      number,
    ];
    // The host's own perl or sqlite3 may be of another version.
    const comparable = SUITE.compute.some((entry) => entry.name === name) ? native : [];
    const retired = median(mere.map((sample) => sample.retired!));
    rows.push({
      name,
      nativeMs: native.length === 0 ? NaN : median(native.map(({ nanos }) => nanos / 1e6)),
      qemuMs,
      mereMs,
      wallRatio: mereMs / qemuMs,
      cpuRatio: mereCpu / qemuCpu,
      mereMips: retired / mereCpu / 1000,
      qemuMips: retired / qemuCpu / 1000,
      sameOutput: new Set([...mere, ...qemu, ...comparable].map(({ checksum }) => checksum)).size === 1,
    });
  }
  return rows.toSorted((a, b) => b.cpuRatio - a.cpuRatio);
}

/** The generated part of docs/benchmarks.md. */
export function renderReport(results: Results, circumstances: readonly string[]): string {
  const parts = [circumstances.map((line) => `- ${line}`).join("\n")];
  if (results.boot.mere.length > 0 && results.boot.qemu.length > 0) parts.push(renderBoot(results));
  if (programRows(results).length > 0) parts.push(renderPrograms(results));
  if (results.memory.mere.length > 0) parts.push(renderMemory(results));
  if (results.phases.length > 0) parts.push(renderPhases(results));
  return parts.join("\n\n");
}

function renderBoot({ boot }: Results): string {
  const wall = (samples: BootSample[]): number => median(samples.map(({ wallMs }) => wallMs));
  const cpu = (samples: BootSample[]): number => median(samples.map(({ cpuMs }) => cpuMs));
  const row = (name: string, samples: BootSample[]): string[] => [
    name,
    seconds(wall(samples)),
    seconds(cpu(samples)),
    ratio(wall(samples) / wall(boot.qemu)),
    ratio(cpu(samples) / cpu(boot.qemu)),
  ];
  const rows = [row("QEMU, bzImage", boot.qemu), row("Mere, vmlinux", boot.mere)];
  if (boot.qemuVmlinux.length > 0) rows.splice(1, 0, row("QEMU, vmlinux (PVH)", boot.qemuVmlinux));
  const rate =
    boot.instructions === undefined
      ? ""
      : `\n\nMere retires ${(boot.instructions / 1e6).toFixed(0)} M instructions until then: ${(boot.instructions / cpu(boot.mere) / 1000).toFixed(0)} M per second of processor time, start-up included.`;
  return `### Boot: process start to the init's first line (bar: ${BARS.boot}×)\n\n${table(["", "wall s", "CPU s", "wall ×", "CPU ×"], rows)}${rate}`;
}

function renderPrograms(results: Results): string {
  const rows = programRows(results);
  const head = ["program", "native s", "QEMU s", "Mere s", "wall ×", "CPU ×", "Mere M instr/s", "QEMU M instr/s"];
  const mean = [
    "geometric mean",
    "",
    "",
    "",
    ratio(geometricMean(rows.map((row) => row.wallRatio))),
    ratio(geometricMean(rows.map((row) => row.cpuRatio))),
  ];
  const cells = rows.map((row) => [
    row.sameOutput ? row.name : `${row.name} (OUTPUT DIFFERS)`,
    Number.isNaN(row.nativeMs) ? "–" : seconds(row.nativeMs),
    seconds(row.qemuMs),
    seconds(row.mereMs),
    ratio(row.wallRatio),
    ratio(row.cpuRatio),
    row.mereMips.toFixed(0),
    row.qemuMips.toFixed(0),
  ]);
  mean.push(
    geometricMean(rows.map((row) => row.mereMips)).toFixed(0),
    geometricMean(rows.map((row) => row.qemuMips)).toFixed(0),
  );
  return `### Compute: programs in one VM (bar: ${BARS.compute}×)\n\n${table(head, [...cells, mean])}`;
}

function renderMemory({ memory }: Results): string {
  const row = (name: string, samples: MemorySample[]): string[] => {
    const idle = median(samples.map((sample) => sample.idlePssMib));
    const touched = median(samples.map((sample) => sample.touchedPssMib));
    const guest = median(samples.map((sample) => sample.guestMib));
    return [name, ...[idle, touched, touched - idle, guest, touched - guest].map((mib) => mib.toFixed(0))];
  };
  const head = [
    "MiB of the whole process (PSS)",
    "init runs",
    "100 MiB touched",
    "grown by",
    "guest memory in it",
    "fixed part",
  ];
  return `### Memory: a VM of 512 MiB\n\n${table(head, [row("QEMU", memory.qemu), row("Mere", memory.mere)])}`;
}

function renderPhases({ phases }: Results): string {
  const names = Object.keys(phases[0]!.laps);
  const rows = [
    ["Node started", median(phases.map(({ nodeStart }) => nodeStart)).toFixed(0)],
    ...names.map((name) => [name, median(phases.map(({ laps }) => laps[name]!)).toFixed(0)]),
  ];
  return `### Start-up of \`mere run -- true\`\n\n${table(["phase", "ms"], rows)}`;
}

/** One line each: what the numbers were measured on. */
export function machineFacts(): string[] {
  const processors = cpus();
  return [
    `host: ${processors[0]!.model.trim()}, ${processors.length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB; load average at the start ${loadavg()[0]!.toFixed(1)}`,
    `Node ${process.versions.node} (V8 ${process.versions.v8})`,
  ];
}

const BEGIN = "<!-- bench:begin (written by npm run bench -- --write) -->";
const END = "<!-- bench:end -->";

/** Replaces what is between the markers. @throws Error when the file has no markers */
export function writeReport(path: string | URL, report: string): void {
  const text = readFileSync(path, "utf8");
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${String(path)} lacks the lines ${BEGIN} and ${END}`);
  writeFileSync(path, `${text.slice(0, begin + BEGIN.length)}\n\n${report}\n\n${text.slice(end)}`);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}

function ratio(value: number): string {
  return `${value.toFixed(1)}×`;
}
