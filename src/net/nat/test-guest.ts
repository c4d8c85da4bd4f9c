/* For tests: a guest that plays frames by hand. Its packets are written and read with the gateway's own functions; that these speak the protocols right is
 * shown against the kernel (tests/network). */
import { GATEWAY_MAC, ISOLATED, type Ipv4, type Mac, macAt, putIpv4, putMac } from "../address.ts";
import type { Cable, Packet } from "../packet.ts";
import { checksumOf, pseudoHeaderSum, sumWords } from "./checksum.ts";
import { Gateway, type GatewayOptions } from "./gateway.ts";
import { ETHERNET_BYTES, IpProtocol, Ipv4Packet, PAYLOAD_START, putHeaders, putU16, u16At } from "./ipv4.ts";
import { Flag, TCP_BYTES, type TcpFields, TcpSegment, putTcp } from "./tcp-segment.ts";
import { type Datagram, readUdp } from "./udp.ts";

export const GUEST_MAC: Mac = 0x0212_3456_789a;

/** A packet that the gateway sent, taken apart. */
export interface Received {
  readonly packet: Packet;
  /** undefined: ARP */
  readonly ip: Ipv4Packet | undefined;
  readonly tcp: TcpSegment | undefined;
  readonly udp: Datagram | undefined;
  /** Type and code. */
  readonly icmp: readonly [number, number] | undefined;
}

export class TestGuest {
  readonly gateway: Gateway;
  readonly received: Received[] = [];
  /** The cable refuses frames while this is false. */
  hasRoom = true;
  readonly cable: Cable;
  #wakers: (() => void)[] = [];

  constructor(options: Partial<GatewayOptions> = {}) {
    this.cable = {
      send: (packet) => {
        if (!this.hasRoom) return false;
        this.received.push(takeApart(packet));
        for (const wake of this.#wakers.splice(0)) wake();
        return true;
      },
      hasRoom: () => {},
      onRoom: undefined,
      close: () => {},
    };
    const guests = [{ ipv4: ISOLATED.guest, mac: GUEST_MAC, hostname: "box" }];
    this.gateway = new Gateway({ cable: this.cable, ...ISOLATED, guests, nameServers: ["127.0.0.1:9"], ...options });
  }

  /** Waits for a packet that was not taken yet, and takes it. */
  async take(wanted: (received: Received) => boolean): Promise<Received> {
    for (;;) {
      const index = this.received.findIndex(wanted);
      if (index >= 0) return this.received.splice(index, 1)[0]!;
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
  }
  send(frame: Uint8Array, isPartial = false): void {
    this.gateway.receive(
      isPartial ? { bytes: frame, checksum: { start: PAYLOAD_START, offset: 6 } } : { bytes: frame },
    );
  }
  sendIp(
    destination: Ipv4,
    protocol: number,
    payload: Uint8Array,
    change: (frame: Uint8Array) => void = () => {},
  ): void {
    const frame = new Uint8Array(PAYLOAD_START + payload.length);
    putHeaders(frame, {
      sourceMac: GUEST_MAC,
      destinationMac: GATEWAY_MAC,
      source: ISOLATED.guest,
      destination,
      protocol,
      identification: 77,
    });
    frame.set(payload, PAYLOAD_START);
    change(frame);
    this.send(frame);
  }
  sendUdp(destination: Ipv4, sourcePort: number, destinationPort: number, data: Uint8Array): void {
    const payload = new Uint8Array(8 + data.length);
    putU16(payload, 0, sourcePort);
    putU16(payload, 2, destinationPort);
    putU16(payload, 4, payload.length);
    payload.set(data, 8);
    const sum = pseudoHeaderSum(ISOLATED.guest, destination, IpProtocol.UDP, payload.length);
    putU16(payload, 6, checksumOf(sumWords(payload, 0, payload.length, sum)) || 0xffff);
    this.sendIp(destination, IpProtocol.UDP, payload);
  }
  sendTcp(destination: Ipv4, fields: Partial<TcpFields>, data: Uint8Array = new Uint8Array(0)): void {
    const payload = new Uint8Array(TCP_BYTES + data.length);
    const all = { sourcePort: 1000, destinationPort: 80, seq: 0, ack: 0, flags: Flag.ACK, window: 65_535, ...fields };
    putTcp(payload, 0, { ...all, options: undefined }, 0);
    payload.set(data, TCP_BYTES);
    const sum = pseudoHeaderSum(ISOLATED.guest, destination, IpProtocol.TCP, payload.length);
    putU16(payload, 16, checksumOf(sumWords(payload, 0, payload.length, sum)));
    this.sendIp(destination, IpProtocol.TCP, payload);
  }
  sendArp(sender: Ipv4, target: Ipv4, senderMac: Mac = GUEST_MAC): void {
    const frame = new Uint8Array(ETHERNET_BYTES + 28);
    putMac(frame, 0, 0xffff_ffff_ffff);
    putMac(frame, 6, senderMac);
    putU16(frame, 12, 0x0806);
    frame.set([0, 1, 8, 0, 6, 4, 0, 1], ETHERNET_BYTES);
    putMac(frame, ETHERNET_BYTES + 8, senderMac);
    putIpv4(frame, ETHERNET_BYTES + 14, sender);
    putIpv4(frame, ETHERNET_BYTES + 24, target);
    this.send(frame);
  }
}

/** Waits until something is so, which needs only turns of the event loop. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

export function ping(length = 8): Uint8Array {
  const message = Uint8Array.from({ length }, (_, index) => (index < 8 ? 0 : index));
  message[0] = 8;
  putU16(message, 2, checksumOf(sumWords(message, 0, length)));
  return message;
}

function takeApart(packet: Packet): Received {
  const { bytes } = packet;
  const ip = new Ipv4Packet();
  const nothing = { packet, ip: undefined, tcp: undefined, udp: undefined, icmp: undefined };
  if (u16At(bytes, 12) !== 0x0800) return nothing;
  if (!ip.read(bytes, packet.checksum !== undefined)) throw new Error("the gateway sent a wrong IPv4 header");
  if (macAt(bytes, 6) !== GATEWAY_MAC) throw new Error("the gateway sent from another device");
  const tcp = new TcpSegment();
  const isTcp = ip.protocol === IpProtocol.TCP;
  if (isTcp && !tcp.read(ip)) throw new Error("the gateway sent a wrong TCP segment");
  return {
    ...nothing,
    ip,
    tcp: isTcp ? tcp : undefined,
    udp: ip.protocol === IpProtocol.UDP && ip.fragmentOffset === 0 ? readUdp(ip) : undefined,
    icmp: ip.protocol === IpProtocol.ICMP ? [bytes[ip.start]!, bytes[ip.start + 1]!] : undefined,
  };
}
