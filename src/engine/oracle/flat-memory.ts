/* Linear memory of the oracle: a few mapped ranges and nothing else, with the faults that paging would give. No page tables: the oracle
 * is for instructions, not for the memory unit. @source SDM vol. 3A §4.7 (page-fault error code), vol. 1 §3.3.7.1 (canonical)
 */
import { GuestFault, Vector } from "../../isa/cpu.ts";

export interface Region {
  /** Linear address, a multiple of the page size. */
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly writable: boolean;
}

const PAGE = 4096n;
const ErrorCode = { PRESENT: 1, WRITE: 2, USER: 4 } as const;

export const isCanonical = (address: bigint): boolean => BigInt.asIntN(48, address) === BigInt.asIntN(64, address);

export class FlatMemory {
  readonly #regions: readonly { start: number; end: number; view: DataView; writable: boolean }[];

  constructor(regions: readonly Region[]) {
    this.#regions = regions.map(({ start, bytes, writable }) => ({
      start,
      end: start + bytes.length,
      writable,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    }));
  }

  #find(address: bigint) {
    const at = Number(address);
    return this.#regions.find((r) => at >= r.start && at < r.end);
  }

  /** Throws the fault that an access to [address, +size) would cause.
   *  @param notCanonical the exception for an address that is not canonical: Vector.GP, or Vector.SS for the stack */
  check(address: bigint, size: number, write: boolean, user: boolean, notCanonical: number = Vector.GP): void {
    const last = address + BigInt(size - 1);
    if (!isCanonical(address) || !isCanonical(BigInt.asUintN(64, last))) throw new GuestFault(notCanonical, 0);
    for (let at = address; at <= last; at = (at & ~(PAGE - 1n)) + PAGE) {
      const region = this.#find(at);
      if (region && (region.writable || !write)) continue;
      throw new GuestFault(
        Vector.PF,
        (region ? ErrorCode.PRESENT : 0) | (write ? ErrorCode.WRITE : 0) | (user ? ErrorCode.USER : 0),
        at,
      );
    }
  }

  /** After check. @param size 1–8 */
  read(address: bigint, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) {
      const at = address + BigInt(i);
      const region = this.#find(at)!;
      value = (value << 8n) | BigInt(region.view.getUint8(Number(at) - region.start));
    }
    return value;
  }

  /** After check. */
  write(address: bigint, size: number, value: bigint): void {
    for (let i = 0; i < size; i++) {
      const at = address + BigInt(i);
      const region = this.#find(at)!;
      region.view.setUint8(Number(at) - region.start, Number((value >> BigInt(8 * i)) & 0xffn));
    }
  }
}
