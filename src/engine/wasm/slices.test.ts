import assert from "node:assert/strict";
import { test } from "node:test";
import type { HostSources } from "../engine.ts";
import { Slices } from "./slices.ts";

const MICROSECOND = 1000;
let now = 1e9;
const host = { nanos: () => now } as HostSources;
const slices = (): Slices => {
  const made = new Slices(host);
  made.ended(-1, () => true);
  return made;
};

test("slices are long while no timer is near, and short before one", () => {
  const s = slices();
  assert.equal(s.isOver(-1n), false);
  assert.equal(s.fuel(Infinity, false), 100_000);
  assert.equal(s.isOver(BigInt(now + 10_000 * MICROSECOND)), false);
  assert.equal(s.fuel(Infinity, false), 100_000);
  now += 9_800 * MICROSECOND;
  assert.equal(s.fuel(Infinity, false), 60_000);
  now += 199 * MICROSECOND;
  assert.equal(s.fuel(Infinity, false), 20_000);
  now += MICROSECOND;
  assert.equal(s.isOver(BigInt(now)), true);
});

test("the turn's end counts as a timer does", () => {
  const s = slices();
  s.isOver(-1n);
  assert.equal(s.fuel(now + 100 * MICROSECOND, false), 30_000);
});

test("who looks for hot code has short ones, the shorter where nothing is translated", () => {
  const s = slices();
  assert.equal(s.fuel(Infinity, true), 20_000);
  s.ended(-1, () => false);
  assert.equal(s.fuel(Infinity, true), 4000);
  s.ended(1234, () => assert.fail("nobody asks before it is used up"));
  assert.equal(s.fuel(Infinity, true), 1234);
});

test("a timer that is set meanwhile is sooner only than one that was known", () => {
  const s = slices();
  s.isOver(BigInt(now + 500 * MICROSECOND));
  assert.equal(s.isSooner(BigInt(now + 400 * MICROSECOND)), true);
  assert.equal(s.isSooner(BigInt(now + 600 * MICROSECOND)), false);
  assert.equal(s.isSooner(-1n), false);
});
