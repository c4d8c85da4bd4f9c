/* ICMP: echoes of the gateway, and the errors that tell guests why something went nowhere. @source RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.
 * Leaves out: echoes of others, which an unprivileged host process cannot send; "fragmentation needed" (the gateway ends connections, so it never needs it). */
import type { Ipv4 } from "../address.ts";
import { checksumOf, sumWords } from "./checksum.ts";
import type { Guest } from "./guests.ts";
import { ETHERNET_BYTES, IpProtocol, type Ipv4Packet, putU16 } from "./ipv4.ts";
import type { Link } from "./link.ts";

const ECHO_REPLY = 0;
const ECHO = 8;
const ICMP_BYTES = 8;
/** RFC 1812 §4.3.2.3: as much of the packet as fits into 576 bytes. */
const MAX_QUOTE_BYTES = 576 - 20 - ICMP_BYTES;
/** The longest IPv4 header and the first 8 bytes behind it: enough to find the sender's socket. */
export const SHORT_QUOTE_BYTES: number = 60 + 8;
/** Types that ask something; all others are errors or answers, to which there is never an error. */
const QUERIES = new Set([8, 10, 13, 15, 17]);

/** Type and code of an error. */
export type IcmpError = readonly [type: number, code: number];
export const Icmp = {
  NET_UNREACHABLE: [3, 0],
  HOST_UNREACHABLE: [3, 1],
  PROTOCOL_UNREACHABLE: [3, 2],
  PORT_UNREACHABLE: [3, 3],
  /** Communication administratively prohibited: the policy denies it. */
  PROHIBITED: [3, 13],
  TTL_EXCEEDED: [11, 0],
} as const satisfies Record<string, IcmpError>;

/** Answers an echo request to one of the gateway's addresses. */
export function answerEcho(link: Link, guest: Guest, packet: Ipv4Packet): void {
  const { bytes, start, end } = packet;
  if (end - start < ICMP_BYTES || bytes[start] !== ECHO || bytes[start + 1] !== 0) return;
  if (!packet.isPartial && sumWords(bytes, start, end) !== 0xffff) return;
  const reply = bytes.slice(start, end);
  reply[0] = ECHO_REPLY;
  putChecksum(reply);
  link.sendPayload(guest, packet.destination, IpProtocol.ICMP, reply);
}

/** What an error quotes of a packet whose frame is not kept: all headers, if maxBytes is at least SHORT_QUOTE_BYTES. */
export function quoteOf(packet: Ipv4Packet, maxBytes: number = MAX_QUOTE_BYTES): Uint8Array {
  return packet.bytes.slice(ETHERNET_BYTES, Math.min(packet.end, ETHERNET_BYTES + maxBytes));
}

/** Tells a guest that its packet went nowhere, unless the packet is one that must not be answered so.
 *  @param source the address that says it: the destination's own for a port, else the gateway's */
export function sendError(link: Link, guest: Guest, source: Ipv4, error: IcmpError, packet: Ipv4Packet): void {
  if (packet.fragmentOffset !== 0) return;
  if (packet.protocol === IpProtocol.ICMP && !QUERIES.has(packet.bytes[packet.start] ?? -1)) return;
  sendQuoted(link, guest, source, error, quoteOf(packet));
}
/** The same for a packet that was accepted first. @param quote made by quoteOf */
export function sendQuoted(link: Link, guest: Guest, source: Ipv4, [type, code]: IcmpError, quote: Uint8Array): void {
  const message = new Uint8Array(ICMP_BYTES + quote.length);
  message[0] = type;
  message[1] = code;
  message.set(quote, ICMP_BYTES);
  putChecksum(message);
  link.sendPayload(guest, source, IpProtocol.ICMP, message);
}

function putChecksum(message: Uint8Array): void {
  putU16(message, 2, 0);
  putU16(message, 2, checksumOf(sumWords(message, 0, message.length)));
}
