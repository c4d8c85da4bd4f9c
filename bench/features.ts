/* --features: what each switch of bench/switches.ts is worth. A VM for each load and each set of switches: a load runs in a VM that has done nothing before,
 * whatever is on. Switches with the same load are compared with the same "on", and follow it closely. */
import type { BenchGuest } from "./guest.ts";
import { measureBoot, measureSuites } from "./measure.ts";
import { number, table } from "./report.ts";
import { median } from "./results.ts";
import { SUITES, type SuiteName, suiteOf } from "./suite.ts";
import type { FeatureSwitch } from "./switches.ts";
import type { MereSwitches } from "./vm-options.ts";

/** One load under one set of switches, by the host's clock: the guest's may be what is turned off. */
export interface LoadSample {
  readonly hostMs: number;
  readonly cpuMs: number;
  readonly retired: number;
  /** Empty for a boot. */
  readonly checksum: string;
}

/** One VM of a round. */
export interface Trial {
  readonly switches: MereSwitches;
  readonly cpus: number;
  readonly load: string;
}

/** Samples by trial: see keyOf. */
export type FeatureSamples = Map<string, LoadSample[]>;

const keyOf = ({ switches, cpus, load }: Trial): string => JSON.stringify([switches, cpus, load]);

function trialOf({ load, cpus }: FeatureSwitch, switches: MereSwitches): Trial {
  return { switches, cpus: cpus ?? 1, load };
}

/** Each different trial once, those of a load together. */
export function trialsOf(chosen: readonly FeatureSwitch[]): Trial[] {
  const trials = new Map<string, Trial>();
  for (const entry of chosen.toSorted((a, b) => a.load.localeCompare(b.load)))
    for (const trial of [trialOf(entry, entry.on), trialOf(entry, entry.off)]) trials.set(keyOf(trial), trial);
  return [...trials.values()];
}

/** The suites that a guest needs for the switches. */
export function suitesOf(chosen: readonly FeatureSwitch[]): SuiteName[] {
  const suites = chosen.map(({ load }) => suiteOf(load)).filter((suite) => suite !== undefined);
  return [...new Set(suites)];
}

/** All trials once. */
export async function featureRound(
  guest: BenchGuest,
  chosen: readonly FeatureSwitch[],
  samples: FeatureSamples,
  options: { readonly scale: number; readonly say: (line: string) => void },
): Promise<void> {
  for (const trial of trialsOf(chosen)) {
    options.say(`  ${trial.load}: ${describe(trial.switches)}`);
    const key = keyOf(trial);
    samples.set(key, [...(samples.get(key) ?? []), await runTrial(guest, trial, options.scale)]);
  }
}

async function runTrial(guest: BenchGuest, { switches, cpus, load }: Trial, scale: number): Promise<LoadSample> {
  const suite = suiteOf(load);
  if (suite === undefined) {
    const { wallMs, cpuMs, retired } = await measureBoot("mere", guest, { switches, cpus, counted: true });
    return { hostMs: wallMs, cpuMs, retired: retired!, checksum: "" };
  }
  if (SUITES[suite].cpus !== cpus) throw new Error(`${load} is no load for ${cpus} vCPUs`);
  const sample = (await measureSuites("mere", guest, { suites: [suite], scale, only: [load], switches })).get(load);
  if (sample === undefined) throw new Error(`${load} failed with ${describe(switches)}`);
  return { hostMs: sample.hostMs, cpuMs: sample.cpuMs, retired: sample.retired!, checksum: sample.checksum };
}

function describe(switches: MereSwitches): string {
  const { kvmFeatures, cpuFeatures, passes, translator, append, environment } = switches;
  const words = [
    kvmFeatures === undefined ? "" : `without KVM features ${(~kvmFeatures).toString(16)}`,
    cpuFeatures === undefined ? "" : `${cpuFeatures.length} CPU features`,
    passes === undefined ? "" : JSON.stringify(passes),
    translator ?? "",
    append ?? "",
    environment === undefined ? "" : JSON.stringify(environment),
  ].filter((word) => word !== "");
  return words.join(", ") || "Mere as it is";
}

/** A row for each switch. @returns the table, and the switches whose two loads did not print the same */
export function renderFeatures(
  chosen: readonly FeatureSwitch[],
  samples: FeatureSamples,
): { readonly text: string; readonly differing: readonly string[] } {
  const differing: string[] = [];
  const rows = chosen.map((entry) => {
    const on = samples.get(keyOf(trialOf(entry, entry.on))) ?? [];
    const off = samples.get(keyOf(trialOf(entry, entry.off))) ?? [];
    if (new Set([...on, ...off].map(({ checksum }) => checksum)).size > 1) differing.push(entry.name);
    const wall = (list: readonly LoadSample[]): number => median(list.map(({ hostMs }) => hostMs));
    const cpu = (list: readonly LoadSample[]): number => median(list.map(({ cpuMs }) => cpuMs));
    const count = (list: readonly LoadSample[]): string => number(median(list.map(({ retired }) => retired / 1e6)), 1);
    const times = [number(wall(on) / 1000, 3), number(wall(off) / 1000, 3)];
    const ratios = [number(wall(off) / wall(on), 2), number(cpu(off) / cpu(on), 2)];
    return [entry.name, entry.load, ...times, ...ratios, count(on), count(off)];
  });
  const head = ["feature", "load", "on s", "off s", "off / on (wall)", "off / on (CPU)", "on M instr", "off M instr"];
  return { text: table(head, rows), differing };
}
