/* Segment descriptors in the GDT and LDT, as 64-bit mode sees them. @source SDM vol. 3A §3.4.5, §3.5, §5.2.1
 *
 *   63…56       55 54  53 52   51…48        47 46…45 44 43…40   39…16        15…0
 *   base 31–24  G  D/B L  AVL  limit 19–16  P  DPL   S  type    base 23–0    limit 15–0
 *   System descriptors (LDT, TSS) have 8 bytes more: base 63–32, then 4 bytes that must be zero in bits 12–8.
 */
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import type { Segment } from "../register-file.ts";
import { Reg, SegmentIndex } from "../registers.ts";

/** Segment attributes (RegisterFile.segment) of the flat segments that SYSCALL and SYSRET load. */
export const Attributes = {
  CODE64_KERNEL: 0xa09b,
  DATA_KERNEL: 0xc093,
  CODE64_USER: 0xa0fb,
  DATA_USER: 0xc0f3,
  TSS64_BUSY: 0x8b,
} as const;
/** Types of system descriptors in 64-bit mode. */
export const SystemType = {
  LDT: 2,
  TSS_AVAILABLE: 9,
  TSS_BUSY: 11,
  CALL_GATE: 12,
  INTERRUPT_GATE: 14,
  TRAP_GATE: 15,
} as const;

export class Descriptor {
  readonly low: number;
  readonly high: number;
  /** Linear address of the descriptor. */
  readonly address: bigint;

  constructor(value: bigint, address: bigint) {
    this.low = Number(value & 0xffff_ffffn);
    this.high = Number(value >> 32n);
    this.address = address;
  }
  get type(): number {
    return (this.high >> 8) & 15;
  }
  get isSystem(): boolean {
    return (this.high & 0x1000) === 0;
  }
  get dpl(): number {
    return (this.high >> 13) & 3;
  }
  get present(): boolean {
    return (this.high & 0x8000) !== 0;
  }
  get isCode(): boolean {
    return (this.high & 0x1800) === 0x1800;
  }
  get isConforming(): boolean {
    return this.isCode && (this.high & 0x400) !== 0;
  }
  /** Data, or code that may be read. */
  get isReadable(): boolean {
    return !this.isSystem && (!this.isCode || (this.high & 0x200) !== 0);
  }
  get isWritable(): boolean {
    return !this.isSystem && !this.isCode && (this.high & 0x200) !== 0;
  }
  /** Code for 64-bit mode: L = 1 and D = 0. */
  get isLong(): boolean {
    return (this.high & 0x60_0000) === 0x20_0000;
  }
  /** Limit in bytes, granularity applied. */
  get limit(): number {
    const limit = (this.low & 0xffff) | (this.high & 0xf_0000);
    return this.high & 0x80_0000 ? ((limit << 12) | 0xfff) >>> 0 : limit;
  }
  get base(): number {
    return ((this.low >>> 16) | ((this.high & 0xff) << 16) | (this.high & 0xff00_0000)) >>> 0;
  }
  segment(selector: number): Segment {
    return { selector, attributes: (this.high >>> 8) & 0xf0ff, limit: this.limit, base: BigInt(this.base) };
  }
}

/** @returns the linear address of the descriptor, or undefined if [it, +size) is outside its table */
function locate(cpu: Cpu, selector: number, size: number): bigint | undefined {
  const offset = selector & 0xfff8;
  if (selector & 4) {
    const ldt = cpu.regs.segment(SegmentIndex.LDTR);
    return ldt.attributes === 0 || offset + size - 1 > ldt.limit
      ? undefined
      : BigInt.asUintN(64, ldt.base + BigInt(offset));
  }
  if (offset + size - 1 > cpu.regs.get32(Reg.GDTR_LIMIT)) return undefined;
  return BigInt.asUintN(64, cpu.regs.get64(Reg.GDTR_BASE) + BigInt(offset));
}

/** The descriptor of a selector (not null), or undefined if it is outside its table. May throw #PF. */
export function findDescriptor(cpu: Cpu, selector: number): Descriptor | undefined {
  const address = locate(cpu, selector, 8);
  return address === undefined ? undefined : new Descriptor(cpu.read(address, 8, "system"), address);
}

export function selectorFault(vector: number, selector: number): GuestFault {
  return new GuestFault(vector, selector & 0xfffc);
}

/** The descriptor of a selector; outside its table: #GP(selector), or the vector given. */
export function readDescriptor(cpu: Cpu, selector: number, vector: number = Vector.GP): Descriptor {
  const descriptor = findDescriptor(cpu, selector);
  if (descriptor === undefined) throw selectorFault(vector, selector);
  return descriptor;
}

/** Base and upper half of a 16-byte system descriptor that readDescriptor has found. #GP(selector) if it is cut off, malformed or not canonical. */
export function systemBase(cpu: Cpu, selector: number, descriptor: Descriptor): bigint {
  if (locate(cpu, selector, 16) === undefined) throw selectorFault(Vector.GP, selector);
  const upper = cpu.read(BigInt.asUintN(64, descriptor.address + 8n), 8, "system");
  const base = ((upper & 0xffff_ffffn) << 32n) | BigInt(descriptor.base);
  if ((upper & 0x1f00_0000_0000n) !== 0n || BigInt.asIntN(64, base) !== BigInt.asIntN(48, base))
    throw selectorFault(Vector.GP, selector);
  return base;
}

/** Sets the accessed bit in memory. Last of the checks: it may throw #PF. Written only when clear, because systems keep their GDT read-only. */
export function markAccessed(cpu: Cpu, descriptor: Descriptor): void {
  if ((descriptor.high & 0x100) === 0)
    cpu.write(descriptor.address + 5n, 1, BigInt(((descriptor.high >> 8) & 0xff) | 1), "system");
}

/** #GP(selector) unless code for 64-bit mode; this processor has no compatibility mode. #NP if not present. */
export function requireLongCode(descriptor: Descriptor, selector: number): void {
  if (!descriptor.isCode || !descriptor.isLong) throw selectorFault(Vector.GP, selector);
  if (!descriptor.present) throw selectorFault(Vector.NP, selector);
}
