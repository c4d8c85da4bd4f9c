/* Random programs, some of which rewrite themselves: the run loop, with its kept and chained blocks, ends in the same state as stepping, which decodes every
 * instruction anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg } from "../../src/isa/registers.ts";
import { Random } from "../instructions/random.ts";
import { TRANSLATION } from "../../src/engine/wasm/engine.ts";
import { nativeCode } from "../../src/vm/native-host.ts";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { DEFINED_PIECES, FRAMES, makeRandom, quietProgram, randomProgram, TOUCHING_PIECES } from "./random-program.ts";
import { At, type GuestOptions, Pte, type SmallGuest } from "./small-guest.ts";

const MOST_STEPS = 2000;
const [RSP, RDI] = [4, 7];
const NATIVE = { ...TRANSLATION, native: nativeCode };

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
    memory: [At.DATA, At.STACK - 4096, ...FRAMES, ...PAIRS.map(([, frame]) => frame)].map((at) =>
      Buffer.from(g.read(at, 4096)).toString("latin1"),
    ),
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

/** Two pages for data and three for the stack, whose frames do not follow each other. */
const DATA = 0x62_0000;
const STACK = 0x64_0000;
const PAIRS = [
  [DATA, At.FREE + 0x9000],
  [DATA + 4096, At.FREE + 0x7000],
  [STACK, At.FREE + 0xd000],
  [STACK + 4096, At.FREE + 0xb000],
  [STACK + 8192, At.FREE + 0xf000],
] as const;
/** Where data and stack are: each in a page of its own, or near the end of one, so that what one block touches lies in two. */
const PLACES = [
  ["each access in one page", () => [DATA, STACK + 8192 + 64]],
  ["accesses in two pages", (n: number) => [DATA + 4096 - 1 - (n % 32), STACK + 4096 + 8 * (n % 3) + (n % 5)]],
] as const;
/** Many of them go by RSP and RDI, one after the other. */
const pieces = [...DEFINED_PIECES, ...Array.from({ length: 6 }, () => TOUCHING_PIECES).flat()];
for (const [name, place] of PLACES) {
  test(`native code and single steps agree: ${name}`, { skip: nativeUnavailable() ?? false }, () => {
    let ended = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Random(seed);
      const bytes = quietProgram(random, pieces);
      const make = (options: GuestOptions = {}): SmallGuest => {
        const g = makeRandom(bytes, seed, options);
        for (const [va, frame] of PAIRS) g.map(va, frame, Pte.W);
        const [data, stack] = place(seed);
        g.regs.setGpr(RDI, BigInt(data));
        g.regs.setGpr(RSP, BigInt(stack));
        return g;
      };
      const stepped = make();
      stepped.regs.set64(Reg.DR + 24, 0x7_0000n);
      stepped.regs.set64(Reg.DR + 56, 0x480n);
      assert.equal(stepped.exit(10 * MOST_STEPS).kind, "halted");
      // flags that nothing reads may be old ones in the frame of a fault
      if (stepped.stop().vector !== undefined) continue;
      ended++;
      const expected = state(stepped);
      const free = make({ translation: NATIVE });
      for (let runs = 0; runs < 10 * MOST_STEPS; runs++) if (free.exit(1 + random.below(300)).kind === "halted") break;
      assert.deepEqual(state(free), expected, `seed ${seed}`);
    }
    assert.ok(ended > 100, `only ${ended} programs ended`);
  });
}
