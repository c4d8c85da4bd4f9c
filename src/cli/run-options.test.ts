/* What the options of `mere run` mean together. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { CliError } from "./cli-error.ts";
import type { KernelChoice } from "../host/guest-kernel.ts";
import { type RunOptions, type RunValues, addRunOptions, resolveRunOptions } from "./run-options.ts";

const file = fileURLToPath(import.meta.url);

function parse(...words: string[]): RunOptions {
  const parsed: RunOptions[] = [];
  const program = new Command("mere")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  addRunOptions(program.command("run")).action((command: string[], values: RunValues) => {
    parsed.push(resolveRunOptions(values, command));
  });
  program.parse(["run", ...words], { from: "user" });
  return parsed[0];
}

function mistake(...words: string[]): string {
  try {
    parse(...words);
  } catch (error) {
    assert.ok(error instanceof CliError && error.code === "usage", String(error));
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

describe("a command", () => {
  test("runs with one CPU and 512 MiB", () => {
    assert.deepEqual(parse("--", "uname", "-a"), {
      cpus: 1,
      memoryBytes: 512 * 2 ** 20,
      codeCacheBytes: 256 * 2 ** 20,
      keptCode: true,
      translator: undefined,
      disks: [],
      stats: false,
      boot: { kind: "own-init", kernel: undefined, append: "", command: ["uname", "-a"], console: false, stdin: false },
    });
  });

  test("keeps its own options, with and without --", () => {
    const command = (...words: string[]): readonly string[] => {
      const { boot } = parse(...words);
      assert.ok(boot.kind === "own-init");
      return boot.command;
    };
    assert.deepEqual(command("--", "ls", "--cpus", "9", "--", "-h"), ["ls", "--cpus", "9", "--", "-h"]);
    assert.deepEqual(command("--stats", "ls", "-la", "--help"), ["ls", "-la", "--help"]);
    assert.deepEqual(command("--", ""), [""]);
  });

  test("takes every option", () => {
    const options = parse(
      "--cpus",
      "8",
      "--memory=1G",
      "--code-cache",
      "64M",
      "--no-kept-code",
      "--translator",
      "wasm",
      "--kernel",
      file,
      "--append",
      "a b",
      "--disk",
      file,
      "--stats",
      "-i",
      "cat",
    );
    assert.deepEqual(options, {
      cpus: 8,
      memoryBytes: 2 ** 30,
      codeCacheBytes: 2 ** 26,
      keptCode: false,
      translator: "wasm",
      disks: [{ path: file, readOnly: false }],
      stats: true,
      boot: { kind: "own-init", kernel: { file }, append: "a b", command: ["cat"], console: false, stdin: true },
    });
  });
});

test("disks keep their order, and may be read-only", () => {
  const disks = [
    { path: file, readOnly: true },
    { path: file, readOnly: true },
  ];
  assert.deepEqual(parse("--disk", `${file},ro`, "--disk", `${file},ro`, "ls").disks, disks);
});

test("--kernel takes a file, or the name of one of the cache", () => {
  const kernel = (text: string): KernelChoice => parse("--kernel", text, "ls").boot.kernel;
  assert.deepEqual([kernel("mere"), kernel("debian"), kernel(file)], ["mere", "debian", { file }]);
  assert.match(mistake("--kernel", "./mere", "ls"), /"\.\/mere" cannot be opened/);
});

test("--console needs no command", () => {
  const { boot } = parse("--console");
  assert.deepEqual(boot, { kind: "own-init", kernel: undefined, append: "", command: [], console: true, stdin: false });
});

test("--initrd boots exactly what is given", () => {
  assert.deepEqual(parse("--kernel", file, "--initrd", file, "--append", "console=ttyS0 single").boot, {
    kind: "exact",
    kernel: { file },
    initrd: file,
    append: "console=ttyS0 single",
    console: false,
  });
});

const contradictions: [string[], RegExp][] = [
  [[], /nothing to run; give a command/],
  [["--stdin"], /nothing to run; give a command/],
  [["--console", "--stdin"], /leave out --stdin/],
  [["--initrd", file, "ls"], /leave out the command or --initrd/],
  [["--initrd", file, "--stdin"], /leave out --stdin/],
  [["--disk", file, "--disk", file, "ls"], /is given twice/],
  [["--disk", `${file},ro`, "--disk", file, "ls"], /is given twice/],
];
for (const [words, sentence] of contradictions) {
  test(`refused: ${words.map((word) => word.replace(file, "FILE")).join(" ") || "nothing"}`, () => {
    assert.match(mistake(...words), sentence);
  });
}
