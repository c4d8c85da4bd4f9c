/* virtio memory balloon: takes memory from the guest when the host asks (inflate), or when the guest says by itself that it is free (reporting), and asks how it uses
 * what it has. @source virtio 1.2 §5.5, docs/memory.md. Leaves out: FREE_PAGE_HINT, PAGE_POISON, MUST_TELL_HOST (a page that is taken back needs nothing of the host).
 *
 *   queues   0 inflateq   1 deflateq   2 statsq   3 reporting_vq (the number that drivers give it where there is no free_page_vq)
 *   config   +0 u32 num_pages   +4 u32 actual (the driver writes it)   pages of 4 KiB
 *   inflateq, deflateq: u32 page numbers   statsq: { u16 tag, u64 value } …, packed   reporting_vq: the buffers are the free memory
 */
import { setImmediate } from "node:timers/promises";
import { BalloonError } from "./balloon-error.ts";
import { gather } from "./buffers.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";
import type { Chain, RangeChain, Virtqueue } from "./queue.ts";

/** @source virtio 1.2 §5.5.3 */
export const BalloonFeature = { STATS_VQ: 1, DEFLATE_ON_OOM: 2, REPORTING: 5 } as const;
const Queue = { INFLATE: 0, DEFLATE: 1, STATS: 2, REPORTING: 3 } as const;
const Config = { NUM_PAGES: 0, ACTUAL: 4, BYTES: 16 } as const;
const PAGE = 4096;
const MOST_PAGES = 0xffffffff;
/** Linux gives 256 page numbers at a time; so many are looked at of one chain, then of the next. */
const MOST_NUMBERS = 65536;
const STAT_BYTES = 10;
const MOST_STATS = 64;
const ANSWER_MS = 5000;

/** What Linux tells, in the order of its tags. @source virtio 1.2 §5.5.6.4 */
const STATISTICS = [
  "swappedInBytes",
  "swappedOutBytes",
  "majorFaults",
  "minorFaults",
  "freeBytes",
  "totalBytes",
  "availableBytes",
  "cachesBytes",
] as const;
/** A guest's memory as it sees it. What it does not tell is absent. */
export type GuestMemoryStatistics = { readonly [Name in (typeof STATISTICS)[number]]?: number };

export class BalloonDevice implements VirtioDevice {
  readonly description: VirtioDescription = {
    name: "balloon",
    deviceId: 5,
    features: [BalloonFeature.STATS_VQ, BalloonFeature.DEFLATE_ON_OOM, BalloonFeature.REPORTING],
    queueSizes: [128, 128, 64, 64],
    config: new Uint8Array(Config.BYTES),
    driverWrites: { start: Config.ACTUAL, end: Config.ACTUAL + 4 },
  };
  #port: VirtioPort | undefined;
  /** Until there is a port. */
  #targetPages = 0;
  #asked: PromiseWithResolvers<GuestMemoryStatistics> | undefined;
  #reportedPages = 0;

  /** The guest is to do without so much memory, rounded down to 4 KiB; it gives as much of it as it can, by and by, and takes back what is over it. Any time. */
  setTargetBytes(bytes: number): void {
    this.#targetPages = Math.max(0, Math.min(MOST_PAGES, Math.floor(bytes / PAGE)));
    this.#tellTarget();
  }
  #tellTarget(): void {
    const word = new Uint8Array(4);
    new DataView(word.buffer).setUint32(0, this.#targetPages, true);
    this.#port?.setConfig(Config.NUM_PAGES, word);
  }
  /** So much the guest says that it does without now. */
  get actualBytes(): number {
    return (this.#port?.readConfig32(Config.ACTUAL) ?? 0) * PAGE;
  }
  /** So much went back so far because the guest reported it free. */
  get reportedBytes(): number {
    return this.#reportedPages * PAGE;
  }

  /** Asks the guest. @throws BalloonError if it has no driver, or does not answer in time */
  async statistics({ timeoutMs = ANSWER_MS } = {}): Promise<GuestMemoryStatistics> {
    if (this.#asked !== undefined) return this.#asked.promise;
    const queue = this.#port?.queues[Queue.STATS];
    queue?.begin();
    const chain = queue?.pop();
    if (queue === undefined || chain === undefined)
      throw new BalloonError(
        "no-driver",
        "The guest has no balloon driver that is ready: load its module virtio_balloon, or wait until it has started.",
      );
    const asked = Promise.withResolvers<GuestMemoryStatistics>();
    this.#asked = asked;
    // The driver gets its buffer back, and fills it anew.
    queue.push(chain, 0);
    queue.signal();
    // Looks for the answer, and so asks to be told of it.
    this.#answer(queue);
    const late = setTimeout(() => {
      asked.reject(new BalloonError("no-answer", "The guest does not tell its memory: is it busy or has it crashed?"));
    }, timeoutMs);
    try {
      return await asked.promise;
    } finally {
      clearTimeout(late);
      this.#asked = undefined;
    }
  }

  attach(port: VirtioPort): void {
    this.#port = port;
    this.#tellTarget();
  }
  reset(): void {
    this.#asked?.reject(
      new BalloonError("no-driver", "The guest's balloon driver has ended or begins anew: ask again."),
    );
  }
  process(queueIndex: number): void {
    const queue = this.#port!.queues[queueIndex]!;
    if (queueIndex === Queue.STATS) return this.#answer(queue);
    if (queueIndex === Queue.REPORTING)
      for (let chain = queue.popRanges(); chain; chain = queue.popRanges()) void this.#report(queue, chain);
    else for (let chain = queue.pop(); chain; chain = queue.pop()) void this.#change(queue, chain);
  }

  async #change(queue: Virtqueue, chain: Chain): Promise<void> {
    const { readable, readableBytes } = chain;
    const bytes = gather(readable, Math.min(readableBytes, 4 * MOST_NUMBERS) & ~3);
    // Deflating gives nothing: the guest touches what it has back.
    if (queue.index === Queue.INFLATE) await this.#port!.giveBack([...new Uint32Array(bytes.buffer)]);
    queue.push(chain, 0);
    queue.signal();
  }
  async #report(queue: Virtqueue, chain: RangeChain): Promise<void> {
    for (const { address, length } of chain.ranges) {
      const [first, end] = [Math.ceil(address / PAGE), Math.floor((address + length) / PAGE)];
      for (let page = first; page < end; page += MOST_NUMBERS) {
        const count = Math.min(MOST_NUMBERS, end - page);
        this.#reportedPages += await this.#port!.giveBack(Array.from({ length: count }, (_, i) => page + i));
        await setImmediate();
      }
    }
    queue.push(chain, 0);
    queue.signal();
  }

  /** The driver has put its buffer into the ring. It stays there: see docs/memory.md. */
  #answer(queue: Virtqueue): void {
    if (this.#asked === undefined) return;
    const bytes = queue.peek(MOST_STATS * STAT_BYTES);
    if (bytes === undefined) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const told: Record<string, number> = {};
    for (let at = 0; at + STAT_BYTES <= bytes.length; at += STAT_BYTES) {
      const name = STATISTICS[view.getUint16(at, true)];
      if (name !== undefined) told[name] = Number(view.getBigUint64(at + 2, true));
    }
    this.#asked.resolve(told);
  }
}
