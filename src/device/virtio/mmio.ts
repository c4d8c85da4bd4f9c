/* virtio over MMIO, version 2: the registers by which a driver finds, sets up and notifies a device. @source virtio 1.2 §4.2.2, §3.1
 * The front: runs on any executor and on the I/O thread, all its state in shared memory. Rings and buffers are the back's business (queue.ts).
 * Leaves out: legacy (version 1) registers, shared-memory regions, per-queue reset.
 *
 *   0x000 MagicValue   0x010 DeviceFeatures      0x030 QueueSel     0x050 QueueNotify      0x080 QueueDescLow    0x0A0 QueueDeviceLow
 *   0x004 Version      0x014 DeviceFeaturesSel   0x034 QueueNumMax  0x060 InterruptStatus  0x084 QueueDescHigh   0x0A4 QueueDeviceHigh
 *   0x008 DeviceID     0x020 DriverFeatures      0x038 QueueNum     0x064 InterruptACK     0x090 QueueDriverLow  0x0FC ConfigGeneration
 *   0x00C VendorID     0x024 DriverFeaturesSel   0x044 QueueReady   0x070 Status           0x094 QueueDriverHigh 0x100 Config
 */
import type { InterruptLine, RegisterWindow } from "../bus.ts";
import { type Doorbell, SpinLock } from "../shared.ts";
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1, type VirtioDescription } from "./device.ts";

const MAGIC = 0x74726976; // "virt"
const VENDOR = 0x4552454d; // "MERE"
/** Where the configuration space is. */
export const VIRTIO_CONFIG = 0x100;
export const VIRTIO_CONFIG_BYTES = 256;
/** Four pairs of a network device and its control queue need 9; NOTIFIED has one bit for each. */
const MAX_QUEUES = 16;

/** i32 words of shared state; then QueueWord.COUNT words a queue; then the configuration space. */
const Word = {
  LOCK: 0,
  STATUS: 1,
  DEVICE_FEATURES_SEL: 2,
  DRIVER_FEATURES_SEL: 3,
  DRIVER_FEATURES: 4, // two words
  QUEUE_SEL: 6,
  INTERRUPT_STATUS: 7,
  CONFIG_GENERATION: 8,
  NOTIFIED: 9,
  EPOCH: 10,
  BUSY: 11,
  QUEUES: 16,
} as const;

/** Words of one queue. The first eight are the driver's, cleared by reset; the rest belong to the back, which starts them anew when EPOCH has changed. */
export const QueueWord = {
  NUM: 0,
  READY: 1,
  DESC: 2, // low, high
  DRIVER: 4,
  DEVICE: 6,
  EPOCH: 8,
  LAST_AVAILABLE: 9,
  USED: 10,
  SIGNALLED: 11,
  FENCE: 12,
  TAKER: 13,
  GIVING: 14,
  COUNT: 16,
} as const;
const CONFIG_OFFSET = 4 * (Word.QUEUES + MAX_QUEUES * QueueWord.COUNT);
export const VIRTIO_STATE_BYTES = CONFIG_OFFSET + VIRTIO_CONFIG_BYTES;

export const Status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 0x40,
  FAILED: 0x80,
} as const;
const Interrupt = { USED_BUFFER: 1, CONFIG_CHANGE: 2 } as const;

export class VirtioMmio implements RegisterWindow {
  readonly name: string;
  readonly start: number;
  readonly length = 0x200;
  readonly description: VirtioDescription;
  readonly #w: Int32Array;
  readonly #config: DataView;
  readonly #configBytes: Uint8Array;
  readonly #features: readonly [number, number];
  readonly #lock: SpinLock;
  readonly #line: InterruptLine;
  readonly #doorbell: Doorbell;
  readonly #bell: number;
  /** Serves a queue on this thread, at once, as far as that goes. @returns false if the back has to look at it */
  serveHere: ((queue: number) => boolean) | undefined;

  constructor(
    start: number,
    description: VirtioDescription,
    buffer: SharedArrayBuffer,
    offset: number,
    line: InterruptLine,
    doorbell: Doorbell,
    bell: number,
  ) {
    this.name = `virtio-${description.name}`;
    this.start = start;
    this.description = description;
    this.#w = new Int32Array(buffer, offset, CONFIG_OFFSET / 4);
    this.#config = new DataView(buffer, offset + CONFIG_OFFSET, VIRTIO_CONFIG_BYTES);
    this.#configBytes = new Uint8Array(buffer, offset + CONFIG_OFFSET, VIRTIO_CONFIG_BYTES);
    const all = [...description.features, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1];
    const half = (high: boolean): number =>
      all.filter((bit) => bit >= 32 === high).reduce((bits, bit) => bits | (1 << (bit & 31)), 0);
    this.#features = [half(false), half(true)];
    this.#lock = new SpinLock(this.#w, Word.LOCK);
    this.#line = line;
    this.#doorbell = doorbell;
    this.#bell = bell;
  }

  /** Power-on state. Called once per machine, before it runs. @throws RangeError if the description cannot be built (a mistake of the caller) */
  reset(): void {
    const { config, queueSizes } = this.description;
    if (config.length > VIRTIO_CONFIG_BYTES || queueSizes.length > MAX_QUEUES)
      throw new RangeError(`${this.name}: too large a description`);
    this.#w.fill(0);
    this.#configBytes.fill(0);
    this.#configBytes.set(config);
  }

  // ── driver side: any executor ──

  read(offset: number, size: 1 | 2 | 4 | 8): number {
    if (offset >= VIRTIO_CONFIG) return this.#readConfig(offset - VIRTIO_CONFIG, size);
    if (size !== 4) return 0;
    const w = this.#w;
    switch (offset) {
      case 0x000:
        return MAGIC;
      case 0x004:
        return 2;
      case 0x008:
        return this.description.deviceId;
      case 0x00c:
        return VENDOR;
      case 0x010:
        return w[Word.DEVICE_FEATURES_SEL]! >>> 0 < 2 ? this.#features[w[Word.DEVICE_FEATURES_SEL] as 0 | 1] : 0;
      case 0x034:
        return this.description.queueSizes[w[Word.QUEUE_SEL]!] ?? 0;
      case 0x044: {
        const queue = this.#selected();
        return queue < 0 ? 0 : w[queue + QueueWord.READY]!;
      }
      case 0x060:
        return Atomics.load(w, Word.INTERRUPT_STATUS);
      case 0x070:
        return this.#readStatus();
      case 0x0b0: // SHMLenLow and SHMLenHigh: all ones, no such region
      case 0x0b4:
        return 0xffffffff;
      case 0x0fc:
        return Atomics.load(w, Word.CONFIG_GENERATION);
      default:
        return 0;
    }
  }
  write(offset: number, size: 1 | 2 | 4 | 8, value: number | bigint): void {
    if (offset >= VIRTIO_CONFIG) return this.#writeConfig(offset - VIRTIO_CONFIG, size, Number(value));
    if (size !== 4) return;
    const v = Number(value) | 0;
    const w = this.#w;
    switch (offset) {
      case 0x014:
        w[Word.DEVICE_FEATURES_SEL] = v;
        return;
      case 0x020:
        if (w[Word.DRIVER_FEATURES_SEL]! >>> 0 < 2 && (w[Word.STATUS]! & Status.FEATURES_OK) === 0)
          w[Word.DRIVER_FEATURES + w[Word.DRIVER_FEATURES_SEL]!] = v;
        return;
      case 0x024:
        w[Word.DRIVER_FEATURES_SEL] = v;
        return;
      case 0x030:
        w[Word.QUEUE_SEL] = v;
        return;
      case 0x050:
        if (v >>> 0 < this.description.queueSizes.length && this.serveHere?.(v) !== true) this.notify(v);
        return;
      case 0x064:
        this.#acknowledge(v);
        return;
      case 0x070:
        this.#writeStatus(v & 0xff);
        return;
      default:
        this.#writeQueue(offset, v);
    }
  }
  /** Index of the selected queue's words; −1 if there is no such queue. */
  #selected(): number {
    const queue = this.#w[Word.QUEUE_SEL]! >>> 0;
    return queue < this.description.queueSizes.length ? Word.QUEUES + QueueWord.COUNT * queue : -1;
  }
  #writeQueue(offset: number, value: number): void {
    const at = this.#selected();
    if (at < 0) return;
    if (offset === 0x044) {
      Atomics.store(this.#w, at + QueueWord.READY, value & 1);
      return;
    }
    // A live queue does not move.
    if (this.#w[at + QueueWord.READY] !== 0) return;
    if (offset === 0x038) this.#w[at + QueueWord.NUM] = value;
    else if (offset === 0x080 || offset === 0x084) this.#w[at + QueueWord.DESC + ((offset >> 2) & 1)] = value;
    else if (offset === 0x090 || offset === 0x094) this.#w[at + QueueWord.DRIVER + ((offset >> 2) & 1)] = value;
    else if (offset === 0x0a0 || offset === 0x0a4) this.#w[at + QueueWord.DEVICE + ((offset >> 2) & 1)] = value;
  }
  #readConfig(offset: number, size: number): number {
    if (size === 1) return this.#config.getUint8(offset);
    if (size === 2) return this.#config.getUint16(offset, true);
    return this.#config.getUint32(offset, true);
  }
  /** What the driver may not write stays. */
  #writeConfig(offset: number, size: number, value: number): void {
    const { driverWrites } = this.description;
    if (driverWrites === undefined || offset < driverWrites.start || offset + size > driverWrites.end) return;
    if (size === 1) this.#config.setUint8(offset, value);
    else if (size === 2) this.#config.setUint16(offset, value, true);
    else if (size === 4) this.#config.setUint32(offset, value, true);
  }
  #readStatus(): number {
    const status = Atomics.load(this.#w, Word.STATUS);
    // After a reset the back may still be filling buffers that it took before. Zero would say that it no longer touches memory (§2.4.2).
    return status === 0 && Atomics.load(this.#w, Word.BUSY) !== 0 ? Status.NEEDS_RESET : status;
  }
  #writeStatus(value: number): void {
    const w = this.#w;
    this.#lock.lock();
    const before = w[Word.STATUS]!;
    if (value === 0) this.#clear();
    else {
      let after = (value & ~Status.NEEDS_RESET) | (before & Status.NEEDS_RESET);
      if ((after & ~before & Status.FEATURES_OK) !== 0 && !this.#acceptable()) after &= ~Status.FEATURES_OK;
      if ((after & Status.FEATURES_OK) === 0) after &= ~Status.DRIVER_OK;
      Atomics.store(w, Word.STATUS, after);
      if ((after & ~before & Status.DRIVER_OK) !== 0) {
        Atomics.or(w, Word.NOTIFIED, (1 << this.description.queueSizes.length) - 1);
        this.#doorbell.ring(this.#bell);
      }
    }
    this.#lock.unlock();
  }
  #acceptable(): boolean {
    const low = this.#w[Word.DRIVER_FEATURES]!;
    const high = this.#w[Word.DRIVER_FEATURES + 1]!;
    const version1 = 1 << (VIRTIO_F_VERSION_1 - 32);
    return (low & ~this.#features[0]) === 0 && (high & ~this.#features[1]) === 0 && (high & version1) !== 0;
  }
  #clear(): void {
    const w = this.#w;
    Atomics.store(w, Word.STATUS, 0);
    Atomics.add(w, Word.EPOCH, 1);
    w.fill(0, Word.DEVICE_FEATURES_SEL, Word.QUEUE_SEL + 1);
    for (let queue = 0; queue < MAX_QUEUES; queue++) {
      const at = Word.QUEUES + QueueWord.COUNT * queue;
      w.fill(0, at, at + QueueWord.EPOCH);
    }
    Atomics.store(w, Word.NOTIFIED, 0);
    Atomics.store(w, Word.INTERRUPT_STATUS, 0);
    this.#line.set(false);
  }
  #acknowledge(bits: number): void {
    this.#lock.lock();
    const left = this.#w[Word.INTERRUPT_STATUS]! & ~bits;
    Atomics.store(this.#w, Word.INTERRUPT_STATUS, left);
    if (left === 0) this.#line.set(false);
    this.#lock.unlock();
  }

  // ── back side: the I/O thread ──

  /** Asks for process(queue). Any thread. */
  notify(queue: number): void {
    Atomics.or(this.#w, Word.NOTIFIED, 1 << queue);
    this.#doorbell.ring(this.#bell);
  }
  /** Queues notified since the last call, one bit each; 0 while the driver is not ready. */
  takeNotified(): number {
    return Atomics.exchange(this.#w, Word.NOTIFIED, 0) * (this.running ? 1 : 0);
  }
  /** Is the driver ready and the device not broken? */
  get running(): boolean {
    return (Atomics.load(this.#w, Word.STATUS) & (Status.DRIVER_OK | Status.NEEDS_RESET)) === Status.DRIVER_OK;
  }
  /** Counts the driver's resets: what was taken in another epoch must not be given back. */
  get epoch(): number {
    return Atomics.load(this.#w, Word.EPOCH);
  }
  negotiated(feature: number): boolean {
    return (this.#w[Word.DRIVER_FEATURES + (feature >> 5)]! & (1 << (feature & 31))) !== 0;
  }
  /** Words of one queue, see QueueWord. */
  queueWords(queue: number): Int32Array {
    const at = Word.QUEUES + QueueWord.COUNT * queue;
    return this.#w.subarray(at, at + QueueWord.COUNT);
  }
  /** Counts the buffers that the back holds: +1 taken, −1 given back. */
  hold(change: 1 | -1): void {
    Atomics.add(this.#w, Word.BUSY, change);
  }
  /** There are used buffers. */
  interruptUsed(): void {
    this.#interrupt(Interrupt.USED_BUFFER);
  }
  setConfig(offset: number, bytes: Uint8Array): void {
    this.#configBytes.set(bytes, offset);
    Atomics.add(this.#w, Word.CONFIG_GENERATION, 1);
    if (this.running) this.#interrupt(Interrupt.CONFIG_CHANGE);
  }
  /** The driver broke the rules: the device stops until it is reset. @source virtio 1.2 §2.1.2 */
  fail(): void {
    Atomics.or(this.#w, Word.STATUS, Status.NEEDS_RESET);
    this.#interrupt(Interrupt.CONFIG_CHANGE);
  }
  #interrupt(bit: number): void {
    this.#lock.lock();
    // Reset meanwhile: the line belongs to a driver that knows of no interrupt.
    if ((this.#w[Word.STATUS]! & Status.DRIVER_OK) !== 0) {
      Atomics.or(this.#w, Word.INTERRUPT_STATUS, bit);
      this.#line.set(true);
    }
    this.#lock.unlock();
  }
}
