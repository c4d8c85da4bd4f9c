/* All other processes with VMs on the same network, as one trusted endpoint of this process's switch: so nothing that came from one of them goes back to any. Knows
 * which VM is behind which, because they say it; a frame for none of them goes nowhere. @source docs/network.md "Networks by name". I/O thread. */
import { GATEWAY_MAC, type Ipv4, type Mac, isMulticastMac, macAt } from "./address.ts";
import type { Member } from "./link-codec.ts";
import type { Cable, NetworkEndpoint, Packet } from "./packet.ts";

/** A process, by its link. */
export interface Peer {
  /** @returns false: the packet is lost, and still the caller's to release */
  send(packet: Packet): boolean;
}

export interface UplinkCounters {
  /** Packets that went out, counted once for each process. */
  sent: number;
  received: number;
  /** The other process, or the guest here, had no room. */
  lost: number;
  /** From a sender that the process did not list. */
  refused: number;
}

export class Uplink implements NetworkEndpoint {
  readonly counters: UplinkCounters = { sent: 0, received: 0, lost: 0, refused: 0 };
  readonly #peers = new Map<Peer, readonly Member[]>();
  readonly #behind = new Map<Mac, Peer>();
  #cable: Cable | undefined;

  /** @param cable to the switch, a trusted port */
  plug(cable: Cable): void {
    this.#cable = cable;
  }
  close(): void {
    this.#cable?.close();
    this.#cable = undefined;
  }

  /** Says which VMs a process has; what it had before is forgotten. */
  setMembers(peer: Peer, members: readonly Member[]): void {
    this.#forget(peer);
    this.#peers.set(peer, members);
    for (const { mac } of members) this.#behind.set(mac, peer);
  }
  /** The process is gone. */
  remove(peer: Peer): void {
    this.#forget(peer);
    this.#peers.delete(peer);
  }
  #forget(peer: Peer): void {
    for (const { mac } of this.#peers.get(peer) ?? []) if (this.#behind.get(mac) === peer) this.#behind.delete(mac);
  }

  /** From the switch: what guests here send, and the gateway, whose frames stay. */
  receive(packet: Packet): boolean {
    const to = macAt(packet.bytes, 0);
    if (macAt(packet.bytes, 6) === GATEWAY_MAC) packet.release?.();
    else if (isMulticastMac(to)) for (const peer of this.#peers.keys()) this.#send(peer, packet);
    else this.#send(this.#behind.get(to), packet);
    return true;
  }
  #send(peer: Peer | undefined, packet: Packet): void {
    const sent = peer?.send(packet);
    if (sent === true) this.counters.sent++;
    else packet.release?.();
    if (sent === false) this.counters.lost++;
  }
  /** From a process. */
  deliver(peer: Peer, packet: Packet): void {
    if (this.#behind.get(macAt(packet.bytes, 6)) !== peer) {
      this.counters.refused++;
      packet.release?.();
      return;
    }
    this.counters.received++;
    // Whoever waits for one guest here would hold up all others behind this process.
    if (this.#cable?.send(packet) === false) {
      this.counters.lost++;
      packet.release?.();
    }
  }

  /** The address of a VM of another process; of several with one name the lowest. @param name lower case */
  addressOf(name: string): Ipv4 | undefined {
    let lowest: Ipv4 | undefined;
    for (const members of this.#peers.values())
      for (const { hostname, ipv4 } of members)
        if (hostname === name && (lowest === undefined || ipv4 < lowest)) lowest = ipv4;
    return lowest;
  }
  nameOf(address: Ipv4): string | undefined {
    for (const members of this.#peers.values())
      for (const { hostname, ipv4 } of members) if (ipv4 === address) return hostname;
    return undefined;
  }
}
