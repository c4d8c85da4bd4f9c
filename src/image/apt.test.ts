import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { aptFailure } from "./apt.ts";
import {
  ensureKernel,
  type KernelName,
  listKernels,
  pullKernel,
  readKernelFile,
  readModules,
  removeKernel,
} from "./kernel.ts";
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

describe("kernels of Mere's own", () => {
  let cacheDir = "";
  const put = async (version: string, info: object): Promise<void> => {
    await mkdir(join(cacheDir, "kernels", version), { recursive: true });
    const text = JSON.stringify({ version, modules: [], builtin: [], ...info });
    await writeFile(join(cacheDir, "kernels", version, "info.json"), text);
  };
  const chosen = async (name?: KernelName): Promise<string> => (await ensureKernel({ cacheDir }, name)).version;
  before(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), "mere-kernels-test-"));
    await put("6.12.0-1-cloud-amd64", { packageVersion: "6.12.5-1" });
  });
  after(() => rm(cacheDir, { recursive: true }));

  test("are asked for by name where there is none", async () => {
    assert.equal(await chosen(), "6.12.0-1-cloud-amd64");
    await assert.rejects(ensureKernel({ cacheDir }, "mere"), (error) => {
      assert.ok(error instanceof KernelError && error.code === "missing");
      assert.match(error.message, /build it with 'mere kernel build'/);
      return true;
    });
  });

  test("are the default once there is one: the newest source, then the newest build", async () => {
    const name = "mere";
    await put("6.1.9-1-mere-ffffffff", { name, packageVersion: "6.1.9-1", builtAt: "2030-01-01T00:00:00.000Z" });
    await put("6.1.10-1-mere-eeeeeeee", { name, packageVersion: "6.1.10-1", builtAt: "2026-01-01T00:00:00.000Z" });
    await put("6.1.10-1-mere-00000000", { name, packageVersion: "6.1.10-1", builtAt: "2026-01-02T00:00:00.000Z" });
    assert.equal(await chosen(), "6.1.10-1-mere-00000000");
    assert.equal(await chosen("mere"), "6.1.10-1-mere-00000000");
    assert.equal(await chosen("debian"), "6.12.0-1-cloud-amd64");
  });

  test("and others can be removed", async () => {
    await removeKernel("6.1.10-1-mere-00000000", { cacheDir });
    assert.equal(await chosen(), "6.1.10-1-mere-eeeeeeee");
    for (const version of ["6.1.10-1-mere-00000000", "../kernels", ""])
      await assert.rejects(removeKernel(version, { cacheDir }), /The cache has no kernel ".*"; see 'mere kernel list'/);
    assert.equal((await readdir(join(cacheDir, "kernels"))).length, 3);
  });
});

test("a kernel file that cannot be read", async () => {
  await assert.rejects(
    readKernelFile("/nonexistent/vmlinuz"),
    (error) => error instanceof KernelError && error.code === "missing" && /does not exist/.test(error.message),
  );
  await assert.rejects(readKernelFile("/"), /is a directory/);
});
