import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ConsoleDevice } from "./console.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";
import type { Chain } from "./queue.ts";
import { TestDriver } from "./test-driver.ts";

/** Keeps what it gets, so that tests decide when to give it back. */
class Keeper implements VirtioDevice {
  readonly description: VirtioDescription = {
    name: "keeper",
    deviceId: 42,
    features: [],
    queueSizes: [256],
    config: new Uint8Array(4),
  };
  port!: VirtioPort;
  kept: Chain[] = [];
  attach(port: VirtioPort): void {
    this.port = port;
  }
  process(): void {
    for (let chain = this.port.queues[0]!.pop(); chain; chain = this.port.queues[0]!.pop()) this.kept.push(chain);
  }
}
function keeper(features?: bigint) {
  const device = new Keeper();
  const driver = new TestDriver(device);
  assert.ok(driver.start(1, features));
  return { device, driver };
}
const NEEDS_RESET = 0x40;

test("direct and indirect chains give the same buffers", () => {
  for (const indirect of [false, true]) {
    const { device, driver } = keeper();
    driver.send(0, [{ bytes: [1, 2, 3] }, { bytes: [4, 5] }, { bytes: new Uint8Array(5000), write: true }], indirect);
    driver.back.serve();
    const chain = device.kept[0]!;
    assert.deepEqual(
      chain.readable.flatMap((part) => [...part]),
      [1, 2, 3, 4, 5],
    );
    assert.deepEqual([chain.readableBytes, chain.writableBytes], [5, 5000]);
    device.port.queues[0]!.push(chain, 7);
    device.port.queues[0]!.signal();
    assert.deepEqual(driver.used(0), [[chain.head, 7]]);
    assert.equal(driver.interrupt(), 1);
  }
});

test("the ring wraps", () => {
  const { device, driver } = keeper();
  for (let i = 0; i < 70_000; i++) {
    driver.describe(0, i % 64, 0x30000, 16, 2, 0);
    driver.offer(0, i % 64);
    driver.back.serve();
    device.port.queues[0]!.push(device.kept.pop()!, i % 16);
    device.port.queues[0]!.signal();
    assert.deepEqual(driver.used(0), [[i % 64, i % 16]]);
    assert.equal(driver.interrupt(), 1);
  }
});

test("EVENT_IDX: no interrupt before the driver's event, and the device asks for notifications", () => {
  const { device, driver } = keeper();
  const { memory } = driver.machine;
  const ring = 0x4000;
  for (let i = 0; i < 3; i++) driver.send(0, [{ bytes: [0], write: true }]);
  driver.back.serve();
  assert.equal(memory.readU16(ring + 0x2000 + 4 + 8 * 64), 3, "avail_event: the next one");
  memory.writeU16(ring + 0x1000 + 4 + 2 * 64, 2); // used_event: the third
  const expected = [0, 0, 1];
  for (const want of expected) {
    device.port.queues[0]!.push(device.kept.shift()!, 0);
    device.port.queues[0]!.signal();
    assert.equal(driver.interrupt(), want);
  }
});

test("without EVENT_IDX the driver's NO_INTERRUPT flag counts", () => {
  const { device, driver } = keeper(1n << 32n);
  for (const flag of [1, 0]) {
    driver.machine.memory.writeU16(0x5000, flag);
    driver.send(0, [{ bytes: [0], write: true }]);
    driver.back.serve();
    device.port.queues[0]!.push(device.kept.pop()!, 0);
    device.port.queues[0]!.signal();
    assert.equal(driver.interrupt(), 1 - flag);
  }
});

test("what was taken before a reset is not given back after it, and the reset shows as incomplete meanwhile", () => {
  const { device, driver } = keeper();
  driver.send(0, [{ bytes: [0], write: true }]);
  driver.back.serve();
  driver.put(0x070, 0);
  assert.notEqual(driver.get(0x070), 0);
  device.port.queues[0]!.push(device.kept.pop()!, 1);
  assert.equal(driver.get(0x070), 0);
  assert.ok(driver.start(1));
  device.port.queues[0]!.signal();
  assert.deepEqual(driver.used(0), []);
  assert.equal(driver.interrupt(), 0);
});

const hostile: [string, (driver: TestDriver) => void][] = [
  ["a loop", (d) => (d.describe(0, 0, 0x30000, 4, 1, 1), d.describe(0, 1, 0x30000, 4, 1, 0), d.offer(0, 0))],
  ["a head beyond the table", (d) => d.offer(0, 64)],
  ["a next beyond the table", (d) => (d.describe(0, 0, 0x30000, 4, 1, 999), d.offer(0, 0))],
  ["an address outside RAM", (d) => (d.describe(0, 0, 0xfffff000, 4, 0, 0), d.offer(0, 0))],
  ["a range that ends outside RAM", (d) => (d.describe(0, 0, 0xffff0, 0x11, 0, 0), d.offer(0, 0))],
  ["an absurd length", (d) => (d.describe(0, 0, 0, 0xffffffff, 2, 0), d.offer(0, 0))],
  [
    "readable after writable",
    (d) => (d.describe(0, 0, 0x30000, 4, 3, 1), d.describe(0, 1, 0x30000, 4, 0, 0), d.offer(0, 0)),
  ],
  ["an indirect table of odd length", (d) => (d.describe(0, 0, 0x30000, 17, 4, 0), d.offer(0, 0))],
  [
    "an indirect table in an indirect table",
    (d) => (d.writeDescriptor(0x30000, 0x31000, 16, 4, 0), d.describe(0, 0, 0x30000, 16, 4, 0), d.offer(0, 0)),
  ],
  ["an available index that jumps", (d) => (d.machine.memory.writeU16(0x5002, 500), d.put(0x050, 0))],
];
for (const [what, act] of hostile)
  test(`${what} stops the device until it is reset`, () => {
    const { device, driver } = keeper();
    act(driver);
    driver.back.serve();
    assert.equal(device.kept.length, 0);
    assert.equal(driver.get(0x070) & NEEDS_RESET, NEEDS_RESET);
    assert.equal(driver.interrupt(), 2);
    assert.ok(driver.start(1));
    driver.send(0, [{ bytes: [0], write: true }]);
    driver.back.serve();
    assert.equal(device.kept.length, 1);
  });

test("no chain inflates memory: overlapping descriptors are cut off", () => {
  const { device, driver } = keeper();
  for (let i = 0; i < 64; i++) driver.describe(0, i, 0, 1 << 20, i === 63 ? 2 : 3, i + 1);
  driver.offer(0, 0);
  driver.back.serve();
  assert.equal(device.kept.length, 0);
  assert.equal(driver.get(0x070) & NEEDS_RESET, NEEDS_RESET);
});

test("one process() takes a bounded amount and asks to be called again", () => {
  const { device, driver } = keeper();
  driver.describe(0, 0, 0, 1 << 20, 2, 0);
  for (let i = 0; i < 40; i++) driver.offer(0, 0);
  driver.back.serve();
  assert.equal(device.kept.length, 16);
  driver.back.serve();
  driver.back.serve();
  assert.equal(device.kept.length, 40);
});

test("hostile rings: never throws, hangs, or reads and writes outside RAM", () => {
  const near = fc.oneof(
    fc.constantFrom(0, 0x4000, 0x5000, 0x6000, 0x30000, 0xff000, 0xffff0, 0x100000, 0xffffffff),
    fc.nat(0x110000),
  );
  const descriptor = fc.record({
    address: near,
    high: fc.constantFrom(0, 0, 0, 1, 0xffffffff),
    length: fc.oneof(fc.nat(64), fc.nat(0x8000), near),
    flags: fc.nat(7),
    next: fc.nat(70),
  });
  const scene = fc.record({
    table: fc.array(descriptor, { minLength: 1, maxLength: 64 }),
    indirect: fc.array(descriptor, { maxLength: 16 }),
    heads: fc.array(fc.nat(70), { maxLength: 80 }),
    size: fc.constantFrom(64, 64, 64, 0, 1, 3, 256, 512, 0x80000000),
    rings: fc.option(fc.tuple(near, near, near), { nil: undefined }),
    registers: fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 0x80 }).map((n) => n * 4),
        fc.oneof(near, fc.nat(16)),
      ),
      { maxLength: 12 },
    ),
    reset: fc.boolean(),
  });
  fc.assert(
    fc.property(scene, ({ table, indirect, heads, size, rings, registers, reset }) => {
      const printed: number[] = [];
      const device = new ConsoleDevice({ columns: 80, rows: 25 }, (bytes) => printed.push(bytes.length));
      const driver = new TestDriver(device);
      driver.start(2);
      const write = (at: number, d: (typeof table)[number]): void => {
        driver.writeDescriptor(at, d.address, d.length, d.flags, d.next);
        driver.machine.memory.writeU32(at + 4, d.high);
      };
      table.forEach((d, i) => (write(0x4000 + 16 * i, d), write(0x8000 + 16 * i, d)));
      indirect.forEach((d, i) => write(0x30000 + 16 * i, d));
      driver.put(0x030, 1);
      driver.put(0x044, 0);
      driver.put(0x038, size);
      if (rings) rings.forEach((at, i) => driver.put([0x080, 0x090, 0x0a0][i]!, at));
      driver.put(0x044, 1);
      for (const head of heads) driver.offer(1, head);
      for (const head of heads) driver.offer(0, head);
      device.input(Uint8Array.of(1, 2, 3));
      for (let i = 0; i < 8; i++) driver.back.serve();
      for (const [offset, value] of registers) driver.put(offset, value);
      if (reset) driver.put(0x070, 0);
      for (let i = 0; i < 8; i++) driver.back.serve();
      assert.ok(printed.every((n) => n <= 32 << 20));
      assert.ok(driver.start(2), "works again after a reset");
      driver.send(1, [{ bytes: [104, 105] }]);
      printed.length = 0;
      driver.back.serve();
      assert.deepEqual(printed, [2]);
    }),
    { numRuns: 400 },
  );
});

test("a chain can be put back: it comes again, and a reset need not wait for it", () => {
  const { device, driver } = keeper();
  for (const byte of [1, 2, 3]) driver.send(0, [{ bytes: [byte], write: true }]);
  const queue = device.port.queues[0]!;
  queue.begin();
  const [first, second] = [queue.pop()!, queue.pop()!];
  queue.unpop(second);
  queue.unpop(first);
  assert.deepEqual(
    [queue.pop()!, queue.pop()!, queue.pop()!].map((chain) => (device.kept.push(chain), chain.head)),
    [0, 1, 2],
  );
  driver.put(0x070, 0);
  assert.notEqual(driver.get(0x070), 0);
  // Of another epoch: only the hold ends.
  for (const chain of device.kept) queue.unpop(chain);
  assert.equal(driver.get(0x070), 0);
});

test("several chains given back at once become visible together", () => {
  const { device, driver } = keeper();
  for (let i = 0; i < 3; i++) driver.send(0, [{ bytes: [0], write: true }]);
  driver.back.serve();
  const queue = device.port.queues[0]!;
  queue.pushAll(device.kept, [7, 8, 9]);
  queue.signal();
  assert.deepEqual(
    driver.used(0),
    device.kept.map((chain, n) => [chain.head, 7 + n]),
  );
  assert.equal(driver.interrupt(), 1);
  driver.send(0, [{ bytes: [0], write: true }]);
  device.kept = [];
  driver.back.serve();
  driver.put(0x070, 0);
  queue.pushAll(device.kept, [1]);
  assert.equal(driver.get(0x070), 0);
  assert.ok(driver.start(1));
  assert.deepEqual(driver.used(0), []);
});
