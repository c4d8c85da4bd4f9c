/* Records what the real processor makes of instruction cases, for tests/instructions/recorded. Run it after a change to the generator, the base state or the
 * tables; the diff of the recordings is of no interest, the tests that replay them are.
 *
 *   node tools/record-cases.ts [--cases N]     N cases a row (default 12)
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { ALL_ROWS } from "../src/isa/tables/index.ts";
import type { Row } from "../src/isa/row.ts";
import { exclusionOf } from "../tests/instructions/exclusions.ts";
import { type GeneratedCase, generateCase } from "../tests/instructions/generate.ts";
import { RECORDED, toLine } from "../tests/instructions/recording.ts";
import { openRunner } from "../tests/instructions/runners.ts";

const { values: options } = parseArgs({ options: { cases: { type: "string", default: "12" } } });
/** Of the cases of a row at most this share may be faults: most of them say little. */
const MAX_FAULTS = 0.25;
/** Drawn for each case kept. */
const DRAWS = 3;

const tableOf = (row: Row): string => row.unit ?? (row.vex ? "vex" : `map${row.map}`);
const wanted = Number(options.cases);
const native = await openRunner("native");
const tables = new Map<string, string[]>();
for (const row of ALL_ROWS) {
  if (exclusionOf(row) !== undefined) continue;
  const drawn = Array.from({ length: DRAWS * wanted }, (_, n) => generateCase(row, n)).filter(
    (c): c is GeneratedCase => c !== undefined,
  );
  const outcomes = await native.run(drawn);
  const lines: string[] = [];
  let faults = 0;
  // Rows that always fault in user mode have nothing else to keep.
  const mayFault = outcomes.every((o) => o?.fault) ? wanted : wanted * MAX_FAULTS;
  for (const [i, outcome] of outcomes.entries()) {
    if (!outcome || lines.length === wanted) continue;
    if (outcome.fault && ++faults > mayFault) continue;
    lines.push(toLine(drawn[i]!, outcome));
  }
  if (lines.length === 0) console.error(`no case for ${row.mnemonic} ${row.operands.join(", ")}`);
  tables.set(tableOf(row), [...(tables.get(tableOf(row)) ?? []), ...lines]);
}
await native.close();

mkdirSync(RECORDED, { recursive: true });
for (const [table, lines] of tables) {
  const bytes = gzipSync(`${lines.join("\n")}\n`, { level: 9 });
  writeFileSync(new URL(`${table}.jsonl.gz`, RECORDED), bytes);
  console.log(`${table}: ${lines.length} cases, ${bytes.length} bytes`);
}
