import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { foldSum, sumBytes } from "./checksum.ts";
import { finish } from "./offload.ts";
import type { Packet } from "./packet.ts";
import { isRight, tcpPacket } from "./test-packets.ts";

const NONE = { checksum: false, tcp4: false, tcp6: false };
const CHECKSUM = { checksum: true, tcp4: false, tcp6: false };

test("the sum is RFC 1071's, whatever the bounds", () => {
  assert.equal(foldSum(sumBytes(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8)), 0xddf2);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(200), (bytes, a, b) => {
      const [start, end] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
      let sum = 0n;
      for (let at = start; at < end; at++) sum += BigInt(bytes[at]!) << ((at - start) % 2 === 0 ? 8n : 0n);
      while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n);
      assert.equal(foldSum(sumBytes(bytes, start, end)), Number(sum));
    }),
  );
  assert.equal(foldSum(sumBytes(new Uint8Array(65_550).fill(255), 0, 65_550)), 0xffff);
});

test("a packet cut in software says what it said, in segments of at most the size, each with right sums", () => {
  const shape = fc.record({
    version: fc.constantFrom<4 | 6>(4, 6),
    payload: fc.nat(9000),
    sizeBytes: fc.integer({ min: 8, max: 3000 }),
    options: fc.nat(10).map((n) => 4 * n),
    tagged: fc.boolean(),
    sequence: fc.integer({ min: 0, max: 0xffffffff }),
    id: fc.nat(0xffff),
    extension: fc.boolean(),
  });
  fc.assert(
    fc.property(shape, fc.constantFrom(NONE, CHECKSUM), (fields, offloads) => {
      const { packet, tcp, payloadAt } = tcpPacket(fields);
      const parts = finish(packet, offloads);
      assert.equal(parts.length, Math.max(1, Math.ceil(fields.payload / fields.sizeBytes)));
      parts.forEach((part, n) => {
        const last = n === parts.length - 1;
        assert.equal(part.segment, undefined);
        assert.deepEqual(part.checksum, offloads.checksum ? packet.checksum : undefined);
        const [finished] = finish(part, NONE);
        assert.ok(isRight(finished!.bytes, fields), `segment ${n}`);
        const view = new DataView(part.bytes.buffer, part.bytes.byteOffset, part.bytes.length);
        assert.equal(view.getUint32(tcp + 4), (fields.sequence + n * fields.sizeBytes) % 0x1_0000_0000);
        assert.equal(part.bytes[tcp + 13], 0x10 | (last ? 0x09 : 0) | (n === 0 ? 0x80 : 0));
        if (fields.version === 4) assert.equal(view.getUint16((fields.tagged ? 18 : 14) + 4), (fields.id + n) & 0xffff);
        assert.ok(part.bytes.length - payloadAt <= fields.sizeBytes);
      });
      const joined = Buffer.concat(parts.map(({ bytes }) => bytes.subarray(payloadAt)));
      assert.deepEqual(joined, Buffer.from(packet.bytes.subarray(payloadAt)));
    }),
  );
});

test("what a receiver can take comes back as it is", () => {
  const { packet } = tcpPacket({ version: 4, payload: 5000, sizeBytes: 1448 });
  assert.deepEqual(finish(packet, { checksum: true, tcp4: true, tcp6: false }), [packet]);
  const plain: Packet = { bytes: packet.bytes };
  assert.equal(finish(plain, NONE)[0], plain);
});

test("a missing sum of zero becomes all ones, and the sender's bytes are not touched", () => {
  const bytes = new Uint8Array(60);
  const [done] = finish({ bytes, checksum: { start: 34, offset: 6 } }, NONE);
  assert.deepEqual([...done!.bytes.subarray(40, 42)], [0xff, 0xff]);
  assert.ok(bytes.every((byte) => byte === 0));
});

test("packets that are not the TCP that they are said to be are lost, and none throws", () => {
  const { packet, tcp } = tcpPacket({ version: 4, payload: 100, sizeBytes: 50 });
  const changed = (at: number, value: number): Packet => {
    const bytes = Uint8Array.from(packet.bytes);
    bytes[at] = value;
    return { ...packet, bytes };
  };
  const bad: Packet[] = [
    changed(12, 0x86),
    changed(14, 0x65),
    changed(14, 0x46),
    changed(14, 0x44),
    changed(23, 17),
    changed(tcp + 12, 0x40),
    { ...packet, checksum: { start: tcp, offset: 6 } },
    { ...packet, checksum: { start: tcp + 2, offset: 16 } },
    { ...packet, segment: { protocol: "tcp6", sizeBytes: 50 } },
    { ...packet, bytes: packet.bytes.subarray(0, tcp + 19) },
    { ...changed(tcp + 12, 0xf0), bytes: changed(tcp + 12, 0xf0).bytes.subarray(0, tcp + 40) },
  ];
  for (const [n, one] of bad.entries()) assert.deepEqual(finish(one, NONE), [], `case ${n}`);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 36, maxLength: 200 }),
      fc.nat(300),
      fc.constantFrom<"tcp4" | "tcp6">("tcp4", "tcp6"),
      (bytes, start, protocol) => {
        const at = 14 + (start % (bytes.length - 32));
        finish({ bytes, checksum: { start: at, offset: 16 }, segment: { protocol, sizeBytes: 8 } }, NONE);
      },
    ),
  );
});
