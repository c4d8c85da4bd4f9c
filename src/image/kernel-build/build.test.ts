/* A build with stand-ins for apt, dpkg-deb, tar and the tool chain: shell scripts that go before PATH. A real one takes minutes: docs/kernel.md tells how
 * to run it. */
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { PackageError } from "../package-error.ts";
import { listKernels } from "../kernel.ts";
import { type BuildOptions, buildKernel } from "./build.ts";
import { KernelBuildError } from "./build-error.ts";
import { readFragment } from "./fragment.ts";
import { missingPackages } from "./toolchain.ts";

const PATH = process.env["PATH"]!;
let directory = "";
let bin = "";
let cache = "";

const script = async (name: string, text: string): Promise<void> => {
  await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`);
  await chmod(join(bin, name), 0o755);
};

/** What a configured tree has: the fragment itself, until a test says otherwise. */
const configuring = (lines: string): Promise<void> =>
  // The last operand is the archive; the sources come into the current directory.
  script(
    "tar",
    `mkdir -p scripts/kconfig && cat >scripts/kconfig/merge_config.sh <<'END'\n[ "$1" = -n ] || exit 9\n${lines}\nEND`,
  );

const build = (options: BuildOptions = {}) => buildKernel({ cacheDir: cache, jobs: 3, ...options });

async function failsWith(code: string, options: BuildOptions = {}): Promise<string> {
  let message = "";
  await assert.rejects(build(options), (error) => {
    assert.ok(error instanceof KernelBuildError || error instanceof PackageError, String(error));
    assert.equal(error.code, code, error.message);
    message = error.message;
    return true;
  });
  assert.deepEqual(await readdir(join(cache, "kernels")), [], "nothing is left");
  return message;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mere-build-test-"));
  [bin, cache] = [join(directory, "bin"), join(directory, "cache")];
  await mkdir(bin);
  process.env["PATH"] = `${bin}:${PATH}`;
  for (const name of ["gcc", "flex", "bison", "bc", "ld", "xz"]) await script(name, "exit 0");
  await script("apt-get", `case "$*" in *" download "*) : >linux-source-9.9_9.9.1-2_all.deb;; esac`);
  await script(
    "apt-cache",
    `case "$*" in *linux-source-9.9*) echo Version: 9.9.1-2;; *) echo Version: 9.9; echo "Depends: linux-source-9.9 (= 9.9.1-2)";; esac`,
  );
  await script("dpkg-deb", `mkdir -p "$3/usr/src" && : >"$3/usr/src/linux-source-9.9.tar.xz"`);
  await configuring(`cp "$2" .config`);
  await script(
    "make",
    `env >"${directory}/env"; echo "$*" >"${directory}/args"
for i in 1 2 3; do echo "  CC      init/$i.o"; done; echo "  LD      vmlinux"; echo kernel >vmlinux; echo map >System.map`,
  );
  await script("strip", `cp "$3" "$2"`);
});
afterEach(async () => {
  process.env["PATH"] = PATH;
  await rm(directory, { recursive: true });
});

describe("a build", () => {
  test("puts kernel, symbols and configuration into the cache, once, and nothing else", async () => {
    const { hash } = await readFragment();
    const version = `9.9.1-2-mere-${hash}`;
    const seen: string[] = [];
    process.env["ARCH"] = "arm64";
    process.env["MAKEFLAGS"] = "-k";
    const kernel = await build({ onProgress: (phase, done, total) => seen.push(`${phase} ${done}/${total}`) });
    delete process.env["ARCH"];
    delete process.env["MAKEFLAGS"];
    assert.deepEqual([kernel.version, kernel.name, kernel.packageVersion], [version, "mere", "9.9.1-2"]);
    assert.deepEqual(
      (await listKernels({ cacheDir: cache })).map((entry) => entry.version),
      [version],
    );
    assert.deepEqual((await readdir(kernel.directory)).sort(), ["System.map", "config", "info.json", "vmlinux"]);
    assert.deepEqual(await readdir(cache), ["kernels"]);
    assert.deepEqual(await readdir(join(cache, "kernels")), [version]);
    assert.deepEqual(seen.slice(-4), ["compile 0/0", "compile 1/0", "compile 2/0", "compile 3/0"]);
    assert.equal(await readFile(join(directory, "args"), "utf8"), `-j 3 LOCALVERSION=-2-mere-${hash} vmlinux\n`);
    const env = await readFile(join(directory, "env"), "utf8");
    assert.match(env, /^ARCH=x86_64$/m);
    assert.doesNotMatch(env, /MAKEFLAGS/);

    await script("make", "exit 1");
    assert.equal((await build()).directory, kernel.directory);
  });

  test("that does not compile tells make's last words and keeps them all", async () => {
    await script("make", "seq 1 100; echo 'fatal error: gelf.h' >&2; exit 2");
    const message = await failsWith("compiler-failed");
    const log = join(cache, "kernel-build.log");
    assert.ok(
      message.startsWith(`the kernel could not be compiled; its last words are below, all of them in ${log}, `),
    );
    assert.match(message, /\n {2}9\d\n[^]* {2}100\n?/);
    assert.match(message, /\n {2}fatal error: gelf\.h\n?/);
    assert.match(await readFile(log, "utf8"), /^1\n2\n3\n/);
  });

  test("on a full disk says so", async () => {
    await script("make", "echo 'x.s: No space left on device'; exit 2");
    assert.match(await failsWith("no-space"), /^There is no space left under .*; free some/);
  });

  test("whose tree drops an option does not go on", async () => {
    await configuring(
      `grep -v CONFIG_SMP= "$2" >.config; echo CONFIG_DMI=y >>.config; sed -i "/CONFIG_DMI is/d" .config`,
    );
    await script("make", "exit 99");
    assert.match(await failsWith("options-dropped"), /^Linux 9\.9\.1-2 does not take CONFIG_SMP=y, CONFIG_DMI=n of /);
  });

  test("whose tree cannot be configured, or is not where it was, says so", async () => {
    await configuring("echo no rule; exit 1");
    assert.match(await failsWith("compiler-failed"), /^the kernel could not be configured;[^]*\n {2}no rule$/);
    await script("dpkg-deb", `mkdir -p "$3/usr"`);
    assert.match(await failsWith("unexpected-source"), /does not hold linux-source-9\.9\.tar\.xz/);
    await script("apt-cache", "echo Version: 1; echo Depends: other");
    assert.match(await failsWith("unexpected-content"), /names no kernel source/);
  });

  test("that is interrupted has ended, with all its compilers, and left nothing", async () => {
    const controller = new AbortController();
    await script("make", `echo "  CC      a.o"; sleep 60 & echo $! >"${directory}/pid"; echo "  CC      b.o"; wait`);
    const onProgress = (phase: string, done: number): void => {
      if (phase === "compile" && done === 2) controller.abort();
    };
    await assert.rejects(build({ signal: controller.signal, onProgress }), { name: "AbortError" });
    assert.deepEqual(await readdir(join(cache, "kernels")), []);
    assert.deepEqual(await readdir(cache), ["kernels"]);
    const compiler = (await readFile(join(directory, "pid"), "utf8")).trim();
    // Dead, though whoever inherited it may not have noticed yet.
    assert.match(await readFile(`/proc/${compiler}/stat`, "utf8").catch(() => "gone"), /^gone$|\) Z /);
  });
});

describe("tools that are not there", () => {
  test("are named in one sentence with the packages to install", async () => {
    process.env["PATH"] = bin;
    for (const name of ["flex", "bison"]) await rm(join(bin, name));
    await assert.rejects(build(), {
      code: "tools-missing",
      message:
        "Building a kernel needs tools that this machine lacks: install the packages flex and bison (as root: apt-get install flex bison), or use Debian's kernel with --kernel debian.",
    });
    await assert.rejects(readdir(cache), { code: "ENOENT" }, "nothing was begun");
  });

  test("may be headers, and are everything where nothing is", async () => {
    process.env["PATH"] = bin;
    await script("gcc", `case "$*" in *gelf.h*) exit 1;; esac`);
    assert.deepEqual(await missingPackages(), ["libelf-dev"]);
    await assert.rejects(build(), /install the package libelf-dev \(as root: apt-get install libelf-dev\)/);
    process.env["PATH"] = "/nonexistent";
    assert.deepEqual(
      (await missingPackages()).join(" "),
      "gcc make flex bison bc binutils tar xz-utils libc6-dev libelf-dev",
    );
  });
});
