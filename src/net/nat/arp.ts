/* ARP: who has the gateway's and the name server's address, and what guests say of themselves. @source RFC 826, RFC 5227 (probes). I/O thread. */
import { type Ipv4, type Mac, ipv4At, macAt } from "../address.ts";
import type { Guests } from "./guests.ts";
import { ETHERNET_BYTES, u16At } from "./ipv4.ts";
import type { Link } from "./link.ts";

const REQUEST = 1;
/** Ethernet, IPv4, lengths 6 and 4. */
const KIND = [0, 1, 8, 0, 6, 4];

/** Takes an ARP frame. @param own the addresses to answer for */
export function receiveArp(bytes: Uint8Array, own: readonly Ipv4[], guests: Guests, link: Link): void {
  if (bytes.length < ETHERNET_BYTES + 28 || KIND.some((byte, index) => bytes[ETHERNET_BYTES + index] !== byte)) return;
  const senderMac: Mac = macAt(bytes, ETHERNET_BYTES + 8);
  const sender = ipv4At(bytes, ETHERNET_BYTES + 14);
  const target = ipv4At(bytes, ETHERNET_BYTES + 24);
  if (macAt(bytes, 6) !== senderMac) return;
  const guest = guests.at(sender);
  // A probe (sender 0) asks whether an address is free before anybody has it.
  if (guest !== undefined ? !guest.hear(senderMac) : sender !== 0) return;
  if (u16At(bytes, ETHERNET_BYTES + 6) === REQUEST && own.includes(target))
    link.sendArp(2, target, { mac: senderMac, ipv4: sender });
}
