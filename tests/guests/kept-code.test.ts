/* Random programs, some of which rewrite themselves, do with code that an earlier engine has kept what they did when it was made. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TRANSLATION } from "../../src/engine/wasm/engine.ts";
import { nativeCodeKeptIn } from "../../src/vm/native-host.ts";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { Random } from "../instructions/random.ts";
import { makeRandom, randomProgram } from "./random-program.ts";
import { code } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

const PROGRAMS = 150;
const MOST_STEPS = 2000;

const state = (g: SmallGuest): unknown => ({
  gpr: Array.from({ length: 16 }, (_, n) => g.regs.gpr(n)),
  rflags: g.regs.rflags,
  retired: g.retired,
  memory: Buffer.from(g.read(At.DATA, 4096)).toString("latin1"),
});

describe("kept code", { skip: nativeUnavailable() !== undefined }, () => {
  let parent = "";
  let directory = "";
  before(() => {
    parent = mkdtempSync(join(tmpdir(), "mere-kept-"));
    directory = join(parent, "code");
  });
  after(() => rmSync(parent, { recursive: true }));

  /** All programs on an engine that ends then. */
  function run(): { readonly states: unknown[]; readonly kept: number; readonly blocks: number } {
    const translation = { ...TRANSLATION, native: nativeCodeKeptIn(directory) };
    const states: unknown[] = [];
    let guest: SmallGuest | undefined;
    for (let seed = 1; seed <= PROGRAMS; seed++) {
      guest = makeRandom(randomProgram(new Random(seed)), seed, { translation });
      guest.exit(MOST_STEPS);
      states.push(state(guest));
    }
    const { regions } = guest!.engine;
    const { kept, regions: blocks } = regions.counts;
    regions.dispose();
    return { states, kept, blocks };
  }

  test("does what it did", () => {
    const first = run();
    assert.ok(first.blocks > 1000, `${first.blocks} blocks`);
    assert.equal(first.kept, 0);
    assert.equal(readdirSync(directory).length, 1);
    const second = run();
    assert.deepEqual(second.states, first.states);
    // some that accesses in two pages have made anew are not kept
    assert.ok(second.kept > 0.9 * second.blocks, `${second.kept} of ${second.blocks}`);
    assert.equal(readdirSync(directory).length, 1);
  });

  test("comes with what follows it in its page", () => {
    const program = code(`
        85 ff                           test edi, edi
        74 06                           jz other
        b8 01 00 00 00                  mov eax, 1
        f4                              hlt
      other:
        b8 02 00 00 00                  mov eax, 2
        f4                              hlt
    `);
    /** An engine's guest, run with these values of EDI. @returns EAX after each, and how many blocks it had and had from what was kept */
    const results = (values: readonly bigint[]): number[][] => {
      const translation = { ...TRANSLATION, native: nativeCodeKeptIn(join(parent, "batches")) };
      const g = new SmallGuest({ translation });
      const seen = values.map((value) => {
        g.load(program);
        g.regs.setGpr(7, value);
        g.run();
        const { kept, regions } = g.engine.regions.counts;
        return [Number(g.gpr(0)), regions, kept];
      });
      g.engine.regions.dispose();
      return seen;
    };
    assert.deepEqual(
      results([0n, 1n]).map(([eax]) => eax),
      [2, 1],
    );
    // the way that it does not go has come, too
    assert.deepEqual(results([1n]), [[1, 3, 3]]);
  });
});
