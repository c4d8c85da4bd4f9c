/* Puts IPv4 fragments of guests together. @source RFC 791 §3.2, RFC 815, RFC 5722 §4 (a datagram whose fragments overlap is dropped whole: there it is for
 * IPv6, and no honest sender does it in IPv4 either). Bounded in datagrams, fragments of each, and time. I/O thread. */
import { ETHERNET_BYTES, type Ipv4Packet, MAX_IPV4_PAYLOAD, PAYLOAD_START, putHeaders } from "./ipv4.ts";

/** With 64 KiB each, 2 MiB. */
const MAX_DATAGRAMS = 32;
/** The largest datagram over an MTU of 576 has 119. */
const MAX_FRAGMENTS = 128;
/** RFC 791 suggests 15 s, RFC 1122 §3.3.2 60 to 120 s: over a cable fragments follow each other at once. */
const TIMEOUT_MS = 15_000;

interface Fragment {
  readonly offset: number;
  readonly bytes: Uint8Array;
}
interface Datagram {
  readonly fragments: Fragment[];
  readonly since: number;
  receivedBytes: number;
  /** Known once the last fragment is there. */
  totalBytes: number | undefined;
}

export class Reassembly {
  /** In the order of their first fragments. */
  readonly #datagrams = new Map<string, Datagram>();
  readonly #now: () => number;

  /** @param now milliseconds that never go back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Takes one fragment (a copy of it). @returns the whole packet as a frame of its own without options, once all of it is there */
  add(packet: Ipv4Packet): Uint8Array | undefined {
    this.#expire();
    const { source, destination, protocol, identification, fragmentOffset: offset, moreFragments } = packet;
    const key = `${source} ${destination} ${protocol} ${identification}`;
    const bytes = packet.bytes.slice(packet.start, packet.end);
    const end = offset + bytes.length;
    const isBad = bytes.length === 0 || end > MAX_IPV4_PAYLOAD || (moreFragments && bytes.length % 8 !== 0);
    if (isBad) {
      this.#datagrams.delete(key);
      return undefined;
    }
    const datagram = this.#datagrams.get(key) ?? this.#begin(key);
    if (!take(datagram, { offset, bytes }, moreFragments)) {
      this.#datagrams.delete(key);
      return undefined;
    }
    if (datagram.receivedBytes !== datagram.totalBytes) return undefined;
    this.#datagrams.delete(key);
    return join(packet, datagram);
  }

  get size(): number {
    return this.#datagrams.size;
  }

  #begin(key: string): Datagram {
    if (this.#datagrams.size >= MAX_DATAGRAMS) this.#datagrams.delete(this.#datagrams.keys().next().value!);
    const datagram = { fragments: [], since: this.#now(), receivedBytes: 0, totalBytes: undefined };
    this.#datagrams.set(key, datagram);
    return datagram;
  }
  #expire(): void {
    const before = this.#now() - TIMEOUT_MS;
    for (const [key, { since }] of this.#datagrams) {
      if (since >= before) return;
      this.#datagrams.delete(key);
    }
  }
}

/** @returns false if the fragment contradicts what is there */
function take(datagram: Datagram, fragment: Fragment, moreFragments: boolean): boolean {
  const end = fragment.offset + fragment.bytes.length;
  if (datagram.fragments.length >= MAX_FRAGMENTS) return false;
  if (datagram.fragments.some(({ offset, bytes }) => fragment.offset < offset + bytes.length && offset < end))
    return false;
  if (datagram.totalBytes !== undefined && (end > datagram.totalBytes || !moreFragments)) return false;
  if (!moreFragments) {
    if (datagram.fragments.some(({ offset, bytes }) => offset + bytes.length > end)) return false;
    datagram.totalBytes = end;
  }
  datagram.fragments.push(fragment);
  datagram.receivedBytes += fragment.bytes.length;
  return true;
}

function join(last: Ipv4Packet, { fragments, receivedBytes }: Datagram): Uint8Array {
  const frame = new Uint8Array(PAYLOAD_START + receivedBytes);
  for (const { offset, bytes } of fragments) frame.set(bytes, PAYLOAD_START + offset);
  const { source, destination, protocol, identification } = last;
  putHeaders(frame, { sourceMac: 0, destinationMac: 0, source, destination, protocol, identification });
  frame.set(last.bytes.subarray(0, ETHERNET_BYTES));
  return frame;
}
