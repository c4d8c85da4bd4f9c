/* The doors of a process on a named network: who is let in, what strangers get, what is done with sockets of the dead. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, linkSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type Server, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { BROADCAST_MAC, networkOf } from "../net/address.ts";
import { LinkReader, type LinkMessage, encodeFrameHeader, encodeHello, encodeMembers } from "../net/link-codec.ts";
import { NamedNetworks } from "./named-networks.ts";
import { Station, frame, payload } from "./test-network.ts";

const LIMIT = { timeout: 60_000 };
const A = 0x02_00_00_00_00_0a;
const B = 0x02_00_00_00_00_0b;
const C = 0x02_00_00_00_00_0c;
const ID = "00000000000000aa";

let state = "";
before(async () => (state = await mkdtemp(join(tmpdir(), "mere-mesh-"))));
after(() => rm(state, { recursive: true, force: true }));
const directory = (name: string): string => join(state, "networks", name);
const sockets = (name: string): string[] => readdirSync(directory(name)).filter((file) => file.endsWith(".sock"));

/** A connection that says what a test wants. */
class Stranger {
  readonly socket: Socket;
  readonly messages: LinkMessage[] = [];
  constructor(socket: Socket, name: string) {
    this.socket = socket;
    const reader = new LinkReader(networkOf(name));
    socket.on("data", (piece: Buffer) => reader.read(piece, (message) => this.messages.push(message) > 0));
    socket.on("error", () => undefined);
  }
  static async to(name: string): Promise<Stranger> {
    const socket = connect(join(directory(name), sockets(name)[0]!));
    await once(socket, "connect");
    return new Stranger(socket, name);
  }
  get closed(): Promise<unknown> {
    return this.socket.closed ? Promise.resolve() : once(this.socket, "close");
  }
  async message(count: number): Promise<LinkMessage> {
    while (this.messages.length < count) await once(this.socket, "data");
    return this.messages[count - 1]!;
  }
}
function hello(name: string, version = 1, id = ID): Buffer {
  const bytes = encodeHello({ id, pid: 1, members: [{ mac: C, ipv4: networkOf(name).base + 9, hostname: "c" }] });
  bytes.writeUInt16LE(version, 6);
  return bytes;
}
function packet(name: string, from: number, text: string): Buffer {
  const bytes = frame(from, networkOf(name).base + 9, BROADCAST_MAC, Buffer.from(text));
  return Buffer.concat([encodeFrameHeader({ bytes }), bytes]);
}

test("who says hello is answered with one, and is in from then on; others stay as they were", LIMIT, async () => {
  await using a = await Station.join(new NamedNetworks(state), "door", { mac: A });
  const stranger = await Stranger.to("door");
  stranger.socket.write(Buffer.concat([hello("door"), packet("door", C, "I am C"), packet("door", B, "I am B")]));
  stranger.socket.write(packet("door", C, "again"));
  assert.equal(payload(await a.next()), "I am C");
  assert.equal(payload(await a.next()), "again", "it listed no B");
  const first = await stranger.message(1);
  assert.ok(first.kind === "hello");
  assert.deepEqual(first.hello.members, [{ mac: A, ipv4: a.ipv4, hostname: `vm${A % 256}` }]);
  a.send(C, "to C");
  const answer = await stranger.message(2);
  assert.equal(answer.kind === "packet" && payload(answer.packet), "to C");

  const second = await Stranger.to("door");
  second.socket.write(hello("door"));
  await second.closed;
  assert.deepEqual(second.messages, [], "a second link of the same process would bring all twice");
  stranger.socket.write(Buffer.concat([encodeMembers([]), packet("door", C, "no more"), hello("door")]));
  await stranger.closed;
  await using b = await Station.join(new NamedNetworks(state), "door", { mac: B });
  b.send(BROADCAST_MAC, "done");
  assert.equal(payload(await a.next()), "done", "a member that was taken off the list sent nothing");
});

test("who speaks out of turn is shown out, and the network goes on", LIMIT, async () => {
  await using a = await Station.join(new NamedNetworks(state), "nonsense", { mac: A });
  const huge = Buffer.alloc(12);
  huge.writeUInt32LE(0xffff_ffff);
  for (const words of [
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    packet("nonsense", C, "no hello"),
    huge,
    Buffer.concat([hello("nonsense"), huge]),
    Buffer.concat([hello("nonsense"), hello("nonsense")]),
    hello("another"),
  ]) {
    const stranger = await Stranger.to("nonsense");
    stranger.socket.write(words);
    await stranger.closed;
  }
  // Nor does one that goes before it said anything, or says half.
  (await Stranger.to("nonsense")).socket.destroy();
  const half = await Stranger.to("nonsense");
  half.socket.end(hello("nonsense").subarray(0, 20));
  await half.closed;
  await using b = await Station.join(new NamedNetworks(state), "nonsense", { mac: B });
  b.send(BROADCAST_MAC, "still here");
  assert.equal(payload(await a.next()), "still here");
});

test("another version is answered with this one's, and let go", LIMIT, async () => {
  await using a = await Station.join(new NamedNetworks(state), "newer", { mac: A });
  const stranger = await Stranger.to("newer");
  stranger.socket.write(hello("newer", 2));
  await stranger.closed;
  assert.deepEqual(
    stranger.messages.map(({ kind }) => kind),
    ["hello"],
  );
  assert.ok(a.ipv4 > 0);
});

test("who says nothing is shown out after a while", LIMIT, async (t) => {
  await using a = await Station.join(new NamedNetworks(state), "silent", { mac: A });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const stranger = await Stranger.to("silent");
  const polite = await Stranger.to("silent");
  polite.socket.write(hello("silent"));
  await polite.message(1);
  while (!stranger.socket.closed) {
    await setImmediate();
    t.mock.timers.tick(10_000);
  }
  polite.socket.write(packet("silent", C, "still in"));
  assert.equal(payload(await a.next()), "still in");
  polite.socket.destroy();
});

/** A process of another kind on a network. */
async function listen(name: string, id: string, serve: (socket: Socket) => void): Promise<Server> {
  mkdirSync(directory(name), { recursive: true });
  const server = createServer(serve).listen(join(directory(name), `${id}.sock`));
  await once(server, "listening");
  return server;
}

test("a network with another version is not joined", LIMIT, async () => {
  const server = await listen("older", ID, (socket) => void socket.end(hello("older", 7)));
  await assert.rejects(Station.join(new NamedNetworks(state), "older", { mac: A }), {
    code: "unreachable",
    message: /The network older has VMs of another version of Mere \(its links have version 7, here 1\): stop them/,
  });
  server.close();
});

test("one that hangs up, or says nonsense, does not keep others from joining", LIMIT, async () => {
  const one = await listen("rude", ID, (socket) => void socket.destroy());
  const other = await listen("rude", "00000000000000bb", (socket) => void socket.end("nonsense, and a lot of it"));
  await using a = await Station.join(new NamedNetworks(state), "rude", { mac: A });
  assert.equal(sockets("rude").length, 3, "they live, so their sockets stay");
  a.send(BROADCAST_MAC, "nobody hears");
  one.close();
  other.close();
});

test("a link that ended on a wrong message is opened again, and carries what it did", LIMIT, async () => {
  const second = Promise.withResolvers<Stranger>();
  let count = 0;
  const server = await listen("again", ID, (socket) => {
    count++;
    const stranger = new Stranger(socket, "again");
    socket.write(hello("again"));
    if (count === 1) socket.write("what nobody understands");
    else second.resolve(stranger);
  });
  await using a = await Station.join(new NamedNetworks(state), "again", { mac: A });
  const stranger = await second.promise;
  stranger.socket.write(packet("again", C, "here again"));
  assert.equal(payload(await a.next()), "here again");
  a.send(C, "so am I");
  while (stranger.messages.at(-1)?.kind !== "packet") await once(stranger.socket, "data");
  assert.equal(count, 2);
  server.close();
});

test("with one that says nothing but nonsense it is tried ever more rarely, until it is gone", LIMIT, async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const socketPath = join(directory("babble"), `${ID}.sock`);
  let count = 0;
  const sockets = new Set<Socket>();
  const server = await listen("babble", ID, (socket) => {
    count++;
    sockets.add(socket.on("error", () => undefined));
    socket.resume().end("nonsense, and a lot of it");
  });
  await using a = await Station.join(new NamedNetworks(state), "babble", { mac: A });
  /** Until this side has let go of the last connection, and set its timer. */
  const settled = async (): Promise<void> => {
    while ([...sockets].some((socket) => !socket.closed)) await setImmediate();
    for (let i = 0; i < 10; i++) await setImmediate();
  };
  for (let waitMs = 100, expected = 1; waitMs <= 60_000; waitMs *= 2, expected++) {
    while (count < expected) await setImmediate();
    await settled();
    const atMostMs = Math.min(waitMs, 30_000);
    t.mock.timers.tick(atMostMs / 2 - 1);
    await settled();
    assert.equal(count, expected, `not before ${atMostMs / 2} ms`);
    t.mock.timers.tick(atMostMs / 2 + 1);
  }
  while (count < 11) await setImmediate();
  await settled();
  // As it is when its process is killed.
  linkSync(socketPath, `${socketPath}.kept`);
  server.close();
  await once(server, "close");
  renameSync(`${socketPath}.kept`, socketPath);
  t.mock.timers.tick(30_000);
  while (existsSync(socketPath)) await setImmediate();
  assert.equal(count, 11);
  assert.ok(a.ipv4 > 0);
});

test("sockets of the dead are removed; other files are not sockets", LIMIT, async () => {
  const server = await listen("dead", ID, () => undefined);
  // Closing removes the socket, as a process that is killed does not.
  const kept = join(directory("dead"), "00000000000000cc.sock");
  renameSync(join(directory("dead"), `${ID}.sock`), kept);
  server.close();
  await once(server, "close");
  assert.ok(existsSync(kept));
  mkdirSync(join(directory("dead"), "lost+found"));
  await using a = await Station.join(new NamedNetworks(state), "dead", { mac: A });
  assert.equal(sockets("dead").length, 1);
  assert.equal(existsSync(kept), false);
  assert.ok(existsSync(join(directory("dead"), "lost+found")));
  assert.ok(a.ipv4 > 0);
});
