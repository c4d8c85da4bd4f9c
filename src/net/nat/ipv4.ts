/* IPv4 packets in Ethernet frames: read with every field checked, and written. @source RFC 791, RFC 1812 §5.2.2.
 * Leaves out: VLAN tags; options are passed over, never acted on. I/O thread. */
import { type Ipv4, type Mac, ipv4At, putIpv4, putMac } from "../address.ts";
import { checksumOf, sumWords } from "./checksum.ts";

export const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
/** Where the payload of a packet without options begins: all that the gateway sends. */
export const PAYLOAD_START: number = ETHERNET_BYTES + IPV4_BYTES;
export const MAX_IPV4_PAYLOAD: number = 65_535 - IPV4_BYTES;

export const EtherType = { IPV4: 0x0800, ARP: 0x0806 } as const;
export const IpProtocol = { ICMP: 1, TCP: 6, UDP: 17 } as const;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;

export function u16At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}
export function putU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** The header of the packet at hand. One object is read into again and again. */
export class Ipv4Packet {
  /** The whole frame. */
  bytes: Uint8Array = new Uint8Array(0);
  source: Ipv4 = 0;
  destination: Ipv4 = 0;
  protocol = 0;
  ttl = 0;
  identification = 0;
  /** In bytes. */
  fragmentOffset = 0;
  moreFragments = false;
  /** The payload is bytes[start, end). */
  start = 0;
  end = 0;
  /** The transport's checksum is left to do, so there is nothing to check. */
  isPartial = false;

  /** @returns false if this is no correct packet */
  read(bytes: Uint8Array, isPartial: boolean): boolean {
    const header = ETHERNET_BYTES;
    if (bytes.length < PAYLOAD_START || bytes[header]! >>> 4 !== 4) return false;
    const headerBytes = (bytes[header]! & 15) * 4;
    const totalBytes = u16At(bytes, header + 2);
    if (headerBytes < IPV4_BYTES || totalBytes < headerBytes || header + totalBytes > bytes.length) return false;
    if (sumWords(bytes, header, header + headerBytes) !== 0xffff) return false;
    const fragment = u16At(bytes, header + 6);
    this.bytes = bytes;
    this.identification = u16At(bytes, header + 4);
    this.moreFragments = (fragment & MORE_FRAGMENTS) !== 0;
    this.fragmentOffset = (fragment & 0x1fff) * 8;
    this.ttl = bytes[header + 8]!;
    this.protocol = bytes[header + 9]!;
    this.source = ipv4At(bytes, header + 12);
    this.destination = ipv4At(bytes, header + 16);
    this.start = header + headerBytes;
    this.end = header + totalBytes;
    this.isPartial = isPartial;
    return true;
  }
}

export interface Ipv4Fields {
  readonly sourceMac: Mac;
  readonly destinationMac: Mac;
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: number;
  readonly identification: number;
  readonly dontFragment?: boolean;
  /** In bytes, a multiple of 8. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean;
}

/** Writes the Ethernet and IPv4 headers of a frame whose payload begins at PAYLOAD_START and ends with it. */
export function putHeaders(frame: Uint8Array, fields: Ipv4Fields): void {
  putMac(frame, 0, fields.destinationMac);
  putMac(frame, 6, fields.sourceMac);
  putU16(frame, 12, EtherType.IPV4);
  const header = ETHERNET_BYTES;
  const fragment = (fields.fragmentOffset ?? 0) >>> 3;
  frame[header] = 0x45;
  frame[header + 1] = 0;
  putU16(frame, header + 2, frame.length - header);
  putU16(frame, header + 4, fields.identification);
  const flags =
    (fields.dontFragment === true ? DONT_FRAGMENT : 0) | (fields.moreFragments === true ? MORE_FRAGMENTS : 0);
  putU16(frame, header + 6, flags | fragment);
  frame[header + 8] = 64;
  frame[header + 9] = fields.protocol;
  putU16(frame, header + 10, 0);
  putIpv4(frame, header + 12, fields.source);
  putIpv4(frame, header + 16, fields.destination);
  putU16(frame, header + 10, checksumOf(sumWords(frame, header, PAYLOAD_START)));
}
