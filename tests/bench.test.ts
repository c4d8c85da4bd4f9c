/* What the benchmark makes of its samples: medians, ratios, a table in the document. The measuring itself is run by hand (npm run bench). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { suiteScript } from "../bench/guest.ts";
import type { ProgramSample } from "../bench/measure.ts";
import { type Results, geometricMean, median, programRows, renderReport, writeReport } from "../bench/report.ts";
import { SUITE } from "../bench/suite.ts";

const work = mkdtempSync(join(tmpdir(), "mere-bench-test-"));
after(() => rmSync(work, { recursive: true, force: true }));

const sample = (seconds: number, retired?: number, checksum = "1"): ProgramSample => ({
  nanos: seconds * 1e9,
  cpuMs: seconds * 500,
  checksum,
  retired,
});

function results(programs: Results["programs"]): Results {
  return { boot: { mere: [], qemu: [], qemuVmlinux: [] }, programs, memory: { mere: [], qemu: [] }, phases: [] };
}

describe("benchmark", () => {
  test("medians and means", () => {
    assert.equal(median([9, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 9]), 3);
    assert.ok(Math.abs(geometricMean([1, 10, 100]) - 10) < 1e-9);
  });

  test("ratios of medians, the worst program first; one engine alone gives no row", () => {
    const rows = programRows(
      results(
        new Map([
          ["sort", { mere: [3, 2, 50].map((s) => sample(s, 6e8)), qemu: [sample(1)], native: [sample(0.1)] }],
          ["lz", { mere: [sample(8, 1e9)], qemu: [sample(2), sample(2)], native: [] }],
          ["aes", { mere: [sample(8, 1e9)], qemu: [], native: [] }],
        ]),
      ),
    );
    assert.deepEqual(
      rows.map(({ name, wallRatio, cpuRatio, mereMips }) => [name, wallRatio, cpuRatio, mereMips]),
      [
        ["lz", 4, 4, 250],
        ["sort", 3, 3, 400],
      ],
    );
    assert.equal(rows[1]!.nativeMs, 100);
  });

  test("different output is told; the host's own programs may be of another version", () => {
    const entry = { mere: [sample(1, 1)], qemu: [sample(1)], native: [sample(1, undefined, "2")] };
    const same = programRows(
      results(
        new Map([
          ["sort", entry],
          ["perl", entry],
        ]),
      ),
    );
    assert.deepEqual(Object.fromEntries(same.map(({ name, sameOutput }) => [name, sameOutput])), {
      sort: false,
      perl: true,
    });
    assert.match(renderReport(results(new Map([["sort", entry]])), ["here"]), /\| sort \(OUTPUT DIFFERS\) \|/);
  });

  test("a report replaces only what is between the markers", () => {
    const path = join(work, "page.md");
    writeFileSync(path, "a\n<!-- bench:begin (written by npm run bench -- --write) -->\nold\n<!-- bench:end -->\nb\n");
    writeReport(path, "new");
    const once = readFileSync(path, "utf8");
    assert.match(once, /^a\n<!-- bench:begin .*-->\n\nnew\n\n<!-- bench:end -->\nb\n$/);
    writeReport(path, "new");
    assert.equal(readFileSync(path, "utf8"), once);
    writeFileSync(path, "no markers");
    assert.throws(() => writeReport(path, "new"), /lacks the lines/);
  });

  for (const [name, entries] of Object.entries(SUITE)) {
    test(`the ${name} suite is valid shell, and only=… chooses from it`, () => {
      // Programs that only say their name stand for all.
      const echo = join(work, "echo-name");
      writeFileSync(echo, '#!/bin/sh\necho "$1"\n', { mode: 0o755 });
      const script = suiteScript(entries.map((entry) => ({ ...entry, line: `"$D/echo-name" ${entry.name}` })));
      const lines = suiteScript(entries);
      assert.equal(spawnSync("sh", ["-n"], { input: lines }).status, 0);
      const only = entries[1].name;
      const env = { PATH: process.env["PATH"]!, D: work, T: join(work, "text"), scale: "1", only };
      assert.equal(spawnSync("sh", ["-c", script], { env, encoding: "utf8" }).stdout, `${only}\n`);
    });
  }
});
