/* Records of blocks: what is found, what depends on bytes that change, and what is gone. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BlockEnd } from "./block-end.ts";
import { BlockKind, BlockRecords } from "./block-records.ts";
import { BLOCK_LISTS, createStateMemory } from "./layout.ts";

const FRAME = 5;
/** One whose lists are the same. */
const OTHER_FRAME = FRAME + BLOCK_LISTS / 64;

function records(): BlockRecords {
  return new BlockRecords(new Int32Array(createStateMemory().buffer), 0);
}
/** A block of native code, or with code 0 of the interpreter's. */
function add(to: BlockRecords, frame: number, from: number, end: number, entry: number, code = 0): number {
  return to.add(frame, from, BlockKind.KNOWN, end, 0, 0, entry, code);
}

describe("records of blocks", () => {
  test("are found by frame, offset and kind, also where frames share lists", () => {
    const all = records();
    for (const [n, frame] of [FRAME, OTHER_FRAME].entries())
      for (let from = 0; from < 4096; from += 7) add(all, frame, from, from + 1, 32 * (4096 * n + from + 1));
    const plain = all.add(FRAME, 14, BlockKind.PLAIN, 20, 0, 0, 64, 0);
    for (let from = 0; from < 4096; from++) {
      const block = all.at(FRAME, from, BlockKind.KNOWN);
      const other = all.at(OTHER_FRAME, from, BlockKind.KNOWN);
      assert.equal(block !== 0, from % 7 === 0);
      if (block === 0) continue;
      assert.equal(all.entryOf(block), 32 * (from + 1));
      assert.equal(all.entryOf(other), 32 * (4096 + from + 1));
    }
    assert.equal(all.at(FRAME, 14, BlockKind.PLAIN), plain);
    assert.equal(all.at(FRAME, 21, BlockKind.PLAIN), 0);
    assert.equal(all.at(FRAME + 1, 14, BlockKind.KNOWN), 0);
  });

  test("say what they were told", () => {
    const all = records();
    const block = all.add(FRAME, 4095, BlockKind.KNOWN, 4096, 100, 120, 96, 48);
    const said = { record: block, frame: FRAME, from: 4095, kind: BlockKind.KNOWN, to: 4096, aheadFrom: 100 };
    const code = { aheadTo: 120, entry: 96, code: 48 };
    assert.deepEqual(all.read(block), { ...said, ...code, entries: 1, end: BlockEnd.OTHER, target: 4096 });
    const target = 4096 + 0x7fff_ffff;
    all.setEnding(block, 65, BlockEnd.BRANCH, target);
    assert.deepEqual(all.read(block), { ...said, ...code, entries: 65, end: BlockEnd.BRANCH, target });
  });

  test("go where bytes change that they depend on, those ahead too", () => {
    const all = records();
    const near = add(all, FRAME, 10, 20, 32);
    const ahead = all.add(FRAME, 500, BlockKind.KNOWN, 510, 19, 25, 64, 0);
    const beside = add(all, FRAME, 20, 30, 96);
    add(all, OTHER_FRAME, 10, 20, 128);
    const gone = all.takeDependent(FRAME, 19, 20).map(({ record }) => record);
    assert.deepEqual(new Set(gone), new Set([near, ahead]));
    assert.deepEqual(
      all.of(FRAME).map(({ record }) => record),
      [beside],
    );
    assert.equal(all.of(OTHER_FRAME).length, 1);
    assert.equal(all.take(near), false);
    assert.equal(all.take(beside), true);
    assert.equal(all.at(FRAME, 20, BlockKind.KNOWN), 0);
  });

  test("of a block that spans two pages know each other", () => {
    const all = records();
    const spanning = all.add(FRAME, 4090, BlockKind.SPANNING, 4096, 0, 0, 32, 16);
    const rest = all.add(OTHER_FRAME, 0, BlockKind.REST, 14, 0, 0, 32, 16);
    assert.equal(all.secondFrameOf(spanning), OTHER_FRAME);
    assert.equal(all.otherOf(all.read(spanning)), rest);
    assert.equal(all.otherOf(all.read(rest)), spanning);
  });

  test("are known by a place in their code until they are gone", () => {
    const all = records();
    const blocks = [64, 16, 128].map((code, n) => add(all, FRAME, 100 * n, 100 * n + 9, 32 + 32 * n, code));
    add(all, FRAME + 1, 0, 9, 256, 80);
    assert.equal(all.withCode(FRAME, 100), blocks[0]);
    assert.equal(all.withCode(FRAME, 16), blocks[1]);
    assert.equal(all.withCode(FRAME, 15), 0);
    all.clear();
    assert.equal(all.withCode(FRAME, 100), 0);
    assert.equal(all.of(FRAME).length, 0);
  });
});
