/* Exact SSE floating point on bit patterns (BigInt, microseconds a call): the reference for every implementation of Sem's
 * fp primitives, and their slow path. @source IEEE 754-2008; SDM vol. 1 §4.8, §11.5 */
export { fpScalar } from "./arithmetic.ts";
export { FP_CONVERSIONS, FpOrder, fpCompare, fpConvert, fpRound, truncating, withRounding } from "./convert.ts";
export type { FpResult } from "./format.ts";
export { FpFlag, Mxcsr, RoundingControl, raiseFp, reportedFlags, roundingOf, unmasked } from "./mxcsr.ts";
