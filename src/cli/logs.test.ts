/* The last lines of a log, however the output came in pieces. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogEntry } from "../host/output-log.ts";
import { tail } from "./logs.ts";

const entries = (...pieces: string[]): LogEntry[] =>
  pieces.map((text) => ({ stream: "stdout", time: new Date(0), bytes: Buffer.from(text) }));
const last = (lines: number, ...pieces: string[]): string =>
  tail(entries(...pieces), lines)
    .map(({ bytes }) => String(Buffer.from(bytes)))
    .join("");

test("lines are counted over pieces", () => {
  assert.equal(last(1, "one\ntwo\n"), "two\n");
  assert.equal(last(1, "one\n", "two\n"), "two\n");
  assert.equal(last(2, "one\ntw", "o\nthr", "ee\n"), "two\nthree\n");
  assert.equal(last(1, "one\n", "no end"), "no end");
  assert.equal(last(1, "one\n", "two\n", ""), "two\n");
  assert.equal(last(9, "one\n", "two\n"), "one\ntwo\n");
  assert.equal(last(0, "one\n"), "");
  assert.equal(last(1), "");
  assert.equal(last(2, "a\n\n\n"), "\n\n");
});
