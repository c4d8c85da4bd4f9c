/* Translated code that does not fit, and pages whose code changes again and again: all that is translated comes and goes, and the program notices nothing. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TRANSLATION, type TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { BYTES_PER_MODULE } from "../../src/engine/wasm/translator/code-cache.ts";
import type { RegionLimits } from "../../src/engine/wasm/translator/region-options.ts";
import { nativeCode } from "../../src/vm/native-host.ts";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { code } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

const PAGE = 4096;
const PAGES = 16;
const ROUNDS = 4;
/** Twice: what the longest block may take, what all blocks share, and hardly more. */
const LITTLE_NATIVE_ROOM = 2 * (65_536 + 2600);
const [RAX, RDX] = [0, 2];

function translation(limits: Partial<RegionLimits>, native = false): TranslationOptions {
  return { ...TRANSLATION, limits: { ...TRANSLATION.limits, ...limits }, ...(native && { native: nativeCode }) };
}

/** A loop in each of many pages, several slices long; they are called one after the other, round after round. */
function visitPages(limits: Partial<RegionLimits>, native = false): SmallGuest {
  const guest = new SmallGuest({ translation: translation(limits, native) });
  const loop = code(`
      b9 60 ea 00 00                  mov ecx, 60000
    again:
      01 c8                           add eax, ecx
      ff c9                           dec ecx
      75 fa                           jnz again
      ff c2                           inc edx
      c3                              ret
  `);
  for (let n = 0; n < PAGES; n++) guest.write(At.FREE + n * PAGE, loop.bytes);
  guest.load(
    code(`
      bf 04 00 00 00                  mov edi, ${ROUNDS}
    round:
      bb 00 00 40 00                  mov ebx, ${At.USER}
      be 10 00 00 00                  mov esi, ${PAGES}
    page:
      ff d3                           call rbx
      81 c3 00 10 00 00               add ebx, ${PAGE}
      ff ce                           dec esi
      75 f4                           jnz page
      ff cf                           dec edi
      75 e6                           jnz round
      f4                              hlt
    `),
  );
  guest.run(100_000_000);
  assert.equal(guest.gpr(RDX), BigInt(ROUNDS * PAGES));
  assert.equal(guest.gpr(RAX), BigInt.asUintN(32, BigInt(ROUNDS * PAGES) * 30_000n * 60_001n));
  return guest;
}

test(
  "native code stays while there is room for it, and else all goes and comes back",
  { skip: nativeUnavailable() ?? false },
  () => {
    const plenty = visitPages({}, true).engine.regions.counts;
    assert.equal(plenty.evicted, 0);
    assert.ok(plenty.regions >= PAGES && plenty.regions < 4 * PAGES, `${plenty.regions} blocks`);
    const little = visitPages({ codeCacheBytes: LITTLE_NATIVE_ROOM }, true).engine.regions.counts;
    assert.ok(little.evicted > 0 && little.regions > plenty.regions, `${little.evicted} of ${little.regions} blocks`);
  },
);

describe("translated code", () => {
  test("stays while there is room for it", () => {
    const { counts } = visitPages({}).engine.regions;
    assert.deepEqual([counts.evicted, counts.dropped], [0, 0]);
    assert.ok(counts.regions >= PAGES && counts.regions < 2 * PAGES, `${counts.regions} regions`);
  });

  for (const modules of [0, 1, 3]) {
    test(`goes where there is room for ${modules} modules, and comes back`, () => {
      const codeCacheBytes = modules * 2 * BYTES_PER_MODULE;
      const { counts } = visitPages({ codeCacheBytes }).engine.regions;
      assert.ok(counts.evicted >= (ROUNDS - 1) * PAGES, `${counts.evicted} evicted`);
      assert.ok(counts.regions - counts.evicted <= 2 * modules, `${counts.regions} regions`);
      assert.equal(counts.dropped, counts.evicted);
    });
  }

  /** 40 times a loop is given another constant and run for some slices. @returns how often it was translated */
  function changeOften(memory: number): number {
    const guest = new SmallGuest({ translation: translation({ memory }) });
    guest.load(
      code(`
        bf 28 00 00 00                  mov edi, 40
      round:
        89 3d 06 00 00 00               mov [rip + again + 1], edi
        b9 60 ea 00 00                  mov ecx, 60000
      again:
        05 00 00 00 00                  add eax, 0
        ff c9                           dec ecx
        75 f7                           jnz again
        ff cf                           dec edi
        75 e8                           jnz round
        f4                              hlt
      `),
    );
    guest.run(100_000_000);
    assert.equal(guest.gpr(RAX), 60_000n * 820n);
    return guest.engine.regions.counts.regions;
  }
  test("of a page that changes often is left alone, but not for ever", () => {
    const once = changeOften(Infinity);
    assert.ok(once > 10 && once < 20, `${once} times`);
    const again = changeOften(100);
    assert.ok(again > 30, `${again} times`);
  });
});
