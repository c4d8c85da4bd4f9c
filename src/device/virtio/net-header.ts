/* The header before each packet of a virtio network device: what the driver says is checked here, once. @source virtio 1.2 §5.1.3, §5.1.6
 * Leaves out: UDP fragmentation and segmentation offload (Linux 6.1 makes no use of the first and does not know the second), ECN with TSO, hash reports.
 *
 *   struct virtio_net_hdr   +0 u8 flags   +1 u8 gso_type   +2 u16 hdr_len   +4 u16 gso_size   +6 u16 csum_start   +8 u16 csum_offset   +10 u16 num_buffers
 */
import { releaser } from "./packet-buffers.ts";
import { MAX_PACKET_BYTES, type Offloads, type Packet } from "./packet.ts";

/** @source virtio 1.2 §5.1.3 */
export const NetFeature = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
} as const;

export const NET_HEADER_BYTES = 12;
export const ETHERNET_HEADER_BYTES = 14;
const VLAN_TAG_BYTES = 4;
const NEEDS_CSUM = 1;
/** What Linux allows at least (TCP_MIN_GSO_SIZE): a size of 1 would make 65,000 segments of one packet. */
export const MIN_SEGMENT_BYTES = 8;
const GSO = { NONE: 0, TCPV4: 1, TCPV6: 4 } as const;

/** What the driver that sends has negotiated, and the device's MTU. */
export interface SendRules {
  readonly offloads: Offloads;
  readonly mtu: number;
}

/** Checks a header of the driver's against its frame. @param header NET_HEADER_BYTES  @param bytes the frame, of any length; its own
 *  @returns undefined if the driver lies or does what it did not negotiate: the frame is then lost */
export function readNetHeader(header: DataView, bytes: Uint8Array, rules: SendRules): Packet | undefined {
  const length = bytes.length;
  if (length < ETHERNET_HEADER_BYTES || length > MAX_PACKET_BYTES) return undefined;
  const gsoType = header.getUint8(1);
  const release = releaser(bytes);
  if ((header.getUint8(0) & NEEDS_CSUM) === 0) {
    const fits = length <= ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES + rules.mtu;
    return gsoType === GSO.NONE && fits ? { bytes, release } : undefined;
  }
  const start = header.getUint16(6, true);
  const offset = header.getUint16(8, true);
  if (!rules.offloads.checksum || start < ETHERNET_HEADER_BYTES || start + offset + 2 > length) return undefined;
  const checksum = { start, offset };
  if (gsoType === GSO.NONE)
    return length <= ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES + rules.mtu ? { bytes, checksum, release } : undefined;
  const sizeBytes = header.getUint16(4, true);
  if (sizeBytes < MIN_SEGMENT_BYTES) return undefined;
  if (gsoType === GSO.TCPV4 && rules.offloads.tcp4)
    return { bytes, checksum, segment: { protocol: "tcp4", sizeBytes }, release };
  if (gsoType === GSO.TCPV6 && rules.offloads.tcp6)
    return { bytes, checksum, segment: { protocol: "tcp6", sizeBytes }, release };
  return undefined;
}

/** Writes the header of a packet for the driver, or for the kernel's TAP. @param header NET_HEADER_BYTES */
export function writeNetHeader(header: DataView, { bytes, checksum, segment }: Packet, buffers: number): void {
  header.setUint8(0, checksum === undefined ? 0 : NEEDS_CSUM);
  header.setUint8(1, segment === undefined ? GSO.NONE : segment.protocol === "tcp4" ? GSO.TCPV4 : GSO.TCPV6);
  header.setUint16(2, segment === undefined ? 0 : tcpHeaderEnd(bytes, checksum!.start), true);
  header.setUint16(4, segment?.sizeBytes ?? 0, true);
  header.setUint16(6, checksum?.start ?? 0, true);
  header.setUint16(8, checksum?.offset ?? 0, true);
  header.setUint16(10, buffers, true);
}

/** Where the payload begins: the driver's hint of how much to look at. */
function tcpHeaderEnd(bytes: Uint8Array, tcp: number): number {
  return Math.min(bytes.length, tcp + ((bytes[tcp + 12] ?? 0) >> 4) * 4);
}
