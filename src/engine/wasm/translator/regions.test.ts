/* Regions on a small guest: what is asked of the translator, what becomes of its answers, and what changes of code do to both. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { code, type Listing } from "../../../../tests/guests/listing.ts";
import { At, kernelGuest, Pte, type SmallGuest } from "../../../../tests/guests/small-guest.ts";
import { Reg } from "../../../isa/registers.ts";
import { Attention } from "../../engine.ts";
import { TRANSLATION } from "../engine.ts";
import { type RegionRequest, translateModule, type TranslatedModule } from "./module.ts";
import { type RegionTranslator } from "./regions.ts";
import { REGION_LIMITS, type RegionLimits } from "./region-options.ts";

const [RAX, RCX, RBX, RSI, RDI] = [0, 1, 3, 6, 7];
const PAGE = 4096;

/** A translator that answers when it is told to. */
class LateTranslator implements RegionTranslator {
  readonly asked: RegionRequest[] = [];
  /** Of the guest that asks. */
  ramPages = 0;
  #ready: TranslatedModule[] = [];
  request(request: RegionRequest): void {
    this.asked.push(request);
  }
  take(): TranslatedModule[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }
  /** Makes what was asked for and not answered yet. */
  answer(): void {
    this.#ready.push(translateModule(this.asked.splice(0), TRANSLATION.region, this.ramPages));
  }
  /** Says that it cannot be done. */
  refuse(): void {
    const regions = this.asked.splice(0).map(({ id }) => ({ id, entries: [], instructions: 0 }));
    this.#ready.push({ regions, number: 0, module: undefined, imports: [], bytes: 0 });
  }
}

const LOOP = code(`
  again:
  83 c0 01                        add eax, 1
  ff c9                           dec ecx
  75 f9                           jne again
  f4                              hlt
`);
const ROUNDS = 1000;
const SLICE = 30;

interface Watched {
  readonly g: SmallGuest;
  readonly translator: LateTranslator;
  readonly limits: { threshold: number };
  readonly counts: { readonly regions: number; readonly dropped: number; readonly declined: number };
  /** Runs so many slices, each of which ends somewhere in the loop. */
  slices(n: number): void;
  /** Does a region begin at this guest-physical address? */
  isRegion(gpa: number): boolean;
}
function watched(program: Listing, limits: Partial<RegionLimits> = {}): Watched {
  const translator = new LateTranslator();
  const all = { ...REGION_LIMITS, threshold: 1, ...limits };
  const g = kernelGuest(program, { [RCX]: ROUNDS }, { translation: { ...TRANSLATION, limits: all, translator } });
  translator.ramPages = g.ram.pool.pages;
  const { blocks, regions } = g.engine;
  return {
    g,
    translator,
    limits: all,
    counts: regions.counts,
    slices: (n) => {
      for (let i = 0; i < n; i++) assert.equal(g.exit(SLICE).kind, "budget");
    },
    isRegion: (gpa) => {
      const block = blocks.blockAt(g.ram.frameAddress((gpa / PAGE) | 0) + (gpa % PAGE));
      return block !== undefined && regions.isRegion(block.entry);
    },
  };
}

/** Each round is shorter than a slice, and ends it: the device that is written to wants attention. */
const INTERRUPTED = code(`
  outer:
  b9 e8 03 00 00                  mov ecx, 1000
  again:
  83 c0 01                        add eax, 1
  ff c9                           dec ecx
  75 f9                           jne again
  e6 80                           out 0x80, al
  83 eb 01                        sub ebx, 1
  75 eb                           jne outer
  f4                              hlt
`);

describe("a hot place", () => {
  test("is seen also in a guest whose slices all end early", () => {
    const { g, translator } = watched(INTERRUPTED);
    g.regs.setGpr(RBX, 200n);
    const words = new Int32Array(g.engine.state.buffer);
    g.portLog.push = () => Atomics.or(words, (g.vcpu.address + Reg.ATTENTION) >> 2, Attention.LOOK);
    assert.equal(g.exit(10_000_000).kind, "halted");
    assert.ok(translator.asked.length > 0, "nothing was asked for in 600,000 instructions");
  });
  test("is asked for once it was seen often enough, and runs as a region when that is there", () => {
    const { g, translator, counts, slices, isRegion } = watched(LOOP, { threshold: 3 });
    slices(2);
    assert.equal(translator.asked.length, 0);
    slices(4);
    assert.equal(translator.asked.length, 1, "not asked for again while it is under way");
    const { seed, bytes } = translator.asked[0].code;
    assert.deepEqual([seed, Buffer.from(bytes).toString("hex")], [At.CODE % PAGE, "83c001ffc975f9"]);
    assert.equal(isRegion(At.CODE), false);
    translator.answer();
    slices(1);
    assert.deepEqual([counts.regions, isRegion(At.CODE)], [1, true]);
    g.run();
    assert.deepEqual([g.gpr(RAX), g.retired], [BigInt(ROUNDS), 3 * ROUNDS + 1]);
    assert.equal(translator.asked.length, 0);
  });
  test("waits while too many are under way", () => {
    const { translator, slices } = watched(LOOP, { pending: 0 });
    slices(5);
    assert.equal(translator.asked.length, 0);
  });
  test("that the translator refuses is not asked for again, until all blocks have gone", () => {
    const { g, translator, slices, isRegion } = watched(LOOP);
    slices(1);
    assert.equal(translator.asked.length, 1);
    translator.refuse();
    slices(10);
    assert.deepEqual([translator.asked.length, isRegion(At.CODE)], [0, false]);
    g.engine.blocks.clear();
    slices(2);
    assert.equal(translator.asked.length, 1);
  });
  test("an answer that nobody here asked for changes nothing", () => {
    const { translator, slices, counts } = watched(LOOP);
    slices(1);
    const [{ id, code: region }] = translator.asked;
    translator.asked.splice(0, 1, { id: id + 1000, code: region });
    translator.answer();
    slices(2);
    assert.equal(counts.regions, 0);
  });
});

describe("code that changes", () => {
  test("drops its region: the loop goes on as written", () => {
    const { g, translator, counts, slices, isRegion } = watched(LOOP);
    slices(1);
    translator.answer();
    slices(1);
    assert.ok(isRegion(At.CODE));
    const done = g.gpr(RAX);
    assert.equal(g.gpr(RCX), BigInt(ROUNDS) - done);
    g.ram.write(At.CODE + 2, Uint8Array.of(3));
    g.run();
    assert.deepEqual([counts.dropped, g.gpr(RAX)], [1, done + 3n * (BigInt(ROUNDS) - done)]);
  });
  test("while it is being translated: the answer is not used, and the new code is asked for", () => {
    const { g, translator, counts, slices, isRegion } = watched(LOOP);
    slices(1);
    assert.equal(translator.asked.length, 1);
    translator.answer();
    g.ram.write(At.CODE + 2, Uint8Array.of(3));
    const done = g.gpr(RAX);
    slices(3);
    assert.deepEqual([counts.regions, isRegion(At.CODE)], [0, false]);
    assert.deepEqual(
      translator.asked.map((request) => request.code.bytes[2]),
      [3],
    );
    translator.answer();
    slices(1);
    g.run();
    assert.deepEqual([counts.regions, g.gpr(RAX)], [1, done + 3n * (BigInt(ROUNDS) - done)]);
  });
  test("elsewhere in the page leaves the region alone", () => {
    const { counts, slices, translator, isRegion } = watched(
      code(`
      again:
      89 0d fa 01 00 00               mov [rip + 0x1fa], ecx
      83 c0 01                        add eax, 1
      ff c9                           dec ecx
      75 f3                           jne again
      f4                              hlt
    `),
    );
    slices(1);
    translator.answer();
    slices(1);
    assert.deepEqual([counts.dropped, isRegion(At.CODE)], [0, true]);
  });
  test("clearing the block cache drops all regions, and frees them for what comes next", () => {
    const { g, translator, counts, slices, isRegion } = watched(LOOP);
    slices(1);
    translator.answer();
    slices(1);
    g.engine.blocks.clear();
    assert.equal(counts.dropped, 1);
    slices(2);
    assert.equal(isRegion(At.CODE), false);
    translator.answer();
    slices(1);
    assert.ok(isRegion(At.CODE));
    g.run();
    assert.equal(g.gpr(RAX), BigInt(ROUNDS));
  });
  test("again and again: its page is left to the interpreter", () => {
    const { g, translator, counts, slices } = watched(LOOP);
    let asked = 0;
    for (let n = 0; n < 60; n++) {
      g.regs.setGpr(RCX, BigInt(ROUNDS));
      slices(2);
      asked += translator.asked.length;
      translator.answer();
      slices(1);
      g.ram.write(At.CODE + 2, Uint8Array.of(n % 100));
    }
    assert.ok(asked > 10 && asked < 25, `asked ${asked} times`);
    assert.ok(counts.dropped < 25, `dropped ${counts.dropped} times`);
  });
});

/** Where slices end is not looked at from now on. */
const NEVER = 1e9;

describe("a region that is left", () => {
  test("often for the same code: that becomes a region, wherever slices end", () => {
    const far = 0x1060_0000;
    const { g, translator, limits, slices, isRegion } = watched(
      code(`
        again:
        ff d3                           call rbx
        ff c9                           dec ecx
        75 fa                           jne again
        f4                              hlt
      `),
    );
    g.map(far, At.FREE, Pte.W);
    for (const at of [At.FREE, At.CODE + 0x100]) g.write(at, [0xff, 0xc0, 0xc3]); // inc eax; ret
    g.regs.setGpr(RBX, BigInt(At.CODE + 0x100));
    g.regs.setGpr(RCX, 100_000n);
    for (let n = 0; n < 20 && !isRegion(At.CODE); n++) {
      slices(1);
      translator.answer();
    }
    assert.ok(isRegion(At.CODE));
    g.regs.setGpr(RBX, BigInt(far));
    assert.equal(isRegion(At.FREE), false);
    limits.threshold = NEVER;
    assert.equal(g.exit(5 * 8000).kind, "budget");
    assert.equal(translator.asked.length, 0, "that was not often");
    assert.equal(g.exit(5 * 8000).kind, "budget");
    assert.equal(translator.asked.length, 1);
    translator.answer();
    g.run();
    assert.deepEqual([isRegion(At.FREE), g.gpr(RCX)], [true, 0n]);
  });
  test("often for code that it might have: it is made anew with that, and goes", () => {
    const { g, translator, limits, counts, slices } = watched(
      code(`
        again:
        83 c0 01                        add eax, 1
        85 db                           test ebx, ebx
        75 05                           jne new
        back:
        ff c9                           dec ecx
        75 f5                           jne again
        f4                              hlt
        new:
        83 c6 01                        add esi, 1
        eb f6                           jmp back
      `),
    );
    const rounds = 60_000;
    g.regs.setGpr(RCX, BigInt(rounds));
    slices(1);
    const [seed] = translator.asked.map((asked) => asked.code.seed);
    translator.answer();
    slices(1);
    assert.equal(counts.regions, 1);
    limits.threshold = NEVER;
    const before = Number(g.gpr(RCX));
    g.regs.setGpr(RBX, 1n);
    // the translator is busy: there is no region that begins with what is new
    const anew = (): boolean => translator.asked.some((asked) => asked.code.seed === seed);
    for (let n = 0; n < 30 && !anew(); n++) assert.equal(g.exit(20_000).kind, "budget");
    const sizes = translator.asked.filter((asked) => asked.code.seed === seed).map((asked) => asked.code.bytes.length);
    translator.answer();
    g.run();
    assert.deepEqual([sizes, counts.dropped], [[16], 1]);
    assert.ok(Math.abs(Number(g.gpr(RSI)) - before) <= 1);
    assert.equal(g.gpr(RAX), BigInt(rounds));
  });
});

describe("a region of several pages", () => {
  /** Far from the caller, so that its region has nothing of this. */
  const VA = 0x1060_0000;
  const CALLS = code(`
    again:
    ff d3                           call rbx
    ff c9                           dec ecx
    75 fa                           jne again
    f4                              hlt
  `);
  /** The callee adds n and jumps to the next page, where it returns. */
  const callee = (n: number): number[] => [0x83, 0xc0, n, 0xe9, 0xf8, 0x0f, 0, 0];
  function twoPages(limits: Partial<RegionLimits> = {}): Watched {
    const all = watched(CALLS, limits);
    const { g } = all;
    g.regs.setGpr(RBX, BigInt(VA));
    g.map(VA, At.FREE, Pte.W);
    g.map(VA + PAGE, At.FREE + PAGE, Pte.W);
    g.write(At.FREE, callee(1));
    g.write(At.FREE + PAGE, [0xc3]); // ret
    g.write(At.FREE + 2 * PAGE, [0xff, 0xc0, 0xc3]); // inc eax; ret
    return all;
  }
  /** Gives all a chance to become regions. */
  function settle({ translator, g }: Watched, slices = 30): void {
    for (let n = 0; n < slices; n++) {
      assert.equal(g.exit(1 + n).kind, "budget");
      if (translator.asked.length > 0) translator.answer();
    }
  }
  test("runs while its pages are mapped as it was translated", () => {
    const all = twoPages();
    settle(all);
    assert.ok(all.isRegion(At.FREE));
    all.g.run();
    assert.deepEqual([all.g.gpr(RAX), all.counts.declined], [BigInt(ROUNDS), 0]);
  });
  test("is the interpreter's after the second page was mapped elsewhere and INVLPG said so", () => {
    const all = twoPages();
    settle(all);
    const { g, counts } = all;
    const done = g.gpr(RAX);
    const left = g.gpr(RCX);
    const where = g.regs.get64(Reg.RIP);
    assert.ok(all.isRegion(At.FREE));
    g.map(VA + PAGE, At.FREE + 2 * PAGE, Pte.W);
    g.write(
      At.CODE + 0x100,
      code(`
      0f 01 3f                        invlpg [rdi]
      ff e6                           jmp rsi
    `).bytes,
    );
    g.regs.setGpr(RDI, BigInt(VA + PAGE));
    g.regs.setGpr(RSI, where);
    g.regs.set64(Reg.RIP, BigInt(At.CODE + 0x100));
    g.run();
    assert.ok(counts.declined > 0);
    // at the call, in front of the callee, or behind the call
    assert.ok([At.CODE, VA, At.CODE + 2].includes(Number(where)), `at ${where.toString(16)}`);
    const calls = where === BigInt(At.CODE + 2) ? left - 1n : left;
    assert.equal(g.gpr(RAX), done + 2n * calls, "all calls came to the new page");
  });
  test("that never runs as it is mapped goes", () => {
    const all = twoPages();
    settle(all);
    const { g, counts } = all;
    g.map(VA + PAGE, At.FREE + 2 * PAGE, Pte.W);
    g.vcpu.mmu.flush({ kind: "all" });
    g.regs.setGpr(RCX, 5000n);
    const declined = counts.declined;
    settle(all, 200);
    assert.ok(counts.declined - declined < 1200, `declined ${counts.declined} times`);
    assert.equal(counts.dropped, 1);
    g.regs.setGpr(RAX, 0n);
    const calls = g.gpr(RCX);
    g.run();
    const made = g.gpr(RAX) / 2n;
    assert.ok(made === calls || made === calls - 1n, `${made} of ${calls} calls`);
  });
  test("has no more pages than the limit", () => {
    const all = twoPages({ pages: 1 });
    const pages = new Set<number>();
    for (let n = 0; n < 30; n++) {
      assert.equal(all.g.exit(1 + n).kind, "budget");
      for (const { code: region } of all.translator.asked)
        pages.add(new Set(region.runs.filter((_, i) => i % 2 === 0).map((offset) => Math.floor(offset / PAGE))).size);
      all.translator.answer();
    }
    assert.deepEqual([...pages], [1]);
  });
});
