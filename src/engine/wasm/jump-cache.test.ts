import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg } from "../../isa/registers.ts";
import { JumpCache } from "./jump-cache.ts";
import { BANK_SETS, Engine, VCPU_BYTES } from "./layout.ts";

const [LOW, HIGH] = [0x8100_1230 | 0, -1];

function cache(): { jumps: JumpCache; word(register: number): number; setCpl(cpl: number): void } {
  const words = new Int32Array(VCPU_BYTES / 4);
  const jumps = new JumpCache(0, words);
  jumps.reset();
  jumps.select(0, false);
  return {
    jumps,
    word: (register) => words[register >> 2]!,
    setCpl: (cpl) => {
      words[Reg.CPL >> 2] = cpl;
      jumps.select(0, cpl === 3);
    },
  };
}

test("tags: one for each kind of code and address space, and one for global pages that user code never has", () => {
  const { jumps, word, setCpl } = cache();
  const [supervisor, global] = [jumps.tag(false), jumps.tag(true)];
  setCpl(3);
  const user = jumps.tag(false);
  assert.equal(jumps.tag(true), user);
  assert.equal(word(Engine.CODE_TAG), user);
  jumps.select(1, false);
  const tags = [supervisor, global, user, word(Engine.CODE_TAG), word(Engine.CODE_TAG_GLOBAL)];
  assert.equal(word(Engine.CODE_TAG_GLOBAL), global);
  assert.equal(new Set(tags).size, 4);
  setCpl(3);
  assert.ok(!tags.includes(word(Engine.CODE_TAG_GLOBAL)));
});

test("a flush of a set changes its tags alone, a flush of global pages theirs", () => {
  const { jumps, setCpl } = cache();
  const before = [jumps.tag(false), jumps.tag(true)];
  jumps.flushSet(3);
  assert.deepEqual([jumps.tag(false), jumps.tag(true)], before);
  jumps.flushSet(0);
  assert.notEqual(jumps.tag(false), before[0]);
  assert.equal(jumps.tag(true), before[1]);
  jumps.flushGlobal();
  assert.notEqual(jumps.tag(true), before[1]);
  setCpl(0);
});

test("tags in force at one time differ in their lower 16 bits, however many there were", () => {
  const { jumps, word, setCpl } = cache();
  for (let n = 0; n < 200_000; n++) {
    jumps.flushSet(n % 3);
    if (n % 4999 > 12) continue; // some at a time, by and by at all places
    const tags: number[] = [word(Engine.TAG_GLOBAL)];
    for (let set = 0; set < BANK_SETS; set++) {
      jumps.select(set, false);
      tags.push(word(Engine.TAG_SUPERVISOR), word(Engine.TAG_USER));
    }
    const keys = new Set(tags.map((tag) => tag & 0xffff));
    assert.equal(keys.size, tags.length);
    assert.ok(!keys.has(0));
  }
  setCpl(0);
});

test("INVLPG of a pinned page changes the tags, of another page it does not", () => {
  const { jumps } = cache();
  jumps.pin(LOW, HIGH);
  jumps.add(LOW, HIGH, 64, true, false);
  const before = [jumps.tag(false), jumps.tag(true)];
  jumps.dropPage(0, LOW + 0x1000, HIGH);
  assert.deepEqual([jumps.tag(false), jumps.tag(true)], before);
  jumps.dropPage(0, LOW & ~0xfff, HIGH);
  assert.notEqual(jumps.tag(false), before[0]);
  assert.notEqual(jumps.tag(true), before[1]);
});
