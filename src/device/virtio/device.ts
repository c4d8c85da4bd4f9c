/* What a virtio device is to its transport: a description in plain data, from which the front is built on every thread, and a back on the I/O
 * thread, which knows only its queues. @source virtio 1.2 §2. To add a device: one file with a class that implements VirtioDevice. */
import type { Virtqueue } from "./queue.ts";

/** Device-independent feature bits. @source virtio 1.2 §6 */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;

/** Plain data: survives structured clone. */
export interface VirtioDescription {
  readonly name: string;
  /** @source virtio 1.2 §5 */
  readonly deviceId: number;
  /** Bit numbers of the device's own features, below 64; the ring's features are added by the transport. */
  readonly features: readonly number[];
  /** Largest size of each queue: powers of two up to 1024. */
  readonly queueSizes: readonly number[];
  /** Device configuration space, at most 256 bytes. */
  readonly config: Uint8Array;
  /** Bytes [start, end) of it that the driver may write; none if absent. */
  readonly driverWrites?: { readonly start: number; readonly end: number };
}

/** What a back may use of its transport. I/O thread only. */
export interface VirtioPort {
  readonly queues: readonly Virtqueue[];
  /** Is the driver ready and the device not broken? */
  readonly running: boolean;
  /** Has the driver accepted this feature? */
  negotiated(feature: number): boolean;
  /** Changes the configuration space from `offset` on and tells the driver. */
  setConfig(offset: number, bytes: Uint8Array): void;
  /** A word of the configuration space, as the driver may have written it. */
  readConfig32(offset: number): number;
  /** Takes pages' memory from the guest: it reads as zeroes and comes back when it is touched. @param pages guest-physical addresses / 4096, any numbers
   *  @returns how many had memory that went back; resolves when it has */
  giveBack(pages: readonly number[]): Promise<number>;
}
/** VirtioPort.giveBack, of the machine. */
export type GiveBack = VirtioPort["giveBack"];

/** The back of a device. I/O thread only; must not throw on guest data. */
export interface VirtioDevice {
  readonly description: VirtioDescription;
  /** Called once, before anything else. */
  attach(port: VirtioPort): void;
  /** The driver has reset the device, or begins: called before the first process() after it. For devices that keep what a driver told them. */
  reset?(): void;
  /** The driver has put buffers into this queue, or has just become ready. */
  process(queueIndex: number): void;
}
