/* Between the register file's x87 and SSE state and the FXSAVE64 image.
 * @source SDM vol. 1 §10.5.1, table 10-2 "FXSAVE area"
 *
 *   0x000 u16 FCW   0x002 u16 FSW   0x004 u8 abridged tags (1 = not empty, by physical register)   0x006 u16 FOP
 *   0x008 u64 FIP   0x010 u64 FDP   0x018 u32 MXCSR   0x01c u32 MXCSR mask
 *   0x020 8×16 ST0…ST7 (relative to TOP)   0x0a0 16×16 XMM0…XMM15
 */
import { Reg } from "../../src/isa/registers.ts";

const TOP_SHIFT = 11;

/** Full two-bit tag of a register that is not empty. @source SDM vol. 1 §8.1.7 */
export function tagOf(significand: bigint, signAndExponent: number): number {
  const exponent = signAndExponent & 0x7fff;
  if (exponent === 0 && significand === 0n) return 1;
  return exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n ? 2 : 0;
}

/** Full tags of the registers in a state, by physical register: those that `present` has a bit for, the others empty. */
export function fullTags(state: DataView, present: number): number {
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    const at = Reg.ST + 16 * n;
    const tag = (present >> n) & 1 ? tagOf(state.getBigUint64(at, true), state.getUint16(at + 8, true)) : 3;
    tags |= tag << (2 * n);
  }
  return tags;
}

/** One bit a physical register: not empty. */
export function presentTags(tags: number): number {
  let present = 0;
  for (let n = 0; n < 8; n++) if (((tags >> (2 * n)) & 3) !== 3) present |= 1 << n;
  return present;
}

export function toFxsave(state: Uint8Array, image: Uint8Array): void {
  const s = new DataView(state.buffer, state.byteOffset);
  const f = new DataView(image.buffer, image.byteOffset);
  const top = (s.getUint16(Reg.FSW, true) >> TOP_SHIFT) & 7;
  image.fill(0, 0, 512);
  f.setUint16(0, s.getUint16(Reg.FCW, true), true);
  f.setUint16(2, s.getUint16(Reg.FSW, true), true);
  f.setUint8(4, presentTags(s.getUint16(Reg.FTW, true)));
  f.setUint32(0x18, s.getUint32(Reg.MXCSR, true), true);
  for (let n = 0; n < 8; n++) {
    const at = Reg.ST + 16 * ((top + n) & 7);
    image.set(state.subarray(at, at + 10), 0x20 + 16 * n);
  }
  image.set(state.subarray(Reg.XMM, Reg.XMM + 256), 0xa0);
}

/** FOP, FIP and FDP are not taken: no runner compares them. */
export function fromFxsave(image: Uint8Array, state: Uint8Array): void {
  const s = new DataView(state.buffer, state.byteOffset);
  const f = new DataView(image.buffer, image.byteOffset);
  const fsw = f.getUint16(2, true);
  const top = (fsw >> TOP_SHIFT) & 7;
  s.setUint16(Reg.FCW, f.getUint16(0, true), true);
  s.setUint16(Reg.FSW, fsw, true);
  s.setUint32(Reg.MXCSR, f.getUint32(0x18, true), true);
  for (let n = 0; n < 8; n++) state.set(image.subarray(0x20 + 16 * n, 0x2a + 16 * n), Reg.ST + 16 * ((top + n) & 7));
  s.setUint16(Reg.FTW, fullTags(s, f.getUint8(4)), true);
  state.set(image.subarray(0xa0, 0x1a0), Reg.XMM);
}
