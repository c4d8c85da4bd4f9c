/* Binary32 and binary64 bit patterns as exact numbers, and the one place where results are rounded.
 * @source IEEE 754-2008 §3.4, §4.3, §7; SDM vol. 1 §4.8, §11.5.2. Tininess is detected after rounding, as SSE does. */
import { FpFlag, Mxcsr, type RoundingControl, RoundingControl as Rc, roundingOf, unmasked } from "./mxcsr.ts";

export interface FpResult {
  /** Bit pattern (or integer, zero-extended from its width). */
  readonly bits: bigint;
  /** FpFlag bits that the operation found, masked or not. */
  readonly flags: number;
}

export interface Format {
  /** Significand bits, the leading one included. */
  readonly precision: number;
  /** Exponent of the smallest and of the largest normal number. */
  readonly minExponent: number;
  readonly maxExponent: number;
  readonly signShift: bigint;
  /** Shift of the exponent field, which is precision − 1. */
  readonly fractionBits: bigint;
  readonly fractionMask: bigint;
  readonly exponentMask: bigint;
  readonly quietBit: bigint;
  readonly infinity: bigint;
  readonly largest: bigint;
  readonly defaultNan: bigint;
}

function format(exponentBits: number, fractionBits: number): Format {
  const maxExponent = 2 ** (exponentBits - 1) - 1;
  const exponentMask = (1n << BigInt(exponentBits)) - 1n;
  const infinity = exponentMask << BigInt(fractionBits);
  const quietBit = 1n << BigInt(fractionBits - 1);
  const signShift = BigInt(exponentBits + fractionBits);
  return {
    precision: fractionBits + 1,
    minExponent: 1 - maxExponent,
    maxExponent,
    signShift,
    exponentMask,
    quietBit,
    infinity,
    fractionBits: BigInt(fractionBits),
    fractionMask: (1n << BigInt(fractionBits)) - 1n,
    largest: infinity - 1n,
    defaultNan: (1n << signShift) | infinity | quietBit,
  };
}

export const BINARY32 = format(8, 23);
export const BINARY64 = format(11, 52);
export const formatOf = (width: 4 | 8): Format => (width === 4 ? BINARY32 : BINARY64);

export type FpClass = "zero" | "denormal" | "normal" | "infinity" | "quietNan" | "signallingNan";

/** A bit pattern taken apart: for zero, denormal and normal the value is ±significand · 2^exponent. */
export interface Unpacked {
  readonly bits: bigint;
  readonly class: FpClass;
  readonly negative: boolean;
  readonly exponent: number;
  readonly significand: bigint;
}

/** @param bits upper bits beyond the width are ignored  @param mxcsr DAZ turns a denormal into a zero of its sign */
export function unpack(f: Format, bits: bigint, mxcsr: number): Unpacked {
  const pattern = BigInt.asUintN(Number(f.signShift) + 1, bits);
  const negative = pattern >> f.signShift !== 0n;
  const field = Number((pattern >> f.fractionBits) & f.exponentMask);
  const fraction = pattern & f.fractionMask;
  const exponent = (field || 1) + f.minExponent - f.precision;
  if (field === Number(f.exponentMask)) {
    const nan = fraction & f.quietBit ? "quietNan" : "signallingNan";
    return { bits: pattern, class: fraction === 0n ? "infinity" : nan, negative, exponent, significand: fraction };
  }
  if (field !== 0)
    return { bits: pattern, class: "normal", negative, exponent, significand: fraction | (f.fractionMask + 1n) };
  if (fraction === 0n) return { bits: pattern, class: "zero", negative, exponent, significand: 0n };
  if (mxcsr & Mxcsr.DAZ) return { bits: zero(f, negative), class: "zero", negative, exponent, significand: 0n };
  return { bits: pattern, class: "denormal", negative, exponent, significand: fraction };
}

export const isNan = (x: Unpacked): boolean => x.class === "quietNan" || x.class === "signallingNan";
export const zero = (f: Format, negative: boolean): bigint => (negative ? 1n << f.signShift : 0n);
export const infinity = (f: Format, negative: boolean): bigint => zero(f, negative) | f.infinity;

/** Bits needed for n > 0. */
export function bitLength(n: bigint): number {
  const hex = n.toString(16);
  return 4 * hex.length - (Math.clz32(Number.parseInt(hex[0], 16)) - 28);
}

/** n / 2^shift as an integer, rounded; a shift below 0 multiplies, exactly. */
export function roundShift(
  n: bigint,
  shift: number,
  negative: boolean,
  mode: RoundingControl,
): { quotient: bigint; inexact: boolean } {
  if (shift <= 0) return { quotient: n << BigInt(-shift), inexact: false };
  const by = BigInt(shift);
  const quotient = n >> by;
  const rest = n - (quotient << by);
  if (rest === 0n) return { quotient, inexact: false };
  const half = 1n << (by - 1n);
  const up =
    mode === Rc.NEAREST
      ? rest > half || (rest === half && (quotient & 1n) === 1n)
      : mode === Rc.DOWN
        ? negative
        : mode === Rc.UP
          ? !negative
          : false;
  return { quotient: up ? quotient + 1n : quotient, inexact: true };
}

/** Rounds ±significand · 2^exponent (significand > 0, exact, or with a sticky last bit below the rounding bit) to a format,
 *  with the masked responses of MXCSR. Of an unmasked OE or UE only the flags matter: nothing is written then. */
export function round(f: Format, negative: boolean, exponent: number, significand: bigint, mxcsr: number): FpResult {
  const mode = roundingOf(mxcsr);
  const shift = bitLength(significand) - f.precision;
  const { quotient, inexact } = roundShift(significand, shift, negative, mode);
  // Rounded up to the next power of two: its fraction is 0 with either exponent.
  const carry = quotient >> BigInt(f.precision) === 0n ? 0 : 1;
  const lead = exponent + shift + f.precision - 1 + carry;
  const precisionFlag = inexact ? FpFlag.PE : 0;
  if (lead < f.minExponent) return tiny(f, negative, exponent, significand, precisionFlag, mxcsr);
  if (lead > f.maxExponent) {
    const away = mode === Rc.NEAREST || mode === (negative ? Rc.DOWN : Rc.UP);
    const flags = unmasked(FpFlag.OE, mxcsr) ? FpFlag.OE | precisionFlag : FpFlag.OE | FpFlag.PE;
    return { bits: zero(f, negative) | (away ? f.infinity : f.largest), flags };
  }
  const field = BigInt(lead - f.minExponent + 1) << f.fractionBits;
  return { bits: zero(f, negative) | field | (quotient & f.fractionMask), flags: precisionFlag };
}

function tiny(
  f: Format,
  negative: boolean,
  exponent: number,
  significand: bigint,
  precisionFlag: number,
  mxcsr: number,
): FpResult {
  const isUnmasked = unmasked(FpFlag.UE, mxcsr) !== 0;
  if (mxcsr & Mxcsr.FTZ && !isUnmasked) return { bits: zero(f, negative), flags: FpFlag.UE | FpFlag.PE };
  const shift = f.minExponent - f.precision + 1 - exponent;
  const { quotient, inexact } = roundShift(significand, shift, negative, roundingOf(mxcsr));
  const flags = isUnmasked ? FpFlag.UE | precisionFlag : inexact ? FpFlag.UE | FpFlag.PE : 0;
  // A quotient of 2^(precision−1) is the smallest normal number: its bit is the exponent field's lowest.
  return { bits: zero(f, negative) | quotient, flags };
}
