/* What a run of the benchmark measured, and what follows from it: medians, ratios, means, and what is under the bars. Pure. */
import type { ProgramSample } from "./console.ts";
import type { BootSample, MemorySample, StartupPhases } from "./measure.ts";
import { type SuiteName, suiteOf } from "./suite.ts";

/** What is asked of Mere. Speeds are QEMU's time over Mere's, so that more is faster. */
export const BARS = {
  /** `slowdown` is the geometric mean of Mere's time over the host's own. */
  compute: { mean: 3, least: 1.2, slowdown: 5 },
  kernel: { mean: 1.3, least: 0.8 },
  net: { mean: 1, least: 1 },
  disk: { mean: 1, least: 1 },
  /** `ownKernelMs` from the start of `mere run` to the init of a kernel that was built for Mere. */
  boot: { speed: 1, ownKernelMs: 1000 },
  smp: { efficiency: 0.85, speed: 1 },
} as const;

export interface ProgramSamples {
  readonly mere: ProgramSample[];
  readonly qemu: ProgramSample[];
  readonly native: ProgramSample[];
}

/** The boots that are compared, in the order of their rows. */
export const BOOTS = {
  qemu: "QEMU, bzImage",
  qemuVmlinux: "QEMU, vmlinux (PVH)",
  mere: "Mere, vmlinux",
  qemuOwn: "QEMU, Mere's own kernel",
  mereOwn: "Mere, its own kernel",
} as const;
export type BootName = keyof typeof BOOTS;

/** All samples of a run of the benchmark; each list has one entry per round. */
export interface Results {
  readonly boot: Record<BootName, BootSample[]> & { instructions?: number | undefined };
  readonly programs: Map<string, ProgramSamples>;
  readonly memory: { readonly mere: MemorySample[]; readonly qemu: MemorySample[] };
  readonly phases: StartupPhases[];
}

export function emptyResults(): Results {
  return {
    boot: { qemu: [], qemuVmlinux: [], mere: [], qemuOwn: [], mereOwn: [] },
    programs: new Map(),
    memory: { mere: [], qemu: [] },
    phases: [],
  };
}

/** @returns NaN of no values */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Of the values that are numbers above 0: what could not be measured is left out. @returns NaN of no values */
export function geometricMean(values: readonly number[]): number {
  const measured = values.filter((value) => value > 0 && Number.isFinite(value));
  if (measured.length === 0) return NaN;
  return Math.exp(measured.reduce((sum, value) => sum + Math.log(value), 0) / measured.length);
}

/** A program's medians. What was not measured is NaN. */
export interface ProgramRow {
  readonly name: string;
  readonly nativeMs: number;
  readonly qemuMs: number;
  readonly mereMs: number;
  /** QEMU's time over Mere's by the guests' clocks, and by processor time of the engines' processes. */
  readonly speed: number;
  readonly cpuSpeed: number;
  /** Mere's time over the host's. */
  readonly slowdown: number;
  /** Millions of guest instructions per second of processor time. */
  readonly mereMips: number;
  readonly qemuMips: number;
  /** All engines printed the same. */
  readonly sameOutput: boolean;
  readonly operations: number | undefined;
}

/** Rows of the suites' programs that both engines ran, the slowest beside QEMU first. */
export function programRows(results: Results, suites: readonly SuiteName[]): ProgramRow[] {
  const rows: ProgramRow[] = [];
  for (const [name, { mere, qemu, native }] of results.programs) {
    const suite = suiteOf(name);
    if (suite === undefined || !suites.includes(suite) || mere.length === 0 || qemu.length === 0) continue;
    const time = (samples: readonly ProgramSample[]): number => median(samples.map(({ nanos }) => nanos / 1e6));
    const cpu = (samples: readonly ProgramSample[]): number => median(samples.map(({ cpuMs }) => cpuMs));
    const retired = median(mere.map((sample) => sample.retired ?? NaN));
    const [mereMs, qemuMs, nativeMs] = [time(mere), time(qemu), time(native)];
    rows.push({
      name,
      nativeMs,
      qemuMs,
      mereMs,
      speed: qemuMs / mereMs,
      cpuSpeed: ratioOf(cpu(qemu), cpu(mere)),
      slowdown: mereMs / nativeMs,
      mereMips: ratioOf(retired, cpu(mere) * 1000),
      qemuMips: ratioOf(retired, cpu(qemu) * 1000),
      sameOutput: new Set([...mere, ...qemu, ...native].map(({ checksum }) => checksum)).size === 1,
      operations: mere[0]!.operations,
    });
  }
  return rows.toSorted((a, b) => a.speed - b.speed);
}

/** NaN where the processor time was less than a tick. */
function ratioOf(value: number, by: number): number {
  return by > 0 ? value / by : NaN;
}

/** Programs whose output was not the same in all rounds on all engines, whichever of them ran it. */
export function differing(results: Results): string[] {
  return [...results.programs]
    .filter(
      ([, samples]) =>
        new Set(
          Object.values(samples)
            .flat()
            .map(({ checksum }) => checksum),
        ).size > 1,
    )
    .map(([name]) => name);
}

/** How far two processors do twice the work in the same time: 1 is perfect, 0.5 is no use. */
export interface Efficiency {
  readonly what: string;
  readonly mere: number;
  readonly qemu: number;
  readonly native: number;
  /** The bar is for these, not for what has parts that one processor does alone. */
  readonly barred: boolean;
}

export function efficiencies(results: Results): Efficiency[] {
  const ofEngine = (engine: keyof ProgramSamples, one: string, two: string, work: number): number => {
    const time = (name: string): number =>
      median((results.programs.get(name)?.[engine] ?? []).map(({ nanos }) => nanos));
    return time(one) / (time(two) * work);
  };
  return (
    [
      ["two processes", "one-job", "two-processes", 1],
      ["two threads", "one-job", "two-threads", 1],
      // The same work in half the time.
      ["make -j2", "make-on-1", "make-on-2", 2],
    ] as const
  ).map(([what, one, two, work]) => ({
    what,
    mere: ofEngine("mere", one, two, work),
    qemu: ofEngine("qemu", one, two, work),
    native: ofEngine("native", one, two, work),
    barred: work === 1,
  }));
}

/** One requirement: what is asked, what was measured, and whether that is enough. */
export interface Verdict {
  readonly text: string;
  readonly met: boolean;
}

export function speedVerdicts(
  rows: readonly ProgramRow[],
  bar: { readonly mean: number; readonly least: number; readonly slowdown?: number },
): Verdict[] {
  const mean = geometricMean(rows.map(({ speed }) => speed));
  const under = rows.filter(({ speed }) => speed < bar.least);
  const verdicts = [
    { text: `geometric mean of the speeds ${mean.toFixed(2)}× (bar: at least ${bar.mean}×)`, met: mean >= bar.mean },
    {
      text: `slower than ${bar.least}× QEMU's speed (bar: none): ${under.map(({ name, speed }) => `${name} ${speed.toFixed(2)}×`).join(", ") || "none"}`,
      met: under.length === 0,
    },
  ];
  const slowdown = geometricMean(rows.map((row) => row.slowdown));
  if (bar.slowdown !== undefined && !Number.isNaN(slowdown))
    verdicts.push({
      text: `geometric mean of the slowdowns against native ${slowdown.toFixed(1)}× (bar: at most ${bar.slowdown}×)`,
      met: slowdown <= bar.slowdown,
    });
  return verdicts;
}

export function bootVerdicts({ boot }: Results): Verdict[] {
  const wall = (name: BootName): number => median(boot[name].map(({ wallMs }) => wallMs));
  const verdicts: Verdict[] = [];
  const compare = (mere: BootName, qemu: BootName): void => {
    const speed = wall(qemu) / wall(mere);
    if (!Number.isNaN(speed))
      verdicts.push({
        text: `${BOOTS[mere]}: ${speed.toFixed(2)}× the speed of ${BOOTS[qemu]} (bar: at least ${BARS.boot.speed}×)`,
        met: speed >= BARS.boot.speed,
      });
  };
  compare("mere", "qemu");
  compare("mereOwn", "qemuOwn");
  const own = wall("mereOwn");
  if (!Number.isNaN(own))
    verdicts.push({
      text: `${BOOTS.mereOwn}: init after ${own.toFixed(0)} ms (bar: ${BARS.boot.ownKernelMs} ms)`,
      met: own <= BARS.boot.ownKernelMs,
    });
  return verdicts;
}

export function smpVerdicts(results: Results): Verdict[] {
  const barred = efficiencies(results).filter(({ mere, barred: has }) => has && !Number.isNaN(mere));
  const slower = programRows(results, ["smp2"]).filter(({ speed }) => speed < BARS.smp.speed);
  return [
    ...barred.map(({ what, mere }) => ({
      text: `${what}: efficiency ${mere.toFixed(2)} (bar: at least ${BARS.smp.efficiency})`,
      met: mere >= BARS.smp.efficiency,
    })),
    {
      text: `slower than QEMU with 2 vCPUs (bar: none): ${slower.map(({ name, speed }) => `${name} ${speed.toFixed(2)}×`).join(", ") || "none"}`,
      met: slower.length === 0,
    },
  ];
}
