/* The switch's way to other processes: nothing is reflected, everything goes where it is for, nobody speaks for others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BROADCAST_MAC, GATEWAY_MAC, putIpv4, putMac } from "./address.ts";
import type { Cable, NetworkEndpoint, Packet } from "./packet.ts";
import { Switch } from "./switch.ts";
import { type Peer, Uplink } from "./uplink.ts";

const [A, B, C, D] = [0x020000000001, 0x020000000002, 0x020000000003, 0x020000000004];
const IP = 0x0a800003;

class End implements NetworkEndpoint, Peer {
  readonly got: Packet[] = [];
  hasRoom = true;
  receive(packet: Packet): boolean {
    if (this.hasRoom) this.got.push(packet);
    return this.hasRoom;
  }
  send(packet: Packet): boolean {
    return this.receive(packet);
  }
}
function frame(from: number, to: number, release?: () => void): Packet {
  const bytes = new Uint8Array(60);
  putMac(bytes, 0, to);
  putMac(bytes, 6, from);
  bytes.set([8, 0, 0x45], 12);
  putIpv4(bytes, 26, IP);
  return { bytes, release };
}
/** A guest and a gateway here, two processes: one with B and C, one with D. */
function network() {
  const net = new Switch();
  const uplink = new Uplink();
  uplink.plug(net.connect(uplink));
  const [guest, gateway, first, second] = [new End(), new End(), new End(), new End()];
  const a: Cable = net.connect(guest, { mac: A, ipv4: IP });
  const router: Cable = net.connect(gateway);
  uplink.setMembers(first, [
    { mac: B, ipv4: IP + 1, hostname: "b" },
    { mac: C, ipv4: IP + 2, hostname: "c" },
  ]);
  uplink.setMembers(second, [{ mac: D, ipv4: IP + 3, hostname: "d" }]);
  return { net, uplink, guest, gateway, first, second, a, router };
}
const counts = (...ends: End[]): number[] => ends.map(({ got }) => got.length);

test("a frame goes over the link of the VM that it is for, a broadcast over all, others over none", () => {
  const { a, first, second, gateway } = network();
  a.send(frame(A, C));
  assert.deepEqual(counts(first, second), [1, 0]);
  a.send(frame(A, D));
  assert.deepEqual(counts(first, second), [1, 1]);
  a.send(frame(A, BROADCAST_MAC));
  assert.deepEqual(counts(first, second), [2, 2]);
  a.send(frame(A, 0x020000000099));
  a.send(frame(A, GATEWAY_MAC));
  assert.deepEqual(counts(first, second, gateway), [2, 2, 5], "the gateway hears what has no known place");
});

test("what comes over a link goes over none", () => {
  const { uplink, guest, gateway, first, second } = network();
  uplink.deliver(first, frame(B, A));
  uplink.deliver(first, frame(B, BROADCAST_MAC));
  uplink.deliver(first, frame(B, D));
  assert.deepEqual(counts(guest, first, second), [2, 0, 0]);
  assert.equal(gateway.got.length, 2, "the broadcast, and what has no known place");
});

test("a process speaks for the VMs that it listed only", () => {
  const { net, uplink, guest, gateway, first, second } = network();
  for (const from of [A, D, GATEWAY_MAC, BROADCAST_MAC, 0, 0x020000000099]) uplink.deliver(first, frame(from, A));
  assert.deepEqual([counts(guest, gateway), uplink.counters.refused], [[0, 0], 6]);
  // Not even with a list that has a guest of this process.
  uplink.setMembers(second, [{ mac: A, ipv4: IP, hostname: "a" }]);
  uplink.deliver(second, frame(A, BROADCAST_MAC));
  assert.deepEqual(counts(guest, gateway), [0, 0]);
  assert.equal(net.counters.refused, 1);
  uplink.deliver(second, frame(D, A));
  assert.equal(guest.got.length, 0, "the new list holds, not the old one");
});

test("a gateway's frames stay here", () => {
  const { router, guest, first, second } = network();
  router.send(frame(GATEWAY_MAC, BROADCAST_MAC));
  router.send(frame(GATEWAY_MAC, B));
  assert.deepEqual(counts(guest, first, second), [1, 0, 0]);
});

test("who has no room loses the frame, and only that one does; its memory is given back", () => {
  const { net, uplink, a, guest, first, second } = network();
  let released = 0;
  const release = (): void => void released++;
  // The switch learns where B is: what it does not know it shows to the gateway too.
  uplink.deliver(first, frame(B, A));
  guest.got.pop();
  first.hasRoom = false;
  assert.ok(a.send(frame(A, B, release)));
  assert.ok(a.send(frame(A, BROADCAST_MAC, release)));
  assert.deepEqual([released, uplink.counters.lost, uplink.counters.sent], [1, 2, 1]);
  assert.equal(second.got[0]!.release, undefined, "the broadcast has several receivers");
  guest.hasRoom = false;
  uplink.deliver(first, frame(B, A, release));
  assert.deepEqual([released, uplink.counters.lost], [2, 3]);
  const other = new End();
  net.connect(other, { mac: 0x020000000009 });
  uplink.deliver(first, frame(B, 0x020000000009, release));
  assert.deepEqual([other.got.length, released], [1, 2]);
  a.send(frame(A, 0x020000000099, release));
  assert.equal(released, 2, "it was shown to the gateway too");
  uplink.deliver(first, frame(0x020000000099, A, release));
  assert.equal(released, 3);
});

test("names and addresses are those of the processes that are linked", () => {
  const { uplink, first, second, a } = network();
  assert.deepEqual(
    ["b", "c", "d", "e"].map((name) => uplink.addressOf(name)),
    [IP + 1, IP + 2, IP + 3, undefined],
  );
  assert.deepEqual([uplink.nameOf(IP + 2), uplink.nameOf(IP)], ["c", undefined]);
  uplink.setMembers(second, [{ mac: D, ipv4: IP + 9, hostname: "b" }]);
  assert.equal(uplink.addressOf("b"), IP + 1, "the lowest, in whatever order they came");
  assert.equal(uplink.addressOf("d"), undefined);
  uplink.remove(first);
  assert.deepEqual([uplink.addressOf("b"), uplink.addressOf("c")], [IP + 9, undefined]);
  a.send(frame(A, B));
  uplink.deliver(first, frame(B, A));
  assert.deepEqual([first.got.length, uplink.counters.refused], [0, 1]);
});

test("nothing passes after the end", () => {
  const { uplink, a, guest, first, second } = network();
  uplink.close();
  a.send(frame(A, BROADCAST_MAC));
  uplink.deliver(first, frame(B, A));
  assert.deepEqual(counts(guest, first, second), [0, 0, 0]);
});
