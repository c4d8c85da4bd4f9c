/* Messages between processes on one network: whole however they are cut, and nothing taken that is not right. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BROADCAST_MAC, GATEWAY_MAC, formatMac } from "./address.ts";
import { LinkReader, type LinkMessage, encodeFrameHeader, encodeHello, encodeMembers } from "./link-codec.ts";
import type { Packet } from "./packet.ts";

const NETWORK = { base: 0x0a800000, prefix: 21 };
const MEMBER = { mac: 0x02_00_00_00_00_01, ipv4: 0x0a800003, hostname: "web" };
const HELLO = { id: "0123456789abcdef", pid: 17, members: [MEMBER] };
const greeting = encodeHello(HELLO);

/** @returns what was taken, then whether the stream was right to its end */
function read(...pieces: Uint8Array[]): { messages: LinkMessage[]; right: boolean } {
  const reader = new LinkReader(NETWORK);
  const messages: LinkMessage[] = [];
  const right = pieces.every((piece) => reader.read(piece, (message) => messages.push(message) > 0));
  return { messages, right };
}
function header(length: number, kind: number, flags = 0, start = 0, offset = 0, size = 0): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32LE(length);
  bytes[4] = kind;
  bytes[5] = flags;
  bytes.writeUInt16LE(start, 6);
  bytes.writeUInt16LE(offset, 8);
  bytes.writeUInt16LE(size, 10);
  return bytes;
}
function text(kind: number, value: unknown, version = 1): Buffer {
  const body = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
  return Buffer.concat([header(body.length, kind, 0, version), body]);
}
const memberText = { mac: "02:00:00:00:00:01", ipv4: "10.128.0.3", hostname: "web" };

test("what was written is read, wherever the pieces end", () => {
  const packets: Packet[] = [14, 60, 8191, 8192, 9000, 65_549].map((length, n) => ({
    bytes: Uint8Array.from({ length }, (_, at) => at * 7 + n),
    ...(n % 2 === 1 && { checksum: { start: 34, offset: 16 } }),
    ...(n % 4 === 3 && { segment: { protocol: n === 3 ? "tcp4" : "tcp6", sizeBytes: 1448 } as const }),
  }));
  const stream = Buffer.concat([
    greeting,
    ...packets.flatMap((packet) => [encodeFrameHeader(packet), packet.bytes]),
    encodeMembers([]),
    encodeMembers([MEMBER, { ...MEMBER, mac: MEMBER.mac + 1, ipv4: MEMBER.ipv4 + 1 }]),
  ]);
  const check = (cuts: readonly number[]): void => {
    const ends = [...new Set([...cuts, stream.length])].toSorted((a, b) => a - b);
    const { messages, right } = read(...ends.map((end, n) => stream.subarray(ends[n - 1] ?? 0, end)));
    assert.ok(right);
    assert.deepEqual(messages[0], { kind: "hello", hello: HELLO });
    for (const [n, { bytes, checksum, segment }] of packets.entries()) {
      const message = messages[n + 1]!;
      assert.ok(message.kind === "packet");
      assert.ok(Buffer.from(bytes).equals(message.packet.bytes));
      assert.deepEqual([message.packet.checksum, message.packet.segment], [checksum, segment]);
    }
    assert.deepEqual(messages[7], { kind: "members", members: [] });
    assert.equal(messages[8]!.kind === "members" && messages[8]!.members[1]!.ipv4, MEMBER.ipv4 + 1);
    assert.equal(messages.length, 9);
  };
  check([]);
  check(Array.from({ length: stream.length }, (_, at) => at));
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 40 }), check), {
    numRuns: 30,
  });
});

const frame = (length: number): Buffer => Buffer.alloc(length, 1);
const broken: Record<string, Buffer[]> = {
  "a frame before the hello": [header(60, 2), frame(60)],
  "members before the hello": [text(1, [])],
  "a second hello": [greeting, greeting],
  "a hello of no bytes": [header(0, 0, 0, 1)],
  "a hello of too many": [header((1 << 19) + 1, 0, 0, 1)],
  "a hello that is not JSON": [text(0, "{")],
  "a hello that is null": [text(0, null)],
  "a hello without members": [text(0, { id: HELLO.id, pid: 1 })],
  "a hello with a path for an identifier": [text(0, { id: "../../../etc/pass", pid: 1, members: [] })],
  "a hello without a process": [text(0, { id: HELLO.id, pid: "1", members: [] })],
  "a kind that there is not": [greeting, header(60, 3), frame(60)],
  "a frame without a header": [greeting, header(13, 2), frame(13)],
  "a frame that is too long": [greeting, header(65_550, 2)],
  "a frame of 4 GiB": [greeting, header(0xffff_ffff, 2)],
  "members of 4 GiB": [greeting, header(0xffff_ffff, 1)],
  "a flag that there is not": [greeting, header(60, 2, 8), frame(60)],
  "a checksum in the Ethernet header": [greeting, header(60, 2, 1, 13, 16), frame(60)],
  "a checksum behind the frame": [greeting, header(60, 2, 1, 34, 25), frame(60)],
  "a checksum far away": [greeting, header(60, 2, 1, 0xffff, 0xffff), frame(60)],
  "segments without a checksum": [greeting, header(60, 2, 2, 34, 16, 1448), frame(60)],
  "segments of two kinds": [greeting, header(60, 2, 7, 34, 16, 1448), frame(60)],
  "segments of no bytes": [greeting, header(60, 2, 3, 34, 16, 0), frame(60)],
  "segments of seven bytes": [greeting, header(60, 2, 3, 34, 16, 7), frame(60)],
  "members that are none": [greeting, text(1, { 0: memberText })],
  "a member that is none": [greeting, text(1, [memberText, null])],
  "a member with a group's MAC": [greeting, text(1, [{ ...memberText, mac: formatMac(BROADCAST_MAC) }])],
  "a member with the gateway's MAC": [greeting, text(1, [{ ...memberText, mac: formatMac(GATEWAY_MAC) }])],
  "a member with half a MAC": [greeting, text(1, [{ ...memberText, mac: "02:00:00" }])],
  "a member with the gateway's address": [greeting, text(1, [{ ...memberText, ipv4: "10.128.0.1" }])],
  "a member with the name server's": [greeting, text(1, [{ ...memberText, ipv4: "10.128.0.2" }])],
  "a member with all's": [greeting, text(1, [{ ...memberText, ipv4: "10.128.7.255" }])],
  "a member of another network": [greeting, text(1, [{ ...memberText, ipv4: "10.128.8.3" }])],
  "a member whose address is a number": [greeting, text(1, [{ ...memberText, ipv4: 0x0a800003 }])],
  "a member with a strange name": [greeting, text(1, [{ ...memberText, hostname: "a\u0000b" }])],
  "a member with a long name": [greeting, text(1, [{ ...memberText, hostname: "a".repeat(65) }])],
  "a member without a name": [greeting, text(1, [{ ...memberText, hostname: undefined }])],
};
for (const [what, pieces] of Object.entries(broken))
  test(`${what} ends it`, () => {
    assert.equal(read(Buffer.concat(pieces)).right, false);
    // Also what comes byte by byte.
    const bytes = Array.from(Buffer.concat(pieces), (byte) => Uint8Array.of(byte));
    assert.equal(read(...bytes).right, false);
  });

test("another version is told, whatever else it says", () => {
  const { messages, right } = read(text(0, "what we do not know", 2));
  assert.deepEqual([messages, right], [[{ kind: "version", version: 2 }], true]);
});

test("nothing is read on that is not wanted", () => {
  const reader = new LinkReader(NETWORK);
  let taken = 0;
  assert.ok(reader.read(Buffer.concat([greeting, encodeMembers([]), encodeMembers([])]), () => ++taken < 2));
  assert.equal(taken, 2);
});

test("no bytes make it throw or take more than they are", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), fc.boolean(), (pieces, greet) => {
      const reader = new LinkReader(NETWORK);
      if (greet) reader.read(greeting, () => true);
      let bytes = 0;
      let given = 0;
      for (const piece of pieces) {
        given += piece.length;
        const right = reader.read(piece, (message) => {
          if (message.kind === "packet") bytes += message.packet.bytes.length;
          return true;
        });
        if (!right) break;
      }
      assert.ok(bytes <= given);
    }),
  );
});
