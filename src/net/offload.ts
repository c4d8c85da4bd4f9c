/* What a network card does for its driver, in software: packets for a receiver that cannot take them as they are are cut into TCP segments and get their
 * checksums. @source RFC 9293 §3.1, RFC 791 §3.1, RFC 8200 §3, Linux Documentation/networking/segmentation-offloads.rst. I/O thread. */
import { foldSum, sumBytes } from "./checksum.ts";
import type { Offloads, Packet } from "./packet.ts";

const TCP = 6;
const TCP_CHECKSUM = 16;
const FIN_PSH = 0x09;
const CWR = 0x80;

/** Makes of a packet what a receiver can take; packets that it can take come back as they are. Never throws on what is in it.
 *  @returns none if it is to be cut and is not the TCP packet that it is said to be */
export function finish(packet: Packet, offloads: Offloads): Packet[] {
  const { checksum, segment } = packet;
  if (segment !== undefined && !(segment.protocol === "tcp4" ? offloads.tcp4 : offloads.tcp6)) {
    const cut = cutTcp(packet);
    return offloads.checksum ? cut : cut.map((part) => withChecksum(part));
  }
  return checksum === undefined || offloads.checksum ? [packet] : [withChecksum(packet)];
}

/** Computes the missing checksum, in a copy. */
function withChecksum({ bytes, checksum }: Packet): Packet {
  if (checksum === undefined) return { bytes };
  const copy = Uint8Array.from(bytes);
  const sum = foldSum(sumBytes(bytes, checksum.start, bytes.length));
  // 0 means "none" in UDP; in one's complement 0xffff is as good.
  putU16(copy, checksum.start + checksum.offset, ~sum & 0xffff || 0xffff);
  return { bytes: copy };
}

/** Where the headers of a TCP packet begin. */
interface Headers {
  ip: number;
  tcp: number;
  payload: number;
  version: 4 | 6;
}

/** @returns undefined if the bytes are no TCP packet of the protocol, or its checksum is not where TCP has it */
function headersOf({ bytes, checksum, segment }: Packet): Headers | undefined {
  if (checksum === undefined || segment === undefined || checksum.offset !== TCP_CHECKSUM) return undefined;
  const tcp = checksum.start;
  const tagged = u16(bytes, 12) === 0x8100;
  const ip = tagged ? 18 : 14;
  const version = segment.protocol === "tcp4" ? 4 : 6;
  const ipEnd = version === 4 ? ip + 4 * (bytes[ip]! & 15) : ip + 40;
  // Behind IPv6's header others may follow; Linux says where TCP is.
  if (bytes[ip]! >> 4 !== version || (version === 4 ? tcp !== ipEnd || tcp < ip + 20 : tcp < ipEnd)) return undefined;
  if (u16(bytes, ip - 2) !== (version === 4 ? 0x0800 : 0x86dd)) return undefined;
  if (version === 4 && bytes[ip + 9] !== TCP) return undefined;
  if (tcp + 20 > bytes.length) return undefined;
  const payload = tcp + 4 * (bytes[tcp + 12]! >> 4);
  return payload < tcp + 20 || payload > bytes.length ? undefined : { ip, tcp, payload, version };
}

/** TCP segments that together say what the packet does, each with its checksum still to do. */
function cutTcp(packet: Packet): Packet[] {
  const headers = headersOf(packet);
  if (headers === undefined) return [];
  const { bytes, checksum } = packet;
  const { sizeBytes } = packet.segment!;
  const { tcp, payload } = headers;
  // The pseudo header's sum, but for the length.
  const pseudo = u16(bytes, tcp + TCP_CHECKSUM) + (~(bytes.length - tcp) & 0xffff);
  const segments: Packet[] = [];
  for (let at = payload; at < bytes.length || at === payload; at += sizeBytes) {
    const end = Math.min(at + sizeBytes, bytes.length);
    const segment = new Uint8Array(payload + end - at);
    segment.set(bytes.subarray(0, payload));
    segment.set(bytes.subarray(at, end), payload);
    setIpHeader(segment, headers, segments.length);
    const view = new DataView(segment.buffer);
    view.setUint32(tcp + 4, (view.getUint32(tcp + 4) + at - payload) >>> 0);
    if (end < bytes.length) segment[tcp + 13]! &= ~FIN_PSH;
    if (at > payload) segment[tcp + 13]! &= ~CWR;
    putU16(segment, tcp + TCP_CHECKSUM, foldSum(pseudo + segment.length - tcp));
    segments.push({ bytes: segment, checksum });
  }
  return segments;
}
function setIpHeader(segment: Uint8Array, { ip, tcp, version }: Headers, index: number): void {
  if (version === 6) {
    putU16(segment, ip + 4, segment.length - ip - 40);
    return;
  }
  putU16(segment, ip + 2, segment.length - ip);
  putU16(segment, ip + 4, (u16(segment, ip + 4) + index) & 0xffff);
  putU16(segment, ip + 10, 0);
  putU16(segment, ip + 10, ~foldSum(sumBytes(segment, ip, tcp)) & 0xffff);
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
