/* AND OR XOR NOT TEST, and the flag instructions CLC STC CMC CLD STD LAHF SAHF.
 * @source SDM vol. 2A–2C, the instructions' pages */
import { Reg, Rflags } from "../registers.ts";
import { semantics, type Sem } from "../sem.ts";

const logic = (op: "and" | "or" | "xor") =>
  semantics("xr", <V>(s: Sem<V>) => {
    const a = s.get(0);
    const b = s.get(1);
    const r = s[op](a, b);
    s.put(0, r);
    s.flags("logic", a, b, r);
  });
export const AND = logic("and");
export const OR = logic("or");
export const XOR = logic("xor");

export const NOT = semantics("x", (s) => s.put(0, s.not(s.get(0))));
export const TEST = semantics("rr", (s) => {
  const a = s.get(0);
  const b = s.get(1);
  s.flags("logic", a, b, s.and(a, b));
});

export const CLC = semantics("", (s) => s.setFlags({ CF: s.const(0) }));
export const STC = semantics("", (s) => s.setFlags({ CF: s.const(1) }));
export const CMC = semantics("", (s) => s.setFlags({ CF: s.isZero(s.flag("CF")) }));
export const CLD = semantics("", (s) =>
  s.setField(Reg.RFLAGS, 8, s.and(s.field(Reg.RFLAGS, 8), s.const(~BigInt(Rflags.DF)))),
);
export const STD = semantics("", (s) => s.setField(Reg.RFLAGS, 8, s.or(s.field(Reg.RFLAGS, 8), s.const(Rflags.DF))));

const SF_ZF_AF_PF_CF = Rflags.OSZAPC & ~Rflags.OF;

/** AH is bits 8–15 of RAX; bit 1 of the flags reads as 1. */
export const LAHF = semantics("", (s) => {
  const ah = s.or(s.and(s.readFlags(), s.const(SF_ZF_AF_PF_CF)), s.const(2));
  s.setReg(0, 2, s.or(s.reg(0, 1), s.shl(ah, s.const(8))));
});
export const SAHF = semantics("", (s) => {
  const ah = s.shrU(s.reg(0, 2), s.const(8));
  s.writeFlags(s.or(s.and(s.readFlags(), s.const(Rflags.OF)), s.and(ah, s.const(SF_ZF_AF_PF_CF))));
});
