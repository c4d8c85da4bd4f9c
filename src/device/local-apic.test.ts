import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { Word } from "../engine/wakeups.ts";
import { Reg } from "../isa/registers.ts";
import { ApicMsr, LOCAL_APIC_STATE_BYTES, LocalApics } from "./local-apic.ts";
import { routePin, testMachine } from "./test-machine.ts";

function oneApic(vcpus = 1) {
  const machine = testMachine({ vcpus });
  for (const apic of machine.devices.localApics.apics) assert.ok(apic.writeMsr(ApicMsr.SVR, 0x1ffn));
  const apic = machine.devices.localApics.apics[0]!;
  const regs = machine.registerFiles[0]!;
  return {
    ...machine,
    apics: machine.devices.localApics.apics,
    apic,
    regs,
    pending: () => regs[Reg.INTERRUPT_PENDING >> 2],
  };
}
const deadline = (regs: Int32Array): bigint => new BigInt64Array(regs.buffer)[Reg.DEADLINE >> 3]!;

test("the highest vector is delivered first, and holds back its own class until EOI", () => {
  const { apic, pending } = oneApic();
  apic.raise(0x41, false);
  apic.raise(0x52, false);
  apic.raise(0x53, false);
  assert.equal(pending(), 1);
  assert.equal(apic.acknowledgeInterrupt(), 0x53);
  assert.equal(pending(), 0, "0x52 is of the class in service");
  assert.equal(apic.acknowledgeInterrupt(), -1);
  assert.equal(apic.readPpr(), 0x50);
  apic.raise(0x61, false);
  assert.equal(pending(), 1);
  assert.equal(apic.acknowledgeInterrupt(), 0x61);
  assert.ok(apic.writeMsr(ApicMsr.EOI, 0n));
  assert.equal(pending(), 0);
  assert.ok(apic.writeMsr(ApicMsr.EOI, 0n));
  assert.equal(pending(), 1);
  assert.equal(apic.acknowledgeInterrupt(), 0x52);
  apic.writeMsr(ApicMsr.EOI, 0n);
  assert.equal(apic.acknowledgeInterrupt(), 0x41);
});

test("the task priority holds interrupts back until it is lowered", () => {
  const { apic, pending, regs } = oneApic();
  apic.writeTpr(4);
  regs[Reg.ATTENTION >> 2] = 0;
  apic.raise(0x4f, false);
  assert.equal(pending(), 0);
  assert.equal(regs[Reg.ATTENTION >> 2], 0);
  assert.equal(apic.readMsr(ApicMsr.IRR + 2), 0x8000n);
  apic.writeTpr(3);
  assert.equal(pending(), 1);
  assert.notEqual(regs[Reg.ATTENTION >> 2], 0);
  assert.equal(apic.acknowledgeInterrupt(), 0x4f);
  assert.equal(apic.readMsr(ApicMsr.TPR), 0x30n);
});

test("a software-disabled APIC takes no fixed interrupts, but NMIs", () => {
  const { apic } = oneApic();
  apic.writeMsr(ApicMsr.SVR, 0xffn);
  assert.equal(apic.raise(0x40, false), false);
  apic.raiseNmi();
  assert.equal(apic.takeNmi(), true);
  assert.equal(apic.takeNmi(), false);
  assert.equal(apic.readMsr(ApicMsr.LVT_TIMER)! & 0x10000n, 0x10000n);
});

test("reserved bits, read-only and absent registers fault", () => {
  const { apic } = oneApic();
  assert.equal(apic.writeMsr(ApicMsr.ID, 1n), false);
  assert.equal(apic.writeMsr(ApicMsr.EOI, 1n), false);
  assert.equal(apic.writeMsr(ApicMsr.TPR, 0x100n), false);
  assert.equal(apic.writeMsr(ApicMsr.SVR, 1n << 32n), false);
  assert.equal(apic.readMsr(0x82f), undefined);
  assert.equal(apic.readMsr(0x840), undefined);
  assert.equal(apic.readMsr(ApicMsr.EOI), undefined);
  assert.equal(apic.readMsr(ApicMsr.APIC_BASE), 0xfee00d00n);
  assert.equal(apic.writeMsr(ApicMsr.APIC_BASE, 0xfee00d00n), true);
  assert.equal(apic.writeMsr(ApicMsr.APIC_BASE, 0xfee00900n), false);
});

test("TSC deadline: armed as host time, fires once, at once if past", () => {
  const { apic, regs, clock } = oneApic();
  new BigInt64Array(regs.buffer)[Reg.TSC_OFFSET >> 3] = -400_000n;
  apic.writeMsr(ApicMsr.LVT_TIMER, 0x400ecn);
  apic.writeMsr(ApicMsr.TSC_DEADLINE, 900_000n);
  assert.equal(deadline(regs), 1_300_000n);
  assert.equal(apic.readMsr(ApicMsr.TSC_DEADLINE), 900_000n);
  clock.ns = 1_300_001;
  apic.deadlinePassed();
  assert.equal(deadline(regs), -1n);
  assert.equal(apic.readMsr(ApicMsr.TSC_DEADLINE), 0n);
  assert.equal(apic.acknowledgeInterrupt(), 0xec);
  apic.writeMsr(ApicMsr.EOI, 0n);
  apic.writeMsr(ApicMsr.TSC_DEADLINE, 5n);
  assert.equal(apic.acknowledgeInterrupt(), 0xec);
  apic.writeMsr(ApicMsr.EOI, 0n);
  apic.writeMsr(ApicMsr.TSC_DEADLINE, 10_000_000_000_000n);
  apic.writeMsr(ApicMsr.TSC_DEADLINE, 0n);
  assert.equal(deadline(regs), -1n);
});

test("count modes: divisor, current count, period", () => {
  const { apic, regs, clock } = oneApic();
  apic.writeMsr(ApicMsr.DIVIDE, 3n); // by 16
  apic.writeMsr(ApicMsr.LVT_TIMER, 0x200ecn);
  apic.writeMsr(ApicMsr.INITIAL_COUNT, 10_000n);
  assert.equal(deadline(regs), 1_160_000n);
  clock.ns += 80_000;
  assert.equal(apic.readMsr(ApicMsr.CURRENT_COUNT), 5_000n);
  clock.ns = 1_160_010;
  apic.deadlinePassed();
  assert.equal(deadline(regs), 1_320_000n);
  assert.equal(apic.acknowledgeInterrupt(), 0xec);
  clock.ns = 2_000_000;
  apic.deadlinePassed();
  assert.ok(deadline(regs) >= 2_000_000n && deadline(regs) <= 2_160_000n);
  apic.writeMsr(ApicMsr.INITIAL_COUNT, 0n);
  assert.equal(deadline(regs), -1n);
  apic.writeMsr(ApicMsr.DIVIDE, 0xbn); // by 1
  apic.writeMsr(ApicMsr.LVT_TIMER, 0xecn);
  apic.writeMsr(ApicMsr.INITIAL_COUNT, 0xffffffffn);
  assert.equal(deadline(regs), 2_000_000n + 0xffffffffn);
});

test("interprocessor interrupts reach their destinations", () => {
  const { apics } = oneApic(18);
  const send = (low: number, destination: number): void => {
    assert.ok(apics[0]!.writeMsr(ApicMsr.ICR, (BigInt(destination) << 32n) | BigInt(low)));
  };
  const receivers = (): number[] =>
    apics.filter((apic) => apic.acknowledgeInterrupt() >= 0 && apic.writeMsr(ApicMsr.EOI, 0n)).map((a) => a.id);
  send(0x40f1, 3);
  assert.deepEqual(receivers(), [3]);
  send(0x48f1, 0x0001_0003); // logical: cluster 1, its CPUs 0 and 1
  assert.deepEqual(receivers(), [16, 17]);
  send(0x40f1, 0xffffffff);
  assert.equal(receivers().length, 18);
  send(0xc40f1, 0);
  assert.equal(receivers().includes(0), false);
  send(0x440f1, 0);
  assert.deepEqual(receivers(), [0]);
  apics[0]!.writeMsr(ApicMsr.SELF_IPI, 0x77n);
  assert.equal(apics[0]!.acknowledgeInterrupt(), 0x77);
  send(0x4400, 5);
  assert.equal(apics[5]!.takeNmi(), true);
  send(0x4003, 1);
  apics[0]!.writeMsr(ApicMsr.ESR, 0n);
  assert.equal(apics[0]!.readMsr(ApicMsr.ESR), 0x20n, "send illegal vector");
});

test("IOAPIC: a level that stays asserted comes again after EOI, an edge does not", () => {
  const { devices, apic } = oneApic();
  routePin(devices, 7, 0x37);
  const line = devices.ioApic.line(7);
  line.set(true);
  line.set(true);
  assert.equal(apic.acknowledgeInterrupt(), 0x37);
  assert.equal(apic.acknowledgeInterrupt(), -1);
  apic.writeMsr(ApicMsr.EOI, 0n);
  assert.equal(apic.acknowledgeInterrupt(), 0x37, "still asserted");
  line.set(false);
  apic.writeMsr(ApicMsr.EOI, 0n);
  assert.equal(apic.acknowledgeInterrupt(), -1);
  routePin(devices, 8, 0x38, { level: false });
  devices.ioApic.line(8).set(true);
  assert.equal(apic.acknowledgeInterrupt(), 0x38);
  apic.writeMsr(ApicMsr.EOI, 0n);
  assert.equal(apic.acknowledgeInterrupt(), -1);
});

test("IOAPIC: a masked level is delivered when unmasked; registers read back", () => {
  const { devices, apic } = oneApic();
  const { mmio, ioApic } = devices;
  ioApic.line(9).set(true);
  assert.equal(apic.acknowledgeInterrupt(), -1);
  routePin(devices, 9, 0x39);
  assert.equal(mmio.read(ioApic.start + 0x10, 4), 0xc039, "remote IRR and level");
  assert.equal(apic.acknowledgeInterrupt(), 0x39);
  mmio.write(ioApic.start, 4, 1);
  assert.equal(mmio.read(ioApic.start + 0x10, 4), 0x170020);
  mmio.write(ioApic.start + 0x40, 4, 0x39);
  mmio.write(ioApic.start, 4, 0x10 + 18);
  assert.equal(mmio.read(ioApic.start + 0x10, 4) & 0x4000, 0x4000, "sent again: the line is still asserted");
});

test(
  "vectors raised by other threads are never lost while this one acknowledges and ends",
  { timeout: 30_000 },
  async () => {
    const rounds = 10_000;
    const state = new SharedArrayBuffer(LOCAL_APIC_STATE_BYTES);
    const file = new SharedArrayBuffer(Reg.SIZE);
    const counts = new SharedArrayBuffer(1024);
    const apics = new LocalApics(state, 0, [new Int32Array(file)], { hostNs: () => 0, endOfInterrupt: () => {} });
    const apic = apics.apics[0]!;
    apic.reset();
    apic.writeMsr(ApicMsr.SVR, 0x1ffn);
    const source = `
    const { workerData: { state, file, counts, vector, rounds, module } } = require("node:worker_threads");
    import(module).then(({ LocalApics }) => {
      const apic = new LocalApics(state, 0, [new Int32Array(file)], { hostNs: () => 0, endOfInterrupt: () => {} }).apics[0];
      const served = new Int32Array(counts);
      for (let i = 0; i < rounds; i++) {
        apic.raise(vector, false);
        while (Atomics.load(served, vector) === i) Atomics.wait(served, vector, i, 1);
      }
    });`;
    const module = new URL("./local-apic.ts", import.meta.url).href;
    const vectors = [0x41, 0x42, 0x83];
    const workers = vectors.map(
      (vector) => new Worker(source, { eval: true, workerData: { state, file, counts, vector, rounds, module } }),
    );
    const served = new Int32Array(counts);
    const regs = new Int32Array(file);
    const attention = Reg.ATTENTION >> 2;
    for (let total = 0; total < rounds * vectors.length;) {
      if (Atomics.load(regs, Reg.INTERRUPT_PENDING >> 2) === 0) {
        // As an executor does for a halted vCPU: sleep until somebody rings.
        const bell = Atomics.load(regs, Word.BELL);
        if (Atomics.exchange(regs, attention, 0) === 0)
          assert.notEqual(Atomics.wait(regs, Word.BELL, bell, 10_000), "timed-out", "a wake-up was lost");
        await setImmediate();
        continue;
      }
      const vector = apic.acknowledgeInterrupt();
      if (vector < 0) continue;
      Atomics.add(served, vector, 1);
      Atomics.notify(served, vector);
      total++;
      apic.writeMsr(ApicMsr.EOI, 0n);
    }
    assert.deepEqual(
      vectors.map((vector) => served[vector]),
      [rounds, rounds, rounds],
    );
    await Promise.all(workers.map((worker) => worker.terminate()));
  },
);
