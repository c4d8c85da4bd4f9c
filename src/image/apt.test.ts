import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { aptFailure } from "./apt.ts";
import { ensureKernel, listKernels, pullKernel, readKernelFile, readModules } from "./kernel.ts";
import { KernelError } from "./kernel-error.ts";
import { PackageError } from "./package-error.ts";

test("apt's complaints become one sentence each", () => {
  const cases: [string, string][] = [
    [
      "Err:1 http://x bookworm InRelease\n  Temporary failure resolving 'x'\nE: Unable to locate package y",
      "no-network",
    ],
    ["E: Failed to fetch http://x/y.deb  Could not connect to x:80, connection timed out", "no-network"],
    ["E: You don't have enough free space in /c/", "no-space"],
    ["W: Failed to fetch\nE: Write error - write (28: No space left on device)", "no-space"],
    ["E: Unable to locate package y", "unknown-package"],
    ["E: Package 'y' has no installation candidate", "unknown-package"],
    ["N: a\nE: Something else\n", "failed"],
    ["", "failed"],
  ];
  for (const [output, code] of cases) {
    const error = aptFailure(output, ["y"]);
    assert.equal(error.code, code, output);
    assert.match(error.message, /^[^\n]*\by\b[^\n]*; [^\n]*\.$/, "one line, names the package, says what to do");
  }
  assert.match(aptFailure("N: a\nE: Something else\n", ["y"]).message, /\(Something else\)/);
});

/** Stands in for apt and dpkg-deb: a directory of shell scripts that goes before PATH. */
describe("pulling with stand-ins for apt", () => {
  const path = process.env["PATH"]!;
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mere-apt-test-"));
  });
  after(async () => {
    process.env["PATH"] = path;
    await rm(directory, { recursive: true });
  });
  const script = async (name: string, text: string): Promise<void> => {
    await mkdir(join(directory, "bin"), { recursive: true });
    await writeFile(join(directory, "bin", name), `#!/bin/sh\n${text}\n`);
    await chmod(join(directory, "bin", name), 0o755);
    process.env["PATH"] = `${join(directory, "bin")}:${path}`;
  };
  const cacheDir = (): string => join(directory, "cache");
  const failsWith = (code: string): Promise<void> =>
    assert.rejects(
      pullKernel({ cacheDir: cacheDir() }),
      (error) => error instanceof PackageError && error.code === code,
    );

  test("a pull that fails leaves nothing behind", async () => {
    await script("apt-get", "exit 0");
    await script(
      "apt-cache",
      `case "$*" in *linux-image-cloud-amd64*) echo "Version: 1"; echo "Depends: linux-image-6.1.0-1-cloud-amd64 (= 1)";; *) echo Version: 6.1-1;; esac`,
    );
    await failsWith("failed");
    await script(
      "apt-get",
      `case "$*" in *" download "*) echo "E: Failed to fetch x  Connection timed out" >&2; exit 100;; esac`,
    );
    await failsWith("no-network");
    await script("apt-cache", "exit 100");
    await failsWith("unknown-package");
    await script("apt-cache", `echo "Version: 1"; echo "Depends: something-else"`);
    await failsWith("unexpected-content");
    assert.deepEqual(await readdir(join(cacheDir(), "kernels")), []);
  });

  test("what a dead pull left is cleaned up, what is half-made is not listed", async () => {
    await mkdir(join(cacheDir(), "kernels/.pull-4194305-x/result"), { recursive: true }); // above any process id
    await mkdir(join(cacheDir(), "kernels/half"), { recursive: true });
    assert.deepEqual(await listKernels({ cacheDir: cacheDir() }), []);
    await failsWith("unexpected-content");
    assert.deepEqual(await readdir(join(cacheDir(), "kernels")), ["half"]);
  });

  test("without apt the sentence says so", async () => {
    process.env["PATH"] = "/nonexistent";
    await failsWith("apt-missing");
  });

  test("the newest cached kernel is taken without apt, its modules in order", async () => {
    for (const version of ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"]) {
      const kernel = join(cacheDir(), "kernels", version);
      await mkdir(join(kernel, "modules"), { recursive: true });
      await writeFile(join(kernel, "modules/a.ko"), "A");
      await writeFile(join(kernel, "modules/b.ko"), "B");
      const modules = [
        { name: "b", depends: [] },
        { name: "a", depends: ["b", "builtin"] },
      ];
      await writeFile(
        join(kernel, "info.json"),
        JSON.stringify({ version, packageVersion: "1", modules, builtin: ["builtin"] }),
      );
    }
    const kernel = await ensureKernel({ cacheDir: cacheDir() });
    assert.equal(kernel.version, "6.1.0-56-cloud-amd64");
    const modules = await readModules(kernel, ["a", "builtin", "absent"]);
    assert.deepEqual(
      modules.map(({ name, data }) => [name, Buffer.from(data).toString()]),
      [
        ["b", "B"],
        ["a", "A"],
      ],
    );
  });
});

test("a kernel file that cannot be read", async () => {
  await assert.rejects(
    readKernelFile("/nonexistent/vmlinuz"),
    (error) => error instanceof KernelError && error.code === "missing" && /does not exist/.test(error.message),
  );
  await assert.rejects(readKernelFile("/"), /is a directory/);
});
