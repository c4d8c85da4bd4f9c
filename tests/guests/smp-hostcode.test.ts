/* The guests with several vCPUs again, with native code as soon as they run: what one executor's code does while another writes code, stops it, or takes its vCPU. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, describe } from "node:test";
import { nativeUnavailable } from "../../src/vm/native-support.ts";
import { regionsSoFar, translateSoon, useNativeCode } from "./smp-guest.ts";

/** Those of the wakeup path run each instruction once, in TypeScript. */
const OTHERS = /^smp-(hostcode|translated|wakeup)/;

translateSoon();
useNativeCode();
if (nativeUnavailable() === undefined) {
  for (const file of readdirSync(import.meta.dirname).toSorted()) {
    if (!/^smp-.*\.test\.ts$/.test(file) || OTHERS.test(file)) continue;
    await describe(`native code: ${file}`, async () => void (await import(`./${file}`)));
  }
  after(() => assert.ok(regionsSoFar() > 50, `${regionsSoFar()} blocks`));
}
