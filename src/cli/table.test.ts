/* Tables and ages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAge, renderTable } from "./table.ts";

test("columns are as wide as they need to be; nothing trails", () => {
  const table = renderTable(
    ["A", "LONG NAME", "C"],
    [
      ["1", "x", ""],
      ["22222", "y", "z"],
    ],
  );
  assert.equal(table, "A      LONG NAME  C\n1      x\n22222  y          z\n");
});

test("ages are told in their largest unit", () => {
  assert.equal(formatAge(-5), "0 seconds");
  assert.equal(formatAge(1000), "1 second");
  assert.equal(formatAge(59_999), "59 seconds");
  assert.equal(formatAge(60_000), "1 minute");
  assert.equal(formatAge(7_200_000), "2 hours");
  assert.equal(formatAge(400 * 86_400_000), "400 days");
});
