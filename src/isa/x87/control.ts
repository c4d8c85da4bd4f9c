/* x87 control: FNINIT FNCLEX FLDCW FINCSTP FDECSTP, and the environment and state images of FNSTENV FLDENV FNSAVE FRSTOR.
 * @source SDM vol. 1 §8.1.10, Figures 8-9 (28 bytes, 32-bit protected format, used in 64-bit mode) and 8-10 (14 bytes, with 66h)
 *
 *   28 bytes: 0 FCW · 4 FSW · 8 FTW · 12 FIP[31:0] · 16 FCS, FOP in bits 16–26 · 20 FDP[31:0] · 24 FDS   (u32 each)
 *   14 bytes: 0 FCW · 2 FSW · 4 FTW · 6 FIP[15:0] · 8 FCS · 10 FDP[15:0] · 12 FDS                          (u16 each)
 *   then, FNSAVE and FRSTOR only, ST(0)…ST(7), 10 bytes each. FCS and FDS are always 0 here. */
import type { Cpu } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { Float80, Kind, kindOf } from "./float80.ts";
import { Arg, isEmpty, readPhysical, rotate, topOf, updateSummary } from "./unit.ts";

/** Bits of the control word that can be written; bit 6 reads as 1. @source SDM vol. 1 Figure 8-6 */
const FCW_BITS = 0x1f3f;
export const FCW_INIT = 0x37f;

export function setControlWord(v: DataView, value: number): void {
  v.setUint16(Reg.FCW, (value & FCW_BITS) | 0x40, true);
}

/** FNINIT, and the x87 state after reset or XRSTOR's initial configuration but for the registers. */
export function initialize(v: DataView): void {
  v.setUint16(Reg.FCW, FCW_INIT, true);
  v.setUint16(Reg.FSW, 0, true);
  v.setUint16(Reg.FTW, 0xffff, true);
  v.setUint16(Reg.FOP, 0, true);
  v.setBigUint64(Reg.FIP, 0n, true);
  v.setBigUint64(Reg.FDP, 0n, true);
}

export const x87Init = (cpu: Cpu): void => initialize(cpu.regs.view);

/** FNCLEX: exceptions, SF, ES, B. */
export function x87ClearExceptions(cpu: Cpu): void {
  const v = cpu.regs.view;
  v.setUint16(Reg.FSW, v.getUint16(Reg.FSW, true) & 0x7f00, true);
}

/** FLDCW: the word is in the mailbox. */
export function x87LoadControl(cpu: Cpu): void {
  const v = cpu.regs.view;
  setControlWord(v, v.getUint16(Reg.X87_VALUE, true));
  updateSummary(v);
}

/** FINCSTP, or FDECSTP with VARIANT. */
export function x87Rotate(cpu: Cpu): void {
  const v = cpu.regs.view;
  v.setUint8(Reg.FSW + 1, v.getUint8(Reg.FSW + 1) & ~2); // C1
  rotate(v, (v.getUint32(Reg.X87_ARG, true) & Arg.VARIANT) !== 0 ? -1 : 1);
}

const x = new Float80();

/** FTW with zero (1) and special (2: not a normal number) told from the contents. */
export function fullTags(v: DataView): number {
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    let tag = 3;
    if (!isEmpty(v, n)) {
      readPhysical(v, n, x);
      const kind = kindOf(x);
      tag = kind === Kind.NORMAL ? 0 : kind === Kind.ZERO ? 1 : 2;
    }
    tags |= tag << (n << 1);
  }
  return tags;
}

const addressOf = (v: DataView): bigint => v.getBigUint64(Reg.X87_VALUE, true);
const isShort = (v: DataView): boolean => (v.getUint32(Reg.X87_ARG, true) & Arg.VARIANT) !== 0;

function writeEnvironment(cpu: Cpu, address: bigint, short: boolean): void {
  const v = cpu.regs.view;
  const fip = v.getUint32(Reg.FIP, true),
    fdp = v.getUint32(Reg.FDP, true);
  const fields = [v.getUint16(Reg.FCW, true), v.getUint16(Reg.FSW, true), fullTags(v)];
  if (short)
    [...fields, fip & 0xffff, 0, fdp & 0xffff, 0].forEach((n, i) => cpu.write(address + BigInt(2 * i), 2, BigInt(n)));
  else {
    const words = [
      ...fields.map((n) => (n | 0xffff0000) >>> 0),
      fip,
      (v.getUint16(Reg.FOP, true) & 0x7ff) << 16,
      fdp,
      0xffff0000,
    ];
    words.forEach((n, i) => cpu.write(address + BigInt(4 * i), 4, BigInt(n)));
  }
}

/** Reads all of an environment, then sets it. */
function readEnvironment(cpu: Cpu, address: bigint, short: boolean): () => void {
  const v = cpu.regs.view,
    step = short ? 2 : 4;
  const words = Array.from({ length: 7 }, (_, i) => Number(cpu.read(address + BigInt(step * i), step)));
  return () => {
    setControlWord(v, words[0]!);
    v.setUint16(Reg.FSW, words[1]!, true);
    v.setUint16(Reg.FTW, words[2]!, true);
    v.setBigUint64(Reg.FIP, BigInt(words[3]!), true);
    v.setUint16(Reg.FOP, short ? 0 : (words[4]! >>> 16) & 0x7ff, true);
    v.setBigUint64(Reg.FDP, BigInt(words[5]!), true);
    updateSummary(v);
  };
}

/** FNSTENV m14/m28 at the mailbox's address; then all exceptions are masked. */
export function x87StoreEnvironment(cpu: Cpu): void {
  const v = cpu.regs.view,
    address = addressOf(v),
    short = isShort(v);
  cpu.probeWrite(address, short ? 14 : 28);
  writeEnvironment(cpu, address, short);
  v.setUint16(Reg.FCW, v.getUint16(Reg.FCW, true) | 0x3f, true);
  updateSummary(v);
}

export function x87LoadEnvironment(cpu: Cpu): void {
  const v = cpu.regs.view;
  readEnvironment(cpu, addressOf(v), isShort(v))();
}

/** FNSAVE m94/m108; then as FNINIT. */
export function x87Save(cpu: Cpu): void {
  const v = cpu.regs.view,
    address = addressOf(v),
    short = isShort(v);
  const size = short ? 14 : 28,
    top = topOf(v);
  cpu.probeWrite(address, size + 80);
  writeEnvironment(cpu, address, short);
  for (let i = 0; i < 8; i++) {
    const from = Reg.ST + (((top + i) & 7) << 4),
      to = address + BigInt(size + 10 * i);
    cpu.write(to, 8, v.getBigUint64(from, true));
    cpu.write(to + 8n, 2, BigInt(v.getUint16(from + 8, true)));
  }
  initialize(v);
}

export function x87Restore(cpu: Cpu): void {
  const v = cpu.regs.view,
    address = addressOf(v),
    short = isShort(v),
    size = short ? 14 : 28;
  const set = readEnvironment(cpu, address, short);
  const registers = Array.from({ length: 8 }, (_, i) => {
    const from = address + BigInt(size + 10 * i);
    return [cpu.read(from, 8), Number(cpu.read(from + 8n, 2))] as const;
  });
  set();
  const top = topOf(v);
  registers.forEach(([significand, signExp], i) => {
    const at = Reg.ST + (((top + i) & 7) << 4);
    v.setBigUint64(at, significand, true);
    v.setUint16(at + 8, signExp, true);
  });
}
