/* What counts as a panic. The texts are those of Debian's 6.1 kernel. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PanicWatch } from "./panic-watch.ts";

const BEGIN = "[    2.123456] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n";
const TRACE = "[    2.123500] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0\r\n[    2.123600] Call Trace:\r\n";
const END =
  "[    2.200000] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\r\n";

function watch(...pieces: string[]): readonly [panicked: boolean, final: boolean] {
  const seen = new PanicWatch();
  for (const piece of pieces) seen.push(Buffer.from(piece));
  return [seen.panicked, seen.final];
}

test("a panic that reboots is one, and not final", () => {
  assert.deepEqual(watch("login:\r\n", BEGIN, TRACE), [true, false]);
});

test("a panic that stays is final, in whatever pieces it comes and without times", () => {
  assert.deepEqual(watch(BEGIN, TRACE, END), [true, true]);
  assert.deepEqual(watch(...(BEGIN + TRACE + END)), [true, true]);
  const untimed = (BEGIN + END).replaceAll(/\[ +\d+\.\d+\] /g, "");
  assert.deepEqual(watch(untimed), [true, true]);
});

test("words inside a line, words long ago and words with more after them are no panic, or not its end", () => {
  assert.deepEqual(watch("grep 'Kernel panic - not syncing: '\r\n"), [false, false]);
  assert.deepEqual(watch(BEGIN, END, "x\r\n".repeat(10_000)), [false, false]);
  assert.deepEqual(watch(BEGIN, END, "# "), [true, false]);
});
