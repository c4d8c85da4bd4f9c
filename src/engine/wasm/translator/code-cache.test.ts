/* Accounts of translated code. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BYTES_PER_MODULE, BYTES_PER_WASM_BYTE, CodeCache } from "./code-cache.ts";

const COST = BYTES_PER_MODULE + 1000 * BYTES_PER_WASM_BYTE;
/** Ten modules fit. Regions are strings; region "3b" is of module 3. */
function filled(modules: number): CodeCache<string> {
  const cache = new CodeCache<string>(10 * COST);
  for (let n = 0; n < modules; n++) for (const name of ["a", "b"]) cache.add(`${n}${name}`, n, 1000, { n });
  return cache;
}

test("a module counts once, until the last of its regions is removed", () => {
  const cache = filled(3);
  assert.equal(cache.costBytes, 3 * COST);
  cache.remove("1a");
  assert.deepEqual([cache.costBytes, cache.exportsOf(1)], [3 * COST, { n: 1 }]);
  cache.remove("1b");
  assert.deepEqual([cache.costBytes, cache.exportsOf(1)], [2 * COST, undefined]);
  cache.remove("1b");
  cache.see("1b");
  assert.equal(cache.costBytes, 2 * COST);
});

test("nothing goes while there is room", () => {
  assert.deepEqual(filled(10).excess(), []);
});

test("else those that were seen last longest ago, whole modules, until a quarter is free", () => {
  const cache = filled(11);
  cache.see("0b");
  cache.see("2a");
  assert.deepEqual(cache.excess(), ["1a", "1b", "3a", "3b", "4a", "4b", "5a", "5b"]);
});

test("what is larger than all the room goes at once", () => {
  const cache = new CodeCache<string>(1);
  cache.add("large", 7, 1000, {});
  assert.deepEqual(cache.excess(), ["large"]);
});
