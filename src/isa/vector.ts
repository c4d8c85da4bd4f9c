/* The v128 operations of Sem, by name (wasm SIMD vocabulary). Each implementation of Sem must have them all: the wasm
 * emitter maps a name to an opcode, the oracle computes lanes. Add one here only when an instruction needs it. */
export const VECTOR_OPS = [
  "v128.and", "v128.or", "v128.xor", "v128.andnot", "v128.not",
  "v128.bitselect", // (a, b, mask): bits of a where the mask is 1, else of b
  "i8x16.add", "i16x8.add", "i32x4.add", "i64x2.add",
  "i8x16.sub", "i16x8.sub", "i32x4.sub", "i64x2.sub",
  "i8x16.add_sat_s", "i8x16.add_sat_u", "i16x8.add_sat_s", "i16x8.add_sat_u",
  "i8x16.sub_sat_s", "i8x16.sub_sat_u", "i16x8.sub_sat_s", "i16x8.sub_sat_u",
  "i8x16.eq", "i16x8.eq", "i32x4.eq", "i64x2.eq",
  "i8x16.gt_s", "i16x8.gt_s", "i32x4.gt_s", "i64x2.gt_s",
  "i8x16.min_s", "i8x16.min_u", "i8x16.max_s", "i8x16.max_u",
  "i16x8.min_s", "i16x8.min_u", "i16x8.max_s", "i16x8.max_u",
  "i32x4.min_s", "i32x4.min_u", "i32x4.max_s", "i32x4.max_u",
  "i8x16.avgr_u", "i16x8.avgr_u",
  "i8x16.abs", "i16x8.abs", "i32x4.abs",
  "i16x8.mul", "i32x4.mul", "i32x4.dot_i16x8_s", "i16x8.q15mulr_sat_s",
  "i16x8.extmul_low_i8x16_s", "i16x8.extmul_high_i8x16_s",
  "i32x4.extmul_low_i16x8_s", "i32x4.extmul_high_i16x8_s", "i32x4.extmul_low_i16x8_u", "i32x4.extmul_high_i16x8_u",
  "i64x2.extmul_low_i32x4_s", "i64x2.extmul_low_i32x4_u",
  "i16x8.extend_low_i8x16_s", "i16x8.extend_low_i8x16_u", "i16x8.extend_high_i8x16_s", "i16x8.extend_high_i8x16_u",
  "i32x4.extend_low_i16x8_s", "i32x4.extend_low_i16x8_u", "i32x4.extend_high_i16x8_s", "i32x4.extend_high_i16x8_u",
  "i64x2.extend_low_i32x4_s", "i64x2.extend_low_i32x4_u",
  "i16x8.extadd_pairwise_i8x16_u", "i16x8.extadd_pairwise_i8x16_s", "i32x4.extadd_pairwise_i16x8_u", "i32x4.extadd_pairwise_i16x8_s",
  "i8x16.narrow_i16x8_s", "i8x16.narrow_i16x8_u", "i16x8.narrow_i32x4_s", "i16x8.narrow_i32x4_u",
  // shifts: (v128, count); the count is an integer below the lane width
  "i16x8.shl", "i16x8.shr_s", "i16x8.shr_u", "i32x4.shl", "i32x4.shr_s", "i32x4.shr_u", "i64x2.shl", "i64x2.shr_u",
  "i8x16.swizzle",
  // to integer
  "i8x16.bitmask", "i16x8.bitmask", "i32x4.bitmask", "i64x2.bitmask", "v128.any_true",
  // from integer
  "i8x16.splat", "i16x8.splat", "i32x4.splat", "i64x2.splat",
  // quiet comparisons used by implementations of exact fp (no flags)
  "f32x4.eq", "f32x4.lt", "f64x2.eq", "f64x2.lt",
] as const;
export type VectorOp = (typeof VECTOR_OPS)[number];
