/* What SSE semantics leave to plain TypeScript: string comparison, masked stores, reciprocals. (The exact slow paths of
 * Sem's fp primitives are softfloat's, called by each implementation of Sem itself.) Runs on the executor's thread.
 * @source SDM vol. 2B §4.1 (strings), vol. 2 MASKMOVDQU, RCPSS, RSQRTSS */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";

const float = new DataView(new ArrayBuffer(4));
const SMALLEST_NORMAL = 2 ** -126;

/** Correctly rounded 1/x or 1/√x; denormals count as zeros on both sides, no flags, MXCSR plays no part. */
function reciprocal(bits: bigint, root: boolean): bigint {
  const pattern = Number(BigInt.asUintN(32, bits));
  float.setUint32(0, pattern);
  let x = float.getFloat32(0);
  if (Number.isNaN(x)) return BigInt((pattern | 0x400000) >>> 0);
  if (Math.abs(x) < SMALLEST_NORMAL) x = x < 0 || Object.is(x, -0) ? -0 : 0;
  if (root && x < 0) return 0xffc00000n;
  let y = root && x !== 0 ? 1 / Math.sqrt(x) : 1 / x;
  // 2⁻¹²⁶ itself too: a processor's approximation of it lies below.
  if (Math.abs(y) <= SMALLEST_NORMAL) y = y < 0 || Object.is(y, -0) ? -0 : 0;
  float.setFloat32(0, y);
  return BigInt(float.getUint32(0));
}

function elements(low: bigint, high: bigint, imm: number): number[] {
  const bits = imm & 1 ? 16 : 8;
  const v = BigInt.asUintN(64, low) | (BigInt.asUintN(64, high) << 64n);
  return Array.from({ length: 128 / bits }, (_, i) =>
    Number(imm & 2 ? BigInt.asIntN(bits, v >> BigInt(i * bits)) : BigInt.asUintN(bits, v >> BigInt(i * bits))),
  );
}

/** IntRes2 of PCMPxSTRx. Elements of a from lengthA and of b from lengthB on are invalid.
 *  @param a the first operand (set, ranges, string or needle)  @param b the second
 *  @param imm bits 1:0 element type, 3:2 aggregation, 5:4 polarity  @source SDM vol. 2B Tables 4-3 to 4-6 */
export function compareStringBits(
  a: readonly number[],
  b: readonly number[],
  lengthA: number,
  lengthB: number,
  imm: number,
): number {
  const aggregate = AGGREGATIONS[(imm >> 2) & 3];
  let result = 0;
  for (let j = 0; j < b.length; j++) if (aggregate(a, b, lengthA, lengthB, j)) result |= 1 << j;
  const all = (1 << b.length) - 1;
  if (!(imm & 0x10)) return result;
  return result ^ (imm & 0x20 ? (1 << lengthB) - 1 : all);
}

/** IntRes1[j]. */
type Aggregation = (a: readonly number[], b: readonly number[], lengthA: number, lengthB: number, j: number) => boolean;

const equalAny: Aggregation = (a, b, lengthA, lengthB, j) => j < lengthB && a.slice(0, lengthA).includes(b[j]);
const ranges: Aggregation = (a, b, lengthA, lengthB, j) => {
  if (j >= lengthB) return false;
  for (let i = 0; i + 1 < lengthA; i += 2) if (a[i] <= b[j] && b[j] <= a[i + 1]) return true;
  return false;
};
const equalEach: Aggregation = (a, b, lengthA, lengthB, j) =>
  j < lengthA && j < lengthB ? a[j] === b[j] : j >= lengthA && j >= lengthB;
/** Does the needle a stand at j? What lies behind the register's end is taken to match. */
const equalOrdered: Aggregation = (a, b, lengthA, lengthB, j) => {
  for (let i = 0; i < lengthA && i + j < b.length; i++) if (i + j >= lengthB || a[i] !== b[i + j]) return false;
  return true;
};
const AGGREGATIONS = [equalAny, ranges, equalEach, equalOrdered] as const;

function compareStringsCall(_: Cpu, aLow: bigint, aHigh: bigint, bLow: bigint, bHigh: bigint, control: bigint): bigint {
  const imm = Number(control & 0xffn);
  const lengthA = Number((control >> 8n) & 0xffn);
  const lengthB = Number((control >> 16n) & 0xffn);
  return BigInt(compareStringBits(elements(aLow, aHigh, imm), elements(bLow, bHigh, imm), lengthA, lengthB, imm));
}

/** The caller has probed all 16 bytes. */
function maskedStore(cpu: Cpu, address: bigint, low: bigint, high: bigint, mask: bigint): void {
  for (let i = 0; i < 16; i++) {
    if ((mask >> BigInt(i)) & 1n)
      cpu.write(BigInt.asUintN(64, address + BigInt(i)), 1, ((i < 8 ? low : high) >> BigInt((i & 7) * 8)) & 0xffn);
  }
}

export const SSE_CALLS: Record<string, CallSpec> = {
  rcp32: { args: 1, result: true, run: (_, a) => reciprocal(a, false) },
  rsqrt32: { args: 1, result: true, run: (_, a) => reciprocal(a, true) },
  /** (a low, a high, b low, b high, imm | length a << 8 | length b << 16) → IntRes2 */
  pcmpstr: { args: 5, result: true, run: compareStringsCall },
  /** (linear address, value low, value high, byte mask) */
  maskmovdqu: { args: 4, result: false, run: maskedStore },
};
