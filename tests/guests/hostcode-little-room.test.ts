/* Small guests with native code before they run, where hardly any has room: all of it goes again and again. */
import { describe } from "node:test";
import { TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { nativeCode } from "../../src/vm/native-host.ts";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { translateUsually } from "./small-guest.ts";

/** Two halves, each a little more than what one block may take. */
const ROOM = 140_000;

translateUsually({
  ...TRANSLATE_ALL,
  limits: { ...TRANSLATE_ALL.limits, codeCacheBytes: ROOM },
  native: nativeCode,
});
if (nativeUnavailable() === undefined) {
  for (const file of ["exceptions", "transfers", "hot-code"])
    await describe(`with little room: ${file}`, async () => void (await import(`./${file}.test.ts`)));
}
