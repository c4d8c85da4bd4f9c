/* The state that a seed stands for: user mode, flat segments, every register an interesting or a random value. Recorded cases name the seed and
 * hold only what differs: a change here means recording anew (tools/record-cases.ts).
 */
import { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg, Rflags, SegmentIndex, Slot } from "../../src/isa/registers.ts";
import { fullTags } from "../native/fxsave.ts";
import { CODE, CODE_START, DATA } from "./address-space.ts";
import { STATE_BYTES } from "./case.ts";
import { Random } from "./random.ts";

const INTEGERS = [
  0n,
  1n,
  2n,
  3n,
  7n,
  8n,
  15n,
  16n,
  31n,
  32n,
  33n,
  63n,
  64n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_fffen,
  0xffff_ffff_8000_0000n,
  0xffff_ffff_ffff_8000n,
  0xffff_ffff_ffff_ff80n,
];
const SINGLES = [
  0, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7fa0_0000,
  0xff80_0001, 1, 0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x8080_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x4f00_0000,
  0xcf00_0000, 0x5f00_0000, 0xdf00_0000, 0x4b00_0000, 0x3f00_0000, 0x3fc0_0000, 0xc020_0000, 0x3eaa_aaab, 0x3f7f_ffff,
  0x1e3c_e508, 0x4f80_0000,
];
const DOUBLES = [
  0n,
  1n << 63n,
  0x3ff0_0000_0000_0000n,
  0xbff0_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0xfff0_0000_0000_0000n,
  0x7ff8_0000_0000_0000n,
  0xfff8_0000_0000_0000n,
  0x7ff4_0000_0000_0000n,
  0xfff0_0000_0000_0001n,
  1n,
  0x8000_0000_0000_0001n,
  0x000f_ffff_ffff_ffffn,
  0x0010_0000_0000_0000n,
  0x7fef_ffff_ffff_ffffn,
  0xffef_ffff_ffff_ffffn,
  0x41e0_0000_0000_0000n,
  0xc1e0_0000_0000_0000n,
  0x43e0_0000_0000_0000n,
  0xc3e0_0000_0000_0000n,
  0x4330_0000_0000_0000n,
  0x3fe0_0000_0000_0000n,
  0x3ff8_0000_0000_0000n,
  0xc004_0000_0000_0000n,
  0x3fd5_5555_5555_5555n,
  0x47ef_ffff_e000_0000n,
  0x47ef_ffff_f000_0000n,
  0x3690_0000_0000_0000n,
  0x380f_ffff_ffff_ffffn,
  0x41df_ffff_ffc0_0000n,
  0x41df_ffff_ffe0_0000n,
];
const TENS = [
  0x0000, 0x3fff, 0x4000, 0x403e, 0x4062, 0x401e, 0x400e, 0x7ffe, 0x7fff, 0x0001, 0x3ffe, 0x3c01, 0x43fe, 0x3f81,
  0x407e, 0x3fbf,
];
const SIGNIFICANDS = [
  0n,
  1n << 63n,
  0xc000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
  0x8000_0000_0000_0001n,
  0xa000_0000_0000_0000n,
  1n,
  0x7fff_ffff_ffff_ffffn,
  0xc90f_daa2_2168_c235n,
];

export function interestingInteger(random: Random): bigint {
  const kind = random.below(8);
  if (kind < 3) return random.pick(INTEGERS);
  if (kind === 3) return BigInt.asUintN(64, (1n << BigInt(random.below(64))) - BigInt(random.below(3)));
  if (kind === 4) return BigInt(random.below(256));
  return random.u64();
}

function single(random: Random): number {
  if (random.oneIn(3)) return random.pick(SINGLES);
  if (random.oneIn(6)) return random.u32();
  // A moderate exponent, few or many significand bits
  const fraction = random.oneIn(2) ? random.u32() & 0x7f_ffff : (random.u32() & 0xff) << 15;
  return (((random.u32() & 1) << 31) | ((117 + random.below(24)) << 23) | fraction) >>> 0;
}

function double(random: Random): bigint {
  if (random.oneIn(3)) return random.pick(DOUBLES);
  if (random.oneIn(6)) return random.u64();
  const fraction = random.oneIn(2) ? random.u64() & 0xf_ffff_ffff_ffffn : (random.u64() & 0xffn) << 44n;
  return (BigInt(random.u32() & 1) << 63n) | (BigInt(990 + random.below(80)) << 52n) | fraction;
}

/** 16 bytes as an SSE operand may find them. */
export function interestingVector(random: Random, view: DataView, at: number): void {
  const kind = random.below(4);
  for (let n = 0; n < 2; n++) {
    if (kind === 0) view.setBigUint64(at + 8 * n, interestingInteger(random), true);
    else if (kind === 1) view.setBigUint64(at + 8 * n, random.u64(), true);
    else if (kind === 2) view.setBigUint64(at + 8 * n, double(random), true);
    else for (let m = 0; m < 2; m++) view.setUint32(at + 8 * n + 4 * m, single(random), true);
  }
}

/** 10 bytes as an x87 register may hold them. */
export function interestingExtended(random: Random, view: DataView, at: number): void {
  const special = random.oneIn(3);
  const integer = random.oneIn(12) ? 0n : 1n << 63n; // without it: denormal or unsupported
  const significand = special ? random.pick(SIGNIFICANDS) : random.u64() | integer;
  const exponent = special ? random.pick(TENS) : random.oneIn(6) ? random.below(0x8000) : 0x3fff - 8 + random.below(72);
  const normal = exponent === 0 || random.oneIn(10) ? significand : significand | (1n << 63n);
  view.setBigUint64(at, normal, true);
  view.setUint16(at + 8, exponent | (random.below(2) << 15), true);
}

const CR0 = 0x8005_0033n; // PG AM WP NE ET MP PE
const CR4 = 0x0005_06b0n; // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PGE PAE PSE
const EFER = 0xd01n; // NXE LMA LME SCE
const CODE64 = { selector: 0x33, attributes: 0xa0fb, limit: 0xffff_ffff, base: 0n };
const STACK = { selector: 0x2b, attributes: 0xc0f3, limit: 0xffff_ffff, base: 0n };
const ALIGNED_STATUS = { ERRORS: 0x3f, SUMMARY: 0x8080 } as const;

function system(regs: RegisterFile): void {
  regs.cpl = 3;
  regs.set64(Reg.CR0, CR0);
  regs.set64(Reg.CR4, CR4);
  regs.set64(Reg.EFER, EFER);
  regs.set64(Reg.XCR0, 3n);
  regs.set64(8 * Slot.C4096, 4096n);
  regs.set64(8 * Slot.PAGE_VA, BigInt(CODE));
  regs.set64(Reg.RIP, BigInt(CODE_START));
  regs.setSegment(SegmentIndex.CS, CODE64);
  regs.setSegment(SegmentIndex.SS, STACK);
}

function x87(regs: RegisterFile, random: Random): void {
  for (let n = 0; n < 8; n++) interestingExtended(random, regs.view, Reg.ST + 16 * n);
  const control = random.oneIn(2) ? 0x37f : 0x40 | 0x3f | (random.pick([0, 2, 3]) << 8) | (random.below(4) << 10);
  const unmasked = random.oneIn(8) ? random.below(64) : 0;
  const fcw = control & ~unmasked;
  const errors = random.oneIn(4) ? random.below(64) : 0;
  const pending = (errors & ~fcw & ALIGNED_STATUS.ERRORS) !== 0 ? ALIGNED_STATUS.SUMMARY : 0;
  const stackFault = errors & 1 ? random.below(2) << 6 : 0;
  regs.set16(Reg.FCW, fcw);
  regs.set16(
    Reg.FSW,
    errors | stackFault | pending | (random.below(8) << 8) | (random.below(8) << 11) | (random.below(2) << 14),
  );
  const present = random.oneIn(4) ? random.below(256) : 0xff;
  regs.set16(Reg.FTW, fullTags(regs.view, present));
}

function mxcsr(random: Random): number {
  const rounding = random.oneIn(2) ? 0 : random.below(4) << 13;
  const denormals = random.oneIn(4) ? (random.below(2) << 15) | (random.below(2) << 6) : 0;
  const unmasked = random.oneIn(8) ? random.below(64) << 7 : 0;
  const sticky = random.oneIn(3) ? random.below(64) : 0;
  return (0x1f80 & ~unmasked) | rounding | denormals | sticky;
}

const scratch = new RegisterFile(new ArrayBuffer(Reg.SIZE));

/** @returns STATE_BYTES bytes: of a user-mode processor before the instruction at CODE_START */
export function baseState(seed: number): Uint8Array {
  const random = new Random(seed);
  const regs = scratch;
  regs.bytes.fill(0);
  system(regs);
  for (let n = 0; n < 16; n++) regs.setGpr(n, interestingInteger(random));
  regs.set64(Reg.FS_BASE, BigInt(DATA + 0x100 + random.below(0x800)));
  regs.set64(Reg.GS_BASE, BigInt(DATA + 0x100 + random.below(0x800)));
  for (let n = 0; n < 16; n++) interestingVector(random, regs.view, Reg.XMM + 16 * n);
  x87(regs, random);
  regs.set32(Reg.MXCSR, mxcsr(random));
  regs.rflags = Rflags.IF | (random.u32() & Rflags.OSZAPC) | (random.oneIn(4) ? Rflags.DF : 0);
  return regs.bytes.slice(0, STATE_BYTES);
}
