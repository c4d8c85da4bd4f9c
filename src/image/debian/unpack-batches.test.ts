/* Who must be configured before whom is unpacked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { unpackBatches } from "./unpack-batches.ts";

/** Names of what is unpacked and of what is then configured, for packages with these fields. */
function batches(packages: Record<string, string>): [string, string][] {
  const entries = Object.entries(packages).map(([name, fields]) => ({
    control: {
      databaseName: name,
      name,
      version: "1",
      architecture: "amd64",
      control: `Package: ${name}\nVersion: 1\n${fields}Description: text\n more: text`,
      files: new Map(),
    },
  }));
  const names = (some: readonly (typeof entries)[number][]): string =>
    some.map(({ control }) => control.name).join(" ");
  return unpackBatches(entries).map((batch) => [names(batch.packages), names(batch.configure)]);
}

test("packages that depend on each other are unpacked at once", () => {
  assert.deepEqual(batches({ aa: "Depends: bb (>= 1), cc | dd\n", bb: "Depends: aa\n", cc: "" }), [
    ["aa bb cc", "aa bb cc"],
  ]);
  assert.deepEqual(batches({}), []);
});

test("what a package pre-depends on is configured before, with all that that depends on, and no more", () => {
  const packages = {
    init: "Pre-Depends: manager:any (>= 2),\n other | helper\n",
    manager: "Depends: lib,\n  missing\n",
    lib: "Pre-Depends: deep\n",
    deep: "",
    helper: "",
    beside: "Depends: init\n",
  };
  assert.deepEqual(batches(packages), [
    ["manager deep helper beside", "deep"],
    ["lib", "manager helper lib"],
    ["init", "beside init"],
  ]);
});

test("who provides a name is meant by it", () => {
  assert.deepEqual(batches({ user: "Pre-Depends: mail-agent\n", agent: "Provides: mail-agent (= 2), x\n" }), [
    ["agent", "agent"],
    ["user", "user"],
  ]);
});

test("those that pre-depend on each other are unpacked all the same", () => {
  const all = batches({
    aa: "Pre-Depends: bb\n",
    bb: "Pre-Depends: cc\n",
    cc: "Depends: aa\n",
    dd: "Pre-Depends: aa\n",
  });
  for (const column of [0, 1])
    assert.deepEqual(
      all
        .flatMap((names) => names[column]!.split(" "))
        .filter((name) => name !== "")
        .toSorted(),
      ["aa", "bb", "cc", "dd"],
    );
  assert.equal(all.at(-1)![0], "dd");
});
