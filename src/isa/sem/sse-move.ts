/* SSE data movement. A put of width 4 or 8 to an XMM operand writes only the low lane; moves that clear the rest put a
 * whole register. @source SDM vol. 2, MOVAPS … STMXCSR */
import { Reg } from "../registers.ts";
import { Mxcsr } from "../softfloat/mxcsr.ts";
import { type Sem, semantics } from "../sem.ts";

/** Operand 0 ← operand 1, both of one width: whole registers, stores, and register forms of MOVSS and MOVSD. */
export const VMOVE = semantics("wr", (s) => s.put(0, s.get(1)));

/** Integer in the low quadword, zeroes above. */
const alone = <V>(s: Sem<V>, v: V): V => s.withLane("i64x2", s.vectorConst(0n, 0n), 0, v);

/** Loads of MOVSS and MOVSD, MOVD, MOVQ: an integer into the low lane of a cleared register. */
export const MOVE_CLEARING = semantics("wr", (s) => s.put(0, alone(s, s.get(1))));

/** MOVHPS, MOVHPD loads: the upper quadword from memory. */
export const MOVH_LOAD = semantics("xr", (s) => s.put(0, s.withLane("i64x2", s.get(0), 1, s.get(1))));
export const MOVH_STORE = semantics("wr", (s) => s.put(0, s.lane("i64x2", s.get(1), 1)));
export const MOVLHPS = semantics("xr", (s) => s.put(0, s.withLane("i64x2", s.get(0), 1, s.lane("i64x2", s.get(1), 0))));
export const MOVHLPS = semantics("xr", (s) => s.put(0, s.withLane("i64x2", s.get(0), 0, s.lane("i64x2", s.get(1), 1))));
/** MOVDDUP: its source is an 8-byte integer. */
export const MOVDDUP = semantics("wr", (s) => s.put(0, s.vector("i64x2.splat", s.get(1))));

export const MASKMOVDQU = semantics("rrr", (s) => {
  const value = s.get(1);
  const mask = s.vector("i8x16.bitmask", s.get(2));
  const address = s.linearAddress(0);
  // All 16 bytes whatever the mask (the manual leaves it open), the upper half first: as processors here do.
  s.probeWrite(s.add(address, s.const(8)), 8);
  s.probeWrite(address, 8);
  s.when(mask, () => {
    s.call("maskmovdqu", address, s.lane("i64x2", value, 0), s.lane("i64x2", value, 1), mask);
  });
});

export const LDMXCSR = semantics("r", (s) => {
  const value = s.get(0);
  s.when(s.shrU(value, s.const(16)), () => s.raise("#GP"));
  s.setField(Reg.MXCSR, 4, s.and(value, s.const(Mxcsr.VALID)));
});
export const STMXCSR = semantics("w", (s) => s.put(0, s.field(Reg.MXCSR, 4)));
