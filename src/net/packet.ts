/* What travels between network devices, the switch, the gateway and TAP devices: see src/device/virtio/packet.ts, which a device may import. */
export { BUFFER_BYTES, releaser, takeBytes } from "../device/virtio/packet-buffers.ts";
export { MIN_SEGMENT_BYTES } from "../device/virtio/net-header.ts";
export { MAX_PACKET_BYTES } from "../device/virtio/packet.ts";
export type { Cable, NetworkEndpoint, Offloads, Packet } from "../device/virtio/packet.ts";
