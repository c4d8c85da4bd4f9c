/* IN and OUT: privilege by IOPL, else by the I/O permission bitmap of the TSS. @source SDM vol. 1 §19.5 */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import { GuestFault, Vector } from "../cpu.ts";
import { SegmentIndex } from "../registers.ts";
import { ioPrivilege } from "./rflags.ts";

/** Where the 64-bit TSS holds the bitmap's offset. */
const IO_MAP_BASE = 0x66;

function requirePorts(cpu: Cpu, port: number, size: number): void {
  if (cpu.regs.cpl <= ioPrivilege(cpu.regs)) return;
  const tss = cpu.regs.segment(SegmentIndex.TR);
  if (tss.limit < IO_MAP_BASE + 1) throw new GuestFault(Vector.GP, 0);
  const map = Number(cpu.read(BigInt.asUintN(64, tss.base + BigInt(IO_MAP_BASE)), 2, "system"));
  const offset = map + (port >> 3);
  if (offset + 1 > tss.limit) throw new GuestFault(Vector.GP, 0); // two bytes are read always
  const bits = Number(cpu.read(BigInt.asUintN(64, tss.base + BigInt(offset)), 2, "system")) >> (port & 7);
  if ((bits & ((1 << size) - 1)) !== 0) throw new GuestFault(Vector.GP, 0);
}

const width = (size: bigint): 1 | 2 | 4 => (size === 1n ? 1 : size === 2n ? 2 : 4);

function portIn(cpu: Cpu, port: number, size: 1 | 2 | 4): bigint {
  requirePorts(cpu, port, size);
  return BigInt(cpu.portIn(port, size) >>> 0);
}

function portOut(cpu: Cpu, port: number, size: 1 | 2 | 4, value: bigint): void {
  requirePorts(cpu, port, size);
  cpu.portOut(port, size, Number(BigInt.asUintN(8 * size, value)));
}

export const PORT_CALLS: Record<string, CallSpec> = {
  /** The check alone, for INS and OUTS. */
  requirePort: {
    args: 2,
    result: false,
    run: (cpu, port, size) => requirePorts(cpu, Number(port! & 0xffffn), width(size!)),
  },
  portIn: { args: 2, result: true, run: (cpu, port, size) => portIn(cpu, Number(port! & 0xffffn), width(size!)) },
  portOut: {
    args: 3,
    result: false,
    run: (cpu, port, size, value) => portOut(cpu, Number(port! & 0xffffn), width(size!), value!),
  },
};
