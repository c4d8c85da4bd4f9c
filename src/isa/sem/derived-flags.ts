/* CF and OF of shifts, rotates and signed products, as processors set them. OF of a shift or rotate, defined for a count of 1 only, follows the same formula always.
 * @source SDM vol. 2A "IMUL"; vol. 2B "RCL/RCR/ROL/ROR", "SAL/SAR/SHL/SHR" */
import type { DerivedKind, FlagKind, Sem, Size } from "../sem.ts";

/** The operations that flags are computed with. */
export type FlagMath<V> = Pick<
  Sem<V>,
  "const" | "sub" | "and" | "xor" | "shl" | "shrU" | "shrS" | "sext" | "zext" | "ne" | "mulHighS"
>;

interface CarryAndOverflow<V> {
  readonly CF: V;
  readonly OF: V;
}
export const isDerived = (kind: FlagKind): kind is DerivedKind =>
  kind === "shl" || kind === "shr" || kind === "sar" || kind === "imul";
export const bit = <V>(s: FlagMath<V>, v: V, n: V): V => s.and(s.shrU(v, n), s.const(1));
export const bitAt = <V>(s: FlagMath<V>, v: V, n: number): V => bit(s, v, s.const(n));

/** @param a operand (zero-extended for shifts, sign-extended for "imul")  @param b masked count, not 0, or the other operand  @param result unmasked */
export function derivedFlags<V>(
  s: FlagMath<V>,
  kind: DerivedKind,
  a: V,
  b: V,
  result: V,
  size: Size,
): CarryAndOverflow<V> {
  const bits = 8 * size;
  const before = (): V => s.sub(b, s.const(1));
  switch (kind) {
    case "shl": {
      // the last bit shifted out; with 64 bits it has left the value
      const cf = bits === 64 ? bit(s, a, s.sub(s.const(64), b)) : bitAt(s, result, bits);
      return { CF: cf, OF: s.xor(cf, bitAt(s, result, bits - 1)) };
    }
    case "shr":
      return { CF: bit(s, a, before()), OF: bitAt(s, a, bits - 1) };
    case "sar":
      return { CF: s.and(s.shrS(s.sext(a, size), before()), s.const(1)), OF: s.const(0) };
    default: {
      const over =
        size === 8 ? s.ne(s.mulHighS(a, b), s.shrS(result, s.const(63))) : s.ne(s.sext(result, size), result);
      return { CF: over, OF: over };
    }
  }
}

/** Of a rotation. */
export function rotatedFlags<V>(s: FlagMath<V>, left: boolean, result: V, size: Size): CarryAndOverflow<V> {
  const top = bitAt(s, result, 8 * size - 1);
  if (!left) return { CF: top, OF: s.xor(top, bitAt(s, result, 8 * size - 2)) };
  const cf = bitAt(s, result, 0);
  return { CF: cf, OF: s.xor(cf, top) };
}
