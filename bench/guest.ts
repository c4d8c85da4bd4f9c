/* What the benchmarks boot, the same for every engine: Debian's cloud kernel (as vmlinux and, for QEMU, as the package's bzImage), and initramfs archives with
 * busybox, the compiled programs and the init of bench/init-script.ts. Archives are made once per run, on the host; the rest is cached. */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fetchPackages } from "../src/image/apt.ts";
import { busyboxApplets } from "../src/image/busybox.ts";
import { CpioWriter } from "../src/image/cpio.ts";
import { unpackDeb } from "../src/image/deb.ts";
import {
  type CachedKernel,
  type KernelModule,
  defaultCacheDir,
  ensureBusybox,
  ensureKernel,
  readModules,
  vmlinuxPath,
} from "../src/image/kernel.ts";
import { type DebianPrograms, debianPrograms } from "./debian-root.ts";
import { initScript } from "./init-script.ts";
import { compiledPrograms, exists } from "./programs.ts";
import { needsNetwork, needsScratch, SUITES, type SuiteName, programsOf } from "./suite.ts";

/** Drivers for the disk and the network: of Mere's machine and QEMU's microvm (virtio-mmio), and of QEMU's PC (virtio-pci). */
const DISK_MODULES = ["virtio_mmio", "virtio_pci", "virtio_blk", "ext4"];
const NETWORK_MODULES = ["virtio_mmio", "virtio_pci", "virtio_net"];

export interface BenchGuest {
  readonly kernel: CachedKernel;
  /** What Mere boots, and QEMU. */
  readonly vmlinux: string;
  readonly bzImage: string;
  /** Given with --mere-kernel: a kernel that was built for Mere. */
  readonly mereKernel: string | undefined;
  /** Mere uses what earlier VMs have translated. */
  readonly keptCode: boolean;
  /** busybox and the init alone. */
  readonly bootInitrd: string;
  /** With one program, for the memory's measurement. */
  readonly touchInitrd: string;
  /** With the chosen programs and the modules for them. */
  readonly suiteInitrd: string;
  /** Where the programs are, for the native column; undefined if there is no C compiler. */
  readonly programs: string | undefined;
  readonly busybox: string;
  /** Undefined when no suite needs it. */
  readonly debian: DebianPrograms | undefined;
  /** A directory for files of this run. */
  readonly work: string;
}

export interface GuestOptions {
  readonly suites: readonly SuiteName[];
  /** Single programs; empty: all. */
  readonly only: readonly string[];
  /** QEMU takes part. */
  readonly qemu: boolean;
  readonly mereKernel: string | undefined;
  readonly keptCode: boolean;
}

/** Makes everything in `work`, which is the caller's to remove. @throws PackageError, KernelError */
export async function prepareGuest(work: string, options: GuestOptions): Promise<BenchGuest> {
  const kernel = await ensureKernel({}, "debian");
  const busybox = await ensureBusybox();
  const programs = await compiledPrograms();
  const needsDebian = options.suites.some((suite) => SUITES[suite].debian);
  const debian = needsDebian ? await debianPrograms() : undefined;
  const archive = async (name: string, files: Iterable<string>, modules: readonly KernelModule[]): Promise<string> => {
    const path = join(work, `${name}.cpio`);
    const paths = programs === undefined ? [] : [...files].map((file) => join(programs, file));
    await writeFile(path, await initramfs(busybox, modules, paths));
    return path;
  };
  const modules = [
    ...(needsDebian || needsScratch(options.suites) ? DISK_MODULES : []),
    ...(needsNetwork(options.suites) ? NETWORK_MODULES : []),
  ];
  const entries = options.suites
    .flatMap((suite) => [...SUITES[suite].entries])
    .filter(({ name }) => options.only.length === 0 || options.only.includes(name));
  return {
    kernel,
    vmlinux: vmlinuxPath(kernel),
    bzImage: options.qemu ? await bzImage(kernel) : "",
    mereKernel: options.mereKernel,
    keptCode: options.keptCode,
    bootInitrd: await archive("boot", [], []),
    touchInitrd: await archive("touch", ["touch"], []),
    suiteInitrd: await archive("suite", programsOf(entries), await readModules(kernel, modules)),
    programs,
    busybox,
    debian,
    work,
  };
}

/** The package's vmlinuz, which Mere's own cache does not keep. */
async function bzImage(kernel: CachedKernel): Promise<string> {
  const directory = join(defaultCacheDir(), "bench");
  const path = join(directory, `vmlinuz-${kernel.version}-${kernel.packageVersion}`);
  if (await exists(path)) return path;
  await mkdir(directory, { recursive: true });
  const work = await mkdtemp(join(directory, ".pull-"));
  try {
    const name = `linux-image-${kernel.version}`;
    const deb = (await fetchPackages([name], { directory: work })).find((entry) => entry.name === name);
    if (deb === undefined) throw new Error(`apt downloaded no file for ${name}`);
    await unpackDeb(deb.path, join(work, "root"));
    await copyFile(join(work, "root/boot", `vmlinuz-${kernel.version}`), path);
    return path;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function initramfs(
  busybox: string,
  modules: readonly KernelModule[],
  programs: readonly string[],
): Promise<Uint8Array> {
  const cpio = new CpioWriter();
  for (const path of ["bin", "dev", "proc", "sys", "bench", "bench/modules", "disk"]) cpio.directory(path);
  cpio.directory("tmp", 0o1777);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.characterDevice("dev/null", 1, 3, 0o666);
  const program = await readFile(busybox);
  cpio.file("bin/busybox", program, 0o755);
  for (const applet of busyboxApplets(program)) if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
  for (const module of modules) cpio.file(`bench/modules/${module.name}.ko`, module.data);
  for (const path of programs) cpio.file(`bench/${basename(path)}`, await readFile(path), 0o755);
  cpio.file("init", initScript(modules.map(({ name }) => name)), 0o755);
  return cpio.finish();
}
