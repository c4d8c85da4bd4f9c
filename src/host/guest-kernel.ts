/* The kernel that a VM boots, and the modules that it needs of it. */
import { readKernelImage } from "../image/bzimage.ts";
import { KernelError } from "../image/kernel-error.ts";
import {
  type CachedKernel,
  type KernelModule,
  type KernelName,
  type PullOptions,
  ensureKernel,
  listKernels,
  readKernelFile,
  readModules,
  vmlinuxPath,
} from "../image/kernel.ts";
import { VmlinuxFile } from "../image/vmlinux-file.ts";

/** Kernel messages go to the serial port, which keeps the last of them for a crash; a panic reboots at once, which ends the VM. */
export const COMMAND_LINE = "console=ttyS0 quiet panic=-1";

/** The kernel to boot: a file of the user's, one of the cache by its name, or undefined: Mere's own if one was built, else Debian's. */
export type KernelChoice = { readonly file: string } | KernelName | undefined;

export interface GuestKernel {
  /** bzImage or vmlinux. */
  readonly file: Uint8Array | VmlinuxFile;
  /** Undefined: a file of the user's whose modules are not known; its drivers must be built in. */
  readonly cached: CachedKernel | undefined;
}

/** "mere" and "debian" are names, all else is a file (one of those names is ./mere or ./debian). */
export function kernelChoice(text: string | null): KernelChoice {
  if (text === null) return undefined;
  return text === "mere" || text === "debian" ? text : { file: text };
}

/** A kernel whose modules are in the cache gets them, wherever its file came from; Mere's own needs none. @throws KernelError, PackageError */
export async function readGuestKernel(choice: KernelChoice, pull: PullOptions): Promise<GuestKernel> {
  if (typeof choice !== "object") {
    const cached = await ensureKernel(pull, choice);
    return { file: openCachedKernel(cached), cached };
  }
  const { vmlinux } = readKernelImage(await readKernelFile(choice.file));
  const version = bannerVersion(vmlinux);
  return { file: vmlinux, cached: (await listKernels(pull)).find((kernel) => kernel.version === version) };
}

/** The modules named and what they need, in load order; none where they are not known. */
export async function guestModules({ cached }: GuestKernel, names: readonly string[]): Promise<KernelModule[]> {
  return cached === undefined ? [] : readModules(cached, names);
}

/** @throws KernelError "missing" */
export function openCachedKernel(kernel: CachedKernel): VmlinuxFile {
  try {
    return new VmlinuxFile(vmlinuxPath(kernel));
  } catch (error) {
    throw new KernelError(
      "missing",
      `The cached kernel ${vmlinuxPath(kernel)} cannot be read; run 'mere kernel remove ${kernel.version}', then 'mere kernel ${kernel.name === "mere" ? "build" : "pull"}'.`,
      { cause: error },
    );
  }
}

/** A file of the user's. @throws KernelError */
export async function openKernelFile(path: string): Promise<Uint8Array | VmlinuxFile> {
  try {
    return new VmlinuxFile(path);
  } catch {
    return readKernelFile(path); // no vmlinux, or none that can be opened: whoever reads it all says what is wrong
  }
}

/** Gives a file's memory back now: the guest has its own copy, and an idle process collects no garbage. */
export function release(bytes: Uint8Array | VmlinuxFile): void {
  if (bytes instanceof VmlinuxFile) return;
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0);
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
