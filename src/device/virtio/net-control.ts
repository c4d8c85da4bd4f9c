/* The control queue of a virtio network device, and which frames its driver wants to see. @source virtio 1.2 §5.1.6.5
 * Leaves out: VLAN filters, announcements, RSS, the exact "no unicast" and "no broadcast" modes (CTRL_RX_EXTRA). I/O thread.
 *
 *   command   +0 u8 class   +1 u8 command   data …   last writable byte: 0 done, 1 refused
 */
import { NetFeature } from "./net-header.ts";
import type { Offloads } from "./packet.ts";

const Command = {
  RX_PROMISC: 0x0000,
  RX_ALLMULTI: 0x0001,
  MAC_TABLE_SET: 0x0100,
  MAC_ADDR_SET: 0x0101,
  MQ_VQ_PAIRS_SET: 0x0400,
  GUEST_OFFLOADS_SET: 0x0500,
} as const;
const MAC_BYTES = 6;
/** More addresses than this in a table: everything of the kind is let through, as the specification allows (§5.1.6.5.2.1). */
const MAX_FILTERED = 64;
/** The longest command is a MAC table; Linux's has at most some hundred entries. */
export const MAX_COMMAND_BYTES = 8192;

/** What the driver may ask for. */
export interface ControlRules {
  readonly mac: Uint8Array;
  readonly queuePairs: number;
  negotiated(this: void, feature: number): boolean;
}

export class NetControl {
  readonly #rules: ControlRules;
  /** Queue pairs that the driver receives from: the first n. */
  activePairs = 1;
  #promiscuous = false;
  #allMulticast = false;
  /** 48-bit addresses as numbers; undefined: too many to look at. */
  #unicast: Set<number> | undefined = new Set();
  #multicast: Set<number> | undefined = new Set();
  #offloads: bigint | undefined;
  readonly #own: number;

  constructor(rules: ControlRules) {
    this.#rules = rules;
    this.#own = addressAt(rules.mac, 0);
  }

  /** A driver begins: nothing of what another one asked for is left. */
  reset(): void {
    this.activePairs = 1;
    this.#promiscuous = this.#allMulticast = false;
    this.#unicast = new Set();
    this.#multicast = new Set();
    this.#offloads = undefined;
  }

  /** Does the driver want this frame? @param bytes at least an Ethernet header */
  wants(bytes: Uint8Array): boolean {
    const destination = addressAt(bytes, 0);
    if (destination === this.#own || destination === 0xffff_ffff_ffff) return true;
    // A driver that cannot say what it wants gets everything.
    if (this.#promiscuous || !this.#rules.negotiated(NetFeature.CTRL_RX)) return true;
    if ((bytes[0]! & 1) === 0) return this.#unicast?.has(destination) ?? true;
    return this.#allMulticast || (this.#multicast?.has(destination) ?? true);
  }

  /** What the driver takes, as far as it has not turned it off since. */
  get offloads(): Offloads {
    const on = (feature: number): boolean =>
      this.#rules.negotiated(feature) &&
      (this.#offloads === undefined || ((this.#offloads >> BigInt(feature)) & 1n) !== 0n);
    const checksum = on(NetFeature.GUEST_CSUM);
    return { checksum, tcp4: checksum && on(NetFeature.GUEST_TSO4), tcp6: checksum && on(NetFeature.GUEST_TSO6) };
  }

  /** Carries out one command. @param bytes at most MAX_COMMAND_BYTES, of any content @returns was it done */
  execute(bytes: Uint8Array): boolean {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (view.byteLength < 2) return false;
    const { negotiated } = this.#rules;
    const data = bytes.subarray(2);
    const command = view.getUint16(0);
    switch (command) {
      case Command.RX_PROMISC:
      case Command.RX_ALLMULTI:
        if (!negotiated(NetFeature.CTRL_RX) || data.length < 1) return false;
        if (command === Command.RX_PROMISC) this.#promiscuous = data[0] !== 0;
        else this.#allMulticast = data[0] !== 0;
        return true;
      case Command.MAC_TABLE_SET:
        return negotiated(NetFeature.CTRL_RX) && this.#setTables(data);
      case Command.MAC_ADDR_SET:
        // The switch would drop all that comes from another address: better that the driver is told.
        return negotiated(NetFeature.CTRL_MAC_ADDR) && data.length >= MAC_BYTES && addressAt(data, 0) === this.#own;
      case Command.MQ_VQ_PAIRS_SET:
        return negotiated(NetFeature.MQ) && data.length >= 2 && this.#setPairs(view.getUint16(2, true));
      case Command.GUEST_OFFLOADS_SET:
        return (
          negotiated(NetFeature.CTRL_GUEST_OFFLOADS) &&
          data.length >= 8 &&
          this.#setOffloads(view.getBigUint64(2, true))
        );
      default:
        return false;
    }
  }

  #setPairs(pairs: number): boolean {
    if (pairs < 1 || pairs > this.#rules.queuePairs) return false;
    this.activePairs = pairs;
    return true;
  }
  #setOffloads(bits: bigint): boolean {
    const known = [NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO4, NetFeature.GUEST_TSO6];
    const allowed = known
      .filter((feature) => this.#rules.negotiated(feature))
      .reduce((mask, feature) => mask | (1n << BigInt(feature)), 0n);
    if ((bits & ~allowed) !== 0n) return false;
    this.#offloads = bits;
    return true;
  }
  /** Two tables, unicast then multicast: u32 entries, then 6 bytes each. */
  #setTables(data: Uint8Array): boolean {
    const unicast = readTable(data, 0);
    const multicast = unicast && readTable(data, unicast.end);
    if (multicast === undefined) return false;
    this.#unicast = unicast!.addresses;
    this.#multicast = multicast.addresses;
    return true;
  }
}

/** @returns undefined if the table is longer than the data */
function readTable(data: Uint8Array, at: number): { addresses: Set<number> | undefined; end: number } | undefined {
  if (at + 4 > data.length) return undefined;
  const entries = new DataView(data.buffer, data.byteOffset + at, 4).getUint32(0, true);
  const end = at + 4 + entries * MAC_BYTES;
  if (end > data.length) return undefined;
  if (entries > MAX_FILTERED) return { addresses: undefined, end };
  const addresses = Array.from({ length: entries }, (_, n) => addressAt(data, at + 4 + n * MAC_BYTES));
  return { addresses: new Set(addresses), end };
}

function addressAt(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low = (bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!;
  return high * 0x1_0000_0000 + (low >>> 0);
}
