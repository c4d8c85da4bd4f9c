import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { gather, scatter } from "./buffers.ts";
import { FsDevice } from "./fs.ts";
import type { FuseServer } from "./fuse-server.ts";
import { TestDriver } from "./test-driver.ts";

/** Answers with the request's bytes backwards, when the test lets it. */
class MirrorServer implements FuseServer {
  readonly waiting: (() => void)[] = [];
  readonly seen: string[] = [];
  gated = false;
  async handle(request: readonly Uint8Array[], reply: readonly Uint8Array[]): Promise<number> {
    const bytes = gather(request, 1000);
    this.seen.push(Buffer.from(bytes).toString());
    if (this.gated) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return scatter(reply, bytes.toReversed());
  }
  async close(): Promise<void> {}
}
function device(tag = "work") {
  const server = new MirrorServer();
  const driver = new TestDriver(new FsDevice({ tag, server }));
  assert.ok(driver.start(2));
  const serve = async (): Promise<void> => {
    driver.back.serve();
    for (let i = 0; i < 3; i++) await setImmediate();
  };
  const ask = (queue: number, words: string, room: number) =>
    driver.send(queue, [
      { bytes: [...Buffer.from(words)] },
      ...(room > 0 ? [{ bytes: new Uint8Array(room), write: true }] : []),
    ]);
  return { server, driver, serve, ask };
}

test("fs: the configuration tells the tag and one request queue", () => {
  const { driver } = device("träume");
  const config = Buffer.alloc(40);
  for (let at = 0; at < 40; at += 4) config.writeUInt32LE(driver.get(0x100 + at), at);
  assert.equal(config.toString("utf8", 0, 36).replace(/\0+$/, ""), "träume");
  assert.equal(config.readUInt32LE(36), 1);
});

test("fs: a tag that is none is refused with a sentence", () => {
  const server = new MirrorServer();
  for (const tag of ["", "x".repeat(37), "ä".repeat(19), "a\0b"])
    assert.throws(() => new FsDevice({ tag, server }), /of a shared directory has \d+ bytes: give it 1 to 36\.$/);
  assert.doesNotThrow(() => new FsDevice({ tag: "x".repeat(36), server }));
});

test("fs: requests of both queues are answered", async () => {
  const { driver, serve, ask, server } = device();
  const [, room] = ask(1, "request", 20);
  ask(0, "forget", 0);
  await serve();
  assert.deepEqual(server.seen.toSorted(), ["forget", "request"]);
  assert.equal(Buffer.from(driver.bytes(room!, 7)).toString(), "tseuqer");
  assert.deepEqual([driver.used(1)[0]?.[1], driver.used(0)[0]?.[1]], [7, 0]);
  assert.equal(driver.interrupt(), 1);
});

test("fs: at most 64 requests are under way, the rest follow when they end", async () => {
  const { driver, serve, server } = device();
  server.gated = true;
  driver.describe(1, 0, 0x20000, 8, 0, 0);
  driver.describe(0, 0, 0x20000, 8, 0, 0);
  for (let i = 0; i < 64; i++) driver.offer(1, 0);
  await serve();
  for (let i = 0; i < 30; i++) driver.offer(0, 0);
  await serve();
  assert.equal(server.waiting.length, 64);
  // The ring of 64 entries is full: the first ten make room.
  for (const go of server.waiting.splice(0, 10)) go();
  await serve();
  assert.deepEqual([driver.used(1).length, driver.used(0).length, server.waiting.length], [10, 0, 64]);
  while (server.waiting.length > 0) {
    for (const go of server.waiting.splice(0)) go();
    await serve();
  }
  assert.deepEqual([driver.used(1).length, driver.used(0).length, server.seen.length], [54, 30, 94]);
});

test("fs: a request that ends after a reset goes nowhere, and holds the reset up until then", async () => {
  const { driver, serve, ask, server } = device();
  server.gated = true;
  ask(1, "before", 10);
  await serve();
  driver.put(0x070, 0);
  assert.notEqual(driver.get(0x070), 0);
  server.waiting[0]!();
  await serve();
  assert.equal(driver.get(0x070), 0);
  assert.ok(driver.start(2));
  assert.equal(driver.used(1).length, 0);
});
