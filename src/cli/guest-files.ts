/* What a VM of `mere run` boots: kernel, initramfs and command line, from the user's files or from Mere's cache. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { readKernelImage } from "../image/bzimage.ts";
import { type CommandInput, LARGEST_STDIN, buildInitramfs } from "../image/initramfs.ts";
import {
  type CachedKernel,
  type PullOptions,
  ensureBusybox,
  ensureKernel,
  listKernels,
  readKernelFile,
  readModules,
  vmlinuxPath,
} from "../image/kernel.ts";
import { failure } from "./cli-error.ts";
import type { Exact, OwnInit } from "./run-options.ts";

/** Drivers of Mere's devices. Each module that the init loads costs guest time before the command runs, so disks' come only with disks. */
const MODULES = ["virtio_mmio", "virtio_console", "virtio_rng"];
/** … and the file system that Debian's disks have. */
const DISK_MODULES = ["virtio_blk", "ext4"];

/** Kernel messages go to the serial port, which keeps the last of them for a crash; a panic reboots at once, which ends the VM. */
const COMMAND_LINE = "console=ttyS0 quiet panic=-1";

export interface GuestFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly commandLine: string;
  /** Where the command's output comes from (and its input goes to). */
  readonly terminal: "hvc0" | "ttyS0";
  /** The secret word of the exit record; undefined if the guest has no init of Mere's, or hands over to the disk's. */
  readonly token: string | undefined;
}

/** The user's own kernel and initramfs, unchanged. @throws KernelError, CliError (failure), PackageError */
export async function exactGuest(boot: Exact, pull: PullOptions): Promise<GuestFiles> {
  const kernel =
    typeof boot.kernel === "object"
      ? await readKernelFile(boot.kernel.file)
      : await cachedKernelFile(await ensureKernel(pull, boot.kernel));
  const initrd = await readFile(boot.initrd).catch((error: unknown) => {
    throw failure(`the initramfs ${JSON.stringify(boot.initrd)} cannot be read; check the file`, error);
  });
  return { kernel, initrd, commandLine: boot.append, terminal: "ttyS0", token: undefined };
}

/** Mere's init with the command. @throws KernelError, CliError (failure), PackageError */
export async function ownInitGuest(boot: OwnInit, hasDisks: boolean, pull: PullOptions): Promise<GuestFiles> {
  const stdin = await commandInput(boot, pull.signal);
  const kernel = await kernelFor(boot, pull);
  const busyboxPath = await ensureBusybox(pull);
  const terminal = kernel.cached === undefined ? "ttyS0" : "hvc0";
  const token = randomBytes(12).toString("hex");
  const initrd = buildInitramfs({
    busybox: await readFile(busyboxPath),
    modules:
      kernel.cached === undefined
        ? []
        : await readModules(kernel.cached, hasDisks ? [...MODULES, ...DISK_MODULES] : MODULES),
    command: boot.command.length === 0 ? undefined : boot.command,
    environment: boot.console && process.env["TERM"] !== undefined ? { TERM: process.env["TERM"] } : {},
    stdin,
    token,
    terminal,
    terminalSize:
      boot.console && process.stdout.isTTY ? { columns: process.stdout.columns, rows: process.stdout.rows } : undefined,
  });
  const commandLine = [COMMAND_LINE, boot.append].filter((words) => words !== "").join(" ");
  // Without a command, the init of a root disk takes over, and nobody reports.
  const handsOver = boot.command.length === 0 && /(^|\s)root=/.test(boot.append);
  return { kernel: kernel.file, initrd, commandLine, terminal, token: handsOver ? undefined : token };
}

/** A kernel whose modules are in the cache gets them, wherever its file came from; Mere's own needs none. Another one without modules must have its drivers built in; since nobody
 *  knows whether it has, its serial port is then the command's terminal. */
async function kernelFor(
  boot: OwnInit,
  pull: PullOptions,
): Promise<{ file: Uint8Array; cached: CachedKernel | undefined }> {
  if (typeof boot.kernel !== "object") {
    const cached = await ensureKernel(pull, boot.kernel);
    return { file: await cachedKernelFile(cached), cached };
  }
  const { vmlinux } = readKernelImage(await readKernelFile(boot.kernel.file));
  const version = bannerVersion(vmlinux);
  return { file: vmlinux, cached: (await listKernels(pull)).find((kernel) => kernel.version === version) };
}

async function cachedKernelFile(kernel: CachedKernel): Promise<Uint8Array> {
  return readFile(vmlinuxPath(kernel)).catch((error: unknown) => {
    throw failure(
      `the cached kernel ${vmlinuxPath(kernel)} cannot be read; run 'mere kernel remove ${kernel.version}', then 'mere kernel ${kernel.name === "mere" ? "build" : "pull"}'`,
      error,
    );
  });
}

/** The version in a kernel's banner, "Linux version 6.1.0-13-cloud-amd64 (…": what uname -r says. @source Linux init/version.c */
export function bannerVersion(vmlinux: Uint8Array): string | undefined {
  const bytes = Buffer.from(vmlinux.buffer, vmlinux.byteOffset, vmlinux.byteLength);
  const mark = "Linux version ";
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
    const match = /^(\d[\w.+~-]*) /.exec(bytes.toString("latin1", at + mark.length, at + mark.length + 80));
    if (match !== null) return match[1];
  }
  return undefined;
}

async function commandInput(boot: OwnInit, signal: AbortSignal | undefined): Promise<CommandInput> {
  if (boot.console) return "terminal";
  if (!boot.stdin) return "none";
  // Reading has no end of its own while a user types: Ctrl-C ends it.
  signal?.addEventListener("abort", () => process.stdin.destroy(), { once: true });
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > LARGEST_STDIN)
      throw failure("standard input has more than 64 MiB; put it on a disk and give that with --disk");
  }
  return Buffer.concat(chunks);
}
