/* All small guests again, translated before they run. In one process: the tests of a file are the same functions, and what they run on is asked for when they do. */
import { readdirSync } from "node:fs";
import { describe } from "node:test";
import { TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { translateUsually } from "./small-guest.ts";

/** Files that say themselves how their guests are translated, and guests with threads of their own. */
const OTHERS = /^(hostcode|translated|passes-|smp-)/;

translateUsually(TRANSLATE_ALL);
for (const file of readdirSync(import.meta.dirname).toSorted()) {
  if (!file.endsWith(".test.ts") || OTHERS.test(file)) continue;
  await describe(`translated: ${file}`, async () => void (await import(`./${file}`)));
}
