/* How a region names what its flags come from, in the local `fk` and on the way to the next region, and what is in the other four:
 *
 *   kind      fa        fb          fr
 *   PAIR      result    aux                     the lazy pair itself
 *   ADD SUB   a         b                       zero-extended from the size
 *   ADC SBB   a         b           result
 *   LOGIC     result                            zero-extended
 *   INC DEC   a         CF before
 *   ORDER     of COMISx: 0 less, 1 equal, 2 greater, 3 unordered
 *   SHL … SAR a         count
 *   IMUL      a         b                       sign-extended
 *
 * CF (and OF) may be of a later instruction than the rest, whose result or CF is in `fx`: Over. */
import type { DerivedKind, Size } from "../../../isa/sem.ts";
import type { Value } from "../emit-values.ts";

export const FlagsKind = {
  PAIR: 0,
  ADD: 1,
  SUB: 2,
  ADC: 3,
  SBB: 4,
  LOGIC: 5,
  INC: 6,
  DEC: 7,
  ORDER: 8,
  SHL: 9,
  SHR: 10,
  SAR: 11,
  IMUL: 12,
} as const;
/** What CF and OF come from, if from another instruction than the other flags. Of a rotation's result in fx: both; CARRY: CF is fx, and OF is the others'. */
export const Over = { NONE: 0, LEFT: 1, RIGHT: 2, CARRY: 3 } as const;
/** Bits of a code: 0–1 log₂ size, 2–5 kind, 6–7 over, 8–9 log₂ of the rotation's size. */
export const FlagsCode = { KIND: 63, OVER: 64, OVER_SIZE: 256, END: 1024 } as const;
export const DERIVED: Readonly<Record<number, DerivedKind>> = {
  [FlagsKind.SHL]: "shl",
  [FlagsKind.SHR]: "shr",
  [FlagsKind.SAR]: "sar",
  [FlagsKind.IMUL]: "imul",
};
export const KIND_OF_DERIVED = {
  shl: FlagsKind.SHL,
  shr: FlagsKind.SHR,
  sar: FlagsKind.SAR,
  imul: FlagsKind.IMUL,
} as const;
const SIZE_LOG = { 1: 0, 2: 1, 4: 2, 8: 3 } as const;
const SIZES: readonly Size[] = [1, 2, 4, 8];
export const flagsCode = (kind: number, size: Size): number =>
  kind === FlagsKind.PAIR ? 0 : kind * 4 + SIZE_LOG[size];
export const overCode = (over: number, size: Size): number =>
  over * FlagsCode.OVER + (over === Over.CARRY ? 0 : SIZE_LOG[size] * FlagsCode.OVER_SIZE);
export const flagsKindOf = (code: number): { kind: number; size: Size; over: number; overSize: Size } => ({
  kind: (code & FlagsCode.KIND) >> 2,
  size: SIZES[code & 3],
  over: (code / FlagsCode.OVER) & 3,
  overSize: SIZES[code >> 8],
});
interface ShiftMath {
  shl(a: Value, n: Value): Value;
  shrU(a: Value, n: Value): Value;
  shrS(a: Value, n: Value): Value;
  sext(a: Value, size: Size): Value;
  mul(a: Value, b: Value): Value;
}
/** Result of an operation whose flags are derived, unmasked. */
export function derivedResult(e: ShiftMath, kind: DerivedKind, a: Value, b: Value, size: Size): Value {
  if (kind === "shl") return e.shl(a, b);
  if (kind === "shr") return e.shrU(a, b);
  return kind === "sar" ? e.shrS(e.sext(a, size), b) : e.mul(a, b);
}
