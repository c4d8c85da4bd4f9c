/* The translator does what the interpreter does: Debian's kernel boots on both, and they are in the same state after the same instructions. The whole boot is for
 * tools/lockstep.ts; here is its beginning. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { TRANSLATION, TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { TranslatesAtOnce } from "../../src/engine/wasm/translator/at-once.ts";
import type { RegionTranslator } from "../../src/engine/wasm/translator/regions.ts";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { bootImage } from "./boot-image.ts";
import { type Comparison, compareBoot, narrowDown } from "./compare-boot.ts";
import { NATIVE } from "./native.ts";
import type { BootImage, Translation } from "./repeatable-machine.ts";

const MIB = 1024 ** 2;
/** ADD RAX, 1 with an 8-bit immediate. */
const ADD_RAX_1 = Buffer.from("4883c001", "hex");

let image: BootImage;
before(async () => {
  Error.stackTraceLimit = 0;
  image = await bootImage();
});
const comparison = (translation: Translation, instructions: number): Comparison => ({
  image,
  options: { memoryBytes: 128 * MIB, nanosPerInstruction: 10 },
  translation,
  instructions,
  slice: 50_000,
  memoryEvery: 10,
});

/** Translates ADD RAX, 1 as ADD RAX, 2. */
function wrongTranslator(ramPages: number): RegionTranslator {
  const right = new TranslatesAtOnce(TRANSLATION.region, ramPages);
  return {
    request: ({ id, code }) => {
      const bytes = Uint8Array.from(code.bytes);
      const at = Buffer.from(bytes).indexOf(ADD_RAX_1);
      if (at >= 0) bytes[at + ADD_RAX_1.length - 1] = 2;
      right.request({ id, code: { ...code, bytes } });
    },
    take: () => right.take(),
  };
}

describe("in lockstep", { timeout: 280_000 }, () => {
  test("the first 30 million instructions of a boot, as Mere translates them", () => {
    const result = compareBoot(comparison(() => TRANSLATION, 30e6));
    assert.deepEqual([result.differences, result.end], [[], undefined]);
    assert.ok(result.regions > 30, `only ${result.regions} regions`);
  });

  test("the first 4 million instructions, all of them translated", () => {
    const result = compareBoot(comparison(() => TRANSLATE_ALL, 4e6));
    assert.deepEqual([result.differences, result.end], [[], undefined]);
    assert.ok(result.regions > 300, `only ${result.regions} regions`);
  });

  test("the first 30 million instructions, as native code", { skip: nativeUnavailable() !== undefined }, () => {
    const result = compareBoot(comparison(NATIVE, 30e6));
    assert.deepEqual([result.differences, result.end], [[], undefined]);
    assert.ok(result.regions > 3000, `only ${result.regions} blocks`);
  });

  test("a wrong translation is found and narrowed down to its region", () => {
    const wrong = comparison((ramPages) => ({ ...TRANSLATION, translator: wrongTranslator(ramPages) }), 60e6);
    const result = compareBoot(wrong);
    assert.notDeepEqual(result.differences, []);
    const report = narrowDown(wrong, result);
    assert.ok(
      report.some((line) => /^\| .* {2}add rax, 0x1$/.test(line)),
      report.join("\n"),
    );
  });
});
