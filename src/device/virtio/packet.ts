/* What travels between network devices and the switch: Ethernet frames that may be larger than the MTU, with checksums that may be left to do, as virtio-net
 * hands them over; and the two ends of a cable. It lies here because the device is below src/net, which exports it again (src/net/packet.ts).
 * @source virtio 1.2 §5.1.6 (struct virtio_net_hdr). I/O thread. */

/** Ethernet header, and the largest IPv4 packet behind it (an IPv6 packet may have 40 bytes more; Linux sends none). */
export const MAX_PACKET_BYTES: number = 14 + 65_535;

/** One frame. Nobody writes to its bytes after send(): a flooded frame has several receivers, and they may keep views on it. */
export interface Packet {
  /** Destination, source, EtherType, payload; no frame check sequence. Contiguous, not in shared memory, 14 to MAX_PACKET_BYTES bytes. */
  readonly bytes: Uint8Array;
  /** Where a checksum is missing: sum from `start` to the end of `bytes`, result at `start + offset` (the pseudo header's sum is already there);
   *  undefined: all checksums are right. Both bytes of the result lie within `bytes`. */
  readonly checksum?: { readonly start: number; readonly offset: number } | undefined;
  /** To be cut into TCP segments of so many payload bytes (more than 0) before it leaves for a network with a smaller MTU; undefined: fits as it is.
   *  Such a packet has `checksum` too. */
  readonly segment?: { readonly protocol: "tcp4" | "tcp6"; readonly sizeBytes: number } | undefined;
  /** Gives the memory of `bytes` back for other packets (packet-buffers.ts). Whoever has the packet and keeps no view on its bytes may call it; nobody need, since what
   *  is not released is garbage like any other. Undefined where there is nothing to gain, or several have the packet. */
  readonly release?: (() => void) | undefined;
}

/** What a receiver can take; what it cannot is finished in software before it gets the frame. */
export interface Offloads {
  /** Packets with `checksum`. */
  readonly checksum: boolean;
  /** Packets with `segment`. */
  readonly tcp4: boolean;
  readonly tcp6: boolean;
}

/** Whatever hangs on a cable of the switch: a VM's network device, the NAT's gateway, a TAP device. */
export interface NetworkEndpoint {
  /** May change while it runs (a driver negotiates it); undefined: everything. */
  readonly offloads?: Offloads | undefined;
  /** Takes a frame that came over the cable; may send an answer before it returns. Never throws on what is in it.
   *  @returns false if there was no room and the frame was not taken: Cable.hasRoom() says when to try again */
  receive(packet: Packet): boolean;
}

/** An endpoint's way into the network. */
export interface Cable {
  /** @returns true: the frame was taken (or lost, as frames may be); false: its receiver has no room, and the sender may keep it and send it again when
   *  onRoom is called. Two guests never wait for each other: false comes only where the gateway or another trusted endpoint is one of the two. */
  send(packet: Packet): boolean;
  /** The endpoint on this cable has room again, after its receive() said false. */
  hasRoom(): void;
  /** Set by the endpoint that sends: a receiver that had no room has some again. May come without need. */
  onRoom: (() => void) | undefined;
  /** Pulls the cable: nothing is sent or received afterwards. */
  close(): void;
}
