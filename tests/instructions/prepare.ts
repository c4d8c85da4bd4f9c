/* What particular instructions need of a state so that something comes of them: by mnemonic, without which most cases would be the same fault.
 * The memory operand's own registers are set afterwards (generate.ts) and win.
 */
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { toFxsave } from "../native/fxsave.ts";
import { CODE_START, DATA, DATA_SIZE } from "./address-space.ts";
import { baseState, interestingInteger, interestingVector } from "./base-state.ts";
import type { Draft } from "./generate.ts";
import type { Random } from "./random.ts";

const RAX = 0,
  RCX = 1,
  RDX = 2,
  RBX = 3,
  RSP = 4,
  RBP = 5,
  RSI = 6,
  RDI = 7;

function dataAddress(random: Random): bigint {
  if (random.oneIn(24)) return BigInt(DATA + DATA_SIZE - random.below(16));
  const at = DATA + 0x400 + random.below(DATA_SIZE - 0x800);
  return BigInt(random.oneIn(4) ? at : at & ~7);
}

/** Where a jump may arrive: at an INT3 of the code page. */
function landing(random: Random): bigint {
  if (random.oneIn(12)) return random.pick([0x8000_0000_0000n, 0xdead_0000_0000_0000n]);
  return BigInt(random.oneIn(2) ? CODE_START - 16 - random.below(0x700) : CODE_START + 32 + random.below(0x700));
}

/** Gives operand i a value, in its register or where its memory will be. */
function setOperand({ d, regs, target, patch64 }: Draft, i: number, value: bigint): void {
  const operand = d.operands[i]!;
  if (operand.kind === "gpr" && operand.reg !== RSP) regs.setGpr(operand.reg, value);
  else if (operand.kind === "mem") patch64(target!, value);
}

function strings({ regs, random, patch64 }: Draft): void {
  const [from, to] = [dataAddress(random), dataAddress(random)];
  regs.setGpr(RSI, from);
  regs.setGpr(RDI, to);
  regs.setGpr(RCX, BigInt(random.oneIn(20) ? 5000 : random.below(24)));
  if (random.oneIn(2)) return;
  // Equal elements, so that SCAS and CMPS go on
  const value = random.oneIn(2) ? 0n : interestingInteger(random);
  for (let at = -32n; at <= 32n; at += 8n) {
    patch64(from + at, value);
    patch64(to + at, value);
  }
  regs.setGpr(RAX, value);
}

function stack(draft: Draft): void {
  const { regs, random, d, patch64 } = draft;
  const popf = d.row.mnemonic.startsWith("popf");
  const top = popf ? BigInt(DATA + 8 * random.below(DATA_SIZE / 8)) : dataAddress(random);
  regs.setGpr(RSP, top);
  regs.setGpr(RBP, random.oneIn(12) ? random.pick([0n, 8n, 0x8000_0000_0000n]) : dataAddress(random));
  if (d.row.mnemonic.startsWith("ret")) patch64(top, landing(random));
  // TF would trap behind the instruction, AC and NT are the harness's to keep clear, RF and VM cannot be set.
  if (popf) patch64(top, BigInt(random.u32() & (Rflags.OSZAPC | Rflags.DF | Rflags.IF | Rflags.IOPL | Rflags.ID)));
}

/** A dividend whose quotient often fits. */
function dividend({ regs, random }: Draft): void {
  const kind = random.below(4);
  const rax = regs.gpr(RAX);
  if (kind === 0) regs.setGpr(RDX, 0n);
  if (kind === 1) regs.setGpr(RDX, BigInt.asIntN(64, rax) >> 63n);
  if (kind === 2) regs.setGpr(RDX, BigInt(random.below(4)));
  if (random.oneIn(2)) regs.setGpr(RAX, rax & 0xffn);
}

/** Makes the comparison of CMPXCHG and its like succeed, half of the time. */
function compareExchange({ d, regs, random, target, patch64 }: Draft): void {
  if (random.oneIn(2)) return;
  if (d.row.mnemonic !== "cmpxchg") {
    const value = random.oneIn(2)
      ? [regs.gpr(RAX), regs.gpr(RDX)]
      : [BigInt.asUintN(32, regs.gpr(RAX)) | (regs.gpr(RDX) << 32n), regs.gpr(RDX)];
    patch64(target!, value[0]!);
    patch64(target! + 8n, value[1]!);
  } else if (d.operands[0]!.kind === "mem") patch64(target!, regs.gpr(RAX));
  else regs.setGpr(RAX, regs.gpr(d.operands[0]!.reg));
}

/** A bit offset that stays near the operand, or goes where nothing is mapped in any runner. */
function bitOffset({ d, regs, random }: Draft): void {
  if (d.operands[1]!.kind !== "gpr") return;
  const offset = random.oneIn(8)
    ? random.pick([-0x8000_0000n, 0x100_0000_0000n])
    : BigInt(random.below(0x2000) - 0x1000);
  regs.setGpr(d.operands[1]!.reg, BigInt.asUintN(64, offset));
}

const FXSAVE_BYTES = 512;
const XSAVE_HEADER_BYTES = 64;

/** An area that FXRSTOR and XRSTOR take. */
function saveArea({ d, regs, random, target, patch }: Draft): void {
  // Not 0: then processors do not touch memory at all.
  regs.setGpr(RAX, BigInt(1 + random.below(3)));
  regs.setGpr(RDX, 0n);
  if (target === undefined || random.oneIn(8)) return;
  const area = new Uint8Array(FXSAVE_BYTES + XSAVE_HEADER_BYTES);
  toFxsave(baseState(random.u32()), area);
  if (d.row.mnemonic.startsWith("x")) area[FXSAVE_BYTES] = random.below(4);
  patch(target, area);
}

/** LDMXCSR and FLDCW: bits that may be set. */
function controlWord({ random, regs, patch64, target }: Draft): void {
  if (!random.oneIn(4))
    patch64(
      target!,
      BigInt(new DataView(baseState(random.u32()).buffer).getUint32(Reg.MXCSR, true)) | (regs.gpr(RBX) << 32n),
    );
}

const EXPONENT_BIAS = 0x3fff;

/** ST(0) small enough for F2XM1 (at most 1) and FYL2XP1 (at most 1 − √½), beyond which the result is undefined. Specials stay. */
function smallOperand({ d, regs, random }: Draft): void {
  const top = (regs.get16(Reg.FSW) >> 11) & 7;
  const at = Reg.ST + 16 * top + 8;
  const [sign, exponent] = [regs.get16(at) & 0x8000, regs.get16(at) & 0x7fff];
  const largest = d.row.mnemonic === "f2xm1" ? EXPONENT_BIAS - 1 : EXPONENT_BIAS - 3;
  const infinite = exponent === 0x7fff && (d.row.mnemonic === "f2xm1" || sign === 0);
  if (exponent > largest && !infinite) regs.set16(at, sign | (largest - random.below(70)));
}

/** Integers of 64 bits, most of them; small counts for shifts. */
function mmxRegisters({ d, regs, random }: Draft): void {
  for (let n = 0; n < 8; n++) {
    if (random.oneIn(2)) interestingVector(random, regs.view, Reg.ST + 16 * n);
    else regs.set64(Reg.ST + 16 * n, interestingInteger(random));
    regs.set64(Reg.ST + 16 * n + 8, BigInt(random.below(0x10000)));
  }
  const [target, count] = d.operands;
  if (
    /^ps[rl][lad]?[wdq]$/.test(d.row.mnemonic) &&
    count!.kind === "mm" &&
    count!.reg !== target!.reg &&
    !random.oneIn(4)
  ) {
    regs.set64(Reg.ST + 16 * count!.reg, BigInt(random.below(70)));
  }
}

const STACK_USERS = /^(push|pop|call|ret|enter|leave)/;

export function prepare(draft: Draft): void {
  const { d, regs, random } = draft;
  const { mnemonic, operands } = d.row;
  if (STACK_USERS.test(mnemonic)) stack(draft);
  if (operands.some((code) => /^[XY]/.test(code))) strings(draft);
  if (/^i?div$/.test(mnemonic)) dividend(draft);
  if (mnemonic.startsWith("cmpxchg")) compareExchange(draft);
  if (/^bt[rsc]?$/.test(mnemonic)) bitOffset(draft);
  if (/^(fx|x)(save|rstor)/.test(mnemonic)) saveArea(draft);
  if (mnemonic === "f2xm1" || mnemonic === "fyl2xp1") smallOperand(draft);
  if (mnemonic === "ldmxcsr") controlWord(draft);
  if ((mnemonic === "jmp" || mnemonic === "call") && d.operandCount === 1 && d.operands[0]!.kind !== "rel")
    setOperand(draft, 0, landing(random));
  if (mnemonic.startsWith("xlat")) regs.setGpr(RBX, dataAddress(random));
  if (operands.some((code) => /^[PQN]/.test(code))) mmxRegisters(draft);
  if (mnemonic === "maskmovdqu" || mnemonic === "maskmovq") regs.setGpr(RDI, dataAddress(random));
  if (/^(pcmp[ei]str)/.test(mnemonic)) {
    regs.setGpr(RAX, BigInt(random.below(20) - 2) & 0xffff_ffff_ffff_ffffn);
    regs.setGpr(RDX, BigInt(random.below(20) - 2) & 0xffff_ffff_ffff_ffffn);
  }
}
