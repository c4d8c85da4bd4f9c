/* Small guests translated before they run, where hardly any translated code has room: what a vCPU is about to run is dropped again and again. */
import { describe } from "node:test";
import { TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { translateUsually } from "./small-guest.ts";

const ROOM = 100_000;

translateUsually({ ...TRANSLATE_ALL, limits: { ...TRANSLATE_ALL.limits, codeCacheBytes: ROOM } });
for (const file of ["exceptions", "transfers"])
  await describe(`with little room: ${file}`, async () => void (await import(`./${file}.test.ts`)));
