/* The Internet checksum: a one's complement sum of 16-bit words. @source RFC 1071, RFC 1624 (update) */

/** Adds bytes [start, end) to a sum; an odd last byte counts as if a zero followed. @returns not folded: below 2^33 for 64 KiB */
export function sumBytes(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  let at = start;
  // Two sums of 16 words each stay small integers far longer than one.
  for (; at + 32 <= end; at += 32) {
    let high = 0;
    let low = 0;
    for (let i = at; i < at + 32; i += 2) {
      high += bytes[i]!;
      low += bytes[i + 1]!;
    }
    sum += high * 256 + low;
  }
  for (; at + 2 <= end; at += 2) sum += bytes[at]! * 256 + bytes[at + 1]!;
  return at < end ? sum + bytes[at]! * 256 : sum;
}

/** Folds a sum into 16 bits. Its complement is what stands in a packet. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return folded;
}
