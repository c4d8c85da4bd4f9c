/* The guests with several vCPUs again, translated as soon as they run: what one executor's regions do while another writes code, stops it, or takes its vCPU. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, describe } from "node:test";
import { regionsSoFar, translateSoon } from "./smp-guest.ts";

/** Those of the wakeup path run each instruction once, in TypeScript. */
const OTHERS = /^smp-(hostcode|translated|wakeup)/;

translateSoon();
for (const file of readdirSync(import.meta.dirname).toSorted()) {
  if (!/^smp-.*\.test\.ts$/.test(file) || OTHERS.test(file)) continue;
  await describe(`translated: ${file}`, async () => void (await import(`./${file}`)));
}
after(() => assert.ok(regionsSoFar() > 50, `${regionsSoFar()} regions`));
