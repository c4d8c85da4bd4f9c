/* One thread for all machines of the process: what one has translated the next one is given, if its memory is as large and its options are the same. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { code } from "../../tests/guests/listing.ts";
import type { TranslatedModule } from "../engine/wasm/translator/module.ts";
import { ALL_PASSES, type RegionOptions } from "../engine/wasm/translator/region-options.ts";
import { ConnectedTranslator, TranslatorThread } from "./translator-thread.ts";

const { bytes } = code(`
  01 c8                           add eax, ecx
  ff c9                           dec ecx
  75 fa                           jne 0
`);
const OPTIONS: RegionOptions = { passes: ALL_PASSES, parallel: false };
const onError = (error: Error): never => {
  throw error;
};
/** A pending Atomics.waitAsync does not keep Node's event loop alive. */
let alive: NodeJS.Timeout;
before(() => (alive = setInterval(() => {}, 60_000)));
after(() => clearInterval(alive));

/** What a machine is given for the code. */
async function ask(
  thread: TranslatorThread,
  id: number,
  ramPages: number,
  options = OPTIONS,
): Promise<TranslatedModule> {
  const connection = thread.connect({ options, ramPages, keptBytes: 2 ** 20 });
  const translator = new ConnectedTranslator(connection);
  translator.request({ id, code: { seed: 0, runs: Int32Array.of(0, bytes.length), bytes, sites: [] } });
  await Atomics.waitAsync(new Int32Array(connection.answers), 0, 0).value;
  return translator.take()[0]!;
}

describe("the translator's thread", { timeout: 60_000 }, () => {
  test("is one, and keeps what it has made for who asks next", async () => {
    const users = [1, 2].map(() => (error: Error) => onError(error));
    const [first, second] = users.map((user) => TranslatorThread.use(user));
    assert.equal(first, second);
    const made = await ask(first!, 1, 16);
    assert.deepEqual([made.regions[0]!.id, made.regions[0]!.entries], [1, [0]]);
    const again = await ask(second!, 2, 16);
    assert.deepEqual([again.number, again.regions[0]!.id], [made.number, 2]);
    // other memories and other options are other code
    assert.notEqual((await ask(second!, 3, 32)).number, made.number);
    assert.notEqual((await ask(second!, 4, 16, { ...OPTIONS, parallel: true })).number, made.number);
    first!.release(users[0]!);
    assert.equal((await ask(TranslatorThread.use(users[0]!), 5, 16)).number, made.number);
    for (const user of users) second!.release(user);
    // nobody needs it, and the next one still finds it
    assert.equal(TranslatorThread.use(users[0]!), first);
    first!.release(users[0]!);
  });
});
