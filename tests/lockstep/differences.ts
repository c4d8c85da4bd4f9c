/* What two RepeatableMachines that should be in the same state differ in. Registers: all of the register file that is the guest's; flags as RFLAGS. Left out is what no
 * guest can see between instructions: PAGE_VA, the mailbox of the x87 calls, ATTENTION, and the interrupt shadow, which is dropped at different places
 * when it is over. Memory: all guest pages, byte by byte; a page that has no frame yet is zero. */
import { GPR_NAMES, Reg, Rflags } from "../../src/isa/registers.ts";
import type { RegisterFile } from "../../src/isa/register-file.ts";
import { FRAME_BYTES } from "../../src/memory/frames.ts";
import type { RepeatableMachine } from "./repeatable-machine.ts";

const ZEROS = new Uint8Array(FRAME_BYTES);
/** Places shown of one kind. */
const MOST_SHOWN = 16;

/** [start, end) of the register file that are not compared byte by byte. */
const LEFT_OUT: readonly (readonly [number, number])[] = [
  [Reg.PAGE_VA, Reg.PAGE_VA + 8],
  [Reg.ENGINE_NEAR, Reg.RIP],
  [Reg.FLAG_RESULT, Reg.RFLAGS],
  [Reg.INTERRUPT_SHADOW, Reg.INTERRUPT_SHADOW + 4],
  [Reg.ATTENTION, Reg.ATTENTION + 4],
  [Reg.X87_VALUE, Reg.WAKING],
];
const COMPARED: readonly (readonly [number, number])[] = LEFT_OUT.map(([, end], i) => [
  end,
  LEFT_OUT[i + 1]?.[0] ?? Reg.ENGINE,
]);
const ALL_COMPARED: readonly (readonly [number, number])[] = [[0, LEFT_OUT[0]![0]], ...COMPARED];

/** Offsets in ascending order, for names. */
const NAMES = Object.entries(Reg).toSorted(([, a], [, b]) => a - b);

/** Name of the 8 bytes at an offset: RAX, XMM+0x18. */
function nameOf(offset: number): string {
  if (offset < Reg.ZERO) return GPR_NAMES[offset / 8]!;
  const [name, at] = NAMES.findLast(([, start]) => start <= offset)!;
  return offset === at ? name : `${name}+0x${(offset - at).toString(16)}`;
}

const ARITHMETIC = BigInt(Rflags.OSZAPC);
/** Bits of RFLAGS that are always 1, or are while interrupts are on; and those that exist. */
const [IMAGE, MOST] = [0x202n, 0x3f_ffffn];
/** Are these RFLAGS that differ in arithmetic flags alone? Native code does not make those that nothing reads (docs/native.md "Flags"): what is in the frame of an interrupt then, and
 *  in RFLAGS when a slice ends, is older. */
function areOldFlags(a: bigint, b: bigint): boolean {
  return ((a ^ b) & ~ARITHMETIC) === 0n && (a & IMAGE) === IMAGE && a <= MOST;
}

const hex = (value: bigint | number): string => value.toString(16);

/** One line each. Empty: equal. @param oldFlags arithmetic flags may be old ones */
export function registerDifferences(a: RegisterFile, b: RegisterFile, oldFlags: boolean): string[] {
  const lines: string[] = [];
  const compared = oldFlags ? ~Rflags.OSZAPC : ~0;
  if (((a.rflags ^ b.rflags) & compared) !== 0) lines.push(`RFLAGS ${hex(a.rflags)} ${hex(b.rflags)}`);
  for (const [start, end] of ALL_COMPARED) {
    if (Buffer.compare(a.bytes.subarray(start, end), b.bytes.subarray(start, end)) === 0) continue;
    for (let at = start & ~7; at < end; at += 8) {
      if (Buffer.compare(a.bytes.subarray(at, at + 8), b.bytes.subarray(at, at + 8)) === 0) continue;
      if (oldFlags && areOldFlags(a.get64(at), b.get64(at))) continue;
      lines.push(`${nameOf(at)} ${hex(a.get64(at))} ${hex(b.get64(at))}`);
    }
  }
  return lines;
}

function pageOf(machine: RepeatableMachine, page: number): Uint8Array {
  const frame = machine.ram.map[page]!;
  return frame <= 0 ? ZEROS : machine.ram.pool.bytes.subarray(frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
}

/** One line for each 8 bytes, the first few. Empty: all of memory and of the devices is equal. @param oldFlags as in registerDifferences */
export function memoryDifferences(a: RepeatableMachine, b: RepeatableMachine, oldFlags: boolean): string[] {
  const lines: string[] = [];
  for (let page = 0; page < a.ram.map.length && lines.length < MOST_SHOWN; page++) {
    if (a.ram.map[page]! <= 0 && b.ram.map[page]! <= 0) continue;
    const [mine, other] = [pageOf(a, page), pageOf(b, page)];
    if (Buffer.compare(mine, other) === 0) continue;
    const [here, there] = [mine, other].map((bytes) => new DataView(bytes.buffer, bytes.byteOffset, FRAME_BYTES));
    for (let at = 0; at < FRAME_BYTES && lines.length < MOST_SHOWN; at += 8) {
      const [value, expected] = [here!.getBigUint64(at, true), there!.getBigUint64(at, true)];
      if (value === expected || (oldFlags && areOldFlags(value, expected))) continue;
      lines.push(`physical ${hex(page * FRAME_BYTES + at)} ${hex(value)} ${hex(expected)}`);
    }
  }
  a.deviceState.forEach((byte, at) => {
    const expected = b.deviceState[at]!;
    if (byte !== expected && lines.length < MOST_SHOWN) lines.push(`devices+${hex(at)} ${hex(byte)} ${hex(expected)}`);
  });
  return lines;
}
