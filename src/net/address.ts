/* MAC and IPv4 addresses: read from text and frames, written, and given to VMs. An address is a number: a MAC of 48 bits, an IPv4 address of 32, both in
 * network order, so that they compare and are keys of maps. @source RFC 4632 (CIDR), RFC 7042 §2.1 (locally administered MACs). Leaves out: IPv6. */
import { createHash } from "node:crypto";

/** 48 bits. */
export type Mac = number;
/** 32 bits, unsigned. */
export type Ipv4 = number;

export const BROADCAST_MAC: Mac = 0xffff_ffff_ffff;
/** The gateway's on every segment: locally administered, and never a VM's, whose first byte is 02. */
export const GATEWAY_MAC: Mac = 0x064d_4552_4501;
const VM_MAC_PREFIX = 0x0200_0000_0000;
const TWO32 = 0x1_0000_0000;

/** What a VM on a segment of its own is told: the same in each, since none sees another's; known from QEMU's user network. */
export const ISOLATED: { readonly network: Cidr; readonly guest: Ipv4; readonly gateway: Ipv4; readonly dns: Ipv4 } = {
  network: { base: 0x0a00_0200, prefix: 24 },
  guest: 0x0a00_020f,
  gateway: 0x0a00_0202,
  dns: 0x0a00_0203,
};

/** The addresses whose first `prefix` bits are those of `base`, whose other bits are zero. */
export interface Cidr {
  readonly base: Ipv4;
  /** 0–32 */
  readonly prefix: number;
}

export type AddressErrorCode = "bad-network" | "exhausted" | "taken";

/** An address cannot be given. The message says what to do. */
export class AddressError extends Error {
  readonly code: AddressErrorCode;
  constructor(code: AddressErrorCode, message: string) {
    super(message);
    this.name = "AddressError";
    this.code = code;
  }
}

// ── text ──

/** @param text four decimal numbers without leading zeros (which some programs read as octal) @returns undefined if it is not an address */
export function parseIpv4(text: string): Ipv4 | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}
export function formatIpv4(address: Ipv4): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** @param text an address, alone (prefix 32) or with "/prefix"; bits behind the prefix are cleared @returns undefined if it is neither */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = parseIpv4(slash < 0 ? text : text.slice(0, slash));
  const prefixText = slash < 0 ? "32" : text.slice(slash + 1);
  if (address === undefined || !/^(0|[1-9][0-9]?)$/.test(prefixText) || Number(prefixText) > 32) return undefined;
  const prefix = Number(prefixText);
  return { base: (address & maskOf(prefix)) >>> 0, prefix };
}
export function formatCidr({ base, prefix }: Cidr): string {
  return `${formatIpv4(base)}/${prefix}`;
}
export function cidrContains({ base, prefix }: Cidr, address: Ipv4): boolean {
  return (address & maskOf(prefix)) >>> 0 === base;
}
/** The last address of a network: its broadcast address where the prefix is at most 30. */
export function lastOf({ base, prefix }: Cidr): Ipv4 {
  return (base | ~maskOf(prefix)) >>> 0;
}
/** Netmask of a prefix. @returns 32 bits, unsigned */
export function maskOf(prefix: number): number {
  // A shift by 32 is a shift by 0.
  return prefix === 0 ? 0 : (~0 << (32 - prefix)) >>> 0;
}

/** @param text six bytes in hexadecimal, joined by ":" or "-" @returns undefined if it is not an address */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$|^[0-9a-f]{2}(-[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Number.parseInt(text.replaceAll(/[:-]/g, ""), 16);
}
export function formatMac(mac: Mac): string {
  return mac.toString(16).padStart(12, "0").match(/../g)!.join(":");
}
/** Broadcast is multicast too. */
export function isMulticastMac(mac: Mac): boolean {
  return (Math.floor(mac / 0x100_0000_0000) & 1) !== 0;
}

// ── frames: the caller has checked that the bytes are there ──

export function macAt(bytes: Uint8Array, offset: number): Mac {
  return ((bytes[offset]! << 8) | bytes[offset + 1]!) * TWO32 + ipv4At(bytes, offset + 2);
}
export function putMac(bytes: Uint8Array, offset: number, mac: Mac): void {
  const high = Math.floor(mac / TWO32);
  bytes[offset] = high >>> 8;
  bytes[offset + 1] = high;
  putIpv4(bytes, offset + 2, mac % TWO32);
}
export function ipv4At(bytes: Uint8Array, offset: number): Ipv4 {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0;
}
export function putIpv4(bytes: Uint8Array, offset: number, address: Ipv4): void {
  bytes[offset] = address >>> 24;
  bytes[offset + 1] = address >>> 16;
  bytes[offset + 2] = address >>> 8;
  bytes[offset + 3] = address;
}

// ── giving ──

/** A VM's MAC, made of its identifier: the same at each start, and different between VMs but for one chance in 2^40.
 *  @param interfaceIndex a VM with several devices counts them */
export function macOf(vmId: string, interfaceIndex = 0): Mac {
  const hash = createHash("sha256").update(`${interfaceIndex} ${vmId}`).digest();
  return VM_MAC_PREFIX + hash.readUIntBE(0, 5);
}

/** The addresses of a named network: first the gateway's and the name server's, then one for each VM, the lowest free one first, so that a VM that left
 *  makes room. Holds only what was given. */
export class AddressPool {
  readonly network: Cidr;
  readonly gateway: Ipv4;
  readonly dns: Ipv4;
  readonly #taken = new Set<Ipv4>();
  #lowest: Ipv4;

  /** @param network with room for a gateway, a name server and a VM. @throws AddressError "bad-network" */
  constructor(network: Cidr) {
    if (network.prefix < 8 || network.prefix > 29)
      throw new AddressError(
        "bad-network",
        `${formatCidr(network)} is no network for VMs: give one with a prefix from /8 to /29.`,
      );
    this.network = network;
    this.gateway = network.base + 1;
    this.dns = network.base + 2;
    this.#lowest = network.base + 3;
  }

  /** The lowest free address. @throws AddressError "exhausted" */
  allocate(): Ipv4 {
    const end = lastOf(this.network);
    while (this.#lowest < end && this.#taken.has(this.#lowest)) this.#lowest++;
    if (this.#lowest >= end)
      throw new AddressError(
        "exhausted",
        `All addresses of ${formatCidr(this.network)} are taken: stop a VM of this network, or use a larger one.`,
      );
    this.#taken.add(this.#lowest);
    return this.#lowest++;
  }
  /** This address, for a VM that asks for it. @throws AddressError "taken": in use, not of this network, or not for VMs */
  reserve(address: Ipv4): void {
    const free = address > this.dns && address < lastOf(this.network) && !this.#taken.has(address);
    if (!free)
      throw new AddressError(
        "taken",
        `${formatIpv4(address)} is not free in ${formatCidr(this.network)}: leave the address out, or choose another.`,
      );
    this.#taken.add(address);
  }
  release(address: Ipv4): void {
    if (this.#taken.delete(address)) this.#lowest = Math.min(this.#lowest, address);
  }
}

/** The network of a name, if the user gives none: one of the 4096 of 10.128.0.0/9 with 2046 addresses, by the name, so that processes agree without asking. */
export function networkOf(name: string): Cidr {
  const hash = createHash("sha256").update(`network ${name}`).digest();
  return { base: (0x0a80_0000 + (hash.readUInt16BE(0) % 4096) * 2048) >>> 0, prefix: 21 };
}
