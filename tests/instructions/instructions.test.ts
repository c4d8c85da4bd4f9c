/* Instruction cases: what the real processor made of them (recorded), replayed by the oracle and by each engine that offers a test machine; fresh ones
 * against the processor itself where there is one; and no row without cases. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ALL_ROWS } from "../../src/isa/tables/index.ts";
import type { Row } from "../../src/isa/row.ts";
import { compareOutcomes, type Difference } from "./compare.ts";
import { exclusionOf } from "./exclusions.ts";
import { type GeneratedCase, generateCase } from "./generate.ts";
import { fromLine, readRecordings, rowName, toLine } from "./recording.ts";
import { openRunner, type RunnerName, unavailable } from "./runners.ts";
import { differences, rowOf } from "./tolerance.ts";

const rows: readonly Row[] = ALL_ROWS.filter((row) => exclusionOf(row) === undefined);
const recordings = readRecordings();

const show = (bytes: Uint8Array, row: Row, found: readonly Difference[]): string =>
  `${rowName(row)} [${Buffer.from(bytes).toString("hex")}] ${found.map((d) => `${d.field}: expected ${d.expected}, got ${d.actual}`).join("; ")}`;

for (const name of ["oracle", "wasm", "translator", "hostcode"] as const satisfies readonly RunnerName[]) {
  describe(`recorded cases on ${name}`, { skip: unavailable(name) ?? false }, () => {
    for (const { table, cases } of recordings) {
      test(table, async () => {
        const runner = await openRunner(name);
        const outcomes = await runner.run(cases.map((c) => c.test));
        await runner.close();
        const wrong = cases.flatMap(({ test: c, expected, rowName: recordedRow }, i) => {
          const row = rowOf(c);
          if (!row) return [`${recordedRow} [${Buffer.from(c.bytes).toString("hex")}] does not decode`];
          const outcome = outcomes[i];
          if (!outcome) return [`${recordedRow}: ${name} gave up`];
          const found = differences(row, c, expected, outcome);
          return found.length > 0 ? [show(c.bytes, row, found)] : [];
        });
        assert.deepEqual(wrong.slice(0, 20), [], `${wrong.length} of ${cases.length} cases`);
      });
    }
  });
}

test("every row has recorded cases or is on the list of exclusions", () => {
  const recorded = new Map<string, number>();
  for (const { cases } of recordings)
    for (const c of cases) recorded.set(c.rowName, (recorded.get(c.rowName) ?? 0) + 1);
  const without = rows.map(rowName).filter((name) => !recorded.has(name));
  assert.deepEqual(without, [], "run tools/record-cases.ts");
});

test("every exclusion excludes a row", () => {
  const excluded = ALL_ROWS.filter((row) => exclusionOf(row) !== undefined);
  assert.ok(
    excluded.length > 0 && excluded.length < ALL_ROWS.length / 5,
    `${excluded.length} of ${ALL_ROWS.length} rows`,
  );
});

/** Rows in turn. */
function freshCases(seed: number, count: number): GeneratedCase[] {
  return Array.from({ length: count }, (_, n) => generateCase(rows[(seed + n) % rows.length]!, seed + n)).filter(
    (c): c is GeneratedCase => c !== undefined,
  );
}

test("fresh cases: oracle against processor", { skip: unavailable("native") ?? false }, async () => {
  const cases = freshCases(1_000_000, 8 * rows.length);
  const [oracle, native] = [await openRunner("oracle"), await openRunner("native")];
  const [actual, expected] = await Promise.all([oracle.run(cases), native.run(cases)]);
  await Promise.all([oracle.close(), native.close()]);
  const wrong = cases.flatMap(({ row, bytes }, i) => {
    const [e, a] = [expected[i], actual[i]];
    if (!e || !a) return [`${rowName(row)}: ${e ? "oracle" : "processor"} gave up`];
    const found = differences(row, cases[i]!, e, a);
    return found.length > 0 ? [show(bytes, row, found)] : [];
  });
  assert.deepEqual(wrong.slice(0, 20), []);
});

test("a recorded line comes back as it was", async () => {
  const cases = freshCases(77, 200);
  const oracle = await openRunner("oracle");
  const outcomes = await oracle.run(cases);
  for (const [i, c] of cases.entries()) {
    const back = fromLine(toLine(c, outcomes[i]!));
    assert.deepEqual(back.test, { bytes: c.bytes, before: c.before, memory: c.memory });
    assert.deepEqual(compareOutcomes(outcomes[i]!, back.expected), []);
  }
});
