/* The tables of docs/benchmarks.md, in Markdown. */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import type { BootSample, MemorySample } from "./measure.ts";
import {
  BARS,
  BOOTS,
  type BootName,
  type ProgramRow,
  type Results,
  type Verdict,
  bootVerdicts,
  efficiencies,
  geometricMean,
  median,
  programRows,
  smpVerdicts,
  speedVerdicts,
} from "./results.ts";
import { MEMORY_MIB } from "./vm-options.ts";

/** A benchmark of the network that counts more than this counts bytes: operations are some thousands. */
const STREAM_BYTES = 1e6;

/** The generated part of docs/benchmarks.md. */
export function renderReport(results: Results, circumstances: readonly string[]): string {
  const parts = [circumstances.map((line) => `- ${line}`).join("\n")];
  if (results.boot.mere.length > 0) parts.push(renderBoot(results));
  const compute = programRows(results, ["compute", "debian"]);
  if (compute.length > 0) parts.push(renderCompute(compute));
  const kernel = programRows(results, ["kernel"]);
  if (kernel.length > 0) parts.push(renderOperations("Kernel", kernel, BARS.kernel));
  const net = programRows(results, ["net"]);
  if (net.length > 0) parts.push(renderNet(net));
  const disk = programRows(results, ["disk"]);
  if (disk.length > 0) parts.push(renderOperations("Disk", disk, BARS.disk));
  const smp = programRows(results, ["smp1", "smp2"]);
  if (smp.length > 0) parts.push(renderSmp(results, smp));
  if (results.memory.mere.length > 0) parts.push(renderMemory(results));
  if (results.phases.length > 0) parts.push(renderPhases(results));
  return parts.join("\n\n");
}

function renderBoot(results: Results): string {
  const { boot } = results;
  const wall = (samples: BootSample[]): number => median(samples.map(({ wallMs }) => wallMs));
  const cpu = (samples: BootSample[]): number => median(samples.map(({ cpuMs }) => cpuMs));
  const rows = (Object.keys(BOOTS) as BootName[])
    .filter((name) => boot[name].length > 0)
    .map((name) => [
      BOOTS[name],
      seconds(wall(boot[name])),
      seconds(cpu(boot[name])),
      times(wall(boot.qemu) / wall(boot[name])),
      times(cpu(boot.qemu) / cpu(boot[name])),
    ]);
  const rate =
    boot.instructions === undefined
      ? ""
      : `\n\nMere retires ${(boot.instructions / 1e6).toFixed(0)} M instructions until Debian's kernel has its init: ${(boot.instructions / cpu(boot.mere) / 1000).toFixed(0)} M per second of processor time, start-up included.`;
  const head = ["", "wall s", "CPU s", "speed (wall)", "speed (CPU)"];
  return `### Boot: process start to the init's first line\n\n${table(head, rows)}${rate}${verdictLines(bootVerdicts(results))}`;
}

function renderCompute(rows: readonly ProgramRow[]): string {
  const head = ["program", "native s", "QEMU s", "Mere s", "speed (wall)", "speed (CPU)", "against native"];
  const cells = rows.map((row) => [
    label(row),
    milliseconds(row.nativeMs),
    seconds(row.qemuMs),
    seconds(row.mereMs),
    times(row.speed),
    times(row.cpuSpeed),
    slower(row.slowdown),
    whole(row.mereMips),
    whole(row.qemuMips),
  ]);
  const mean = (of: (row: ProgramRow) => number): number => geometricMean(rows.map(of));
  cells.push([
    "geometric mean",
    "",
    "",
    "",
    times(mean((row) => row.speed)),
    times(mean((row) => row.cpuSpeed)),
    slower(mean((row) => row.slowdown)),
    whole(mean((row) => row.mereMips)),
    whole(mean((row) => row.qemuMips)),
  ]);
  const verdicts = verdictLines(speedVerdicts(rows, BARS.compute));
  return `### Compute: programs in one VM\n\n${table([...head, "Mere M instr/s", "QEMU M instr/s"], cells)}${verdicts}`;
}

function renderOperations(
  title: string,
  rows: readonly ProgramRow[],
  bar: { readonly mean: number; readonly least: number },
): string {
  const head = ["operation", "native µs", "QEMU µs", "Mere µs", "speed (wall)", "speed (CPU)", "against native"];
  const each = (ms: number, row: ProgramRow): string => number((ms * 1000) / (row.operations ?? 1), 2);
  const cells = rows.map((row) => [
    label(row),
    each(row.nativeMs, row),
    each(row.qemuMs, row),
    each(row.mereMs, row),
    times(row.speed),
    times(row.cpuSpeed),
    slower(row.slowdown),
  ]);
  const mean = (of: (row: ProgramRow) => number): number => geometricMean(rows.map(of));
  const means = [
    times(mean((row) => row.speed)),
    times(mean((row) => row.cpuSpeed)),
    slower(mean((row) => row.slowdown)),
  ];
  cells.push(["geometric mean", "", "", "", ...means]);
  return `### ${title}: time of an operation\n\n${table(head, cells)}${verdictLines(speedVerdicts(rows, bar))}`;
}

/** Streams count bytes, the others operations. */
function renderNet(rows: readonly ProgramRow[]): string {
  const head = ["program", "native", "QEMU", "Mere", "", "speed (wall)", "speed (CPU)"];
  const cells = rows.map((row) => {
    const count = row.operations ?? 1;
    const isStream = count > STREAM_BYTES;
    const each = (ms: number): string => number(isStream ? count / ms / 1000 : (ms * 1000) / count, isStream ? 0 : 1);
    return [
      label(row),
      each(row.nativeMs),
      each(row.qemuMs),
      each(row.mereMs),
      isStream ? "MB/s" : "µs",
      times(row.speed),
      times(row.cpuSpeed),
    ];
  });
  return `### Network: a guest and its host\n\n${table(head, cells)}${verdictLines(speedVerdicts(rows, BARS.net))}`;
}

function renderSmp(results: Results, rows: readonly ProgramRow[]): string {
  const cells = rows
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .map((row) => [
      label(row),
      milliseconds(row.nativeMs),
      seconds(row.qemuMs),
      seconds(row.mereMs),
      times(row.speed),
      times(row.cpuSpeed),
    ]);
  const times2 = table(["program", "native s", "QEMU s", "Mere s", "speed (wall)", "speed (CPU)"], cells);
  const efficiency = table(
    ["efficiency of the second vCPU", "native", "QEMU", "Mere"],
    efficiencies(results).map(({ what, native, qemu, mere }) => [
      what,
      ...[native, qemu, mere].map((x) => number(x, 2)),
    ]),
  );
  return `### Two vCPUs\n\n${times2}\n\n${efficiency}${verdictLines(smpVerdicts(results))}`;
}

function renderMemory({ memory }: Results): string {
  const row = (name: string, samples: MemorySample[]): string[] => {
    const idle = median(samples.map((sample) => sample.idlePssMib));
    const touched = median(samples.map((sample) => sample.touchedPssMib));
    const guest = median(samples.map((sample) => sample.guestMib));
    return [name, ...[idle, touched, touched - idle, guest, touched - guest].map(whole)];
  };
  const head = [
    "MiB of the whole process (PSS)",
    "init runs",
    "100 MiB touched",
    "grown by",
    "guest memory in it",
    "fixed part",
  ];
  const rows = [row("QEMU", memory.qemu), row("Mere", memory.mere)];
  return `### Memory: a VM of ${MEMORY_MIB} MiB\n\n${table(head, rows)}`;
}

function renderPhases({ phases }: Results): string {
  const names = Object.keys(phases[0]!.laps);
  const rows = [
    ["Node started", whole(median(phases.map(({ nodeStart }) => nodeStart)))],
    ...names.map((name) => [name, whole(median(phases.map(({ laps }) => laps[name]!)))]),
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

/** A Markdown table, numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

function verdictLines(verdicts: readonly Verdict[]): string {
  return `\n\n${verdicts.map(({ text, met }) => `- ${met ? "met" : "**not met**"}: ${text}`).join("\n")}`;
}

function label({ name, sameOutput }: ProgramRow): string {
  return sameOutput ? name : `${name} (OUTPUT DIFFERS)`;
}

/** A number with so many digits after the point, or a dash for what was not measured. */
export function number(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}
const seconds = (ms: number): string => number(ms / 1000, 2);
/** Seconds for what is short. */
const milliseconds = (ms: number): string => number(ms / 1000, 3);
const whole = (value: number): string => number(value, 0);
const times = (value: number): string => (Number.isFinite(value) ? `${value.toFixed(2)}×` : "–");
const slower = (value: number): string => (Number.isFinite(value) ? `${value.toFixed(1)}×` : "–");
