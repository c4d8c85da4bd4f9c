import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ISOLATED, ipv4At, putIpv4, putMac } from "../address.ts";
import { answerDhcp } from "./dhcp.ts";

const MAC = 0x0212_3456_789a;
const NETWORK = { gateway: ISOLATED.gateway, dns: ISOLATED.dns, prefix: 24, mtuBytes: 1500, domain: "mere.internal" };
const find = (mac: number) => (mac === MAC ? { ipv4: ISOLATED.guest, hostname: "box" } : undefined);

function message(kind: number, options: number[] = [], fields: { client?: number; flags?: number; mac?: number } = {}) {
  const bytes = new Uint8Array(300);
  bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
  bytes[10] = (fields.flags ?? 0) >>> 8;
  putIpv4(bytes, 12, fields.client ?? 0);
  putMac(bytes, 28, fields.mac ?? MAC);
  bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, kind, ...options, 255], 236);
  return bytes;
}
function optionsOf(reply: Uint8Array): Map<number, number[]> {
  const options = new Map<number, number[]>();
  for (let at = 240; reply[at] !== 255; at += 2 + reply[at + 1]!)
    options.set(reply[at]!, [...reply.subarray(at + 2, at + 2 + reply[at + 1]!)]);
  return options;
}
const ADDRESS = [10, 0, 2, 15];

describe("a DHCP client", () => {
  test("that discovers is offered its address with all that it needs", () => {
    const reply = answerDhcp(message(1), NETWORK, find)!;
    const options = optionsOf(reply.message);
    assert.equal(reply.message[0], 2);
    assert.deepEqual([...reply.message.subarray(4, 8)], [0xde, 0xad, 0xbe, 0xef]);
    assert.equal(ipv4At(reply.message, 16), ISOLATED.guest);
    assert.deepEqual([reply.to, reply.mac], [ISOLATED.guest, MAC]);
    assert.deepEqual(options.get(53), [2]);
    assert.deepEqual(options.get(54), [10, 0, 2, 2]);
    assert.deepEqual(options.get(1), [255, 255, 255, 0]);
    assert.deepEqual(options.get(3), [10, 0, 2, 2]);
    assert.deepEqual(options.get(6), [10, 0, 2, 3]);
    assert.deepEqual(options.get(28), [10, 0, 2, 255]);
    assert.deepEqual(options.get(26), [5, 220]);
    assert.equal(String.fromCharCode(...options.get(12)!), "box");
    assert.equal(String.fromCharCode(...options.get(15)!), "mere.internal");
    assert.deepEqual(
      [51, 58, 59].map((code) => ipv4At(Uint8Array.from(options.get(code)!), 0)),
      [86_400, 43_200, 75_600],
    );
  });
  test("that cannot hear its address yet is answered by broadcast", () => {
    assert.equal(answerDhcp(message(1, [], { flags: 0x8000 }), NETWORK, find)!.to, undefined);
  });
  test("that requests its address gets it, another one is refused", () => {
    const kindOf = (bytes: Uint8Array) => optionsOf(answerDhcp(bytes, NETWORK, find)!.message).get(53);
    assert.deepEqual(kindOf(message(3, [50, 4, ...ADDRESS, 54, 4, 10, 0, 2, 2])), [5]);
    assert.deepEqual(kindOf(message(3, [50, 4, 10, 0, 2, 16])), [6]);
    assert.deepEqual(kindOf(message(3, [], { client: ISOLATED.guest })), [5]);
    assert.deepEqual(kindOf(message(3, [], { client: 0x01020304 })), [6]);
    assert.equal(answerDhcp(message(3, [50, 4, 10, 0, 2, 16]), NETWORK, find)!.to, undefined);
  });
  test("that renews is answered at its address", () => {
    assert.equal(answerDhcp(message(3, [], { client: ISOLATED.guest }), NETWORK, find)!.to, ISOLATED.guest);
  });
  test("that only asks for parameters gets them without a lease", () => {
    const options = optionsOf(answerDhcp(message(8, [], { client: ISOLATED.guest }), NETWORK, find)!.message);
    assert.deepEqual(options.get(53), [5]);
    assert.deepEqual(options.get(6), [10, 0, 2, 3]);
    assert.equal(options.has(51), false);
  });
  test("is not answered where no answer is due", () => {
    for (const kind of [0, 2, 4, 5, 6, 7, 9, 255]) assert.equal(answerDhcp(message(kind), NETWORK, find), undefined);
    assert.equal(answerDhcp(message(1, [], { mac: 1 }), NETWORK, find), undefined);
    assert.equal(answerDhcp(message(3, [50, 4, ...ADDRESS, 54, 4, 10, 0, 2, 99]), NETWORK, find), undefined);
    assert.equal(answerDhcp(message(1).subarray(0, 239), NETWORK, find), undefined);
  });
  test("that sends anything never makes it throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(12), (tail, kind) => {
        const bytes = message(kind);
        bytes.set(tail, 243);
        answerDhcp(bytes.subarray(0, 243 + tail.length), NETWORK, find);
      }),
    );
  });
});
