import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { BlkFeature, BlkStatus, BlkType } from "./blk-format.ts";
import { BlkDevice } from "./blk.ts";
import { ConsoleDevice } from "./console.ts";
import { RngDevice } from "./rng.ts";
import { MemoryDisk } from "./test-disk.ts";
import { TestDriver } from "./test-driver.ts";

function blk(prepare: (disk: MemoryDisk) => void = () => {}) {
  const disk = new MemoryDisk(64 * 512);
  prepare(disk);
  const driver = new TestDriver(new BlkDevice(disk, "disk-0"));
  assert.ok(driver.start(1));
  const header = (type: number, sector: number): Uint8Array => {
    const bytes = new DataView(new ArrayBuffer(16));
    bytes.setUint32(0, type, true);
    bytes.setBigUint64(8, BigInt(sector), true);
    return new Uint8Array(bytes.buffer);
  };
  const request = async (type: number, sector: number, data: Uint8Array | number, write = typeof data === "number") => {
    const bytes = typeof data === "number" ? new Uint8Array(data) : data;
    const parts = [
      { bytes: header(type, sector) },
      ...(bytes.length > 0 ? [{ bytes, write }] : []),
      { bytes: [0xee], write: true },
    ];
    const at = driver.send(0, parts);
    driver.back.serve();
    for (let i = 0; i < 5; i++) await setImmediate();
    const [used] = driver.used(0);
    return {
      status: driver.bytes(at.at(-1)!, 1)[0],
      data: driver.bytes(at[1]!, bytes.length),
      written: used?.[1],
      interrupt: driver.interrupt(),
    };
  };
  return { disk, driver, request, header };
}
const ranges = (...list: [number, number, number][]): Uint8Array => {
  const bytes = new DataView(new ArrayBuffer(16 * list.length));
  list.forEach(([sector, sectors, flags], i) => {
    bytes.setBigUint64(16 * i, BigInt(sector), true);
    bytes.setUint32(16 * i + 8, sectors, true);
    bytes.setUint32(16 * i + 12, flags, true);
  });
  return new Uint8Array(bytes.buffer);
};

test("blk: configuration and features", () => {
  const { driver } = blk();
  assert.equal(driver.get(0x100), 64);
  assert.equal(driver.get(0x104), 0);
  assert.equal(driver.get(0x114), 512);
  const has = (d: TestDriver, bit: number): boolean => ((d.deviceFeatures() >> BigInt(bit)) & 1n) === 1n;
  assert.deepEqual(
    [BlkFeature.FLUSH, BlkFeature.DISCARD, BlkFeature.WRITE_ZEROES, BlkFeature.RO].map((bit) => has(driver, bit)),
    [true, true, true, false],
  );
  const readOnly = blk((disk) => (disk.readOnly = true)).driver;
  assert.deepEqual(
    [BlkFeature.DISCARD, BlkFeature.WRITE_ZEROES, BlkFeature.RO].map((bit) => has(readOnly, bit)),
    [false, false, true],
  );
});

test("blk: writes, reads, flushes, tells its id", async () => {
  const { disk, request } = blk();
  const data = Uint8Array.from({ length: 1024 }, (_, i) => i % 251);
  assert.equal((await request(BlkType.OUT, 3, data)).status, BlkStatus.OK);
  assert.deepEqual(disk.bytes.slice(3 * 512, 5 * 512), data);
  const read = await request(BlkType.IN, 3, 1024);
  assert.deepEqual([read.status, read.written, read.interrupt], [BlkStatus.OK, 1025, 1]);
  assert.deepEqual(read.data, data);
  assert.equal((await request(BlkType.FLUSH, 0, 0)).status, BlkStatus.OK);
  assert.equal(disk.flushes, 1);
  const id = await request(BlkType.GET_ID, 0, 20);
  assert.equal(new TextDecoder().decode(id.data).replace(/\0+$/, ""), "disk-0");
});

test("blk: discards and zeroes ranges", async () => {
  const { disk, request } = blk((d) => d.bytes.fill(7));
  assert.equal((await request(BlkType.DISCARD, 0, ranges([8, 8, 0], [32, 16, 0]), false)).status, BlkStatus.OK);
  assert.deepEqual(disk.discarded, [
    [4096, 4096],
    [16384, 8192],
  ]);
  assert.equal((await request(BlkType.WRITE_ZEROES, 0, ranges([1, 2, 1]), false)).status, BlkStatus.OK);
  assert.ok(disk.bytes.subarray(512, 1536).every((byte) => byte === 0));
  assert.equal(disk.bytes[511], 7);
  assert.equal(disk.bytes[1536], 7);
});

test("blk: bad requests and a broken disk are I/O errors of the request", async () => {
  const { disk, request } = blk();
  assert.equal((await request(BlkType.IN, 64, 512)).status, BlkStatus.IOERR);
  assert.equal((await request(BlkType.IN, 2 ** 52, 512)).status, BlkStatus.IOERR);
  assert.equal((await request(BlkType.IN, 0, 100)).status, BlkStatus.IOERR);
  assert.equal((await request(BlkType.OUT, 63, new Uint8Array(1024))).status, BlkStatus.IOERR);
  assert.equal((await request(BlkType.DISCARD, 0, ranges([60, 8, 0]), false)).status, BlkStatus.IOERR);
  assert.equal((await request(BlkType.DISCARD, 0, ranges([0, 8, 1]), false)).status, BlkStatus.UNSUPP);
  assert.equal((await request(99, 0, 512)).status, BlkStatus.UNSUPP);
  disk.fails = true;
  assert.equal((await request(BlkType.IN, 0, 512)).status, BlkStatus.IOERR);
  const readOnly = blk((d) => (d.readOnly = true));
  assert.equal((await readOnly.request(BlkType.OUT, 0, new Uint8Array(512))).status, BlkStatus.IOERR);
  assert.equal((await readOnly.request(BlkType.WRITE_ZEROES, 0, ranges([0, 1, 0]), false)).status, BlkStatus.IOERR);
});

test("blk: a chain without room for a status is given back", async () => {
  const { driver, header } = blk();
  driver.send(0, [{ bytes: header(BlkType.OUT, 0) }]);
  driver.send(0, [{ bytes: [1, 2] }, { bytes: [0xee], write: true }]);
  driver.back.serve();
  for (let i = 0; i < 5; i++) await setImmediate();
  assert.deepEqual(
    driver.used(0).map(([, written]) => written),
    [0, 1],
  );
});

test("blk: requests run side by side", async () => {
  const { disk, driver, header } = blk();
  let open = (): void => {};
  disk.gate = new Promise((resolve) => (open = resolve));
  driver.send(0, [
    { bytes: header(BlkType.IN, 0) },
    { bytes: new Uint8Array(512), write: true },
    { bytes: [0xee], write: true },
  ]);
  const later = driver.send(0, [{ bytes: header(BlkType.FLUSH, 0) }, { bytes: [0xee], write: true }], true);
  driver.back.serve();
  for (let i = 0; i < 5; i++) await setImmediate();
  assert.deepEqual(driver.used(0), [[3, 1]], "the flush overtook the read");
  assert.equal(driver.bytes(later[1]!, 1)[0], BlkStatus.OK);
  open();
  for (let i = 0; i < 5; i++) await setImmediate();
  assert.deepEqual(driver.used(0), [[0, 513]]);
});

test("rng: fills what it is given, differently each time", () => {
  const driver = new TestDriver(new RngDevice());
  driver.start(1);
  const [a] = driver.send(0, [{ bytes: new Uint8Array(64), write: true }]);
  const [b] = driver.send(0, [{ bytes: new Uint8Array(64), write: true }]);
  driver.send(0, [{ bytes: new Uint8Array(6000), write: true }]);
  driver.back.serve();
  assert.deepEqual(
    driver.used(0).map(([, written]) => written),
    [64, 64, 4096],
  );
  assert.notDeepEqual(driver.bytes(a!, 64), driver.bytes(b!, 64));
});

test("console: prints, takes input as buffers come, resizes", () => {
  const printed: string[] = [];
  const device = new ConsoleDevice({ columns: 80, rows: 25 }, (bytes) => printed.push(new TextDecoder().decode(bytes)));
  const driver = new TestDriver(device);
  device.input(new TextEncoder().encode("early "));
  driver.start(2);
  driver.back.serve();
  assert.equal(driver.interrupt(), 0, "Linux's driver is ready for no interrupt before it gives buffers");
  assert.equal(driver.get(0x100), (25 << 16) | 80);
  driver.send(1, [{ bytes: new TextEncoder().encode("hello ") }, { bytes: new TextEncoder().encode("world") }]);
  driver.back.serve();
  assert.deepEqual(printed, ["hello world"]);
  assert.equal(driver.used(1).length, 1);
  assert.equal(driver.interrupt() & 2, 2, "the first output has the size read");
  device.input(new TextEncoder().encode("typed"));
  assert.equal(device.waitingBytes, 11);
  const [a] = driver.send(0, [{ bytes: new Uint8Array(8), write: true }]);
  driver.back.serve();
  assert.deepEqual(
    driver.used(0).map(([, n]) => n),
    [6],
  );
  assert.equal(new TextDecoder().decode(driver.bytes(a!, 6)), "early ");
  assert.equal(driver.interrupt() & 2, 2, "so have the first buffers for input");
  const [b] = driver.send(0, [{ bytes: new Uint8Array(3), write: true }]);
  driver.back.serve();
  assert.equal(new TextDecoder().decode(driver.bytes(b!, 3)), "typ");
  assert.equal(device.waitingBytes, 2);
  assert.equal(driver.interrupt() & 2, 0, "and none after them");
  const generation = driver.get(0x0fc);
  device.resize({ columns: 100, rows: 40 });
  assert.notEqual(driver.get(0x0fc), generation);
  assert.equal(driver.get(0x100), (40 << 16) | 100);
  assert.equal(driver.interrupt() & 2, 2);
});
