/* Data moves: MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, sign extensions in rAX, XLAT, BSWAP, MOVBE.
 * @source SDM vol. 2A–2C, the instructions' pages */
import { semantics, type Sem, type Semantics, type Size } from "../sem.ts";

/** MOV, MOVZX, MOVNTI: get() zero-extends already. */
export const MOV = semantics("wr", (s) => s.put(0, s.get(1)));
export const MOVSX = semantics("wr", (s) => s.put(0, s.getSigned(1)));
export const LEA = semantics("w-", (s) => s.put(0, s.effectiveAddress(1)));

/** The memory operand first: with memory this is a locked exchange, and only the first put may restart it. */
export const XCHG = semantics("xx", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  s.put(0, b);
  s.put(1, a);
});

/** The source is read whatever the condition; a 32-bit destination is zero-extended even if nothing moves. */
export const CMOV: readonly Semantics[] = Array.from({ length: 16 }, (_, cc) =>
  semantics("xr", (s) => {
    const from = s.get(1);
    s.put(0, s.select(s.cond(cc), from, s.get(0)));
  }),
);
export const SET: readonly Semantics[] = Array.from({ length: 16 }, (_, cc) =>
  semantics("w", (s) => s.put(0, s.cond(cc))),
);

const halfOf = (size: Size): Size => (size === 8 ? 4 : size === 4 ? 2 : 1);

/** CBW, CWDE, CDQE. */
export const CBW = semantics("", (s) => s.setReg(0, s.size, s.sext(s.reg(0, halfOf(s.size)), halfOf(s.size))));
/** CWD, CDQ, CQO. */
export const CWD = semantics("", (s) => s.setReg(2, s.size, s.shrS(s.sext(s.reg(0, s.size), s.size), s.const(63))));

/** Operand 0 is memory at rBX; AL is added here. */
export const XLAT = semantics("-", (s) => s.setReg(0, 1, s.load(s.add(s.linearAddress(0), s.reg(0, 1)), 1)));

/** Reverses the low `size` bytes. @returns zero-extended */
export function swapBytes<V>(s: Sem<V>, value: V, size: Size): V {
  if (size === 1) return s.zext(value, 1);
  const exchange = (v: V, bits: number, mask: bigint): V =>
    s.or(s.shl(s.and(v, s.const(mask)), s.const(bits)), s.and(s.shrU(v, s.const(bits)), s.const(mask)));
  const bytes = exchange(value, 8, 0x00ff00ff00ff00ffn);
  if (size === 2) return s.zext(bytes, 2);
  const words = exchange(bytes, 16, 0x0000ffff0000ffffn);
  return size === 4 ? s.zext(words, 4) : s.rotl(words, s.const(32));
}

/** With 16 bits the result is undefined; processors give 0. */
export const BSWAP = semantics("x", (s) => s.put(0, s.size === 2 ? s.const(0) : swapBytes(s, s.get(0), s.size)));
export const MOVBE = semantics("wr", (s) => s.put(0, swapBytes(s, s.get(1), s.size)));
