/* BMI1 and BMI2: general-register instructions, most of them VEX-encoded. Operand order is the encoding's in the tables.
 * @source SDM vol. 2A "ANDN", "BEXTR", "BLSI", "BLSMSK", "BLSR", "BZHI"; vol. 2B "MULX", "PDEP", "PEXT", "RORX", "SARX" */
import type { CallSpec } from "../calls.ts";
import { semantics, type Semantics } from "../sem.ts";

const RDX = 2;

/** Gy = ~By & Ey. */
export const ANDN = semantics("wrr", (s) => {
  const r = s.and(s.not(s.get(1)), s.get(2));
  s.put(0, r);
  s.flags("logic", r, r, r);
});

/** By = lowest set bit of Ey. CF: Ey is not 0. */
export const BLSI = semantics("wr", (s) => {
  const a = s.get(1);
  const r = s.and(a, s.sub(s.const(0), a));
  s.put(0, r);
  s.flagsResult(r, s.ne(a, s.const(0)), s.const(0));
});
/** CF: Ey is 0. */
export const BLSMSK = semantics("wr", (s) => {
  const a = s.get(1);
  const r = s.xor(a, s.sub(a, s.const(1)));
  s.put(0, r);
  s.flagsResult(r, s.isZero(a), s.const(0));
});
export const BLSR = semantics("wr", (s) => {
  const a = s.get(1);
  const r = s.and(a, s.sub(a, s.const(1)));
  s.put(0, r);
  s.flagsResult(r, s.isZero(a), s.const(0));
});

/** Gy = the bits of Ey from start (By bits 0–7), length (bits 8–15). */
export const BEXTR = semantics("wrr", (s) => {
  const control = s.get(2);
  const start = s.and(control, s.const(0xff));
  const length = s.and(s.shrU(control, s.const(8)), s.const(0xff));
  const shifted = s.select(s.ltU(start, s.const(64)), s.shrU(s.get(1), start), s.const(0));
  const mask = s.select(s.ltU(length, s.const(64)), s.sub(s.shl(s.const(1), length), s.const(1)), s.const(-1));
  const r = s.and(shifted, mask);
  s.put(0, r);
  s.flags("logic", r, r, r);
});

/** Gy = Ey without the bits from By bits 0–7 on. CF: that number is beyond the operand. */
export const BZHI = semantics("wrr", (s) => {
  const n = s.and(s.get(2), s.const(0xff));
  const beyond = s.ltU(s.const(s.size * 8 - 1), n);
  const a = s.get(1);
  const r = s.select(beyond, a, s.and(a, s.sub(s.shl(s.const(1), n), s.const(1))));
  s.put(0, r);
  s.flagsResult(r, beyond, s.const(0));
});

/** Gy:By = RDX × Ey, the high half last: it stays if both are one register. */
export const MULX = semantics("wwr", (s) => {
  const a = s.reg(RDX, s.size);
  const b = s.get(2);
  const low = s.mul(a, b);
  const high = s.size === 8 ? s.mulHighU(a, b) : s.shrU(low, s.const(32));
  s.put(1, low);
  s.put(0, high);
});

export const PDEP = semantics("wrr", (s) => s.put(0, s.call("pdep", s.get(1), s.get(2))));
export const PEXT = semantics("wrr", (s) => s.put(0, s.call("pext", s.get(1), s.get(2))));

export const RORX = semantics("wrr", (s) => {
  const a = s.get(1);
  const n = s.get(2);
  const wide = s.size === 8 ? a : s.or(a, s.shl(a, s.const(32)));
  s.put(0, s.rotl(wide, s.sub(s.const(64), n)));
});

const shiftWithoutFlags = (op: "shl" | "shrU" | "shrS"): Semantics =>
  semantics("wrr", (s) => {
    const n = s.and(s.get(2), s.const(s.size * 8 - 1));
    s.put(0, s[op](op === "shrS" ? s.getSigned(1) : s.get(1), n));
  });
export const SHLX = shiftWithoutFlags("shl");
export const SHRX = shiftWithoutFlags("shrU");
export const SARX = shiftWithoutFlags("shrS");

export const BMI_CALLS: Record<string, CallSpec> = {
  /** (source, mask): the source's low bits go to the mask's set bits. */
  pdep: {
    args: 2,
    result: true,
    run: (_cpu, source, mask) => {
      let result = 0n;
      let from = BigInt.asUintN(64, source!);
      for (let m = BigInt.asUintN(64, mask!); m !== 0n && from !== 0n; m &= m - 1n, from >>= 1n)
        if (from & 1n) result |= m & -m;
      return result;
    },
  },
  /** (source, mask): the source's bits under the mask come together at the bottom. */
  pext: {
    args: 2,
    result: true,
    run: (_cpu, source, mask) => {
      let result = 0n;
      let at = 1n;
      for (let m = BigInt.asUintN(64, mask!); m !== 0n; m &= m - 1n, at <<= 1n) if (source! & (m & -m)) result |= at;
      return result;
    },
  },
};
