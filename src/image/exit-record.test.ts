import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ExitRecordFilter } from "./exit-record.ts";

const record = (token: string, status: number): string => `\x1emere-exit ${token} ${status}\x1e`;

/** Feeds the text in pieces of the given lengths. */
function filter(
  text: string,
  pieces: readonly number[] = [text.length],
): { output: string; status: number | undefined } {
  const filter = new ExitRecordFilter("t0ken");
  const bytes = Buffer.from(text, "latin1");
  const out: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = pieces[i % pieces.length]!;
    out.push(filter.push(bytes.subarray(at, at + length)));
    at += length;
  }
  out.push(filter.flush());
  return { output: Buffer.concat(out).toString("latin1"), status: filter.status };
}

test("the record is taken out, wherever the pieces end", () => {
  const text = `[ 1.0] kernel\r\n${record("t0ken", 42)}[ 1.1] reboot: Power down\r\n`;
  for (let length = 1; length < 30; length++)
    assert.deepEqual(filter(text, [length]), { output: "[ 1.0] kernel\r\n[ 1.1] reboot: Power down\r\n", status: 42 });
});

test("another token's record, a half record and a record-like text are output", () => {
  for (const text of [
    record("other", 1),
    "\x1emere-exit t0ken 1",
    "\x1emere-exit t0ken x\x1e",
    `\x1emere-exit t0ken ${"1".repeat(500)}`,
    "\x1e\x1e\x1e",
  ])
    assert.deepEqual(filter(text), { output: text, status: undefined });
});

test("a record right after a lone RS is found", () => {
  assert.deepEqual(filter(`\x1e\x1emere-ex${record("t0ken", 0)}`), { output: "\x1e\x1emere-ex", status: 0 });
});

test("without a record nothing is lost or changed", () => {
  const text = fc
    .array(fc.constantFrom("\x1e", "mere-exit ", "t0ken ", "x", "\n", "t0"), { maxLength: 40 })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (input, pieces) => {
      assert.deepEqual(filter(input, pieces), { output: input, status: undefined });
    }),
  );
});
