import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { TestDriver } from "./test-driver.ts";
import { VsockDevice } from "./vsock.ts";
import type { VsockError, VsockErrorCode } from "./vsock-error.ts";
import { decodeHeader, HEADER_BYTES, type VsockHeader, VsockOp, VsockShutdown } from "./vsock-packet.ts";
import { BUFFER_BYTES } from "./vsock-socket.ts";

const RX = 0;
const TX = 1;
const GUEST = 3;
const RX_BYTES = 4096;
const RX_BUFFERS = 32;
// Places in the test machine's MiB of memory, above its rings.
const RX_PLACE = 0x20000;
const SLOT_BYTES = 4160;
const TX_PLACE = 0x60000;
const DATA_PLACE = 0x80000;
const NEXT = 1;
const WRITE = 2;
const code = (expected: VsockErrorCode) => (error: VsockError) => error.code === expected;

interface Sent {
  op: number;
  hostPort: number;
  guestPort: number;
  data?: Uint8Array;
  flags?: number;
  bufAlloc?: number;
  fwdCnt?: number;
  type?: number;
  length?: number;
  sourceCid?: bigint;
  destinationCid?: bigint;
}
type Received = VsockHeader & { data: Uint8Array; length: number };

/** A guest's driver, with buffers for what the host sends. */
class Guest {
  readonly device = new VsockDevice();
  readonly driver = new TestDriver(this.device);
  readonly #free = Array.from({ length: RX_BUFFERS }, (_, i) => i);
  #transmitted = 0;

  constructor(buffers = 16) {
    assert.ok(this.driver.start(3));
    this.give(buffers);
  }
  /** Offers receive buffers. */
  give(count: number): void {
    for (const slot of this.#free.splice(0, count)) {
      this.driver.describe(RX, slot, RX_PLACE + slot * SLOT_BYTES, HEADER_BYTES + RX_BYTES, WRITE, 0);
      this.driver.offer(RX, slot);
    }
    this.driver.back.serve();
  }
  send(packet: Sent): void {
    this.queue(packet);
    this.driver.back.serve();
  }
  queue({ data = new Uint8Array(0), ...packet }: Sent): void {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    view.setBigUint64(0, packet.sourceCid ?? BigInt(GUEST), true);
    view.setBigUint64(8, packet.destinationCid ?? 2n, true);
    view.setUint32(16, packet.guestPort, true);
    view.setUint32(20, packet.hostPort, true);
    view.setUint32(24, packet.length ?? data.length, true);
    view.setUint16(28, packet.type ?? 1, true);
    view.setUint16(30, packet.op, true);
    view.setUint32(32, packet.flags ?? 0, true);
    view.setUint32(36, packet.bufAlloc ?? 65536, true);
    view.setUint32(40, packet.fwdCnt ?? 0, true);
    // Two descriptors a packet; the data's place is one for all, since a packet is served before the next has any.
    const slot = 2 * (this.#transmitted++ % 32);
    const at = TX_PLACE + slot * HEADER_BYTES;
    this.driver.machine.memory.write(at, new Uint8Array(view.buffer));
    this.driver.machine.memory.write(DATA_PLACE, data);
    this.driver.describe(TX, slot, at, HEADER_BYTES, data.length > 0 ? NEXT : 0, slot + 1);
    this.driver.describe(TX, slot + 1, DATA_PLACE, data.length, 0, 0);
    this.driver.offer(TX, slot);
  }
  /** What has come since the last call; a buffer for each is offered again. */
  take(again = true): Received[] {
    const used = this.driver.used(RX);
    const packets = used.map(([slot, written]) => {
      const bytes = this.driver.bytes(RX_PLACE + slot * SLOT_BYTES, written);
      this.#free.push(slot);
      // The source is the host's port here.
      const { guestPort: hostPort, hostPort: guestPort, ...header } = decodeHeader(bytes);
      return { ...header, hostPort, guestPort, data: bytes.subarray(HEADER_BYTES) };
    });
    this.driver.used(TX);
    if (again) this.give(used.length);
    return packets;
  }
  one(): Received {
    const packets = this.take();
    assert.equal(packets.length, 1, JSON.stringify(packets.map(({ op }) => op)));
    return packets[0]!;
  }
  /** A connection that the host made. */
  async connected(
    credit: Partial<Sent> = {},
  ): Promise<{ socket: Duplex; ports: { hostPort: number; guestPort: number } }> {
    const promise = this.device.connect(1023);
    const { hostPort, guestPort, op } = this.one();
    assert.equal(op, VsockOp.REQUEST);
    this.send({ op: VsockOp.RESPONSE, hostPort, guestPort, ...credit });
    return { socket: await promise, ports: { hostPort, guestPort } };
  }
}
const isRunning = (guest: Guest): boolean => (guest.driver.get(0x070) & 0x40) === 0;

describe("vsock", () => {
  test("tells the guest its CID", () => {
    const { driver } = new Guest();
    assert.deepEqual([driver.get(0x008), driver.get(0x100), driver.get(0x104)], [19, GUEST, 0]);
  });

  test("connects, carries bytes both ways and ends in order", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected();
    socket.write("hello");
    const hello = guest.one();
    assert.deepEqual(
      [hello.op, Buffer.from(hello.data).toString(), hello.bufAlloc],
      [VsockOp.RW, "hello", BUFFER_BYTES],
    );
    guest.send({ op: VsockOp.RW, ...ports, data: Buffer.from("world") });
    assert.equal((socket.read() as Buffer).toString(), "world");
    socket.end();
    await setImmediate();
    const shutdown = guest.one();
    assert.deepEqual([shutdown.op, shutdown.flags], [VsockOp.SHUTDOWN, VsockShutdown.SEND]);
    guest.send({ op: VsockOp.RW, ...ports, data: Buffer.from("later") });
    guest.send({ op: VsockOp.SHUTDOWN, ...ports, flags: VsockShutdown.SEND | VsockShutdown.RECEIVE });
    assert.equal(Buffer.concat(await socket.toArray()).toString(), "later");
    assert.ok(guest.take().some(({ op }) => op === VsockOp.RST));
    await finished(socket);
  });

  test("is told when nobody listens, or answers, or the wait is given up", async () => {
    const guest = new Guest();
    const refused = guest.device.connect(1);
    const { hostPort, guestPort } = guest.one();
    guest.send({ op: VsockOp.RST, hostPort, guestPort });
    await assert.rejects(refused, code("refused"));
    await assert.rejects(guest.device.connect(2, { timeoutMs: 5 }), code("timed-out"));
    const abort = new AbortController();
    const aborted = guest.device.connect(3, { signal: abort.signal });
    abort.abort(new Error("mine"));
    await assert.rejects(aborted, /mine/);
    guest.take();
    guest.device.close();
    await assert.rejects(guest.device.connect(4), code("closed"));
  });

  test("takes connections to ports that are listened on, and refuses the others", async () => {
    const guest = new Guest();
    const taken: [Duplex, number][] = [];
    const stop = guest.device.listen(1022, (socket, port) => taken.push([socket, port]));
    assert.throws(() => guest.device.listen(1022, () => {}), RangeError);
    guest.send({ op: VsockOp.REQUEST, hostPort: 1022, guestPort: 1000 });
    const response = guest.one();
    assert.deepEqual([response.op, taken[0]![1]], [VsockOp.RESPONSE, 1000]);
    guest.send({ op: VsockOp.RW, hostPort: 1022, guestPort: 1000, data: Buffer.from("x") });
    assert.equal((taken[0]![0].read() as Buffer).toString(), "x");
    guest.send({ op: VsockOp.REQUEST, hostPort: 1021, guestPort: 1000 });
    assert.equal(guest.one().op, VsockOp.RST);
    stop();
    guest.send({ op: VsockOp.REQUEST, hostPort: 1022, guestPort: 1001 });
    assert.equal(guest.one().op, VsockOp.RST);
  });

  test("sends as much as the guest can take, and no more", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected({ bufAlloc: 10_000 });
    const data = Buffer.alloc(50_000, "0123456789");
    const written = new Promise<void>((resolve) => void socket.write(data, () => resolve()));
    const got: Uint8Array[] = guest.take().map((packet) => packet.data);
    assert.equal(Buffer.concat(got).length, 10_000);
    assert.deepEqual(guest.take(), []);
    for (let forwarded = 10_000; Buffer.concat(got).length < data.length; forwarded = Buffer.concat(got).length) {
      guest.send({ op: VsockOp.CREDIT_UPDATE, ...ports, bufAlloc: 10_000, fwdCnt: forwarded });
      got.push(...guest.take().map((packet) => packet.data));
    }
    assert.ok(Buffer.concat(got).equals(data));
    await written;
  });

  test("waits for the guest's buffers", async () => {
    const guest = new Guest(2);
    const { socket } = await guest.connected();
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.write(Buffer.alloc(20_000), () => resolve());
    let count = 0;
    while (count < 20_000) count += guest.take().reduce((sum, { data }) => sum + data.length, 0);
    await promise;
    assert.equal(count, 20_000);
  });

  test("tells the guest of room once the reader has taken what was sent", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected();
    const chunk = Buffer.alloc(32 << 10);
    for (let sent = 0; sent < BUFFER_BYTES; sent += chunk.length) guest.send({ op: VsockOp.RW, ...ports, data: chunk });
    const told = guest.take().filter(({ op }) => op === VsockOp.CREDIT_UPDATE);
    const before = told.at(-1)?.fwdCnt ?? 0;
    let read = 0;
    socket.on("data", (data: Buffer) => (read += data.length));
    while (read < BUFFER_BYTES) await setImmediate();
    const updates = guest.take().filter(({ op }) => op === VsockOp.CREDIT_UPDATE);
    assert.ok(updates.length > 0 && updates.at(-1)!.fwdCnt > before);
    guest.send({ op: VsockOp.CREDIT_REQUEST, ...ports });
    assert.deepEqual([guest.one().fwdCnt], [BUFFER_BYTES]);
  });

  test("counters wrap", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected({ bufAlloc: 4096 });
    let sent = 0;
    // Far enough that a mistake in the arithmetic of 32 bits shows, without 4 GiB of packets: the guest may forward ahead of what it was sent only in sum.
    for (let i = 0; i < 40; i++) {
      socket.write(Buffer.alloc(4096));
      await setImmediate();
      sent += guest.take().reduce((sum, { data }) => sum + data.length, 0);
      guest.send({ op: VsockOp.CREDIT_UPDATE, ...ports, bufAlloc: 4096, fwdCnt: sent });
    }
    assert.equal(sent, 40 * 4096);
  });

  test("goes on in turns: one busy connection does not keep the others waiting", async () => {
    const guest = new Guest(4);
    const a = await guest.connected();
    const b = await guest.connected();
    a.socket.write(Buffer.alloc(60_000));
    b.socket.write("short");
    const ports = [...guest.take(), ...guest.take()].map(({ hostPort }) => hostPort);
    assert.ok(ports.includes(b.ports.hostPort), "within the first packets");
  });
});

describe("a hostile vsock driver", () => {
  test("that refers to connections that are not there gets RST, and none for RST", async () => {
    const guest = new Guest();
    const ports = { hostPort: 70_000, guestPort: 5 };
    for (const op of [
      VsockOp.RESPONSE,
      VsockOp.SHUTDOWN,
      VsockOp.RW,
      VsockOp.CREDIT_UPDATE,
      VsockOp.CREDIT_REQUEST,
      0,
      99,
    ]) {
      guest.send({ op, ...ports });
      assert.equal(guest.one().op, VsockOp.RST, `${op}`);
    }
    guest.send({ op: VsockOp.RST, ...ports });
    guest.send({ op: VsockOp.REQUEST, hostPort: 0xffffffff, guestPort: 0xffffffff });
    assert.equal(guest.one().op, VsockOp.RST);
    assert.ok(isRunning(guest));
  });

  test("that is another guest, or speaks to another, is not heard", () => {
    const guest = new Guest();
    const request = { op: VsockOp.REQUEST, hostPort: 1, guestPort: 1 };
    guest.device.listen(1, () => assert.fail("heard"));
    guest.send({ ...request, sourceCid: 4n });
    guest.send({ ...request, destinationCid: 3n });
    guest.send({ ...request, sourceCid: 2n ** 64n - 1n, destinationCid: 2n ** 63n });
    assert.deepEqual(guest.take(), []);
  });

  test("that lies about lengths or types loses its connection only", async () => {
    const guest = new Guest();
    const other = await guest.connected();
    for (const wrong of [
      { op: VsockOp.RW, length: 1000, data: Buffer.from("x") },
      { op: VsockOp.RW, length: 0xffffffff },
      { op: VsockOp.RW, type: 2, data: Buffer.from("x") },
      { op: VsockOp.RESPONSE },
      { op: VsockOp.REQUEST },
      { op: 1234 },
    ]) {
      const { socket, ports } = await guest.connected();
      guest.send({ ...ports, ...wrong });
      await assert.rejects(finished(socket), code("broken"));
      assert.equal(guest.one().op, VsockOp.RST);
    }
    guest.driver.send(TX, [{ bytes: new Uint8Array(HEADER_BYTES - 1) }]);
    guest.driver.send(TX, [{ bytes: new Uint8Array(100), write: true }]);
    guest.driver.back.serve();
    assert.ok(isRunning(guest));
    other.socket.write("still there");
    assert.equal(Buffer.from(guest.one().data).toString(), "still there");
  });

  test("that sends more than it was given credit for loses its connection", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected();
    const chunk = Buffer.alloc(60_000);
    for (let sent = 0; sent < 2 * BUFFER_BYTES && !socket.destroyed; sent += chunk.length)
      guest.send({ op: VsockOp.RW, ...ports, data: chunk });
    await assert.rejects(finished(socket), code("broken"));
    assert.ok(guest.take().some(({ op }) => op === VsockOp.RST));
  });

  test("whose credit makes no sense is sent nothing", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected({ bufAlloc: 100, fwdCnt: 0xffff_0000 });
    socket.write(Buffer.alloc(1000));
    // What it claims to have handed on was never sent: what is "under way" is then more than it can take.
    assert.deepEqual(guest.take(), []);
    guest.send({ op: VsockOp.CREDIT_UPDATE, ...ports, bufAlloc: 0, fwdCnt: 0 });
    assert.deepEqual(guest.take(), []);
    guest.send({ op: VsockOp.CREDIT_UPDATE, ...ports, bufAlloc: 100, fwdCnt: 0 });
    assert.equal(guest.one().data.length, 100);
  });

  test("that floods without taking answers waits; the host keeps a bounded number", async () => {
    const guest = new Guest(0);
    let taken = 0;
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 30; i++) guest.queue({ op: VsockOp.RW, hostPort: 9, guestPort: i });
      guest.driver.back.serve();
      taken += guest.driver.used(TX).length;
      if (taken < (round + 1) * 30) break;
    }
    assert.ok(taken <= 64 + 30, `${taken} packets were taken`);
    guest.give(32);
    assert.ok(guest.driver.used(TX).length > 0, "it goes on once answers find room");
  });

  test("that asks for credit a thousand times is answered once", async () => {
    const guest = new Guest(0);
    guest.give(1);
    const { ports } = await guest.connected();
    guest.take(false);
    for (let i = 0; i < 1000; i++) {
      guest.send({ op: VsockOp.CREDIT_REQUEST, ...ports });
      guest.driver.used(TX);
    }
    guest.give(8);
    assert.ok(guest.take(false).length <= 2);
  });

  test("cannot have more than a number of connections", async () => {
    const guest = new Guest();
    let count = 0;
    guest.device.listen(1, () => count++);
    for (let port = 1; port <= 300; port++) {
      guest.send({ op: VsockOp.REQUEST, hostPort: 1, guestPort: port });
      guest.take();
    }
    assert.equal(count, 256);
    await assert.rejects(guest.device.connect(1), code("too-many"));
  });

  test("that breaks a connection off is told to who uses it", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected();
    guest.send({ op: VsockOp.RW, ...ports, data: Buffer.from("x") });
    guest.send({ op: VsockOp.RST, ...ports });
    await assert.rejects(finished(socket), code("reset"));
    const again = await guest.connected();
    const ended = finished(again.socket);
    guest.device.close();
    await assert.rejects(ended, code("closed"));
  });

  test("that stops reading ends writers, once its own words are read", async () => {
    const guest = new Guest();
    const { socket, ports } = await guest.connected({ bufAlloc: 10 });
    const written = new Promise<void>((resolve) => void socket.write(Buffer.alloc(1000), () => resolve()));
    guest.send({ op: VsockOp.RW, ...ports, data: Buffer.from("the answer") });
    guest.send({ op: VsockOp.SHUTDOWN, ...ports, flags: VsockShutdown.SEND | VsockShutdown.RECEIVE });
    await written;
    assert.equal(Buffer.concat(await socket.toArray()).toString(), "the answer");
    assert.ok(guest.take().some(({ op }) => op === VsockOp.RST));
    while (!socket.destroyed) await setImmediate();
  });
});
