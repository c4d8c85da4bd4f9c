import assert from "node:assert/strict";
import { test } from "node:test";
import { BROADCAST_MAC, GATEWAY_MAC, putIpv4, putMac } from "./address.ts";
import type { Cable, NetworkEndpoint, Offloads, Packet } from "./packet.ts";
import { type PortOptions, Switch } from "./switch.ts";
import { tcpPacket } from "./test-packets.ts";

class Host implements NetworkEndpoint {
  readonly got: Packet[] = [];
  /** Packets that it still takes. */
  room = Infinity;
  offloads: Offloads | undefined;
  readonly cable: Cable;
  woken = 0;
  constructor(network: Switch, options?: PortOptions) {
    this.cable = network.connect(this, options);
    this.cable.onRoom = () => void this.woken++;
  }
  receive(packet: Packet): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.got.push(packet);
    return true;
  }
}

const A = 0x02_00_00_00_00_01;
const B = 0x02_00_00_00_00_02;
const C = 0x02_00_00_00_00_03;
const OUTSIDE = 0x52_54_00_00_00_01;
const [IP_A, IP_B] = [0x0a000001, 0x0a000002];

function frame(from: number, to: number, type = 0x0800, source = IP_A): Packet {
  const bytes = new Uint8Array(60);
  putMac(bytes, 0, to);
  putMac(bytes, 6, from);
  bytes[12] = type >> 8;
  bytes[13] = type & 255;
  bytes[14] = 0x45;
  putIpv4(bytes, 26, source);
  return { bytes };
}
function arp(from: number, senderMac: number, senderIp: number): Packet {
  const { bytes } = frame(from, BROADCAST_MAC, 0x0806);
  putMac(bytes, 22, senderMac);
  putIpv4(bytes, 28, senderIp);
  return { bytes };
}
function network() {
  const net = new Switch();
  return {
    net,
    a: new Host(net, { mac: A }),
    b: new Host(net, { mac: B }),
    c: new Host(net, { mac: C }),
    gateway: new Host(net),
  };
}

test("a frame goes to whom it is for, a broadcast to all others", () => {
  const { net, a, b, c, gateway } = network();
  const one = frame(A, B);
  assert.ok(a.cable.send(one));
  assert.deepEqual(
    [a, b, c, gateway].map(({ got }) => got.length),
    [0, 1, 0, 0],
  );
  assert.equal(b.got[0], one);
  for (const to of [BROADCAST_MAC, 0x01_00_5e_00_00_01]) assert.ok(a.cable.send(frame(A, to)));
  assert.deepEqual(
    [a, b, c, gateway].map(({ got }) => got.length),
    [0, 3, 2, 2],
  );
  assert.ok(a.cable.send(frame(A, A)));
  assert.equal(a.got.length, 0);
  assert.deepEqual(net.counters, { forwarded: 1, flooded: 2, refused: 0, lost: 0 });
});

test("an unknown address is looked for behind trusted ports only, and learned there", () => {
  const { net, a, b, c, gateway } = network();
  const tap = new Host(net);
  a.cable.send(frame(A, OUTSIDE));
  assert.deepEqual(
    [b, c, gateway, tap].map(({ got }) => got.length),
    [0, 0, 1, 1],
  );
  tap.cable.send(frame(OUTSIDE, A));
  assert.equal(a.got.length, 1);
  a.cable.send(frame(A, OUTSIDE));
  assert.deepEqual(
    [b, c, gateway, tap].map(({ got }) => got.length),
    [0, 0, 1, 2],
  );
  gateway.cable.send(frame(OUTSIDE, A));
  a.cable.send(frame(A, OUTSIDE));
  assert.deepEqual(
    [gateway, tap].map(({ got }) => got.length),
    [2, 2],
    "it has moved",
  );
});

test("what is learned is bounded, and the oldest goes first", () => {
  const { net, a, gateway } = network();
  const tap = new Host(net);
  for (let n = 0; n < 2000; n++) tap.cable.send(frame(OUTSIDE + n, A));
  for (const [n, alsoFlooded] of [
    [0, 1],
    [1999, 1],
    [2000 - 1024, 1],
    [2000 - 1025, 2],
  ] as const) {
    a.cable.send(frame(A, OUTSIDE + n));
    assert.equal(gateway.got.length, alsoFlooded, `${n}`);
  }
});

test("a guest sends from its own address only, a trusted port from none of a guest", () => {
  const { net, a, b, gateway } = network();
  for (const from of [B, GATEWAY_MAC, BROADCAST_MAC, 0, A + 0x0100_0000_0000]) assert.ok(a.cable.send(frame(from, B)));
  for (const from of [A, B, BROADCAST_MAC]) assert.ok(gateway.cable.send(frame(from, B)));
  for (const length of [0, 13]) a.cable.send({ bytes: frame(A, B).bytes.subarray(0, length) });
  a.cable.send({ bytes: new Uint8Array([...frame(A, B).bytes, ...new Uint8Array(65_500)]) });
  assert.equal(b.got.length, 0);
  assert.equal(net.counters.refused, 11);
  gateway.cable.send(frame(GATEWAY_MAC, B));
  assert.equal(b.got.length, 1);
});

test("with an assigned IPv4 address nothing passes but IPv4 from it and ARP for it", () => {
  const net = new Switch();
  const a = new Host(net, { mac: A, ipv4: IP_A });
  const b = new Host(net, { mac: B, ipv4: IP_B });
  const passes = (packet: Packet): boolean => {
    const before = b.got.length;
    assert.ok(a.cable.send(packet));
    return b.got.length > before;
  };
  const dhcp = (port: number, protocol = 17): Packet => {
    const { bytes } = frame(A, BROADCAST_MAC, 0x0800, 0);
    bytes[23] = protocol;
    bytes[37] = port;
    return { bytes };
  };
  const allowed = [frame(A, B), arp(A, A, IP_A), arp(A, A, 0), dhcp(67)];
  const refused = [
    frame(A, B, 0x0800, IP_B),
    frame(A, B, 0x0800, 0),
    frame(A, B, 0x86dd),
    frame(A, B, 0x8100),
    frame(A, B, 0x88cc),
    arp(A, B, IP_A),
    arp(A, A, IP_B),
    dhcp(68),
    dhcp(67, 6),
    { bytes: frame(A, B).bytes.subarray(0, 33) },
    { bytes: arp(A, A, IP_A).bytes.subarray(0, 41) },
    { bytes: dhcp(67).bytes.subarray(0, 41) },
  ];
  for (const [n, packet] of allowed.entries()) assert.ok(passes(packet), `allowed ${n}`);
  for (const [n, packet] of refused.entries()) assert.ok(!passes(packet), `refused ${n}`);
});

test("between a guest and a trusted port who has no room makes the other wait, once", () => {
  const { a, b, gateway } = network();
  a.room = 0;
  assert.equal(gateway.cable.send(frame(GATEWAY_MAC, A)), false);
  assert.equal(gateway.cable.send(frame(GATEWAY_MAC, A)), false);
  gateway.room = 0;
  assert.equal(b.cable.send(frame(B, GATEWAY_MAC)), false);
  a.room = 1;
  a.cable.hasRoom();
  a.cable.hasRoom();
  assert.deepEqual([a.woken, b.woken, gateway.woken], [0, 0, 1]);
  assert.ok(gateway.cable.send(frame(GATEWAY_MAC, A)));
  gateway.cable.hasRoom();
  assert.deepEqual([a.woken, b.woken, gateway.woken], [0, 1, 1]);
});

test("guests never wait for each other, and nobody for a broadcast", () => {
  const { net, a, b, gateway } = network();
  b.room = 0;
  gateway.room = 0;
  assert.ok(a.cable.send(frame(A, B)));
  assert.ok(a.cable.send(frame(A, BROADCAST_MAC)));
  assert.ok(gateway.cable.send(frame(GATEWAY_MAC, BROADCAST_MAC)));
  assert.equal(net.counters.lost, 4);
  b.cable.hasRoom();
  assert.equal(a.woken, 0);
});

test("a pulled cable carries nothing, and who waited for it waits no more", () => {
  const { net, a, b, gateway } = network();
  a.room = 0;
  assert.equal(gateway.cable.send(frame(GATEWAY_MAC, A)), false);
  a.cable.close();
  a.cable.close();
  assert.equal(gateway.woken, 1);
  assert.ok(gateway.cable.send(frame(GATEWAY_MAC, A)));
  assert.ok(a.cable.send(frame(A, B)));
  assert.equal(b.got.length, 0);
  a.cable.hasRoom();
  const again = new Host(net, { mac: A });
  gateway.cable.send(frame(GATEWAY_MAC, A));
  assert.equal(again.got.length, 1);
  gateway.cable.close();
  again.cable.send(frame(A, GATEWAY_MAC));
  assert.equal(gateway.got.length, 0);
});

test("who waits and leaves is not woken", () => {
  const { a, gateway } = network();
  a.room = 0;
  gateway.cable.send(frame(GATEWAY_MAC, A));
  gateway.cable.close();
  a.cable.hasRoom();
  assert.equal(gateway.woken, 0);
});

test("a receiver gets only what it can take", () => {
  const { a, b, gateway } = network();
  const { packet } = tcpPacket({ version: 4, payload: 5000, sizeBytes: 1448 });
  putMac(packet.bytes, 0, B);
  putMac(packet.bytes, 6, A);
  b.offloads = { checksum: false, tcp4: false, tcp6: false };
  assert.ok(a.cable.send(packet));
  assert.equal(b.got.length, 4);
  for (const part of b.got) assert.equal(part.checksum ?? part.segment, undefined);
  b.offloads = { checksum: true, tcp4: true, tcp6: true };
  a.cable.send(packet);
  assert.equal(b.got[4], packet);
  // A part of a packet that was cut is not sent twice.
  b.offloads = { checksum: true, tcp4: false, tcp6: false };
  b.room = 2;
  putMac(packet.bytes, 6, GATEWAY_MAC);
  assert.ok(gateway.cable.send(packet));
  assert.equal(b.got.length, 7);
  assert.equal(gateway.cable.send(packet), false);
});

test("two guests cannot have one address, and none a group's", () => {
  const { net } = network();
  const nobody: NetworkEndpoint = { receive: () => true };
  assert.throws(() => net.connect(nobody, { mac: A }), RangeError);
  assert.throws(() => net.connect(nobody, { mac: BROADCAST_MAC }), RangeError);
});

test("only who has a packet alone may release its memory", () => {
  const { a, b, gateway } = network();
  let released = 0;
  const packet = (from: number, to: number): Packet => ({ ...frame(from, to), release: () => void released++ });
  a.cable.send(packet(A, BROADCAST_MAC));
  b.got.pop()!.release?.();
  assert.equal(released, 0);
  a.cable.send(packet(A, B));
  b.got.pop()!.release?.();
  assert.equal(released, 1);
  a.cable.send(packet(C, B));
  b.room = 0;
  a.cable.send(packet(A, B));
  assert.equal(released, 3, "refused, and lost");
  assert.equal(gateway.cable.send(packet(GATEWAY_MAC, B)), false);
  assert.equal(released, 3, "the sender keeps it");
});
