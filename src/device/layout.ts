/* A machine's devices as plain data (addresses, interrupts, places in shared memory), and the fronts built from it. createDeviceShared() runs once, on
 * the main thread; attachDevices() on every thread that operates the devices. */
import { Wakeups } from "../engine/wakeups.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { Bus } from "./bus.ts";
import { IOAPIC_STATE_BYTES, IoApic } from "./ioapic.ts";
import { type ClockSource, KVM_CLOCK_STATE_BYTES, KvmClock } from "./kvm-clock.ts";
import { LOCAL_APIC_STATE_BYTES, LocalApics } from "./local-apic.ts";
import { MAILBOX_STATE_BYTES, WakeupMailbox } from "./mailbox.ts";
import { POWER_STATE_BYTES, PowerWindow } from "./power.ts";
import { RESTART_STATE_BYTES, RestartPort } from "./restart-port.ts";
import { SERIAL_STATE_BYTES, Serial } from "./serial.ts";
import { Doorbell, SharedPlan } from "./shared.ts";
import type { VirtioDescription } from "./virtio/device.ts";
import { VIRTIO_STATE_BYTES, VirtioMmio } from "./virtio/mmio.ts";

/** Nothing below this address is anything but RAM, nothing from 3 GiB to 4 GiB is RAM. */
export const DeviceAddress = {
  VIRTIO: 0xfea00000,
  VIRTIO_STEP: 0x1000,
  POWER: 0xfeb00000,
  MAILBOX: 0xfeb10000,
  IOAPIC: 0xfec00000,
} as const;
const SERIAL = { port: 0x3f8, irq: 4 } as const;
const FIRST_VIRTIO_IRQ = 5;
const IOAPIC_PINS = 24;

/** A device that has registers at `base` and state at byte `offset` of the shared buffer. */
export interface Place {
  base: number;
  offset: number;
}
export interface VirtioPlace extends Place {
  irq: number;
  bell: number;
  description: VirtioDescription;
}

/** Plain data: survives structured clone. */
export interface MachineLayout {
  vcpus: number;
  doorbell: number;
  localApics: number;
  kvmClocks: number;
  ioApic: Place;
  power: Place & { bell: number };
  mailbox: Place;
  /** Offset of the restart port's state. */
  restart: number;
  serial: { port: number; irq: number; offset: number; bell: number };
  virtio: VirtioPlace[];
  sizeBytes: number;
}
export interface DeviceConfig {
  /** 1–255 */
  vcpus: number;
  /** At most 19, one interrupt each. */
  virtio: readonly VirtioDescription[];
}
/** What every thread needs to attach. Post it as it is. */
export interface DeviceShared {
  layout: MachineLayout;
  buffer: SharedArrayBuffer;
}

/** Lays out the devices. They are not in their power-on state before Devices.reset().
 *  @throws RangeError if there are too many */
export function createDeviceShared(config: DeviceConfig): DeviceShared {
  const { vcpus, virtio } = config;
  if (vcpus < 1 || vcpus > 255) throw new RangeError(`a machine has 1 to 255 vCPUs, not ${vcpus}`);
  if (virtio.length > IOAPIC_PINS - FIRST_VIRTIO_IRQ)
    throw new RangeError(
      `a machine has at most ${IOAPIC_PINS - FIRST_VIRTIO_IRQ} virtio devices, not ${virtio.length}`,
    );
  const plan = new SharedPlan();
  const layout: MachineLayout = {
    vcpus,
    doorbell: plan.take(4),
    localApics: plan.take(vcpus * LOCAL_APIC_STATE_BYTES),
    kvmClocks: plan.take(vcpus * KVM_CLOCK_STATE_BYTES),
    ioApic: { base: DeviceAddress.IOAPIC, offset: plan.take(IOAPIC_STATE_BYTES) },
    power: { base: DeviceAddress.POWER, offset: plan.take(POWER_STATE_BYTES), bell: 0 },
    mailbox: { base: DeviceAddress.MAILBOX, offset: plan.take(MAILBOX_STATE_BYTES) },
    restart: plan.take(RESTART_STATE_BYTES),
    serial: { ...SERIAL, offset: plan.take(SERIAL_STATE_BYTES), bell: 1 },
    virtio: virtio.map((description, i) => ({
      base: DeviceAddress.VIRTIO + DeviceAddress.VIRTIO_STEP * i,
      offset: plan.take(VIRTIO_STATE_BYTES),
      irq: FIRST_VIRTIO_IRQ + i,
      bell: 2 + i,
      description,
    })),
    sizeBytes: 0,
  };
  layout.sizeBytes = plan.sizeBytes;
  return { layout, buffer: new SharedArrayBuffer(layout.sizeBytes) };
}

/** What the devices need of the rest of the machine, on each thread. */
export interface DeviceSurroundings extends ClockSource {
  /** One per vCPU, as i32 words (Reg.SIZE / 4 of them). */
  registerFiles: readonly Int32Array[];
  memory: GuestMemory;
}

/** The fronts of a machine's devices: a view of shared state, good on the thread that built it. */
export interface Devices {
  layout: MachineLayout;
  doorbell: Doorbell;
  /** Guest-physical addresses. */
  mmio: Bus;
  ports: Bus;
  wakeups: Wakeups;
  localApics: LocalApics;
  ioApic: IoApic;
  serial: Serial;
  power: PowerWindow;
  virtio: readonly VirtioMmio[];
  kvmClocks: readonly KvmClock[];
  /** Power-on state. Once, before the machine runs; it also disarms Reg.DEADLINE of all vCPUs. */
  reset(): void;
}

export function attachDevices({ layout, buffer }: DeviceShared, around: DeviceSurroundings): Devices {
  const { registerFiles, memory } = around;
  const doorbell = new Doorbell(buffer, layout.doorbell);
  const wakeups = new Wakeups(registerFiles);
  const localApics = new LocalApics(buffer, layout.localApics, registerFiles, {
    hostNs: () => around.hostNs(),
    endOfInterrupt: (vector) => ioApic.endOfInterrupt(vector),
  });
  const ioApic: IoApic = new IoApic(layout.ioApic.base, buffer, layout.ioApic.offset, localApics);
  const s = layout.serial;
  const serial = new Serial(s.port, buffer, s.offset, ioApic.line(s.irq), doorbell, s.bell);
  const power = new PowerWindow(layout.power.base, buffer, layout.power.offset, wakeups, doorbell, layout.power.bell);
  const mailbox = new WakeupMailbox(layout.mailbox.base, buffer, layout.mailbox.offset, registerFiles, wakeups);
  const virtio = layout.virtio.map(
    (place) =>
      new VirtioMmio(place.base, place.description, buffer, place.offset, ioApic.line(place.irq), doorbell, place.bell),
  );
  const kvmClocks = registerFiles.map(
    (regs, i) => new KvmClock(buffer, layout.kvmClocks + i * KVM_CLOCK_STATE_BYTES, regs, memory, around),
  );
  const reset = (): void => {
    new Uint8Array(buffer).fill(0);
    for (const device of [ioApic, ...localApics.apics, ...virtio]) device.reset();
  };
  const mmio = new Bus([...virtio, power, ioApic, ...(layout.vcpus > 1 ? [mailbox] : [])]);
  return {
    layout,
    doorbell,
    mmio,
    ports: new Bus([serial, new RestartPort(buffer, layout.restart, power)]),
    wakeups,
    localApics,
    ioApic,
    serial,
    power,
    virtio,
    kvmClocks,
    reset,
  };
}
