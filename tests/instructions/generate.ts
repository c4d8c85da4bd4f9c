/* Makes cases for a table row: an encoding (encode.ts), a base state (base-state.ts), and then what it takes for the instruction to do something:
 * memory operands that point into DATA (now and then across a page, at its edge, at what must fault), stacks, repeat counts, jump targets.
 * Deterministic: one seed, one case.
 */
import { createDecoder, newDecoded } from "../../src/isa/decode.ts";
import type { Decoded } from "../../src/isa/decoded.ts";
import { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg } from "../../src/isa/registers.ts";
import type { Row } from "../../src/isa/row.ts";
import { CODE_START, DATA, DATA_SIZE, PAGE, READ_ONLY } from "./address-space.ts";
import { baseState, interestingExtended, interestingInteger, interestingVector } from "./base-state.ts";
import { type InstructionCase, type MemoryPatch, STATE_BYTES } from "./case.ts";
import { drawEncoding } from "./encode.ts";
import { prepare } from "./prepare.ts";
import { Random } from "./random.ts";

const decoder = createDecoder();
const decoded = newDecoded();
const scratch = new RegisterFile(new ArrayBuffer(Reg.SIZE));

/** A case in the making, for prepare.ts. */
export interface Draft {
  readonly regs: RegisterFile;
  readonly d: Decoded;
  readonly random: Random;
  /** Linear address that the memory operand will have, if there is one. */
  readonly target: bigint | undefined;
  /** Puts bytes into DATA; what lies outside is dropped. */
  patch(address: bigint, bytes: Uint8Array): void;
  patch64(address: bigint, value: bigint): void;
}

export interface GeneratedCase extends InstructionCase {
  readonly row: Row;
  /** Of baseState. */
  readonly stateSeed: number;
}

/** @returns undefined if this seed gives no encoding of the row */
export function generateCase(row: Row, seed: number): GeneratedCase | undefined {
  const random = new Random(seed * 4096 + row.id);
  const encoding = drawEncoding(row, random, decoder, decoded);
  if (!encoding) return undefined;
  const stateSeed = random.u32();
  scratch.bytes.fill(0);
  scratch.bytes.set(baseState(stateSeed));
  const memory: MemoryPatch[] = [];
  const hasMemory = decoded.operands.slice(0, decoded.operandCount).some((o) => o.kind === "mem");
  const draft = newDraft(random, hasMemory, memory);
  prepare(draft);
  if (hasMemory) pointOperand(draft, encoding.bytes, encoding.displacementAt);
  return {
    row,
    stateSeed,
    bytes: encoding.bytes.slice(),
    before: scratch.bytes.slice(0, STATE_BYTES),
    memory: mergePatches(memory),
  };
}

function newDraft(random: Random, hasMemory: boolean, memory: MemoryPatch[]): Draft {
  const patch = (address: bigint, bytes: Uint8Array): void => {
    const at = Number(address);
    if (at < DATA || at + bytes.length > DATA + DATA_SIZE) return;
    memory.push({ address: at, bytes });
  };
  const patch64 = (address: bigint, value: bigint): void => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    patch(address, bytes);
  };
  const target = hasMemory
    ? drawTarget(random, widthOf(decoded), /^x(save|rstor)/.test(decoded.row.mnemonic))
    : undefined;
  if (target !== undefined && !random.oneIn(4)) patch(target, operandBytes(decoded, random));
  return { regs: scratch, d: decoded, random, target, patch, patch64 };
}

/** Of the memory operand; 16 where it has none of its own. */
const widthOf = (d: Decoded): number => d.operands.slice(0, d.operandCount).find((o) => o.kind === "mem")!.width || 16;

function operandBytes(d: Decoded, random: Random): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  if (d.row.unit === "sse" || d.row.unit === "mmx") interestingVector(random, view, 0);
  else if (d.row.unit === "x87" && widthOf(d) === 10) interestingExtended(random, view, 0);
  else if (d.row.unit === "x87" && random.oneIn(2)) interestingVector(random, view, 0);
  else for (let at = 0; at < 16; at += 8) view.setBigUint64(at, interestingInteger(random), true);
  return bytes;
}

const NOT_CANONICAL = [0x8000_0000_0000n, 0x7fff_ffff_ffff_fff8n, 0xffff_7fff_ffff_fff0n, 0x1234_5678_9abc_def0n];

/** Room for the XSAVE area of a processor with all features, in units of its alignment. */
const XSAVE_PLACES = (DATA_SIZE - 3072) / 64;

/** Where a memory operand shall lie. */
function drawTarget(random: Random, width: number, xsave: boolean): bigint {
  if (xsave && !random.oneIn(8)) return BigInt(DATA + 64 * random.below(XSAVE_PLACES));
  const kind = random.below(40);
  const inside = (start: number, size: number): bigint => {
    const at = start + random.below(size - width);
    return BigInt(random.oneIn(3) ? at : at & ~15);
  };
  if (kind < 32) return inside(DATA + 0x200, DATA_SIZE - 0x400);
  if (kind < 34) return BigInt(DATA + PAGE - random.below(width + 1));
  if (kind < 36) return BigInt(DATA + DATA_SIZE - width + random.below(width + 1));
  if (kind === 36) return inside(READ_ONLY, PAGE);
  if (kind === 37) return BigInt(DATA - 1 - random.below(width));
  if (kind === 38) return BigInt(random.below(PAGE));
  return random.pick(NOT_CANONICAL);
}

/** Gives base, index or displacement the value that makes the operand lie at draft.target, where that is possible. */
function pointOperand(draft: Draft, bytes: Uint8Array, displacementAt: number): void {
  const { d, regs, target } = draft;
  const segmentBase = d.segment < 0 ? 0n : regs.get64(d.segment === 5 ? Reg.GS_BASE : Reg.FS_BASE);
  const bits = 8 * d.addressSize;
  let wanted = BigInt.asUintN(bits, target! - segmentBase);
  const moffs = d.row.operands.findIndex((code) => code.startsWith("O"));
  if (moffs >= 0) return setTail(bytes, wanted, d.addressSize);
  if (displacementAt >= 0) {
    const from = d.ripRelative
      ? BigInt(CODE_START + bytes.length)
      : d.index >= 0
        ? regs.gpr(d.index) << BigInt(d.scale)
        : 0n;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const displacement = BigInt.asIntN(32, wanted - from);
    view.setInt32(displacementAt, Number(displacement), true);
    if (d.index < 0) return;
    // With an index: the displacement's sign extension may miss, so the index makes it exact.
    return setRegister(draft, d.index, BigInt.asUintN(bits, wanted - displacement) >> BigInt(d.scale));
  }
  wanted = BigInt.asUintN(bits, wanted - BigInt(d.disp));
  if (d.base < 0) return;
  if (d.index < 0) return setRegister(draft, d.base, wanted);
  if (d.base === d.index) return setRegister(draft, d.base, wanted / (1n + (1n << BigInt(d.scale))));
  setRegister(draft, d.base, wanted - (regs.gpr(d.index) << BigInt(d.scale)));
}

/** With a 32-bit address the register's upper half says nothing: it may hold anything, but in a string instruction, where processors
 *  differ in when they clear it. */
function setRegister({ d, regs, random }: Draft, n: number, value: bigint): void {
  const string = d.row.operands.some((code) => /^[XY]/.test(code));
  const upper = d.addressSize === 4 && !string && random.oneIn(2) ? BigInt(random.u32()) << 32n : 0n;
  regs.setGpr(n, BigInt.asUintN(8 * d.addressSize, value) | upper);
}

function setTail(bytes: Uint8Array, value: bigint, size: number): void {
  for (let i = 0; i < size; i++) bytes[bytes.length - size + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

/** Overlapping patches as one list in which each byte occurs once (the later patch wins). */
function mergePatches(patches: readonly MemoryPatch[]): MemoryPatch[] {
  if (patches.length < 2) return [...patches];
  const bytes = new Map<number, number>();
  for (const p of patches) p.bytes.forEach((byte, i) => bytes.set(p.address + i, byte));
  const merged: { address: number; bytes: number[] }[] = [];
  for (const [address, byte] of [...bytes].toSorted(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last && last.address + last.bytes.length === address) last.bytes.push(byte);
    else merged.push({ address, bytes: [byte] });
  }
  return merged.map((p) => ({ address: p.address, bytes: Uint8Array.from(p.bytes) }));
}
