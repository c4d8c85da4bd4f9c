/* One receive queue of a virtio network device: packets that wait for buffers, and how one packet fills them. @source virtio 1.2 §5.1.6.3, §5.1.6.4
 * I/O thread. */
import { NetFeature, NET_HEADER_BYTES, writeNetHeader } from "./net-header.ts";
import type { Offloads, Packet } from "./packet.ts";
import type { Chain, Virtqueue } from "./queue.ts";

/** What waits for a driver without buffers: some milliseconds of traffic at 10 Gbit/s. A packet counts at least 256 bytes, for the objects around it. */
const MAX_WAITING_BYTES = 1 << 20;
const LEAST_COST = 256;
/** Under load the driver is told before the event loop's turn is over: it may be on another core and can begin. */
const SIGNAL_BYTES = 1 << 16;

/** What a receive queue needs to know of its device. */
export interface ReceiveRules {
  readonly offloads: Offloads;
  negotiated(feature: number): boolean;
  /** Packets that the driver cannot take, whatever it does. */
  onLost(): void;
}

export class NetReceiveQueue {
  readonly #queue: Virtqueue;
  readonly #rules: ReceiveRules;
  readonly #header = new DataView(new ArrayBuffer(NET_HEADER_BYTES));
  #waiting: Packet[] = [];
  #waitingBytes = 0;
  #unsignalledBytes = 0;
  #signalPlanned = false;
  #refused = false;

  constructor(queue: Virtqueue, rules: ReceiveRules) {
    this.#queue = queue;
    this.#rules = rules;
  }

  /** @returns false if it was not taken: poll() will say when there is room */
  receive(packet: Packet): boolean {
    if (this.#waitingBytes >= MAX_WAITING_BYTES) {
      this.#refused = true;
      return false;
    }
    this.#queue.begin();
    if (this.#waiting.length === 0 && this.#deliver(packet)) this.#signalSoon();
    else {
      this.#waiting.push(packet);
      this.#waitingBytes += costOf(packet);
    }
    return true;
  }

  /** The driver has given buffers. @returns is there room again for a sender that was refused (told once) */
  poll(): boolean {
    let done = 0;
    while (done < this.#waiting.length && this.#deliver(this.#waiting[done]!))
      this.#waitingBytes -= costOf(this.#waiting[done++]!);
    if (done > 0) {
      this.#waiting.splice(0, done);
      this.#signal();
    }
    if (!this.#refused || this.#waitingBytes > MAX_WAITING_BYTES / 2) return false;
    this.#refused = false;
    return true;
  }

  /** The driver has gone: what waited for it is lost. @returns as poll() */
  clear(): boolean {
    this.#waiting = [];
    this.#waitingBytes = 0;
    return this.poll();
  }

  /** @returns false if the driver has too few buffers now */
  #deliver(packet: Packet): boolean {
    const { offloads } = this.#rules;
    const { bytes, checksum, segment } = packet;
    const able = segment === undefined || (segment.protocol === "tcp4" ? offloads.tcp4 : offloads.tcp6);
    // Negotiated anew since the sender looked.
    if (!able || (checksum !== undefined && !offloads.checksum)) return this.#lose(packet);
    const needed = NET_HEADER_BYTES + bytes.length;
    const chains: Chain[] = [];
    let room = 0;
    while (room < needed) {
      const chain = this.#queue.pop();
      if (chain === undefined) {
        const hopeless = chains.length > 0 && chains.length >= this.#queue.size;
        this.#giveUp(chains);
        return hopeless && this.#lose(packet);
      }
      chains.push(chain);
      room += chain.writableBytes;
      const tooSmall = chains.length === 1 && chain.writableBytes < NET_HEADER_BYTES;
      if (tooSmall || (room < needed && !this.#rules.negotiated(NetFeature.MRG_RXBUF))) {
        this.#giveUp(chains.splice(1));
        // Given back unfilled: else it would stand before all that comes after.
        this.#queue.push(chain, 0);
        return this.#lose(packet);
      }
    }
    this.#fill(chains, packet);
    return true;
  }
  #giveUp(chains: Chain[]): void {
    for (const chain of chains.reverse()) this.#queue.unpop(chain);
  }
  #lose(packet: Packet): true {
    packet.release?.();
    this.#rules.onLost();
    return true;
  }

  #fill(chains: readonly Chain[], packet: Packet): void {
    writeNetHeader(this.#header, packet, chains.length);
    const { bytes } = packet;
    const written: number[] = [];
    let at = 0;
    for (const [n, chain] of chains.entries()) {
      let skip = n === 0 ? this.#writeHeader(chain) : 0;
      const before = at - skip;
      for (const part of chain.writable) {
        if (skip >= part.length) {
          skip -= part.length;
          continue;
        }
        const take = Math.min(part.length - skip, bytes.length - at);
        part.set(take === bytes.length ? bytes : bytes.subarray(at, at + take), skip);
        skip = 0;
        at += take;
        if (at === bytes.length) break;
      }
      written.push(at - before);
    }
    this.#queue.pushAll(chains, written);
    this.#unsignalledBytes += bytes.length;
    packet.release?.();
  }
  /** The header may lie in several pieces. @returns its length */
  #writeHeader(chain: Chain): number {
    const header = new Uint8Array(this.#header.buffer);
    let at = 0;
    for (const part of chain.writable) {
      const take = Math.min(part.length, NET_HEADER_BYTES - at);
      part.set(header.subarray(at, at + take));
      at += take;
      if (at === NET_HEADER_BYTES) break;
    }
    return NET_HEADER_BYTES;
  }

  /** Senders come with many packets in one turn of the event loop: one interrupt is enough for them. */
  #signalSoon(): void {
    if (this.#unsignalledBytes >= SIGNAL_BYTES) this.#signal();
    else if (!this.#signalPlanned) {
      this.#signalPlanned = true;
      queueMicrotask(() => {
        this.#signalPlanned = false;
        this.#signal();
      });
    }
  }
  #signal(): void {
    this.#unsignalledBytes = 0;
    this.#queue.signal();
  }
}

function costOf(packet: Packet): number {
  return Math.max(LEAST_COST, packet.bytes.length);
}
