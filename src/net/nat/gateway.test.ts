import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, test } from "node:test";
import fc from "fast-check";
import { BROADCAST_MAC, GATEWAY_MAC, ISOLATED, ipv4At, macAt, parseIpv4, putIpv4, putMac } from "../address.ts";
import { Policy, parseRule } from "../policy.ts";
import { checksumOf, sumWords } from "./checksum.ts";
import { IpProtocol, PAYLOAD_START, putU16 } from "./ipv4.ts";
import { Flag } from "./tcp-segment.ts";
import { GUEST_MAC, TestGuest, ping, until } from "./test-guest.ts";

const { gateway: GATEWAY, dns: DNS, guest: GUEST } = ISOLATED;
const allow = (...texts: string[]) => new Policy(texts.map((text) => parseRule("allow", text)));
const at = (text: string) => parseIpv4(text)!;

function fixHeader(frame: Uint8Array): void {
  putU16(frame, 24, 0);
  putU16(frame, 24, checksumOf(sumWords(frame, 14, PAYLOAD_START)));
}
async function withGuest(
  options: ConstructorParameters<typeof TestGuest>[0],
  run: (guest: TestGuest) => Promise<void> | void,
) {
  const guest = new TestGuest(options);
  try {
    await run(guest);
  } finally {
    await guest.gateway.close();
  }
}

describe("ARP", () => {
  test("is answered for the gateway and the name server, and for nobody else", async () => {
    await withGuest({}, (guest) => {
      for (const target of [GATEWAY, DNS, GUEST, at("10.0.2.99"), at("8.8.8.8")]) guest.sendArp(GUEST, target);
      const replies = guest.received.map(({ packet }) => packet.bytes);
      assert.deepEqual(
        replies.map((reply) => ipv4At(reply, 28)),
        [GATEWAY, DNS],
      );
      for (const reply of replies) {
        assert.equal(macAt(reply, 0), GUEST_MAC);
        assert.equal(macAt(reply, 22), GATEWAY_MAC);
        assert.equal(reply[21], 2);
      }
    });
  });
  test("is answered for one who probes, but not for another's address or device", async () => {
    await withGuest({}, (guest) => {
      guest.sendArp(0, GATEWAY);
      assert.equal(guest.received.length, 1);
      guest.sendArp(at("10.0.2.16"), GATEWAY);
      guest.sendArp(GUEST, GATEWAY, 0x0200_0000_0001);
      assert.equal(guest.received.length, 1);
    });
  });
});

describe("ICMP", () => {
  test("echoes come from the gateway's addresses, whole, also when they are fragments", async () => {
    await withGuest({}, (guest) => {
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(100));
      guest.sendIp(DNS, IpProtocol.ICMP, ping(8));
      assert.deepEqual(
        guest.received.map(({ icmp }) => icmp),
        [
          [0, 0],
          [0, 0],
        ],
      );
      assert.deepEqual(
        guest.received.map(({ ip }) => ip!.source),
        [GATEWAY, DNS],
      );
      const { bytes, start, end } = guest.received[0]!.ip!;
      assert.deepEqual([...bytes.subarray(start + 8, end)], [...ping(100).subarray(8)]);
      assert.equal(sumWords(bytes, start, end), 0xffff);
      guest.received.length = 0;
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(2000).subarray(0, 1480), (frame) => {
        frame[20] = 0x20;
        fixHeader(frame);
      });
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(2000).subarray(1480), (frame) => {
        putU16(frame, 20, 1480 / 8);
        fixHeader(frame);
      });
      assert.equal(guest.received.length, 2);
      assert.ok(guest.received.every(({ packet }) => packet.bytes.length <= 1514));
    });
  });
  test("errors say why something goes nowhere", async () => {
    await withGuest({ policy: allow("host:9") }, (guest) => {
      const cases: [string, number, (frame: Uint8Array) => void, [number, number] | undefined][] = [
        ["8.8.8.8", IpProtocol.ICMP, () => {}, [3, 13]],
        ["10.0.2.99", IpProtocol.UDP, () => {}, [3, 1]],
        ["8.8.8.8", 132, () => {}, [3, 2]],
        ["8.8.8.8", IpProtocol.UDP, (frame) => (frame[22] = 1), [11, 0]],
        ["10.0.2.255", IpProtocol.ICMP, () => {}, undefined],
        ["224.0.0.1", IpProtocol.ICMP, () => {}, undefined],
        ["255.255.255.255", IpProtocol.ICMP, () => {}, undefined],
      ];
      for (const [address, protocol, change, error] of cases) {
        guest.received.length = 0;
        guest.sendIp(at(address), protocol, ping(20), (frame) => {
          change(frame);
          fixHeader(frame);
        });
        assert.deepEqual(
          guest.received.map(({ icmp }) => icmp),
          error === undefined ? [] : [error],
          address,
        );
        if (error === undefined) continue;
        const { bytes, start, end } = guest.received[0]!.ip!;
        assert.equal(sumWords(bytes, start, end), 0xffff);
        assert.equal(ipv4At(bytes, start + 8 + 16), at(address));
      }
    });
  });
  test("errors are never answered with errors", async () => {
    await withGuest({}, (guest) => {
      const error = ping(40);
      error[0] = 3;
      guest.sendIp(at("8.8.8.8"), IpProtocol.ICMP, error);
      assert.equal(guest.received.length, 0);
    });
  });
});

describe("the policy", () => {
  test("prohibits by ICMP what it denies, TCP and UDP, and lets nothing out", async () => {
    const server = createServer(() => assert.fail("was connected to")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await withGuest({}, (guest) => {
      for (const address of ["10.0.2.2", "127.0.0.1", "192.168.1.1", "169.254.169.254", "10.1.1.1"]) {
        guest.received.length = 0;
        guest.sendTcp(at(address), { destinationPort: port, flags: Flag.SYN });
        guest.sendUdp(at(address), 1000, port, Uint8Array.of(1));
        assert.deepEqual(
          guest.received.map(({ icmp }) => icmp),
          [
            [3, 13],
            [3, 13],
          ],
          address,
        );
        assert.equal(guest.gateway.stats.tcpConnections + guest.gateway.stats.udpFlows, 0);
      }
    });
    server.close();
  });
  test("judges the number that is connected to, also where the gateway's address stands for the host", async () => {
    const server = createServer((socket) => socket.on("error", () => {}).end("hi")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await withGuest({ policy: allow(`host:${port}`) }, async (guest) => {
      guest.sendTcp(GATEWAY, { destinationPort: port, seq: 100, flags: Flag.SYN });
      const { tcp, ip } = await guest.take((received) => received.tcp !== undefined);
      assert.equal(ip!.source, GATEWAY);
      assert.equal(tcp!.flags, Flag.SYN | Flag.ACK);
      assert.equal(tcp!.ack, 101);
      guest.sendTcp(GATEWAY, { destinationPort: port, seq: 101, ack: (tcp!.seq + 1) | 0 });
      const data = await guest.take((received) => (received.tcp?.payload.length ?? 0) > 0);
      assert.equal(Buffer.from(data.tcp!.payload).toString(), "hi");
    });
    server.close();
  });
});

describe("UDP", () => {
  test("answers come back from where the guest sent to, larger than the MTU in fragments; a refused port is ICMP", async () => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const { port } = socket.address();
    socket.on("message", (data, peer) =>
      socket.send(Buffer.concat([data, Buffer.alloc(3000, 7)]), peer.port, peer.address),
    );
    await withGuest({ policy: allow("host") }, async (guest) => {
      guest.sendUdp(GATEWAY, 5000, port, Buffer.from("ask"));
      const first = await guest.take(({ ip }) => ip?.protocol === IpProtocol.UDP);
      assert.ok(first.ip!.moreFragments && first.packet.bytes.length <= 1514);
      assert.equal(
        Buffer.from(first.ip!.bytes)
          .subarray(first.ip!.start + 8, first.ip!.start + 11)
          .toString(),
        "ask",
      );
      const last = await guest.take(({ ip }) => ip?.moreFragments === false);
      assert.equal(last.ip!.fragmentOffset + last.ip!.end - last.ip!.start, 3011);
      assert.equal(guest.gateway.stats.udpFlows, 1);
      socket.close();
      await once(socket, "close");
      guest.sendUdp(GATEWAY, 5000, port, Buffer.from("again"));
      const { icmp } = await guest.take((received) => received.icmp !== undefined);
      assert.deepEqual(icmp, [3, 3]);
      assert.equal(guest.gateway.stats.udpFlows, 0);
    });
  });
  test("flows are bounded: the one that is idle longest makes room", async () => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    await withGuest({ policy: allow("host"), limits: { udpFlows: 8 } }, (guest) => {
      for (let port = 1; port <= 100; port++) guest.sendUdp(GATEWAY, port, socket.address().port, Uint8Array.of(1));
      assert.equal(guest.gateway.stats.udpFlows, 8);
    });
    socket.close();
  });
});

describe("several guests", () => {
  const OTHER = at("10.0.2.16");
  const OTHER_MAC = 0x0200_0000_0077;
  const guests = [
    { ipv4: GUEST, mac: GUEST_MAC, hostname: "one" },
    { ipv4: OTHER, mac: OTHER_MAC, hostname: "two" },
  ];
  function discover(guest: TestGuest, mac: number): void {
    const message = new Uint8Array(300);
    message.set([1, 1, 6, 0]);
    putMac(message, 28, mac);
    message.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
    const payload = new Uint8Array(8 + message.length);
    payload.set([0, 68, 0, 67, payload.length >>> 8, payload.length & 255, 0, 0]);
    payload.set(message, 8);
    guest.sendIp(0xffff_ffff, IpProtocol.UDP, payload, (frame) => {
      putMac(frame, 0, BROADCAST_MAC);
      putMac(frame, 6, mac);
      putIpv4(frame, 26, 0);
      fixHeader(frame);
    });
  }
  test("get each its own address by DHCP; strangers get none", async () => {
    await withGuest({ guests }, (guest) => {
      for (const mac of [OTHER_MAC, GUEST_MAC, 0x0200_0000_0099]) discover(guest, mac);
      assert.deepEqual(
        guest.received.map(({ udp }) => ipv4At(udp!.data, 16)),
        [OTHER, GUEST],
      );
      assert.deepEqual(
        guest.received.map(({ packet }) => macAt(packet.bytes, 0)),
        [OTHER_MAC, GUEST_MAC],
      );
    });
  });
  test("need a forwarded port to say whose it is; one that leaves takes its ports and connections with it", async () => {
    const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await withGuest({ guests, policy: allow("host") }, async (guest) => {
      await assert.rejects(guest.gateway.forward({ hostPort: 0, guestPort: 80 }), { code: "no-such-guest" });
      await guest.gateway.forward({ hostPort: 0, guestPort: 80, guest: OTHER });
      await guest.gateway.forward({ hostPort: 0, guestPort: 80, guest: GUEST });
      guest.sendTcp(GATEWAY, { destinationPort: port, seq: 100, flags: Flag.SYN });
      guest.sendUdp(GATEWAY, 1000, port, Uint8Array.of(1));
      await guest.take(({ tcp }) => tcp?.flags === (Flag.SYN | Flag.ACK));
      await guest.gateway.removeGuest(GUEST);
      assert.ok(guest.received.some(({ tcp }) => ((tcp?.flags ?? 0) & Flag.RST) !== 0));
      assert.deepEqual(
        guest.gateway.forwards.map((forward) => forward.guest),
        [OTHER],
      );
      assert.equal(guest.gateway.stats.udpFlows, 0);
      await until(() => guest.gateway.stats.tcpConnections === 0);
      guest.received.length = 0;
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping());
      assert.equal(guest.received.length, 0);
      guest.gateway.addGuest({ ipv4: GUEST, mac: GUEST_MAC });
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping());
      assert.equal(guest.received.length, 1);
    });
    server.close();
  });
});

describe("a SYN", () => {
  test("that comes again is the same connection; another one in its place is a new one", async () => {
    const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await withGuest({ policy: allow("host") }, async (guest) => {
      for (const seq of [100, 100, 100, 7000, 7000])
        guest.sendTcp(GATEWAY, { destinationPort: port, seq, flags: Flag.SYN });
      const { tcp } = await guest.take((received) => received.tcp !== undefined);
      assert.deepEqual([tcp!.flags, tcp!.ack], [Flag.SYN | Flag.ACK, 7001]);
      await until(() => guest.gateway.stats.tcpConnections === 1);
    });
    server.close();
  });
  test("to a port where nobody listens is a reset, when the host says so", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, "close");
    await withGuest({ policy: allow("host") }, async (guest) => {
      guest.sendTcp(GATEWAY, { destinationPort: port, seq: 100, flags: Flag.SYN });
      const { tcp } = await guest.take((received) => received.tcp !== undefined);
      assert.deepEqual([tcp!.flags, tcp!.ack], [Flag.RST | Flag.ACK, 101]);
      await until(() => guest.gateway.stats.tcpConnections === 0);
    });
  });
});

describe("a hostile guest", () => {
  test("cannot speak for others, or from another device", async () => {
    await withGuest({ policy: allow("host") }, (guest) => {
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(), (frame) => {
        putIpv4(frame, 26, at("10.0.2.16"));
        fixHeader(frame);
      });
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(), (frame) => putMac(frame, 6, 0x0200_0000_0001));
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(), (frame) => putMac(frame, 0, BROADCAST_MAC));
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(), (frame) => putMac(frame, 0, 0x0200_0000_0002));
      assert.equal(guest.received.length, 0);
      assert.equal(guest.gateway.stats.framesDropped, 4);
    });
  });
  test("with wrong checksums is not heard", async () => {
    await withGuest({}, (guest) => {
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(), (frame) => frame[24]!++);
      guest.sendIp(GATEWAY, IpProtocol.ICMP, ping(), (frame) => frame[PAYLOAD_START + 3]!++);
      const tcp = new Uint8Array(20);
      tcp.set([3, 232, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, Flag.SYN]);
      guest.sendIp(at("127.0.0.1"), IpProtocol.TCP, tcp);
      guest.sendIp(at("127.0.0.1"), IpProtocol.UDP, Uint8Array.of(0, 1, 0, 2, 0, 8, 1, 1));
      assert.equal(guest.received.length, 0);
    });
  });
  test("that floods SYNs gets as many connections as there are, then resets; all end with the gateway", async () => {
    const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await withGuest({ policy: allow("host"), limits: { connections: 50 } }, async (guest) => {
      for (let source = 1; source <= 5000; source++)
        guest.sendTcp(GATEWAY, { sourcePort: source, destinationPort: port, seq: source, flags: Flag.SYN });
      assert.equal(guest.gateway.stats.tcpConnections, 50);
      const resets = guest.received.filter(({ tcp }) => tcp?.flags === (Flag.RST | Flag.ACK));
      assert.equal(resets.length, 4950);
      for (let index = 0; index < 50; index++) await guest.take(({ tcp }) => tcp?.flags === (Flag.SYN | Flag.ACK));
      await guest.gateway.close();
      assert.equal(guest.received.filter(({ tcp }) => (tcp?.flags ?? 0) & Flag.RST).length, 5000);
    });
    server.close();
  });
  test("whose segments belong to no connection is reset", async () => {
    await withGuest({}, (guest) => {
      guest.sendTcp(at("8.8.8.8"), { seq: 5, ack: 1234, flags: Flag.ACK });
      guest.sendTcp(at("8.8.8.8"), { seq: 5, flags: Flag.FIN }, new Uint8Array(10));
      guest.sendTcp(at("8.8.8.8"), { seq: 5, ack: 1, flags: Flag.RST });
      const [first, second, ...others] = guest.received.map(({ tcp }) => tcp!);
      assert.deepEqual([first!.flags, first!.seq], [Flag.RST, 1234]);
      assert.deepEqual([second!.flags, second!.ack], [Flag.RST | Flag.ACK, 16]);
      assert.equal(others.length, 0);
    });
  });
  test("that sends any segments to a real server never makes it throw, and leaves nothing", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const random = fc.sample(
      fc.record({
        sourcePort: fc.integer({ min: 1, max: 6 }),
        // Mostly what fits into a connection that such segments began.
        seq: fc.oneof(fc.constantFrom(100, 101, 102, 111, 130), fc.integer()),
        isAnswer: fc.nat(5),
        flags: fc.oneof(
          fc.constantFrom(Flag.SYN, Flag.ACK, Flag.ACK | Flag.FIN, Flag.RST, Flag.RST | Flag.ACK),
          fc.nat(255),
        ),
        window: fc.constantFrom(0, 1, 100, 65_535),
        data: fc.uint8Array({ maxLength: 40 }),
      }),
      { numRuns: 4000, seed: 7 },
    );
    await withGuest({ policy: allow("host"), limits: { connections: 20 } }, async (guest) => {
      for (const [index, { isAnswer, data, ...fields }] of random.entries()) {
        const last = guest.received.findLast(({ tcp }) => tcp?.destinationPort === fields.sourcePort)?.tcp;
        const ack = last === undefined || isAnswer === 0 ? index : (last.seq + last.lengthInSequence) | 0;
        guest.sendTcp(GATEWAY, { ...fields, seq: fields.seq | 0, ack, destinationPort: port }, data);
        if (index % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
        if (guest.received.length > 200) guest.received.splice(0, 100);
      }
      for (let sourcePort = 1; sourcePort <= 6; sourcePort++)
        guest.sendTcp(GATEWAY, { sourcePort, destinationPort: port, seq: 1, flags: Flag.SYN });
      await guest.gateway.close();
      await until(() => guest.gateway.stats.tcpConnections === 0);
      assert.equal(guest.gateway.stats.queuedBytes, 0);
    });
    server.close();
  });
  test("that sends any bytes never makes it throw", async () => {
    // Nothing real is reached: all is denied.
    await withGuest({ policy: new Policy([parseRule("deny", "all")]) }, (guest) => {
      const header = fc.record({
        version: fc.constantFrom(0x45, 0x45, 0x4f, 0x46, 0x40, 0x65),
        length: fc.integer({ min: 0, max: 200 }),
        fragment: fc.constantFrom(0, 0, 0x2000, 0x2001, 0x1fff, 0x4000),
        protocol: fc.constantFrom(1, 6, 17, 2, 255),
        destination: fc.constantFrom(GATEWAY, DNS, 0xffffffff, at("8.8.8.8"), at("10.0.2.255"), 0),
        payload: fc.uint8Array({ maxLength: 180 }),
        port: fc.constantFrom(0, 53, 67, 80),
        isPartial: fc.boolean(),
        type: fc.constantFrom(0x0800, 0x0800, 0x0800, 0x0806, 0x86dd, 0x8100, 1),
      });
      fc.assert(
        fc.property(header, fc.boolean(), (fields, isConsistent) => {
          guest.received.length = 0;
          const frame = new Uint8Array(PAYLOAD_START + fields.payload.length);
          putMac(frame, 0, GATEWAY_MAC);
          putMac(frame, 6, GUEST_MAC);
          putU16(frame, 12, fields.type);
          frame[14] = fields.version;
          putU16(frame, 16, isConsistent ? frame.length - 14 : fields.length);
          putU16(frame, 20, fields.fragment);
          frame[22] = 64;
          frame[23] = fields.protocol;
          putIpv4(frame, 26, GUEST);
          putIpv4(frame, 30, fields.destination);
          frame.set(fields.payload, PAYLOAD_START);
          if (fields.payload.length > 4) putU16(frame, PAYLOAD_START + 2, fields.port);
          fixHeader(frame);
          guest.send(frame, fields.isPartial);
          assert.ok(guest.received.length <= 40);
        }),
        { numRuns: 3000 },
      );
      for (let length = 0; length < 60; length++) guest.send(new Uint8Array(length));
    });
  });
});
