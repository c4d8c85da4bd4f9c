/* A link between two processes: what waits is bounded, lists are not lost, memory is given back. Over a real socket pair. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Hello, Member } from "./link-codec.ts";
import { type LinkBudget, PeerLink, type PeerLinkEvents } from "./peer-link.ts";
import type { Packet } from "./packet.ts";

const LIMIT = { timeout: 30_000 };
const NETWORK = { base: 0x0a800000, prefix: 21 };
const MEMBER: Member = { mac: 0x02_00_00_00_00_01, ipv4: 0x0a800003, hostname: "web" };
const HELLO: Hello = { id: "0123456789abcdef", pid: 17, members: [] };
const MIB = 1 << 20;

let directory = "";
before(async () => (directory = await mkdtemp(join(tmpdir(), "mere-link-"))));
after(() => rm(directory, { recursive: true, force: true }));

async function socketPair(name: string): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: false }).listen(join(directory, name));
  const socket = connect(join(directory, name));
  const [other] = (await once(server, "connection")) as [Socket];
  server.close();
  return [socket, other];
}
class Events implements PeerLinkEvents {
  readonly packets: Packet[] = [];
  readonly lists: (readonly Member[])[] = [];
  said: Hello | undefined;
  versions = 0;
  ends = 0;
  hello(hello: Hello): void {
    this.said = hello;
  }
  version(): void {
    this.versions++;
  }
  members(members: readonly Member[]): void {
    this.lists.push(members);
  }
  packet(packet: Packet): void {
    this.packets.push(packet);
  }
  ended(): void {
    this.ends++;
  }
}
const budget = (): LinkBudget => ({ queuedBytes: 0 });
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}
const large = (release?: () => void): Packet => ({ bytes: new Uint8Array(65_549).fill(7), release });

test("a peer that does not read loses frames, not lists; when it reads again all goes on", LIMIT, async () => {
  const [here, there] = await socketPair("slow");
  const total = budget();
  const link = new PeerLink(here, NETWORK, total, new Events());
  there.pause();
  link.sayHello(HELLO);
  let released = 0;
  let sent = 0;
  while (link.send(large(() => void released++))) sent++;
  // In this turn nothing can have left.
  assert.equal(sent, Math.floor((4 * MIB - 111) / 65_561));
  assert.ok(total.queuedBytes <= 4 * MIB);
  for (let n = 0; n < 1000; n++)
    link.sayMembers(Array.from({ length: 100 }, (_, at) => ({ ...MEMBER, hostname: `n${n}-${at}` })));
  assert.ok(total.queuedBytes <= 4 * MIB, "a thousand lists grow nothing");
  const events = new Events();
  const peer = new PeerLink(there, NETWORK, budget(), events);
  there.resume();
  await until(() => events.lists.at(-1)?.[0]!.hostname === "n999-0" && events.packets.length === sent);
  assert.deepEqual(events.said, HELLO);
  await until(() => total.queuedBytes === 0);
  assert.equal(released, sent, "their memory is given back");
  assert.ok(link.send({ bytes: Uint8Array.from({ length: 60 }, () => 9) }));
  await until(() => events.packets.length === sent + 1);
  assert.equal(events.packets.at(-1)!.bytes[59], 9);
  link.close();
  await until(() => events.ends === 1);
  peer.close();
});

test("all links of a process together have a bound", LIMIT, async () => {
  const [here, there] = await socketPair("total");
  const total = { queuedBytes: 64 * MIB - 1000 };
  const link = new PeerLink(here, NETWORK, total, new Events());
  assert.equal(link.send(large()), false);
  assert.equal(link.send({ bytes: new Uint8Array(60) }), true);
  const events = new Events();
  const peer = new PeerLink(there, NETWORK, budget(), events);
  total.queuedBytes = 80 * MIB;
  // What others leave unread does not keep back a list for ever.
  link.sayMembers([MEMBER]);
  link.close();
  await until(() => events.ends === 1);
  peer.close();
});

test("what was sent before the end still comes, and the end once", LIMIT, async () => {
  const [here, there] = await socketPair("end");
  const [mine, events] = [new Events(), new Events()];
  const total = budget();
  const link = new PeerLink(here, NETWORK, total, mine);
  const peer = new PeerLink(there, NETWORK, budget(), events);
  link.sayHello(HELLO);
  link.send(large());
  link.close();
  link.close();
  assert.equal(mine.ends, 1);
  assert.equal(link.send(large()), false);
  link.sayMembers([MEMBER]);
  await until(() => events.ends === 1);
  assert.equal(events.packets.length, 1);
  assert.deepEqual(events.lists, []);
  peer.close();
  assert.deepEqual([mine.ends, events.ends, total.queuedBytes], [1, 1, 0]);
});

test("a peer that says nonsense, or dies, ends the link; what waited is given back", LIMIT, async () => {
  for (const end of [
    (socket: Socket) => void socket.write("GET / HTTP/1.1\r\n\r\n"),
    (socket: Socket) => void socket.destroy(),
  ]) {
    const [here, there] = await socketPair(`nonsense${end.length}${String(end).length}`);
    there.on("error", () => undefined).resume();
    const mine = new Events();
    const total = budget();
    const link = new PeerLink(here, NETWORK, total, mine);
    let released = 0;
    for (let n = 0; n < 20; n++) link.send(large(() => void released++));
    end(there);
    await until(() => mine.ends === 1 && total.queuedBytes === 0);
    assert.equal(released, 20);
    assert.deepEqual([mine.said, mine.packets.length], [undefined, 0]);
    there.destroy();
  }
});
