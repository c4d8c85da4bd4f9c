/* Compares two ways to run instructions on random cases drawn from the tables.
 *
 *   node tools/fuzz.ts --engine oracle|wasm|translator|hostcode --against native|oracle|wasm [--seconds N | --count N] [--seed S] [--row MNEMONIC] [--unit x87|sse] [--batch N] [--show N]
 *
 * Prints the rate and every mismatch (at most --show a row) with what reproduces it; exit status 1 if there was one.
 */
import { parseArgs } from "node:util";
import { ALL_ROWS } from "../src/isa/tables/index.ts";
import type { Row } from "../src/isa/row.ts";
import type { Outcome, Runner } from "../tests/instructions/case.ts";
import { describeFault, describeMemory, describeState, type Difference } from "../tests/instructions/compare.ts";
import { exclusionOf } from "../tests/instructions/exclusions.ts";
import { type GeneratedCase, generateCase } from "../tests/instructions/generate.ts";
import { openRunner, type RunnerName } from "../tests/instructions/runners.ts";
import { differences } from "../tests/instructions/tolerance.ts";

const { values: options } = parseArgs({
  options: {
    engine: { type: "string", default: "oracle" },
    against: { type: "string", default: "native" },
    seconds: { type: "string" },
    count: { type: "string" },
    seed: { type: "string", default: "1" },
    row: { type: "string" },
    unit: { type: "string" },
    batch: { type: "string", default: "1000" },
    show: { type: "string", default: "2" },
    verbose: { type: "boolean", default: false },
  },
});

const rows = ALL_ROWS.filter(
  (row) =>
    exclusionOf(row) === undefined &&
    (options.row === undefined || row.mnemonic === options.row) &&
    (options.unit === undefined || row.unit === options.unit),
);
const budget = options.count === undefined ? Infinity : Number(options.count);
const deadline = performance.now() + 1000 * Number(options.seconds ?? (options.count === undefined ? 10 : 1e6));
const mismatches = new Map<Row, number>();
let seed = Number(options.seed);
let ran = 0;
let faults = 0;
let died = 0;

/** The next cases, rows in turn. */
function batch(size: number): { test: GeneratedCase; seed: number }[] {
  const cases: { test: GeneratedCase; seed: number }[] = [];
  for (let attempts = 0; cases.length < size && attempts < 4 * size; attempts++, seed++) {
    const test = generateCase(rows[seed % rows.length]!, seed);
    if (test) cases.push({ test, seed });
  }
  return cases;
}

const operandList = (row: Row): string => `${row.mnemonic} ${row.operands.join(", ")}`.trim();

function report(test: GeneratedCase, caseSeed: number, expected: Outcome, found: readonly Difference[]): void {
  const shown = mismatches.get(test.row) ?? 0;
  mismatches.set(test.row, shown + 1);
  if (shown >= Number(options.show)) return;
  console.log(
    `\n${operandList(test.row)}  [${Buffer.from(test.bytes).toString("hex")}]  --seed ${caseSeed} --count 1${options.row ? ` --row ${options.row}` : ""}${options.unit ? ` --unit ${options.unit}` : ""}`,
  );
  for (const d of found) console.log(`  ${d.field}: ${options.against} ${d.expected}, ${options.engine} ${d.actual}`);
  if (expected.fault) console.log(`  fault: ${describeFault(expected.fault)}`);
  if (test.memory.length > 0) console.log(`  memory before: ${describeMemory(test.memory)}`);
  if (options.verbose) console.log(`  before: ${describeState(test.before)}`);
}

async function compare(engine: Runner, against: Runner): Promise<void> {
  for (let next = batch(Math.min(budget, Number(options.batch))); next.length > 0;) {
    const cases = next;
    const tests = cases.map((c) => c.test);
    const pending = against.run(tests); // the processor works while the engine does
    const actual = await engine.run(tests);
    const more = ran + cases.length < budget && performance.now() < deadline;
    next = more ? batch(Math.min(budget - ran - cases.length, Number(options.batch))) : [];
    const expected = await pending;
    cases.forEach(({ test, seed: caseSeed }, i) => {
      ran++;
      const [e, a] = [expected[i], actual[i]];
      if (e?.fault) faults++;
      if (!e || !a) {
        died++;
        console.log(
          `\n${operandList(test.row)}  [${Buffer.from(test.bytes).toString("hex")}]  --seed ${caseSeed}: ${e ? options.engine : options.against} died`,
        );
        return;
      }
      const found = differences(test.row, test, e, a);
      if (found.length > 0) report(test, caseSeed, e, found);
    });
  }
}

const [engine, against] = await Promise.all([
  openRunner(options.engine as RunnerName),
  openRunner(options.against as RunnerName),
]);
const start = performance.now();
await compare(engine, against);
const elapsedS = (performance.now() - start) / 1000;
await Promise.all([engine.close(), against.close()]);

for (const [row, count] of mismatches) console.log(`${count} mismatches: ${operandList(row)} (row ${row.id})`);
console.log(
  `${ran} cases of ${rows.length} rows (${faults} faulted, ${died} died) in ${elapsedS.toFixed(1)} s: ${Math.round(ran / elapsedS)}/s`,
);
process.exitCode = mismatches.size > 0 || died > 0 ? 1 : 0;
