/* FXSAVE FXRSTOR and XSAVE XRSTOR of x87 and SSE state, standard format.
 * @source SDM vol. 1 §10.5.1 (FXSAVE image), §13.4 (XSAVE area), §13.7 (XSAVE), §13.8 (XRSTOR); vol. 2 under each mnemonic
 *
 *     0 u16 FCW   2 u16 FSW   4 u8 abridged FTW   6 u16 FOP   8 FIP   16 FDP   24 u32 MXCSR   28 u32 MXCSR_MASK
 *    32 ST(0)…ST(7), 16 bytes each       160 XMM0…XMM15, 16 bytes each       416 to 511 not touched
 *   512 u64 XSTATE_BV   520 u64 XCOMP_BV (0: standard)   528 reserved
 *
 * FIP and FDP are 64 bits with REX.W, else 32 bits and a selector, 0. XINUSE is taken as always set: no initial state is optimized away.
 * CR4.OSXSAVE, CR0.TS and CR0.EM are checked here. All that may fault comes before the first change. */
import { GuestFault, Vector } from "../cpu.ts";
import type { Cpu } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { initialize, setControlWord } from "./control.ts";
import { Arg, isEmpty, topOf, updateSummary } from "./unit.ts";

const MXCSR_MASK = 0xffff;
const X87 = 1;
const SSE = 2;
const CR0_EM_TS = 0xc;
const CR0_TS = 0x8;
const CR4_OSXSAVE = 1 << 18;
/** Legacy bytes that are written: up to the end of XMM15. */
const LEGACY_SIZE = 416;
/** What FXSAVE checks: the end of it is not used. */
const AREA_SIZE = 512;
const HEADER = 512n;
/** Offsets of 64-bit words in the area. */
const ST_AT = 32;
const XMM_AT = 160;

const addressOf = (cpu: Cpu): bigint => cpu.regs.view.getBigUint64(Reg.X87_VALUE, true);
const isWide = (cpu: Cpu): boolean => (cpu.regs.view.getUint32(Reg.X87_ARG, true) & Arg.VARIANT) !== 0;

function checkAddress(address: bigint, alignment: bigint): void {
  if ((address & (alignment - 1n)) !== 0n) throw new GuestFault(Vector.GP, 0);
}

function checkDevice(cpu: Cpu, bits: number): void {
  if ((cpu.regs.get32(Reg.CR0) & bits) !== 0) throw new GuestFault(Vector.NM);
}

/** Requested-feature bitmap: EDX:EAX (its low word is in the mailbox; no higher bit exists) and XCR0. */
function requested(cpu: Cpu): number {
  if ((cpu.regs.get32(Reg.CR4) & CR4_OSXSAVE) === 0) throw new GuestFault(Vector.UD);
  checkDevice(cpu, CR0_TS);
  return cpu.regs.view.getUint32(Reg.X87_DONE, true) & cpu.regs.get32(Reg.XCR0) & (X87 | SSE);
}

function abridgedTags(v: DataView): number {
  let tags = 0;
  for (let n = 0; n < 8; n++) if (!isEmpty(v, n)) tags |= 1 << n;
  return tags;
}

function saveX87(cpu: Cpu, address: bigint, wide: boolean): void {
  const v = cpu.regs.view,
    top = topOf(v);
  const head =
    BigInt(v.getUint16(Reg.FCW, true)) |
    (BigInt(v.getUint16(Reg.FSW, true)) << 16n) |
    (BigInt(abridgedTags(v)) << 32n) |
    (BigInt(v.getUint16(Reg.FOP, true) & 0x7ff) << 48n);
  cpu.write(address, 8, head);
  cpu.write(address + 8n, 8, BigInt.asUintN(wide ? 64 : 32, v.getBigUint64(Reg.FIP, true)));
  cpu.write(address + 16n, 8, BigInt.asUintN(wide ? 64 : 32, v.getBigUint64(Reg.FDP, true)));
  for (let i = 0; i < 8; i++) {
    const from = Reg.ST + (((top + i) & 7) << 4),
      to = address + BigInt(ST_AT + 16 * i);
    cpu.write(to, 8, v.getBigUint64(from, true));
    cpu.write(to + 8n, 8, BigInt(v.getUint16(from + 8, true)));
  }
}

function saveMxcsr(cpu: Cpu, address: bigint): void {
  cpu.write(address + 24n, 8, (BigInt(MXCSR_MASK) << 32n) | BigInt(cpu.regs.get32(Reg.MXCSR)));
}

function saveXmm(cpu: Cpu, address: bigint): void {
  for (let i = 0; i < 256; i += 8) cpu.write(address + BigInt(XMM_AT + i), 8, cpu.regs.get64(Reg.XMM + i));
}

/** The words of an area: read before anything changes. */
const readWords = (cpu: Cpu, address: bigint, from: number, to: number): bigint[] =>
  Array.from({ length: (to - from) / 8 }, (_, i) => cpu.read(address + BigInt(from + 8 * i), 8));

function checkMxcsr(mxcsr: number): void {
  if ((mxcsr & ~MXCSR_MASK) !== 0) throw new GuestFault(Vector.GP, 0);
}

/** @param head words 0–2 of the area  @param registers words of ST(0)…ST(7) */
function restoreX87(v: DataView, head: readonly bigint[], registers: readonly bigint[], wide: boolean): void {
  const words = Number(head[0]! & 0xffffffffn);
  setControlWord(v, words & 0xffff);
  v.setUint16(Reg.FSW, words >>> 16, true);
  let tags = 0;
  for (let n = 0; n < 8; n++) if (((head[0]! >> BigInt(32 + n)) & 1n) === 0n) tags |= 3 << (n << 1);
  v.setUint16(Reg.FTW, tags, true);
  v.setUint16(Reg.FOP, Number(head[0]! >> 48n) & 0x7ff, true);
  v.setBigUint64(Reg.FIP, BigInt.asUintN(wide ? 64 : 32, head[1]!), true);
  v.setBigUint64(Reg.FDP, BigInt.asUintN(wide ? 64 : 32, head[2]!), true);
  const top = topOf(v);
  for (let i = 0; i < 8; i++) {
    const to = Reg.ST + (((top + i) & 7) << 4);
    v.setBigUint64(to, registers[2 * i]!, true);
    v.setUint16(to + 8, Number(registers[2 * i + 1]! & 0xffffn), true);
  }
  updateSummary(v);
}

function restoreXmm(v: DataView, words: readonly bigint[]): void {
  words.forEach((word, i) => v.setBigUint64(Reg.XMM + 8 * i, word, true));
}

/** FXSAVE, FXSAVE64. */
export function fxsave(cpu: Cpu): void {
  const address = addressOf(cpu);
  checkDevice(cpu, CR0_EM_TS);
  checkAddress(address, 16n);
  cpu.probeWrite(address, AREA_SIZE);
  saveX87(cpu, address, isWide(cpu));
  saveMxcsr(cpu, address);
  saveXmm(cpu, address);
}

/** FXRSTOR, FXRSTOR64. */
export function fxrstor(cpu: Cpu): void {
  const address = addressOf(cpu),
    v = cpu.regs.view;
  checkDevice(cpu, CR0_EM_TS);
  checkAddress(address, 16n);
  const words = readWords(cpu, address, 0, LEGACY_SIZE);
  const mxcsr = Number(words[3]! & 0xffffffffn);
  checkMxcsr(mxcsr);
  restoreX87(v, words, words.slice(ST_AT / 8), isWide(cpu));
  restoreXmm(v, words.slice(XMM_AT / 8));
  v.setUint32(Reg.MXCSR, mxcsr, true);
}

/** XSAVE, XSAVE64: XSTATE_BV is read, and written for the requested features; the rest of the header stays. */
export function xsave(cpu: Cpu): void {
  const address = addressOf(cpu),
    features = requested(cpu);
  checkAddress(address, 64n);
  cpu.probeWrite(address, LEGACY_SIZE);
  cpu.probeWrite(address + HEADER, 8);
  const stateBv = cpu.read(address + HEADER, 8);
  if ((features & X87) !== 0) saveX87(cpu, address, isWide(cpu));
  if ((features & SSE) !== 0) {
    saveMxcsr(cpu, address);
    saveXmm(cpu, address);
  }
  cpu.write(address + HEADER, 8, stateBv | BigInt(features));
}

/** XRSTOR, XRSTOR64: requested features come from memory or, if their bit in XSTATE_BV is clear, get their initial state. */
export function xrstor(cpu: Cpu): void {
  const address = addressOf(cpu),
    v = cpu.regs.view,
    features = requested(cpu);
  checkAddress(address, 64n);
  const [stateBv, compBv, reserved] = readWords(cpu, address + HEADER, 0, 24);
  const present = Number(stateBv! & 3n) & features;
  if ((stateBv! & ~cpu.regs.get64(Reg.XCR0)) !== 0n || compBv !== 0n || reserved !== 0n)
    throw new GuestFault(Vector.GP, 0);
  const head = readWords(cpu, address, 0, ST_AT);
  const registers = present & X87 ? readWords(cpu, address, ST_AT, XMM_AT) : undefined;
  const xmm = present & SSE ? readWords(cpu, address, XMM_AT, LEGACY_SIZE) : undefined;
  const mxcsr = Number(head[3]! & 0xffffffffn);
  if ((features & SSE) !== 0) {
    checkMxcsr(mxcsr);
    v.setUint32(Reg.MXCSR, mxcsr, true);
    restoreXmm(v, xmm ?? new Array<bigint>(32).fill(0n));
  }
  if (registers) restoreX87(v, head, registers, isWide(cpu));
  else if ((features & X87) !== 0) {
    initialize(v);
    for (let i = 0; i < 128; i += 8) v.setBigUint64(Reg.ST + i, 0n, true);
  }
}
