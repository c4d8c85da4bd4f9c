/* A learning switch of one host. Guests' ports are known and policed: what a guest may send is decided here, by its MAC and its assigned IPv4 address.
 * Trusted ports (the gateway, TAP) may send anything, and their addresses are learned. @source IEEE 802.1D (learning), RFC 826 (ARP), docs/network.md.
 * Leaves out: VLANs, spanning tree (a switch has no second way to anywhere), aging: the table is bounded and the newest wins. I/O thread. */
import { type Ipv4, type Mac, ipv4At, isMulticastMac, macAt } from "./address.ts";
import { finish } from "./offload.ts";
import { type Cable, MAX_PACKET_BYTES, type NetworkEndpoint, type Packet } from "./packet.ts";

const ETHERNET_HEADER_BYTES = 14;
const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806 } as const;
const IPV4_HEADER_BYTES = 20;
const UDP = 17;
const DHCP_SERVER_PORT = 67;
const ARP_BYTES = 28;
/** Addresses learned behind trusted ports. */
const MAX_LEARNED = 1024;

/** Who is at the other end of a cable. */
export interface PortOptions {
  /** A guest's only address. Undefined: a trusted port, whose addresses are learned. */
  readonly mac?: Mac | undefined;
  /** A guest's only IPv4 address, if one is assigned: then nothing but IPv4 from it and ARP for it passes. */
  readonly ipv4?: Ipv4 | undefined;
}

/** Why a guest's frame was not let through. */
export interface SwitchCounters {
  forwarded: number;
  flooded: number;
  /** Malformed, or an address that is not the sender's. */
  refused: number;
  /** Between guests: the receiver had no room. */
  lost: number;
}

export class Switch {
  readonly counters: SwitchCounters = { forwarded: 0, flooded: 0, refused: 0, lost: 0 };
  readonly #ports = new Set<Port>();
  /** Guests' ports by their address. */
  readonly #guests = new Map<Mac, Port>();
  readonly #learned = new Map<Mac, Port>();

  /** Puts a cable between an endpoint and the switch. @throws RangeError if the MAC is another port's, or none of a host (a mistake of the caller) */
  connect(endpoint: NetworkEndpoint, options: PortOptions = {}): Cable {
    const { mac } = options;
    if (mac !== undefined && (isMulticastMac(mac) || this.#guests.has(mac)))
      throw new RangeError("each guest on a switch needs a unicast MAC address of its own");
    const port = new Port(endpoint, options, {
      send: (packet) => this.#send(port, packet),
      close: () => this.#close(port),
    });
    this.#ports.add(port);
    if (mac !== undefined) {
      this.#guests.set(mac, port);
      // A trusted port cannot take a guest's address away.
      this.#learned.delete(mac);
    }
    return port;
  }

  #send(from: Port, packet: Packet): boolean {
    if (!this.#allowed(from, packet.bytes)) {
      this.counters.refused++;
      packet.release?.();
      return true;
    }
    const destination = macAt(packet.bytes, 0);
    if (isMulticastMac(destination)) return this.#flood(from, packet, false);
    const to = this.#guests.get(destination) ?? this.#learned.get(destination);
    if (to === undefined) return this.#flood(from, packet, true);
    if (to === from) return true;
    this.counters.forwarded++;
    return this.#deliver(from, to, packet);
  }
  #flood(from: Port, packet: Packet, onlyTrusted: boolean): boolean {
    this.counters.flooded++;
    const shared = packet.release === undefined ? packet : { ...packet, release: undefined };
    // A sender that tried again would reach those a second time who had room.
    for (const to of this.#ports)
      if (to !== from && (to.trusted || !onlyTrusted) && !to.deliver(shared)) this.counters.lost++;
    return true;
  }
  #deliver(from: Port, to: Port, packet: Packet): boolean {
    if (to.deliver(packet)) return true;
    if (from.trusted || to.trusted) {
      to.waiting.add(from);
      return false;
    }
    this.counters.lost++;
    packet.release?.();
    return true;
  }

  /** Checks where a frame says it comes from, and learns where a trusted one does. */
  #allowed(from: Port, bytes: Uint8Array): boolean {
    if (bytes.length < ETHERNET_HEADER_BYTES || bytes.length > MAX_PACKET_BYTES) return false;
    const source = macAt(bytes, 6);
    if (from.trusted) {
      if (isMulticastMac(source) || this.#guests.has(source)) return false;
      this.#learn(source, from);
      return true;
    }
    const { mac, ipv4 } = from.options;
    return source === mac && (ipv4 === undefined || speaksOnlyFor(bytes, mac, ipv4));
  }
  #learn(source: Mac, from: Port): void {
    if (this.#learned.get(source) === from) return;
    // A Map keeps the order in which keys came: the oldest makes room.
    if (!this.#learned.delete(source) && this.#learned.size >= MAX_LEARNED)
      this.#learned.delete(this.#learned.keys().next().value!);
    this.#learned.set(source, from);
  }

  #close(port: Port): void {
    this.#ports.delete(port);
    if (port.options.mac !== undefined) this.#guests.delete(port.options.mac);
    for (const [mac, at] of this.#learned) if (at === port) this.#learned.delete(mac);
    for (const other of this.#ports) other.waiting.delete(port);
    port.wake();
  }
}

/** The switch's end of a cable, and the endpoint's. */
class Port implements Cable {
  onRoom: (() => void) | undefined;
  readonly options: PortOptions;
  readonly trusted: boolean;
  /** Who sent to this port when it had no room. */
  readonly waiting = new Set<Port>();
  readonly #endpoint: NetworkEndpoint;
  readonly #to: { send(packet: Packet): boolean; close(): void };
  #closed = false;

  constructor(endpoint: NetworkEndpoint, options: PortOptions, to: { send(packet: Packet): boolean; close(): void }) {
    this.#endpoint = endpoint;
    this.options = options;
    this.trusted = options.mac === undefined;
    this.#to = to;
  }

  send(packet: Packet): boolean {
    return this.#closed || this.#to.send(packet);
  }
  hasRoom(): void {
    if (!this.#closed) this.wake();
  }
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#to.close();
  }

  /** @returns false if the endpoint had no room for all of it */
  deliver(packet: Packet): boolean {
    const { offloads } = this.#endpoint;
    if (offloads === undefined || (packet.checksum === undefined && packet.segment === undefined))
      return this.#endpoint.receive(packet);
    const finished = finish(packet, offloads);
    if (finished[0] === packet) return this.#endpoint.receive(packet);
    // Of a packet that was cut, the rest is lost where the room ends: sent again as a whole, its beginning would come twice.
    let taken = finished.length === 0;
    for (const part of finished) {
      if (!this.#endpoint.receive(part)) break;
      taken = true;
    }
    return taken;
  }
  wake(): void {
    const senders = [...this.waiting];
    this.waiting.clear();
    for (const sender of senders) sender.onRoom?.();
  }
}

/** Is all that the frame says about its sender's IPv4 address this address, or none yet? */
function speaksOnlyFor(bytes: Uint8Array, mac: Mac, ipv4: Ipv4): boolean {
  const type = (bytes[12]! << 8) | bytes[13]!;
  const at = ETHERNET_HEADER_BYTES;
  if (type === ETHERTYPE.ARP) {
    if (bytes.length < at + ARP_BYTES) return false;
    const sender = ipv4At(bytes, at + 14);
    return macAt(bytes, at + 8) === mac && (sender === ipv4 || sender === 0);
  }
  if (type !== ETHERTYPE.IPV4 || bytes.length < at + IPV4_HEADER_BYTES) return false;
  const source = ipv4At(bytes, at + 12);
  return source === ipv4 || (source === 0 && isDhcpRequest(bytes, at));
}
/** Who asks for an address has none. */
function isDhcpRequest(bytes: Uint8Array, at: number): boolean {
  const udp = at + 4 * (bytes[at]! & 15);
  return (
    bytes[at + 9] === UDP && bytes.length >= udp + 8 && ((bytes[udp + 2]! << 8) | bytes[udp + 3]!) === DHCP_SERVER_PORT
  );
}
