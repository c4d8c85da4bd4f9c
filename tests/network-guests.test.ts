/* Networks of real guests: two Linux VMs on one switch, and one VM with the host's kernel as its peer through a TAP device (root only). */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { type AddressInfo, type Server, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { NetDevice } from "../src/device/virtio/net.ts";
import { runCommand } from "../src/image/command.ts";
import { Switch } from "../src/net/switch.ts";
import { type Tap, openTap } from "../src/net/tap.ts";
import { NetGuest } from "./support/net-guest.ts";

const CONTENT_BYTES = 1 << 20;

describe("two guests on one switch, with two processors and two queue pairs each", { timeout: 280_000 }, () => {
  const network = new Switch();
  const macs = [0x0200_0000_0001, 0x0200_0000_0002];
  const devices = macs.map((mac) => new NetDevice({ mac, queuePairs: 2 }));
  let guests: NetGuest[];
  const plug = (n: number): void => devices[n]!.plug(network.connect(devices[n]!, { mac: macs[n] }));

  before(async () => {
    devices.forEach((_, n) => plug(n));
    guests = await Promise.all(devices.map((device) => NetGuest.boot({ devices: [device], cpus: 2 })));
    await Promise.all(
      guests.map((guest, n) =>
        guest.run(
          // without a second in which the address is only tried and answers nobody
          `echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad && ifconfig eth0 10.1.0.${n + 1} netmask 255.255.255.0 up && ifconfig eth0 add fd00::${n + 1}/64 && head -c ${CONTENT_BYTES} /dev/urandom >/tmp/content && httpd -p 80 -h /tmp`,
        ),
      ),
    );
  });
  after(async () => {
    for (const guest of guests) await guest[Symbol.asyncDispose]();
  });

  test("Linux finds the device as it is", async () => {
    const facts = await guests[0]!.run("cd /sys/class/net/eth0; cat address mtu carrier; ls -1 queues; cd /");
    assert.equal(facts, "02:00:00:00:00:01\n1500\n1\nrx-0\nrx-1\ntx-0\ntx-1\n");
    const features = await guests[0]!.run("cat /sys/class/net/eth0/device/features");
    for (const bit of [0, 1, 2, 3, 5, 7, 8, 11, 12, 15, 16, 17, 18, 22, 23, 28, 29, 32])
      assert.equal(features[bit], "1", `feature ${bit}`);
  });

  test("they answer each other's pings, small and in many fragments", async () => {
    for (const [n, size] of [
      [0, 56],
      [1, 60_000],
    ] as const)
      assert.match(await guests[n]!.run(`ping -c 3 -i 0.2 -s ${size} 10.1.0.${2 - n}`), /3 packets received/);
    assert.match(await guests[0]!.run("ping6 -c 1 fd00::2"), /1 packets received/);
  });

  test("TCP carries every byte in both directions, over IPv4 and IPv6, in large packets", async () => {
    const sums = await Promise.all(guests.map((guest) => guest.run("md5sum </tmp/content")));
    const before = devices.map(({ counters }) => ({ ...counters }));
    for (const n of [0, 1])
      for (const host of [`10.1.0.${2 - n}`, `[fd00::${2 - n}]`])
        assert.equal(await guests[n]!.run(`wget -q -O - http://${host}/content | md5sum`), sums[1 - n]);
    devices.forEach(({ counters }, n) => {
      const bytes = counters.sentBytes - before[n]!.sentBytes;
      assert.ok(bytes > 2 * CONTENT_BYTES, `${bytes} bytes sent`);
      assert.ok(bytes / (counters.sentPackets - before[n]!.sentPackets) > 3000, "segments are not cut");
      assert.equal(counters.sentLost + counters.receivedLost, 0);
    });
    assert.equal(network.counters.refused, 0);
  });

  test("the link goes down and up with the cable", async () => {
    const [first, second] = guests as [NetGuest, NetGuest];
    devices[0]!.unplug();
    await first.run("until grep -q 0 /sys/class/net/eth0/carrier; do sleep 0.1; done");
    plug(0);
    await first.run("until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.1; done");
    assert.match(await second.run("ping -c 1 10.1.0.1"), /1 packets received/);
  });

  test("a guest cannot take another's address", async () => {
    const { status } = await guests[0]!.attempt("ifconfig eth0 down; ifconfig eth0 hw ether 02:00:00:00:00:02");
    assert.notEqual(status, 0);
    await guests[0]!.run("ifconfig eth0 up");
    assert.match(await guests[0]!.run("ping -c 1 10.1.0.2"), /1 packets received/);
  });

  test("what the driver wants to see can be changed", async () => {
    await guests[0]!.run("for mode in promisc -promisc allmulti -allmulti; do ifconfig eth0 $mode || break; done");
    assert.match(await guests[0]!.run("ping -c 1 10.1.0.2"), /1 packets received/);
  });

  test("the kernel complains of nothing", async () => {
    assert.equal(await guests[0]!.run("dmesg | grep -E 'WARNING|BUG|virtio_net.*(fail|error)' || true"), "");
  });
});

const NAME = `mere${process.pid}`;
const reason =
  process.getuid?.() !== 0
    ? "needs root, to make a TAP device"
    : existsSync("/dev/net/tun")
      ? false
      : "needs /dev/net/tun";

describe("a guest and the host's kernel, through a TAP device", { timeout: 280_000, skip: reason }, () => {
  const mac = 0x0200_0000_0003;
  const device = new NetDevice({ mac });
  const content = randomBytes(CONTENT_BYTES);
  const sum = createHash("md5").update(content).digest("hex");
  const network = new Switch();
  let guest: NetGuest;
  let tap: Tap;
  /** Says the content, and the sum of what it hears. */
  const speaker = createServer((socket) => void socket.on("error", () => {}).end(content));
  const heard: ((sum: string) => void)[] = [];
  const listener = createServer((socket) => {
    const hash = createHash("md5");
    socket.on("data", (chunk) => void hash.update(chunk)).on("end", () => heard.shift()?.(hash.digest("hex")));
  });

  const ip = async (words: string): Promise<void> => {
    const { status, stderr } = await runCommand("ip", words.split(" "));
    assert.equal(status, 0, `ip ${words}: ${stderr}`);
  };
  const port = (server: Server): number => (server.address() as AddressInfo).port;

  before(async () => {
    await ip(`tuntap add dev ${NAME} mode tap`);
    await ip(`address add 10.213.7.1/24 dev ${NAME}`);
    await ip(`address add fd13:7::1/64 dev ${NAME} nodad`);
    await ip(`link set ${NAME} up`);
    for (const server of [speaker, listener])
      await new Promise<void>((resolve) => void server.listen(0, "::", resolve));
    guest = await NetGuest.boot({ devices: [device] });
    await guest.run("ifconfig eth0 10.213.7.2 netmask 255.255.255.0 up && ifconfig eth0 add fd13:7::2/64");
  });
  after(async () => {
    await guest[Symbol.asyncDispose]();
    for (const server of [speaker, listener]) server.close();
    await tap.close();
    await ip(`link delete ${NAME}`);
  });

  for (const offload of [true, false])
    test(`TCP carries every byte in both directions ${offload ? "uncut" : "with segments and checksums made in software"}`, async () => {
      if (!offload) {
        await tap.close();
        device.unplug();
      }
      tap = openTap(NAME, { offload });
      tap.plug(network.connect(tap));
      device.plug(network.connect(device, { mac }));
      // The guest's IPv6 address is not used before it has looked whether another has it.
      for (const host of ["10.213.7.1", "fd13:7::1"])
        await guest.run(`until ping -c 1 -W 1 ${host} >/dev/null 2>&1; do :; done`);
      assert.match(await guest.run("ping -c 2 -i 0.2 -s 3000 10.213.7.1"), /2 packets received/);
      for (const host of ["10.213.7.1", "fd13:7::1"]) {
        const before = { ...device.counters };
        await guest.run(`nc ${host} ${port(speaker)} </dev/null >/tmp/got`);
        assert.equal((await guest.run("md5sum </tmp/got")).split(" ")[0], sum);
        const whole = new Promise<string>((resolve) => void heard.push(resolve));
        await guest.run(`nc ${host} ${port(listener)} </tmp/got`);
        assert.equal(await whole, sum);
        const { receivedBytes, receivedPackets, sentBytes, sentPackets } = device.counters;
        const size = (receivedBytes - before.receivedBytes) / (receivedPackets - before.receivedPackets);
        assert.ok(offload ? size > 1514 : size <= 1514, `${size} bytes a received packet`);
        assert.ok((sentBytes - before.sentBytes) / (sentPackets - before.sentPackets) > 1514, "the guest never cuts");
      }
    });
});
