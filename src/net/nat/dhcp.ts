/* The DHCP server: each device has one address for ever, so there is no pool, and leases only tell clients when to ask again. For clients of images; Mere's
 * agent sets a guest's address without it. @source RFC 2131 §3, §4.3; RFC 2132 (options). Leaves out: BOOTP, relays, PXE. Knows frames' contents only. */
import { type Ipv4, type Mac, ipv4At, maskOf, macAt, putIpv4 } from "../address.ts";
import { putU16, u16At } from "./ipv4.ts";

/** Fixed part and magic cookie. @source RFC 2131 §2, figure 1 */
const FIXED_BYTES = 240;
const MAGIC = 0x6382_5363;
const BROADCAST_FLAG = 0x8000;
/** RFC 1542 §2.1: some clients drop shorter ones. */
const MIN_BYTES = 300;
const LEASE_SECONDS = 86_400;

const Kind = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;
const Option = {
  MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOSTNAME: 12,
  DOMAIN: 15,
  MTU: 26,
  BROADCAST: 28,
  REQUESTED: 50,
  LEASE: 51,
  KIND: 53,
  SERVER: 54,
  T1: 58,
  T2: 59,
  PAD: 0,
  END: 255,
} as const;

/** What clients are told. */
export interface DhcpNetwork {
  readonly gateway: Ipv4;
  readonly dns: Ipv4;
  readonly prefix: number;
  readonly mtuBytes: number;
  readonly domain: string | undefined;
}
export interface DhcpReply {
  readonly message: Uint8Array;
  /** undefined: to all, because the client has no address to hear it with, or asked for that */
  readonly to: Ipv4 | undefined;
  readonly mac: Mac;
}

/** Answers a client's message.
 *  @param find whom a device belongs to  @returns undefined: none is due, or the message is not correct */
export function answerDhcp(
  request: Uint8Array,
  network: DhcpNetwork,
  find: (mac: Mac) => { readonly ipv4: Ipv4; readonly hostname: string | undefined } | undefined,
): DhcpReply | undefined {
  const isRequest = request.length >= FIXED_BYTES && request[0] === 1 && request[1] === 1 && request[2] === 6;
  if (!isRequest || ipv4At(request, 236) !== MAGIC) return undefined;
  const options = readOptions(request);
  const kind = options.get(Option.KIND)?.[0];
  const mac = macAt(request, 28);
  const lease = find(mac);
  if (lease === undefined || kind === undefined) return undefined;
  const server = addressIn(options, Option.SERVER);
  if (server !== undefined && server !== network.gateway) return undefined;
  const answer = answerKind(kind, request, addressIn(options, Option.REQUESTED), lease.ipv4);
  if (answer === undefined) return undefined;
  const client = ipv4At(request, 12);
  const message = writeReply(request, answer, network, lease);
  if (answer === Kind.NAK) return { message, to: undefined, mac };
  if (client !== 0) return { message, to: client, mac };
  const wantsBroadcast = (u16At(request, 10) & BROADCAST_FLAG) !== 0;
  return { message, to: wantsBroadcast ? undefined : lease.ipv4, mac };
}

/** @returns the kind of the answer; DECLINE and RELEASE have none: the address stays the device's */
function answerKind(kind: number, request: Uint8Array, requested: Ipv4 | undefined, own: Ipv4): number | undefined {
  if (kind === Kind.DISCOVER) return Kind.OFFER;
  if (kind === Kind.INFORM) return ipv4At(request, 12) === own ? Kind.ACK : undefined;
  if (kind !== Kind.REQUEST) return undefined;
  // Selecting and rebooting name the address in an option, renewing and rebinding in ciaddr.
  return (requested ?? ipv4At(request, 12)) === own ? Kind.ACK : Kind.NAK;
}

function readOptions(message: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED_BYTES; at < message.length;) {
    const code = message[at]!;
    if (code === Option.END) break;
    if (code === Option.PAD) {
      at++;
      continue;
    }
    const length = message[at + 1] ?? 0;
    if (at + 2 + length > message.length) break;
    if (!options.has(code)) options.set(code, message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}
function addressIn(options: Map<number, Uint8Array>, code: number): Ipv4 | undefined {
  const value = options.get(code);
  return value?.length === 4 ? ipv4At(value, 0) : undefined;
}

function writeReply(
  request: Uint8Array,
  kind: number,
  network: DhcpNetwork,
  { ipv4, hostname }: { readonly ipv4: Ipv4; readonly hostname: string | undefined },
): Uint8Array {
  const options: number[] = [Option.KIND, 1, kind, Option.SERVER, 4, ...u32(network.gateway)];
  const isInform =
    kind === Kind.ACK && ipv4At(request, 12) !== 0 && readOptions(request).get(Option.KIND)?.[0] === Kind.INFORM;
  if (kind !== Kind.NAK) {
    const mask = maskOf(network.prefix);
    if (!isInform) {
      options.push(Option.LEASE, 4, ...u32(LEASE_SECONDS), Option.T1, 4, ...u32(LEASE_SECONDS / 2));
      options.push(Option.T2, 4, ...u32((LEASE_SECONDS / 8) * 7));
    }
    options.push(Option.MASK, 4, ...u32(mask), Option.BROADCAST, 4, ...u32((ipv4 | ~mask) >>> 0));
    options.push(Option.ROUTER, 4, ...u32(network.gateway), Option.DNS, 4, ...u32(network.dns));
    options.push(Option.MTU, 2, network.mtuBytes >>> 8, network.mtuBytes & 255);
    if (hostname !== undefined) options.push(...text(Option.HOSTNAME, hostname));
    if (network.domain !== undefined) options.push(...text(Option.DOMAIN, network.domain));
  }
  options.push(Option.END);
  const message = new Uint8Array(Math.max(MIN_BYTES, FIXED_BYTES + options.length));
  message.set([2, 1, 6, 0]);
  message.set(request.subarray(4, 8), 4);
  putU16(message, 10, u16At(request, 10));
  if (kind !== Kind.NAK) {
    message.set(request.subarray(12, 16), 12);
    if (!isInform) putIpv4(message, 16, ipv4);
  }
  message.set(request.subarray(24, 28), 24);
  message.set(request.subarray(28, 44), 28);
  putIpv4(message, 236, MAGIC);
  message.set(options, FIXED_BYTES);
  return message;
}
function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}
function text(code: number, value: string): number[] {
  const bytes = Buffer.from(value, "latin1").subarray(0, 255);
  return [code, bytes.length, ...bytes];
}
