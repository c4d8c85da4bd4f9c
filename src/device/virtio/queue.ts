/* Split virtqueue, the device's side: takes descriptor chains from the driver's ring and gives them back. @source virtio 1.2 §2.7
 * Its state is in shared memory: the I/O thread works on a queue, and an executor may serve a request at once (quick.ts). One thread at a time takes from the ring, and one
 * at a time gives back. All that the driver wrote is hostile: any rule broken (an address outside RAM, a loop, an absurd length, a bad index) stops the
 * device with DEVICE_NEEDS_RESET; nothing here throws, runs for ever, or reads outside RAM. Leaves out: packed rings. */
import { gather } from "./buffers.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from "./device.ts";
import { SpinLock } from "../shared.ts";
import { QueueWord, type VirtioMmio } from "./mmio.ts";

const Descriptor = { NEXT: 1, WRITE: 2, INDIRECT: 4, BYTES: 16 } as const;
const NO_INTERRUPT = 1;
/** An indirect table may be longer than the ring; Linux's block driver stays below 256. */
const MAX_DESCRIPTORS = 1024;
/** Overlapping descriptors can inflate a chain beyond all memory; 32 MiB is twice what the block device's limits allow. */
const MAX_CHAIN_BYTES = 32 << 20;
/** What one process() may take in all: some milliseconds of copying, then other devices have their turn. */
const MAX_BYTES_AT_A_TIME = 16 << 20;
const TWO32 = 0x1_0000_0000;
/** QueueWord.TAKER: who takes from the ring. CALLED: another one wanted to meanwhile, and is to be told. */
const Taker = { NONE: 0, ONE: 1, CALLED: 2 } as const;

/** One request of the driver: what the device may read, and what it may write. Must be given back with Virtqueue.push(), once. */
export interface Chain {
  readonly head: number;
  readonly epoch: number;
  readonly readable: Uint8Array[];
  readonly writable: Uint8Array[];
  readonly readableBytes: number;
  readonly writableBytes: number;
}
/** A chain of which only the addresses are wanted: its buffers are not looked up, so that none gets memory. */
export interface RangeChain extends Chain {
  /** Guest-physical, inside RAM. */
  readonly ranges: readonly { readonly address: number; readonly length: number }[];
}

export class Virtqueue {
  readonly index: number;
  readonly #front: VirtioMmio;
  readonly #memory: GuestMemory;
  readonly #w: Int32Array;
  readonly #maxSize: number;
  readonly #descriptor = new Uint8Array(Descriptor.BYTES);
  readonly #view = new DataView(this.#descriptor.buffer);
  readonly #giving: SpinLock;
  /** Taken and not yet given back. */
  readonly #held = new Set<Chain>();
  #budget = 0;
  #byteBudget = 0;

  constructor(front: VirtioMmio, index: number, memory: GuestMemory) {
    this.index = index;
    this.#front = front;
    this.#memory = memory;
    this.#w = front.queueWords(index);
    this.#maxSize = front.description.queueSizes[index]!;
    this.#giving = new SpinLock(this.#w, QueueWord.GIVING);
  }

  /** Entries of the driver's ring: a power of two once the driver is ready. */
  get size(): number {
    return this.#w[QueueWord.NUM]!;
  }

  /** Called before each process(): at most one ring full of chains is taken at a time, so that a busy driver cannot keep the I/O thread. */
  begin(): void {
    this.#budget = this.#maxSize;
    this.#byteBudget = MAX_BYTES_AT_A_TIME;
  }

  /** The next chain that the driver made available. The caller owns it until push(). Undefined also while another thread takes: process() is called after it. */
  pop(): Chain | undefined {
    if (!this.take()) return undefined;
    const chain = this.next();
    this.release();
    return chain;
  }
  /** pop() for a queue whose buffers are named and not filled. */
  popRanges(): RangeChain | undefined {
    if (!this.take()) return undefined;
    const ranges: { address: number; length: number }[] = [];
    const chain = this.next(ranges);
    this.release();
    return chain && Object.assign(chain, { ranges });
  }
  /** The first bytes of what pop() would give, which stays in the ring. @returns at most `length` readable bytes, copied; undefined if there is nothing */
  peek(length: number): Uint8Array | undefined {
    const chain = this.pop();
    if (chain === undefined) return undefined;
    const bytes = gather(chain.readable, length);
    this.unpop(chain);
    return bytes;
  }
  /** Chains that this thread has taken and not given back: their buffers are in use. */
  held(): Iterable<Chain> {
    return this.#held;
  }
  /** Reserves the available ring for this thread. @returns false if another one has it: it asks for process() at its release() */
  take(): boolean {
    if (Atomics.compareExchange(this.#w, QueueWord.TAKER, Taker.NONE, Taker.ONE) === Taker.NONE) return true;
    // Between the two it may have been released.
    if (Atomics.compareExchange(this.#w, QueueWord.TAKER, Taker.ONE, Taker.CALLED) === Taker.NONE)
      this.#front.notify(this.index);
    return false;
  }
  release(): void {
    if (Atomics.exchange(this.#w, QueueWord.TAKER, Taker.NONE) === Taker.CALLED) this.#front.notify(this.index);
  }
  /** pop() between take() and release(). */
  next(ranges?: { address: number; length: number }[]): Chain | undefined {
    if (!this.#ready()) return undefined;
    const num = this.#w[QueueWord.NUM]!;
    const driver = this.#address(QueueWord.DRIVER);
    const last = this.#w[QueueWord.LAST_AVAILABLE]!;
    const count = this.#available(driver, last, num);
    if (count === 0) return undefined;
    if (this.#budget-- <= 0 || this.#byteBudget <= 0) {
      this.#front.notify(this.index);
      return undefined;
    }
    const head = count < 0 ? undefined : this.#memory.readU16(driver + 4 + 2 * (last & (num - 1)));
    // Held before it is read: a reset is not complete while the chain's memory is in use.
    this.#front.hold(1);
    const epoch = this.#front.epoch;
    const chain = head === undefined ? undefined : this.#read(head, epoch, num, ranges);
    if (chain === undefined || epoch !== this.#w[QueueWord.EPOCH]) {
      this.#front.hold(-1);
      if (epoch === this.#w[QueueWord.EPOCH]) this.#front.fail();
      return undefined;
    }
    this.#w[QueueWord.LAST_AVAILABLE] = (last + 1) & 0xffff;
    this.#byteBudget -= chain.readableBytes + chain.writableBytes;
    this.#held.add(chain);
    return chain;
  }

  /** Undoes the last pop(), as if it had not been: the chain comes again. Only in reverse order of pop(), before any push();
   *  where executors serve the queue too, between take() and release(). */
  unpop(chain: Chain): void {
    if (chain.epoch === this.#w[QueueWord.EPOCH])
      this.#w[QueueWord.LAST_AVAILABLE] = (this.#w[QueueWord.LAST_AVAILABLE]! - 1) & 0xffff;
    this.#budget++;
    this.#byteBudget += chain.readableBytes + chain.writableBytes;
    this.#put(chain);
  }

  /** Gives a chain back. signal() tells the driver. @param written bytes that the device wrote, from the first writable one on */
  push(chain: Chain, written: number): void {
    this.#giving.lock();
    const broken = this.#isCurrent(chain) && !(this.#writeUsed(chain.head, written, 0) && this.#publishUsed(1));
    this.#giving.unlock();
    if (broken) this.#front.fail();
    this.#put(chain);
  }
  /** The chain's memory is not used any more. */
  #put(chain: Chain): void {
    this.#held.delete(chain);
    this.#front.hold(-1);
  }
  /** Gives several back so that the driver sees all of them or none. @param written bytes that the device wrote, for each */
  pushAll(chains: readonly Chain[], written: readonly number[]): void {
    this.#giving.lock();
    const broken =
      chains.every((chain) => this.#isCurrent(chain)) &&
      !(chains.every((chain, n) => this.#writeUsed(chain.head, written[n]!, n)) && this.#publishUsed(chains.length));
    this.#giving.unlock();
    if (broken) this.#front.fail();
    for (const chain of chains) this.#put(chain);
  }
  #isCurrent(chain: Chain): boolean {
    return this.#front.running && chain.epoch === this.#front.epoch && chain.epoch === this.#w[QueueWord.EPOCH];
  }

  /** Interrupts the driver if it wants to know of what was pushed since the last call. */
  signal(): void {
    this.#giving.lock();
    const wanted = this.#wantsSignal();
    this.#giving.unlock();
    if (wanted) this.#front.interruptUsed();
  }
  #wantsSignal(): boolean {
    if (!this.#front.running || this.#w[QueueWord.EPOCH] !== this.#front.epoch) return false;
    const used = this.#w[QueueWord.USED]!;
    const before = this.#w[QueueWord.SIGNALLED]!;
    if (used === before) return false;
    this.#w[QueueWord.SIGNALLED] = used;
    this.#fence();
    const driver = this.#address(QueueWord.DRIVER);
    if (this.#front.negotiated(VIRTIO_F_EVENT_IDX)) {
      const event = this.#memory.readU16(driver + 4 + 2 * this.#w[QueueWord.NUM]!);
      // The driver's event index is among those passed since the last signal (§2.7.10).
      return event === undefined || ((used - event - 1) & 0xffff) < ((used - before) & 0xffff);
    }
    return ((this.#memory.readU16(driver) ?? 0) & NO_INTERRUPT) === 0;
  }

  /** Can the queue be used; starts the back's indices anew after a reset. */
  #ready(): boolean {
    const w = this.#w;
    if (!this.#front.running || Atomics.load(w, QueueWord.READY) === 0) return false;
    const epoch = this.#front.epoch;
    if (w[QueueWord.EPOCH] !== epoch) {
      this.#giving.lock();
      w[QueueWord.LAST_AVAILABLE] = 0;
      w[QueueWord.USED] = 0;
      w[QueueWord.SIGNALLED] = 0;
      w[QueueWord.EPOCH] = epoch;
      this.#giving.unlock();
    }
    const num = w[QueueWord.NUM]!;
    if (num > 0 && num <= this.#maxSize && (num & (num - 1)) === 0) return true;
    this.#front.fail();
    return false;
  }
  /** Chains waiting; −1 if the ring is broken. With EVENT_IDX, asks to be notified of the next one before it says 0. */
  #available(driver: number, last: number, num: number): number {
    let index = this.#memory.readU16(driver + 2);
    if (index === last && this.#front.negotiated(VIRTIO_F_EVENT_IDX)) {
      if (!this.#memory.writeU16(this.#address(QueueWord.DEVICE) + 4 + 8 * num, last)) return -1;
      this.#fence();
      index = this.#memory.readU16(driver + 2);
    }
    if (index === undefined) return -1;
    const count = (index - last) & 0xffff;
    // The ring's entries must not be read before its index.
    this.#fence();
    return count > num ? -1 : count;
  }
  /** @param ranges gets the addresses, if they are all that is wanted */
  #read(head: number, epoch: number, num: number, ranges?: { address: number; length: number }[]): Chain | undefined {
    const readable: Uint8Array[] = [];
    const writable: Uint8Array[] = [];
    let readableBytes = 0;
    let writableBytes = 0;
    let table = this.#address(QueueWord.DESC);
    let entries = num;
    let indirect = false;
    let index = head;
    for (let count = 0; count < MAX_DESCRIPTORS; count++) {
      if (index >= entries || !this.#memory.read(table + Descriptor.BYTES * index, this.#descriptor)) return undefined;
      const address = this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * TWO32;
      const length = this.#view.getUint32(8, true);
      const flags = this.#view.getUint16(12, true);
      if ((flags & Descriptor.INDIRECT) !== 0) {
        if (indirect || (flags & Descriptor.NEXT) !== 0 || length === 0 || length % Descriptor.BYTES !== 0)
          return undefined;
        if (!this.#front.negotiated(VIRTIO_F_INDIRECT_DESC)) return undefined;
        indirect = true;
        table = address;
        entries = Math.min(MAX_DESCRIPTORS, length / Descriptor.BYTES);
        index = 0;
        continue;
      }
      const write = (flags & Descriptor.WRITE) !== 0;
      if (!write && writableBytes > 0) return undefined;
      if (readableBytes + writableBytes + length > (ranges ? this.#memory.sizeBytes : MAX_CHAIN_BYTES))
        return undefined;
      if (length > 0) {
        if (!this.#memory.contains(address, length)) return undefined;
        if (ranges) ranges.push({ address, length });
        else {
          const slices = this.#memory.slices(address, length, write);
          if (slices === undefined) return undefined;
          for (const slice of slices) (write ? writable : readable).push(slice);
        }
        if (write) writableBytes += length;
        else readableBytes += length;
      }
      if ((flags & Descriptor.NEXT) === 0) return { head, epoch, readable, writable, readableBytes, writableBytes };
      index = this.#view.getUint16(14, true);
    }
    return undefined;
  }
  /** The used ring's element `ahead` of the next one. */
  #writeUsed(head: number, written: number, ahead: number): boolean {
    const num = this.#w[QueueWord.NUM]!;
    const element = this.#address(QueueWord.DEVICE) + 4 + 8 * ((this.#w[QueueWord.USED]! + ahead) & (num - 1));
    return this.#memory.writeU32(element, head) && this.#memory.writeU32(element + 4, written);
  }
  #publishUsed(count: number): boolean {
    const used = (this.#w[QueueWord.USED]! + count) & 0xffff;
    this.#w[QueueWord.USED] = used;
    this.#fence();
    return this.#memory.writeU16(this.#address(QueueWord.DEVICE) + 2, used);
  }
  #address(word: number): number {
    return (this.#w[word]! >>> 0) + (this.#w[word + 1]! >>> 0) * TWO32;
  }
  /** Orders guest memory accesses: an atomic operation, on whatever word, lets none pass it. */
  #fence(): void {
    Atomics.exchange(this.#w, QueueWord.FENCE, 0);
  }
}
