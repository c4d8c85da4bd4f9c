/* Headers of vsock packets. @source virtio 1.2 §5.10.6
 *
 *   +0 u64 src_cid  +8 u64 dst_cid  +16 u32 src_port  +20 u32 dst_port  +24 u32 len  +28 u16 type  +30 u16 op  +32 u32 flags
 *   +36 u32 buf_alloc  +40 u32 fwd_cnt, then len bytes */

export const HEADER_BYTES = 44;
/** VIRTIO_VSOCK_TYPE_STREAM */
const TYPE_STREAM = 1;
/** The host's context identifier. @source virtio 1.2 §5.10.4 */
export const HOST_CID = 2;
/** VIRTIO_VSOCK_OP_… */
export const VsockOp = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;
/** Flags of SHUTDOWN: VIRTIO_VSOCK_SHUTDOWN_F_… */
export const VsockShutdown = { RECEIVE: 1, SEND: 2 } as const;

/** A header without what is the same in all, its ports named after the side they are on. */
export interface VsockHeader {
  readonly hostPort: number;
  readonly guestPort: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
}

/** A packet to the guest, of a stream. @param length of the data that follow */
export function encodeHeader(header: VsockHeader, guestCid: number, length: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  view.setUint32(0, HOST_CID, true);
  view.setUint32(8, guestCid, true);
  view.setUint32(16, header.hostPort, true);
  view.setUint32(20, header.guestPort, true);
  view.setUint32(24, length, true);
  view.setUint16(28, TYPE_STREAM, true);
  view.setUint16(30, header.op, true);
  view.setUint32(32, header.flags, true);
  view.setUint32(36, header.bufAlloc, true);
  view.setUint32(40, header.fwdCnt, true);
  return new Uint8Array(view.buffer);
}

/** A packet from the guest; nothing in it is checked yet. @param bytes HEADER_BYTES of them */
export function decodeHeader(
  bytes: Uint8Array,
): VsockHeader & { sourceCid: number; destinationCid: number; length: number; isStream: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  return {
    sourceCid: Number(view.getBigUint64(0, true)),
    destinationCid: Number(view.getBigUint64(8, true)),
    guestPort: view.getUint32(16, true),
    hostPort: view.getUint32(20, true),
    length: view.getUint32(24, true),
    isStream: view.getUint16(28, true) === TYPE_STREAM,
    op: view.getUint16(30, true),
    flags: view.getUint32(32, true),
    bufAlloc: view.getUint32(36, true),
    fwdCnt: view.getUint32(40, true),
  };
}
