/* What the benchmark makes of its options, of the lines of its programs and of its samples: medians, ratios, verdicts, a table in the document. The measuring
 * itself is run by hand (npm run bench). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type ConsoleLine, type ProgramSample, SuiteReader } from "../bench/console.ts";
import { renderFeatures, trialsOf } from "../bench/features.ts";
import { initScript } from "../bench/init-script.ts";
import { type BenchOptions, parseOptions } from "../bench/options.ts";
import { renderReport, writeReport } from "../bench/report.ts";
import {
  type ProgramSamples,
  type Results,
  bootVerdicts,
  differing,
  efficiencies,
  emptyResults,
  geometricMean,
  median,
  programRows,
  smpVerdicts,
  speedVerdicts,
} from "../bench/results.ts";
import { SUITES, SUITE_NAMES, programsOf, suiteOf, suiteScript } from "../bench/suite.ts";
import { type FeatureSwitch, SWITCHES } from "../bench/switches.ts";

const work = mkdtempSync(join(tmpdir(), "mere-bench-test-"));
after(() => rmSync(work, { recursive: true, force: true }));

const sample = (seconds: number, retired?: number, checksum = "1"): ProgramSample => ({
  nanos: seconds * 1e9,
  hostMs: seconds * 1000,
  cpuMs: seconds * 500,
  checksum,
  retired,
  operations: undefined,
});

function results(programs: Readonly<Record<string, Partial<ProgramSamples>>>): Results {
  const made = emptyResults();
  for (const [name, samples] of Object.entries(programs))
    made.programs.set(name, { mere: [], qemu: [], native: [], ...samples });
  return made;
}

describe("benchmark results", () => {
  test("medians and means; what was not measured counts for nothing", () => {
    assert.equal(median([9, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 9]), 3);
    assert.ok(Math.abs(geometricMean([1, 10, 100]) - 10) < 1e-9);
    assert.ok(Math.abs(geometricMean([4, NaN, 9, Infinity, 0]) - 6) < 1e-9);
    assert.ok(Number.isNaN(median([])) && Number.isNaN(geometricMean([NaN])));
  });

  test("ratios of medians, the slowest program first; one engine alone gives no row, nor does another suite", () => {
    const rows = programRows(
      results({
        sort: { mere: [3, 2, 50].map((s) => sample(s, 6e8)), qemu: [sample(1)], native: [sample(0.1)] },
        lz: { mere: [sample(8, 1e9)], qemu: [sample(2), sample(2)] },
        aes: { mere: [sample(8, 1e9)] },
        pipe: { mere: [sample(8, 1e9)], qemu: [sample(8)] },
      }),
      ["compute"],
    );
    assert.deepEqual(
      rows.map(({ name, speed, cpuSpeed, mereMips }) => [name, speed, cpuSpeed, mereMips]),
      [
        ["lz", 1 / 4, 1 / 4, 250],
        ["sort", 1 / 3, 1 / 3, 400],
      ],
    );
    assert.equal(rows[1]!.nativeMs, 100);
    assert.equal(rows[1]!.slowdown, 30);
    assert.ok(Number.isNaN(rows[0]!.slowdown));
  });

  test("different output is told, whichever engines ran the program", () => {
    const made = results({
      sort: { mere: [sample(1, 1)], qemu: [sample(1)], native: [sample(1, undefined, "2")] },
      lz: { mere: [sample(1, 1)], qemu: [sample(1)] },
      perl: { mere: [sample(1, 1, "1"), sample(1, 1, "3")] },
    });
    assert.deepEqual(differing(made), ["sort", "perl"]);
    assert.match(renderReport(made, ["here"]), /\| sort \(OUTPUT DIFFERS\) \|/);
  });

  test("bars: the mean, the slowest, and the slowdown against native", () => {
    const rows = programRows(
      results({
        sort: { mere: [sample(1, 1)], qemu: [sample(9)], native: [sample(0.5)] },
        lz: { mere: [sample(1, 1)], qemu: [sample(1)], native: [sample(0.125)] },
      }),
      ["compute"],
    );
    const verdicts = speedVerdicts(rows, { mean: 2.9, least: 1.2, slowdown: 3.9 });
    assert.deepEqual(
      verdicts.map(({ met }) => met),
      [true, false, false],
    );
    assert.match(verdicts[1]!.text, /: lz 1\.00×$/);
    assert.ok(speedVerdicts(rows, { mean: 3, least: 1, slowdown: 4.01 }).every(({ met }) => met));
  });

  test("a boot is compared with QEMU's of the same kind, and Mere's own kernel with a second", () => {
    const made = emptyResults();
    const boot = (wallMs: number): { wallMs: number; cpuMs: number } => ({ wallMs, cpuMs: wallMs });
    made.boot.mere.push(boot(2000));
    made.boot.qemu.push(boot(2500));
    made.boot.mereOwn.push(boot(1100));
    assert.deepEqual(
      bootVerdicts(made).map(({ met }) => met),
      [true, false],
    );
    made.boot.qemuOwn.push(boot(900));
    assert.deepEqual(
      bootVerdicts(made).map(({ met }) => met),
      [true, false, false],
    );
    assert.match(renderReport(made, []), /\| Mere, its own kernel \| 1\.10 \|/);
  });

  test("efficiency: twice the jobs in the same time, or the same build in half of it", () => {
    const made = results({
      "one-job": { mere: [sample(0.9)], qemu: [sample(2)] },
      "two-processes": { mere: [sample(1)], qemu: [sample(2)] },
      "two-threads": { mere: [sample(1.8)], qemu: [sample(2)] },
      "make-on-1": { mere: [sample(6)] },
      "make-on-2": { mere: [sample(4)] },
    });
    const mere = efficiencies(made).map((row) => Number(row.mere.toFixed(3)));
    assert.deepEqual(mere, [0.9, 0.5, 0.75]);
    assert.deepEqual(
      smpVerdicts(made).map(({ met }) => met),
      [true, false, true],
    );
    assert.match(renderReport(made, []), /\| two threads \| – \| 1\.00 \| 0\.50 \|/);
  });

  test("an operation of the kernel has its time in microseconds", () => {
    const counted = { ...sample(0.5, 1e8), operations: 1000 };
    const made = results({ pipe: { mere: [counted], qemu: [{ ...counted, nanos: 1e9 }] } });
    assert.match(renderReport(made, []), /\| pipe \| – \| 1000\.00 \| 500\.00 \| 2\.00× \|/);
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
});

describe("lines of the programs", () => {
  const line = (text: string, at = 0): ConsoleLine => ({ text, wallMs: at, cpuMs: at / 2, retired: at * 1000 });

  test("a sample is what came between its two lines", () => {
    const reader = new SuiteReader();
    assert.equal(reader.read(line("[    1.0] random: crng init done")), undefined);
    assert.equal(reader.read(line("@begin pipe", 100)), undefined);
    assert.deepEqual(reader.read(line("@end pipe 00ff 5000 20", 300)), {
      kind: "sample",
      name: "pipe",
      sample: { nanos: 5000, hostMs: 200, cpuMs: 100, checksum: "00ff", retired: 200_000, operations: 20 },
    });
    reader.read(line("@begin sort"));
    const event = reader.read(line("@end sort 1 7 0"));
    assert.equal(event?.kind === "sample" && event.sample.operations, undefined);
    assert.deepEqual(reader.read(line("@finished")), { kind: "finished" });
  });

  test("what failed, or cannot be read, is told and is no sample", () => {
    const reader = new SuiteReader();
    assert.deepEqual(reader.read(line("@failed perl 200")), { kind: "failed", what: "perl 200" });
    assert.equal(reader.read(line("@end sort 1 7"))?.kind, "failed");
    reader.read(line("@begin sort"));
    assert.equal(reader.read(line("@end lz 1 7"))?.kind, "failed");
    reader.read(line("@begin sort"));
    assert.equal(reader.read(line("@end sort 1"))?.kind, "failed");
  });
});

describe("options of the benchmark", () => {
  const parsed = (...words: string[]): BenchOptions => {
    const options = parseOptions(words);
    assert.ok(options !== "help" && !("mistake" in options), JSON.stringify(options));
    return options;
  };

  test("all of it, a part, a program, both", () => {
    assert.equal(parsed().parts.length, 9);
    assert.deepEqual(parsed("--only", "kernel").parts, ["kernel"]);
    assert.deepEqual(parsed("--only", "kernel").only, []);
    assert.deepEqual(parsed("--only", "sort,make-on-2").parts, ["compute", "smp"]);
    const both = parsed("--only", "boot,smp,sort");
    assert.deepEqual(both.parts, ["boot", "compute", "smp"]);
    assert.deepEqual(both.only, ["sort", "one-job", "make-on-1", "two-processes", "two-threads", "make-on-2"]);
  });

  test("one engine runs the programs once; --quick is one small round", () => {
    const { parts, runs, scale } = parsed("--engine", "mere");
    assert.deepEqual([parts, runs, scale], [["compute", "debian", "kernel", "disk", "net", "smp"], 1, 100]);
    assert.deepEqual(
      [parsed("--quick").runs, parsed("--quick").scale, parsed("--quick", "--runs", "2").runs],
      [1, 20, 2],
    );
  });

  for (const [words, sentence] of [
    [["--only", "sort,nosuch"], /no benchmark nosuch; there are boot, .*, sort, /],
    [["--only", "boot", "--engine", "mere"], /no benchmark boot/],
    [["--only", "clock"], /no benchmark clock/],
    [["--features", "--only", "sort"], /no feature sort; there are kvm-clock/],
    [["--engine", "kvm"], /no engine kvm/],
    [["--profile", "/tmp"], /--profile needs --engine mere/],
    [["--runs", "0"], /--runs takes/],
    [["--write", "--features"], /--write goes with neither/],
    [["--fast"], /Unknown option '--fast'/],
  ] as const)
    test(`${words.join(" ")} is a mistake`, () => {
      const options = parseOptions(words);
      assert.ok(options !== "help" && "mistake" in options);
      assert.match(options.mistake, sentence);
    });
});

describe("switches", () => {
  test("every load is a boot or a program for as many vCPUs, and on and off differ where the feature is there", () => {
    for (const { name, load, cpus, on, off, offered } of SWITCHES) {
      const suite = suiteOf(load);
      assert.ok(load === "boot" || (suite !== undefined && SUITES[suite].cpus === (cpus ?? 1)), `${name}: ${load}`);
      assert.ok(!offered || JSON.stringify(on) !== JSON.stringify(off), name);
    }
  });

  test("what several switches share is measured once, and told for each", () => {
    const entry = (name: string, bits: number): FeatureSwitch => ({
      name,
      on: {},
      off: { kvmFeatures: bits },
      load: "clock",
      offered: true,
    });
    const chosen = [entry("a", 1), entry("b", 2)];
    assert.deepEqual(
      trialsOf(chosen).map(({ switches }) => switches),
      [{}, { kvmFeatures: 1 }, { kvmFeatures: 2 }],
    );
    const sampleOf = (ms: number, checksum: string) => [{ hostMs: ms, cpuMs: ms, retired: 1e6, checksum }];
    const samples = new Map([
      [JSON.stringify([{}, 1, "clock"]), sampleOf(1000, "1")],
      [JSON.stringify([{ kvmFeatures: 1 }, 1, "clock"]), sampleOf(3000, "1")],
      [JSON.stringify([{ kvmFeatures: 2 }, 1, "clock"]), sampleOf(500, "2")],
    ]);
    const { text, differing: wrong } = renderFeatures(chosen, samples);
    assert.deepEqual(wrong, ["b"]);
    assert.match(text, /\| a \| clock \| 1\.000 \| 3\.000 \| 3\.00 \| 3\.00 \| 1\.0 \| 1\.0 \|/);
  });
});

describe("suites", () => {
  const all = SUITE_NAMES.flatMap((suite) => [...SUITES[suite].entries]);

  test("no name twice, and every program that a line wants has a source", () => {
    assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
    const sources = readdirSync(new URL("../bench/programs", import.meta.url)).map((name) => name.replace(/\.c$/, ""));
    assert.deepEqual(
      [...programsOf(all)].filter((name) => !sources.includes(name)),
      [],
    );
    assert.deepEqual([...programsOf(all.filter(({ name }) => name === "exec"))].toSorted(), ["kernel", "nothing"]);
  });

  test("the init is valid shell", () => {
    assert.equal(spawnSync("sh", ["-n"], { input: initScript(["ext4"]) }).status, 0);
  });

  for (const name of SUITE_NAMES) {
    const { entries } = SUITES[name];
    test(`the ${name} suite is valid shell, and only=… chooses from it`, () => {
      // Programs that only say their name stand for all.
      const echo = join(work, "echo-name");
      writeFileSync(echo, '#!/bin/sh\necho "$1"\n', { mode: 0o755 });
      const script = suiteScript(entries.map((entry) => ({ name: entry.name, line: `"$D/echo-name" ${entry.name}` })));
      assert.equal(spawnSync("sh", ["-n"], { input: suiteScript(entries) }).status, 0);
      const only = entries[1]!.name;
      const env = { PATH: process.env["PATH"]!, D: work, T: join(work, "text"), scale: "1", only };
      assert.equal(spawnSync("sh", ["-c", script], { env, encoding: "utf8" }).stdout, `${only}\n`);
    });
  }
});
