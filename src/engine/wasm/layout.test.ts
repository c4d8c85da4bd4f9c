/* The engine's words in the register file: each has its own place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg } from "../../isa/registers.ts";
import { Native } from "../native/layout.ts";
import { Engine } from "./layout.ts";

/** Those that are not i32, in bytes. */
const SIZES: Partial<Record<keyof typeof Engine | keyof typeof Native, number>> = {
  ADDRESS: 8,
  TEMP3: 8,

  FLAG_THIRD: 8,
  FLAG_FOURTH: 8,
  FAULT_ADDRESS: 8,
  SCRATCH: 16,
  SPLIT: 16,
  RESUME: 8,
  CODE: 8,
  RAM_HOST: 8,
  FILE: 8,
  FRAME: 80,
  X87_IMAGE: 108,
};

test("no word of the engine's lies in another one, or is not aligned", () => {
  const owner = new Map<number, string>();
  const words = [...Object.entries(Engine), ...Object.entries(Native)];
  for (const [name, offset] of words) {
    const size = SIZES[name as keyof typeof SIZES] ?? 4;
    assert.equal(offset % Math.min(size, 8), 0, name);
    const near = offset >= Reg.ENGINE_NEAR && offset + size <= Reg.RIP;
    assert.ok(near || (offset >= Reg.ENGINE && offset + size <= Reg.SIZE), name);
    for (let at = offset; at < offset + size; at += 4) {
      assert.equal(owner.get(at), undefined, `${name} and ${String(owner.get(at))}`);
      owner.set(at, name);
    }
  }
  // native code takes the tags with 0 below them
  for (const tag of [Engine.CODE_TAG, Engine.CODE_TAG_GLOBAL])
    for (const before of [4, 8]) assert.equal(owner.get(tag - before), undefined);
});
