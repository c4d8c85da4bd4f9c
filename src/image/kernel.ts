/* Kernels and busybox from Debian's packages, cached ready to use: a run decompresses nothing and needs no network.
 *
 *   $XDG_CACHE_HOME/mere/kernels/<version>/   vmlinux  modules/<name>.ko  modules.order  info.json
 *   $XDG_CACHE_HOME/mere/busybox/<version>/   busybox
 *
 * A pull works in a directory ".pull-<pid>-…" beside the result and renames it at the end: one that is interrupted leaves nothing half-made. */
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile, chmod, copyFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { Apt, type PullProgress } from "./apt.ts";
import { readKernelImage } from "./bzimage.ts";
import { unpackDeb } from "./deb.ts";
import { KernelError } from "./kernel-error.ts";
import { decompressModule, loadOrder, type ModuleInfo, moduleName, readModuleInfo, WANTED_MODULES } from "./modules.ts";
import { PackageError } from "./package-error.ts";

/** Debian's package that always depends on its newest cloud kernel. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const BUSYBOX_PACKAGE = "busybox-static";

/** A kernel in the cache; info.json without the directory. */
export interface CachedKernel {
  /** As uname -r says it: "6.1.0-56-cloud-amd64". */
  readonly version: string;
  readonly packageVersion: string;
  readonly directory: string;
  /** Modules that were kept, each after those it depends on. */
  readonly modules: readonly ModuleInfo[];
  /** Names of the modules that are built in. */
  readonly builtin: readonly string[];
}

/** A module ready for insmod. */
export interface KernelModule {
  readonly name: string;
  readonly data: Uint8Array;
}

export interface PullOptions {
  /** Default: $XDG_CACHE_HOME/mere or ~/.cache/mere */
  readonly cacheDir?: string | undefined;
  readonly onProgress?: PullProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where Mere keeps what it can make again. @source XDG Base Directory Specification */
export function defaultCacheDir(): string {
  const base = process.env["XDG_CACHE_HOME"];
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".cache"), "mere");
}

/** Reads a kernel file that the user named. @throws KernelError "missing" with the reason */
export async function readKernelFile(path: string): Promise<Uint8Array> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    const why =
      error.code === "ENOENT"
        ? "does not exist"
        : error.code === "EISDIR"
          ? "is a directory"
          : `cannot be read (${error.code ?? error.message})`;
    throw new KernelError(
      "missing",
      `The kernel file ${path} ${why}; give a bzImage (vmlinuz) or a vmlinux with --kernel, or leave it out for Debian's.`,
      { cause: error },
    );
  });
}

/** The kernels in the cache, newest first. */
export async function listKernels(options: { cacheDir?: string | undefined } = {}): Promise<CachedKernel[]> {
  const parent = join(options.cacheDir ?? defaultCacheDir(), "kernels");
  const kernels: CachedKernel[] = [];
  for (const version of await readdir(parent).catch(() => [])) {
    if (version.startsWith(".")) continue;
    const directory = join(parent, version);
    const text = await readFile(join(directory, "info.json"), "utf8").catch(() => undefined);
    if (text !== undefined) kernels.push({ ...(JSON.parse(text) as CachedKernel), directory });
  }
  return kernels.sort((a, b) => compareVersions(b.version, a.version));
}

/** The newest kernel in the cache; pulls one if there is none. @throws PackageError, KernelError */
export async function ensureKernel(options: PullOptions = {}): Promise<CachedKernel> {
  return (await listKernels(options))[0] ?? pullKernel(options);
}

/** Pulls Debian's newest cloud kernel, unless the cache has that version. @throws PackageError, KernelError */
export async function pullKernel(options: PullOptions = {}): Promise<CachedKernel> {
  return inPullDirectory(options, "kernels", async (parent, work) => {
    const apt = await Apt.open(join(work, "apt"), options);
    const meta = await apt.show(KERNEL_PACKAGE);
    const name = meta.depends.find((entry) => /^linux-image-\d.*-cloud-amd64$/.test(entry));
    if (name === undefined)
      throw new PackageError(
        "unexpected-content",
        `Debian's ${KERNEL_PACKAGE} names no cloud kernel; add a Debian source to apt, or give a kernel with --kernel FILE.`,
      );
    const version = name.slice("linux-image-".length);
    const { version: packageVersion } = await apt.show(name);
    const cached = (await listKernels(options)).find((kernel) => kernel.version === version);
    if (cached?.packageVersion === packageVersion) return cached;
    const deb = (await apt.download([name], false)).find((entry) => entry.name === name);
    if (deb === undefined) throw new PackageError("failed", `apt downloaded no file for ${name}; try again.`);
    const progress = (done: number): void => options.onProgress?.("unpack", done, 3);
    progress(0);
    await unpackDeb(deb.path, join(work, "root"), options.signal);
    progress(1);
    const result = join(work, "result");
    const info = await assembleKernel(join(work, "root"), result, version, packageVersion, () => progress(2));
    const directory = join(parent, version);
    await putInPlace(result, directory);
    progress(3);
    return { ...info, directory };
  });
}

/** Moves a finished result to its place. Another process that pulls the same may be there first: what it put there is as good. */
async function putInPlace(result: string, directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  try {
    await rename(result, directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  }
}

/** Takes vmlinux and modules out of an unpacked package into `result`. */
async function assembleKernel(
  root: string,
  result: string,
  version: string,
  packageVersion: string,
  onKernel: () => void,
): Promise<Omit<CachedKernel, "directory">> {
  await mkdir(join(result, "modules"), { recursive: true });
  const image = readKernelImage(await readKernelFile(join(root, "boot", `vmlinuz-${version}`)));
  await writeFile(join(result, "vmlinux"), image.vmlinux);
  onKernel();
  const tree = await firstDirectory([join(root, "lib/modules", version), join(root, "usr/lib/modules", version)]);
  const paths = new Map<string, string>();
  for (const path of await readdir(tree, { recursive: true })) {
    const name = moduleName(path);
    if (name !== undefined) paths.set(name, join(tree, path));
  }
  const data = new Map<string, Uint8Array>();
  const infos = new Map<string, ModuleInfo>();
  const pending: string[] = [...WANTED_MODULES];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const path = paths.get(name);
    if (path === undefined || infos.has(name)) continue;
    data.set(name, decompressModule(path, await readFile(path)));
    const info = readModuleInfo(name, data.get(name)!);
    infos.set(name, info);
    pending.push(...info.depends);
  }
  const modules = loadOrder(WANTED_MODULES, (name) => infos.get(name));
  for (const { name } of modules) await writeFile(join(result, "modules", `${name}.ko`), data.get(name)!);
  await writeFile(join(result, "modules.order"), modules.map(({ name }) => `${name}.ko\n`).join(""));
  const builtinList = await readFile(join(tree, "modules.builtin"), "utf8").catch(() => "");
  const builtin = builtinList.split("\n").flatMap((line) => moduleName(line) ?? []);
  const info = { version, packageVersion, modules, builtin };
  await writeFile(join(result, "info.json"), JSON.stringify(info, undefined, 1));
  return info;
}

async function firstDirectory(candidates: readonly string[]): Promise<string> {
  for (const candidate of candidates) if (await readdir(candidate).catch(() => undefined)) return candidate;
  throw new PackageError(
    "unexpected-content",
    "Debian's kernel package has no modules where they are expected; give a kernel with --kernel FILE.",
  );
}

/** The modules named and all that they depend on, in load order. Names that the kernel has built in, or lacks, are passed over. */
export async function readModules(kernel: CachedKernel, names: readonly string[]): Promise<KernelModule[]> {
  const order = loadOrder(names, (name) => kernel.modules.find((entry) => entry.name === name));
  return Promise.all(
    order.map(async ({ name }) => ({ name, data: await readFile(join(kernel.directory, "modules", `${name}.ko`)) })),
  );
}

/** Path of the cached vmlinux. */
export function vmlinuxPath(kernel: CachedKernel): string {
  return join(kernel.directory, "vmlinux");
}

/** Path of a static busybox for the initramfs; pulled if the cache has none. @throws PackageError */
export async function ensureBusybox(options: PullOptions = {}): Promise<string> {
  const parent = join(options.cacheDir ?? defaultCacheDir(), "busybox");
  const versions = (await readdir(parent).catch(() => [])).filter((name) => !name.startsWith("."));
  const newest = versions.sort(compareVersions).at(-1);
  return newest === undefined ? pullBusybox(options) : join(parent, newest, "busybox");
}

/** Pulls Debian's busybox-static. @returns path of the program @throws PackageError */
export async function pullBusybox(options: PullOptions = {}): Promise<string> {
  return inPullDirectory(options, "busybox", async (parent, work) => {
    const apt = await Apt.open(join(work, "apt"), options);
    const [deb] = await apt.download([BUSYBOX_PACKAGE], false);
    if (deb === undefined)
      throw new PackageError("failed", `apt downloaded no file for ${BUSYBOX_PACKAGE}; try again.`);
    await unpackDeb(deb.path, join(work, "root"), options.signal);
    const result = join(work, "result");
    await mkdir(result);
    await copyFile(join(work, "root/bin/busybox"), join(result, "busybox")).catch(() =>
      copyFile(join(work, "root/usr/bin/busybox"), join(result, "busybox")),
    );
    await chmod(join(result, "busybox"), 0o755);
    const directory = join(parent, deb.version);
    await putInPlace(result, directory);
    return join(directory, "busybox");
  });
}

/** Runs `body` with the cache's part `kind` and a work directory in it, which goes away afterwards, as do those of pulls that died. */
async function inPullDirectory<T>(
  options: PullOptions,
  kind: string,
  body: (parent: string, work: string) => Promise<T>,
): Promise<T> {
  const parent = join(options.cacheDir ?? defaultCacheDir(), kind);
  try {
    await mkdir(parent, { recursive: true });
    for (const name of await readdir(parent)) {
      const pid = /^\.pull-(\d+)-/.exec(name)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) await rm(join(parent, name), { recursive: true, force: true });
    }
    const work = await mkdtemp(join(parent, `.pull-${process.pid}-`));
    try {
      return await body(parent, work);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC")
      throw new PackageError(
        "no-space",
        `There is no space left under ${parent}; free some, or set XDG_CACHE_HOME to a directory on another disk.`,
        { cause: error },
      );
    if (code !== undefined && UNWRITABLE.includes(code))
      throw new PackageError(
        "failed",
        `The cache ${parent} cannot be written; set XDG_CACHE_HOME to a directory that can.`,
        { cause: error },
      );
    throw error;
  }
}

/** What the system says of a directory that cannot be made or written. */
const UNWRITABLE = ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"];

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}
