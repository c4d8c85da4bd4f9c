/* Checksums of what the gateway reads and writes. @source RFC 1071, RFC 9293 §3.1 (pseudo header). */
import type { Ipv4 } from "../address.ts";
import { foldSum, sumBytes } from "../checksum.ts";

/** Adds the 16-bit big-endian words of bytes[start, end), the last one filled up with zero. @param initial a sum to go on from  @returns folded to 16 bits */
export function sumWords(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  return foldSum(sumBytes(bytes, start, end, initial));
}

/** @param lengthBytes of header and payload of the protocol */
export function pseudoHeaderSum(source: Ipv4, destination: Ipv4, protocol: number, lengthBytes: number): number {
  return foldSum(
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + lengthBytes,
  );
}

/** The field's value for a sum: its complement. */
export function checksumOf(sum: number): number {
  return ~sum & 0xffff;
}
