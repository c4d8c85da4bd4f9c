/* `mere image` as a user meets it, as far as no registry is needed: tests/images.test.ts has the rest. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { runMere } from "../../tests/support/mere.ts";
import { configChanges } from "./image.ts";

const home = mkdtempSync(join(tmpdir(), "mere-cli-image-"));
after(() => rmSync(home, { recursive: true }));
const env = { XDG_DATA_HOME: home, XDG_CACHE_HOME: home, XDG_CONFIG_HOME: home, MERE_REGISTRY: "" };

async function run(...words: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const { status, stdout, stderr } = await runMere(["image", ...words], { env });
  return { status, stdout: stdout.toString(), stderr };
}

test("the options of build change what they name, and nothing else", () => {
  assert.deepEqual(configChanges([], {}), {});
  assert.deepEqual(
    configChanges(["nginx", "-g", "daemon off;"], {
      entrypoint: "",
      env: { A: "1", B: "x=y" },
      workdir: "/srv",
      user: "www",
      label: { a: "b" },
      expose: ["80/tcp"],
      stopSignal: "SIGQUIT",
    }),
    {
      entrypoint: [],
      cmd: ["nginx", "-g", "daemon off;"],
      env: ["A=1", "B=x=y"],
      workingDir: "/srv",
      user: "www",
      labels: { a: "b" },
      exposedPorts: ["80/tcp"],
      stopSignal: "SIGQUIT",
    },
  );
  assert.deepEqual(configChanges([], { entrypoint: "/e" }), { entrypoint: ["/e"] });
});

describe("mistakes give one sentence", { concurrency: 2 }, () => {
  const usage: [string[], RegExp][] = [
    [["pul"], /^mere image: unknown command 'pul'; did you mean pull\? See 'mere image --help'\.\n$/],
    [["pull"], /^mere image pull: missing required argument 'image'; see/],
    [["build", "web", "debian", "--expose", "0"], /^mere image build: --expose "0" is no port; write a number/],
    [["build", "web", "debian", "--label", "a"], /^mere image build: --label "a" has no name and value; write it as/],
    [["build", "web", "debian", "--workdir", "a"], /^mere image build: --workdir "a" is no absolute path; begin it/],
  ];
  for (const [words, sentence] of usage)
    test(`mere image ${words.join(" ")}`, async () => {
      const { status, stdout, stderr } = await run(...words);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, sentence);
    });
  const failures: [string[], RegExp][] = [
    [["pull", "../x"], /mere image pull: "\.\.\/x" names no image: .*\.\n$/],
    [["pull", "nginx"], /mere image pull: nginx:latest names no registry and none is set; .*MERE_REGISTRY.*\.\n$/],
    [["build", "debian", "a"], /mere image build: "debian" cannot be given to an image: .*\.\n$/],
    [["remove", "a"], /^mere image remove: The store has no image a; see 'mere image list'.*\.\n$/],
  ];
  for (const [words, sentence] of failures)
    test(`mere image ${words.join(" ")}`, async () => {
      const { status, stdout, stderr } = await run(...words);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, sentence);
    });
});

test("an empty store lists nothing", async () => {
  assert.deepEqual(await run("list"), { status: 0, stdout: "NAME  ID  AGE  SIZE\n", stderr: "" });
  assert.deepEqual(await run("list", "--json"), { status: 0, stdout: "[]\n", stderr: "" });
});
