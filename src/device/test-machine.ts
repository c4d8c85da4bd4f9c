/* For tests of devices: guest memory that is one flat array, and a machine's devices around it with a clock that tests move. */
import { Reg } from "../isa/registers.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { attachDevices, createDeviceShared, type Devices, type DeviceShared } from "./layout.ts";
import type { VirtioDescription } from "./virtio/device.ts";

export class FlatMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** @param size in bytes, or the memory that another thread made */
  constructor(size: number | SharedArrayBuffer) {
    this.bytes = new Uint8Array(typeof size === "number" ? new SharedArrayBuffer(size) : size);
    this.#view = new DataView(this.bytes.buffer);
  }
  get sizeBytes(): number {
    return this.bytes.length;
  }
  ranges(): { start: number; end: number }[] {
    return [{ start: 0, end: this.bytes.length }];
  }
  contains(gpa: number, length: number): boolean {
    return gpa >= 0 && length >= 0 && gpa + length <= this.bytes.length;
  }
  read(gpa: number, into: Uint8Array): boolean {
    if (!this.contains(gpa, into.length)) return false;
    into.set(this.bytes.subarray(gpa, gpa + into.length));
    return true;
  }
  write(gpa: number, from: Uint8Array): boolean {
    if (!this.contains(gpa, from.length)) return false;
    this.bytes.set(from, gpa);
    return true;
  }
  readU16(gpa: number): number | undefined {
    return this.contains(gpa, 2) ? this.#view.getUint16(gpa, true) : undefined;
  }
  readU32(gpa: number): number | undefined {
    return this.contains(gpa, 4) ? this.#view.getUint32(gpa, true) : undefined;
  }
  readU64(gpa: number): bigint | undefined {
    return this.contains(gpa, 8) ? this.#view.getBigUint64(gpa, true) : undefined;
  }
  writeU16(gpa: number, value: number): boolean {
    if (!this.contains(gpa, 2)) return false;
    this.#view.setUint16(gpa, value, true);
    return true;
  }
  writeU32(gpa: number, value: number): boolean {
    if (!this.contains(gpa, 4)) return false;
    this.#view.setUint32(gpa, value, true);
    return true;
  }
  writeU64(gpa: number, value: bigint): boolean {
    if (!this.contains(gpa, 8)) return false;
    this.#view.setBigUint64(gpa, value, true);
    return true;
  }
  exchangeU8(gpa: number, value: number): number | undefined {
    return this.contains(gpa, 1) ? Atomics.exchange(this.bytes, gpa, value) : undefined;
  }
  /** Page by page, as frames are. */
  slices(gpa: number, length: number): Uint8Array[] | undefined {
    if (!this.contains(gpa, length)) return undefined;
    const parts: Uint8Array[] = [];
    for (let at = gpa; at < gpa + length;) {
      const end = Math.min(gpa + length, (Math.floor(at / 4096) + 1) * 4096);
      parts.push(this.bytes.subarray(at, end));
      at = end;
    }
    return parts;
  }
}

export interface TestMachine {
  devices: Devices;
  memory: FlatMemory;
  registerFiles: Int32Array[];
  /** Host nanoseconds; tests move it. */
  clock: { ns: number };
}

export function testMachine({
  vcpus = 1,
  virtio = [] as VirtioDescription[],
  memoryBytes = 1 << 20,
} = {}): TestMachine {
  const machine = testMachineOf(createDeviceShared({ vcpus, virtio }), new FlatMemory(memoryBytes));
  machine.devices.reset();
  return machine;
}
/** A view of devices that another thread may have too; it has vCPUs of its own. */
export function testMachineOf(shared: DeviceShared, memory: FlatMemory): TestMachine {
  const clock = { ns: 1_000_000 };
  const { vcpus } = shared.layout;
  const registerFiles = Array.from({ length: vcpus }, () => new Int32Array(new SharedArrayBuffer(Reg.SIZE)));
  const devices = attachDevices(structuredCloneable(shared), {
    registerFiles,
    memory,
    hostNs: () => clock.ns,
    realtimeNs: () => 1_700_000_000_000_000_000n + BigInt(clock.ns),
  });
  return { devices, memory, registerFiles, clock };
}
/** As another thread would get it: the layout copied, the buffer shared. */
function structuredCloneable<T extends { layout: unknown; buffer: SharedArrayBuffer }>(shared: T): T {
  return { ...shared, layout: structuredClone(shared.layout) };
}

/** Sets up an enabled local APIC and unmasks the IOAPIC pin. */
export function routePin(devices: Devices, pin: number, vector: number, { level = true, destination = 0 } = {}): void {
  devices.localApics.apics.forEach((apic) => apic.writeMsr(0x80f, 0x1ffn));
  const base = devices.layout.ioApic.base;
  devices.mmio.write(base, 4, 0x11 + 2 * pin);
  devices.mmio.write(base + 0x10, 4, destination << 24);
  devices.mmio.write(base, 4, 0x10 + 2 * pin);
  devices.mmio.write(base + 0x10, 4, vector | (level ? 0x8000 : 0));
}
