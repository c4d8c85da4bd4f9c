/* The layers hold: docs/design.md "Layers". The rule itself is in tools/layers.ts; the cases below show that it can fail. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { importEdges, importsOf, violation } from "../tools/layers.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  dependencies: Record<string, string>;
};
const dependencies = Object.keys(manifest.dependencies);

describe("layers", () => {
  test("every import in src keeps the rule", () => {
    const edges = importEdges(join(root, "src"));
    assert.ok(edges.length > 20, `only ${edges.length} imports were found: importsOf misses some`);
    assert.deepEqual(
      edges.map((edge) => violation(edge, dependencies)).filter((sentence) => sentence !== undefined),
      [],
    );
  });

  test("all ways to import are seen, comments are not", () => {
    const text = [
      'import a from "./a.ts";',
      'import type { B } from "./b.ts";',
      "import {\n  c,\n  d,\n} from './ignored-quotes.ts';",
      'import {\n  e,\n} from "./e.ts";',
      'export * from "./f.ts";',
      'import "./g.ts";',
      'const h = await import("./h.ts");',
      'new Worker(new URL("./i.ts", import.meta.url));',
      '// import "./no.ts";',
      '/* import x from "./no.ts"; */',
    ].join("\n");
    const expected = ["./a.ts", "./b.ts", "./e.ts", "./f.ts", "./g.ts", "./h.ts", "./i.ts"];
    assert.deepEqual(importsOf(text), expected);
  });

  const refused: [string, string, RegExp][] = [
    ["isa/sem.ts", "../wasm/module.ts", /isa knows nothing of wasm/],
    ["isa/sem.ts", "../engine/engine.ts", /isa is below engine/],
    ["engine/wasm/run.ts", "../../device/bus.ts", /engine is below device/],
    ["engine/wasm/run.ts", "node:fs", /engine\/wasm knows nothing of Node/],
    ["engine/wasm/run.ts", "../oracle/oracle.ts", /for tests only/],
    ["vm/machine.ts", "fast-check", /no dependency of the package/],
    ["vm/machine.ts", "fs", /write node:fs/],
    ["vm/machine.ts", "../../tests/case.ts", /only files under src/],
    ["vm/machine.ts", "../index.ts", /above all layers/],
    ["misc/thing.ts", "./other.ts", /in no layer/],
  ];
  for (const [file, specifier, sentence] of refused) {
    test(`${file} may not import ${specifier}`, () => assert.match(violation({ file, specifier }, []) ?? "", sentence));
  }

  const allowed: [string, string][] = [
    ["engine/wasm/run.ts", "../../isa/sem.ts"],
    ["engine/oracle/run.ts", "./state.ts"],
    ["isa/decode.test.ts", "../engine/oracle/oracle.ts"],
    ["cli/main.ts", "commander"],
    ["index.ts", "./vm/machine.ts"],
  ];
  for (const [file, specifier] of allowed) {
    test(`${file} may import ${specifier}`, () =>
      assert.equal(violation({ file, specifier }, ["commander"]), undefined));
  }
});
