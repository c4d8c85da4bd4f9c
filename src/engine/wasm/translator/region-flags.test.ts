/* Flags of a region: each kind, size and condition, once where the kind is known while translating and once where `fk` says it, against the processor's manual. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { unpackFlags } from "../../../isa/flags.ts";
import { Rflags } from "../../../isa/registers.ts";
import type { Size } from "../../../isa/sem.ts";
import { FunctionBuilder } from "../../../wasm/function.ts";
import { ModuleBuilder } from "../../../wasm/module.ts";
import { EmitRegion } from "./emit-region.ts";
import { REGION_FUNCTIONS, regionCoreModule } from "./region-core.ts";
import { flagsCode, FlagsKind, flagsKindOf, Over, overCode } from "./flags-code.ts";
import { ALL_PASSES } from "./region-options.ts";
import { createStateMemory } from "../layout.ts";

const SIZES = [1, 2, 4, 8] as const;
type Kind = keyof typeof FlagsKind;
const KINDS = Object.keys(FlagsKind) as Kind[];
/** 64 KiB: regions and their shared functions only want one to be there. */
const RAM_PAGES = 1;

type Words = readonly [fa: bigint, fb: bigint, fr: bigint, fx?: bigint];
interface Case {
  readonly words: Words;
  /** OSZAPC as the manual has them. */
  readonly flags: number;
}

const mask = (v: bigint, size: Size): bigint => BigInt.asUintN(8 * size, v);
const signed = (v: bigint, size: Size): bigint => BigInt.asIntN(8 * size, v);
function resultFlags(r: bigint, size: Size): number {
  let ones = 0;
  for (let bit = 0n; bit < 8n; bit++) ones += Number((r >> bit) & 1n);
  return (mask(r, size) === 0n ? Rflags.ZF : 0) | (signed(r, size) < 0n ? Rflags.SF : 0) | (ones % 2 ? 0 : Rflags.PF);
}
/** @source SDM vol. 1 §3.4.3.1 */
function sumFlags(a: bigint, b: bigint, carry: bigint, size: Size): number {
  const r = a + b + carry;
  const exact = signed(a, size) + signed(b, size) + carry;
  return (
    resultFlags(r, size) |
    (r !== mask(r, size) ? Rflags.CF : 0) |
    (exact !== signed(exact, size) ? Rflags.OF : 0) |
    ((a & 15n) + (b & 15n) + carry > 15n ? Rflags.AF : 0)
  );
}
function differenceFlags(a: bigint, b: bigint, borrow: bigint, size: Size): number {
  const exact = signed(a, size) - signed(b, size) - borrow;
  return (
    resultFlags(mask(a - b - borrow, size), size) |
    (a < b + borrow ? Rflags.CF : 0) |
    (exact !== signed(exact, size) ? Rflags.OF : 0) |
    ((a & 15n) < (b & 15n) + borrow ? Rflags.AF : 0)
  );
}

const operands = (size: Size): bigint[] => {
  const top = 1n << BigInt(8 * size - 1);
  return [0n, 1n, 2n, 7n, 8n, 15n, 16n, 0x55n, top - 1n, top, top + 1n, mask(-2n, size), mask(-1n, size)];
};
const ORDERS = [Rflags.CF, Rflags.ZF, 0, Rflags.CF | Rflags.ZF | Rflags.PF];

/** @source SDM vol. 2B "SAL/SAR/SHL/SHR"; OF for other counts than 1 as processors set it */
function shiftFlags(kind: "SHL" | "SHR" | "SAR", a: bigint, n: bigint, size: Size): number {
  const top = BigInt(8 * size - 1);
  const value = kind === "SAR" ? signed(a, size) : a;
  const r = kind === "SHL" ? value << n : value >> n;
  const cf = kind === "SHL" ? (r >> (top + 1n)) & 1n : (value >> (n - 1n)) & 1n;
  const of = kind === "SHL" ? cf ^ ((r >> top) & 1n) : kind === "SHR" ? (a >> top) & 1n : 0n;
  return resultFlags(mask(r, size), size) | (cf ? Rflags.CF : 0) | (of ? Rflags.OF : 0);
}
/** @source SDM vol. 2A "IMUL" */
function productFlags(a: bigint, b: bigint, size: Size): number {
  const over = a * b !== signed(a * b, size);
  return resultFlags(mask(a * b, size), size) | (over ? Rflags.CF | Rflags.OF : 0);
}
/** CF and OF of a rotation, from its result. @source SDM vol. 2B "RCL/RCR/ROL/ROR" */
function rotationFlags(over: number, r: bigint, size: Size): number {
  const bit = (n: number): bigint => (r >> BigInt(n)) & 1n;
  const top = 8 * size - 1;
  const cf = over === Over.LEFT ? bit(0) : bit(top);
  const of = over === Over.LEFT ? bit(0) ^ bit(top) : bit(top) ^ bit(top - 1);
  return (cf ? Rflags.CF : 0) | (of ? Rflags.OF : 0);
}

function pairCases(): Case[] {
  const results = [0n, 1n, -1n, 0x80n, -0x8000n, 3n];
  const auxes = [0n, 1n, 2n, 3n, 8n].flatMap((low) => [0n, 1n, 2n, 3n].map((high) => (high << 62n) | low));
  return results.flatMap((r) => auxes.map((aux): Case => ({ words: [r, aux, 0n], flags: unpackFlags(r, aux) })));
}
/** What a region would have in fa, fb and fr. */
function casesOf(kind: Kind, size: Size): Case[] {
  if (kind === "PAIR") return pairCases();
  if (kind === "ORDER") return ORDERS.map((flags, order) => ({ words: [BigInt(order), 99n, 99n], flags }));
  const list = operands(size);
  if (kind === "LOGIC") return list.map((a) => ({ words: [a, 99n, 99n], flags: resultFlags(a, size) }));
  const pairs = list.flatMap((a) => [...(kind === "INC" || kind === "DEC" ? [] : list)].map((b) => [a, b] as const));
  switch (kind) {
    case "ADD":
      return pairs.map(([a, b]) => ({ words: [a, b, 99n], flags: sumFlags(a, b, 0n, size) }));
    case "SUB":
      return pairs.map(([a, b]) => ({ words: [a, b, 99n], flags: differenceFlags(a, b, 0n, size) }));
    case "ADC":
      return pairs.flatMap(([a, b]) =>
        [0n, 1n].map((c): Case => ({ words: [a, b, a + b + c], flags: sumFlags(a, b, c, size) })),
      );
    case "SBB":
      return pairs.flatMap(([a, b]) =>
        [0n, 1n].map((c): Case => ({ words: [a, b, a - b - c], flags: differenceFlags(a, b, c, size) })),
      );
    case "SHL":
    case "SHR":
    case "SAR": {
      const counts = [1n, 2n, 7n, 8n, 15n, 16n, 31n, ...(size === 8 ? [32n, 63n] : [])];
      return list.flatMap((a) =>
        counts.map((n): Case => ({ words: [a, n, 99n], flags: shiftFlags(kind, a, n, size) })),
      );
    }
    case "IMUL":
      return pairs.map(([a, b]) => ({
        words: [signed(a, size), signed(b, size), 99n],
        flags: productFlags(signed(a, size), signed(b, size), size),
      }));
    default: {
      const flags = kind === "INC" ? sumFlags : differenceFlags;
      return list.flatMap((a) =>
        [0, 1].map((cf): Case => ({
          words: [a, BigInt(cf), 99n],
          flags: (flags(a, 1n, 0n, size) & ~Rflags.CF) | (cf ? Rflags.CF : 0),
        })),
      );
    }
  }
}
/** Two bits as the top one and the lowest, turned so that both ends of a value vary. */
const ror2 = (n: bigint, size: Size): bigint =>
  ((n & 1n) << BigInt(8 * size - 1)) | (n >> 1n) | ((n & 2n) << BigInt(8 * size - 3));
const sizesOf = (kind: Kind): readonly Size[] => (kind === "PAIR" || kind === "ORDER" ? [8] : SIZES);

/** Conditions in encoding order, of OSZAPC. @source SDM vol. 1 appendix B */
function condition(cc: number, flags: number): boolean {
  const [of, cf, zf] = [Rflags.OF, Rflags.CF, Rflags.ZF].map((bit) => (flags & bit) !== 0);
  const [sf, pf] = [Rflags.SF, Rflags.PF].map((bit) => (flags & bit) !== 0);
  const positive = [of, cf, zf, cf || zf, sf, pf, sf !== of, sf !== of || zf][cc >> 1]!;
  return cc & 1 ? !positive : positive;
}

const core = new WebAssembly.Instance(new WebAssembly.Module(regionCoreModule(RAM_PAGES)), {
  host: { fpArithmeticLane: () => 0n, pageFault: () => {}, resume: () => 0, landed: () => {}, outgrown: () => {} },
  mere: {
    state: createStateMemory(),
    ram: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
    handlers: new WebAssembly.Table({ element: "anyfunc", initial: 1 }),
  },
}).exports as Record<"flagsResult" | "flagsAux", Reader>;

/** What is read of the flags: a condition by number, or all of them as RFLAGS has them. */
type Question = number | "all";
type Reader = (fk: number, fa: bigint, fb: bigint, fr: bigint, fx: bigint) => bigint;
const QUESTIONS: readonly Question[] = [...Array.from({ length: 16 }, (_, cc) => cc), "all"];

/** Functions (fk, fa, fb, fr, fx) → answer, made by the emitter of regions. @param code of the flags; undefined: fk says it  @param b fb, if it is a constant */
function readers(code: number | undefined, b?: bigint): Map<Question, Reader> {
  const m = new ModuleBuilder();
  const names = ["flagsResult", "flagsAux"] as const;
  for (const name of names) m.importFunction("host", name, ...REGION_FUNCTIONS[name]);
  const imports = { function: (name: string): number => names.indexOf(name as (typeof names)[number]) };
  const options = { passes: ALL_PASSES, parallel: false };
  for (const question of QUESTIONS) {
    const f = new FunctionBuilder(...REGION_FUNCTIONS.flagsAux);
    const emit = new EmitRegion(f, imports, options, true);
    f.get(0).set(emit.fk).get(1).set(emit.fa).get(2).set(emit.fb).get(3).set(emit.fr).get(4).set(emit.fx);
    emit.flagsState = { code, b, local: code };
    emit.push(emit.zext(question === "all" ? emit.readFlags() : emit.cond(question), 8));
    m.export(String(question), m.add(f));
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), { host: core });
  return new Map(QUESTIONS.map((question) => [question, exports[String(question)] as Reader]));
}
function check(known: Map<Question, Reader>, fk: number, { words, flags }: Case): void {
  for (const [question, read] of known) {
    const expected = question === "all" ? flags & Rflags.OSZAPC : Number(condition(question, flags));
    const { kind, size, over } = flagsKindOf(fk);
    const [fa, fb, fr, fx = 99n] = words;
    assert.equal(
      Number(read(fk, fa, fb, fr, fx)),
      expected,
      `${KINDS[kind]} ${size} ${over} ${question}: ${words.join()}`,
    );
  }
}

describe("flags of each kind and size", () => {
  const dynamic = readers(undefined);
  for (const kind of KINDS) {
    test(kind, () => {
      for (const size of sizesOf(kind)) {
        const code = flagsCode(FlagsKind[kind], size);
        const known = readers(code);
        const cases = casesOf(kind, size);
        assert.ok(cases.length >= 4);
        for (const each of cases) {
          const [fa, fb, fr] = each.words;
          const pair = [core.flagsResult(code, fa, fb, fr, 99n), core.flagsAux(code, fa, fb, fr, 99n)] as const;
          assert.equal(unpackFlags(...pair), each.flags & Rflags.OSZAPC, `${kind} ${size}: ${each.words.join()}`);
          check(known, code, each);
          check(dynamic, code, each);
        }
      }
    });
  }
  test("CF and OF of a later rotation, CF of a later bit test", () => {
    for (const kind of ["PAIR", "ADD", "SBB", "LOGIC", "DEC", "SHL", "ORDER"] as const) {
      for (const over of [Over.LEFT, Over.RIGHT, Over.CARRY]) {
        for (const overSize of over === Over.CARRY ? ([1] as const) : SIZES) {
          const size = sizesOf(kind).at(-1)!;
          const code = flagsCode(FlagsKind[kind], size) | overCode(over, overSize);
          const known = readers(code);
          const values = over === Over.CARRY ? [0n, 1n] : [0n, 1n, 2n, 3n].map((n) => ror2(n, overSize));
          for (const { words, flags } of casesOf(kind, size).filter((_, i) => i % 5 === 0)) {
            for (const fx of values) {
              const replaced = over === Over.CARRY ? Rflags.CF : Rflags.CF | Rflags.OF;
              const others = over === Over.CARRY ? (fx ? Rflags.CF : 0) : rotationFlags(over, fx, overSize);
              const each: Case = { words: [words[0], words[1], words[2], fx], flags: (flags & ~replaced) | others };
              check(known, code, each);
              check(dynamic, code, each);
            }
          }
        }
      }
    }
  });
  test("with a constant as second operand", () => {
    for (const kind of ["ADD", "SUB", "SHL", "SHR", "SAR"] as const) {
      for (const size of SIZES) {
        const code = flagsCode(FlagsKind[kind], size);
        for (const b of operands(size)) {
          const known = readers(code, BigInt.asIntN(64, b));
          for (const each of casesOf(kind, size)) if (each.words[1] === b) check(known, code, each);
        }
      }
    }
  });
});
