/* The command line as a user meets it: the program is started, and its words and statuses are looked at. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { commanderSentence } from "./main.ts";

const mere = fileURLToPath(new URL("../../bin/mere.js", import.meta.url));
const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const cache = mkdtempSync(join(tmpdir(), "mere-cli-"));
after(() => rmSync(cache, { recursive: true }));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...words: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [mere, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, XDG_CACHE_HOME: cache },
    });
    const seen = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk) => (seen.stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (seen.stderr += String(chunk)));
    child.on("close", (status) => resolve({ status, ...seen }));
  });
}

describe("usage errors", { concurrency: 2 }, () => {
  const cases: [string[], string][] = [
    [["runn"], "mere: unknown command 'runn'; did you mean run? See 'mere --help'.\n"],
    [["--foo"], "mere: unknown option '--foo'; see 'mere --help'.\n"],
    [["kernel"], "mere kernel: say what to do; see 'mere kernel --help'.\n"],
    [["kernel", "pul"], "mere kernel: unknown command 'pul'; did you mean pull? See 'mere kernel --help'.\n"],
    [
      ["kernel", "list", "x"],
      "mere kernel list: too many arguments for 'list': expected 0 arguments but got 1; see 'mere kernel list --help'.\n",
    ],
    [
      ["kernel", "build", "--jobs", "0"],
      'mere kernel build: --jobs "0" is no number of compilers; choose a whole number from 1 to 1024.\n',
    ],
    [
      ["kernel", "remove"],
      "mere kernel remove: missing required argument 'version'; see 'mere kernel remove --help'.\n",
    ],
    [
      ["run"],
      "mere run: there is nothing to run; give a command, as in 'mere run -- uname -a', or --console for a shell.\n",
    ],
    [["run", "--cpu", "2", "ls"], "mere run: unknown option '--cpu'; did you mean --cpus? See 'mere run --help'.\n"],
    [["run", "--cpus"], "mere run: --cpus needs a value; see 'mere run --help'.\n"],
    [["run", "--cpus", "0", "ls"], 'mere run: --cpus "0" is no number of CPUs; choose a whole number from 1 to 8.\n'],
    [["run", "--cpus", "9", "ls"], 'mere run: --cpus "9" is no number of CPUs; choose a whole number from 1 to 8.\n'],
    [
      ["run", "--memory", "lots", "ls"],
      'mere run: --memory "lots" is no size; write bytes, or a number with K, M or G, as in 512M or 1G.\n',
    ],
    [
      ["run", "--memory", "1M", "ls"],
      'mere run: --memory "1M" is outside what a VM can have; choose between 64M and 16G.\n',
    ],
    [
      ["run", "--kernel", "/no/file", "ls"],
      'mere run: --kernel "/no/file" cannot be opened: no such file; check the path.\n',
    ],
    [["run", "--disk", "/", "--", "ls"], 'mere run: --disk "/" is not a file; give the path of a file.\n'],
    [
      ["run", "--initrd", mere, "ls"],
      "mere run: --initrd brings its own init, so Mere cannot run a command; leave out the command or --initrd.\n",
    ],
    [
      ["run", "--kernel", "\u001b[31m", "ls"],
      'mere run: --kernel "\\u001b[31m" cannot be opened: no such file; check the path.\n',
    ],
  ];
  for (const [words, sentence] of cases) {
    test(`mere ${words.join(" ")}`, async () => {
      assert.deepEqual(await run(...words), { status: 2, stdout: "", stderr: sentence });
    });
  }

  test("mere alone shows the help as an error", async () => {
    const { status, stdout, stderr } = await run();
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /^Usage: mere /);
  });
});

describe("answers", { concurrency: 2 }, () => {
  for (const words of [["version"], ["--version"], ["-V"]]) {
    test(`mere ${words.join(" ")}`, async () => {
      const stdout = `mere ${manifest.version} (node ${process.versions.node})\n`;
      assert.deepEqual(await run(...words), { status: 0, stdout, stderr: "" });
    });
  }

  const helps: [string[], RegExp][] = [
    [["--help"], /^Usage: mere .*\n[^]*\brun\b[^]*\bkernel\b[^]*\bversion\b/],
    [
      ["run", "--help"],
      /^Usage: mere run \[options\] image \[--\] \[command…\]\n[^]*--cpus[^]*--memory[^]*--disk[^]*Exit status/,
    ],
    [["help", "run"], /^Usage: mere run /],
    [["kernel", "--help"], /^Usage: mere kernel [^]*pull[^]*build[^]*list[^]*remove/],
    [["kernel", "build", "--help"], /^Usage: mere kernel build [^]*--jobs[^]*libelf-dev/],
  ];
  for (const [words, text] of helps) {
    test(`mere ${words.join(" ")}`, async () => {
      const { status, stdout, stderr } = await run(...words);
      assert.deepEqual([status, stderr], [0, ""]);
      assert.match(stdout, text);
    });
  }

  test("an empty cache lists no kernels", async () => {
    assert.deepEqual(await run("kernel", "list"), { status: 0, stdout: "", stderr: "" });
  });
});

test("a kernel of the cache that is not there gives one sentence and status 1", async () => {
  assert.deepEqual(await run("kernel", "remove", "6.1"), {
    status: 1,
    stdout: "",
    stderr: `mere kernel remove: The cache has no kernel "6.1"; see 'mere kernel list' for those that it has.\n`,
  });
  assert.deepEqual(await run("run", "--kernel", "mere", "--", "true"), {
    status: 1,
    stdout: "",
    stderr:
      "mere run: No kernel of Mere's own has been built; build it with 'mere kernel build', or leave out --kernel mere.\n",
  });
});

test("a kernel that is none gives one sentence and status 1", async () => {
  const { status, stdout, stderr } = await run("run", "--kernel", mere, "--initrd", mere);
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(stderr, /^mere run: The file is no Linux kernel; .*\.\n$/);
});

test("commander's messages become sentences", () => {
  assert.equal(
    commanderSentence("error: unknown option '--a'\n(Did you mean one of --b, --c?)"),
    "unknown option '--a'; did you mean --b, --c?",
  );
  assert.equal(commanderSentence("error: option '-i, --input <file>' argument missing"), "--input needs a value");
});
