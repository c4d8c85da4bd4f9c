/* What a VM with the agent boots: its kernel, and an initramfs with the agent, modules of that kernel and what the agent is to do. */
import { readFile } from "node:fs/promises";
import { ensureAgent } from "../agent/build.ts";
import { AGENT_MODULES, type AgentConfig, buildAgentInitramfs } from "../agent/initramfs.ts";
import type { PullOptions } from "../image/cache.ts";
import type { VmlinuxFile } from "../image/vmlinux-file.ts";
import { COMMAND_LINE, type KernelChoice, guestModules, readGuestKernel } from "./guest-kernel.ts";

/** Of MachineConfig. The files are the caller's, to be released once the machine is made. */
export interface BootFiles {
  readonly kernel: Uint8Array | VmlinuxFile;
  readonly initrd: Uint8Array;
  readonly commandLine: string;
}

export interface BootOptions {
  readonly kernel?: KernelChoice;
  /** Names of modules that are loaded before the agent is ready, besides those that it needs itself. */
  readonly modules?: readonly string[];
  /** … and of those that no command waits for. */
  readonly laterModules?: readonly string[];
  readonly config: AgentConfig;
}

/** @throws KernelError, PackageError */
export async function bootFiles(options: BootOptions, pull: PullOptions): Promise<BootFiles> {
  const { modules = [], laterModules = [], config } = options;
  const kernel = await readGuestKernel(options.kernel, pull);
  const initrd = buildAgentInitramfs({
    agent: await readFile(await ensureAgent(pull)),
    modules: await guestModules(kernel, [...AGENT_MODULES, ...modules]),
    laterModules: await guestModules(kernel, laterModules),
    config,
  });
  return { kernel: kernel.file, initrd, commandLine: COMMAND_LINE };
}
