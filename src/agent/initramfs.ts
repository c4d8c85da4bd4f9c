/* The initramfs of a VM that runs from a root disk: the agent as /init, the modules that it loads, and its configuration as lines of fields between tabs, which
 * guest/config.c reads. Not compressed: the kernel would spend guest cycles on it. Called once a VM, before boot. */
import { CpioWriter } from "../image/cpio.ts";
import type { KernelModule } from "../image/kernel.ts";

/** Where the root file system is, and how it is mounted. */
export interface AgentRoot {
  /** "/dev/vda" */
  readonly device: string;
  /** Default "ext4". */
  readonly fstype?: string;
  readonly readOnly?: boolean;
}

/** What the agent makes of the guest before it says that it is ready. */
export interface AgentConfig {
  readonly root: AgentRoot;
  readonly hostname?: string | undefined;
}

export interface AgentInitramfsOptions {
  /** The program (ensureAgent). */
  readonly agent: Uint8Array;
  /** Loaded before the root is mounted, in this order. */
  readonly modules: readonly KernelModule[];
  readonly config: AgentConfig;
}

/** Modules that the agent needs before it is ready. Those that a kernel has built in are passed over by readModules. */
export const AGENT_MODULES = ["virtio_mmio", "virtio_blk", "ext4", "vmw_vsock_virtio_transport"] as const;

/** Builds the archive. @throws RangeError when the configuration has something that cannot be told to the agent */
export function buildAgentInitramfs({ agent, modules, config }: AgentInitramfsOptions): Uint8Array {
  const cpio = new CpioWriter();
  for (const path of ["dev", "mere", "mere/modules", "mere/root"]) cpio.directory(path);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.file("init", agent, 0o755);
  for (const { name, data } of modules) cpio.file(`mere/modules/${name}.ko`, data);
  cpio.file("mere/config", configuration(config, modules), 0o600);
  return cpio.finish();
}

function configuration({ root, hostname }: AgentConfig, modules: readonly KernelModule[]): string {
  const lines: string[][] = modules.map(({ name }) => ["module", name]);
  lines.push(["root", root.device, root.fstype ?? "ext4", root.readOnly === true ? "ro" : "rw"]);
  if (hostname !== undefined) lines.push(["hostname", hostname]);
  return lines.map((fields) => `${fields.map(field).join("\t")}\n`).join("");
}

function field(text: string): string {
  if (/[\0\t\n]/.test(text))
    throw new RangeError(`${JSON.stringify(text)} cannot be told to a guest: it has a tab, a line end or a NUL.`);
  return text;
}
