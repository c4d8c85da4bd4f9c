import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { World } from "../engine/wasm/world.ts";
import { createStateMemory } from "../engine/wasm/layout.ts";
import { FRAME_BYTES, FramePool } from "../memory/frames.ts";
import { GuestRam } from "../memory/guest-ram.ts";
import { PageReturn } from "./page-return.ts";

// A pending Atomics.waitAsync does not keep Node's event loop alive; in a machine, its doorbell does.
const alive = setInterval(() => {}, 60_000);
after(() => clearInterval(alive));

/** A guest of 16 MiB on two executors, which are what the test makes of them. */
function setUp() {
  const pool = FramePool.create(16 << 20);
  const ram = GuestRam.create(pool, 16 << 20, 2);
  const state = createStateMemory(2);
  const words = new Int32Array(state.buffer);
  const worlds = [0, 1].map((me) => new World(words, me, 2));
  const held: Uint8Array[] = [];
  const toHost: [number, number][] = [];
  const pages = new PageReturn({
    ram,
    state,
    executors: 2,
    heldMemory: () => held,
    toHost: (offset, length) => toHost.push([offset, length]),
  });
  const touch = (page: number): number => ram.frameAddress(page) / FRAME_BYTES;
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await setImmediate();
  };
  return { pool, ram, worlds: worlds as [World, World], held, toHost, pages, touch, settle };
}

test("pages lose their frames, which the host and the pool get; what had none has none", async () => {
  const { pool, ram, pages, touch, toHost } = setUp();
  const frames = [7, 8, 9, 11].map(touch);
  ram.write(8 * FRAME_BYTES, Uint8Array.of(1, 2, 3));
  assert.equal(await pages.giveBack([9, 7, 8, 11, 12, 7, 4095, 4096, 2 ** 31, 0xffffffff]), 4);
  assert.equal(pool.inUse, 0);
  // Frames that follow one another are given in one go.
  assert.deepEqual(frames, [frames[0]!, frames[0]! + 1, frames[0]! + 2, frames[0]! + 3]);
  assert.deepEqual(toHost, [[frames[0]! * FRAME_BYTES, 4 * FRAME_BYTES]]);
  const bytes = new Uint8Array(3);
  assert.ok(ram.read(8 * FRAME_BYTES, bytes));
  assert.deepEqual([...bytes], [0, 0, 0]);
  assert.equal(pool.inUse, 1);
});

test("an executor that may hold addresses of frames is waited for until it has passed", async () => {
  const { pool, pages, touch, worlds, settle } = setUp();
  const [first, second] = worlds;
  const before = first.pass();
  first.online();
  second.online();
  touch(3);
  let done = false;
  const back = pages.giveBack([3]).then(() => (done = true));
  await settle();
  assert.ok(!done);
  // It has been told, and nothing is free yet.
  assert.equal(second.pass(), before + 1);
  await settle();
  assert.deepEqual([done, pool.inUse], [false, 1]);
  first.offline();
  await back;
  assert.equal(pool.inUse, 0);
  assert.equal(first.pass(), before + 1);
});

test("an executor that is offline is not waited for, and hears of it when it is back", async () => {
  const { pool, pages, touch, worlds } = setUp();
  const before = worlds[0].pass();
  touch(3);
  touch(4);
  await Promise.all([pages.giveBack([3]), pages.giveBack([4])]);
  assert.equal(pool.inUse, 0);
  worlds[0].online();
  assert.equal(worlds[0].pass(), before + 2);
});

test("executors that have code of a frame are told to forget it", async () => {
  const { ram, pages, touch } = setUp();
  const frame = touch(3);
  ram.holdCode(frame, 1);
  const executor = GuestRam.attach(ram.shared);
  executor.takeStaleCode();
  await pages.giveBack([3]);
  assert.deepEqual(executor.takeStaleCode(), [frame]);
});

test("a frame that a request uses stays aside until the request has ended", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { pool, pages, touch, held, ram, toHost } = setUp();
  const [used, free] = [touch(3), touch(4)];
  held.push(ram.pool.bytes.subarray(used * FRAME_BYTES + 100, used * FRAME_BYTES + 200));
  await pages.giveBack([3, 4]);
  assert.deepEqual(toHost, [[free * FRAME_BYTES, FRAME_BYTES]]);
  assert.equal(pool.inUse, 1);
  t.mock.timers.tick(1000);
  assert.equal(pool.inUse, 1);
  held.length = 0;
  t.mock.timers.tick(1000);
  assert.equal(pool.inUse, 0);
  pages.end();
  assert.deepEqual(toHost.at(-1), [0, pool.bytes.length]);
});
