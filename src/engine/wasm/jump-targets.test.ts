/* What the interpreter keeps of indirect jumps and of branches, on a small guest that is never translated. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { code, type Listing } from "../../../tests/guests/listing.ts";
import { At, kernelGuest, Pte, type SmallGuest } from "../../../tests/guests/small-guest.ts";
import { TRANSLATE_NOTHING } from "./engine.ts";
import { jumpTargets, type JumpTargets } from "./jump-targets.ts";
import { Entry } from "./layout.ts";

const [RCX, RBX, RDI] = [1, 3, 7];
const PAGE = 4096;

/** Calls the R9 functions of a table at RDI, one after the other. */
const CALLS = code(`
  again:
  ff 17                           call [rdi]
  48 83 c7 08                     add rdi, 8
  41 ff c9                        dec r9d
  75 f5                           jne again
  f4                              hlt
`);
function guest(program: Listing, registers: Readonly<Record<number, number>>): SmallGuest {
  return kernelGuest(program, registers, { translation: TRANSLATE_NOTHING });
}
/** Of the last instruction of the block at a guest-physical address. */
function lastEntry(g: SmallGuest, gpa: number): number {
  const block = g.engine.blocks.blockAt(g.ram.frameAddress((gpa / PAGE) | 0) + (gpa % PAGE))!;
  return block.entry + (block.entries - 1) * Entry.BYTES;
}
/** Where the call of CALLS went. */
function targetsAfter(addresses: readonly number[], prepare: (g: SmallGuest) => void = () => {}): JumpTargets {
  const g = guest(CALLS, { [RDI]: At.DATA, 9: addresses.length });
  prepare(g);
  addresses.forEach((address, i) => {
    g.write64(At.DATA + 8 * i, BigInt(address));
    if (address < At.DATA) g.write(address, [0xc3]);
  });
  g.run();
  return jumpTargets(new Int32Array(g.engine.state.buffer), [lastEntry(g, At.CODE)]);
}
const functionAt = (n: number): number => At.CODE + 0x100 + 16 * n;

test("targets from the page of the jump, the most frequent first, with their share", () => {
  const [a, b, c] = [0, 1, 2].map(functionAt);
  const { targets, more } = targetsAfter([a!, b!, b!, c!, b!, c!, b!, b!, c!, b!]);
  assert.deepEqual(targets, [
    { target: 0x110, share: 0.6 },
    { target: 0x120, share: 0.3 },
    { target: 0x100, share: 0.1 },
  ]);
  assert.equal(more, false);
});
test("seven are kept; that there were more is known", () => {
  const seven = Array.from({ length: 7 }, (_, n) => functionAt(n));
  assert.deepEqual([targetsAfter(seven).targets.length, targetsAfter(seven).more], [7, false]);
  const eight = targetsAfter([...seven, functionAt(7)]);
  assert.deepEqual([eight.targets.length, eight.more], [7, true]);
});
test("a target that is too far is one of the others", () => {
  const far = 0x1060_0000;
  const { targets, more } = targetsAfter([far, functionAt(0), far], (g) => {
    g.map(far, At.FREE, Pte.W);
    g.write(At.FREE, [0xc3]);
  });
  assert.deepEqual([targets, more], [[{ target: 0x100, share: 1 / 3 }], true]);
});
test("entries of one jump count together, and what is rare is left out", () => {
  const words = new Int32Array(64);
  const list = (entry: number, ...pairs: [number, number][]): void =>
    pairs.forEach(([target, count], i) => words.set([target, count], (entry + Entry.BYTES) / 4 + 2 * i));
  list(0, [0x10, 100], [0x20, 1]);
  list(128, [0x30, 60], [0x10, 40], [0x20, 1]);
  const { targets, more } = jumpTargets(words, [0, 128]);
  assert.deepEqual(
    targets.map(({ target }) => target),
    [0x10, 0x30],
  );
  assert.equal(more, false);
});
test("the last sixteen results of a conditional jump", () => {
  const g = guest(
    code(`
      again:
      ff c9                           dec ecx
      75 fc                           jne again
      ff cb                           dec ebx
      74 05                           je out
      b9 03 00 00 00                  mov ecx, 3
      out:
      75 f1                           jne again
      f4                              hlt
    `),
    { [RCX]: 3, [RBX]: 3 },
  );
  g.run();
  const history = new Uint16Array(g.engine.state.buffer)[(lastEntry(g, At.CODE) + Entry.HISTORY) >> 1];
  assert.equal(history, 0b110110110);
});
