/* Lazy arithmetic flags: two 64-bit words instead of six bits. No operation code has to be remembered, so reading
 * a flag never dispatches. Who writes them: every implementation of Sem; this is the reference for all of them.
 * @source SDM vol. 1 §3.4.3.1 for the flags; the carry-vector identity is a full adder's.
 *
 *   result  i64   the operation's result, sign-extended from its width
 *   aux     i64   bit 63 CF · bit 62 CF^OF · bit 3 AF · bit 1 SF is inverted · bit 0 PF is inverted · others 0
 *
 *   ZF = result == 0      SF = (result < 0) ^ aux[1]      PF = even(result & 255) ^ aux[0]
 *   CF = aux[63]          OF = aux[63] ^ aux[62]          AF = aux[3]
 *
 * Addition of a and b (with any carry in) to r: carries = (a & b) | ((a | b) & ~r);
 * subtraction a − b (with any borrow in):       borrows = (~a & b) | (~(a ^ b) & r);
 * bit w−1 of that vector is CF, bit w−2 the carry into the top bit, bit 3 AF:
 *   aux = ((vector << (64 − w)) & 0xC000…0) | (vector & 8)
 */
import { Rflags } from "./registers.ts";

export const AUX_CF = 1n << 63n;
export const AUX_CF_XOR_OF = 1n << 62n;
export const AUX_AF = 8n;
export const AUX_SF_INVERTED = 2n;
export const AUX_PF_INVERTED = 1n;

const evenParity = (byte: number): boolean => {
  let b = byte & 0xff;
  b ^= b >> 4;
  return ((0x6996 >> (b & 15)) & 1) === 0;
};

/** Packs OSZAPC (bits as in RFLAGS) into the lazy pair. @param rflags only the OSZAPC bits are read */
export function packFlags(rflags: number): { result: bigint; aux: bigint } {
  const cf = rflags & Rflags.CF ? 1n : 0n;
  const of = rflags & Rflags.OF ? 1n : 0n;
  const result = rflags & Rflags.ZF ? 0n : 1n; // low byte 1: odd parity, so PF reads 0 unless inverted
  const parity = evenParity(Number(result)) ? 1 : 0;
  let aux = (cf << 63n) | ((cf ^ of) << 62n);
  if (rflags & Rflags.AF) aux |= AUX_AF;
  if (rflags & Rflags.SF) aux |= AUX_SF_INVERTED; // result is never negative here
  if ((rflags & Rflags.PF ? 1 : 0) !== parity) aux |= AUX_PF_INVERTED;
  return { result, aux };
}

/** Unpacks the lazy pair into OSZAPC bits as in RFLAGS. @param result signed or unsigned 64-bit value */
export function unpackFlags(result: bigint, aux: bigint): number {
  const r = BigInt.asIntN(64, result);
  const a = BigInt.asUintN(64, aux);
  const cf = Number(a >> 63n);
  const of = cf ^ Number((a >> 62n) & 1n);
  let flags = cf | (of << 11);
  if (r === 0n) flags |= Rflags.ZF;
  if (r < 0n !== ((a & AUX_SF_INVERTED) !== 0n)) flags |= Rflags.SF;
  if (evenParity(Number(r & 0xffn)) !== ((a & AUX_PF_INVERTED) !== 0n)) flags |= Rflags.PF;
  if (a & AUX_AF) flags |= Rflags.AF;
  return flags;
}

/** As unpackFlags, from 32-bit halves of either sign. */
export function flagsOfHalves(resultLow: number, resultHigh: number, auxLow: number, auxHigh: number): number {
  const cf = auxHigh >>> 31;
  let flags = cf | ((cf ^ ((auxHigh >>> 30) & 1)) << 11);
  if ((resultLow | resultHigh) === 0) flags |= Rflags.ZF;
  if (resultHigh < 0 !== ((auxLow & 2) !== 0)) flags |= Rflags.SF;
  if (evenParity(resultLow) !== ((auxLow & 1) !== 0)) flags |= Rflags.PF;
  if (auxLow & 8) flags |= Rflags.AF;
  return flags;
}
