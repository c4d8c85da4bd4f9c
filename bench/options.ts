/* The options of npm run bench. Pure: what is wrong comes back as a sentence. */
import { parseArgs } from "node:util";
import { SUITES, SUITE_NAMES, type SuiteName, suiteOf } from "./suite.ts";
import { SWITCHES } from "./switches.ts";

export const HELP = `npm run bench -- [options]
  --runs N            rounds, of which the medians are taken (3)
  --only NAMES        parts (boot, compute, debian, kernel, disk, net, smp, memory, phases) or single programs, with commas between
  --scale PERCENT     of the programs' size (100); 1000 shows what long programs reach
  --quick             one round, --scale 20
  --write             put the tables into docs/benchmarks.md
  --mere-kernel FILE  boot this kernel, built for Mere, too; with --engine: instead of Debian's
  --engine NAME       only mere, qemu or native: the programs once, each with seconds and M instr/s as it ends
  --no-kept-code      Mere translates all code anew in each VM
  --profile DIR       with --engine mere: a .cpuprofile of each of its threads
  --features          Mere with a feature of its machine on against off; --only chooses features
`;
const QUICK_SCALE = 20;
/** The parts of a run, and the suites of those that are programs. */
export const PARTS = {
  boot: [],
  compute: ["compute"],
  debian: ["debian"],
  kernel: ["kernel"],
  disk: ["disk"],
  net: ["net"],
  smp: ["smp1", "smp2"],
  memory: [],
  phases: [],
} as const satisfies Record<string, readonly SuiteName[]>;
export type Part = keyof typeof PARTS;
const PART_NAMES = Object.keys(PARTS) as readonly Part[];
const ENGINES = ["mere", "qemu", "native"] as const;

export interface BenchOptions {
  readonly runs: number;
  /** Percent of the programs' full size. */
  readonly scale: number;
  readonly parts: readonly Part[];
  /** Single programs, or features; empty: all. */
  readonly only: readonly string[];
  readonly write: boolean;
  readonly mereKernel: string | undefined;
  readonly engine: (typeof ENGINES)[number] | undefined;
  /** A directory. */
  readonly profile: string | undefined;
  readonly features: boolean;
  /** Mere uses what earlier VMs have translated. */
  readonly keptCode: boolean;
}

/** @returns the options, "help", or what is wrong with them in one sentence */
export function parseOptions(args: readonly string[]): BenchOptions | "help" | { readonly mistake: string } {
  let values: ReturnType<typeof parseWords>;
  try {
    values = parseWords(args);
  } catch (error) {
    return { mistake: `${(error as Error).message}; see npm run bench -- --help` };
  }
  if (values.help === true) return "help";
  const engine = ENGINES.find((name) => name === values.engine);
  if (engine === undefined && values.engine !== undefined)
    return { mistake: `there is no engine ${values.engine}; there are ${ENGINES.join(", ")}` };
  const features = values.features ?? false;
  if (values.write === true && (features || engine !== undefined))
    return { mistake: "--write goes with neither --engine nor --features: the tables compare engines" };
  if (values.profile !== undefined && engine !== "mere") return { mistake: "--profile needs --engine mere" };
  const runs = Number(values.runs ?? (values.quick === true || engine !== undefined ? 1 : 3));
  if (!Number.isInteger(runs) || runs < 1) return { mistake: "--runs takes a number from 1 on" };
  const scale = Number(values.scale ?? (values.quick === true ? QUICK_SCALE : 100));
  if (!Number.isInteger(scale) || scale < 1) return { mistake: "--scale takes a percentage from 1 on" };
  const names = (values.only ?? "").split(",").filter((name) => name !== "");
  const chosen = features ? chooseFeatures(names) : chooseParts(names, engine !== undefined);
  if ("mistake" in chosen) return chosen;
  return {
    ...chosen,
    runs,
    scale,
    write: values.write ?? false,
    mereKernel: values["mere-kernel"],
    engine,
    profile: values.profile,
    features,
    keptCode: values["no-kept-code"] !== true,
  };
}

function parseWords(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      runs: { type: "string" },
      only: { type: "string" },
      scale: { type: "string" },
      quick: { type: "boolean" },
      write: { type: "boolean" },
      "mere-kernel": { type: "string" },
      engine: { type: "string" },
      profile: { type: "string" },
      features: { type: "boolean" },
      "no-kept-code": { type: "boolean" },
      help: { type: "boolean" },
    },
  }).values;
}

type Choice = Pick<BenchOptions, "parts" | "only"> | { readonly mistake: string };

/** @param programsOnly parts without programs are not to be had */
function chooseParts(names: readonly string[], programsOnly: boolean): Choice {
  const parts = PART_NAMES.filter((part) => !programsOnly || PARTS[part].length > 0);
  const singles = names.filter((name) => !parts.some((part) => part === name));
  const partOf = (program: string): Part | undefined =>
    parts.find((part) => PARTS[part].some((suite) => suite === suiteOf(program)));
  const unknown = singles.find((name) => partOf(name) === undefined);
  if (unknown !== undefined) {
    const programs = SUITE_NAMES.flatMap((suite) => SUITES[suite].entries.map(({ name }) => name)).filter(partOf);
    return { mistake: `there is no benchmark ${unknown}; there are ${[...parts, ...programs].join(", ")}` };
  }
  // A part that is named stands for all its programs.
  const whole = parts.filter((part) => names.includes(part));
  const only =
    singles.length === 0
      ? []
      : [
          ...singles,
          ...whole.flatMap((part) => PARTS[part].flatMap((suite) => SUITES[suite].entries.map(({ name }) => name))),
        ];
  const wanted = parts.filter(
    (part) => names.length === 0 || whole.includes(part) || singles.some((name) => partOf(name) === part),
  );
  return { parts: wanted, only };
}

function chooseFeatures(names: readonly string[]): Choice {
  const unknown = names.find((name) => !SWITCHES.some((entry) => entry.name === name));
  if (unknown !== undefined)
    return { mistake: `there is no feature ${unknown}; there are ${SWITCHES.map(({ name }) => name).join(", ")}` };
  return { parts: [], only: names };
}
