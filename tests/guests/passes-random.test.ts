/* Random programs end alike on the interpreter and translated, with all passes, with none, and with each one on and off. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { ALL_PASSES, type RegionPasses } from "../../src/engine/wasm/translator/region-options.ts";
import { Random } from "../instructions/random.ts";
import { compare } from "./passes.ts";
import { FRAMES, makeRandom, quietProgram, randomProgram } from "./random-program.ts";
import { At, type SmallGuest } from "./small-guest.ts";

/** Data and the stack, each in both directions. */
const DATA = [At.DATA - 4096, At.DATA, ...Array.from({ length: 6 }, (_, n) => At.STACK + 4096 * (n - 4))];

test("programs that do not change, as large regions", () => {
  const passes = Object.keys(ALL_PASSES) as (keyof RegionPasses)[];
  let ended = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const bytes = quietProgram(new Random(10_000 + seed));
    const make = (translation: TranslationOptions): SmallGuest => makeRandom(bytes, seed, { translation });
    const pass = passes[seed % (passes.length + 1)];
    if (compare({ make, kept: DATA, budget: 3000 }, `seed ${seed}`, pass).end === "halted") ended++;
  }
  assert.ok(ended > 100, `only ${ended} programs ended`);
});

test("programs that rewrite themselves, each block translated before it runs", () => {
  let ended = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const bytes = randomProgram(new Random(20_000 + seed));
    const { end } = compare(
      {
        make: (translation) => makeRandom(bytes, seed, { translation }),
        kept: [...DATA, ...FRAMES],
        budget: 2000,
        changesCode: true,
      },
      `seed ${seed}`,
    );
    if (end === "halted") ended++;
  }
  assert.ok(ended > 20, `only ${ended} programs ended`);
});
