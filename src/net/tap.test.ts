import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { runCommand } from "../image/command.ts";
import { macAt, putIpv4, putMac } from "./address.ts";
import type { NetworkEndpoint, Packet } from "./packet.ts";
import { Switch } from "./switch.ts";
import { openTap } from "./tap.ts";
import { tcpPacket } from "./test-packets.ts";

const NAME = `meret${process.pid}`;
const GUEST_MAC = 0x0200_0000_0009;
const reason =
  process.getuid?.() !== 0
    ? "needs root, to make a TAP device"
    : existsSync("/dev/net/tun")
      ? false
      : "needs /dev/net/tun";

async function ip(words: string): Promise<void> {
  const { status, stderr } = await runCommand("ip", words.split(" "));
  assert.equal(status, 0, `ip ${words}: ${stderr}`);
}
/** The kernel drops what is sent before it has noticed that the device is in use. */
async function untilUp(): Promise<void> {
  while (readFileSync(`/sys/class/net/${NAME}/operstate`, "latin1").trim() !== "up") await setTimeout(5);
}
/** Keeps frames; waitFor() resolves with the first that is wanted. */
class Listener implements NetworkEndpoint {
  room = true;
  #wanted: ((packet: Packet) => boolean) | undefined;
  #found: ((packet: Packet) => void) | undefined;
  receive(packet: Packet): boolean {
    if (!this.room) return false;
    if (this.#wanted?.(packet) === true) this.#found?.(packet);
    return true;
  }
  waitFor(wanted: (packet: Packet) => boolean): Promise<Packet> {
    this.#wanted = wanted;
    return new Promise((resolve) => (this.#found = resolve));
  }
}

test("a name that is no TAP device's is refused with what to do", () => {
  for (const name of ["no-such-device", "", "..", "a/b", "../../etc", "x".repeat(16), "lo\n"])
    assert.throws(() => openTap(name), { code: "missing", message: /ip tuntap add/ }, name);
  assert.throws(() => openTap("lo"), { code: "not-a-tap" });
});

describe("a TAP device", { skip: reason, timeout: 60_000 }, () => {
  before(async () => {
    await ip(`tuntap add dev ${NAME} mode tap`);
    await ip(`address add 10.213.8.1/24 dev ${NAME}`);
    await ip(`neighbour add 10.213.8.2 lladdr 02:00:00:00:00:09 dev ${NAME}`);
    await ip(`link set ${NAME} up`);
  });
  after(() => ip(`link delete ${NAME}`));

  const isUdp = ({ bytes }: Packet): boolean => bytes[23] === 17 && bytes[33] === 2;

  test("carries frames both ways, with what the kernel leaves to do", async () => {
    for (const offload of [true, false]) {
      const network = new Switch();
      const tap = openTap(NAME, { offload });
      const guest = new Listener();
      const cable = network.connect(guest, { mac: GUEST_MAC });
      tap.plug(network.connect(tap));
      await untilUp();
      const socket = createSocket("udp4");
      await new Promise<void>((resolve) => void socket.bind(0, "10.213.8.1", () => resolve()));
      const heard = guest.waitFor(isUdp);
      socket.send("to the guest", 7, "10.213.8.2");
      const { bytes, checksum } = await heard;
      assert.equal(Buffer.from(bytes.subarray(42)).toString(), "to the guest");
      assert.deepEqual(checksum, offload ? { start: 34, offset: 6 } : undefined);
      const answer = Uint8Array.from(bytes);
      putMac(answer, 0, macAt(bytes, 6));
      putMac(answer, 6, GUEST_MAC);
      putIpv4(answer, 26, 0x0ad5_0802);
      putIpv4(answer, 30, 0x0ad5_0801);
      answer.set(bytes.subarray(34, 36), 36);
      answer.set(bytes.subarray(36, 38), 34);
      const message = new Promise<string>((resolve) => void socket.once("message", (text) => resolve(String(text))));
      // The sums of the frame are the same with both addresses and both ports exchanged.
      assert.ok(cable.send({ bytes: answer, checksum }));
      assert.equal(await message, "to the guest");
      socket.close();
      await tap.close();
    }
  });

  test("stops reading where the switch has no room, and loses nothing", async () => {
    const network = new Switch();
    const tap = openTap(NAME);
    const guest = new Listener();
    const cable = network.connect(guest, { mac: GUEST_MAC });
    guest.room = false;
    tap.plug(network.connect(tap));
    await untilUp();
    const socket = createSocket("udp4");
    const send = (text: string): Promise<void> =>
      new Promise((resolve) => socket.send(text, 7, "10.213.8.2", () => resolve()));
    for (const text of ["first", "second"]) await send(text);
    const texts: string[] = [];
    guest.room = true;
    const both = guest.waitFor((packet) => {
      if (isUdp(packet)) texts.push(Buffer.from(packet.bytes.subarray(42)).toString());
      return texts.length === 2;
    });
    cable.hasRoom();
    await both;
    assert.deepEqual(texts, ["first", "second"]);
    socket.close();
    await tap.close();
  });

  test("is one VM's at a time, and free after close", async () => {
    const tap = openTap(NAME);
    assert.throws(() => openTap(NAME), { code: "busy" });
    await tap.close();
    await tap.close();
    assert.ok(tap.receive({ bytes: new Uint8Array(60) }));
    await openTap(NAME).close();
  });

  test("frames for a device that is down are lost", async () => {
    const tap = openTap(NAME);
    await ip(`link set ${NAME} down`);
    const { packet } = tcpPacket({ version: 4, payload: 5000, sizeBytes: 1448 });
    assert.ok(tap.receive(packet));
    await ip(`link set ${NAME} up`);
    await tap.close();
  });
});
