/* Canonical linear addresses: bits 63–47 all equal (4-level paging). @source SDM vol. 1 §3.3.7.1 */
import { GuestFault, Vector } from "../cpu.ts";

export function isCanonical(address: bigint): boolean {
  return BigInt.asIntN(64, address) === BigInt.asIntN(48, address);
}

/** #GP(0) unless canonical. */
export function requireCanonical(address: bigint): void {
  if (!isCanonical(address)) throw new GuestFault(Vector.GP, 0);
}
/** Is bits 63–47 one value? @param high upper half of the address */
export const isCanonicalHigh = (high: number): boolean => (high << 16) >> 16 === (high | 0);
