/* virtio network device: an Ethernet card on a cable of the switch. @source virtio 1.2 §5.1. Its parts: net-header.ts (what is before each packet), net-receive.ts,
 * net-control.ts. Leaves out: what their heads say, speed and duplex, RSS, standby. I/O thread; see docs/network.md.
 *
 *   queues   0 receive 1, 1 transmit 1, 2 receive 2, …, then control (at 2 if the driver does not know MQ)
 *   config   +0 u8[6] mac   +6 u16 status (1: link is up)   +8 u16 max_virtqueue_pairs   +10 u16 mtu
 */
import { gather, scatter } from "./buffers.ts";
import type { VirtioDescription, VirtioDevice, VirtioPort } from "./device.ts";
import { MAX_COMMAND_BYTES, NetControl } from "./net-control.ts";
import { NET_HEADER_BYTES, NetFeature, readNetHeader } from "./net-header.ts";
import { NetReceiveQueue } from "./net-receive.ts";
import { FlowTable } from "./net-steering.ts";
import { takeBytes } from "./packet-buffers.ts";
import { type Cable, MAX_PACKET_BYTES, type NetworkEndpoint, type Offloads, type Packet } from "./packet.ts";
import type { Chain, Virtqueue } from "./queue.ts";

export const DEFAULT_MTU = 1500;
export const MAX_QUEUE_PAIRS = 4;
/** A packet of 64 KiB takes some 40 of Linux's merged buffers. */
const RECEIVE_ENTRIES = 512;
const TRANSMIT_ENTRIES = 256;
const CONTROL_ENTRIES = 64;
const STATUS_OFFSET = 6;
const LINK_UP = 1;
/** The driver hears of sent packets while more are taken: its sockets wait for that. */
const SIGNAL_BYTES = 1 << 17;

export interface NetDeviceOptions {
  /** 48 bits, as a number. */
  readonly mac: number;
  /** Largest IP packet that is not to be cut: 68 to 65535 (1500). */
  readonly mtu?: number;
  /** 1 to 4 (1): Linux uses as many as it has processors. */
  readonly queuePairs?: number;
}

/** Since the device was made. "lost" are frames that the driver lied about, or that it could not take. */
export interface NetCounters {
  sentPackets: number;
  sentBytes: number;
  sentLost: number;
  receivedPackets: number;
  receivedBytes: number;
  receivedLost: number;
}

export class NetDevice implements VirtioDevice, NetworkEndpoint {
  readonly description: VirtioDescription;
  readonly counters: NetCounters = {
    sentPackets: 0,
    sentBytes: 0,
    sentLost: 0,
    receivedPackets: 0,
    receivedBytes: 0,
    receivedLost: 0,
  };
  readonly #mtu: number;
  readonly #queuePairs: number;
  readonly #control: NetControl;
  readonly #flows = new FlowTable();
  readonly #header = new Uint8Array(NET_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  #port: VirtioPort | undefined;
  #receivers: NetReceiveQueue[] = [];
  #cable: Cable | undefined;
  /** By pair: a packet for which the switch had no room. */
  readonly #held: (Packet | undefined)[] = [];

  /** @throws RangeError for options out of range (a mistake of the caller) */
  constructor({ mac, mtu = DEFAULT_MTU, queuePairs = 1 }: NetDeviceOptions) {
    if (!(mtu >= 68 && mtu <= 65_535)) throw new RangeError(`an MTU is 68 to 65535, not ${mtu}`);
    if (!(queuePairs >= 1 && queuePairs <= MAX_QUEUE_PAIRS))
      throw new RangeError(`a network device has 1 to ${MAX_QUEUE_PAIRS} queue pairs, not ${queuePairs}`);
    this.#mtu = mtu;
    this.#queuePairs = queuePairs;
    const config = configBytes(mac, mtu, queuePairs);
    const { MQ, ...others } = NetFeature;
    const features = queuePairs > 1 ? [...Object.values(others), MQ] : Object.values(others);
    const pairs = Array.from({ length: queuePairs }, () => [RECEIVE_ENTRIES, TRANSMIT_ENTRIES]).flat();
    this.description = { name: "net", deviceId: 1, features, queueSizes: [...pairs, CONTROL_ENTRIES], config };
    const negotiated = (feature: number): boolean => this.#port?.negotiated(feature) ?? false;
    this.#control = new NetControl({ mac: config.subarray(0, 6), queuePairs, negotiated });
  }

  attach(port: VirtioPort): void {
    this.#port = port;
    const control = this.#control;
    const rules = {
      get offloads(): Offloads {
        return control.offloads;
      },
      negotiated: (feature: number): boolean => port.negotiated(feature),
      onLost: (): void => void this.counters.receivedLost++,
    };
    this.#receivers = Array.from(
      { length: this.#queuePairs },
      (_, pair) => new NetReceiveQueue(port.queues[2 * pair]!, rules),
    );
    this.#showLink();
  }

  /** Puts the cable in, instead of the one that is there: the link is up. */
  plug(cable: Cable): void {
    if (this.#cable !== undefined) this.unplug();
    this.#cable = cable;
    cable.onRoom = () => this.#onRoom();
    this.#showLink();
  }
  /** Pulls the cable out: the link goes down; what waits to be sent or received is lost. */
  unplug(): void {
    const cable = this.#cable;
    this.#cable = undefined;
    if (cable !== undefined) cable.onRoom = undefined;
    cable?.close();
    this.#held.fill(undefined);
    for (const receiver of this.#receivers) receiver.clear();
    this.#showLink();
  }
  #showLink(): void {
    const status = this.#cable === undefined ? 0 : LINK_UP;
    this.description.config[STATUS_OFFSET] = status;
    this.#port?.setConfig(STATUS_OFFSET, Uint8Array.of(status, 0));
  }

  /** Nothing that another driver asked for is left; what waits for it, or of it, is lost. */
  reset(): void {
    this.#control.reset();
    this.#held.fill(undefined);
    for (const receiver of this.#receivers) if (receiver.clear()) this.#cable?.hasRoom();
  }

  // ── from the cable ──

  get offloads(): Offloads {
    return this.#control.offloads;
  }
  receive(packet: Packet): boolean {
    // As on a cable to a machine that is off.
    if (this.#port?.running !== true || this.#cable === undefined || !this.#control.wants(packet.bytes)) return true;
    const pair = this.#flows.pairOf(packet.bytes, this.#control.activePairs);
    if (!this.#receivers[pair]!.receive(packet)) return false;
    this.counters.receivedPackets++;
    this.counters.receivedBytes += packet.bytes.length;
    return true;
  }

  // ── from the driver ──

  process(queueIndex: number): void {
    const port = this.#port!;
    if (queueIndex === this.#controlIndex(port)) this.#runCommands(port.queues[queueIndex]!);
    else if (queueIndex >= 2 * this.#queuePairs) return;
    else if (queueIndex % 2 === 1) this.#transmit(queueIndex >> 1);
    else if (this.#receivers[queueIndex >> 1]!.poll()) this.#cable?.hasRoom();
  }
  #controlIndex(port: VirtioPort): number {
    return 2 * (port.negotiated(NetFeature.MQ) ? this.#queuePairs : 1);
  }

  #onRoom(): void {
    for (let pair = 0; pair < this.#queuePairs; pair++) {
      if (this.#held[pair] === undefined) continue;
      this.#port!.queues[2 * pair + 1]!.begin();
      this.#transmit(pair);
    }
  }
  #transmit(pair: number): void {
    const held = this.#held[pair];
    if (held !== undefined) {
      this.#held[pair] = undefined;
      if (!this.#send(held, pair)) return;
    }
    const queue = this.#port!.queues[2 * pair + 1]!;
    const rules = { offloads: this.#sendOffloads(), mtu: this.#mtu };
    let unsignalledBytes = 0;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = this.#take(chain);
      queue.push(chain, 0);
      const packet = bytes && readNetHeader(this.#headerView, bytes, rules);
      if (packet === undefined) {
        this.counters.sentLost++;
        continue;
      }
      this.#flows.learn(packet.bytes, pair);
      unsignalledBytes += packet.bytes.length;
      if (unsignalledBytes >= SIGNAL_BYTES) {
        queue.signal();
        unsignalledBytes = 0;
      }
      if (!this.#send(packet, pair)) break;
    }
    queue.signal();
  }
  /** @returns false if the switch had no room: the packet is kept */
  #send(packet: Packet, pair: number): boolean {
    if (this.#cable === undefined) packet.release?.();
    else if (!this.#cable.send(packet)) {
      this.#held[pair] = packet;
      return false;
    }
    this.counters.sentPackets++;
    this.counters.sentBytes += packet.bytes.length;
    return true;
  }
  /** Copies a chain's header to #header, where the driver cannot change it. @returns its frame, copied; undefined if its length is none of a frame */
  #take(chain: Chain): Uint8Array | undefined {
    const length = chain.readableBytes - NET_HEADER_BYTES;
    if (length <= 0 || length > MAX_PACKET_BYTES) return undefined;
    const bytes = takeBytes(length);
    let at = -NET_HEADER_BYTES;
    for (const part of chain.readable) {
      const ofHeader = Math.max(0, Math.min(part.length, -at));
      if (ofHeader > 0) this.#header.set(part.subarray(0, ofHeader), NET_HEADER_BYTES + at);
      at += ofHeader;
      if (ofHeader === part.length) continue;
      bytes.set(ofHeader === 0 ? part : part.subarray(ofHeader), at);
      at += part.length - ofHeader;
    }
    return bytes;
  }
  #sendOffloads(): Offloads {
    const negotiated = (feature: number): boolean => this.#port!.negotiated(feature);
    return {
      checksum: negotiated(NetFeature.CSUM),
      tcp4: negotiated(NetFeature.HOST_TSO4),
      tcp6: negotiated(NetFeature.HOST_TSO6),
    };
  }

  #runCommands(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const done =
        chain.readableBytes <= MAX_COMMAND_BYTES && this.#control.execute(gather(chain.readable, chain.readableBytes));
      queue.push(chain, scatter(chain.writable, Uint8Array.of(done ? 0 : 1)));
    }
    queue.signal();
  }
}

function configBytes(mac: number, mtu: number, queuePairs: number): Uint8Array {
  const config = new DataView(new ArrayBuffer(12));
  config.setUint16(0, Math.floor(mac / 0x1_0000_0000));
  config.setUint32(2, mac % 0x1_0000_0000);
  config.setUint16(8, queuePairs, true);
  config.setUint16(10, mtu, true);
  return new Uint8Array(config.buffer);
}
