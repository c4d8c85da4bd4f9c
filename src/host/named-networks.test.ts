/* Named networks between instances of NamedNetworks, each of which is to the others what another process is: they share nothing but the state directory. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { BROADCAST_MAC, GATEWAY_MAC, networkOf } from "../net/address.ts";
import { NamedNetworks } from "./named-networks.ts";
import { Station, payload } from "./test-network.ts";

const LIMIT = { timeout: 60_000 };
const A = 0x02_00_00_00_00_0a;
const B = 0x02_00_00_00_00_0b;
const C = 0x02_00_00_00_00_0c;

let state = "";
before(async () => (state = await mkdtemp(join(tmpdir(), "mere-networks-"))));
after(() => rm(state, { recursive: true, force: true }));
const elsewhere = (): NamedNetworks => new NamedNetworks(state);
const files = (name: string): Promise<string[]> => readdir(join(state, "networks", name));

test("frames go both ways, uncut and with what is still to be done on them", LIMIT, async () => {
  await using a = await Station.join(elsewhere(), "large", { mac: A });
  await using b = await Station.join(elsewhere(), "large", { mac: B });
  b.send(BROADCAST_MAC, "who is there?");
  assert.equal(payload(await a.next()), "who is there?");
  const text = "0123456789abcdef".repeat(4096).slice(0, 65_549 - 34);
  const left = { checksum: { start: 34, offset: 16 }, segment: { protocol: "tcp4", sizeBytes: 1448 } } as const;
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    for (let n = 0; n < 5; n++) from.send(to.mac, `${n}${text.slice(1)}`, left);
    from.send(to.mac, "small");
    for (let n = 0; n < 5; n++) {
      const packet = await to.next();
      assert.equal(packet.bytes.length, 65_549);
      assert.equal(payload(packet), `${n}${text.slice(1)}`);
      assert.deepEqual([packet.checksum, packet.segment], [left.checksum, left.segment]);
    }
    const small = await to.next();
    assert.deepEqual([payload(small), small.checksum, small.segment], ["small", undefined, undefined]);
  }
});

test("a broadcast reaches all once, a frame for one reaches that one only", LIMIT, async () => {
  const here = elsewhere();
  await using a = await Station.join(here, "flood", { mac: A });
  await using b = await Station.join(elsewhere(), "flood", { mac: B });
  await using c = await Station.join(elsewhere(), "flood", { mac: C });
  await using d = await Station.join(here, "flood", { mac: C + 1 });
  d.send(BROADCAST_MAC, "here I am");
  for (const each of [a, b, c]) await each.next();
  // What follows on the same way comes later: nothing came twice or where it was not to come if the next is the next.
  for (const [from, others] of [
    [c, [a, b, d]],
    [a, [b, c, d]],
    [d, [a, b, c]],
  ] as const) {
    from.send(BROADCAST_MAC, "all");
    for (const to of others) from.send(to.mac, `only ${to.mac}`);
    from.send(BROADCAST_MAC, "end");
    for (const to of others)
      assert.deepEqual(
        [payload(await to.next()), payload(await to.next()), payload(await to.next())],
        ["all", `only ${to.mac}`, "end"],
      );
  }
});

test("a gateway's address is each process's own; nobody sends from another's", LIMIT, async () => {
  await using a = await Station.join(elsewhere(), "gateways", { mac: A });
  await using b = await Station.join(elsewhere(), "gateways", { mac: B });
  const arp = (target: number): Uint8Array => {
    const bytes = Buffer.alloc(42);
    bytes.writeUIntBE(BROADCAST_MAC, 0, 6);
    bytes.writeUIntBE(B, 6, 6);
    bytes.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1], 12);
    bytes.writeUIntBE(B, 22, 6);
    bytes.writeUInt32BE(b.ipv4, 28);
    bytes.writeUInt32BE(target, 38);
    return bytes;
  };
  b.sendRaw({ bytes: arp(b.joined.gatewayAddress) });
  const answer = await b.next();
  assert.equal(Buffer.from(answer.bytes).readUIntBE(6, 6), GATEWAY_MAC);
  assert.equal((await a.next()).bytes.length, 42, "a request for the gateway is a broadcast like any other");
  // Were A's gateway to answer too, or B's answer to leave, that would come first.
  a.send(B, "next");
  assert.equal(payload(await b.next()), "next");
  b.send(GATEWAY_MAC, "for the gateway");
  b.sendRaw({ bytes: Uint8Array.from((await sent(b, a)).bytes, (byte, at) => (at === 11 ? C % 256 : byte)) });
  b.send(A, "last");
  assert.equal(payload(await a.next()), "last");
  assert.equal(a.joined.gateway.stats.tcpConnections, 0);
});
/** A frame as it goes from one to the other. */
async function sent(from: Station, to: Station): Promise<{ bytes: Uint8Array }> {
  from.send(to.mac, "template");
  return to.next();
}

test("twenty at once get twenty addresses, and give them back", LIMIT, async () => {
  const { base } = networkOf("crowd");
  const macs = Array.from({ length: 20 }, (_, n) => A + n);
  const stations = await Promise.all(macs.map((mac) => Station.join(elsewhere(), "crowd", { mac })));
  const expected = macs.map((_, n) => base + 3 + n);
  assert.deepEqual(
    stations.map(({ ipv4 }) => ipv4).toSorted((a, b) => a - b),
    expected,
  );
  // All see all.
  for (const from of stations) {
    from.send(BROADCAST_MAC, `${from.mac}`);
    for (const to of stations) if (to !== from) assert.equal(payload(await to.next()), `${from.mac}`);
  }
  const third = stations.findIndex(({ ipv4 }) => ipv4 === base + 5);
  await stations[third]![Symbol.asyncDispose]();
  stations[third] = await Station.join(elsewhere(), "crowd", { mac: C + 99 });
  assert.equal(stations[third].ipv4, base + 5);
  await Promise.all(stations.map((station) => station[Symbol.asyncDispose]()));
  await assert.rejects(files("crowd"), { code: "ENOENT" });
});

test("names of VMs resolve wherever they run, as long as they do", LIMIT, async () => {
  await using a = await Station.join(elsewhere(), "names", { mac: A, hostname: "web" });
  await using b = await Station.join(elsewhere(), "names", { mac: B, hostname: "Database" });
  const ask = async (from: Station, name: string): Promise<number | undefined> => {
    const labels = [name, "mere", "internal", ""].map((label) => String.fromCharCode(label.length) + label);
    const question = Buffer.from(`\0\x07\x01\0\0\x01\0\0\0\0\0\0${labels.join("")}\0\x01\0\x01`, "latin1");
    from.sendRaw({ bytes: dnsFrame(from, question) });
    // The gateway answers within the turn; what comes over links needs another.
    await setImmediate();
    const { bytes } = await from.next();
    const answer = Buffer.from(bytes).subarray(42);
    return answer.readUInt16BE(6) === 1 ? answer.readUInt32BE(answer.length - 4) : undefined;
  };
  // The others hear of a VM a moment after it joined.
  while ((await ask(a, "database")) !== b.ipv4);
  assert.equal(await ask(b, "web"), a.ipv4);
  assert.equal(await ask(b, "nobody"), undefined);
  const c = await Station.join(elsewhere(), "names", { mac: C, hostname: "cache" });
  while ((await ask(a, "cache")) !== c.ipv4);
  await c[Symbol.asyncDispose]();
  while ((await ask(a, "cache")) !== undefined);
});
function dnsFrame(from: Station, question: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(42 + question.length);
  bytes.writeUIntBE(GATEWAY_MAC, 0, 6);
  bytes.writeUIntBE(from.mac, 6, 6);
  bytes.set([8, 0, 0x45, 0], 12);
  bytes.writeUInt16BE(28 + question.length, 16);
  bytes.set([64, 17], 22);
  bytes.writeUInt32BE(from.ipv4, 26);
  bytes.writeUInt32BE(from.joined.dns, 30);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += bytes.readUInt16BE(at);
  bytes.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 24);
  bytes.writeUInt16BE(5000, 34);
  bytes.writeUInt16BE(53, 36);
  bytes.writeUInt16BE(8 + question.length, 38);
  bytes.set(question, 42);
  return bytes;
}

test("the first one's rules are the network's, until the last one left", LIMIT, async () => {
  const [here, there] = [elsewhere(), elsewhere()];
  const first = await Station.join(here, "rules", { mac: A, deny: ["all"] });
  const refusal = { code: "bad-option", message: /The network rules has other rules .* give the same/ };
  await assert.rejects(Station.join(there, "rules", { mac: B }), refusal);
  await assert.rejects(Station.join(here, "rules", { mac: B, deny: ["10.0.0.0/8"] }), refusal);
  const second = await Station.join(there, "rules", { mac: B, deny: ["all"] });
  await first[Symbol.asyncDispose]();
  await assert.rejects(Station.join(here, "rules", { mac: A }), refusal);
  await second[Symbol.asyncDispose]();
  await using other = await Station.join(here, "rules", { mac: A });
  assert.equal(other.ipv4, networkOf("rules").base + 3);
});

test("one that leaves and joins again at once finds the others again", LIMIT, async () => {
  const here = elsewhere();
  await using b = await Station.join(elsewhere(), "again", { mac: B });
  for (let n = 0; n < 5; n++) {
    const a = await Station.join(here, "again", { mac: A });
    a.send(B, `${n}`);
    assert.equal(payload(await b.next()), `${n}`);
    // Not awaited: the next one comes while it goes.
    void a[Symbol.asyncDispose]();
  }
});

test("the directory is its owner's only, however deep it lies, and is gone with the last", LIMIT, async () => {
  const deep = join(state, "d".repeat(90), "e".repeat(90));
  const [here, there] = [new NamedNetworks(deep), new NamedNetworks(deep)];
  const a = await Station.join(here, "deep", { mac: A });
  const b = await Station.join(there, "deep", { mac: B });
  const { mode } = await stat(join(deep, "networks", "deep"));
  assert.equal(mode & 0o777, 0o700);
  b.send(A, "hello");
  assert.equal(payload(await a.next()), "hello");
  await a[Symbol.asyncDispose]();
  assert.equal((await readdir(join(deep, "networks", "deep"))).length, 3, "rules, a socket, an address");
  await b[Symbol.asyncDispose]();
  assert.deepEqual(await readdir(join(deep, "networks")), []);
});

test("one that cannot be joined leaves nothing, and can be joined later", LIMIT, async () => {
  const here = elsewhere();
  await assert.rejects(Station.join(here, "failing", { mac: A, allow: ["nonsense"] }), { code: "bad-rule" });
  await assert.rejects(files("failing"), { code: "ENOENT" });
  await using a = await Station.join(here, "failing", { mac: A });
  assert.ok(a.ipv4 > 0);
});
