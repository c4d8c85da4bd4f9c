import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, test } from "node:test";
import { ISOLATED } from "../address.ts";
import { NetworkError, type NetworkErrorCode } from "../network-error.ts";
import { openGateway } from "./gateway.ts";
import { Flag } from "./tcp-segment.ts";
import { TestGuest, until } from "./test-guest.ts";

const isError = (code: NetworkErrorCode) => (error: unknown) => error instanceof NetworkError && error.code === code;

describe("a forwarded port", () => {
  test("that is in use, not the host's or not permitted is one sentence, and leaves nothing open", async (t) => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const guest = new TestGuest();
    t.after(() => guest.gateway.close());
    const options = { cable: guest.cable, ...ISOLATED, guests: [{ ipv4: ISOLATED.guest }] };
    const free = { hostPort: 0, guestPort: 80 };
    await assert.rejects(
      openGateway({ ...options, forwards: [free, { hostPort: port, guestPort: 80 }] }),
      (error: Error) => {
        assert.ok(isError("port-in-use")(error));
        assert.ok(error.message.includes(`127.0.0.1:${port}/tcp`) && error.message.includes("choose another port"));
        return true;
      },
    );
    taken.close();
    for (const protocol of ["tcp", "udp"] as const)
      await assert.rejects(
        guest.gateway.forward({ protocol, hostAddress: "192.0.2.200", hostPort: 0, guestPort: 80 }),
        isError("no-such-address"),
      );
    await assert.rejects(guest.gateway.forward({ ...free, guest: 1 }), isError("no-such-guest"));
    await guest.gateway.close();
    await assert.rejects(guest.gateway.forward(free), isError("closed"));
  });

  test("UDP in use is told too", async (t) => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const guest = new TestGuest();
    t.after(() => guest.gateway.close());
    const forward = guest.gateway.forward({ protocol: "udp", hostPort: socket.address().port, guestPort: 80 });
    await assert.rejects(forward, isError("port-in-use"));
    socket.close();
  });

  test("asks a guest that is still booting again until it answers", async (t) => {
    const guest = new TestGuest();
    t.after(() => guest.gateway.close());
    const { hostPort } = await guest.gateway.forward({ hostPort: 0, guestPort: 80 });
    const client = connect(hostPort, "127.0.0.1");
    client.write("hello");
    const syn = await guest.take(({ tcp }) => tcp?.flags === Flag.SYN);
    assert.equal(syn.ip!.source, ISOLATED.gateway);
    assert.equal(syn.tcp!.destinationPort, 80);
    const again = await guest.take(({ tcp }) => tcp?.flags === Flag.SYN);
    assert.equal(again.tcp!.seq, syn.tcp!.seq);
    const ports = { sourcePort: 80, destinationPort: syn.tcp!.sourcePort };
    const ack = (syn.tcp!.seq + 1) | 0;
    guest.sendTcp(ISOLATED.gateway, { ...ports, seq: 500, ack, flags: Flag.SYN | Flag.ACK });
    const data = await guest.take(({ tcp }) => (tcp?.payload.length ?? 0) > 0);
    assert.equal(Buffer.from(data.tcp!.payload).toString(), "hello");
    guest.sendTcp(ISOLATED.gateway, { ...ports, seq: 501, ack: ack + 5 }, Buffer.from("world"));
    assert.equal(String((await once(client, "data"))[0]), "world");
    client.destroy();
  });

  test("that the guest refuses, or does not answer in time, is closed", async (t) => {
    const guest = new TestGuest({ limits: { forwardPatienceMs: 300 } });
    t.after(() => guest.gateway.close());
    const { hostPort } = await guest.gateway.forward({ hostPort: 0, guestPort: 80 });
    const refused = connect(hostPort, "127.0.0.1");
    const isReset = once(refused, "error");
    const syn = await guest.take(({ tcp }) => tcp?.flags === Flag.SYN);
    const ports = { sourcePort: 80, destinationPort: syn.tcp!.sourcePort };
    guest.sendTcp(ISOLATED.gateway, { ...ports, ack: (syn.tcp!.seq + 1) | 0, flags: Flag.RST | Flag.ACK });
    assert.equal(((await isReset)[0] as NodeJS.ErrnoException).code, "ECONNRESET");
    const silent = connect(hostPort, "127.0.0.1");
    assert.equal(((await once(silent, "error"))[0] as NodeJS.ErrnoException).code, "ECONNRESET");
    await until(() => guest.gateway.stats.tcpConnections === 0);
  });

  test("that is flooded leaves connections for the guest itself", async (t) => {
    const guest = new TestGuest({ limits: { connections: 8 } });
    t.after(() => guest.gateway.close());
    const { hostPort } = await guest.gateway.forward({ hostPort: 0, guestPort: 80 });
    const clients = Array.from({ length: 8 }, () => connect(hostPort, "127.0.0.1"));
    const refused = await Promise.race(clients.map((client) => once(client, "error")));
    assert.equal((refused[0] as NodeJS.ErrnoException).code, "ECONNRESET");
    assert.equal(guest.gateway.stats.tcpConnections, 6);
    for (const client of clients) {
      client.on("error", () => {});
      client.destroy();
    }
  });

  test("UDP carries each peer's datagrams from a port of the gateway's own, and the answers back", async (t) => {
    const guest = new TestGuest();
    t.after(() => guest.gateway.close());
    const { hostPort } = await guest.gateway.forward({ protocol: "udp", hostPort: 0, guestPort: 53 });
    const peers = [createSocket("udp4"), createSocket("udp4")];
    const ports = new Set<number>();
    for (const [index, peer] of peers.entries()) {
      peer.send(`ask ${index}`, hostPort, "127.0.0.1");
      const { udp, ip } = await guest.take((received) => received.udp?.destinationPort === 53);
      assert.equal(Buffer.from(udp!.data).toString(), `ask ${index}`);
      ports.add(udp!.sourcePort);
      guest.sendUdp(ip!.source, 53, udp!.sourcePort, Buffer.from(`answer ${index}`));
      assert.equal(String((await once(peer, "message"))[0]), `answer ${index}`);
      peer.close();
    }
    assert.equal(ports.size, 2);
    assert.equal(guest.gateway.stats.udpFlows, 2);
  });
});
