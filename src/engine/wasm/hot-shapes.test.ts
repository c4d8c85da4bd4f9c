import assert from "node:assert/strict";
import { test } from "node:test";
import { FunctionBuilder } from "../../wasm/function.ts";
import { createDecoder, newDecoded } from "../../isa/decode.ts";
import { code } from "../../../tests/guests/listing.ts";
import { kernelGuest } from "../../../tests/guests/small-guest.ts";
import { EmitHandler } from "./emit-handler.ts";
import { addressForm } from "./handlers.ts";
import { BOOT_SHAPES, HOT_PAIRS, HOT_SHAPES } from "./hot-shapes.ts";

/** What a handler may call and still be the first of a pair: a write could hit the second instruction, a call could change anything. */
const HARMLESS = new Set(["load", "loadVector", "endInFault", "raise", "raiseSse", "raiseX87"]);

function importsOf(hex: string): string[] {
  const bytes = Uint8Array.fromHex(hex);
  const d = newDecoded();
  assert.equal(createDecoder().decode(bytes, 0, bytes.length, d), undefined, hex);
  assert.equal(d.length, bytes.length, hex);
  const names: string[] = [];
  const imports = { function: (name: string) => names.push(name) };
  new EmitHandler(new FunctionBuilder(["i32", "i32"], ["i32"]), imports, d, addressForm(d)).emit();
  return names;
}

test("hot shapes are whole instructions, none twice", () => {
  for (const shapes of [HOT_SHAPES, BOOT_SHAPES]) {
    for (const hex of shapes) importsOf(hex);
    assert.equal(new Set(shapes).size, shapes.length);
  }
});

test("what a boot needs is made at once, and found when it is met", () => {
  const guest = kernelGuest(code("f4                              hlt\n"), {});
  const { handlers } = guest.engine;
  handlers.prepareBoot();
  const of = (hex: string): number => {
    const d = newDecoded();
    createDecoder().decode(Uint8Array.fromHex(hex), 0, hex.length / 2, d);
    return handlers.for(d).handler;
  };
  const numbers = BOOT_SHAPES.map(of);
  assert.equal(new Set(numbers).size, BOOT_SHAPES.length);
  const last = Math.max(...numbers);
  assert.ok(of("0fae38") > last, "CLFLUSH is none of them"); // so it is made now
  guest.run();
});

test("the first of a hot pair writes no memory and calls nothing", () => {
  for (const pair of HOT_PAIRS) {
    const unexpected = importsOf(pair.split(" ")[0]).filter((name) => !HARMLESS.has(name));
    assert.deepEqual(unexpected, [], pair);
  }
});
