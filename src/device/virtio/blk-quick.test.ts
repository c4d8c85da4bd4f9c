import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { createDeviceShared } from "../layout.ts";
import { Doorbell } from "../shared.ts";
import { FlatMemory, testMachineOf } from "../test-machine.ts";
import { VirtioBack } from "./back.ts";
import { BlkStatus, BlkType } from "./blk-format.ts";
import { QuickBlk } from "./blk-quick.ts";
import { BlkDevice } from "./blk.ts";
import type { Disk, QuickDisk } from "./disk.ts";
import { MemoryDisk } from "./test-disk.ts";
import { TestDriver } from "./test-driver.ts";

const SECTORS = 64;

/** A disk on "executor" and I/O thread over the same bytes; `quick` says what is done at once. */
function machine() {
  const disk = new MemoryDisk(SECTORS * 512);
  const driver = new TestDriver(new BlkDevice(disk, "disk"));
  const state = { flushless: false, willing: true, quickReads: 0, quickWrites: 0, nanos: 0, writeNs: 1000 };
  const quick: QuickDisk = {
    sizeBytes: disk.sizeBytes,
    get flushless() {
      return state.flushless;
    },
    read(offset, into) {
      if (!state.willing) return false;
      state.quickReads++;
      disk.readNow(offset, into);
      return true;
    },
    write(offset, from) {
      if (!state.willing) return false;
      state.quickWrites++;
      state.nanos += state.writeNs;
      disk.writeNow(offset, from);
      return true;
    },
  };
  const front = driver.machine.devices.virtio[0]!;
  front.serveHere = new QuickBlk(front, driver.machine.memory, quick, () => state.nanos).serve;
  assert.ok(driver.start(1));
  return { disk, driver, state };
}
function header(type: number, sector: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setUint32(0, type, true);
  bytes.setBigUint64(8, BigInt(sector), true);
  return new Uint8Array(bytes.buffer);
}
const read = (sector: number, bytes: number) => [
  { bytes: header(BlkType.IN, sector) },
  { bytes: new Uint8Array(bytes), write: true },
  { bytes: [0xee], write: true },
];
const write = (sector: number, bytes: Uint8Array) => [
  { bytes: header(BlkType.OUT, sector) },
  { bytes },
  { bytes: [0xee], write: true },
];

test("requests are done before the driver's notification returns, with one interrupt", () => {
  const { disk, driver, state } = machine();
  const data = Uint8Array.from({ length: 1024 }, (_, i) => i % 251);
  const w = driver.send(0, write(3, data));
  assert.deepEqual(
    driver.used(0).map(([, written]) => written),
    [1],
  );
  assert.equal(driver.bytes(w[2]!, 1)[0], BlkStatus.OK);
  assert.equal(driver.interrupt(), 1);
  assert.deepEqual(disk.bytes.slice(1536, 2560), data);
  const r = driver.send(0, read(3, 1024));
  assert.deepEqual(
    driver.used(0).map(([, written]) => written),
    [1025],
  );
  assert.deepEqual(driver.bytes(r[1]!, 1024), data);
  assert.deepEqual([state.quickReads, state.quickWrites, driver.interrupt()], [1, 1, 1]);
});

test("what is not done at once is the I/O thread's, in the order of the ring", async () => {
  const { disk, driver, state } = machine();
  disk.bytes.fill(7);
  state.willing = false;
  const first = driver.send(0, read(0, 512));
  assert.deepEqual(driver.used(0), [], "the executor left it");
  state.willing = true;
  driver.send(0, [{ bytes: header(BlkType.FLUSH, 0) }, { bytes: [0xee], write: true }]);
  driver.back.serve();
  for (let i = 0; i < 5; i++) await setImmediate();
  assert.equal(driver.used(0).length, 2);
  assert.deepEqual([disk.flushes, driver.bytes(first[1]!, 1)[0]], [1, 7]);
  const outside = driver.send(0, read(SECTORS, 512));
  driver.back.serve();
  for (let i = 0; i < 5; i++) await setImmediate();
  assert.equal(driver.bytes(outside[2]!, 1)[0], BlkStatus.IOERR);
});

test("FLUSH is done at once where there is nothing to flush", () => {
  const { disk, driver, state } = machine();
  const flush = () => driver.send(0, [{ bytes: header(BlkType.FLUSH, 0) }, { bytes: [0xee], write: true }]);
  state.flushless = true;
  const [, status] = flush();
  assert.deepEqual([driver.used(0).length, driver.bytes(status!, 1)[0], disk.flushes], [1, BlkStatus.OK, 0]);
  state.flushless = false;
  flush();
  assert.equal(driver.used(0).length, 0);
});

test("after a write that had to wait, writes are the I/O thread's for a while, and reads are not", () => {
  const { driver, state } = machine();
  state.writeNs = 5_000_000;
  driver.send(0, write(0, new Uint8Array(512)));
  assert.equal(driver.used(0).length, 1);
  state.writeNs = 1000;
  driver.send(0, read(0, 512));
  assert.equal(driver.used(0).length, 1);
  driver.send(0, write(0, new Uint8Array(512)));
  assert.equal(driver.used(0).length, 0);
  driver.back.serve();
  state.nanos += 100_000_000;
  driver.send(0, write(0, new Uint8Array(512)));
  assert.equal(state.quickWrites, 2);
});

test("a reset while the executor has nothing in hand starts the ring anew", () => {
  const { driver, state } = machine();
  driver.send(0, read(0, 512));
  assert.equal(driver.used(0).length, 1);
  assert.ok(driver.start(1));
  driver.send(0, read(0, 512));
  assert.deepEqual([driver.used(0).length, state.quickReads], [1, 2]);
});

/** The driver's and the executor's side in a thread of its own: keeps requests under way, some of which it leaves to the other thread. */
const EXECUTOR = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { modules, shared, memory, disk, requests } = workerData;
  (async () => {
    const [{ FlatMemory, testMachineOf }, { TestDriver }, { QuickBlk }] = await Promise.all(modules.map((url) => import(url)));
    const machine = testMachineOf(shared, new FlatMemory(memory));
    const driver = TestDriver.attach(machine);
    const front = machine.devices.virtio[0];
    const bytes = new Uint8Array(disk);
    let turn = 0;
    const quick = {
      sizeBytes: bytes.length,
      read(offset, into) {
        if (++turn % 3 === 0) return false;
        for (const part of into) { part.set(bytes.subarray(offset, offset + part.length)); offset += part.length; }
        return true;
      },
      write: () => false,
    };
    front.serveHere = new QuickBlk(front, machine.memory, quick).serve;
    if (!driver.start(1)) throw new Error("not started");
    parentPort.postMessage(driver.run(requests));
  })();`;

test("executor and I/O thread serve one queue together: each request is answered once, with its own data", async () => {
  const disk = new MemoryDisk(SECTORS * 512);
  for (let i = 0; i < disk.bytes.length; i++) disk.bytes[i] = i >> 9;
  const device = new BlkDevice(disk as Disk, "disk");
  const shared = createDeviceShared({ vcpus: 1, virtio: [device.description] });
  const memory = new FlatMemory(1 << 20);
  const machine = testMachineOf(shared, memory);
  machine.devices.reset();
  const back = new VirtioBack(machine.devices.virtio[0]!, device, memory);
  const stop = new Doorbell(shared.buffer, shared.layout.doorbell).serve(() => back.serve());
  const modules = ["../test-machine.ts", "./test-driver.ts", "./blk-quick.ts"].map(
    (name) => new URL(name, import.meta.url).href,
  );
  const workerData = { modules, shared, memory: memory.bytes.buffer, disk: disk.bytes.buffer, requests: 3000 };
  const worker = new Worker(EXECUTOR, { eval: true, workerData });
  const wrong = await new Promise<string>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  assert.equal(wrong, "");
  assert.ok(disk.reads > 0, "the I/O thread had its part");
  await stop();
  await worker.terminate();
});
