import assert from "node:assert/strict";
import { test } from "node:test";
import { NetFeature } from "./net-header.ts";
import { MAC_BYTES, type NetBench, command, frame, queuesOf, startNet, without } from "./test-net.ts";

const [DONE, REFUSED] = [0, 1];
const u32 = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24];
const u64 = (...features: number[]): number[] => {
  const bits = features.reduce((mask, feature) => mask | (1n << BigInt(feature)), 0n);
  return Array.from({ length: 8 }, (_, n) => Number((bits >> BigInt(8 * n)) & 255n));
};
const BROADCAST = Array<number>(6).fill(255);
const OTHER = [2, 0, 0, 0, 0, 0xbb];
const GROUP = [1, 0, 0x5e, 0, 0, 1];
const OTHER_GROUP = [1, 0, 0x5e, 0, 0, 2];

/** Which of the destinations reach the driver. */
async function seen(bench: NetBench, destinations: readonly (readonly number[])[]): Promise<boolean[]> {
  const result = [];
  for (const destination of destinations) {
    bench.driver.send(0, [{ bytes: new Uint8Array(200), write: true }]);
    const bytes = frame(60);
    bytes.set(destination);
    const before = bench.device.counters.receivedPackets;
    bench.device.receive({ bytes });
    await Promise.resolve();
    result.push(bench.device.counters.receivedPackets > before);
  }
  return result;
}
const EVERYONE = [MAC_BYTES, BROADCAST, OTHER, GROUP, OTHER_GROUP];

test("the driver sees its own and broadcast frames, and what else it asks for", async () => {
  const bench = startNet();
  const ask = async (bytes: number[]): Promise<boolean[]> => {
    assert.equal(command(bench, bytes), DONE);
    return seen(bench, EVERYONE);
  };
  assert.deepEqual(await seen(bench, EVERYONE), [true, true, false, false, false]);
  assert.deepEqual(await ask([1, 0, ...u32(1), ...OTHER, ...u32(1), ...GROUP]), [true, true, true, true, false]);
  assert.deepEqual(await ask([1, 0, ...u32(0), ...u32(1), ...OTHER_GROUP]), [true, true, false, false, true]);
  assert.deepEqual(await ask([0, 1, 1]), [true, true, false, true, true]);
  assert.deepEqual(await ask([0, 0, 1]), [true, true, true, true, true]);
  assert.deepEqual(await ask([0, 0, 0]), [true, true, false, true, true]);
  assert.deepEqual(await ask([0, 1, 0]), [true, true, false, false, true]);
  const many = Array.from({ length: 65 }, (_, n) => [1, 0, 0x5e, 1, 0, n]).flat();
  assert.deepEqual(await ask([1, 0, ...u32(0), ...u32(65), ...many]), [true, true, false, true, true]);
});

test("a driver that cannot say what it wants gets everything; so does none after a reset", async () => {
  assert.deepEqual(await seen(startNet({ mask: without(NetFeature.CTRL_RX) }), EVERYONE), Array(5).fill(true));
  const bench = startNet();
  assert.equal(command(bench, [0, 0, 1]), DONE);
  assert.ok(bench.driver.start(queuesOf()));
  bench.driver.back.serve();
  assert.deepEqual(await seen(bench, EVERYONE), [true, true, false, false, false]);
});

test("only the assigned MAC address can be set", () => {
  const bench = startNet();
  assert.equal(command(bench, [1, 1, ...MAC_BYTES]), DONE);
  assert.equal(command(bench, [1, 1, ...OTHER]), REFUSED);
});

test("offloads for received packets can be turned off and on", () => {
  const bench = startNet({ mask: without(NetFeature.GUEST_TSO6) });
  assert.deepEqual(bench.device.offloads, { checksum: true, tcp4: true, tcp6: false });
  assert.equal(command(bench, [5, 0, ...u64(NetFeature.GUEST_CSUM)]), DONE);
  assert.deepEqual(bench.device.offloads, { checksum: true, tcp4: false, tcp6: false });
  assert.equal(command(bench, [5, 0, ...u64(NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO6)]), REFUSED);
  assert.equal(command(bench, [5, 0, ...u64(63)]), REFUSED);
  assert.equal(command(bench, [5, 0, ...u64(NetFeature.GUEST_TSO4)]), DONE);
  assert.deepEqual(bench.device.offloads, { checksum: false, tcp4: false, tcp6: false });
  assert.ok(bench.driver.start(queuesOf()));
  bench.driver.back.serve();
  assert.deepEqual(bench.device.offloads, { checksum: true, tcp4: true, tcp6: true });
});

test("the control queue is behind all pairs, or third for a driver that knows one pair", () => {
  assert.equal(command(startNet({ queuePairs: 3 }), [0, 0, 1], 6), DONE);
  assert.equal(command(startNet({ queuePairs: 3, mask: without(NetFeature.MQ) }), [0, 0, 1], 2), DONE);
  const bench = startNet({ queuePairs: 3 });
  for (const pairs of [1, 3]) assert.equal(command(bench, [4, 0, pairs, 0], 6), DONE);
  for (const pairs of [0, 4, 255]) assert.equal(command(bench, [4, 0, pairs, pairs], 6), REFUSED);
});

const refused: [string, number[]][] = [
  ["nothing", []],
  ["one byte", [0]],
  ["no argument", [0, 0]],
  ["an unknown class", [9, 0, 1]],
  ["an unknown command", [0, 7, 1]],
  ["VLAN filters", [2, 0, 1, 0]],
  ["half a MAC address", [1, 1, 2, 0, 0]],
  ["a table of no length", [1, 0, 1, 0]],
  ["a table longer than the command", [1, 0, ...u32(2), ...OTHER, ...u32(0)]],
  ["a second table that is missing", [1, 0, ...u32(1), ...OTHER]],
  ["a table of 2^32 − 1 addresses", [1, 0, ...u32(0xffffffff), ...OTHER]],
  ["half of the offloads", [5, 0, 1, 0, 0]],
  ["pairs without MQ", [4, 0, 1, 0]],
  ["a command of 9000 bytes", [0, 0, ...Array<number>(9000).fill(1)]],
];
for (const [what, bytes] of refused)
  test(`refuses ${what}`, async () => {
    const bench = startNet();
    assert.equal(command(bench, bytes), REFUSED);
    assert.deepEqual(await seen(bench, EVERYONE), [true, true, false, false, false]);
    assert.equal(command(bench, [0, 0, 1]), DONE);
  });

test("a command without room for its answer is carried out and given back", () => {
  const bench = startNet();
  bench.driver.send(2, [{ bytes: [0, 0, 1] }]);
  bench.driver.back.serve();
  assert.deepEqual(
    bench.driver.used(2).map(([, written]) => written),
    [0],
  );
});
