/* --features: what each switch of bench/switches.ts is worth. Each round starts one VM for each set of switches, and runs there all loads that are asked of
 * this set; so Mere as it is, the "on" of most switches, is measured once a round. */
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
  readonly retired: number;
  /** Empty for a boot. */
  readonly checksum: string;
}

/** VMs to start in a round. */
export interface Setting {
  readonly switches: MereSwitches;
  readonly cpus: number;
  readonly loads: ReadonlySet<string>;
}

/** Samples by switches, processors and load: see keyOf. */
export type FeatureSamples = Map<string, LoadSample[]>;

const keyOf = (switches: MereSwitches, cpus: number, load: string): string => JSON.stringify([switches, cpus, load]);
const cpusOf = ({ cpus }: FeatureSwitch): number => cpus ?? 1;

/** Each different set of switches once, with all loads that it is wanted for. */
export function settingsOf(chosen: readonly FeatureSwitch[]): Setting[] {
  const settings = new Map<string, Setting & { readonly loads: Set<string> }>();
  for (const entry of chosen) {
    for (const switches of [entry.on, entry.off]) {
      const cpus = cpusOf(entry);
      const key = JSON.stringify([switches, cpus]);
      const setting = settings.get(key) ?? { switches, cpus, loads: new Set<string>() };
      settings.set(key, setting);
      setting.loads.add(entry.load);
    }
  }
  return [...settings.values()];
}

/** The suites that a guest needs for the switches. */
export function suitesOf(chosen: readonly FeatureSwitch[]): SuiteName[] {
  const suites = chosen.map(({ load }) => suiteOf(load)).filter((suite) => suite !== undefined);
  return [...new Set(suites)];
}

/** All settings once. */
export async function featureRound(
  guest: BenchGuest,
  chosen: readonly FeatureSwitch[],
  samples: FeatureSamples,
  options: { readonly scale: number; readonly say: (line: string) => void },
): Promise<void> {
  for (const { switches, cpus, loads } of settingsOf(chosen)) {
    const add = (load: string, sample: LoadSample): void => {
      const key = keyOf(switches, cpus, load);
      samples.set(key, [...(samples.get(key) ?? []), sample]);
    };
    options.say(`  ${describe(switches)}: ${[...loads].join(", ")}`);
    if (loads.has("boot")) {
      const { wallMs, retired } = await measureBoot("mere", guest, { switches, cpus, counted: true });
      add("boot", { hostMs: wallMs, retired: retired!, checksum: "" });
    }
    const programs = [...loads].filter((load) => load !== "boot");
    const suites = [...new Set(programs.map((load) => suiteOf(load)!))];
    if (suites.some((suite) => SUITES[suite].cpus !== cpus))
      throw new Error(`${programs.join(", ")}: not all of them are loads for ${cpus} vCPUs`);
    if (suites.length === 0) continue;
    const measured = await measureSuites("mere", guest, { suites, scale: options.scale, only: programs, switches });
    for (const [load, { hostMs, retired, checksum }] of measured) add(load, { hostMs, retired: retired!, checksum });
  }
}

function describe(switches: MereSwitches): string {
  const { kvmFeatures, cpuFeatures, append, environment } = switches;
  const words = [
    kvmFeatures === undefined ? "" : `KVM features ${kvmFeatures.toString(16)}`,
    cpuFeatures === undefined ? "" : `${cpuFeatures.length} CPU features`,
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
    const [on, off] = [entry.on, entry.off].map(
      (switches) => samples.get(keyOf(switches, cpusOf(entry), entry.load)) ?? [],
    );
    if (new Set([...on!, ...off!].map(({ checksum }) => checksum)).size > 1) differing.push(entry.name);
    const [onMs, offMs] = [on!, off!].map((list) => median(list.map(({ hostMs }) => hostMs)));
    const [onCount, offCount] = [on!, off!].map((list) => median(list.map(({ retired }) => retired / 1e6)));
    const cells = [number(onMs! / 1000, 3), number(offMs! / 1000, 3), number(offMs! / onMs!, 2)];
    return [entry.name, entry.load, ...cells, number(onCount!, 1), number(offCount!, 1)];
  });
  const head = ["feature", "load", "on s", "off s", "off / on", "on M instr", "off M instr"];
  return { text: table(head, rows), differing };
}
