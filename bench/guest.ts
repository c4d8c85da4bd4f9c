/* What the benchmarks boot, the same for every engine: Debian's cloud kernel (as vmlinux and, for QEMU, as the package's bzImage), and an initramfs with
 * busybox, the compiled programs and an init that says "@init" first. Made once per run, on the host. */
import { access, copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchPackages } from "../src/image/apt.ts";
import { busyboxApplets } from "../src/image/busybox.ts";
import { runCommand } from "../src/image/command.ts";
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
import { SUITE, type Suite } from "./suite.ts";

/** Drivers for the disk: of Mere's machine and QEMU's microvm (virtio-mmio), and of QEMU's PC (virtio-pci). */
const MODULES = ["virtio_mmio", "virtio_pci", "virtio_blk", "ext4"];

export interface BenchGuest {
  readonly kernel: CachedKernel;
  readonly vmlinux: string;
  readonly bzImage: string;
  /** busybox and the init alone. */
  readonly bootInitrd: string;
  /** With one program, for the memory's measurement. */
  readonly touchInitrd: string;
  /** With all programs and the disk's modules. */
  readonly suiteInitrd: string;
  /** Where the programs are, for the native column; undefined if there is no C compiler. */
  readonly programs: string | undefined;
  readonly busybox: string;
}

/** Makes everything in `work`, which is the caller's to remove. @throws PackageError, KernelError */
export async function prepareGuest(work: string): Promise<BenchGuest> {
  const kernel = await ensureKernel({}, "debian");
  const busybox = await ensureBusybox();
  const programs = await compilePrograms(work);
  const bootInitrd = join(work, "boot.cpio");
  const suiteInitrd = join(work, "suite.cpio");
  const touchInitrd = join(work, "touch.cpio");
  const names = programs === undefined ? [] : await readdir(programs);
  const files = names.map((name) => join(programs!, name));
  await writeFile(bootInitrd, await initramfs(busybox, [], []));
  await writeFile(
    touchInitrd,
    await initramfs(
      busybox,
      [],
      files.filter((file) => basename(file) === "touch"),
    ),
  );
  await writeFile(suiteInitrd, await initramfs(busybox, await readModules(kernel, MODULES), files));
  const images = { vmlinux: vmlinuxPath(kernel), bzImage: await bzImage(kernel), bootInitrd, touchInitrd, suiteInitrd };
  return { kernel, ...images, programs, busybox };
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

async function compilePrograms(work: string): Promise<string | undefined> {
  const source = fileURLToPath(new URL("./programs", import.meta.url));
  const target = join(work, "programs");
  await mkdir(target, { recursive: true });
  for (const file of await readdir(source)) {
    if (!file.endsWith(".c")) continue;
    const args = ["-O2", "-static", "-o", join(target, file.slice(0, -2)), join(source, file), "-lm"];
    const result = await runCommand("gcc", args).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    });
    if (result === undefined) return undefined;
    if (result.status !== 0) throw new Error(`gcc cannot compile ${file}: ${result.stderr}`);
  }
  return target;
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

/** The init: bench=NAME on the kernel's command line chooses what it does, scale=PERCENT and only=NAME,NAME are for the suite. */
function initScript(modules: readonly string[]): string {
  return `#!/bin/sh
echo @init
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
read -r cmdline </proc/cmdline
for word in $cmdline; do
	case $word in bench=* | scale=* | only=*) export "$word" ;; esac
done
D=/bench B=/bin/busybox T=/tmp/text C=
load() { for module in ${modules.join(" ")}; do insmod /bench/modules/$module.ko; done; }
disk() { # waits for the disk, whose driver may take its time
	load
	tries=0
	while [ ! -b /dev/vda ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
	mount -t ext4 -o ro /dev/vda /disk && mount -t tmpfs tmp /disk/tmp && mount -t devtmpfs dev /disk/dev || echo "@failed disk"
	C="chroot /disk"
}
case $bench in
${Object.entries(SUITE)
  .map(([name, entries]) => `${name})\n${name === "debian" ? "disk\n" : ""}${suiteScript(entries)}\n;;`)
  .join("\n")}
touch)
	echo @idle
	/bench/touch 100
	;;
esac
echo @finished
poweroff -f
`;
}

/** Shell lines that run the entries: in the guest and natively. They use the variables D (programs), B (busybox), T (text), C (prefix of the Debian programs)
 *  and the lower-case words of the kernel's command line. */
export function suiteScript(entries: Suite): string {
  return [
    '"$D/text" $((20 * scale)) >"$T"',
    '"$D/text" $((2 * scale)) >"$T.small"',
    'cat "$T" "$T" "$T" "$T" "$T" "$T" >"$T.large"',
    ...entries.map(({ name, line }) => `case ",$only," in *,${name},* | ,,) ${line} ;; esac`),
  ].join("\n");
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
