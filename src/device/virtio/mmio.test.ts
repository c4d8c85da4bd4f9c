import assert from "node:assert/strict";
import { test } from "node:test";
import { RngDevice } from "./rng.ts";
import { TestDriver } from "./test-driver.ts";

test("Linux's probe: magic, version, device, features, queue, DRIVER_OK", () => {
  const driver = new TestDriver(new RngDevice());
  assert.deepEqual(
    [0, 4, 8].map((offset) => driver.get(offset)),
    [0x74726976, 2, 4],
  );
  assert.equal(driver.deviceFeatures(), (1n << 32n) | (1n << 29n) | (1n << 28n));
  driver.put(0x014, 2);
  assert.equal(driver.get(0x010), 0);
  assert.ok(driver.start(1));
  assert.equal(driver.get(0x070), 15);
  assert.equal(driver.get(0x044), 1);
  driver.put(0x030, 1);
  assert.equal(driver.get(0x034), 0, "there is no queue 1");
  driver.put(0x044, 1);
  assert.equal(driver.get(0x044), 0);
  assert.equal(driver.get(0x0b0), 0xffffffff);
});

test("features that were not offered, or no VERSION_1, are refused", () => {
  const driver = new TestDriver(new RngDevice());
  assert.equal(driver.start(1, (1n << 32n) | 1n), false);
  assert.equal(driver.start(1, 1n << 28n), false);
  assert.equal(driver.start(1, 1n << 40n), false);
  assert.equal(driver.start(1, 1n << 32n), true);
});

test("reset returns everything to the beginning, and the device works again", () => {
  const driver = new TestDriver(new RngDevice());
  for (let round = 0; round < 3; round++) {
    assert.ok(driver.start(1));
    const [at] = driver.send(0, [{ bytes: new Uint8Array(32), write: true }]);
    driver.back.serve();
    assert.deepEqual(driver.used(0), [[0, 32]]);
    assert.ok(driver.bytes(at!, 32).some((byte) => byte !== 0));
    if (round === 1) assert.equal(driver.interrupt(), 1);
    assert.equal(driver.interrupt(), round === 1 ? 0 : 1);
    driver.put(0x070, 0);
    assert.equal(driver.get(0x060), 0);
  }
});

test("the interrupt stays asserted until it is acknowledged in the device", () => {
  const driver = new TestDriver(new RngDevice());
  driver.start(1);
  driver.send(0, [{ bytes: new Uint8Array(8), write: true }]);
  driver.back.serve();
  const apic = driver.machine.devices.localApics.apics[0]!;
  assert.notEqual(apic.acknowledgeInterrupt(), -1);
  apic.writeMsr(0x80b, 0n);
  assert.notEqual(apic.acknowledgeInterrupt(), -1);
  driver.put(0x064, 1);
  apic.writeMsr(0x80b, 0n);
  assert.equal(apic.acknowledgeInterrupt(), -1);
});

test("a queue that is ready does not move; notifications before DRIVER_OK do nothing", () => {
  const driver = new TestDriver(new RngDevice());
  driver.start(1);
  driver.put(0x030, 0);
  driver.put(0x080, 0x12345000);
  driver.send(0, [{ bytes: new Uint8Array(8), write: true }]);
  driver.back.serve();
  assert.equal(driver.used(0).length, 1);
  driver.put(0x070, 0);
  driver.put(0x050, 0);
  driver.back.serve();
  assert.equal(driver.get(0x070), 0);
});
