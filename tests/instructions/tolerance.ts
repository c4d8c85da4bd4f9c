/* What a comparison must not look at, beyond a row's undefined flags: results that the manual leaves open depending on values. */
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { type Decoder, createDecoder, newDecoded } from "../../src/isa/decode.ts";
import type { Row } from "../../src/isa/row.ts";
import { compareOutcomes, type Difference, undefinedFlags } from "./compare.ts";
import type { InstructionCase, Outcome } from "./case.ts";

const decoder: Decoder = createDecoder();
const decoded = newDecoded();

/** The row that a case's bytes are an instruction of. */
export function rowOf(test: InstructionCase): Row | undefined {
  return decoder.decode(test.bytes, 0, test.bytes.length, decoded) === undefined ? decoded.row : undefined;
}

const SHIFT = /^(sh[lr]d?|sa[lr]|r[oc][lr])$/;
const RCX = 1;

/** Undefined flags of the case: a shift by 0 changes no flag, one by 1 defines OF. */
function openFlags(row: Row, test: InstructionCase): number {
  const flags = undefinedFlags(row);
  const counter = row.operands.at(-1);
  if (flags === 0 || !SHIFT.test(row.mnemonic) || counter === "1" || rowOf(test) !== row) return flags;
  const view = new DataView(test.before.buffer, test.before.byteOffset);
  const given = counter === "CL" ? view.getUint8(Reg.GPR + 8 * RCX) : decoded.imm32;
  const count = given & (decoded.size === 8 ? 63 : 31);
  return count === 0 ? 0 : count === 1 ? flags & ~Rflags.OF : flags;
}

const SS = 12;
const GP = 13;
const PF = 14;
/** A stack address that is not canonical is #SS(0), any other #GP(0). Mere says #GP where the access has no operand that tells the segment. */
const sameSegment = (o: Outcome): Outcome => (o.fault?.vector === SS ? { ...o, fault: { ...o.fault, vector: GP } } : o);

/** RCPPS, RSQRTPS. */
const RELATIVE_ERROR = 1.5 * 2 ** -12;
const bothNan = (e: number, a: number): boolean => Number.isNaN(e) && Number.isNaN(a);
const near = (e: number, a: number): boolean => Math.abs(e - a) <= RELATIVE_ERROR * Math.abs(e);

/** C1 (rounded up), PE, UE. */
const ROUNDING_BITS = 0x230;
/** As integers of exponent and significand: neighbours, neighbours across a power of two, the smallest normal number and the largest denormal one. */
const ONE_STEP: ReadonlySet<bigint> = new Set([0n, 1n, (1n << 63n) + 1n, (1n << 64n) + 1n]);

/** `actual` with the expected x87 registers where they are one unit in the last place off, and with the expected signs of rounding. FSIN and its
 *  like are correctly rounded here and nearly so in processors, which call some exact results inexact. */
function sameRegisters(expected: Outcome, actual: Outcome): Outcome {
  const state = actual.state.slice();
  const [e, a] = [new DataView(expected.state.buffer, expected.state.byteOffset), new DataView(state.buffer)];
  for (let at = Reg.ST; at < Reg.ST + 128; at += 16) {
    const distance =
      ((e.getBigUint64(at + 8, true) << 64n) | e.getBigUint64(at, true)) -
      ((a.getBigUint64(at + 8, true) << 64n) | a.getBigUint64(at, true));
    if (ONE_STEP.has(distance < 0n ? -distance : distance)) state.set(expected.state.subarray(at, at + 10), at);
  }
  a.setUint16(
    Reg.FSW,
    (a.getUint16(Reg.FSW, true) & ~ROUNDING_BITS) | (e.getUint16(Reg.FSW, true) & ROUNDING_BITS),
    true,
  );
  return { ...actual, state };
}

/** `actual` with the expected XMM lanes where the row leaves them open and they are good enough. */
function sameLanes(row: Row, expected: Outcome, actual: Outcome): Outcome {
  if (row.unit === "x87") return row.approximate ? sameRegisters(expected, actual) : actual;
  if (!row.approximate && !row.anyNan) return actual;
  const close = row.approximate ? near : bothNan;
  const state = actual.state.slice();
  const lanes = (of: Uint8Array): Float32Array | Float64Array =>
    row.mnemonic.endsWith("pd")
      ? new Float64Array(of.slice(Reg.XMM, Reg.XMM + 256).buffer)
      : new Float32Array(of.slice(Reg.XMM, Reg.XMM + 256).buffer);
  const [e, a] = [lanes(expected.state), lanes(actual.state)];
  const width = 256 / e.length;
  for (let i = 0; i < e.length; i++) {
    const at = Reg.XMM + i * width;
    if (close(e[i]!, a[i]!)) state.set(expected.state.subarray(at, at + width), at);
  }
  return { ...actual, state };
}

/** ENTER writes below RSP, which nobody may look at, before it finds that the new frame is not there; across pages MOVBE, FSTP m80 and state saves write
 *  the first part. */
const WRITES_BEFORE_FAULT = /^(enter|movbe|fstp|fbstp|fnstenv|fnsave|f?xsave(64)?)$/;
/** Of a state in memory the processor may touch any byte first: if something is wrong with it, what is reported first says little. */
const AREA = /^(fldenv|fnstenv|frstor|fnsave|f?x(save|rstor)(64)?)$/;
const anyFault = (o: Outcome): Outcome => (o.fault ? { ...o, fault: { vector: GP, errorCode: 0, address: 0n } } : o);
/** Stores of MMX registers: TOP is 0 already when they fault, which shows in nothing but the state that a handler of the fault sees. */
const MMX_STORE = /^(movd|movq|movntq)$/;
const REPEATED_COMPARE = /^(cmps|scas)/;

/** Differences that count, between what is right and what a runner made of a case. */
export function differences(row: Row, test: InstructionCase, expected: Outcome, actual: Outcome): Difference[] {
  const faulted = expected.fault !== undefined;
  // The area is larger on a processor with more features: it faults where Mere does not.
  if (faulted && /^x(save|rstor)/.test(row.mnemonic) && expected.fault.vector === PF) return [];
  let ignored = faulted ? 0 : openFlags(row, test); // a fault leaves the flags alone: then none is undefined
  // The processor restores the flags if a REP CMPS faults half way (SDM vol. 1 §7.3.9.2 does not ask for it of an interrupted one).
  if (faulted && REPEATED_COMPARE.test(row.mnemonic)) ignored = Rflags.OSZAPC;
  const same = (o: Outcome): Outcome => sameSegment(AREA.test(row.mnemonic) ? anyFault(o) : o);
  const found = compareOutcomes(same(expected), same(sameLanes(row, expected, actual)), ignored);
  const mmxStore = row.unit === "mmx" && MMX_STORE.test(row.mnemonic);
  if (faulted && mmxStore) return found.filter((d) => d.field !== "FSW");
  return faulted && WRITES_BEFORE_FAULT.test(row.mnemonic) ? found.filter((d) => d.field !== "memory") : found;
}
