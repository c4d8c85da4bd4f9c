/* The Internet checksum. @source RFC 1071, RFC 9293 §3.1 (pseudo header). */
import type { Ipv4 } from "../address.ts";

/** Adds the 16-bit big-endian words of bytes[start, end), the last one filled up with zero. @param initial a sum to go on from  @returns folded to 16 bits */
export function sumWords(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = 0;
  let at = start;
  const pairs = start + ((end - start) & ~1);
  for (; at < pairs; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < end) sum += bytes[at]! << 8;
  return fold(sum + initial);
}

/** @param lengthBytes of header and payload of the protocol */
export function pseudoHeaderSum(source: Ipv4, destination: Ipv4, protocol: number, lengthBytes: number): number {
  return fold(
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + lengthBytes,
  );
}

/** The field's value for a sum: its complement. */
export function checksumOf(sum: number): number {
  return ~sum & 0xffff;
}

function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return sum;
}
