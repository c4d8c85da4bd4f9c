/* Messages between processes whose VMs are on one network: who is there, and their packets uncut, with what is still to be done on them. All that a peer says is checked
 * here. @source docs/network.md "Networks by name". Leaves out: byte order and alignment of other machines, since a link stays on one. I/O thread.
 *
 *   +0 u32 length   bytes behind this header
 *   +4 u8  kind     HELLO, MEMBERS: text in JSON; FRAME: an Ethernet frame
 *   +5 u8  flags    FRAME: 1 checksum to be done, 2 TCP over IPv4 to be cut, 4 over IPv6
 *   +6 u16 start    FRAME: of the checksum; HELLO: version
 *   +8 u16 offset   FRAME: of the result, from start
 *  +10 u16 size     FRAME: payload bytes of a segment
 */
import {
  type Cidr,
  GATEWAY_MAC,
  type Ipv4,
  type Mac,
  cidrContains,
  formatIpv4,
  formatMac,
  isMulticastMac,
  lastOf,
  parseIpv4,
  parseMac,
} from "./address.ts";
import { MAX_PACKET_BYTES, MIN_SEGMENT_BYTES, type Packet, releaser, takeBytes } from "./packet.ts";

/** Both sides must have the same: whatever changes in messages behind the first one's header changes it. */
export const LINK_VERSION = 1;
export const LINK_HEADER_BYTES = 12;
const Kind = { HELLO: 0, MEMBERS: 1, FRAME: 2 } as const;
const Flag = { CHECKSUM: 1, TCP4: 2, TCP6: 4 } as const;
const ETHERNET_HEADER_BYTES = 14;
/** 2046 VMs, the most that a network of names has, with names of 64 characters. */
const MAX_TEXT_BYTES = 1 << 19;
/** Smaller frames do not keep the 64 KiB alive that they came in. */
const COPY_BELOW = 8192;
const ID = /^[0-9a-f]{16}$/;
const HOSTNAME = /^[a-z0-9][a-z0-9_.-]{0,63}$/;

/** A VM of another process. */
export interface Member {
  readonly mac: Mac;
  readonly ipv4: Ipv4;
  /** Lower case. */
  readonly hostname: string;
}
/** Who is at the other end. */
export interface Hello {
  /** Of the process on this network: 16 hexadecimal digits. */
  readonly id: string;
  readonly pid: number;
  readonly members: readonly Member[];
}

/** What comes over a link. The first is a hello, then there are no more. */
export type LinkMessage =
  | { readonly kind: "hello"; readonly hello: Hello }
  | { readonly kind: "version"; readonly version: number }
  | { readonly kind: "members"; readonly members: readonly Member[] }
  | { readonly kind: "packet"; readonly packet: Packet };

// ── writing ──

export function encodeHello({ id, pid, members }: Hello): Buffer {
  return textMessage(Kind.HELLO, LINK_VERSION, { id, pid, members: members.map(memberText) });
}
export function encodeMembers(members: readonly Member[]): Buffer {
  return textMessage(Kind.MEMBERS, 0, members.map(memberText));
}
/** What comes before a packet's bytes. */
export function encodeFrameHeader({ bytes, checksum, segment }: Packet): Buffer {
  const header = Buffer.alloc(LINK_HEADER_BYTES);
  header.writeUInt32LE(bytes.length);
  header[4] = Kind.FRAME;
  header[5] =
    (checksum === undefined ? 0 : Flag.CHECKSUM) |
    (segment === undefined ? 0 : segment.protocol === "tcp4" ? Flag.TCP4 : Flag.TCP6);
  header.writeUInt16LE(checksum?.start ?? 0, 6);
  header.writeUInt16LE(checksum?.offset ?? 0, 8);
  header.writeUInt16LE(segment?.sizeBytes ?? 0, 10);
  return header;
}

function textMessage(kind: number, version: number, value: unknown): Buffer {
  const text = JSON.stringify(value);
  const message = Buffer.alloc(LINK_HEADER_BYTES + Buffer.byteLength(text));
  message.writeUInt32LE(message.length - LINK_HEADER_BYTES);
  message[4] = kind;
  message.writeUInt16LE(version, 6);
  message.write(text, LINK_HEADER_BYTES);
  return message;
}
function memberText({ mac, ipv4, hostname }: Member): Record<string, string> {
  return { mac: formatMac(mac), ipv4: formatIpv4(ipv4), hostname };
}

// ── reading ──

/** Makes messages of a stream's pieces, which may end anywhere. */
export class LinkReader {
  readonly #network: Cidr;
  readonly #header = Buffer.alloc(LINK_HEADER_BYTES);
  #headerBytes = 0;
  /** Of a message that did not come in one piece. */
  #body: Uint8Array | undefined;
  #bodyBytes = 0;
  #greeted = false;

  /** @param network whose addresses members may have */
  constructor(network: Cidr) {
    this.#network = network;
  }

  /** Takes a piece. @param take gets each message that is whole; false: the rest is not wanted
   *  @returns false if the stream is none of messages: then nothing more can be made of it */
  read(piece: Uint8Array, take: (message: LinkMessage) => boolean): boolean {
    let at = 0;
    while (at < piece.length) {
      if (this.#headerBytes < LINK_HEADER_BYTES) {
        const part = piece.subarray(at, at + LINK_HEADER_BYTES - this.#headerBytes);
        this.#header.set(part, this.#headerBytes);
        this.#headerBytes += part.length;
        at += part.length;
        if (this.#headerBytes < LINK_HEADER_BYTES) return true;
        if (!this.#isAcceptable()) return false;
        this.#bodyBytes = 0;
      }
      const body = this.#bodyOf(piece, at);
      at += body.taken;
      if (body.whole === undefined) return true;
      const message = this.#message(body.whole);
      this.#headerBytes = 0;
      this.#body = undefined;
      if (message === undefined) return false;
      if (!take(message)) return true;
    }
    return true;
  }

  /** Is there to be such a message? Nothing is allocated for one that is not. */
  #isAcceptable(): boolean {
    const length = this.#header.readUInt32LE();
    const kind = this.#header[4];
    // Whatever else another version says is not looked at.
    if (!this.#greeted) return kind === Kind.HELLO && length > 0 && length <= MAX_TEXT_BYTES;
    if (kind === Kind.FRAME) return length >= ETHERNET_HEADER_BYTES && length <= MAX_PACKET_BYTES;
    return kind === Kind.MEMBERS && length > 0 && length <= MAX_TEXT_BYTES;
  }
  #bodyOf(piece: Uint8Array, at: number): { whole?: Uint8Array; taken: number } {
    const length = this.#header.readUInt32LE();
    const taken = Math.min(length - this.#bodyBytes, piece.length - at);
    if (taken === length && length >= COPY_BELOW) return { whole: piece.subarray(at, at + length), taken };
    this.#body ??= this.#header[4] === Kind.FRAME ? takeBytes(length) : new Uint8Array(length);
    this.#body.set(piece.subarray(at, at + taken), this.#bodyBytes);
    this.#bodyBytes += taken;
    return this.#bodyBytes < length ? { taken } : { whole: this.#body, taken };
  }
  #message(body: Uint8Array): LinkMessage | undefined {
    const kind = this.#header[4];
    if (kind === Kind.FRAME) {
      const packet = this.#packet(body);
      return packet && { kind: "packet", packet };
    }
    if (kind === Kind.MEMBERS) {
      const members = readMembers(parse(body), this.#network);
      return members && { kind: "members", members };
    }
    this.#greeted = true;
    const version = this.#header.readUInt16LE(6);
    if (version !== LINK_VERSION) return { kind: "version", version };
    const hello = readHello(parse(body), this.#network);
    return hello && { kind: "hello", hello };
  }
  #packet(bytes: Uint8Array): Packet | undefined {
    const flags = this.#header[5];
    const start = this.#header.readUInt16LE(6);
    const offset = this.#header.readUInt16LE(8);
    const sizeBytes = this.#header.readUInt16LE(10);
    const release = releaser(bytes);
    if (flags === 0) return { bytes, release };
    if (start < ETHERNET_HEADER_BYTES || start + offset + 2 > bytes.length) return undefined;
    const checksum = { start, offset };
    if (flags === Flag.CHECKSUM) return { bytes, checksum, release };
    if (sizeBytes < MIN_SEGMENT_BYTES) return undefined;
    if (flags === (Flag.CHECKSUM | Flag.TCP4))
      return { bytes, checksum, segment: { protocol: "tcp4", sizeBytes }, release };
    if (flags === (Flag.CHECKSUM | Flag.TCP6))
      return { bytes, checksum, segment: { protocol: "tcp6", sizeBytes }, release };
    return undefined;
  }
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8"));
  } catch {
    return undefined;
  }
}
function readHello(value: unknown, network: Cidr): Hello | undefined {
  const { id, pid, members: list } = fields(value);
  const members = readMembers(list, network);
  if (typeof id !== "string" || !ID.test(id) || !Number.isSafeInteger(pid) || members === undefined) return undefined;
  return { id, pid: pid as number, members };
}
function readMembers(value: unknown, network: Cidr): Member[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const members = value.map((each) => readMember(each, network));
  return members.includes(undefined) ? undefined : (members as Member[]);
}
function readMember(value: unknown, network: Cidr): Member | undefined {
  const { mac: macText, ipv4: ipv4Text, hostname } = fields(value);
  const mac = typeof macText === "string" ? parseMac(macText) : undefined;
  const ipv4 = typeof ipv4Text === "string" ? parseIpv4(ipv4Text) : undefined;
  if (mac === undefined || isMulticastMac(mac) || mac === GATEWAY_MAC) return undefined;
  // The first three are the network's own, the gateway's and the name server's.
  if (ipv4 === undefined || !cidrContains(network, ipv4) || ipv4 < network.base + 3 || ipv4 === lastOf(network))
    return undefined;
  return typeof hostname === "string" && HOSTNAME.test(hostname) ? { mac, ipv4, hostname } : undefined;
}
function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
