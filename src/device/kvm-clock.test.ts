import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg } from "../isa/registers.ts";
import { KvmMsr } from "./kvm-clock.ts";
import { testMachine } from "./test-machine.ts";

function clocked() {
  const machine = testMachine();
  machine.clock.ns = 5_000_000_123;
  new BigInt64Array(machine.registerFiles[0]!.buffer)[Reg.TSC_OFFSET >> 3] = -5_000_000_000n;
  return { ...machine, kvm: machine.devices.kvmClocks[0]! };
}

test("the clock page: identity scale, stable, even version, system time = TSC", () => {
  const { kvm, memory } = clocked();
  assert.ok(kvm.writeMsr(KvmMsr.SYSTEM_TIME_NEW, 0x2001n));
  assert.equal(memory.readU32(0x2000), 2);
  assert.deepEqual([memory.readU64(0x2008), memory.readU64(0x2010)], [123n, 123n]);
  const shift = memory.bytes[0x201c]!;
  const multiplier = BigInt(memory.readU32(0x2018)!);
  assert.equal(((12345n << BigInt(shift)) * multiplier) >> 32n, 12345n);
  assert.equal(memory.bytes[0x201d], 1);
  assert.equal(kvm.readMsr(KvmMsr.SYSTEM_TIME_NEW), 0x2001n);
  kvm.refresh();
  assert.equal(memory.readU32(0x2000), 4);
  memory.bytes.fill(0);
  kvm.writeMsr(KvmMsr.SYSTEM_TIME, 0x2000n);
  assert.equal(memory.readU32(0x2000), 0, "disabled");
});

test("the wall clock is the time of day at which the clock read 0", () => {
  const { kvm, memory } = clocked();
  kvm.writeMsr(KvmMsr.WALL_CLOCK_NEW, 0x3000n);
  assert.equal(memory.readU32(0x3000)! % 2, 0);
  assert.deepEqual([memory.readU32(0x3004), memory.readU32(0x3008)], [1_700_000_005, 0]);
});

test("steal time, preemption, reserved bits", () => {
  const { kvm, memory } = clocked();
  assert.equal(kvm.writeMsr(KvmMsr.STEAL_TIME, 0x4003n), false);
  assert.ok(kvm.writeMsr(KvmMsr.STEAL_TIME, 0x4041n));
  kvm.setSteal(777_000);
  assert.equal(memory.readU64(0x4040), 777_000n);
  assert.equal(memory.readU32(0x4048)! % 2, 0);
  kvm.preempted();
  assert.equal(memory.bytes[0x4050], 1);
  kvm.resumed();
  assert.equal(memory.bytes[0x4050], 0);
});

test("places outside RAM are ignored, other MSRs are not its own", () => {
  const { kvm } = clocked();
  assert.ok(kvm.writeMsr(KvmMsr.SYSTEM_TIME_NEW, 0xfffffffffffffff1n));
  assert.ok(kvm.writeMsr(KvmMsr.WALL_CLOCK, 0xfffffffffffffff0n));
  assert.equal(kvm.writeMsr(0x4b564d02, 0n), false);
  assert.equal(kvm.readMsr(0x10), undefined);
});

test("who did not flush a preempted vCPU's TLB makes it flush when it resumes", () => {
  const { devices, memory } = testMachine();
  const kvm = devices.kvmClocks[0]!;
  assert.equal(kvm.resumed(), false, "steal time is off");
  kvm.writeMsr(KvmMsr.STEAL_TIME, 0x3001n);
  assert.equal(kvm.resumed(), false);
  kvm.preempted();
  assert.equal(memory.bytes[0x3010], 1);
  assert.equal(kvm.resumed(), false);
  assert.equal(memory.bytes[0x3010], 0);
  kvm.preempted();
  memory.bytes[0x3010] = 3;
  assert.equal(kvm.resumed(), true);
  assert.equal(memory.bytes[0x3010], 0);
  assert.equal(kvm.resumed(), false, "once");
});
