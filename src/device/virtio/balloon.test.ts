import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { BalloonDevice, BalloonFeature } from "./balloon.ts";
import type { BalloonError } from "./balloon-error.ts";
import { TestDriver } from "./test-driver.ts";

const PAGE = 4096;
const [INFLATE, DEFLATE, STATS, REPORTING] = [0, 1, 2, 3];

function balloon() {
  const device = new BalloonDevice();
  const given: number[][] = [];
  const driver = new TestDriver(device, {
    giveBack: async (pages) => {
      given.push([...pages]);
      return pages.length;
    },
  });
  const serve = async (): Promise<void> => {
    driver.back.serve();
    for (let i = 0; i < 5; i++) await setImmediate();
  };
  return { device, driver, given, serve };
}
const numbers = (list: number[]): Uint8Array => new Uint8Array(Uint32Array.from(list).buffer);
/** The statistics' buffer of a driver. */
function stats(list: [tag: number, value: bigint][]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(10 * list.length));
  list.forEach(([tag, value], i) => {
    bytes.setUint16(10 * i, tag, true);
    bytes.setBigUint64(10 * i + 2, value, true);
  });
  return new Uint8Array(bytes.buffer);
}

test("balloon: features, target and what the driver says that it has given", () => {
  const { device, driver } = balloon();
  device.setTargetBytes(10 * PAGE + 100);
  assert.ok(driver.start(4));
  const bits = Object.values(BalloonFeature).reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
  assert.equal(driver.deviceFeatures() & 0xffffffn, bits);
  assert.deepEqual([driver.get(0x100), driver.get(0x104), device.actualBytes], [10, 0, 0]);
  const generation = driver.get(0x0fc);
  device.setTargetBytes(20 * PAGE);
  assert.equal(driver.get(0x100), 20);
  assert.notEqual(driver.get(0x0fc), generation);
  assert.equal(driver.interrupt(), 2);
  driver.put(0x104, 7);
  assert.equal(device.actualBytes, 7 * PAGE);
  // The target is the device's.
  driver.put(0x100, 99);
  driver.put(0x108, 99);
  assert.deepEqual([driver.get(0x100), driver.get(0x108)], [20, 0]);
  for (const [bytes, pages] of [
    [-5, 0],
    [2 ** 60, 0xffffffff],
    [NaN, 0],
  ] as const) {
    device.setTargetBytes(bytes);
    assert.equal(driver.get(0x100), pages);
  }
});

test("balloon: pages that the driver gives go back before it hears so; those that it takes need nothing", async () => {
  const { driver, given, serve } = balloon();
  assert.ok(driver.start(4));
  driver.send(INFLATE, [{ bytes: numbers([5, 6, 0xffffffff]) }]);
  driver.send(DEFLATE, [{ bytes: numbers([5]) }]);
  await serve();
  assert.deepEqual(given, [[5, 6, 0xffffffff]]);
  assert.deepEqual([driver.used(INFLATE).length, driver.used(DEFLATE).length], [1, 1]);
});

test("balloon: memory that is reported free goes back, in whole pages, and is not looked into", async () => {
  const { device, driver, given, serve } = balloon();
  assert.ok(driver.start(4));
  driver.describe(REPORTING, 0, 16 * PAGE, 8 * PAGE, 3, 1);
  driver.describe(REPORTING, 1, 40 * PAGE + 1, 3 * PAGE, 2, 0);
  driver.offer(REPORTING, 0);
  await serve();
  assert.deepEqual(given, [
    [16, 17, 18, 19, 20, 21, 22, 23],
    [41, 42],
  ]);
  assert.equal(driver.used(REPORTING).length, 1);
  assert.equal(device.reportedBytes, 10 * PAGE);
});

test("balloon: statistics are asked for, and the buffer stays the driver's", async () => {
  const { device, driver, serve } = balloon();
  await assert.rejects(device.statistics(), (error: BalloonError) => error.code === "no-driver");
  assert.ok(driver.start(4));
  await serve();
  await assert.rejects(device.statistics(), (error: BalloonError) => error.code === "no-driver");
  driver.send(STATS, [{ bytes: stats([[4, 1n]]) }]);
  await serve();
  assert.equal(driver.used(STATS).length, 0);
  for (const free of [100n, 200n]) {
    const asked = [device.statistics(), device.statistics()];
    assert.equal(driver.used(STATS).length, 1);
    assert.equal(driver.interrupt(), 1);
    const answer = stats([
      [4, free],
      [5, 1000n],
      [3, 5n],
      [99, 7n],
    ]);
    driver.send(STATS, [{ bytes: answer.subarray(0, 15) }, { bytes: answer.subarray(15) }]);
    await serve();
    const [first, second] = await Promise.all(asked);
    assert.deepEqual(first, { freeBytes: Number(free), totalBytes: 1000, minorFaults: 5 });
    assert.equal(first, second);
    assert.equal(driver.used(STATS).length, 0);
  }
  driver.put(0x070, 0);
  assert.equal(driver.get(0x070), 0, "a reset is not held up");
});

test("balloon: a driver that does not answer, or goes, is no wait for ever", async () => {
  const { device, driver, serve } = balloon();
  assert.ok(driver.start(4));
  driver.send(STATS, [{ bytes: stats([[4, 1n]]) }]);
  await serve();
  await assert.rejects(device.statistics({ timeoutMs: 1 }), (error: BalloonError) => error.code === "no-answer");
  driver.send(STATS, [{ bytes: stats([[4, 1n]]) }]);
  const asked = device.statistics();
  assert.ok(driver.start(4));
  driver.send(INFLATE, [{ bytes: numbers([1]) }]);
  await Promise.all([serve(), assert.rejects(asked, (error: BalloonError) => error.code === "no-driver")]);
});

test("balloon: nonsense in any queue is given back or stops the device", async () => {
  const { driver, given, serve } = balloon();
  assert.ok(driver.start(4));
  driver.send(INFLATE, [{ bytes: [1, 2, 3] }]);
  driver.send(INFLATE, [{ bytes: [5, 0, 0, 0, 9, 9] }, { bytes: new Uint8Array(8), write: true }]);
  driver.send(DEFLATE, [{ bytes: new Uint8Array(100), write: true }]);
  driver.send(REPORTING, [{ bytes: [1] }]);
  driver.send(STATS, [{ bytes: new Uint8Array(9), write: true }]);
  await serve();
  assert.deepEqual(given, [[], [5]]);
  assert.deepEqual(
    [INFLATE, DEFLATE, REPORTING, STATS].map((queue) => driver.used(queue).length),
    [2, 1, 1, 0],
  );
  assert.equal(driver.get(0x070), 15);
  // Outside of RAM; more than there is of it.
  for (const [at, length, next] of [
    [0x7000_0000, PAGE, false],
    [0, 0xfffff000, false],
    [0, 1 << 20, true],
  ] as const) {
    assert.ok(driver.start(4));
    driver.describe(REPORTING, 0, at, length, next ? 3 : 2, 1);
    driver.describe(REPORTING, 1, 0, PAGE, 2, 0);
    driver.offer(REPORTING, 0);
    given.length = 0;
    await serve();
    assert.deepEqual(given, []);
    assert.equal(driver.get(0x070) & 0x40, 0x40);
  }
});
