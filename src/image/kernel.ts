/* Kernels and busybox from Debian's packages, cached ready to use: a run decompresses nothing and needs no network. Kernels that Mere builds itself
 * (kernel-build/) are in the same place, without modules.
 *
 *   $XDG_CACHE_HOME/mere/kernels/<version>/   vmlinux  modules/<name>.ko  modules.order  info.json
 *   $XDG_CACHE_HOME/mere/busybox/<version>/   busybox */
import { mkdir, readFile, readdir, rename, writeFile, chmod, copyFile } from "node:fs/promises";
import { join } from "node:path";
import { Apt } from "./apt.ts";
import { readKernelImage } from "./bzimage.ts";
import { compareVersions, defaultCacheDir, inPullDirectory, type PullOptions, putInPlace } from "./cache.ts";
import { unpackDeb } from "./deb.ts";
import { KernelError } from "./kernel-error.ts";
import { decompressModule, loadOrder, type ModuleInfo, moduleName, readModuleInfo, WANTED_MODULES } from "./modules.ts";
import { PackageError } from "./package-error.ts";

export { defaultCacheDir, type PullOptions };

/** Debian's package that always depends on its newest cloud kernel. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const BUSYBOX_PACKAGE = "busybox-static";

/** Where a kernel in the cache comes from, and what `--kernel` calls it: Debian's package, or `mere kernel build`. */
export type KernelName = "debian" | "mere";

/** A kernel in the cache; info.json without the directory. */
export interface CachedKernel {
  readonly name: KernelName;
  /** As uname -r says it: "6.1.0-56-cloud-amd64", "6.1.192-2-mere-1a2b3c4d". */
  readonly version: string;
  readonly packageVersion: string;
  readonly directory: string;
  /** Modules that were kept, each after those it depends on. */
  readonly modules: readonly ModuleInfo[];
  /** Names of the modules that are built in; none are told for Mere's own kernel. */
  readonly builtin: readonly string[];
  /** When Mere built it, in ISO 8601. */
  readonly builtAt?: string;
}

/** A module ready for insmod. */
export interface KernelModule {
  readonly name: string;
  readonly data: Uint8Array;
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
    if (text === undefined) continue;
    // Kernels that were pulled before Mere built any tell no name.
    const info = JSON.parse(text) as Omit<CachedKernel, "name"> & { readonly name?: KernelName };
    kernels.push({ name: "debian", ...info, directory });
  }
  return kernels.sort(
    (a, b) =>
      compareVersions(b.packageVersion, a.packageVersion) ||
      compareVersions(b.builtAt ?? "", a.builtAt ?? "") ||
      compareVersions(b.version, a.version),
  );
}

/** The newest kernel of that name in the cache; Debian's is pulled if there is none. Without a name: Mere's own if one was built, else Debian's.
 *  @throws PackageError, KernelError ("missing": none of Mere's was built) */
export async function ensureKernel(options: PullOptions = {}, name?: KernelName): Promise<CachedKernel> {
  const kernels = await listKernels(options);
  const built = kernels.find((kernel) => kernel.name === "mere");
  if (name !== "debian" && built !== undefined) return built;
  if (name === "mere")
    throw new KernelError(
      "missing",
      "No kernel of Mere's own has been built; build it with 'mere kernel build', or leave out --kernel mere.",
    );
  return kernels.find((kernel) => kernel.name === "debian") ?? pullKernel(options);
}

/** Removes a kernel from the cache. A VM that runs it has its own copy. @throws KernelError "missing" if there is none of that version */
export async function removeKernel(version: string, options: { cacheDir?: string | undefined } = {}): Promise<void> {
  const kernel = (await listKernels(options)).find((entry) => entry.version === version);
  if (kernel === undefined)
    throw new KernelError(
      "missing",
      `The cache has no kernel ${JSON.stringify(version)}; see 'mere kernel list' for those that it has.`,
    );
  // Renamed first: nobody sees half a kernel, and the work directory takes it away.
  await inPullDirectory(options, "kernels", (_parent, work) => rename(kernel.directory, join(work, "removed")));
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
  const info = { name: "debian" as const, version, packageVersion, modules, builtin };
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
