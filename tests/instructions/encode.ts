/* Draws an encoding of a table row: prefixes, REX or VEX, opcode, ModRM, SIB, displacement, immediate. The decoder then says what it means
 * and how long it is; an encoding that belongs to another row is thrown away. @source SDM vol. 2A ch. 2
 */
import type { Decoder } from "../../src/isa/decode.ts";
import type { Decoded } from "../../src/isa/decoded.ts";
import { needsModrm, type OperandSpec, operandSpec } from "../../src/isa/operands.ts";
import type { Row } from "../../src/isa/row.ts";
import { CODE, CODE_START, PAGE } from "./address-space.ts";
import { interestingInteger } from "./base-state.ts";
import type { Random } from "./random.ts";

/** Longest instruction. */
const MAX_LENGTH = 15;
const ATTEMPTS = 40;
/** The JMP behind the instruction in the native harness: no jump may go into the middle of it. */
const HARNESS_JUMP = 5;
const PP = { none: 0, "66": 1, F3: 2, F2: 3 } as const;

export interface Encoding {
  readonly bytes: Uint8Array;
  /** Offset of a four-byte displacement that is the whole address (RIP-relative or absolute), to be set when the target is known; −1 none. */
  readonly displacementAt: number;
}

interface Draft {
  bytes: number[];
  displacementAt: number;
}

/** @returns undefined if no attempt gave an encoding of this row. `out` then holds what it decodes to. */
export function drawEncoding(row: Row, random: Random, decoder: Decoder, out: Decoded): Encoding | undefined {
  for (let i = 0; i < ATTEMPTS; i++) {
    const draft = draw(row, random);
    const bytes = Uint8Array.from(draft.bytes);
    if (decoder.decode(bytes, 0, bytes.length, out) !== undefined || out.row !== row) continue;
    if (!acceptable(out, random)) continue;
    return { bytes: bytes.subarray(0, out.length), displacementAt: draft.displacementAt };
  }
  return undefined;
}

/** Relative jumps must arrive in the code page, where INT3 waits, and not loop. */
function acceptable(d: Decoded, random: Random): boolean {
  const base = d.operands.slice(0, d.operandCount);
  if (/^(jmp|call)$/.test(d.row.mnemonic) && base[0]!.kind === "gpr" && base[0]!.reg === 4) return false; // RSP is no place to land
  if (base.some((o) => o.kind === "mem") && (d.base === 4 || d.base === 5) && random.oneIn(2)) return false; // SIB base 4 and rm 5 come too often
  // EDX:EAX name the features
  if (/^x(save|rstor)/.test(d.row.mnemonic) && [d.base, d.index].some((n) => n === 0 || n === 2)) return false;
  // BT with an offset that is an address would reach far
  if (
    base[1]?.kind === "gpr" &&
    base[0]!.kind === "mem" &&
    d.row.mnemonic.startsWith("bt") &&
    (base[1].reg === d.base || base[1].reg === d.index)
  )
    return false;
  if (!base.some((o) => o.kind === "rel")) return true;
  const target = CODE_START + d.length + Number(d.imm);
  if (target < CODE + 16 || target > CODE + PAGE - 16) return false;
  return target < CODE_START || target === CODE_START + d.length || target >= CODE_START + d.length + HARNESS_JUMP;
}

function draw(row: Row, random: Random): Draft {
  const specs = row.operands.map(operandSpec);
  const modrm = specs.some(needsModrm) || row.ext !== undefined || row.mod !== undefined;
  const bytes: number[] = [];
  legacyPrefixes(row, specs, random, bytes);
  const w = row.w ?? row.vex?.w ?? random.below(2);
  const opcode = row.opcode + (specs.some((s) => s.place === "opcode") ? random.below(8) : 0);
  if (row.vex) {
    const last = (w << 7) | (random.below(16) << 3) | ((row.vex.l ?? random.below(2)) << 2) | PP[row.prefix ?? "none"];
    const unused = specs.some((s) => s.place === "vvvv") ? 0 : 0x78;
    bytes.push(0xc4, (random.below(8) << 5) | row.map, last | unused, opcode);
  } else {
    if (w === 1 || random.oneIn(2)) bytes.push(0x40 | ((row.w ?? (random.oneIn(2) ? 1 : 0)) << 3) | random.below(8));
    if (row.map > 0) bytes.push(0x0f);
    if (row.map === 2) bytes.push(0x38);
    if (row.map === 3) bytes.push(0x3a);
    bytes.push(opcode | (modrm ? 0 : (row.rm ?? 0)));
  }
  const displacementAt = modrm ? address(row, specs, random, bytes) : -1;
  immediate(specs, random, bytes);
  return { bytes: bytes.slice(0, MAX_LENGTH), displacementAt };
}

function legacyPrefixes(row: Row, specs: readonly OperandSpec[], random: Random, bytes: number[]): void {
  const string = specs.some((s) => s.place === "si" || s.place === "di");
  const memory = string || specs.some((s) => s.allowsMemory && (s.place === "rm" || s.place === "moffs"));
  if (memory && random.oneIn(8)) bytes.push(random.pick([0x64, 0x65, 0x64, 0x65, 0x2e, 0x36]));
  if (memory && random.oneIn(8)) bytes.push(0x67);
  if (row.lock && random.oneIn(4)) bytes.push(0xf0);
  if (row.vex) return;
  if (string && random.oneIn(2)) bytes.push(random.pick([0xf2, 0xf3, 0xf3]));
  // Prefixes without a meaning, and repeated ones. Not with MOVBE: #UD after F2 and F3, which is ignored here; and after three others and REX.W
  // a Cascade Lake processor loses the segment.
  if (row.map < 2 && random.oneIn(12))
    bytes.push(
      random.pick(row.prefix === undefined ? [0xf2, 0xf3, 0x2e, 0x3e, 0x26, 0x66, 0x48] : [0x2e, 0x3e, 0x26, 0x48]),
    );
  if (row.prefix === undefined && random.oneIn(4)) bytes.push(0x66);
  if (row.prefix !== undefined && row.prefix !== "none") bytes.push(Number.parseInt(row.prefix, 16));
}

/** ModRM and what it brings. @returns offset of a displacement that is the whole address, −1 none */
function address(row: Row, specs: readonly OperandSpec[], random: Random, bytes: number[]): number {
  const control = specs.find((s) => s.needsReg >= 0);
  const reg = row.ext ?? (control ? control.needsReg & 7 : random.below(8));
  const rm = specs.find((s) => s.place === "rm");
  const register =
    row.mod === "reg" ||
    (row.mod !== "mem" && (rm?.allowsMemory === false || (rm?.allowsRegister !== false && random.oneIn(2))));
  if (register) {
    bytes.push(0xc0 | (reg << 3) | (row.rm ?? random.below(8)));
    return -1;
  }
  const mod = random.below(3);
  const low = random.below(8);
  bytes.push((mod << 6) | (reg << 3) | low);
  let whole = low === 5 && mod === 0;
  if (low === 4) {
    const sib = random.below(256);
    bytes.push(sib);
    whole = (sib & 7) === 5 && mod === 0;
  }
  const at = bytes.length;
  const size = whole ? 4 : mod === 1 ? 1 : mod === 2 ? 4 : 0;
  const displacement = random.oneIn(3) ? random.u32() : random.below(256);
  for (let i = 0; i < size; i++) bytes.push((displacement >>> (8 * i)) & 255);
  return whole ? at : -1;
}

function immediate(specs: readonly OperandSpec[], random: Random, bytes: number[]): void {
  if (!specs.some((s) => s.place === "imm" || s.place === "rel" || s.place === "moffs")) return;
  const jump = specs.some((s) => s.place === "rel");
  const value = jump
    ? BigInt.asUintN(64, BigInt(random.below(0xe00) - 0x700) >> BigInt(random.pick([0, 4])))
    : interestingInteger(random);
  for (let i = 0n; i < 8n; i++) bytes.push(Number((value >> (8n * i)) & 255n));
  bytes.push(random.below(34), random.below(256));
}
