/* Each way to end from outside, and its status. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Interruption } from "./interruption.ts";

const statuses: [NodeJS.Signals, number][] = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
];
for (const [name, status] of statuses) {
  test(`${name} gives ${status}, also when it comes twice`, () => {
    const interruption = new Interruption();
    assert.equal(interruption.status, undefined);
    process.emit(name);
    process.emit(name);
    assert.deepEqual([interruption.signal.aborted, interruption.status], [true, status]);
    interruption.end();
    assert.equal(process.listenerCount(name), 0);
  });
}

test("the first request counts", () => {
  const interruption = new Interruption();
  process.emit("SIGTERM");
  process.emit("SIGINT");
  interruption.end();
  assert.equal(interruption.status, 143);
});

test("a closed standard output gives 141, another output error 1", () => {
  for (const [code, status] of [
    ["EPIPE", 141],
    ["ENOSPC", 1],
  ] as const) {
    const interruption = new Interruption();
    process.stdout.emit("error", Object.assign(new Error(code), { code }));
    interruption.end();
    assert.equal(interruption.status, status);
  }
});
