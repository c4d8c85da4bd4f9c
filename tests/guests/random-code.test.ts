/* Random programs, some of which rewrite themselves: the run loop, with its kept and chained blocks, ends in the same state as stepping, which decodes every
 * instruction anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg } from "../../src/isa/registers.ts";
import { Random } from "../instructions/random.ts";
import { TRANSLATE_ALL, TRANSLATION } from "../../src/engine/wasm/engine.ts";
import { nativeCode, nativeUnavailable } from "../../src/vm/native-host.ts";
import { DEFINED_PIECES, FRAMES, makeRandom, quietProgram, randomProgram } from "./random-program.ts";
import { At, type SmallGuest } from "./small-guest.ts";

const MOST_STEPS = 2000;

/** Everything that a program can have changed. */
function state(g: SmallGuest): unknown {
  const { regs } = g;
  return {
    gpr: Array.from({ length: 16 }, (_, n) => regs.gpr(n).toString(16)),
    rip: regs.get64(Reg.RIP).toString(16),
    rflags: regs.rflags,
    cr2: g.cr2,
    retired: g.retired,
    xmm: [0, 8, 16, 24].map((at) => regs.get64(Reg.XMM + at)),
    memory: [At.DATA, At.STACK - 4096, ...FRAMES].map((at) => Buffer.from(g.read(at, 4096)).toString("latin1")),
  };
}

test("run loop and single steps agree", () => {
  let ended = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const random = new Random(seed);
    const bytes = randomProgram(random);
    const stepped = makeRandom(bytes, seed);
    // a breakpoint that is never met makes the engine step
    stepped.regs.set64(Reg.DR + 24, 0x7_0000n);
    stepped.regs.set64(Reg.DR + 56, 0x480n);
    const exit = stepped.exit(MOST_STEPS);
    if (exit.kind !== "halted") continue;
    ended++;
    const expected = state(stepped);
    const free = makeRandom(bytes, seed);
    for (let runs = 0; runs < MOST_STEPS; runs++) if (free.exit(1 + random.below(100)).kind === "halted") break;
    assert.deepEqual(state(free), expected, `seed ${seed}`);
  }
  assert.ok(ended > 200, `only ${ended} programs ended`);
});

for (const [name, translation] of [
  ["from the beginning", TRANSLATE_ALL],
  ["where it is hot", { ...TRANSLATION, limits: { ...TRANSLATION.limits, threshold: 1 } }],
] as const) {
  test(`native code and single steps agree: ${name}`, { skip: nativeUnavailable() ?? false }, () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed);
      const bytes = quietProgram(random, DEFINED_PIECES);
      const stepped = makeRandom(bytes, seed);
      stepped.regs.set64(Reg.DR + 24, 0x7_0000n);
      stepped.regs.set64(Reg.DR + 56, 0x480n);
      assert.equal(stepped.exit(10 * MOST_STEPS).kind, "halted");
      const expected = state(stepped);
      const free = makeRandom(bytes, seed, { translation: { ...translation, native: nativeCode } });
      for (let runs = 0; runs < 10 * MOST_STEPS; runs++) if (free.exit(1 + random.below(300)).kind === "halted") break;
      assert.deepEqual(state(free), expected, `seed ${seed}`);
    }
  });
}
