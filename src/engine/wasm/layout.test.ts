/* The engine's words in the register file: each has its own place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg } from "../../isa/registers.ts";
import { Engine } from "./layout.ts";

/** Those that are not i32, in bytes. */
const SIZES: Partial<Record<keyof typeof Engine, number>> = {
  FLAG_THIRD: 8,
  FLAG_FOURTH: 8,
  FAULT_ADDRESS: 8,
  SCRATCH: 16,
};

test("no word of the engine's lies in another one, or is not aligned", () => {
  const owner = new Map<number, string>();
  for (const [name, offset] of Object.entries(Engine)) {
    const size = SIZES[name as keyof typeof Engine] ?? 4;
    assert.equal(offset % Math.min(size, 8), 0, name);
    assert.ok(offset >= Reg.ENGINE && offset + size <= Reg.SIZE, name);
    for (let at = offset; at < offset + size; at += 4) {
      assert.equal(owner.get(at), undefined, `${name} and ${String(owner.get(at))}`);
      owner.set(at, name);
    }
  }
});
