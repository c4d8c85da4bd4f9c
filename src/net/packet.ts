/* What travels between network devices and the switch: Ethernet frames that may be larger than the MTU, with checksums that may be left to do, as virtio-net
 * hands them over. @source virtio 1.2 §5.1.6 (struct virtio_net_hdr). I/O thread. */

/** One frame. Its bytes belong to whoever receives it; a sender keeps no view on them. */
export interface Packet {
  /** Destination, source, EtherType, payload; no frame check sequence. Contiguous, not in shared memory, at most 65,550 bytes. */
  readonly bytes: Uint8Array;
  /** Where a checksum is missing: sum from `start` to the end of `bytes`, result at `start + offset` (the pseudo header's sum is already there);
   *  undefined: all checksums are right. */
  readonly checksum?: { readonly start: number; readonly offset: number } | undefined;
  /** To be cut into TCP (UDP) segments of so many payload bytes before it leaves for a network with a smaller MTU; undefined: fits as it is. */
  readonly segment?: { readonly protocol: "tcp4" | "tcp6" | "udp"; readonly sizeBytes: number } | undefined;
}

/** Whatever hangs on a cable of the switch: a VM's network device, the NAT's gateway, a TAP device. */
export interface NetworkEndpoint {
  /** Takes a frame that came over the cable. Never throws on what is in it.
   *  @returns false if there was no room and the frame is lost: Cable.onRoom says when to try again */
  receive(packet: Packet): boolean;
}

/** An endpoint's way into the network. */
export interface Cable {
  /** @returns false if a receiver had no room: the frame is lost for it. onRoom is then called once there is room again */
  send(packet: Packet): boolean;
  /** The endpoint on this cable has room again, after its receive() said false. */
  hasRoom(): void;
  /** Set by the endpoint that sends. */
  onRoom: (() => void) | undefined;
  close(): void;
}
