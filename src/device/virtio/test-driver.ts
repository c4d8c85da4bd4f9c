/* For tests: a virtio driver over the MMIO registers, which sets a device up in the order of Linux's virtio_mmio and keeps one ring a queue. */
import assert from "node:assert/strict";
import { routePin, testMachine, type TestMachine } from "../test-machine.ts";
import { VirtioBack } from "./back.ts";
import type { GiveBack, VirtioDevice } from "./device.ts";

const RING_BYTES = 0x4000;
const BUFFERS = 0x28000; // behind the rings of nine queues
const VECTOR = 0x45;

export interface Part {
  bytes: Uint8Array | number[];
  write?: boolean;
}

export class TestDriver {
  readonly machine: TestMachine;
  readonly back!: VirtioBack;
  readonly base: number;
  readonly #next: number[] = [];
  readonly #used: number[] = [];
  #descriptor = 0;
  #buffer = BUFFERS;
  size = 64;

  constructor(device: VirtioDevice | TestMachine, { giveBack }: { giveBack?: GiveBack } = {}) {
    this.machine = "devices" in device ? device : testMachine({ virtio: [device.description], memoryBytes: 1 << 20 });
    this.base = this.machine.devices.layout.virtio[0]!.base;
    if (!("devices" in device))
      this.back = new VirtioBack(this.machine.devices.virtio[0]!, device, this.machine.memory, giveBack);
    routePin(this.machine.devices, this.machine.devices.layout.virtio[0]!.irq, VECTOR);
  }
  /** A driver of a block device whose back is on another thread. */
  static attach(machine: TestMachine): TestDriver {
    return new TestDriver(machine);
  }
  get(offset: number): number {
    return this.machine.devices.mmio.read(this.base + offset, 4);
  }
  put(offset: number, value: number): void {
    this.machine.devices.mmio.write(this.base + offset, 4, value);
  }
  deviceFeatures(): bigint {
    this.put(0x014, 1);
    const high = BigInt(this.get(0x010));
    this.put(0x014, 0);
    return (high << 32n) | BigInt(this.get(0x010));
  }
  /** Runs the initialisation of virtio 1.2 §3.1.1. @returns was the device willing */
  start(queues: number, features = this.deviceFeatures()): boolean {
    this.put(0x070, 0);
    assert.equal(this.get(0x070), 0);
    this.put(0x070, 1);
    this.put(0x070, 3);
    this.put(0x024, 1);
    this.put(0x020, Number(features >> 32n));
    this.put(0x024, 0);
    this.put(0x020, Number(features & 0xffffffffn));
    this.put(0x070, 11);
    if ((this.get(0x070) & 8) === 0) return false;
    for (let q = 0; q < queues; q++) this.#setUp(q);
    this.put(0x070, 15);
    return true;
  }
  #setUp(q: number): void {
    this.put(0x030, q);
    assert.equal(this.get(0x044), 0);
    assert.ok(this.get(0x034) >= this.size);
    const ring = RING_BYTES * (q + 1);
    this.machine.memory.bytes.fill(0, ring, ring + RING_BYTES);
    this.put(0x038, this.size);
    this.put(0x080, ring);
    this.put(0x084, 0);
    this.put(0x090, ring + 0x1000);
    this.put(0x094, 0);
    this.put(0x0a0, ring + 0x2000);
    this.put(0x0a4, 0);
    this.put(0x044, 1);
    this.#next[q] = 0;
    this.#used[q] = 0;
    this.#descriptor = 0;
  }
  /** Writes one descriptor of a queue. */
  describe(q: number, index: number, address: number, length: number, flags: number, next: number): void {
    this.writeDescriptor(RING_BYTES * (q + 1) + 16 * index, address, length, flags, next);
  }
  writeDescriptor(at: number, address: number, length: number, flags: number, next: number): void {
    const { memory } = this.machine;
    memory.writeU64(at, BigInt(address));
    memory.writeU32(at + 8, length);
    memory.writeU16(at + 12, flags);
    memory.writeU16(at + 14, next);
  }
  /** Buffers from now on lie where the first ones did. */
  recycle(): void {
    this.#buffer = BUFFERS;
  }
  /** Puts a head into the available ring and notifies. */
  offer(q: number, head: number): void {
    const ring = RING_BYTES * (q + 1) + 0x1000;
    const { memory } = this.machine;
    const index = this.#next[q]!;
    memory.writeU16(ring + 4 + 2 * (index % this.size), head);
    this.#next[q] = (index + 1) & 0xffff;
    memory.writeU16(ring + 2, this.#next[q]!);
    // used_event: tell me of the next one.
    memory.writeU16(ring + 4 + 2 * this.size, this.#used[q]!);
    this.put(0x050, q);
  }
  /** Offers one chain. @returns the addresses of its parts */
  send(q: number, parts: readonly Part[], indirect = false): number[] {
    const addresses = parts.map(({ bytes }) => {
      const at = this.#buffer;
      this.machine.memory.write(at, Uint8Array.from(bytes));
      this.#buffer += Math.ceil((bytes.length + 1) / 64) * 64;
      return at;
    });
    const head = this.#descriptor;
    const table = indirect ? this.#buffer : RING_BYTES * (q + 1);
    parts.forEach(({ bytes, write }, i) => {
      const index = indirect ? i : (head + i) % this.size;
      const last = i === parts.length - 1;
      const next = indirect ? i + 1 : (index + 1) % this.size;
      this.writeDescriptor(table + 16 * index, addresses[i]!, bytes.length, (last ? 0 : 1) | (write ? 2 : 0), next);
    });
    if (indirect) {
      this.#buffer += 16 * parts.length;
      this.describe(q, head, table, 16 * parts.length, 4, 0);
    }
    this.#descriptor = (head + (indirect ? 1 : parts.length)) % this.size;
    this.offer(q, head);
    return addresses;
  }
  /** Used elements that came since the last call: [head, bytes written]. */
  used(q: number): [number, number][] {
    const ring = RING_BYTES * (q + 1) + 0x2000;
    const { memory } = this.machine;
    const found: [number, number][] = [];
    while (this.#used[q] !== memory.readU16(ring + 2)) {
      const at = ring + 4 + 8 * (this.#used[q]! % this.size);
      found.push([memory.readU32(at)!, memory.readU32(at + 4)!]);
      this.#used[q] = (this.#used[q]! + 1) & 0xffff;
    }
    return found;
  }
  bytes(at: number, length: number): Uint8Array {
    return this.machine.memory.bytes.slice(at, at + length);
  }
  /** Bytes of the configuration space. */
  bytesOfConfig(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, n) => this.machine.devices.mmio.read(this.base + 0x100 + offset + n, 1));
  }
  /** Takes the device's interrupt as Linux's vm_interrupt does. @returns InterruptStatus, 0 if there was none */
  interrupt(): number {
    const apic = this.machine.devices.localApics.apics[0]!;
    if (apic.acknowledgeInterrupt() !== VECTOR) return 0;
    const status = this.get(0x060);
    this.put(0x064, status);
    apic.writeMsr(0x80b, 0n);
    return status;
  }
  /** Reads sectors of a block device, eight at a time, and waits for all. Each holds its own number in every byte.
   *  @returns what was wrong, or nothing */
  run(requests: number): string {
    const { memory } = this.machine;
    const underWay = new Map<number, number>();
    for (let sent = 0, done = 0; done < requests;) {
      for (; underWay.size < 8 && sent < requests; sent++) {
        const slot = [0, 1, 2, 3, 4, 5, 6, 7].find((n) => !underWay.has(3 * n))!;
        const at = BUFFERS + 2048 * slot;
        const sector = sent % 64;
        memory.write(at, new Uint8Array(1024).fill(0xee));
        memory.writeU32(at, 0);
        memory.writeU64(at + 8, BigInt(sector));
        this.describe(0, 3 * slot, at, 16, 1, 3 * slot + 1);
        this.describe(0, 3 * slot + 1, at + 64, 512, 3, 3 * slot + 2);
        this.describe(0, 3 * slot + 2, at + 1000, 1, 2, 0);
        underWay.set(3 * slot, sector);
        this.offer(0, 3 * slot);
      }
      for (const [head, written] of this.used(0)) {
        const at = BUFFERS + 2048 * (head / 3);
        const sector = underWay.get(head);
        if (sector === undefined) return `${head} was given back twice`;
        const data = this.bytes(at + 64, 512);
        if (written !== 513 || memory.bytes[at + 1000] !== 0 || !data.every((byte) => byte === sector))
          return `sector ${sector}: ${written} bytes, status ${memory.bytes[at + 1000]!}, ${data[0]!}`;
        underWay.delete(head);
        done++;
      }
    }
    return "";
  }
}
