/* All small guests again, with native code before they run. In one process: the tests of a file are the same functions, and what they run on is asked for when they do. */
import { readdirSync } from "node:fs";
import { describe } from "node:test";
import { TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { nativeCode } from "../../src/vm/native-host.ts";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { translateUsually } from "./small-guest.ts";

/** Files that say themselves how their guests are translated, guests with threads of their own, and what compares flags that are undefined: there the host's are
 *  other than the interpreter's. */
const OTHERS = /^(hostcode|pairs|random-code|translated|passes-|smp-)/;

translateUsually({ ...TRANSLATE_ALL, native: nativeCode });
if (nativeUnavailable() === undefined)
  for (const file of readdirSync(import.meta.dirname).toSorted()) {
    if (!file.endsWith(".test.ts") || OTHERS.test(file)) continue;
    await describe(`native code: ${file}`, async () => void (await import(`./${file}`)));
  }
