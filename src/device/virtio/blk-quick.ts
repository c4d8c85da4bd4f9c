/* Serves requests to a block device on the executor's thread, while the driver notifies: reads that the host has in memory, and writes to the host's memory. That saves the way to the
 * I/O thread and back, which costs more than the request. All else (reads that wait for the device, FLUSH, discards, errors, …) is left to the back: BlkDevice.
 * @source docs/disks.md "Where requests run" */
import { hostNanos } from "../../engine/clock.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { BlkStatus, BlkType, HEADER_BYTES, SECTOR } from "./blk-format.ts";
import { range } from "./buffers.ts";
import type { QuickDisk } from "./disk.ts";
import type { VirtioMmio } from "./mmio.ts";
import { type Chain, Virtqueue } from "./queue.ts";

/** Copying more than this takes longer than the way to the I/O thread, and meanwhile the guest could go on. */
const MOST_READ_BYTES = 1 << 20;
const MOST_WRITE_BYTES = 256 << 10;
/** A write that took so long has waited: the host writes back and holds writers off. Then they go to the I/O thread for a while, so that the guest's other work goes on. */
const LONG_WRITE_NS = 2_000_000;
const HELD_OFF_NS = 100_000_000;

export class QuickBlk {
  readonly #queues: readonly Virtqueue[];
  readonly #disk: QuickDisk;
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  readonly #nanos: () => number;
  #noWritesUntil = -1;

  /** On each executor's thread, with fronts of its own. */
  constructor(front: VirtioMmio, memory: GuestMemory, disk: QuickDisk, nanos = hostNanos) {
    this.#nanos = nanos;
    this.#disk = disk;
    this.#queues = front.description.queueSizes.map((_, index) => new Virtqueue(front, index, memory));
  }

  /** VirtioMmio.serveHere. */
  readonly serve = (index: number): boolean => {
    const queue = this.#queues[index]!;
    if (!queue.take()) return true; // whoever has it goes on afterwards
    queue.begin();
    let all = true;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      const written = this.#try(chain);
      if (written < 0) {
        queue.unpop(chain);
        all = false;
        break;
      }
      queue.push(chain, written);
    }
    queue.release();
    queue.signal();
    return all;
  };

  /** @returns bytes written for the driver with the status, or −1: not here */
  #try(chain: Chain): number {
    const { readable, writable, readableBytes, writableBytes } = chain;
    const first = readable[0];
    if (first === undefined || first.length < HEADER_BYTES || writableBytes < 1) return -1;
    this.#header.set(first.subarray(0, HEADER_BYTES));
    const type = this.#view.getUint32(0, true);
    const offset = (this.#view.getUint32(8, true) + this.#view.getUint32(12, true) * 0x1_0000_0000) * SECTOR;
    if (type === BlkType.IN) {
      const length = writableBytes - 1;
      if (!this.#inside(offset, length, MOST_READ_BYTES)) return -1;
      if (!this.#disk.read(offset, range(writable, 0, length))) return -1;
      putStatus(writable, BlkStatus.OK);
      return writableBytes;
    }
    if (type === BlkType.OUT) {
      const length = readableBytes - HEADER_BYTES;
      if (!this.#inside(offset, length, MOST_WRITE_BYTES)) return -1;
      if (!this.#write(offset, range(readable, HEADER_BYTES, readableBytes))) return -1;
      putStatus(writable, BlkStatus.OK);
      return 1;
    }
    if (type !== BlkType.FLUSH || !this.#disk.flushless) return -1;
    putStatus(writable, BlkStatus.OK);
    return 1;
  }
  #inside(offset: number, length: number, most: number): boolean {
    return length <= most && length % SECTOR === 0 && offset + length <= this.#disk.sizeBytes;
  }
  #write(offset: number, from: readonly Uint8Array[]): boolean {
    const start = this.#nanos();
    if (start < this.#noWritesUntil) return false;
    const done = this.#disk.write(offset, from);
    const end = this.#nanos();
    if (end - start > LONG_WRITE_NS) this.#noWritesUntil = end + HELD_OFF_NS;
    return done;
  }
}

/** The status is the last byte that the driver gave. */
function putStatus(writable: readonly Uint8Array[], status: number): void {
  const last = writable.at(-1)!;
  last[last.length - 1] = status;
}
