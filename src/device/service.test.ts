import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { Attention } from "../engine/engine.ts";
import { Reg } from "../isa/registers.ts";
import { vcpuPorts } from "./ports.ts";
import { DeviceService } from "./service.ts";
import { Doorbell, SpinLock } from "./shared.ts";
import { testMachine } from "./test-machine.ts";
import { RngDevice } from "./virtio/rng.ts";

function served() {
  const machine = testMachine({ vcpus: 2, virtio: [new RngDevice().description] });
  const log = { serial: "", power: [] as string[] };
  const service = new DeviceService(machine.devices, {
    memory: machine.memory,
    virtio: [new RngDevice()],
    onSerial: (bytes) => (log.serial += new TextDecoder().decode(bytes)),
    onPower: (request) => log.power.push(request),
  });
  const ports = vcpuPorts(machine.devices, 0, () => 0n);
  return { ...machine, service, log, ports };
}
const until = async (condition: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !condition(); i++) await setTimeout(4);
  assert.ok(condition());
};

test("serial output arrives, at once and in bursts, and the last of it at the stop", async () => {
  const { service, log, ports } = served();
  const print = (text: string): void => [...text].forEach((c) => ports.portOut(0x3f8, 1, c.charCodeAt(0)));
  print("one ");
  await until(() => log.serial === "one ");
  print("two ");
  await setTimeout(30);
  print("three ");
  await until(() => log.serial === "one two three ");
  print("end");
  await service.stop();
  assert.equal(log.serial, "one two three end");
});

test("typed text waits until the UART has room", async () => {
  const { service, ports } = served();
  service.typeSerial(new Uint8Array(5000).fill(120));
  let got = 0;
  await until(() => {
    for (; ports.portIn(0x3fd, 1) & 1; got++) assert.equal(ports.portIn(0x3f8, 1), 120);
    return got === 5000;
  });
  await service.stop();
});

test("S5 and reset are reported once and bring all vCPUs out; other sleep types are not", async () => {
  const { service, log, ports, devices, registerFiles } = served();
  const { base } = devices.layout.power;
  ports.mmioWrite(base, 1, BigInt((1 << 2) | 0x20));
  ports.mmioWrite(base + 8, 1, 1n);
  assert.equal(devices.power.request, "none");
  ports.mmioWrite(base, 1, BigInt((5 << 2) | 0x20));
  ports.mmioWrite(base + 8, 1, 0x42n);
  for (const regs of registerFiles) assert.equal(regs[Reg.ATTENTION >> 2], Attention.COME_OUT);
  await until(() => log.power.length > 0);
  assert.deepEqual(log.power, ["power-off"]);
  await service.stop();
});

test("Linux's last resort for a restart is a reset; starting processors is none", async () => {
  const { service, log, ports, devices } = served();
  for (const [address, value] of [
    [0x0f, 0x0a],
    [0x0f, 0],
    [0x8f, 0x0a],
    [0x8e, 0],
  ]) {
    ports.portOut(0x70, 1, address!);
    ports.portOut(0x71, 1, value!);
  }
  assert.equal(devices.power.request, "none");
  ports.portOut(0x70, 1, 0x8f);
  ports.portOut(0x71, 1, 0);
  await until(() => log.power.length > 0);
  assert.deepEqual(log.power, ["reset"]);
  await service.stop();
});

test("MSRs and MMIO of all devices are reached through the vCPU's ports", async () => {
  const { service, ports } = served();
  assert.equal(ports.readMsr(0x803), 0x50014n);
  assert.equal(ports.readMsr(0x4b564d01), 0n);
  assert.equal(ports.readMsr(0x1a0), undefined);
  assert.equal(ports.writeMsr(0x802, 0n), false);
  assert.equal(ports.mmioRead(0xfea00000, 8), (2n << 32n) | 0x74726976n);
  assert.equal(ports.mmioRead(0xf0000000, 4), 0xffffffffn);
  assert.equal(ports.portIn(0x70, 1), 0xff);
  await service.stop();
});

test("doorbell and lock between threads: no ring and no count is lost", async () => {
  const buffer = new SharedArrayBuffer(256);
  const source = `
    const { workerData } = require("node:worker_threads");
    import(workerData.module).then(({ Doorbell, SpinLock }) => {
      const words = new Int32Array(workerData.buffer);
      const lock = new SpinLock(words, 16);
      const bell = new Doorbell(workerData.buffer, 128);
      for (let i = 0; i < 20000; i++) { lock.lock(); words[17]++; lock.unlock(); Atomics.add(words, 18, 1); bell.ring(workerData.bit); }
    });`;
  const words = new Int32Array(buffer);
  const lock = new SpinLock(words, 16);
  let seen = 0;
  const stop = new Doorbell(buffer, 128).serve(() => (seen = Atomics.load(words, 18)));
  const workers = [0, 31].map(
    (bit) =>
      new Worker(source, {
        eval: true,
        workerData: { buffer, bit, module: new URL("./shared.ts", import.meta.url).href },
      }),
  );
  const exits = workers.map((worker) => once(worker, "exit"));
  for (let i = 0; i < 20000; i++) {
    lock.lock();
    words[17]!++;
    lock.unlock();
  }
  await Promise.all(exits);
  await until(() => seen === 40000);
  assert.equal(words[17], 60000);
  await stop();
  new Doorbell(buffer, 128).ring(3);
  await setTimeout(5);
  assert.equal(Atomics.load(words, 32), 8, "nobody serves it any more");
});
