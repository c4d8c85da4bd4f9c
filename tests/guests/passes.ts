/* The same program on the interpreter and translated with each pass on and off: all must end in the same registers and memory. Tests only.
 *
 * A program runs three times where it is translated: interpreted, so that its blocks are known and regions are as large as they get; from the beginning again in
 * short slices, at the ends of which regions are made and entered; and as a whole. It may change what is in `kept`, nothing else. */
import assert from "node:assert/strict";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { ALL_PASSES, type RegionPasses } from "../../src/engine/wasm/translator/region-options.ts";
import { REGION_LIMITS, type RegionLimits } from "../../src/engine/wasm/translator/region-options.ts";
import { Reg } from "../../src/isa/registers.ts";
import { At, type SmallGuest } from "./small-guest.ts";

const PAGE = 4096;
/** Instructions of a short slice. The first one's end is where the first region begins: with another length other places are entries, and others are in the middle. */
const SLICES = [7, 17] as const;
/** A program of so many instructions has been in a slice that ended. */
const LONG = 100;

interface Variant {
  readonly name: string;
  readonly translates: boolean;
  readonly limits: { threshold: number } & Omit<RegionLimits, "threshold">;
  readonly translation: TranslationOptions;
}
function variant(name: string, passes: Partial<RegionPasses>, translates = true): Variant {
  const limits = { ...REGION_LIMITS };
  const region = { passes: { ...ALL_PASSES, ...passes }, parallel: false };
  return { name, translates, limits, translation: { limits, region } };
}
const NO_PASSES: RegionPasses = {
  fusedConditions: false,
  pageReuse: false,
  stackSpans: false,
  inlineCalls: false,
  guessTargets: false,
  knownReturns: false,
  fastFloat: false,
};
const INTERPRETER = variant("interpreter", {}, false);
const ALL = variant("all passes", {});
const NONE = variant("no passes", NO_PASSES);
/** A pass alone, and all but it. */
const BY_PASS = Object.fromEntries(
  (Object.keys(ALL_PASSES) as (keyof RegionPasses)[]).map((pass) => [
    pass,
    [variant(`only ${pass}`, { ...NO_PASSES, [pass]: true }), variant(`without ${pass}`, { [pass]: false })],
  ]),
) as Record<keyof RegionPasses, Variant[]>;

export interface Program {
  /** A guest that is about to run it. */
  make(translation: TranslationOptions): SmallGuest;
  /** Pages (guest-physical) that it may change: put back for the second run, and compared. */
  readonly kept?: readonly number[];
  /** Instructions that it may take; default 100,000. */
  readonly budget?: number;
  /** Its code changes: it runs once, translated from the first instruction on. */
  readonly changesCode?: boolean;
}
const KEPT = [At.DATA, At.STACK - PAGE] as const;

export interface Outcome {
  readonly end: string;
  readonly vector: number | undefined;
  /** Registers, flags, MXCSR, instructions retired, memory. */
  readonly state: Readonly<Record<string, unknown>>;
}
function outcomeOf(g: SmallGuest, end: string, pages: readonly number[]): Outcome {
  const { regs } = g;
  const state = {
    gpr: Array.from({ length: 16 }, (_, n) => regs.gpr(n).toString(16)),
    rip: regs.get64(Reg.RIP).toString(16),
    rflags: regs.rflags,
    cr2: g.cr2,
    retired: g.retired,
    mxcsr: regs.get32(Reg.MXCSR),
    xmm: Array.from({ length: 16 }, (_, n) =>
      [8, 0].map((at) => regs.get64(Reg.XMM + 16 * n + at).toString(16)).join(":"),
    ),
    memory: pages.map((at) => Buffer.from(g.read(at, PAGE)).toString("latin1")),
  };
  return { end, vector: end === "halted" ? g.stop().vector : undefined, state };
}
/** As exit(), in slices: each ends at a place that is translated then, and begins again somewhere in a region. */
function exitInSlices(g: SmallGuest, budget: number, slice: number): string {
  let end = "budget";
  for (let n = 0; n < budget && end === "budget"; n += slice) end = g.exit(slice).kind;
  return end;
}
interface Runs {
  readonly outcomes: readonly Outcome[];
  /** Regions that were made. */
  readonly regions: number;
}
/** What it comes to, run by run. @param slice instructions of a short slice */
function runOn(
  each: Variant,
  slice: number,
  { make, kept = KEPT, budget = 100_000, changesCode = false }: Program,
): Runs {
  const { limits, translation } = each;
  limits.threshold = each.translates && changesCode ? 0 : Infinity;
  const g = make(translation);
  const { counts } = g.engine.regions;
  const file = g.regs.bytes.slice(0, Reg.ENGINE);
  const pages = kept.map((page) => g.read(page, PAGE));
  const first = outcomeOf(g, g.exit(budget).kind, kept);
  if (!each.translates || changesCode || first.end !== "halted") return { outcomes: [first], regions: 0 };
  const again = (run: () => string): Outcome => {
    g.regs.bytes.set(file);
    kept.forEach((page, i) => {
      if (Buffer.compare(g.read(page, PAGE), pages[i]!) !== 0) g.write(page, pages[i]!);
    });
    g.vcpu.mmu.flush({ kind: "all" });
    g.vcpu.modeChanged();
    return outcomeOf(g, run(), kept);
  };
  const before = counts.regions;
  limits.threshold = 1;
  const sliced = again(() => exitInSlices(g, budget, slice));
  const whole = again(() => g.exit(budget).kind);
  return { outcomes: [sliced, whole], regions: counts.regions - before };
}

/** Runs a program on the interpreter and with and without a pass (undefined: with all and with none). @returns what all came to */
export function compare(program: Program, text: string, pass?: keyof RegionPasses): Outcome {
  const expected = runOn(INTERPRETER, 0, program).outcomes[0]!;
  if (expected.end !== "halted") return expected;
  for (const each of pass === undefined ? [ALL, NONE] : [ALL, ...BY_PASS[pass]]) {
    let made = 0;
    for (const slice of program.changesCode ? [0] : SLICES) {
      const { outcomes, regions } = runOn(each, slice, program);
      for (const outcome of outcomes) assert.deepEqual(outcome, expected, `${text}: ${each.name}`);
      made += regions;
    }
    const short = program.changesCode || (expected.state["retired"] as number) < LONG;
    assert.ok(made > 0 || short, `${text}: ${each.name}: nothing was translated`);
  }
  return expected;
}
