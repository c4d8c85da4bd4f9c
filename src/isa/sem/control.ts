/* Control flow inside one privilege level: JMP CALL RET Jcc LOOP JRCXZ, NOP, UD.
 * @source SDM vol. 2A "CALL", "Jcc", "JMP"; vol. 2B "LOOP", "RET"; vol. 2C "UD". Far forms: system.ts. */
import { semantics, type Semantics } from "../sem.ts";
import { push, requireCanonical } from "./stack.ts";

const RCX = 1;
const RSP = 4;

export const JMP_RELATIVE = semantics("r", (s) => s.jumpRelative());
export const JMP_INDIRECT = semantics("r", (s) => s.jump(s.get(0), "jump"));
export const CALL_RELATIVE = semantics("r", (s) => {
  push(s, s.nextRip(), 8);
  s.jumpRelative();
});
export const CALL_INDIRECT = semantics("r", (s) => {
  const target = s.get(0);
  const top = s.sub(s.reg(RSP, 8), s.const(8));
  s.store(top, 8, s.nextRip()); // processors write it before they look at the target
  requireCanonical(s, target);
  s.setReg(RSP, 8, top);
  s.jump(target, "call");
});
export const RET = semantics("", (s) => {
  const top = s.reg(RSP, 8);
  const target = s.load(top, 8);
  requireCanonical(s, target);
  s.setReg(RSP, 8, s.add(top, s.const(8)));
  s.jump(target, "return");
});
/** Operand 0: bytes of arguments to drop. */
export const RET_POP = semantics("r", (s) => {
  const top = s.reg(RSP, 8);
  const target = s.load(top, 8);
  requireCanonical(s, target);
  s.setReg(RSP, 8, s.add(s.add(top, s.const(8)), s.get(0)));
  s.jump(target, "return");
});

export const JCC: readonly Semantics[] = Array.from({ length: 16 }, (_, cc) =>
  semantics("r", (s) => s.jumpRelative(s.cond(cc))),
);

/** LOOPNE, LOOPE, LOOP: the counter is rCX by address size; flags are read, not written. */
const loop = (zf: 0 | 1 | undefined): Semantics =>
  semantics("r", (s) => {
    const count = s.sub(s.reg(RCX, s.addressSize), s.const(1));
    s.setReg(RCX, s.addressSize, count);
    const more = s.ne(s.zext(count, s.addressSize), s.const(0));
    s.jumpRelative(zf === undefined ? more : s.and(more, zf ? s.flag("ZF") : s.isZero(s.flag("ZF"))));
  });
export const LOOPNE = loop(0);
export const LOOPE = loop(1);
export const LOOP = loop(undefined);
export const JRCXZ = semantics("r", (s) => s.jumpRelative(s.isZero(s.reg(RCX, s.addressSize))));

export const NOP = semantics("", () => {});
/** NOP with a ModRM operand, hints and prefetches: nothing is accessed. */
export const NOP_OPERAND = semantics("-", () => {});
/** CLFLUSH faults as a read of a byte does. */
export const TOUCH = semantics("r", (s) => {
  s.get(0);
});
export const UNDEFINED = semantics("--", (s) => s.raise("#UD"));
