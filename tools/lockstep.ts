/* Boots Linux on the translator and on the interpreter, and compares both all the way (docs/engine.md "Lockstep").
 *
 *   node tools/lockstep.ts [--native] [--instructions N] [--threshold N] [--pass NAME=off]… [--kernel FILE]
 *                          [--commands TEXT] [--program FILE]… [--slice N] [--memory-every N] [--memory MIB] [--nanos N] [--quiet]
 *
 * Without --instructions the guest runs until it switches itself off: it boots and runs --commands, else those in tests/lockstep/boot-image.ts; each --program, a
 * static executable, is in its /bin. Threshold 0 translates all that runs, 2 is the default with WebAssembly. Prints what the guest prints; exit status 1 if there was a difference, which
 * is then narrowed down.
 */
import { parseArgs } from "node:util";
import { TRANSLATION } from "../src/engine/wasm/engine.ts";
import { ALL_PASSES } from "../src/engine/wasm/translator/region-options.ts";
import { REGION_LIMITS } from "../src/engine/wasm/translator/region-options.ts";
import { bootImage } from "../tests/lockstep/boot-image.ts";
import { NATIVE } from "../tests/lockstep/native.ts";
import { type Comparison, compareBoot, narrowDown } from "../tests/lockstep/compare-boot.ts";

const MIB = 1024 ** 2;
const PROGRESS_MS = 10_000;

const { values } = parseArgs({
  options: {
    instructions: { type: "string", default: "Infinity" },
    threshold: { type: "string", default: String(REGION_LIMITS.threshold) },
    pass: { type: "string", multiple: true, default: [] },
    kernel: { type: "string" },
    commands: { type: "string" },
    program: { type: "string", multiple: true, default: [] },
    slice: { type: "string", default: "100000" },
    "memory-every": { type: "string", default: "20" },
    memory: { type: "string", default: "256" },
    nanos: { type: "string", default: "10" },
    native: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
  },
});

/** Passes as in ALL_PASSES but for those that are named. */
function passes(words: readonly string[]): typeof ALL_PASSES {
  const changed = words.map((word) => {
    const [name, value] = word.split("=");
    if (!(name! in ALL_PASSES) || (value !== "off" && value !== "on"))
      throw new Error(`--pass ${word}: give NAME=off, with NAME one of ${Object.keys(ALL_PASSES).join(", ")}`);
    return [name, value === "on"];
  });
  return { ...ALL_PASSES, ...Object.fromEntries(changed) };
}

// Guest faults are thrown by the million; nobody reads where.
Error.stackTraceLimit = 0;

const startedAt = performance.now();
let toldAt = startedAt;
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const millions = (n: number): string => `${(n / 1e6).toFixed(1)} M instructions`;

const translation = {
  limits: { ...REGION_LIMITS, threshold: Number(values.threshold) },
  region: { ...TRANSLATION.region, passes: passes(values.pass) },
};
const comparison: Comparison = {
  image: await bootImage(values),
  options: { memoryBytes: Number(values.memory) * MIB, nanosPerInstruction: Number(values.nanos) },
  translation: values.native ? NATIVE : () => translation,
  instructions: Number(values.instructions),
  slice: Number(values.slice),
  memoryEvery: Number(values["memory-every"]),
  onSerial: (bytes) => void (values.quiet || process.stdout.write(bytes)),
  onProgress: (retired) => {
    if (performance.now() - toldAt < PROGRESS_MS) return;
    toldAt = performance.now();
    say(`lockstep: ${millions(retired)} equal after ${((toldAt - startedAt) / 1000).toFixed(0)} s`);
  },
};

const result = compareBoot(comparison);
const { retired, regions, differences, end } = result;
if (differences.length === 0)
  say(`lockstep: equal for ${millions(retired)}, ${regions} regions${end === undefined ? "" : `, to the end: ${end}`}`);
else {
  say(
    `lockstep: different after ${millions(retired)} (${regions} regions); narrowing it down\n${differences.join("\n")}`,
  );
  for (const line of narrowDown(comparison, result)) say(line);
  process.exitCode = 1;
}
