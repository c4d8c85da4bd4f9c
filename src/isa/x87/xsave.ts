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
/** Offsets in the area. */
const MXCSR_AT = 24;
const ST_AT = 32;
const XMM_AT = 160;
const HEADER = 512;
/** FIP and FDP, with their fields. */
const POINTERS = [
  [8, Reg.FIP],
  [16, Reg.FDP],
] as const;
const ST_BYTES = 128;
const XMM_BYTES = 256;

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

/** The area under way, from byte 0 to 536. Filled before registers change, or before memory does. */
const area = new DataView(new ArrayBuffer(576));
const areaBytes = new Uint8Array(area.buffer);
/** The parts that are read or written at once, as [from, to). */
const part = (from: number, to: number): { from: number; bytes: Uint8Array } => ({
  from,
  bytes: areaBytes.subarray(from, to),
});
type Part = ReturnType<typeof part>;
const LEGACY = part(0, LEGACY_SIZE);
const HEAD = part(0, ST_AT);
const STACK = part(ST_AT, XMM_AT);
const VECTORS = part(XMM_AT, LEGACY_SIZE);
const X87_HEAD = part(0, MXCSR_AT);
const SSE_HEAD = part(MXCSR_AT, ST_AT);
const STATE_BV = part(HEADER, HEADER + 8);
const XSAVE_HEADER = part(HEADER, HEADER + 24);

function load(cpu: Cpu, address: bigint, { from, bytes }: Part): void {
  if (cpu.copyIn?.(address + BigInt(from), bytes) === true) return;
  for (let i = from; i < from + bytes.length; i += 8)
    area.setBigUint64(i, cpu.read(BigInt.asUintN(64, address + BigInt(i)), 8), true);
}
function store(cpu: Cpu, address: bigint, { from, bytes }: Part): void {
  if (cpu.copyOut?.(address + BigInt(from), bytes) === true) return;
  for (let i = from; i < from + bytes.length; i += 8)
    cpu.write(BigInt.asUintN(64, address + BigInt(i)), 8, area.getBigUint64(i, true));
}

/** @param wide FIP and FDP have 64 bits */
function packX87(v: DataView, wide: boolean): void {
  const top = topOf(v);
  area.setUint16(0, v.getUint16(Reg.FCW, true), true);
  area.setUint16(2, v.getUint16(Reg.FSW, true), true);
  area.setUint16(4, abridgedTags(v), true);
  area.setUint16(6, v.getUint16(Reg.FOP, true) & 0x7ff, true);
  for (const [at, field] of POINTERS) {
    area.setUint32(at, v.getUint32(field, true), true);
    area.setUint32(at + 4, wide ? v.getUint32(field + 4, true) : 0, true);
  }
  for (let i = 0; i < 8; i++) {
    const from = Reg.ST + (((top + i) & 7) << 4),
      to = ST_AT + 16 * i;
    area.setUint32(to, v.getUint32(from, true), true);
    area.setUint32(to + 4, v.getUint32(from + 4, true), true);
    area.setUint32(to + 8, v.getUint16(from + 8, true), true);
    area.setUint32(to + 12, 0, true);
  }
}
function packSse(cpu: Cpu): void {
  area.setUint32(MXCSR_AT, cpu.regs.get32(Reg.MXCSR), true);
  area.setUint32(MXCSR_AT + 4, MXCSR_MASK, true);
  VECTORS.bytes.set(cpu.regs.bytes.subarray(Reg.XMM, Reg.XMM + XMM_BYTES));
}

function checkMxcsr(mxcsr: number): void {
  if ((mxcsr & ~MXCSR_MASK) !== 0) throw new GuestFault(Vector.GP, 0);
}

function unpackX87(v: DataView, wide: boolean): void {
  setControlWord(v, area.getUint16(0, true));
  v.setUint16(Reg.FSW, area.getUint16(2, true), true);
  const full = area.getUint8(4);
  let tags = 0;
  for (let n = 0; n < 8; n++) if (((full >> n) & 1) === 0) tags |= 3 << (n << 1);
  v.setUint16(Reg.FTW, tags, true);
  v.setUint16(Reg.FOP, area.getUint16(6, true) & 0x7ff, true);
  for (const [at, field] of POINTERS) {
    v.setUint32(field, area.getUint32(at, true), true);
    v.setUint32(field + 4, wide ? area.getUint32(at + 4, true) : 0, true);
  }
  const top = topOf(v);
  for (let i = 0; i < 8; i++) {
    const to = Reg.ST + (((top + i) & 7) << 4),
      from = ST_AT + 16 * i;
    v.setUint32(to, area.getUint32(from, true), true);
    v.setUint32(to + 4, area.getUint32(from + 4, true), true);
    v.setUint16(to + 8, area.getUint16(from + 8, true), true);
  }
  updateSummary(v);
}
function unpackXmm(cpu: Cpu): void {
  cpu.regs.bytes.set(VECTORS.bytes, Reg.XMM);
}

/** FXSAVE, FXSAVE64. */
export function fxsave(cpu: Cpu): void {
  const address = addressOf(cpu);
  checkDevice(cpu, CR0_EM_TS);
  checkAddress(address, 16n);
  cpu.probeWrite(address, AREA_SIZE);
  packX87(cpu.regs.view, isWide(cpu));
  packSse(cpu);
  store(cpu, address, LEGACY);
}

/** FXRSTOR, FXRSTOR64. */
export function fxrstor(cpu: Cpu): void {
  const address = addressOf(cpu),
    v = cpu.regs.view;
  checkDevice(cpu, CR0_EM_TS);
  checkAddress(address, 16n);
  load(cpu, address, LEGACY);
  const mxcsr = area.getUint32(MXCSR_AT, true);
  checkMxcsr(mxcsr);
  unpackX87(v, isWide(cpu));
  unpackXmm(cpu);
  v.setUint32(Reg.MXCSR, mxcsr, true);
}

/** XSAVE, XSAVE64: XSTATE_BV is read, and written for the requested features; the rest of the header stays. */
export function xsave(cpu: Cpu): void {
  const address = addressOf(cpu),
    features = requested(cpu);
  checkAddress(address, 64n);
  cpu.probeWrite(address, LEGACY_SIZE);
  cpu.probeWrite(address + BigInt(HEADER), 8);
  load(cpu, address, STATE_BV);
  if ((features & X87) !== 0) packX87(cpu.regs.view, isWide(cpu));
  if ((features & SSE) !== 0) packSse(cpu);
  const parts = [[], [X87_HEAD, STACK], [SSE_HEAD, VECTORS], [LEGACY]][features]!;
  for (const each of parts) store(cpu, address, each);
  area.setUint8(HEADER, area.getUint8(HEADER) | features);
  store(cpu, address, STATE_BV);
}

/** Must the header make XRSTOR fault? XSTATE_BV has bits that XCR0 has not, or what is reserved is not 0. */
function isBadHeader(xcr0: number): boolean {
  let wrong = area.getUint32(HEADER, true) & ~xcr0;
  for (let at = HEADER + 4; at < HEADER + 24; at += 4) wrong |= area.getUint32(at, true);
  return wrong !== 0;
}

/** XRSTOR, XRSTOR64: requested features come from memory or, if their bit in XSTATE_BV is clear, get their initial state. */
export function xrstor(cpu: Cpu): void {
  const address = addressOf(cpu),
    v = cpu.regs.view,
    features = requested(cpu);
  checkAddress(address, 64n);
  load(cpu, address, XSAVE_HEADER);
  if (isBadHeader(cpu.regs.get32(Reg.XCR0))) throw new GuestFault(Vector.GP, 0);
  const present = area.getUint8(HEADER) & features;
  if (present === (X87 | SSE)) load(cpu, address, LEGACY);
  else {
    load(cpu, address, HEAD);
    if (present & X87) load(cpu, address, STACK);
    if (present & SSE) load(cpu, address, VECTORS);
  }
  if ((features & SSE) !== 0) {
    const mxcsr = area.getUint32(MXCSR_AT, true);
    checkMxcsr(mxcsr);
    v.setUint32(Reg.MXCSR, mxcsr, true);
    if (present & SSE) unpackXmm(cpu);
    else cpu.regs.bytes.fill(0, Reg.XMM, Reg.XMM + XMM_BYTES);
  }
  if (present & X87) unpackX87(v, isWide(cpu));
  else if ((features & X87) !== 0) {
    initialize(v);
    cpu.regs.bytes.fill(0, Reg.ST, Reg.ST + ST_BYTES);
  }
}
