import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

/** Bit of %GetOptimizationStatus. @source V8, OptimizationStatus::kOptimized */
const OPTIMIZED = 1 << 5;
const LIBRARY = JSON.stringify(new URL("./c-library.ts", import.meta.url).href);

/** A function is being compiled while the process goes on. Prints its status then, and as the thread ends. */
const PROGRAM = `
import { withCLibrary } from ${LIBRARY};
const { functions } = withCLibrary({ abs: { arguments: ["int32"], return: "int32" } }, (library) => library);
const call = (x) => functions.abs(x) + 1;
%PrepareFunctionForOptimization(call);
call(-1);
call(-2);
%OptimizeFunctionOnNextCall(call, "concurrent");
call(-3);
console.log(%GetOptimizationStatus(call));
process.once("exit", () => console.log(%GetOptimizationStatus(call)));
`;

test("a thread that has called the C library ends when nothing of it is being compiled", () => {
  const flags = ["--allow-natives-syntax", "--concurrent-recompilation-delay=300", "--input-type=module"];
  const printed = execFileSync(process.execPath, [...flags, "--eval", PROGRAM], { encoding: "utf8" });
  const [before, atTheEnd] = printed.trim().split("\n").map(Number);
  assert.equal(before! & OPTIMIZED, 0, "it is not compiled yet");
  assert.equal(atTheEnd! & OPTIMIZED, OPTIMIZED);
});
