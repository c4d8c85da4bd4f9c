/* What a VM of `mere run` boots: kernel, initramfs and command line, from the user's files or from Mere's cache. */
import { readFile } from "node:fs/promises";
import { randomBytes } from "../device/random.ts";
import { COMMAND_LINE, guestModules, openCachedKernel, openKernelFile, readGuestKernel } from "../host/guest-kernel.ts";
import { type CommandInput, LARGEST_STDIN, buildInitramfs } from "../image/initramfs.ts";
import { type PullOptions, ensureBusybox, ensureKernel } from "../image/kernel.ts";
import type { VmlinuxFile } from "../image/vmlinux-file.ts";
import { failure } from "./cli-error.ts";
import type { Exact, OwnInit } from "./run-options.ts";

/** Drivers of Mere's devices. Each module that the init loads costs guest time before the command runs, so disks' come only with disks. */
const MODULES = ["virtio_mmio", "virtio_console", "virtio_rng"];
/** … and the file system that Debian's disks have. */
const DISK_MODULES = ["virtio_blk", "ext4"];

export interface GuestFiles {
  readonly kernel: Uint8Array | VmlinuxFile;
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
      ? await openKernelFile(boot.kernel.file)
      : openCachedKernel(await ensureKernel(pull, boot.kernel));
  const initrd = await readFile(boot.initrd).catch((error: unknown) => {
    throw failure(`the initramfs ${JSON.stringify(boot.initrd)} cannot be read; check the file`, error);
  });
  return { kernel, initrd, commandLine: boot.append, terminal: "ttyS0", token: undefined };
}

/** Mere's init with the command. @throws KernelError, CliError (failure), PackageError */
export async function ownInitGuest(boot: OwnInit, hasDisks: boolean, pull: PullOptions): Promise<GuestFiles> {
  const stdin = await commandInput(boot, pull.signal);
  // Another kernel without modules must have its drivers built in; since nobody knows whether it has, its serial port is then the command's terminal.
  const kernel = await readGuestKernel(boot.kernel, pull);
  const busyboxPath = await ensureBusybox(pull);
  const terminal = kernel.cached === undefined ? "ttyS0" : "hvc0";
  const token = randomBytes(12).toHex();
  const initrd = buildInitramfs({
    busybox: await readFile(busyboxPath),
    modules: await guestModules(kernel, hasDisks ? [...MODULES, ...DISK_MODULES] : MODULES),
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
