/* For tests: TCP packets as a guest's driver hands them over, and a check of finished ones that shares nothing with src/net/offload.ts. */
import type { Packet } from "./packet.ts";

export interface TcpFields {
  readonly version: 4 | 6;
  /** Payload bytes. */
  readonly payload: number;
  readonly sizeBytes: number;
  /** Bytes of TCP options, a multiple of 4. */
  readonly options?: number;
  readonly tagged?: boolean;
  readonly sequence?: number;
  readonly id?: number;
  /** IPv6: a destination options header in between. */
  readonly extension?: boolean;
}

/** ACK, PSH, FIN and CWR; from 10.0.0.1 (fd00::1) to 10.0.0.2 (fd00::2). */
export function tcpPacket(fields: TcpFields): { packet: Packet; tcp: number; payloadAt: number } {
  const { version, payload, sizeBytes, options = 0, tagged = false, sequence = 1, id = 0 } = fields;
  const extension = version === 6 && fields.extension === true ? 8 : 0;
  const ip = tagged ? 18 : 14;
  const tcp = ip + (version === 4 ? 20 : 40 + extension);
  const payloadAt = tcp + 20 + options;
  const bytes = new Uint8Array(payloadAt + payload);
  const view = new DataView(bytes.buffer);
  bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
  if (tagged) view.setUint32(12, 0x8100_0007);
  view.setUint16(ip - 2, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0xab, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2], ip);
    view.setUint16(ip + 2, Math.min(0xffff, bytes.length - ip));
    view.setUint16(ip + 4, id);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, extension > 0 ? 60 : 6, 64, 0xfd], ip);
    view.setUint16(ip + 4, bytes.length - ip - 40);
    bytes[ip + 23] = 1;
    bytes[ip + 24] = 0xfd;
    bytes[ip + 39] = 2;
    if (extension > 0) bytes.set([6, 0, 1, 4, 0, 0, 0, 0], ip + 40);
  }
  view.setUint32(tcp + 4, sequence);
  bytes[tcp + 12] = ((20 + options) / 4) << 4;
  bytes[tcp + 13] = 0x80 | 0x10 | 0x09;
  bytes.fill(1, tcp + 20, payloadAt);
  for (let n = 0; n < payload; n++) bytes[payloadAt + n] = n * 13 + (n >> 8);
  view.setUint16(tcp + 16, sum(pseudoHeader(bytes, ip, version, bytes.length - tcp)));
  const protocol = version === 4 ? "tcp4" : "tcp6";
  return {
    packet: { bytes, checksum: { start: tcp, offset: 16 }, segment: { protocol, sizeBytes } },
    tcp,
    payloadAt,
  };
}

/** Are the lengths and sums of a finished packet right? */
export function isRight(bytes: Uint8Array, fields: TcpFields): boolean {
  const ip = fields.tagged === true ? 18 : 14;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tcp = ip + (fields.version === 4 ? 20 : fields.extension === true ? 48 : 40);
  const length = fields.version === 4 ? view.getUint16(ip + 2) : view.getUint16(ip + 4) + 40;
  if (length !== bytes.length - ip) return false;
  if (fields.version === 4 && sum([...bytes.subarray(ip, tcp)]) !== 0xffff) return false;
  const pseudo = pseudoHeader(bytes, ip, fields.version, bytes.length - tcp);
  return sum([...pseudo, ...bytes.subarray(tcp)]) === 0xffff;
}

function pseudoHeader(bytes: Uint8Array, ip: number, version: 4 | 6, length: number): number[] {
  const addresses = version === 4 ? bytes.subarray(ip + 12, ip + 20) : bytes.subarray(ip + 8, ip + 40);
  return [...addresses, 0, 6, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255];
}
function sum(bytes: readonly number[]): number {
  let total = 0;
  for (let n = 0; n < bytes.length; n += 2) {
    total += (bytes[n]! << 8) + (bytes[n + 1] ?? 0);
    if (total > 0xffff) total -= 0xffff;
  }
  return total;
}
