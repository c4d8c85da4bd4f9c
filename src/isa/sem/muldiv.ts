/* MUL IMUL DIV IDIV, and the calls for 128-bit dividends.
 * @source SDM vol. 2A "DIV", "IDIV", "IMUL"; vol. 2B "MUL". The flags that the manual leaves undefined follow the low half. */
import { GuestFault, Vector } from "../cpu.ts";
import type { CallSpec } from "../calls.ts";
import { semantics, type Sem } from "../sem.ts";

/** Stores a double-width product: AX, or rDX:rAX. */
function putProduct<V>(s: Sem<V>, low: V, high: V): void {
  if (s.size === 1) s.setReg(0, 2, low);
  else {
    s.setReg(0, s.size, low);
    s.setReg(2, s.size, high);
  }
}

/** rAX × operand 0, unsigned. CF = OF = the high half is not zero. */
export const MUL = semantics("r", (s) => {
  const a = s.reg(0, s.size);
  const b = s.get(0);
  const low = s.mul(a, b);
  const high = s.size === 8 ? s.mulHighU(a, b) : s.shrU(low, s.const(s.size * 8));
  const over = s.ne(high, s.const(0));
  putProduct(s, low, high);
  s.flagsResult(low, over, over);
});

/** rAX × operand 0, signed. CF = OF = the high half is more than the low half's sign. */
export const IMUL = semantics("r", (s) => {
  const a = s.sext(s.reg(0, s.size), s.size);
  const b = s.getSigned(0);
  const low = s.mul(a, b);
  const high = s.size === 8 ? s.mulHighS(a, b) : s.shrS(low, s.const(s.size * 8));
  const over = s.size === 8 ? s.ne(high, s.shrS(low, s.const(63))) : s.ne(s.sext(low, s.size), low);
  putProduct(s, low, high);
  s.flagsResult(low, over, over);
});

function imulTruncating<V>(s: Sem<V>, a: V, b: V): void {
  const low = s.mul(a, b);
  s.put(0, low);
  s.flags("imul", a, b, low);
}
export const IMUL2 = semantics("xr", (s) => imulTruncating(s, s.getSigned(0), s.getSigned(1)));
export const IMUL3 = semantics("wrr", (s) => imulTruncating(s, s.getSigned(1), s.getSigned(2)));

function putQuotient<V>(s: Sem<V>, quotient: V, remainder: V): void {
  if (s.size === 1) s.setReg(0, 2, s.or(s.zext(quotient, 1), s.shl(s.zext(remainder, 1), s.const(8))));
  else {
    s.setReg(0, s.size, quotient);
    s.setReg(2, s.size, remainder);
  }
}

/** The dividend of the forms up to 32 bits: AX, DX:AX, EDX:EAX, zero-extended. */
function narrowDividend<V>(s: Sem<V>): V {
  if (s.size === 1) return s.reg(0, 2);
  return s.or(s.shl(s.reg(2, s.size), s.const(s.size * 8)), s.reg(0, s.size));
}

export const DIV = semantics("r", (s) => {
  const divisor = s.get(0);
  s.when(s.isZero(divisor), () => s.raise("#DE"));
  if (s.size === 8) {
    const low = s.reg(0, 8);
    const high = s.reg(2, 8);
    const quotient = s.whenValue(
      s.isZero(high),
      () => s.divU(low, divisor),
      () => s.call("div128u", high, low, divisor),
    );
    putQuotient(s, quotient, s.sub(low, s.mul(quotient, divisor)));
    return;
  }
  const dividend = narrowDividend(s);
  const quotient = s.divU(dividend, divisor);
  s.when(s.ne(s.zext(quotient, s.size), quotient), () => s.raise("#DE"));
  putQuotient(s, quotient, s.sub(dividend, s.mul(quotient, divisor)));
});

export const IDIV = semantics("r", (s) => {
  const divisor = s.getSigned(0);
  s.when(s.isZero(divisor), () => s.raise("#DE"));
  const minusOne = s.eq(divisor, s.const(-1));
  const least = s.const(-(1n << 63n));
  if (s.size === 8) {
    const low = s.reg(0, 8);
    const high = s.reg(2, 8);
    // a 64-bit dividend, and not the one quotient that overflows
    const simple = s.and(s.eq(high, s.shrS(low, s.const(63))), s.isZero(s.and(minusOne, s.eq(low, least))));
    const quotient = s.whenValue(
      simple,
      () => s.divS(low, divisor),
      () => s.call("div128s", high, low, divisor),
    );
    putQuotient(s, quotient, s.sub(low, s.mul(quotient, divisor)));
    return;
  }
  const dividend = s.size === 4 ? narrowDividend(s) : s.sext(narrowDividend(s), s.size === 1 ? 2 : 4);
  if (s.size === 4) s.when(s.and(minusOne, s.eq(dividend, least)), () => s.raise("#DE"));
  const quotient = s.divS(dividend, divisor);
  s.when(s.ne(s.sext(quotient, s.size), quotient), () => s.raise("#DE"));
  putQuotient(s, quotient, s.sub(dividend, s.mul(quotient, divisor)));
});

const divideError = (): never => {
  throw new GuestFault(Vector.DE);
};

/** Quotients of high:low by a divisor that is not zero; #DE if they do not fit. The caller derives the remainder. */
export const MULDIV_CALLS: Record<string, CallSpec> = {
  div128u: {
    args: 3,
    result: true,
    run: (_cpu, high, low, divisor) => {
      const quotient = ((BigInt.asUintN(64, high!) << 64n) | BigInt.asUintN(64, low!)) / BigInt.asUintN(64, divisor!);
      return quotient >> 64n === 0n ? quotient : divideError();
    },
  },
  div128s: {
    args: 3,
    result: true,
    run: (_cpu, high, low, divisor) => {
      const quotient = ((BigInt.asIntN(64, high!) << 64n) | BigInt.asUintN(64, low!)) / BigInt.asIntN(64, divisor!);
      return BigInt.asIntN(64, quotient) === quotient ? quotient : divideError();
    },
  },
};
