/* SSE arithmetic on numbers of all kinds in all modes: rounding, DAZ, FTZ, masked and unmasked exceptions, and MXCSR changed in the middle. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { Reg } from "../../src/isa/registers.ts";
import { interestingVector } from "../instructions/base-state.ts";
import { Random } from "../instructions/random.ts";
import { code } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import { At, kernelGuest, type SmallGuest } from "./small-guest.ts";

const [RSI, RDI] = [6, 7];
const VALUES = At.DATA;
const MODES = At.DATA + 0x400;
const PAGE = 4096;
const XM = 19;

const MXCSR = { PE: 0x20, DAZ: 0x40, MASKS: 0x1f80, FTZ: 0x8000 } as const;
const UP = 0x4000;
/** Mode words that programs load: with the sticky PE, without, in each rounding, with denormals as zeros, and with some exceptions unmasked. */
const WORDS = [
  ...[0, 0x2000, UP, 0x6000].flatMap((rounding) => [MXCSR.MASKS | rounding, MXCSR.MASKS | rounding | MXCSR.PE]),
  MXCSR.MASKS | MXCSR.PE,
  MXCSR.MASKS | MXCSR.PE | MXCSR.DAZ,
  MXCSR.MASKS | MXCSR.PE | MXCSR.FTZ,
  MXCSR.MASKS | MXCSR.DAZ | MXCSR.FTZ,
];
const UNMASKED = [0x80, 0x100, 0x200, 0x400, 0x800, 0x1000].map((mask) => MXCSR.PE | (MXCSR.MASKS & ~mask));

const ARITHMETIC = [0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f, 0x51];
const FORMS = [[0xf2], [0xf3], [0x66], []];
const others: readonly (readonly number[])[] = [
  [0xf2, 0x0f, 0x5a], // cvtsd2ss
  [0xf3, 0x0f, 0x5a], // cvtss2sd
  [0x66, 0x0f, 0x5a], // cvtpd2ps
  [0x0f, 0x5a], // cvtps2pd
  [0x0f, 0x5b], // cvtdq2ps
  [0x66, 0x0f, 0x5b], // cvtps2dq
  [0x66, 0x0f, 0x2f], // comisd
  [0x0f, 0x2e], // ucomiss
  [0xf2, 0x48, 0x0f, 0x2d], // cvtsd2si
  [0xf3, 0x0f, 0x2c], // cvttss2si
  [0xf2, 0x48, 0x0f, 0x2a], // cvtsi2sd
  [0xf3, 0x0f, 0x2a], // cvtsi2ss
  [0xf2, 0x0f, 0x10], // movsd
  [0xf3, 0x0f, 0x10], // movss
  [0x66, 0x0f, 0x57], // xorpd
  [0x66, 0x0f, 0x7c], // haddpd
  [0xf2, 0x0f, 0xd0], // addsubps
];

/** Registers, or memory: [rdi + 16 n]. Those that write general registers write RAX, RCX or RDX. */
function operation(random: Random, modes: number): number[] {
  if (random.oneIn(14)) return [0x0f, 0xae, 0x56, 4 * random.below(modes)]; // ldmxcsr [rsi + 4 n]
  if (random.oneIn(14)) return [0x0f, 0xae, 0x5e, 0x70]; // stmxcsr [rsi + 0x70]
  if (random.oneIn(10))
    return [random.pick([0xf2, 0xf3]), 0x0f, 0x11, 0x47 | (random.below(8) << 3), 16 * random.below(8)];
  if (random.oneIn(12)) return [0x75, 0x00];
  if (random.oneIn(10)) return [...random.pick(FORMS), 0x0f, 0xc2, 0xc0 | random.below(64), random.below(8)]; // cmpxx
  if (random.oneIn(12)) return [0x66, 0x0f, 0x3a, random.pick([0x0a, 0x0b]), 0xc0 | random.below(64), random.below(5)]; // roundsx
  const bytes = random.oneIn(3) ? random.pick(others) : [...random.pick(FORMS), 0x0f, random.pick(ARITHMETIC)];
  const last = bytes.at(-1)!;
  const register = last === 0x2d || last === 0x2c ? random.below(3) : random.below(8);
  const general = last === 0x2a;
  const scalar = bytes[0] === 0xf2 || bytes[0] === 0xf3;
  if (scalar && random.oneIn(3)) return [...bytes, 0x47 | (register << 3), 16 * random.below(8)];
  return [...bytes, 0xc0 | (register << 3) | (general ? random.below(3) : random.below(8))];
}
function program(random: Random, modes: number): Uint8Array<ArrayBuffer> {
  const start = Array.from({ length: 8 }, (_, n) => [0x0f, 0x10, 0x47 | (n << 3), 16 * n]).flat(); // movups xmm n, [rdi + 16 n]
  const body: number[] = [];
  for (let n = 0; n < 40; n++) body.push(...operation(random, modes));
  const back = -(body.length + 9);
  body.push(0x41, 0xff, 0xc9, 0x0f, 0x85, ...[0, 8, 16, 24].map((bit) => (back >> bit) & 0xff), 0xf4); // dec r9d; jnz; hlt
  return Uint8Array.from([...start, ...body]);
}
interface Setting {
  readonly mxcsr: number;
  readonly words: readonly number[];
  readonly values: Uint8Array;
}
function run(text: string, bytes: Uint8Array<ArrayBuffer>, { mxcsr, words, values }: Setting): Outcome {
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest({ ...code(""), bytes }, { [RDI]: VALUES, [RSI]: MODES, 9: 4 }, { translation });
    g.write(VALUES, values);
    words.forEach((word, i) => g.write(MODES + 4 * i, [word & 0xff, word >> 8, 0, 0]));
    g.regs.set32(Reg.MXCSR, mxcsr);
    return g;
  };
  return compare({ make, kept: [At.DATA, At.STACK - PAGE] }, text, "fastFloat");
}
function randomValues(random: Random): Uint8Array {
  const values = new Uint8Array(256);
  for (let at = 0; at < 256; at += 16) interestingVector(random, new DataView(values.buffer), at);
  return values;
}

describe("random arithmetic", () => {
  test("with exceptions masked, in all modes and changing them", () => {
    for (let seed = 1; seed <= 80; seed++) {
      const random = new Random(seed);
      const setting = { mxcsr: random.pick(WORDS), words: WORDS, values: randomValues(random) };
      assert.equal(run(`seed ${seed}`, program(random, WORDS.length), setting).vector, undefined);
    }
  });
  test("with exceptions unmasked: #XM comes at the same instruction, with the same state", () => {
    let raised = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(1000 + seed);
      const words = [...WORDS.slice(0, 2), ...UNMASKED];
      const setting = { mxcsr: random.pick(words), words, values: randomValues(random) };
      if (run(`seed ${seed}`, program(random, words.length), setting).vector === XM) raised++;
    }
    assert.ok(raised > 15, `${raised} raised #XM`);
  });
});

describe("each operation on all pairs of special numbers, with its flags", () => {
  const TABLE = At.DATA;
  const RESULTS = At.DATA + 0x7000;
  const LOAD = code(`
    0f ae 16                        ldmxcsr [rsi]
    41 0f 10 00                     movups xmm0, [r8]
    41 0f 10 48 10                  movups xmm1, [r8 + 16]
  `).bytes;
  const STORE = code(`
    0f 11 07                        movups [rdi], xmm0
    0f ae 5f 10                     stmxcsr [rdi + 16]
    48 83 c7 20                     add rdi, 32
    49 83 c0 20                     add r8, 32
    41 ff c9                        dec r9d
  `).bytes;
  const round = (op: readonly number[]): number[] => {
    const body = [...LOAD, ...op, 0xc1, ...STORE]; // xmm0, xmm1
    return [...body, 0x75, -(body.length + 2) & 0xff, 0xf4]; // jnz; hlt
  };
  const singles = [
    0, 1, 0x007f_ffff, 0x0080_0000, 0x0080_0001, 0x0100_0000, 0x1f80_0000, 0x3f80_0000, 0x3f80_0001, 0x4040_0000,
    0x5f80_0000, 0x7f7f_ffff, 0x7f80_0000, 0x7fa0_0000, 0x7fc0_0000,
  ];
  const doubles = [
    0n,
    1n,
    0xf_ffff_ffff_ffffn,
    1n << 52n,
    (1n << 52n) + 1n,
    2n << 52n,
    0x1ff0n << 48n,
    0x3ff0n << 48n,
    (0x3ff0n << 48n) + 1n,
    0x4008n << 48n,
    0x5ff0n << 48n,
    0x7fef_ffff_ffff_ffffn,
    0x7ff0n << 48n,
    0x7ff4n << 48n,
    0x7ff8n << 48n,
  ];
  const signs = [false, true];
  const values = signs.flatMap((negative) =>
    doubles.map((double, i) => {
      const single = BigInt(singles[i]!) | (negative ? 1n << 31n : 0n);
      return { double: double | (negative ? 1n << 63n : 0n), single: single | (single << 32n) };
    }),
  );
  const pairs = values.flatMap((a, i) =>
    values.filter((_, j) => (i + j) % 2 === 0 || i < 15).map((b) => [a, b] as const),
  );
  for (const form of FORMS) {
    for (const op of ARITHMETIC) {
      const text = Buffer.from([...form, 0x0f, op]).toString("hex");
      test(text, () => {
        const wide = form[0] === 0xf2 || form[0] === 0x66;
        const make = (translation: TranslationOptions): SmallGuest => {
          const bytes = Uint8Array.from(round([...form, 0x0f, op]));
          const registers = { [RDI]: RESULTS, [RSI]: At.STACK, 8: TABLE, 9: pairs.length };
          const g = kernelGuest({ ...code(""), bytes }, registers, { translation });
          const table = new BigUint64Array(
            pairs.flatMap(([a, b]) => [a, a, b, b].map((v) => (wide ? v.double : v.single))),
          );
          g.write(TABLE, new Uint8Array(table.buffer));
          g.write(At.STACK, [0xa0, 0x1f, 0, 0]); // all masked, PE
          return g;
        };
        const kept = Array.from({ length: 6 }, (_, n) => RESULTS + n * PAGE);
        assert.equal(compare({ make, kept }, text, "fastFloat").vector, undefined);
      });
    }
  }
});

test("rounding changed between two divisions of one loop", () => {
  const { bytes } = code(`
    again:
    0f 10 07                        movups xmm0, [rdi]
    0f 28 d0                        movaps xmm2, xmm0
    f2 0f 5e 47 10                  divsd xmm0, [rdi + 16]
    0f ae 56 04                     ldmxcsr [rsi + 4]
    f2 0f 5e 57 10                  divsd xmm2, [rdi + 16]
    0f 11 57 20                     movups [rdi + 32], xmm2
    0f ae 16                        ldmxcsr [rsi]
    41 ff c9                        dec r9d
    75 e0                           jne again
    f4                              hlt
  `);
  const values = new Uint8Array(new Float64Array([1, 0, 3, 0]).buffer);
  const nearest = MXCSR.MASKS | MXCSR.PE;
  const { vector, state } = run("rounding", bytes, { mxcsr: nearest, words: [nearest, nearest | UP], values });
  const [down, up] = [0, 2].map((n) => (state["xmm"] as string[])[n]!.split(":")[1]!);
  assert.deepEqual([vector, down, up], [undefined, "3fd5555555555555", "3fd5555555555556"]);
});
