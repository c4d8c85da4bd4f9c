/* The examples of docs/sdk.md run as they stand, each as a program of its own, and print what their comments say. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { debianImage } from "./support/debian-image.ts";

const MINUTES = 60_000;
const text = await readFile(new URL("../docs/sdk.md", import.meta.url), "utf8");
const entry = new URL("../src/index.ts", import.meta.url).href;
const examples = [...text.matchAll(/^## (.*)$|^```ts\n([\s\S]*?)^```$/gm)];

/** What the example of a section prints, beside what its comments show. */
const PRINTS: Readonly<Record<string, readonly RegExp[]>> = {
  "A VM for a piece of work": [/^0 42$/m, /^3 oops$/m],
  "Streams, input, terminals, time": [
    /^a\nb$/m,
    /^hello world$/m,
    /\{ exitCode: 0 \}/,
    /true \{ exitCode: 5 \}/,
    /^timeout$/m,
  ],
  Files: [/^not-found$/m, /^\{"answer":42\}$/m, /^config\.json file 13$/m, /^created new$/m, /^directory$/m],
  "Ports and the network": [/^200$/m],
  "A main process, logs, metrics, other processes' VMs": [/stdout tick 1[\s\S]*stdout tick 3/, /^exited 7$/m],
  "A main process, logs, metrics, other processes' VMs 2": [/^Linux$/m, /^true true true$/m, /^name-in-use$/m],
};

interface Ended {
  readonly status: number | null;
  readonly output: string;
}
function run(file: string, environment: Record<string, string>): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file], { env: { ...process.env, ...environment } });
    let output = "";
    child.stdout.on("data", (chunk) => (output += String(chunk)));
    child.stderr.on("data", (chunk) => (output += String(chunk)));
    child.on("close", (status) => resolve({ status, output }));
  });
}

describe("examples of docs/sdk.md", { timeout: 10 * MINUTES }, () => {
  let directory = "";
  let environment: Record<string, string> = {};
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-sdk-"));
    environment = { ...(await debianImage()), XDG_STATE_HOME: join(directory, "state") };
  });
  after(() => rm(directory, { recursive: true, force: true }));

  let section = "";
  const seen = new Set<string>();
  for (const [, heading, program] of examples) {
    if (heading !== undefined) section = heading;
    if (program === undefined) continue;
    const name = seen.has(section) ? `${section} 2` : section;
    seen.add(name);
    test(name, async () => {
      const file = join(directory, `${name.replaceAll(/\W+/g, "-")}.ts`);
      await writeFile(file, program.replaceAll('from "mere"', `from ${JSON.stringify(entry)}`));
      const { status, output } = await run(file, environment);
      assert.equal(status, 0, output);
      for (const expected of PRINTS[name] ?? [assert.fail(`nothing is expected of ${name}`)])
        assert.match(output, expected);
    });
  }
  test("all that are expected are there", () => assert.deepEqual([...seen].sort(), Object.keys(PRINTS).sort()));
});
