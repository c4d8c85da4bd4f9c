import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NetFeature } from "./net-header.ts";
import { NetDevice } from "./net.ts";
import { MAX_PACKET_BYTES, type Packet } from "./packet.ts";
import { TestDriver } from "./test-driver.ts";
import {
  GUEST_OFFLOADS,
  type HeaderFields,
  MAC,
  MAC_BYTES,
  type NetBench,
  TestCable,
  command,
  frame,
  header,
  queuesOf,
  startNet,
  transmit,
  without,
} from "./test-net.ts";

const tick = (): Promise<void> => Promise.resolve();

test("configuration space and features", () => {
  const { driver, device } = startNet({ queuePairs: 4, mtu: 9000 });
  assert.deepEqual([...driver.bytesOfConfig(0, 6)], MAC_BYTES);
  assert.deepEqual([...driver.bytesOfConfig(6, 6)], [1, 0, 4, 0, 9000 & 255, 9000 >> 8]);
  assert.equal((driver.deviceFeatures() >> BigInt(NetFeature.MQ)) & 1n, 1n);
  device.unplug();
  assert.equal(driver.interrupt() & 2, 2);
  assert.deepEqual([...driver.bytesOfConfig(6, 2)], [0, 0]);
  assert.equal((startNet().driver.deviceFeatures() >> BigInt(NetFeature.MQ)) & 1n, 0n);
  for (const bad of [{ mtu: 67 }, { mtu: 65_536 }, { mtu: Number.NaN }, { queuePairs: 0 }, { queuePairs: 5 }])
    assert.throws(() => new NetDevice({ mac: MAC, ...bad }), RangeError);
});

test("sends frames as they are, wherever the header ends, and out of the driver's reach", () => {
  const bench = startNet();
  const bytes = frame(1514);
  const whole = [...header(), ...bytes];
  for (const cut of [12, 1, 5, 13, 600, whole.length])
    assert.ok(
      transmit(bench, [{ bytes: whole.slice(0, cut) }, ...(cut < whole.length ? [{ bytes: whole.slice(cut) }] : [])]),
    );
  assert.equal(bench.cable.sent.length, 6);
  for (const packet of bench.cable.sent) {
    assert.deepEqual(Uint8Array.from(packet.bytes), bytes);
    assert.equal(packet.checksum ?? packet.segment, undefined);
    assert.ok(packet.bytes.buffer instanceof ArrayBuffer);
    assert.equal(packet.bytes.constructor, Uint8Array, "whose slice() copies");
  }
  assert.equal(bench.driver.interrupt(), 1);
  assert.deepEqual(bench.device.counters, {
    ...bench.device.counters,
    sentPackets: 6,
    sentBytes: 6 * 1514,
    sentLost: 0,
  });
});

test("what the driver left to do comes with the frame", () => {
  const bench = startNet();
  const send = (fields: HeaderFields, length: number): Packet => {
    assert.ok(transmit(bench, [{ bytes: header(fields) }, { bytes: frame(length) }]));
    return bench.cable.sent.pop()!;
  };
  const checksum = { start: 34, offset: 16 };
  assert.deepEqual(send({ flags: 1, ...checksum }, 100).checksum, checksum);
  const cut = send({ flags: 1, gsoType: 1, gsoSize: 1448, ...checksum }, MAX_PACKET_BYTES);
  assert.deepEqual([cut.checksum, cut.segment], [checksum, { protocol: "tcp4", sizeBytes: 1448 }]);
  assert.equal(send({ flags: 1, gsoType: 4, gsoSize: 1428, ...checksum }, 5000).segment?.protocol, "tcp6");
});

const lies: [string, HeaderFields, number, bigint?][] = [
  ["a checksum that begins in the Ethernet header", { flags: 1, start: 13, offset: 16 }, 100],
  ["a checksum that ends behind the frame", { flags: 1, start: 34, offset: 65 }, 100],
  ["a checksum far away", { flags: 1, start: 0xffff, offset: 0xffff }, 100],
  ["a checksum that was not negotiated", { flags: 1, start: 34, offset: 16 }, 100, without(NetFeature.CSUM)],
  ["segments of no bytes", { flags: 1, gsoType: 1, gsoSize: 0, start: 34, offset: 16 }, 5000],
  ["segments of seven bytes", { flags: 1, gsoType: 1, gsoSize: 7, start: 34, offset: 16 }, 5000],
  ["segments without a checksum", { gsoType: 1, gsoSize: 1448 }, 5000],
  ["segments of UDP", { flags: 1, gsoType: 3, gsoSize: 1448, start: 34, offset: 6 }, 5000],
  ["segments with ECN", { flags: 1, gsoType: 0x81, gsoSize: 1448, start: 34, offset: 16 }, 5000],
  [
    "TSO4 that was not negotiated",
    { flags: 1, gsoType: 1, gsoSize: 1448, start: 34, offset: 16 },
    5000,
    without(NetFeature.HOST_TSO4),
  ],
  [
    "TSO6 that was not negotiated",
    { flags: 1, gsoType: 4, gsoSize: 1448, start: 34, offset: 16 },
    5000,
    without(NetFeature.HOST_TSO6),
  ],
  ["a frame above the MTU", {}, 1519],
  ["a frame above the MTU with a checksum", { flags: 1, start: 34, offset: 16 }, 1519],
  ["a frame of 13 bytes", {}, 13],
  ["no frame", {}, 0],
  ["a frame longer than any", { flags: 1, gsoType: 1, gsoSize: 1448, start: 34, offset: 16 }, MAX_PACKET_BYTES + 1],
];
for (const [what, fields, length, mask] of lies)
  test(`the driver lies: ${what} costs it that frame only`, () => {
    const bench = startNet(mask === undefined ? {} : { mask });
    const parts = [{ bytes: header(fields) }, ...(length > 0 ? [{ bytes: frame(length) }] : [])];
    assert.ok(transmit(bench, parts));
    assert.deepEqual([bench.cable.sent.length, bench.device.counters.sentLost], [0, 1]);
    assert.ok(transmit(bench, [{ bytes: header() }, { bytes: frame(60) }]));
    assert.equal(bench.cable.sent.length, 1);
  });

test("a chain shorter than a header, or one to write to, is given back", () => {
  const bench = startNet();
  assert.ok(transmit(bench, [{ bytes: [1, 2, 3] }]));
  assert.ok(transmit(bench, [{ bytes: new Uint8Array(100), write: true }]));
  assert.equal(bench.cable.sent.length, 0);
  assert.equal(bench.device.counters.sentLost, 2);
});

test("without room the device holds one frame and leaves the others in the ring, and goes on in order", () => {
  const bench = startNet();
  const { cable, driver } = bench;
  cable.room = 1;
  for (let n = 0; n < 5; n++) driver.send(1, [{ bytes: header() }, { bytes: frame(60, n) }]);
  driver.back.serve();
  assert.deepEqual([cable.sent.length, driver.used(1).length], [1, 2]);
  driver.send(1, [{ bytes: header() }, { bytes: frame(60, 5) }]);
  driver.back.serve();
  assert.equal(driver.used(1).length, 0);
  cable.room = 2;
  cable.onRoom!();
  assert.deepEqual([cable.sent.length, driver.used(1).length], [3, 2]);
  cable.room = Infinity;
  cable.onRoom!();
  cable.onRoom!();
  assert.deepEqual(
    cable.sent.map(({ bytes }) => bytes[20]),
    [0, 1, 2, 3, 4, 5].map((n) => frame(60, n)[20]),
  );
});

/** Gives the driver's receive queue buffers. @returns their addresses */
function buffers({ driver }: NetBench, sizes: readonly number[], queue = 0): number[] {
  const at = sizes.flatMap((size) => driver.send(queue, [{ bytes: new Uint8Array(size), write: true }]));
  driver.back.serve();
  return at;
}
/** What the driver got. @returns the frames' bytes with their headers, by buffer */
function received({ driver }: NetBench, at: readonly number[], queue = 0): Uint8Array[] {
  return driver.used(queue).map(([, length], n) => driver.bytes(at[n]!, length));
}

test("a frame fills one buffer, with a header that says what is left to do", async () => {
  for (const mask of [~0n, without(NetFeature.MRG_RXBUF)]) {
    const bench = startNet({ mask });
    const at = buffers(bench, [2000, 2000, 2000]);
    const checksum = { start: 34, offset: 16 };
    assert.ok(bench.device.receive({ bytes: frame(60) }));
    assert.ok(bench.device.receive({ bytes: frame(1514, 1), checksum }));
    const tcp = frame(1800, 2);
    tcp[34 + 12] = 0x80;
    assert.ok(bench.device.receive({ bytes: tcp, checksum, segment: { protocol: "tcp6", sizeBytes: 600 } }));
    await tick();
    assert.equal(bench.driver.interrupt(), 1);
    const [plain, summed, cut] = received(bench, at);
    assert.deepEqual(plain, Uint8Array.of(...Array(10).fill(0), 1, 0, ...frame(60)));
    assert.deepEqual(summed!.slice(0, 12), Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0));
    assert.deepEqual(summed!.slice(12), frame(1514, 1));
    assert.deepEqual(cut!.slice(0, 12), Uint8Array.of(1, 4, 66, 0, 600 & 255, 600 >> 8, 34, 0, 16, 0, 1, 0));
  }
});

test("a large packet fills several merged buffers, which the driver sees at once", async () => {
  const bench = startNet();
  const bytes = frame(60_000);
  const sizes = [1536, 100, 30_000, 12, 1, 40_000, 1536];
  const at = buffers(bench, sizes);
  const packet: Packet = { bytes, checksum: { start: 34, offset: 16 }, segment: { protocol: "tcp4", sizeBytes: 1448 } };
  assert.ok(bench.device.receive(packet));
  await tick();
  const parts = received(bench, at);
  assert.deepEqual(
    parts.map((part) => part.length),
    [1536, 100, 30_000, 12, 1, 60_012 - 31_649],
  );
  assert.equal(parts[0]![10], 6, "num_buffers");
  assert.deepEqual(Buffer.concat(parts).subarray(12), Buffer.from(bytes));
});

test("without merged buffers a packet needs one that holds it", async () => {
  const bench = startNet({ mask: without(NetFeature.MRG_RXBUF) });
  const at = buffers(bench, [500, 2000]);
  assert.ok(bench.device.receive({ bytes: frame(1000) }));
  assert.ok(bench.device.receive({ bytes: frame(1000, 1) }));
  await tick();
  const [small, large] = received(bench, at);
  assert.equal(small!.length, 0);
  assert.deepEqual(large!.slice(12), frame(1000, 1));
  assert.equal(bench.device.counters.receivedLost, 1);
});

test("frames wait for buffers in order; the queue is bounded, and says when there is room again", async () => {
  const bench = startNet();
  const { device, cable } = bench;
  let accepted = 0;
  while (device.receive({ bytes: frame(1514, accepted) })) accepted++;
  assert.ok(accepted > 600 && accepted < 800, `${accepted}`);
  assert.equal(device.receive({ bytes: frame(60) }), false);
  assert.equal(cable.roomTold, 0);
  const at = buffers(bench, Array(10).fill(1600));
  assert.deepEqual(
    received(bench, at).map((part) => part[12 + 20]),
    Array.from({ length: 10 }, (_, n) => frame(60, n)[20]),
  );
  assert.equal(cable.roomTold, 0, "not for a little room");
  // The same memory again and again.
  for (let n = 0; n < accepted / 2; n++) {
    bench.driver.describe(0, n % 64, at[0]!, 1600, 2, 0);
    bench.driver.offer(0, n % 64);
    bench.driver.back.serve();
  }
  assert.equal(cable.roomTold, 1);
  assert.ok(device.receive({ bytes: frame(60) }));
});

test("tiny frames are bounded by their number", () => {
  const { device } = startNet();
  let accepted = 0;
  while (device.receive({ bytes: frame(14) })) accepted++;
  assert.ok(accepted <= 4096, `${accepted}`);
});

test("a ring full of buffers too small for a packet does not stop the ones behind it", async () => {
  const bench = startNet();
  const at = buffers(bench, Array(64).fill(20));
  assert.ok(bench.device.receive({ bytes: frame(1514) }));
  assert.ok(bench.device.receive({ bytes: frame(60, 1) }));
  await tick();
  assert.equal(bench.device.counters.receivedLost, 1);
  assert.deepEqual(Buffer.concat(received(bench, at)).subarray(12), Buffer.from(frame(60, 1)));
});

test("a buffer too small for a header is given back and costs one frame", async () => {
  const bench = startNet();
  const at = buffers(bench, [11, 100]);
  assert.ok(bench.device.receive({ bytes: frame(60) }));
  assert.ok(bench.device.receive({ bytes: frame(60, 1) }));
  await tick();
  const [small, good] = received(bench, at);
  assert.equal(small!.length, 0);
  assert.deepEqual(good!.slice(12), frame(60, 1));
});

test("packets that the driver cannot take are lost, even when they waited while it changed its mind", () => {
  const bench = startNet();
  const packet: Packet = { bytes: frame(60), checksum: { start: 34, offset: 16 } };
  assert.ok(bench.device.receive(packet));
  const bits = 0n;
  assert.equal(
    command(bench, [5, 0, ...Array.from({ length: 8 }, (_, n) => Number((bits >> BigInt(8 * n)) & 255n))]),
    0,
  );
  assert.deepEqual(bench.device.offloads, { checksum: false, tcp4: false, tcp6: false });
  const at = buffers(bench, [2000]);
  assert.deepEqual([received(bench, at).length, bench.device.counters.receivedLost], [0, 1]);
  const old = startNet({ mask: without(...GUEST_OFFLOADS) });
  assert.deepEqual(old.device.offloads, { checksum: false, tcp4: false, tcp6: false });
});

test("one interrupt for what comes in one turn", async () => {
  const bench = startNet();
  buffers(bench, Array(20).fill(2000));
  for (let n = 0; n < 20; n++) bench.device.receive({ bytes: frame(60) });
  assert.equal(bench.driver.interrupt(), 0);
  await tick();
  assert.equal(bench.driver.interrupt(), 1);
  assert.equal(bench.driver.interrupt(), 0);
});

test("an unplugged cable and a driver that is not there take frames and lose them", () => {
  const bench = startNet();
  buffers(bench, [2000]);
  bench.device.unplug();
  assert.deepEqual([bench.cable.closed, bench.cable.onRoom], [true, undefined]);
  assert.ok(bench.device.receive({ bytes: frame(60) }));
  assert.equal(bench.driver.used(0).length, 0);
  assert.ok(transmit(bench, [{ bytes: header() }, { bytes: frame(60) }]));
  assert.equal(bench.cable.sent.length, 0);
  const device = new NetDevice({ mac: MAC });
  device.plug(new TestCable());
  for (let n = 0; n < 10_000; n++) assert.ok(device.receive({ bytes: frame(1000) }));
});

test("a reset forgets what waited, and frees who waits", () => {
  const bench = startNet();
  const { device, driver, cable } = bench;
  while (device.receive({ bytes: frame(1514) }));
  cable.room = 0;
  driver.send(1, [{ bytes: header() }, { bytes: frame(60) }]);
  driver.back.serve();
  assert.ok(driver.start(queuesOf()));
  driver.back.serve();
  assert.equal(cable.roomTold, 1);
  cable.room = Infinity;
  cable.onRoom!();
  assert.equal(cable.sent.length, 0);
  const at = buffers(bench, [2000]);
  assert.equal(received(bench, at).length, 0);
});

test("a flow comes back to the pair of queues that sent it", async () => {
  const bench = startNet({ queuePairs: 4 });
  const ip = (from: number, to: number): Uint8Array => {
    const bytes = frame(60);
    bytes.set([8, 0, 0x45], 12);
    bytes.set([0, 0], 20);
    bytes.set([10, 0, 0, from, 10, 0, 0, to, from, from, to, to], 26);
    return bytes;
  };
  for (let queue = 0; queue < 8; queue += 2) buffers(bench, Array(8).fill(200), queue);
  assert.equal(command(bench, [4, 0, 4, 0], 8), 0);
  for (const pair of [0, 1, 2, 3])
    assert.ok(transmit(bench, [{ bytes: header() }, { bytes: ip(1, 10 + pair) }], 2 * pair + 1));
  for (const pair of [3, 1, 2, 0, 3]) bench.device.receive({ bytes: ip(10 + pair, 1) });
  await tick();
  assert.deepEqual(
    [0, 2, 4, 6].map((queue) => bench.driver.used(queue).length),
    [1, 1, 1, 2],
  );
  assert.equal(command(bench, [4, 0, 1, 0], 8), 0);
  for (const pair of [1, 2, 3]) bench.device.receive({ bytes: ip(10 + pair, 1) });
  await tick();
  assert.equal(bench.driver.used(0).length, 3);
});

test("hostile drivers: never throws, hangs, or grows", async () => {
  const part = fc.record({
    bytes: fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.nat(3000).map((n) => new Uint8Array(n)),
    ),
    write: fc.boolean(),
  });
  const step = fc.oneof(
    fc.record({
      do: fc.constant("send" as const),
      queue: fc.nat(4),
      parts: fc.array(part, { minLength: 1, maxLength: 4 }),
      indirect: fc.boolean(),
    }),
    fc.record({
      do: fc.constant("receive" as const),
      length: fc.nat({ max: 20_000 }).map((n) => n + 14),
      large: fc.boolean(),
    }),
    fc.record({ do: fc.constant("register" as const), offset: fc.nat(0x40).map((n) => n * 4), value: fc.nat(70) }),
    fc.record({
      do: fc.constant("reset" as const),
      mask: fc.bigInt({ min: 0n, max: 0xffffffffn }).map((mask) => mask | (1n << 32n)),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const device = new NetDevice({ mac: MAC, queuePairs: 2 });
      const driver = new TestDriver(device);
      const cable = new TestCable();
      device.plug(cable);
      driver.start(5);
      for (const action of steps) {
        if (action.do === "send")
          driver.send(
            action.queue,
            action.parts.map(({ bytes, write }, n, all) => ({ bytes, write: write || (n > 0 && all[n - 1]!.write) })),
            action.indirect,
          );
        else if (action.do === "register") driver.put(action.offset, action.value);
        else if (action.do === "reset") driver.start(5, driver.deviceFeatures() & action.mask);
        else {
          const large: Partial<Packet> = {
            checksum: { start: 34, offset: 16 },
            segment: { protocol: "tcp4", sizeBytes: 500 },
          };
          device.receive({ bytes: frame(action.length), ...(action.large && action.length > 60 ? large : {}) });
        }
        driver.back.serve();
        await tick();
      }
      for (const { bytes, checksum, segment } of cable.sent) {
        assert.ok(bytes.length >= 14 && bytes.length <= MAX_PACKET_BYTES);
        if (checksum) assert.ok(checksum.start + checksum.offset + 2 <= bytes.length);
        if (segment) assert.ok(segment.sizeBytes > 0 && checksum);
      }
      cable.sent.length = 0;
      assert.ok(driver.start(5), "works again after a reset");
      driver.send(1, [{ bytes: header() }, { bytes: frame(60) }]);
      driver.back.serve();
      assert.equal(cable.sent.length, 1);
    }),
    { numRuns: 150 },
  );
});

test("released memory is used again, and never by two packets", async () => {
  const bench = startNet();
  const lengths = [20_000, 30_000, 20_000];
  const fields = { flags: 1, gsoType: 1, gsoSize: 1448, start: 34, offset: 16 };
  for (const [n, length] of lengths.entries())
    assert.ok(transmit(bench, [{ bytes: header(fields) }, { bytes: frame(length, n) }]));
  const [first, second, third] = bench.cable.sent.splice(0);
  first!.release!();
  first!.release!();
  bench.driver.recycle();
  for (const n of [3, 4]) assert.ok(transmit(bench, [{ bytes: header(fields) }, { bytes: frame(25_000, n) }]));
  const [fourth, fifth] = bench.cable.sent.splice(0);
  assert.equal(fourth!.bytes.buffer, first!.bytes.buffer);
  assert.equal(new Set([second, third, fourth, fifth].map((packet) => packet!.bytes.buffer)).size, 4);
  assert.deepEqual(Uint8Array.from(second!.bytes), frame(30_000, 1));
  assert.deepEqual(Uint8Array.from(third!.bytes), frame(20_000, 2));
  // A receiver releases what it has copied.
  bench.driver.recycle();
  buffers(bench, [40_000]);
  const released: Packet[] = [];
  const packet: Packet = { bytes: frame(60), release: () => void released.push(packet) };
  assert.ok(bench.device.receive(packet));
  assert.deepEqual(released, [packet]);
});
