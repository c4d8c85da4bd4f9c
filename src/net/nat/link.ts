/* The gateway's way onto the cable: frames to guests, cut into IP fragments where a datagram is larger than the MTU. Where the guest has no room, TCP's data
 * wait in their connections, which take turns; all else waits here, up to a bound, and goes first. @source RFC 791 §2.3, RFC 826. I/O thread. */
import { BROADCAST_MAC, type Ipv4, type Mac, putIpv4, putMac } from "../address.ts";
import type { Cable, Packet } from "../packet.ts";
import { checksumOf, pseudoHeaderSum, sumWords } from "./checksum.ts";
import type { Guest } from "./guests.ts";
import { ETHERNET_BYTES, EtherType, IpProtocol, MAX_IPV4_PAYLOAD, PAYLOAD_START, putHeaders, putU16 } from "./ipv4.ts";

export const UDP_BYTES = 8;
const ARP_BYTES = 28;
/** Answers that wait while bulk data fill the guest's device; what comes on top is lost. */
const MAX_WAITING_BYTES = 256 << 10;

export class Link {
  readonly mac: Mac;
  readonly mtuBytes: number;
  readonly #cable: Cable;
  readonly #waiting = new Set<() => void>();
  readonly #posted: Packet[] = [];
  #postedBytes = 0;
  #isFull = false;
  #identification = 0;

  constructor(cable: Cable, mac: Mac, mtuBytes: number) {
    this.#cable = cable;
    this.mac = mac;
    this.mtuBytes = mtuBytes;
    cable.onRoom = () => this.#onRoom();
  }

  /** A frame for `payloadBytes` behind IP's header, which is written. TCP: never fragmented. */
  frame(guest: Guest, source: Ipv4, protocol: number, payloadBytes: number): Uint8Array {
    // Not zeroed: all of it is written before it is sent.
    const frame = new Uint8Array(Buffer.allocUnsafeSlow(PAYLOAD_START + payloadBytes).buffer);
    putHeaders(frame, {
      sourceMac: this.mac,
      destinationMac: guest.mac ?? BROADCAST_MAC,
      source,
      destination: guest.ipv4,
      protocol,
      identification: protocol === IpProtocol.TCP ? 0 : this.#nextIdentification(),
      dontFragment: protocol === IpProtocol.TCP,
    });
    return frame;
  }
  /** Sends a frame that its sender can send again. @returns false: no room */
  send(packet: Packet): boolean {
    if (this.#posted.length > 0 || !this.#cable.send(packet)) {
      this.#isFull = true;
      return false;
    }
    return true;
  }
  /** Sends a frame, at once or when there is room. */
  post(packet: Packet): void {
    if (this.send(packet) || this.#postedBytes + packet.bytes.length > MAX_WAITING_BYTES) return;
    this.#posted.push(packet);
    this.#postedBytes += packet.bytes.length;
  }
  /** Calls once, when there is room again; who finds none then calls this again, and is behind all others. */
  whenRoom(resume: () => void): void {
    this.#waiting.add(resume);
  }
  forget(resume: () => void): void {
    this.#waiting.delete(resume);
  }

  /** Sends an IP payload, in fragments if need be. Its checksums are right. */
  sendPayload(guest: Guest, source: Ipv4, protocol: number, payload: Uint8Array): void {
    if (payload.length > MAX_IPV4_PAYLOAD) return;
    const room = this.mtuBytes - (PAYLOAD_START - ETHERNET_BYTES);
    if (payload.length <= room) {
      const frame = this.frame(guest, source, protocol, payload.length);
      frame.set(payload, PAYLOAD_START);
      this.post({ bytes: frame });
      return;
    }
    const identification = this.#nextIdentification();
    const step = room & ~7;
    for (let offset = 0; offset < payload.length; offset += step) {
      const piece = payload.subarray(offset, offset + step);
      const frame = new Uint8Array(PAYLOAD_START + piece.length);
      putHeaders(frame, {
        sourceMac: this.mac,
        destinationMac: guest.mac ?? BROADCAST_MAC,
        source,
        destination: guest.ipv4,
        protocol,
        identification,
        fragmentOffset: offset,
        moreFragments: offset + step < payload.length,
      });
      frame.set(piece, PAYLOAD_START);
      this.post({ bytes: frame });
    }
  }

  /** Sends a UDP datagram; its checksum is left to the guest's side where the datagram is one frame. */
  sendDatagram(guest: Guest, source: Ipv4, sourcePort: number, destinationPort: number, data: Uint8Array): void {
    const length = UDP_BYTES + data.length;
    const sum = pseudoHeaderSum(source, guest.ipv4, IpProtocol.UDP, length);
    if (PAYLOAD_START - ETHERNET_BYTES + length <= this.mtuBytes) {
      const frame = this.frame(guest, source, IpProtocol.UDP, length);
      putUdp(frame, PAYLOAD_START, sourcePort, destinationPort, data);
      putU16(frame, PAYLOAD_START + 6, sum);
      this.post({ bytes: frame, checksum: { start: PAYLOAD_START, offset: 6 } });
      return;
    }
    const payload = new Uint8Array(length);
    putUdp(payload, 0, sourcePort, destinationPort, data);
    // 0 would say "no checksum".
    putU16(payload, 6, checksumOf(sumWords(payload, 0, length, sum)) || 0xffff);
    this.sendPayload(guest, source, IpProtocol.UDP, payload);
  }

  /** Sends a datagram to a device that need not have an address yet. */
  sendUdpTo(
    destinationMac: Mac,
    { source, destination }: { readonly source: Ipv4; readonly destination: Ipv4 },
    ports: { readonly sourcePort: number; readonly destinationPort: number },
    data: Uint8Array,
  ): void {
    const frame = new Uint8Array(PAYLOAD_START + UDP_BYTES + data.length);
    const { mac: sourceMac } = this;
    const identification = this.#nextIdentification();
    putHeaders(frame, { sourceMac, destinationMac, source, destination, protocol: IpProtocol.UDP, identification });
    putUdp(frame, PAYLOAD_START, ports.sourcePort, ports.destinationPort, data);
    const sum = pseudoHeaderSum(source, destination, IpProtocol.UDP, UDP_BYTES + data.length);
    // Clients read it with raw sockets, where no checksum may be left to do.
    putU16(frame, PAYLOAD_START + 6, checksumOf(sumWords(frame, PAYLOAD_START, frame.length, sum)) || 0xffff);
    this.post({ bytes: frame });
  }

  /** @param operation 1 request, 2 reply  @param target whom it is for: a device (reply) or nobody in particular */
  sendArp(operation: 1 | 2, sender: Ipv4, target: { readonly mac: Mac | undefined; readonly ipv4: Ipv4 }): void {
    const frame = new Uint8Array(ETHERNET_BYTES + ARP_BYTES);
    putMac(frame, 0, target.mac ?? BROADCAST_MAC);
    putMac(frame, 6, this.mac);
    putU16(frame, 12, EtherType.ARP);
    // Ethernet, IPv4, their lengths.
    frame.set([0, 1, 8, 0, 6, 4, 0, operation], ETHERNET_BYTES);
    putMac(frame, ETHERNET_BYTES + 8, this.mac);
    putIpv4(frame, ETHERNET_BYTES + 14, sender);
    putMac(frame, ETHERNET_BYTES + 18, target.mac ?? 0);
    putIpv4(frame, ETHERNET_BYTES + 24, target.ipv4);
    this.post({ bytes: frame });
  }

  #onRoom(): void {
    let sent = 0;
    for (const packet of this.#posted) {
      if (!this.#cable.send(packet)) break;
      this.#postedBytes -= packet.bytes.length;
      sent++;
    }
    this.#posted.splice(0, sent);
    if (this.#posted.length > 0) return;
    this.#isFull = false;
    for (const resume of this.#waiting) {
      this.#waiting.delete(resume);
      resume();
      if (this.#isFull) return;
    }
  }
  #nextIdentification(): number {
    this.#identification = (this.#identification + 1) & 0xffff;
    return this.#identification;
  }
}

/** Header (checksum still zero) and data. */
function putUdp(bytes: Uint8Array, at: number, sourcePort: number, destinationPort: number, data: Uint8Array): void {
  putU16(bytes, at, sourcePort);
  putU16(bytes, at + 2, destinationPort);
  putU16(bytes, at + 4, UDP_BYTES + data.length);
  putU16(bytes, at + 6, 0);
  bytes.set(data, at + UDP_BYTES);
}
