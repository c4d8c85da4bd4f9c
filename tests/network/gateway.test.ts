/* The gateway with Linux's own TCP/IP stack as the guest. Only loopback servers: the policy allows the host. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ISOLATED } from "../../src/net/address.ts";
import { type Gateway, type GatewayOptions, openGateway } from "../../src/net/nat/gateway.ts";
import { Policy, parseRule } from "../../src/net/policy.ts";
import { pattern } from "./guest-program.ts";
import { KernelPeer, whyNoKernelPeer } from "./kernel-peer.ts";

const PROGRAM = fileURLToPath(new URL("guest-program.ts", import.meta.url));
const skip = whyNoKernelPeer() ?? false;
let names = 0;

async function setUp(
  t: TestContext,
  options: Partial<GatewayOptions> = {},
  { offloads = true, isConfigured = true } = {},
) {
  const peer = new KernelPeer(`mere${process.pid % 100_000}x${names++}`, { offloads });
  t.after(() => peer.close());
  if (isConfigured) peer.configure("10.0.2.15/24", "10.0.2.2");
  const gateway: Gateway = await openGateway({
    cable: peer.cable,
    ...ISOLATED,
    guests: [{ ipv4: ISOLATED.guest, hostname: "box" }],
    policy: new Policy([parseRule("allow", "host")]),
    domain: "mere.internal",
    ...options,
  });
  peer.endpoint = gateway;
  t.after(() => gateway.close());
  return { peer, gateway };
}
async function serve(t: TestContext, handle: (socket: Socket) => void): Promise<string> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    handle(socket);
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 });
  await once(server, "listening");
  t.after(() => server.close());
  return String((server.address() as AddressInfo).port);
}
/** Runs the guest's program. @returns what it printed */
async function guest(peer: KernelPeer, ...words: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await peer.run([process.execPath, PROGRAM, ...words]);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
}
/** Starts the guest's program and waits for its first line. */
async function start(peer: KernelPeer, ...words: string[]) {
  const child = peer.spawn([process.execPath, PROGRAM, ...words], { stdio: ["pipe", "pipe", "inherit"] });
  await once(child.stdout!, "data");
  return child;
}
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}
const echo = (socket: Socket) => socket.pipe(socket);

describe("Linux as the guest", { skip, timeout: 120_000 }, () => {
  test("pings the gateway, also with fragments", async (t) => {
    const { peer } = await setUp(t);
    for (const size of ["56", "5000"]) {
      const { status, stdout } = await peer.run(["busybox", "ping", "-c", "2", "-s", size, "10.0.2.2"]);
      assert.equal(status, 0, stdout);
    }
  });

  test("gets its address, names and routes by DHCP", async (t) => {
    const { peer } = await setUp(t, {}, { isConfigured: false });
    const folder = mkdtempSync(join(tmpdir(), "mere-dhcp-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const [script, said] = [join(folder, "script"), join(folder, "said")];
    writeFileSync(script, `#!/bin/sh\n[ "$1" = bound ] && env > ${said}\nexit 0\n`);
    chmodSync(script, 0o755);
    const udhcpc = ["busybox", "udhcpc", "-f", "-n", "-q", "-i", peer.name, "-s", script];
    const { status, stderr } = await peer.run([...udhcpc, "-O", "mtu", "-O", "hostname"]);
    assert.equal(status, 0, stderr);
    const lines = readFileSync(said, "utf8").split("\n");
    for (const line of [
      "ip=10.0.2.15",
      "mask=24",
      "router=10.0.2.2",
      "dns=10.0.2.3",
      "hostname=box",
      "domain=mere.internal",
      "mtu=1500",
      "lease=86400",
      "serverid=10.0.2.2",
    ])
      assert.ok(lines.includes(line), `${line} is not in ${lines.join(" ")}`);
  });

  test("resolves names of the network", async (t) => {
    const { peer } = await setUp(t);
    const { stdout } = await peer.run(["busybox", "nslookup", "box.mere.internal", "10.0.2.3"]);
    assert.match(stdout, /Address: 10\.0\.2\.15/);
  });

  for (const offloads of [true, false])
    test(`moves streams both ways ${offloads ? "with" : "without"} offloads`, async (t) => {
      const { peer, gateway } = await setUp(t, {}, { offloads });
      const port = await serve(t, echo);
      assert.equal(await guest(peer, "serial", "10.0.2.2", port, "2", "20000000"), 2);
      assert.equal(gateway.stats.queuedBytes, 0);
    });

  test("500 connections at once carry each its own bytes, and none is left", async (t) => {
    const { peer, gateway } = await setUp(t);
    const port = await serve(t, echo);
    assert.equal(await guest(peer, "together", "10.0.2.2", port, "500", "200000"), 500);
    await until(() => gateway.stats.tcpConnections === 0);
    assert.equal(gateway.stats.queuedBytes, 0);
  });

  test("many connections one after another leave nothing", async (t) => {
    const { peer, gateway } = await setUp(t);
    const port = await serve(t, echo);
    assert.equal(await guest(peer, "serial", "10.0.2.2", port, "1000", "100"), 1000);
    await until(() => gateway.stats.tcpConnections === 0);
  });

  test("is answered after its own end, and hears the other's before it", async (t) => {
    const { peer } = await setUp(t);
    const late = await serve(t, (socket) => {
      const parts: Buffer[] = [];
      socket.on("data", (part: Buffer) => parts.push(part));
      socket.on("end", () => socket.end(`${Buffer.concat(parts).length} bytes`));
    });
    const { stdout } = await peer.run(["nc", "-N", "10.0.2.2", late], "x".repeat(100_000));
    assert.equal(stdout, "100000 bytes");
    const received: Buffer[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const early = await serve(t, (socket) => {
      socket.end("done");
      socket.on("data", (part: Buffer) => received.push(part));
      socket.on("end", resolve);
    });
    assert.equal(await guest(peer, "connect", "10.0.2.2", early), "none");
    const second = await peer.run(["sh", "-c", `(sleep 0.2; printf after) | nc -N 10.0.2.2 ${early}`]);
    await promise;
    assert.equal(second.stdout, "done");
  });

  test("hears refusals, resets and what the policy denies; its own resets arrive", async (t) => {
    const { peer } = await setUp(t, { policy: new Policy([parseRule("allow", "host"), parseRule("deny", "host:9")]) });
    assert.equal(await guest(peer, "connect", "10.0.2.2", "1"), "ECONNREFUSED");
    assert.equal(await guest(peer, "connect", "10.0.2.2", "9"), "EHOSTUNREACH");
    assert.equal(await guest(peer, "connect", "192.168.77.1", "80"), "EHOSTUNREACH");
    assert.equal(await guest(peer, "connect", "10.0.2.3", "80"), "ECONNREFUSED");
    const resetting = await serve(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    assert.equal(await guest(peer, "read", "10.0.2.2", resetting), "ECONNRESET");
    const { promise, resolve } = Promise.withResolvers<string>();
    const listening = await serve(t, (socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
      socket.pipe(socket);
    });
    assert.equal(await guest(peer, "reset", "10.0.2.2", listening), "reset");
    assert.equal(await promise, "ECONNRESET");
  });

  test("that does not read stops the host's side, with bounded memory, and loses nothing", async (t) => {
    const { peer, gateway } = await setUp(t);
    const bytes = pattern(5, 30_000_000);
    let sender: Socket | undefined;
    const port = await serve(t, (socket) => {
      sender = socket;
      socket.end(bytes);
    });
    const child = await start(peer, "slow", "10.0.2.2", port);
    let written = -1;
    // Until nothing moves any more.
    while (sender === undefined || written !== sender.bytesWritten - sender.writableLength) {
      written = sender === undefined ? -1 : sender.bytesWritten - sender.writableLength;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.ok(gateway.stats.queuedBytes > 0 && gateway.stats.queuedBytes <= 2 << 20, String(gateway.stats.queuedBytes));
    child.stdin!.write("go\n");
    const [digest] = (await once(child.stdout!, "data")) as [Buffer];
    assert.equal(JSON.parse(String(digest)), createHash("sha256").update(bytes).digest("hex"));
  });

  test("whose device has no room again and again loses nothing", async (t) => {
    const { peer } = await setUp(t);
    const port = await serve(t, echo);
    let turns = 0;
    const toggle = setInterval(() => {
      peer.hasRoom = ++turns % 3 === 0;
      if (peer.hasRoom) peer.cable.onRoom?.();
    }, 3);
    t.after(() => clearInterval(toggle));
    assert.equal(await guest(peer, "together", "10.0.2.2", port, "20", "300000"), 20);
  });

  test("sends datagrams out, large ones too, and hears refusals", async (t) => {
    const { peer } = await setUp(t);
    const socket = createSocket("udp4");
    socket.on("message", (data, from) => socket.send(data, from.port, from.address));
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    t.after(() => socket.close());
    for (const size of ["1", "1472", "1473", "60000"])
      assert.equal(await guest(peer, "udp", "10.0.2.2", String(socket.address().port), size), true);
    assert.equal(await guest(peer, "udp", "10.0.2.2", "1", "10"), "ECONNREFUSED");
  });

  test("serves forwarded ports, TCP and UDP; refuses what it does not serve", async (t) => {
    const { peer, gateway } = await setUp(t);
    const tcp = await gateway.forward({ hostPort: 0, guestPort: 8080 });
    const udp = await gateway.forward({ protocol: "udp", hostPort: 0, guestPort: 8081 });
    const refused = connect(tcp.hostPort, "127.0.0.1");
    assert.equal(((await once(refused, "error")) as [NodeJS.ErrnoException])[0].code, "ECONNRESET");
    await start(peer, "serve", "0.0.0.0", "8080");
    await start(peer, "serveUdp", "0.0.0.0", "8081");
    const bytes = pattern(3, 3_000_000);
    const results = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = connect({ port: tcp.hostPort, host: "127.0.0.1", allowHalfOpen: true });
        client.end(bytes);
        return Buffer.concat(await client.toArray()).equals(bytes);
      }),
    );
    assert.ok(results.every(Boolean));
    const client = createSocket("udp4");
    client.send("ask", udp.hostPort, "127.0.0.1");
    assert.equal(String(((await once(client, "message")) as [Buffer])[0]), "ask");
    client.close();
    await until(() => gateway.stats.tcpConnections === 0);
  });
});
