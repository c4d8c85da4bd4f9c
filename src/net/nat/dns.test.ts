import assert from "node:assert/strict";
import { type Socket, createSocket } from "node:dgram";
import { once } from "node:events";
import { type Server, createServer } from "node:net";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ISOLATED, parseIpv4 } from "../address.ts";
import { NetworkError } from "../network-error.ts";
import { Policy, parseRule } from "../policy.ts";
import { Rcode, isAnswer, nameData, readQuery } from "./dns-message.ts";
import { hostNameServers, parseNameServer, parseResolvConf } from "./dns-upstream.ts";
import { DnsService } from "./dns.ts";
import { putU16, u16At } from "./ipv4.ts";
import { Flag } from "./tcp-segment.ts";
import { TestGuest, until } from "./test-guest.ts";

function query(name: string, type = 1, id = 0x1234): Uint8Array {
  const question = nameData(name);
  const message = new Uint8Array(12 + question.length + 4);
  putU16(message, 0, id);
  putU16(message, 2, 0x0100);
  putU16(message, 4, 1);
  message.set(question, 12);
  putU16(message, 12 + question.length, type);
  putU16(message, 14 + question.length, 1);
  return message;
}
function answerTo(message: Uint8Array, extra: Uint8Array = new Uint8Array(0), flags = 0x8180): Uint8Array {
  const answer = new Uint8Array(message.length + extra.length);
  answer.set(message);
  answer.set(extra, message.length);
  putU16(answer, 2, flags);
  return answer;
}
const rcode = (answer: Uint8Array) => u16At(answer, 2) & 15;

/** A name server on the host's loopback; silent where the handler gives nothing. */
async function withServer(
  handle: (query: Buffer) => Uint8Array[],
  run: (server: string, socket: Socket) => Promise<void>,
) {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  socket.on("message", (message, { port }) => {
    for (const answer of handle(message)) socket.send(answer, port, "127.0.0.1");
  });
  try {
    await run(`127.0.0.1:${socket.address().port}`, socket);
  } finally {
    socket.close();
  }
}
const NO_NAMES = { addressOf: () => undefined, nameOf: () => undefined };
function service(...servers: string[]): DnsService {
  const parsed = servers.map(parseNameServer);
  return new DnsService(
    () => Promise.resolve(parsed),
    NO_NAMES,
    () => true,
  );
}

describe("a query that is forwarded", () => {
  test("comes back with the guest's identifier, asked with another one from changing ports", async () => {
    const ids = new Set<number>();
    const extra = Uint8Array.of(1, 2, 3);
    const handle = (message: Buffer) => {
      ids.add(u16At(message, 0));
      return [answerTo(message, extra)];
    };
    await withServer(handle, async (server, socket) => {
      const ports = new Set<number>();
      socket.on("message", (_message, { port }) => ports.add(port));
      const dns = service(server);
      for (let round = 0; round < 8; round++) {
        const asked = query("example.org");
        assert.deepEqual(Buffer.from((await dns.answer(asked, "udp"))!), Buffer.from(answerTo(asked, extra)));
      }
      assert.ok(ids.size >= 7 && ports.size >= 7);
      assert.equal(dns.outstanding, 0);
    });
  });
  test("is answered only by what fits: identifier, question, and the answer's bit", async () => {
    const handle = (message: Buffer) => {
      const wrongId = answerTo(message);
      putU16(wrongId, 0, u16At(message, 0) ^ 1);
      const wrongName = answerTo(query("evil.org", 1, u16At(message, 0)));
      const good = answerTo(message, Uint8Array.of(42));
      return [wrongId, wrongName, message, Uint8Array.of(1, 2, 3), good];
    };
    await withServer(handle, async (server) => {
      assert.equal((await service(server).answer(query("example.org"), "udp"))!.at(-1), 42);
    });
  });
  test("goes to the next server when the first refuses, and fails when none is there", async () => {
    await withServer(
      (message) => [answerTo(message)],
      async (server) => {
        const closed = createSocket("udp4");
        closed.bind(0, "127.0.0.1");
        await once(closed, "listening");
        const nobody = `127.0.0.1:${closed.address().port}`;
        closed.close();
        assert.equal(rcode((await service(nobody, server).answer(query("a.org"), "udp"))!), Rcode.NOERROR);
        assert.equal(rcode((await service(nobody).answer(query("a.org"), "udp"))!), Rcode.SERVFAIL);
      },
    );
  });
  test("is one of 256 at most; closing ends them all", async () => {
    await withServer(
      () => [],
      async (server) => {
        const dns = service(server);
        const answers = Array.from({ length: 300 }, (_, index) => dns.answer(query(`${index}.org`), "udp"));
        assert.equal(dns.outstanding, 256);
        assert.equal(await answers[299], undefined);
        dns.close();
        assert.equal(rcode((await answers[0])!), Rcode.SERVFAIL);
        await Promise.all(answers);
        assert.equal(dns.outstanding, 0);
      },
    );
  });
  test("passes truncated answers, and answers by TCP whole", async () => {
    const big = new Uint8Array(20_000).fill(5);
    const tcp: Server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (data: Buffer) => {
        const answer = answerTo(data.subarray(2), big);
        const framed = new Uint8Array(2 + answer.length);
        putU16(framed, 0, answer.length);
        framed.set(answer, 2);
        socket.write(framed.subarray(0, 1000));
        socket.end(framed.subarray(1000));
      });
    });
    await withServer(
      (message) => [answerTo(message, new Uint8Array(0), 0x8380)],
      async (server) => {
        tcp.listen(Number(server.split(":")[1]), "127.0.0.1");
        await once(tcp, "listening");
        const dns = service(server);
        const short = (await dns.answer(query("big.org"), "udp"))!;
        assert.equal(u16At(short, 2) & 0x0200, 0x0200);
        const stream = dns.open();
        const asked = [query("big.org", 1, 1), query("big.org", 16, 2)];
        for (const each of asked) stream.write(Buffer.concat([Uint8Array.of(0, each.length), each]));
        stream.end();
        const received = Buffer.concat(await stream.toArray());
        assert.equal(
          received.length,
          asked.reduce((sum, each) => sum + 2 + each.length + big.length, 0),
        );
        tcp.close();
      },
    );
  });
});

describe("names of the network", () => {
  const policy = new Policy([parseRule("allow", "host:80")]);
  async function ask(guest: TestGuest, name: string, type = 1): Promise<Uint8Array> {
    guest.sendUdp(ISOLATED.dns, 4000, 53, query(name, type));
    const { udp, ip } = await guest.take((received) => received.udp?.sourcePort === 53);
    assert.equal(ip!.source, ISOLATED.dns);
    assert.equal(udp!.destinationPort, 4000);
    return udp!.data;
  }
  const addressIn = (answer: Uint8Array) => (u16At(answer, 6) === 0 ? undefined : [...answer.subarray(-4)].join("."));

  test("are answered here: VMs, the host where the policy opens it, and back from addresses", async () => {
    const guest = new TestGuest({ policy, addressOf: (name) => (name === "db" ? parseIpv4("10.0.2.77") : undefined) });
    assert.equal(addressIn(await ask(guest, "box.mere.internal")), "10.0.2.15");
    assert.equal(addressIn(await ask(guest, "BOX")), "10.0.2.15");
    assert.equal(addressIn(await ask(guest, "db")), "10.0.2.77");
    assert.equal(addressIn(await ask(guest, "host.mere.internal")), "10.0.2.2");
    const ipv6 = await ask(guest, "box.mere.internal", 28);
    assert.deepEqual([rcode(ipv6), u16At(ipv6, 6)], [Rcode.NOERROR, 0]);
    assert.equal(rcode(await ask(guest, "nobody.mere.internal")), Rcode.NXDOMAIN);
    const back = Buffer.from(await ask(guest, "15.2.0.10.in-addr.arpa", 12));
    assert.ok(back.includes(Buffer.from(nameData("box.mere.internal"))));
    assert.equal(rcode(await ask(guest, "99.2.0.10.in-addr.arpa", 12)), Rcode.NXDOMAIN);
    await guest.gateway.close();
  });
  test("are answered over TCP too, as a connection that both sides end", async () => {
    const guest = new TestGuest();
    const ports = { sourcePort: 4001, destinationPort: 53 };
    guest.sendTcp(ISOLATED.dns, { ...ports, seq: 100, flags: Flag.SYN });
    const synAck = (await guest.take(({ tcp }) => tcp !== undefined)).tcp!;
    const ack = (synAck.seq + 1) | 0;
    const asked = query("box");
    const data = Buffer.concat([Uint8Array.of(0, asked.length), asked]);
    guest.sendTcp(ISOLATED.dns, { ...ports, seq: 101, ack, flags: Flag.ACK | Flag.FIN }, data);
    const answer = (await guest.take(({ tcp }) => (tcp?.payload.length ?? 0) > 0)).tcp!;
    assert.equal(u16At(answer.payload, 0), answer.payload.length - 2);
    assert.equal(addressIn(answer.payload), "10.0.2.15");
    const end = answer.has(Flag.FIN) ? answer : (await guest.take(({ tcp }) => tcp?.has(Flag.FIN) === true)).tcp!;
    const done = (end.seq + end.lengthInSequence) | 0;
    guest.sendTcp(ISOLATED.dns, { ...ports, seq: 102 + data.length, ack: done });
    await until(() => guest.gateway.stats.tcpConnections === 0);
    await guest.gateway.close();
  });
  test("do not have the host where the policy keeps it closed; names that it denies are refused", async () => {
    const guest = new TestGuest();
    assert.equal(rcode(await ask(guest, "host.mere.internal")), Rcode.NXDOMAIN);
    await guest.gateway.close();
    const denied = new TestGuest({ policy: new Policy([parseRule("deny", "dns")]) });
    assert.equal(rcode(await ask(denied, "example.org")), Rcode.REFUSED);
    await denied.gateway.close();
  });
});

test("a resolv.conf is read as resolvers read it; without one the host itself is asked", async () => {
  const text =
    "# nameserver 9.9.9.9\nnameserver 1.1.1.1\n nameserver\tfe80::1%eth0\nnameserver x\nsearch a\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n";
  assert.deepEqual(
    parseResolvConf(text).map(({ address }) => address),
    ["1.1.1.1", "fe80::1%eth0", "2.2.2.2"],
  );
  assert.deepEqual(parseResolvConf(""), [{ address: "127.0.0.1", port: 53 }]);
  assert.deepEqual(await hostNameServers("/nowhere/resolv.conf")(), [{ address: "127.0.0.1", port: 53 }]);
});
test("name servers are IP addresses", () => {
  assert.deepEqual(parseNameServer("1.2.3.4"), { address: "1.2.3.4", port: 53 });
  assert.deepEqual(parseNameServer("1.2.3.4:5353"), { address: "1.2.3.4", port: 5353 });
  assert.deepEqual(parseNameServer("::1"), { address: "::1", port: 53 });
  assert.deepEqual(parseNameServer("[::1]:5353"), { address: "::1", port: 5353 });
  for (const text of ["", "dns.example", "1.2.3.4:0", "1.2.3.4:99999", "[1.2.3]:5", "1.2.3.4:"])
    assert.throws(
      () => parseNameServer(text),
      (error) => error instanceof NetworkError && error.code === "bad-server",
    );
});
test("messages of any shape are read or refused, never more", async () => {
  const dns = new DnsService(
    () => Promise.resolve([]),
    NO_NAMES,
    () => true,
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, isQuery) => {
      if (isQuery && bytes.length >= 6) bytes.set([bytes[2]! & 0x7f, bytes[3]!, 0, 1], 2);
      const question = readQuery(bytes);
      if (question !== undefined) isAnswer(bytes, 1, question);
      const answer = await dns.answer(bytes, "udp");
      assert.equal(answer === undefined, question === undefined);
    }),
  );
});
