/* `mere kernel build`: Debian's linux-source package, Mere's configuration, the host's compiler, and at the end a vmlinux in the cache beside pulled
 * kernels. Nothing is installed and no root is needed. Why this kernel and this configuration: docs/kernel.md.
 *
 *   $XDG_CACHE_HOME/mere/kernels/<version>/   vmlinux (stripped)  System.map  config  info.json
 *   $XDG_CACHE_HOME/mere/kernel-build.log     all output of a build that failed */
import { copyFile, mkdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { Apt } from "../apt.ts";
import { inPullDirectory, type PullOptions, putInPlace } from "../cache.ts";
import { unpackDeb } from "../deb.ts";
import { type CachedKernel, listKernels } from "../kernel.ts";
import { PackageError } from "../package-error.ts";
import { KernelBuildError } from "./build-error.ts";
import { type Fragment, droppedOptions, fragmentFor, parseOptions, readFragment } from "./fragment.ts";
import { runLogged } from "./logged-command.ts";
import { checkToolchain } from "./toolchain.ts";

/** Debian's package that always depends on its newest kernel source. */
const SOURCE_PACKAGE = "linux-source";
/** Package, archive, sources and objects together take 1.4 GB. */
const NEEDED_BYTES = 1.5e9;
/** Lines of make's output in the message of a build that failed. */
const LAST_LINES = 12;
/** Half of the sources are drivers and processors that the configuration cannot name; Kconfig files and Makefiles must be there all the same. */
const NOT_UNPACKED = [
  "arch/a*",
  "arch/[b-wyz]*",
  "drivers/gpu",
  "drivers/media",
  "drivers/net/ethernet",
  "drivers/net/wireless",
  "drivers/staging",
  "drivers/scsi",
  "drivers/usb",
  "drivers/infiniband",
  "sound",
  "tools/testing",
];

/** @param done,total total 0: not known; objects for "compile", else steps or percent */
export type BuildProgress = (
  phase: "lists" | "download" | "unpack" | "configure" | "compile",
  done: number,
  total: number,
) => void;

export interface BuildOptions extends Omit<PullOptions, "onProgress"> {
  readonly onProgress?: BuildProgress | undefined;
  /** Compilers at a time; default: one a processor. */
  readonly jobs?: number | undefined;
}

/** One build under way. */
interface Build extends BuildOptions {
  /** Work directory inside the cache. */
  readonly work: string;
  /** The unpacked sources. */
  readonly source: string;
  readonly log: string;
  readonly fragment: Fragment;
  readonly version: string;
  readonly packageVersion: string;
}

/** uname -r of a kernel and its place in the cache: the same sources and the same fragment give the same. */
export function builtVersion(packageVersion: string, fragment: Pick<Fragment, "hash">): string {
  return `${packageVersion}-mere-${fragment.hash}`;
}

/** Builds Mere's kernel from Debian's newest kernel source, unless the cache has just that.
 *  @throws KernelBuildError, PackageError, AbortError */
export async function buildKernel(options: BuildOptions = {}): Promise<CachedKernel> {
  const fragment = await readFragment();
  await checkToolchain();
  return inPullDirectory(options, "kernels", async (parent, work) => {
    const apt = await Apt.open(join(work, "apt"), options);
    const meta = await apt.show(SOURCE_PACKAGE);
    const name = meta.depends.find((entry) => /^linux-source-\d/.test(entry));
    if (name === undefined)
      throw new PackageError(
        "unexpected-content",
        `Debian's ${SOURCE_PACKAGE} names no kernel source; add a Debian source to apt, or use Debian's kernel with --kernel debian.`,
      );
    const { version: packageVersion } = await apt.show(name);
    const version = builtVersion(packageVersion, fragment);
    const cached = (await listKernels(options)).find((kernel) => kernel.version === version);
    if (cached !== undefined) return cached;
    await checkSpace(parent);
    const build: Build = {
      ...options,
      work,
      source: join(work, "source"),
      log: join(work, "log"),
      fragment,
      version,
      packageVersion,
    };
    const deb = (await apt.download([name], false)).find((entry) => entry.name === name);
    if (deb === undefined) throw new PackageError("failed", `apt downloaded no file for ${name}; try again.`);
    await unpackSource(build, name, deb.path);
    await configure(build);
    await compile(build, dirname(parent));
    const result = join(work, "result");
    const info = await assemble(build, result);
    const directory = join(parent, version);
    await putInPlace(result, directory);
    return { ...info, directory };
  });
}

async function checkSpace(parent: string): Promise<void> {
  const { bavail, bsize } = await statfs(parent);
  if (bavail * bsize >= NEEDED_BYTES) return;
  const free = (bavail * bsize) / 1e9;
  throw new KernelBuildError(
    "no-space",
    `Building a kernel takes ${NEEDED_BYTES / 1e9} GB for a while, but under ${parent} only ${free.toFixed(1)} GB are free; free some, or set XDG_CACHE_HOME to a directory on another disk.`,
  );
}

/** The package holds one archive with all sources. */
async function unpackSource(build: Build, name: string, deb: string): Promise<void> {
  const { work, source, onProgress, signal } = build;
  onProgress?.("unpack", 0, 3);
  await unpackDeb(deb, join(work, "root"), signal);
  await rm(deb);
  onProgress?.("unpack", 1, 3);
  const archive = join(work, "root/usr/src", `${name}.tar.xz`);
  await stat(archive).catch((error: unknown) => {
    throw new KernelBuildError(
      "unexpected-source",
      `Debian's ${name} does not hold ${name}.tar.xz, which this version of Mere looks for; use Debian's kernel with --kernel debian.`,
      { cause: error },
    );
  });
  await mkdir(source);
  const excluded = NOT_UNPACKED.map((folder) => `--exclude=${name}/${folder}/*.[ch]`);
  const status = await run(build, "tar", ["--strip-components=1", ...excluded, "-xJf", archive]);
  if (status !== 0) throw await failure(build, dirname(dirname(work)), "the sources could not be unpacked");
  await rm(join(work, "root"), { recursive: true });
  onProgress?.("unpack", 3, 3);
}

/** Merges the fragment into "allnoconfig", and sees to it that nothing of it was lost. */
async function configure(build: Build): Promise<void> {
  const { source, work, fragment, packageVersion, onProgress } = build;
  onProgress?.("configure", 0, 0);
  const asked = fragmentFor(fragment.text, packageVersion);
  const path = join(work, "fragment");
  await writeFile(path, asked);
  const status = await run(build, "sh", ["scripts/kconfig/merge_config.sh", "-n", path]);
  const config = await readFile(join(source, ".config"), "utf8").catch(() => undefined);
  if (status !== 0 || config === undefined)
    throw await failure(build, dirname(dirname(work)), "the kernel could not be configured");
  const dropped = droppedOptions(parseOptions(asked), parseOptions(config));
  if (dropped.length > 0)
    throw new KernelBuildError(
      "options-dropped",
      `Linux ${packageVersion} does not take ${dropped.join(", ")} of Mere's kernel configuration; this version of Mere is not made for it, so use Debian's kernel with --kernel debian.`,
    );
}

async function compile(build: Build, cache: string): Promise<void> {
  const { jobs = availableParallelism(), version, packageVersion, onProgress } = build;
  let objects = 0;
  onProgress?.("compile", 0, 0);
  const onLine = (line: string): void => {
    if (/^ {2}(?:CC|AS|HOSTCC) /.test(line)) onProgress?.("compile", ++objects, 0);
  };
  // Debian's "6.1.192-2" is Linux 6.1.192; what follows that in the version makes uname -r the same as the place in the cache.
  const upstream = packageVersion.split("-")[0]!;
  const local = `LOCALVERSION=${version.slice(upstream.length)}`;
  const status = await run(build, "make", ["-j", String(jobs), local, "vmlinux"], onLine);
  if (status !== 0) throw await failure(build, cache, "the kernel could not be compiled");
}

/** The files of the cache. The symbols stay outside of the kernel: a crash's addresses can be looked up, and no guest pays for them. */
async function assemble(build: Build, result: string): Promise<Omit<CachedKernel, "directory">> {
  const { source, version, packageVersion } = build;
  await mkdir(result);
  const status = await run(build, "strip", ["-o", join(result, "vmlinux"), "vmlinux"]);
  if (status !== 0) throw await failure(build, dirname(dirname(build.work)), "the kernel could not be stripped");
  await copyFile(join(source, "System.map"), join(result, "System.map"));
  await copyFile(join(source, ".config"), join(result, "config"));
  const info = {
    name: "mere" as const,
    version,
    packageVersion,
    modules: [],
    builtin: [],
    builtAt: new Date().toISOString(),
  };
  await writeFile(join(result, "info.json"), JSON.stringify(info, undefined, 1));
  return info;
}

/** Variables of the caller's such as ARCH, CC or MAKEFLAGS would change what is built; these make it the same wherever and whenever it is built. */
async function run(
  build: Build,
  file: string,
  args: readonly string[],
  onLine?: (line: string) => void,
): Promise<number> {
  const env: Record<string, string> = {
    PATH: process.env["PATH"] ?? "",
    LC_ALL: "C",
    ARCH: "x86_64",
    KBUILD_BUILD_USER: "mere",
    KBUILD_BUILD_HOST: "mere",
    KBUILD_BUILD_VERSION: "1",
    KBUILD_BUILD_TIMESTAMP: "1970-01-01",
  };
  const { source: cwd, log, signal } = build;
  return runLogged({ file, args, cwd, env, log, signal, ...(onLine !== undefined && { onLine }) });
}

/** Keeps the log, and says where it is and how it ends. */
async function failure(build: Build, cache: string, what: string): Promise<KernelBuildError> {
  const kept = join(cache, "kernel-build.log");
  const text = await readFile(build.log, "utf8").catch(() => "");
  if (/No space left on device/.test(text))
    return new KernelBuildError(
      "no-space",
      `There is no space left under ${cache} to build a kernel; free some, or set XDG_CACHE_HOME to a directory on another disk.`,
    );
  await rename(build.log, kept);
  const lines = text.trimEnd().split("\n").slice(-LAST_LINES);
  return new KernelBuildError(
    "compiler-failed",
    `${what}; its last words are below, all of them in ${kept}, and Debian's kernel is there with --kernel debian\n${lines.map((line) => `  ${line}\n`).join("")}`.trimEnd(),
  );
}
