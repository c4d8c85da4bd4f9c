/* A shared directory of the host, side by side: Mere's virtio-fs and QEMU's 9p (TCG, -virtfs, which needs no root and no daemon), in one run, in turns, with the same
 * directory and script. Debian's cloud kernel has no 9p, so QEMU boots the generic one of the same version. Prints seconds of each step, and their ratio.
 * `node bench/shares.ts [--rounds N] [--files N] [--mere-only]` */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FsDevice } from "../src/device/virtio/fs.ts";
import { busyboxApplets } from "../src/image/busybox.ts";
import { CpioWriter } from "../src/image/cpio.ts";
import { fetchPackages } from "../src/image/apt.ts";
import { unpackDeb } from "../src/image/deb.ts";
import { ensureBusybox, type KernelModule, readModules } from "../src/image/kernel.ts";
import { loadOrder, type ModuleInfo, moduleName, readModuleInfo } from "../src/image/modules.ts";
import { openShare } from "../src/share/share-server.ts";
import { createMachine } from "../src/vm/machine.ts";
import { prepareGuest } from "./guest.ts";

const FILE_BYTES = 2000;
const BIG_MIB = 64;
const MEMORY_MIB = 512;
const MODULES = { mere: ["virtio_mmio", "virtiofs"], qemu: ["virtio_pci", "9p", "9pnet_virtio"] };
const STEPS: readonly (readonly [name: string, script: string])[] = [
  ["write 64 MiB", `dd if=/dev/zero of=/mnt/big bs=1M count=${BIG_MIB} 2>/dev/null`],
  ["read 64 MiB", "dd if=/mnt/big of=/dev/null bs=1M 2>/dev/null"],
  ["find the files", "find /mnt/tree -type f | wc -l"],
  ["stat of each", "find /mnt/tree -type f -size +0 | wc -l"],
  ["tar of all", "tar cf - -C /mnt tree | wc -c"],
  ["copy of a tenth", "cp -r /mnt/tree/d0 /mnt/tree/d1 /mnt/tree/d2 /mnt/tree/d3 /mnt/tree/d4 /mnt/out"],
  ["rm of them", "rm -rf /mnt/out"],
];
/** Clean pages only are dropped. */
const DROP = "sync; echo 3 >/proc/sys/vm/drop_caches";

/** The init: mounts, then does each step with empty caches, and says when it begins and ends. */
function init(modules: readonly string[]): string {
  const steps = STEPS.map(([, script], n) => `${DROP}\necho "@begin ${n}"\n${script} >/dev/null\necho "@end ${n}"`);
  return `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in ${modules.join(" ")}; do insmod /modules/$module.ko 2>/dev/null; done
mkdir /mnt
mount -t virtiofs work /mnt 2>/dev/null || mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose work /mnt || echo "@failed"
mkdir -p /mnt/out /sys
mount -t sysfs sys /sys
for file in /sys/class/bdi/*/read_ahead_kb; do echo 1024 >$file; done
${steps.join("\n")}
echo "@finished"
poweroff -f
`;
}
async function initrd(modules: readonly KernelModule[]): Promise<Uint8Array> {
  const cpio = new CpioWriter();
  for (const path of ["bin", "dev", "proc", "modules"]) cpio.directory(path);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.characterDevice("dev/null", 1, 3, 0o666);
  const busybox = readFileSync(await ensureBusybox());
  cpio.file("bin/busybox", busybox, 0o755);
  for (const applet of busyboxApplets(busybox)) if (applet !== "busybox") cpio.symlink(`bin/${applet}`, "busybox");
  for (const { name, data } of modules) cpio.file(`modules/${name}.ko`, data);
  cpio.file("init", init(modules.map(({ name }) => name)), 0o755);
  return cpio.finish();
}

/** Debian's generic kernel: its bzImage, and the modules for 9p in the order in which they load. */
async function genericKernel(version: string, work: string): Promise<{ bzImage: string; modules: KernelModule[] }> {
  const name = `linux-image-${version.replace("-cloud-", "-")}`;
  const root = join(work, "generic");
  const deb = (await fetchPackages([name], { directory: work })).find((entry) => entry.name === name)!;
  await unpackDeb(deb.path, root);
  const files = new Map(
    readdirSync(join(root, "lib/modules"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ko"))
      .map((path) => [moduleName(path), join(root, "lib/modules", path)]),
  );
  const info = (module: string): ModuleInfo | undefined => {
    const path = files.get(module);
    return path === undefined ? undefined : readModuleInfo(module, readFileSync(path));
  };
  const modules = loadOrder(MODULES.qemu, info).map((module) => ({
    name: module.name,
    data: readFileSync(files.get(module.name)!),
  }));
  return { bzImage: join(root, "boot", name.replace("linux-image", "vmlinuz")), modules };
}

/** Seconds of each step, by when its marks come, and processor time meanwhile. */
class Marks {
  readonly seconds: [wall: number, processor: number][] = [];
  readonly #processor: () => number;
  #text = "";
  #begun: [number, number] = [0, 0];

  /** @param processor tells the engine's processor time so far, in seconds */
  constructor(processor: () => number) {
    this.#processor = processor;
  }
  push(bytes: Uint8Array): void {
    this.#text += Buffer.from(bytes).toString("latin1");
    const lines = this.#text.split(/\r?\n/);
    this.#text = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("@begin")) this.#begun = [performance.now() / 1000, this.#processor()];
      else if (line.startsWith("@end"))
        this.seconds.push([performance.now() / 1000 - this.#begun[0], this.#processor() - this.#begun[1]]);
      else if (line.startsWith("@failed")) throw new Error("the guest could not mount the directory");
    }
  }
}

type Runner = (directory: string) => Promise<[number, number][]>;

function mereRunner(vmlinux: Uint8Array, initramfs: Uint8Array): Runner {
  return async (directory) => {
    const server = await openShare(directory);
    const marks = new Marks(() => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    const machine = await createMachine({
      cpus: 1,
      memoryBytes: MEMORY_MIB << 20,
      kernel: vmlinux,
      initrd: initramfs,
      commandLine: "console=ttyS0 quiet panic=-1",
      disks: [],
      devices: [new FsDevice({ tag: "work", server })],
      serialOutput: (bytes) => marks.push(bytes),
    });
    machine.start();
    await machine.wait();
    await server.close();
    return marks.seconds;
  };
}
/** @source proc(5): fields 14 and 15 of /proc/pid/stat, in hundredths of a second */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
function qemuRunner(bzImage: string, initramfs: string): Runner {
  return async (directory) => {
    const machine = ["-M", "pc,accel=tcg", "-cpu", "max", "-m", `${MEMORY_MIB}`, "-nodefaults", "-no-reboot"];
    const share = ["-virtfs", `local,path=${directory},mount_tag=work,security_model=none`];
    const boot = ["-kernel", bzImage, "-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1"];
    const words = [...machine, ...share, ...boot, "-serial", "stdio", "-display", "none"];
    const child = spawn("qemu-system-x86_64", words, { stdio: ["ignore", "pipe", "inherit"] });
    const marks = new Marks(() => processorSeconds(child.pid!));
    child.stdout.on("data", (bytes: Buffer) => marks.push(bytes));
    await new Promise((resolve, reject) => child.once("close", resolve).once("error", reject));
    return marks.seconds;
  };
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    "mere-only": { type: "boolean" },
    files: { type: "string", default: "5000" },
  },
});
const work = mkdtempSync(join(tmpdir(), "mere-bench-shares-"));
try {
  const shared = join(work, "shared");
  for (let i = 0; i < Number(values.files); i++) {
    const directory = join(shared, "tree", `d${i % 50}`);
    if (i < 50) mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `file-${i}`), Buffer.alloc((i * 37) % (2 * FILE_BYTES) || 1, `${i} `));
  }
  const guest = await prepareGuest(work, { suites: [], only: [], qemu: false, mereKernel: undefined, keptCode: true });
  const generic = await genericKernel(guest.kernel.version, work);
  const initrdFile = join(work, "initrd");
  writeFileSync(initrdFile, await initrd(generic.modules));
  const runners = {
    mere: mereRunner(readFileSync(guest.vmlinux), await initrd(await readModules(guest.kernel, MODULES.mere))),
    qemu: qemuRunner(generic.bzImage, initrdFile),
  };
  const seconds: Record<"mere" | "qemu", [number, number][][]> = { mere: [], qemu: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of ["mere", "qemu"] as const) {
      if (name === "qemu" && values["mere-only"] === true) continue;
      const measured = await runners[name](shared);
      if (measured.length !== STEPS.length) throw new Error(`${name} ended early`);
      seconds[name].push(measured);
    }
  }
  const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] ?? NaN;
  console.log("step".padEnd(18), "wall: mere, s   qemu, s  ratio      processor: mere, s   qemu, s  ratio");
  STEPS.forEach(([name], step) => {
    const columns = [0, 1].map((kind) => {
      const [mere, qemu] = [seconds.mere, seconds.qemu].map((runs) => median(runs.map((run) => run[step]![kind]!)));
      return [mere!, qemu!, qemu! / mere!].map((value) => value.toFixed(2).padStart(9)).join("");
    });
    console.log(name.padEnd(18), columns.join("          "));
  });
} finally {
  rmSync(work, { recursive: true, force: true });
}
