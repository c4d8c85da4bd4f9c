/* Memory for packets' bytes. A large packet is memory outside of V8's heap that lives for some microseconds: left to the garbage collector, each 64 MiB of them cost a
 * full collection, which is a third of the I/O thread's time. So large buffers go round: whoever uses a packet last releases it. I/O thread. */

/** Below this, Node's own pool of small buffers is as good. */
const LARGE_BYTES = 8192;
/** Holds every packet (MAX_PACKET_BYTES) with a virtio-net header before it. */
export const BUFFER_BYTES = 65_664;
/** 8 MiB: what is in flight between two busy guests. */
const MAX_FREE = 128;

const free: ArrayBufferLike[] = [];

/** @param length at most BUFFER_BYTES @returns bytes of any content: the caller writes all of them */
export function takeBytes(length: number): Uint8Array {
  // Plain arrays: a Buffer's slice() would not copy.
  if (length < LARGE_BYTES) {
    const { buffer, byteOffset } = Buffer.allocUnsafe(length);
    return new Uint8Array(buffer, byteOffset, length);
  }
  return new Uint8Array(free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES).buffer, 0, length);
}

/** @param bytes from takeBytes(), or a part of them @returns what gives their memory back, once, for Packet.release; undefined if they are small */
export function releaser(bytes: Uint8Array): (() => void) | undefined {
  let buffer: ArrayBufferLike | undefined = bytes.buffer;
  if (buffer.byteLength !== BUFFER_BYTES) return undefined;
  return () => {
    if (buffer !== undefined && free.length < MAX_FREE) free.push(buffer);
    buffer = undefined;
  };
}
