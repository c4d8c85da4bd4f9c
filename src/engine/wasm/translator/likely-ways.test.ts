import assert from "node:assert/strict";
import { test } from "node:test";
import { LikelyWays, takenShare } from "./likely-ways.ts";

/** Offsets in the order in which they come. */
function order(ways: LikelyWays, add: (offset: number, weight: number) => void = () => {}): number[] {
  const offsets: number[] = [];
  for (let way = ways.next(); way !== undefined; way = ways.next()) {
    offsets.push(way.offset);
    add(way.offset, way.weight);
  }
  return offsets;
}

test("a branch's share of being taken is told by its last sixteen results, and is never certain", () => {
  const shares = [0, 1, 0x00ff, 0x8001, 0xffff].map(takenShare);
  assert.deepEqual(
    shares.map((share) => Math.round(share * 34)),
    [1, 3, 17, 5, 33],
  );
});
test("the likeliest way comes first, each once, the first of equals before the others", () => {
  const ways = new LikelyWays(0);
  const next: Record<number, [number, number][]> = {
    0: [
      [10, 0.1],
      [20, 0.9],
      [0, 1],
    ],
    20: [
      [30, 0.5],
      [40, 0.5],
      [10, 0.3],
    ],
  };
  const offsets = order(ways, (offset, weight) => {
    for (const [to, share] of next[offset] ?? []) ways.add(to, weight * share);
  });
  assert.deepEqual(offsets, [0, 20, 30, 40, 10]);
});
test("several ways to a place add up", () => {
  const ways = new LikelyWays(0);
  assert.equal(ways.next()!.offset, 0);
  ways.add(1, 0.4);
  ways.add(2, 0.3);
  ways.add(2, 0.3);
  assert.deepEqual(order(ways), [2, 1]);
});
test("what is hardly ever reached, or too far for an offset, is left out", () => {
  const ways = new LikelyWays(0);
  assert.equal(ways.next()!.offset, 0);
  ways.add(1, 1 / 5000);
  ways.add(2, 1 / 4000);
  ways.add(2 ** 30 + 1, 1);
  ways.add(-(2 ** 30), 1);
  assert.deepEqual(order(ways), [-(2 ** 30), 2]);
});
