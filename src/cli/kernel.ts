/* `mere kernel pull` and `mere kernel list`: the guest kernels in Mere's cache. */
import type { Command } from "commander";
import { listKernels, pullKernel, vmlinuxPath } from "../image/kernel.ts";
import { Interruption } from "./interruption.ts";
import { pullProgress } from "./pull-progress.ts";

/** Gives `mere kernel` its verbs. */
export function define(command: Command): void {
  command
    .command("pull")
    .description("get Debian's newest cloud kernel, unless the cache has it; tells its version")
    .action(async () => {
      process.exitCode = await pull();
    });
  command
    .command("list")
    .description("list the kernels in the cache, newest first: version, Debian package version, file")
    .action(async () => {
      process.stdout.write(await list());
    });
}

async function pull(): Promise<number> {
  const interruption = new Interruption();
  const progress = pullProgress();
  try {
    const kernel = await pullKernel({ onProgress: progress.onProgress, signal: interruption.signal });
    progress.end();
    process.stdout.write(`${kernel.version}\n`);
    return 0;
  } catch (error) {
    if (interruption.status !== undefined) return interruption.status;
    throw error;
  } finally {
    progress.end();
    interruption.end();
  }
}

async function list(): Promise<string> {
  const kernels = await listKernels();
  return kernels.map((kernel) => `${kernel.version}\t${kernel.packageVersion}\t${vmlinuxPath(kernel)}\n`).join("");
}
