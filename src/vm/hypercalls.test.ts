import assert from "node:assert/strict";
import { test } from "node:test";
import { testMachine } from "../device/test-machine.ts";
import { Word } from "../engine/wakeups.ts";
import { Reg } from "../isa/registers.ts";
import { hypercalls } from "./hypercalls.ts";

const ALL = 2n ** 64n - 1n;

function guest() {
  const machine = testMachine({ vcpus: 3 });
  const { apics } = machine.devices.localApics;
  for (const apic of apics) apic.writeMsr(0x80f, 0x1ffn);
  return { ...machine, apics, call: hypercalls(machine.devices) };
}

test("KVM_HC_SEND_IPI raises a vector on each processor of the bitmap and counts them", () => {
  const { apics, call } = guest();
  assert.equal(call(10n, 0b101n, 0n, 0n, 0x41n), 2n);
  assert.deepEqual(
    apics.map((apic) => apic.acknowledgeInterrupt()),
    [0x41, -1, 0x41],
  );
  assert.equal(call(10n, 0b1n, 0n, 2n, 0x52n), 1n, "bit 0 is the processor that a2 names");
  assert.equal(apics[2]!.acknowledgeInterrupt(), 0x52);
  assert.equal(call(10n, ALL, ALL, 1n, 0x400n), 2n, "NMI to all that there are from 1 on");
  assert.deepEqual(
    apics.map((apic) => apic.takeNmi()),
    [false, true, true],
  );
  assert.equal(call(10n, 1n, 0n, 1n << 40n, 0x41n), 0n);
});

test("KVM_HC_KICK_CPU ends a HLT and wakes who is in it", () => {
  const { call, registerFiles } = guest();
  assert.equal(call(5n, 0n, 1n, 0n, 0n), 0n);
  assert.equal(registerFiles[1]![Word.KICKED], 1);
  assert.notEqual(registerFiles[1]![Reg.ATTENTION >> 2], 0);
  assert.equal(registerFiles[2]![Word.KICKED], 0);
  assert.equal(call(5n, 0n, 77n, 0n, 0n), 0n, "nobody");
});

test("KVM_HC_SCHED_YIELD calls only a processor that waits for its turn", () => {
  const { call, registerFiles } = guest();
  registerFiles[2]![Word.READY_US] = 5;
  call(11n, 1n, 0n, 0n, 0n);
  call(11n, 2n, 0n, 0n, 0n);
  assert.deepEqual(
    registerFiles.map((regs) => regs[Reg.ATTENTION >> 2] !== 0),
    [false, false, true],
  );
});

test("others are KVM_ENOSYS", () => {
  const { call } = guest();
  for (const nr of [0n, 1n, 9n, 12n, 99n, 1n << 31n]) assert.equal(call(nr, 0n, 0n, 0n, 0n), -1000n);
});
