/* Sizes, counts and files of the command line. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { CliError } from "./cli-error.ts";
import { parseCodeCache, parseCount, parseFile, parseMemory, parseSize } from "./values.ts";

/** Runs fn, which must throw a usage error, and gives its sentence. */
function mistake(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    assert.ok(error instanceof CliError && error.code === "usage");
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

describe("parseSize", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["1048576", 1048576],
    ["4K", 4096],
    ["512M", 512 * 2 ** 20],
    ["512m", 512 * 2 ** 20],
    ["512MiB", 512 * 2 ** 20],
    ["1G", 2 ** 30],
    ["1GiB", 2 ** 30],
    ["1.5G", 1.5 * 2 ** 30],
    ["1 gib", 2 ** 30],
    ["2T", 2 ** 41],
    ["12MB", 12 * 2 ** 20],
    ["4096b", 4096],
  ];
  for (const [text, bytes] of cases) test(text, () => assert.equal(parseSize("--memory", text), bytes));

  for (const text of ["", "M", "-1", "1e9", "0x10", "1.0.0", "12XB", "12i", "12ib", "0.3", "9999999T", "١", "1G1"]) {
    test(`${JSON.stringify(text)} is refused`, () => {
      assert.match(
        mistake(() => parseSize("--memory", text)),
        /^--memory ".*" is no size; write bytes, or a number with K, M or G/,
      );
    });
  }

  test("any whole number of units is that many bytes", () => {
    const units = ["", "K", "M", "G"];
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8191 }), fc.integer({ min: 0, max: 3 }), (count, unit) => {
        assert.equal(parseSize("--memory", `${count}${units[unit]}`), count * 1024 ** unit);
      }),
    );
  });
});

test("memory is limited to what a VM can have", () => {
  assert.equal(parseMemory("--memory", "64M"), 64 * 2 ** 20);
  assert.equal(parseMemory("--memory", "16G"), 16 * 2 ** 30);
  assert.match(
    mistake(() => parseMemory("--memory", "63M")),
    /choose between 64M and 16G/,
  );
  assert.match(
    mistake(() => parseMemory("--memory", "17G")),
    /choose between 64M and 16G/,
  );
  assert.match(
    mistake(() => parseMemory("--memory", "100000001")),
    /choose a multiple of 4K/,
  );
});

test("memory for translated code is limited to what there can be", () => {
  assert.equal(parseCodeCache("--code-cache", "0"), 0);
  assert.equal(parseCodeCache("--code-cache", "4G"), 4 * 2 ** 30);
  assert.match(
    mistake(() => parseCodeCache("--code-cache", "5G")),
    /^--code-cache "5G" is too much; choose at most 4G/,
  );
});

test("counts are whole numbers in their range", () => {
  assert.equal(parseCount("--cpus", "1", "CPUs", 1, 64), 1);
  assert.equal(parseCount("--cpus", "64", "CPUs", 1, 64), 64);
  for (const text of ["0", "65", "-1", "1.5", "two", "", "1e1"]) {
    const sentence = mistake(() => parseCount("--cpus", text, "CPUs", 1, 64));
    assert.equal(sentence, `--cpus ${JSON.stringify(text)} is no number of CPUs; choose a whole number from 1 to 64`);
  }
});

test("files must be there and be files", () => {
  const self = fileURLToPath(import.meta.url);
  assert.equal(parseFile("--kernel", self), self);
  assert.match(
    mistake(() => parseFile("--kernel", "/no/such/file")),
    /cannot be opened: no such file; check the path/,
  );
  assert.match(
    mistake(() => parseFile("--kernel", `${self}/x`)),
    /a part of the path is not a directory/,
  );
  assert.match(
    mistake(() => parseFile("--kernel", "/")),
    /is not a file/,
  );
  assert.match(
    mistake(() => parseFile("--kernel", "")),
    /needs the path of a file/,
  );
});
