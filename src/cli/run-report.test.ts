/* Exit statuses and the words at the end of `mere run`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CliError } from "./cli-error.ts";
import { LastLines } from "../vm/last-lines.ts";
import { type MachineEnd, exitStatusOf, statsLines } from "./run-report.ts";

function crashOf(end: MachineEnd, status: number | undefined | null, serial = new LastLines()): CliError {
  try {
    exitStatusOf(end, status, serial);
  } catch (error) {
    assert.ok(error instanceof CliError);
    return error;
  }
  return assert.fail("nothing was thrown");
}

describe("exit status", () => {
  test("is the command's", () => {
    assert.equal(exitStatusOf({ reason: "poweroff" }, 0, new LastLines()), 0);
    assert.equal(exitStatusOf({ reason: "poweroff" }, 77, new LastLines()), 77);
    assert.equal(exitStatusOf({ reason: "reset" }, 3, new LastLines()), 3);
  });

  test("is 0 when a kernel and init of the user's own power off or reboot", () => {
    assert.equal(exitStatusOf({ reason: "poweroff" }, null, new LastLines()), 0);
    assert.equal(exitStatusOf({ reason: "reset" }, null, new LastLines()), 0);
  });

  test("is 1 when the machine ends before the command, with the last serial lines", () => {
    const serial = new LastLines();
    serial.push(new TextEncoder().encode("[1.0] Kernel panic - not syncing: \u001b[31mno init\r\n"));
    const crash = crashOf({ reason: "reset", detail: "RIP=1" }, undefined, serial);
    assert.equal(crash.exitStatus, 1);
    assert.match(crash.message, /^the guest rebooted before its command ended\nRIP=1\n/);
    assert.match(crash.message, /\n {2}\[1\.0\] Kernel panic - not syncing: \[31mno init$/);
    assert.match(
      crashOf({ reason: "poweroff" }, undefined).message,
      /^the guest powered off before its command ended$/,
    );
  });

  for (const [reason, words] of [
    ["shutdown", "the guest's processor shut down (a triple fault)"],
    ["panic", "the guest's kernel panicked"],
  ] as const) {
    test(`is 1 after a ${reason}, with the state dump, whatever was reported`, () => {
      for (const status of [0, undefined, null]) {
        const crash = crashOf({ reason, detail: "RIP=ffffffff81000000\nRSP=0\n" }, status);
        assert.equal(crash.exitStatus, 1);
        assert.equal(crash.message, `${words}\nRIP=ffffffff81000000\nRSP=0`);
      }
    });
  }
});

test("the last lines are kept in bounded room, with characters whole", () => {
  const serial = new LastLines();
  const line = new TextEncoder().encode("ünïcode line\n");
  for (let i = 0; i < 20_000; i++) {
    serial.push(line.subarray(0, 1));
    serial.push(line.subarray(1));
  }
  assert.equal(serial.lines().length, 80);
  assert.ok(serial.lines().every((text) => text === "ünïcode line"));
});

test("statistics tell instructions, rate, memory and exits by number", () => {
  const lines = statsLines({
    retired: 1_234_567_890n,
    seconds: 12.345,
    framesInUse: 12_288,
    exits: { halted: 5, mmio: 1200, budget: 0 },
  });
  assert.deepEqual(lines, [
    "instructions  1,234,567,890 in 12.35 s (100.0 M/s)",
    "memory        12,288 frames in use (48 MiB)",
    "exits         mmio 1,200, halted 5",
  ]);
  assert.match(statsLines({ retired: 0n, seconds: 0, framesInUse: 0, exits: {} })[0], /0 in 0\.00 s \(0\/s\)/);
});
