/* What is copied where. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf, parsePlace } from "./cp.ts";

test("a copy never leaves the directory that it is copied into", () => {
  for (const path of [".", "..", "/", "//", "a/.", "a/..", "/a/../", "../.."])
    assert.equal(nameOf(path), undefined, path);
  for (const path of ["a", "/b/a", "a/", "../a//", "./a"]) assert.equal(nameOf(path), "a", path);
  assert.equal(nameOf("..."), "...");
});

test("a place is here, or from the guest's root on", () => {
  assert.deepEqual(parsePlace("web:/a:b"), { vm: "web", path: "/a:b" });
  for (const path of ["./web:/a", "/web:/a", "a", ".."]) assert.deepEqual(parsePlace(path), { vm: undefined, path });
  for (const wrong of ["web:", "web:a", ""]) assert.throws(() => parsePlace(wrong), { code: "usage" });
});
