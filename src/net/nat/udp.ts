/* UDP of a gateway: each flow of a guest's (both addresses, both ports) has a connected socket of the host's, so that the host's system passes on only answers
 * of that peer, and says when nobody listens; and forwarded ports, whose peers appear to the guest as ports of the gateway.
 * @source RFC 768, RFC 4787 (mapping by address and port, REQ-5: two minutes), RFC 1812 §4.3. Bounded: the flow that is idle longest makes room. I/O thread. */
import { type Ipv4, formatIpv4, parseIpv4 } from "../address.ts";
import type { Policy } from "../policy.ts";
import { pseudoHeaderSum, sumWords } from "./checksum.ts";
import { ConnectedSocket } from "./connected-socket.ts";
import { type FlowKey, FlowTable } from "./flow-table.ts";
import type { Guest } from "./guests.ts";
import { Icmp, type IcmpError, SHORT_QUOTE_BYTES, quoteOf, sendError, sendQuoted } from "./icmp.ts";
import { IpProtocol, type Ipv4Packet, u16At } from "./ipv4.ts";
import { type Link, UDP_BYTES } from "./link.ts";

const MAX_UDP_FLOWS = 512;
const IDLE_MS = 120_000;
/** A name server answers once. */
const DNS_IDLE_MS = 20_000;
const SWEEP_MS = 5000;
const FIRST_PORT = 16_384;

/** The datagram at hand. */
export interface Datagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

interface Flow {
  readonly key: FlowKey;
  readonly guest: Guest;
  /** Passes a guest's datagram on. */
  readonly send: (data: Uint8Array) => void;
  readonly close: () => void;
  readonly idleMs: number;
  /** Headers of the last datagram, for an ICMP error. */
  quote: Uint8Array;
  usedAt: number;
}

/** Reads a UDP datagram. @returns undefined if it is not correct */
export function readUdp(packet: Ipv4Packet): Datagram | undefined {
  const { bytes, start, end } = packet;
  if (end - start < UDP_BYTES) return undefined;
  const length = u16At(bytes, start + 4);
  if (length < UDP_BYTES || start + length > end) return undefined;
  if (!packet.isPartial && u16At(bytes, start + 6) !== 0) {
    const pseudo = pseudoHeaderSum(packet.source, packet.destination, IpProtocol.UDP, length);
    if (sumWords(bytes, start, start + length, pseudo) !== 0xffff) return undefined;
  }
  const data = bytes.subarray(start + UDP_BYTES, start + length);
  return { sourcePort: u16At(bytes, start), destinationPort: u16At(bytes, start + 2), data };
}

export class Udp {
  readonly #link: Link;
  readonly #gateway: Ipv4;
  readonly #policy: Policy;
  readonly #maxFlows: number;
  readonly #flows = new FlowTable<Flow>();
  /** The one that was used longest ago first. */
  readonly #byUse = new Set<Flow>();
  readonly #sweep: NodeJS.Timeout;
  #nextPort = FIRST_PORT;

  constructor(link: Link, gateway: Ipv4, policy: Policy, maxFlows: number = MAX_UDP_FLOWS) {
    this.#link = link;
    this.#gateway = gateway;
    this.#policy = policy;
    this.#maxFlows = maxFlows;
    this.#sweep = setInterval(() => {
      const now = performance.now();
      for (const flow of this.#byUse) if (now - flow.usedAt > flow.idleMs) this.#remove(flow);
    }, SWEEP_MS);
    this.#sweep.unref();
  }
  get flows(): number {
    return this.#flows.size;
  }

  /** Takes a guest's datagram. @param address where it is to go  */
  receive(guest: Guest, packet: Ipv4Packet, datagram: Datagram, address: Ipv4): void {
    const { sourcePort, destinationPort, data } = datagram;
    const remote = packet.destination;
    let flow = this.#flows.get(guest.ipv4, sourcePort, remote, destinationPort);
    if (flow === undefined) {
      if (sourcePort === 0 || destinationPort === 0) return;
      if (!this.#policy.permits(address, destinationPort, "udp")) {
        sendError(this.#link, guest, this.#gateway, Icmp.PROHIBITED, packet);
        return;
      }
      const key = { guest: guest.ipv4, guestPort: sourcePort, remote, remotePort: destinationPort };
      flow = this.#add(this.#openFlow(guest, key, address));
    }
    this.#use(flow);
    flow.quote = quoteOf(packet, SHORT_QUOTE_BYTES);
    flow.send(data);
  }

  /** Passes a datagram of a host's peer on to a guest's port. @param answers where the guest's answers go
   *  @param flow what this gave for the peer before  @returns the peer's flow */
  forward(
    guest: Guest,
    guestPort: number,
    data: Uint8Array,
    answers: { readonly send: (data: Uint8Array) => void; readonly closed: () => void },
    flow?: Flow,
  ): Flow | undefined {
    const remotePort = flow === undefined ? this.#freePort(guest, guestPort) : flow.key.remotePort;
    if (remotePort === undefined) return undefined;
    const key = { guest: guest.ipv4, guestPort, remote: this.#gateway, remotePort };
    const { send, closed } = answers;
    const used = flow ?? this.#add(newFlow(guest, key, send, closed));
    this.#use(used);
    if (guest.mac === undefined) this.#link.sendArp(1, this.#gateway, { mac: undefined, ipv4: guest.ipv4 });
    else this.#link.sendDatagram(guest, this.#gateway, remotePort, guestPort, data);
    return used;
  }
  forget(guest: Guest): void {
    for (const flow of this.#byUse) if (flow.guest === guest) this.#remove(flow);
  }
  close(): void {
    clearInterval(this.#sweep);
    for (const flow of this.#byUse) this.#remove(flow);
  }

  #openFlow(guest: Guest, key: FlowKey, address: Ipv4): Flow {
    const socket = new ConnectedSocket(formatIpv4(address), key.remotePort, {
      onMessage: (data) => {
        this.#use(flow);
        this.#link.sendDatagram(guest, key.remote, key.remotePort, key.guestPort, data);
      },
      onConnect: (localAddress) => {
        const isLocal = parseIpv4(localAddress) === address;
        if (isLocal && !this.#policy.permits(address, key.remotePort, "udp", true)) this.#refuse(flow, Icmp.PROHIBITED);
      },
      onError: (code) => {
        // A datagram that is too large for the host's network is lost, as it would be anywhere.
        if (code !== "EMSGSIZE") this.#refuse(flow, ERRORS[code]);
      },
    });
    const flow = newFlow(
      guest,
      key,
      (data) => socket.send(data),
      () => socket.close(),
    );
    return flow;
  }
  /** Ends a flow, and tells the guest why. */
  #refuse(flow: Flow, error: IcmpError | undefined): void {
    const source = error === Icmp.PORT_UNREACHABLE ? flow.key.remote : this.#gateway;
    if (error !== undefined) sendQuoted(this.#link, flow.guest, source, error, flow.quote);
    this.#remove(flow);
  }
  #add(flow: Flow): Flow {
    if (this.#flows.size >= this.#maxFlows) this.#remove(this.#byUse.values().next().value!);
    this.#flows.add(flow.key, flow);
    return flow;
  }
  #use(flow: Flow): void {
    flow.usedAt = performance.now();
    this.#byUse.delete(flow);
    this.#byUse.add(flow);
  }
  #remove(flow: Flow): void {
    this.#byUse.delete(flow);
    if (this.#flows.get(flow.key.guest, flow.key.guestPort, flow.key.remote, flow.key.remotePort) !== flow) return;
    this.#flows.remove(flow.key, flow);
    flow.close();
  }
  #freePort(guest: Guest, guestPort: number): number | undefined {
    for (let tries = 0; tries < 0x1_0000 - FIRST_PORT; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === 0xffff ? FIRST_PORT : port + 1;
      if (this.#flows.get(guest.ipv4, guestPort, this.#gateway, port) === undefined) return port;
    }
    return undefined;
  }
}

export type { Flow as UdpFlow };

const ERRORS: Record<string, IcmpError | undefined> = {
  ECONNREFUSED: Icmp.PORT_UNREACHABLE,
  EHOSTUNREACH: Icmp.HOST_UNREACHABLE,
  ENETUNREACH: Icmp.NET_UNREACHABLE,
  EACCES: Icmp.PROHIBITED,
  EPERM: Icmp.PROHIBITED,
};

function newFlow(guest: Guest, key: FlowKey, send: (data: Uint8Array) => void, close: () => void): Flow {
  const idleMs = key.remotePort === 53 ? DNS_IDLE_MS : IDLE_MS;
  return { key, guest, send, close, idleMs, quote: new Uint8Array(0), usedAt: 0 };
}
