import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Ipv4Packet, PAYLOAD_START, putHeaders } from "./ipv4.ts";
import { Reassembly } from "./reassembly.ts";

const PAYLOAD = Uint8Array.from({ length: 4000 }, (_, index) => index * 7);

function fragment(from: number, to: number, more: boolean, identification = 1): Ipv4Packet {
  const frame = new Uint8Array(PAYLOAD_START + to - from);
  const addresses = { sourceMac: 1, destinationMac: 2, source: 0x0a00020f, destination: 0x08080808, protocol: 17 };
  putHeaders(frame, { ...addresses, identification, fragmentOffset: from, moreFragments: more });
  for (let at = from; at < to; at++) frame[PAYLOAD_START + at - from] = PAYLOAD[at % PAYLOAD.length]!;
  const packet = new Ipv4Packet();
  assert.ok(packet.read(frame, false));
  return packet;
}
function payloadOf(frame: Uint8Array): Uint8Array {
  const packet = new Ipv4Packet();
  assert.ok(packet.read(frame, false));
  assert.equal(packet.moreFragments, false);
  return packet.bytes.subarray(packet.start, packet.end);
}

describe("fragments", () => {
  test("come together in every order, those of several datagrams at once", () => {
    const cuts = [0, 8, 1480, 2960, 3000, 4000];
    const parts = [1, 2, 3].flatMap((id) => cuts.slice(1).map((_, index) => ({ id, index })));
    fc.assert(
      fc.property(fc.shuffledSubarray(parts, { minLength: parts.length }), (order) => {
        const reassembly = new Reassembly();
        const whole = order.flatMap(({ id, index }) => {
          const frame = reassembly.add(fragment(cuts[index]!, cuts[index + 1]!, index < cuts.length - 2, id));
          return frame === undefined ? [] : [payloadOf(frame)];
        });
        assert.equal(whole.length, 3);
        for (const each of whole) assert.deepEqual(Buffer.from(each), Buffer.from(PAYLOAD));
        assert.equal(reassembly.size, 0);
      }),
      { numRuns: 50 },
    );
  });
  test("that overlap, or go on behind the last one, take their datagram with them", () => {
    for (const bad of [
      fragment(8, 24, true),
      fragment(0, 16, true),
      fragment(2992, 4000, false),
      fragment(4000, 4008, true),
    ]) {
      const reassembly = new Reassembly();
      reassembly.add(fragment(0, 16, true));
      reassembly.add(fragment(3000, 4000, false));
      assert.equal(reassembly.add(bad), undefined);
      assert.equal(reassembly.size, 0);
    }
  });
  test("beyond 64 KiB, of no length or of odd length are refused", () => {
    const reassembly = new Reassembly();
    assert.equal(reassembly.add(fragment(65_528, 65_536, false)), undefined);
    assert.equal(reassembly.add(fragment(8, 8, true)), undefined);
    assert.equal(reassembly.add(fragment(0, 9, true)), undefined);
    assert.equal(reassembly.size, 0);
  });
  test("that never become whole are bounded in number and time", () => {
    let now = 0;
    const reassembly = new Reassembly(() => now);
    for (let id = 0; id < 1000; id++) reassembly.add(fragment(0, 8, true, id));
    assert.equal(reassembly.size, 32);
    now = 20_000;
    reassembly.add(fragment(0, 8, true, 2000));
    assert.equal(reassembly.size, 1);
    for (let index = 1; index < 500; index++) reassembly.add(fragment(index * 8, index * 8 + 8, true, 2000));
    assert.ok(reassembly.size <= 1);
  });
  test("in any order and of any shape never make it throw", () => {
    const shapes = fc.array(fc.tuple(fc.nat(8191), fc.nat(300), fc.boolean(), fc.nat(3)), { maxLength: 60 });
    fc.assert(
      fc.property(shapes, (all) => {
        const reassembly = new Reassembly();
        for (const [offset, length, more, id] of all) {
          const frame = reassembly.add(fragment(offset * 8, offset * 8 + length, more, id));
          if (frame !== undefined) assert.ok(payloadOf(frame).length > 0);
        }
      }),
    );
  });
});
