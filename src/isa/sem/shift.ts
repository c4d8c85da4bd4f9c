/* Shifts and rotates: SHL SHR SAR ROL ROR RCL RCR SHLD SHRD, with flags as processors set them.
 * The count is taken modulo 32 (64 with 64-bit operands); a count of 0 leaves all flags alone, but the destination is
 * still written (a 32-bit register is zero-extended). OF, defined for a count of 1 only, follows the same formula always.
 * @source SDM vol. 2B "RCL/RCR/ROL/ROR", "SAL/SAR/SHL/SHR", "SHLD", "SHRD" */
import { semantics, type Sem, type Semantics } from "../sem.ts";
import { bit, bitAt } from "./derived-flags.ts";

interface Shifted<V> {
  readonly result: V;
  /** Sets the flags; the count is not 0. */
  readonly setFlags: () => void;
}
/** @param a operand, zero-extended  @param n masked count  @param bits operand width */
type Shifter = <V>(s: Sem<V>, a: V, n: V, bits: number) => Shifted<V>;

const maskedCount = <V>(s: Sem<V>, n: V): V => s.and(n, s.const(s.size === 8 ? 63 : 31));

const shiftLeft: Shifter = (s, a, n) => {
  const result = s.shl(a, n);
  return { result, setFlags: () => s.flags("shl", a, n, result) };
};
const shiftRight: Shifter = (s, a, n) => {
  const result = s.shrU(a, n);
  return { result, setFlags: () => s.flags("shr", a, n, result) };
};
const shiftRightSigned: Shifter = (s, a, n) => {
  const result = s.shrS(s.sext(a, s.size), n);
  return { result, setFlags: () => s.flags("sar", a, n, result) };
};

/** The value repeated through 64 bits: then a 64-bit rotation is a rotation of the narrow value. */
function repeated<V>(s: Sem<V>, a: V, bits: number): V {
  if (bits === 64) return a;
  return s.mul(a, s.const(bits === 8 ? 0x0101010101010101n : bits === 16 ? 0x0001000100010001n : 0x0000000100000001n));
}
const rotateLeft: Shifter = (s, a, n, bits) => {
  const result = s.rotl(repeated(s, a, bits), n);
  return { result, setFlags: () => s.rotateFlags(true, result) };
};
const rotateRight: Shifter = (s, a, n, bits) => {
  const result = s.rotl(repeated(s, a, bits), s.sub(s.const(64), n));
  return { result, setFlags: () => s.rotateFlags(false, result) };
};

/** Rotation of bits + 1 bits. Counts beyond the width, which 8- and 16-bit operands can have, are taken modulo bits + 1. */
const rotateLeftCarry: Shifter = (s, a, count, bits) => {
  const carry = s.flag("CF");
  let result;
  let cf;
  if (bits === 64) {
    const back = s.sub(s.const(64), count);
    const turned = s.or(
      s.or(s.shl(a, count), s.shl(carry, s.sub(count, s.const(1)))),
      s.shrU(s.shrU(a, s.const(1)), back),
    );
    result = s.select(s.isZero(count), a, turned);
    cf = bit(s, a, back);
  } else {
    const n = bits < 32 ? s.remU(count, s.const(bits + 1)) : count;
    const wide = s.or(a, s.shl(carry, s.const(bits)));
    result = s.or(s.shl(wide, n), s.shrU(wide, s.sub(s.const(bits + 1), n)));
    cf = bitAt(s, result, bits);
  }
  return { result, setFlags: () => s.setFlags({ CF: cf, OF: s.xor(cf, bitAt(s, result, bits - 1)) }) };
};
const rotateRightCarry: Shifter = (s, a, count, bits) => {
  const carry = s.flag("CF");
  let result;
  let cf;
  if (bits === 64) {
    const back = s.sub(s.const(64), count);
    const turned = s.or(s.or(s.shrU(a, count), s.shl(carry, back)), s.shl(s.shl(a, s.const(1)), back));
    result = s.select(s.isZero(count), a, turned);
    cf = bit(s, a, s.sub(count, s.const(1)));
  } else {
    const n = bits < 32 ? s.remU(count, s.const(bits + 1)) : count;
    const wide = s.or(a, s.shl(carry, s.const(bits)));
    result = s.or(s.shrU(wide, n), s.shl(wide, s.sub(s.const(bits + 1), n)));
    cf = bitAt(s, result, bits);
  }
  const of = (): typeof cf => s.xor(bitAt(s, result, bits - 1), bitAt(s, result, bits - 2));
  return { result, setFlags: () => s.setFlags({ CF: cf, OF: of() }) };
};

const byCount = (shifter: Shifter): Semantics =>
  semantics("xr", (s) => {
    const a = s.get(0);
    const n = maskedCount(s, s.get(1));
    const { result, setFlags } = shifter(s, a, n, s.size * 8);
    s.put(0, result);
    s.when(s.ne(n, s.const(0)), setFlags);
  });
const byOne = (shifter: Shifter): Semantics =>
  semantics("x-", (s) => {
    const { result, setFlags } = shifter(s, s.get(0), s.const(1), s.size * 8);
    s.put(0, result);
    setFlags();
  });

/** Group 2 in ModRM.reg order; 6 is an alias of SHL. */
const GROUP: readonly Shifter[] = [
  rotateLeft,
  rotateRight,
  rotateLeftCarry,
  rotateRightCarry,
  shiftLeft,
  shiftRight,
  shiftLeft,
  shiftRightSigned,
];
/** ROL ROR RCL RCR SHL SHR SHL SAR of operand 0 by operand 1. */
export const SHIFT_BY_COUNT: readonly Semantics[] = GROUP.map(byCount);
export const SHIFT_BY_ONE: readonly Semantics[] = GROUP.map(byOne);

/** SHLD, SHRD. With 16 bits and a count above 16, which the manual leaves undefined, the first operand follows again. */
const doubleShift = (left: boolean): Semantics =>
  semantics("xrr", (s) => {
    const a = s.get(0);
    const b = s.get(1);
    const n = maskedCount(s, s.get(2));
    const bits = s.size * 8;
    let result;
    let cf;
    if (bits === 64) {
      const back = s.sub(s.const(64), n);
      const turned = left ? s.or(s.shl(a, n), s.shrU(b, back)) : s.or(s.shrU(a, n), s.shl(b, back));
      result = s.select(s.isZero(n), a, turned);
      cf = bit(s, a, left ? back : s.sub(n, s.const(1)));
    } else {
      const high = left ? a : b;
      const low = left ? b : a;
      const pair = s.or(s.shl(high, s.const(bits)), low);
      const line = bits === 32 ? pair : s.or(left ? s.shl(pair, s.const(16)) : pair, left ? a : s.shl(a, s.const(32)));
      const total = bits === 32 ? 64 : 48;
      result = left ? s.shrU(s.shl(line, n), s.const(total - bits)) : s.shrU(line, n);
      cf = bit(s, line, left ? s.sub(s.const(total), n) : s.sub(n, s.const(1)));
    }
    s.put(0, result);
    s.when(s.ne(n, s.const(0)), () => s.flagsResult(result, cf, bitAt(s, s.xor(a, result), bits - 1)));
  });
export const SHLD = doubleShift(true);
export const SHRD = doubleShift(false);
