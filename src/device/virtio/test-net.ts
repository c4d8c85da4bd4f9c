/* For tests: a network device with a driver and a cable whose other end keeps what it gets. */
import assert from "node:assert/strict";
import { NET_HEADER_BYTES, NetFeature } from "./net-header.ts";
import { NetDevice, type NetDeviceOptions } from "./net.ts";
import type { Cable, Packet } from "./packet.ts";
import { type Part, TestDriver } from "./test-driver.ts";

export const MAC = 0x0200_0000_00aa;
export const MAC_BYTES = [2, 0, 0, 0, 0, 0xaa];

export class TestCable implements Cable {
  readonly sent: Packet[] = [];
  /** Packets that it still takes. */
  room = Infinity;
  roomTold = 0;
  onRoom: (() => void) | undefined;
  send(packet: Packet): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.sent.push(packet);
    return true;
  }
  hasRoom(): void {
    this.roomTold++;
  }
  closed = false;
  close(): void {
    this.closed = true;
  }
}

export interface NetBench {
  readonly device: NetDevice;
  readonly driver: TestDriver;
  readonly cable: TestCable;
}
export const ALL = ~0n;
/** Mask without these features. */
export function without(...features: readonly number[]): bigint {
  return features.reduce((mask, feature) => mask & ~(1n << BigInt(feature)), ALL);
}

/** A device whose driver is ready. @param mask features that the driver accepts */
export function startNet({ mask = ALL, ...options }: Partial<NetDeviceOptions> & { mask?: bigint } = {}): NetBench {
  const device = new NetDevice({ mac: MAC, ...options });
  const driver = new TestDriver(device);
  const cable = new TestCable();
  device.plug(cable);
  assert.ok(driver.start(queuesOf(options.queuePairs), driver.deviceFeatures() & mask));
  driver.back.serve();
  driver.interrupt();
  return { device, driver, cable };
}
export function queuesOf(pairs = 1): number {
  return 2 * pairs + 1;
}

export interface HeaderFields {
  flags?: number;
  gsoType?: number;
  gsoSize?: number;
  start?: number;
  offset?: number;
}
export function header(fields: HeaderFields = {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(NET_HEADER_BYTES));
  view.setUint8(0, fields.flags ?? 0);
  view.setUint8(1, fields.gsoType ?? 0);
  view.setUint16(4, fields.gsoSize ?? 0, true);
  view.setUint16(6, fields.start ?? 0, true);
  view.setUint16(8, fields.offset ?? 0, true);
  return new Uint8Array(view.buffer);
}
/** A frame for the device whose bytes tell where they belong. */
export function frame(length: number, seed = 0): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) + seed) & 0xff);
  bytes.set(MAC_BYTES);
  return bytes;
}

/** Lets the driver send one frame. @returns was the chain given back */
export function transmit({ driver }: NetBench, parts: readonly Part[], queue = 1): boolean {
  driver.send(queue, parts);
  driver.back.serve();
  return driver.used(queue).length === 1;
}
/** Runs a command on the control queue. @returns its answer: 0 done, 1 refused, 238 none */
export function command({ driver }: NetBench, bytes: readonly number[], queue = 2): number {
  const at = driver.send(queue, [{ bytes: [...bytes] }, { bytes: [238], write: true }]);
  driver.back.serve();
  assert.equal(driver.used(queue).length, 1);
  return driver.bytes(at[1]!, 1)[0]!;
}
export const GUEST_OFFLOADS = [NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO4, NetFeature.GUEST_TSO6] as const;
