/* `mere kernel`: the guest kernels in Mere's cache: pull Debian's, build Mere's own, list and remove. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { buildKernel } from "../image/kernel-build/build.ts";
import { type CachedKernel, listKernels, pullKernel, removeKernel, vmlinuxPath } from "../image/kernel.ts";
import { Interruption } from "./interruption.ts";
import { type ProgressListener, pullProgress } from "./pull-progress.ts";
import { parseCount } from "./values.ts";

/** make takes more, but no machine has them. */
const MOST_JOBS = 1024;

/** Gives `mere kernel` its verbs. */
export function define(command: Command): void {
  command
    .command("pull")
    .description("get Debian's newest cloud kernel, unless the cache has it; tells its version")
    .action(async () => {
      process.exitCode = await get((options) => pullKernel(options));
    });
  command
    .command("build")
    .description("build Mere's own kernel from Debian's linux-source, unless the cache has it; tells its version")
    .option(
      "--jobs <count>",
      "compilers at a time",
      (text) => parseCount("--jobs", text, "compilers", 1, MOST_JOBS),
      availableParallelism(),
    )
    .addHelpText("after", BUILD_HELP)
    .action(async ({ jobs }: { jobs: number }) => {
      process.exitCode = await get((options) => buildKernel({ ...options, jobs }));
    });
  command
    .command("list")
    .description("list the kernels in the cache, newest first: version, Debian package version, file")
    .action(async () => {
      process.stdout.write(await list());
    });
  command
    .command("remove")
    .argument("<version>", "as 'mere kernel list' tells it")
    .description("remove a kernel from the cache")
    .action(async (version: string) => removeKernel(version));
}

const BUILD_HELP = `
It takes some minutes, 1.5 GB of the disk for that time, and Debian's packages gcc, make, flex, bison, bc,
libelf-dev and xz-utils. 'mere run' then boots it; 'mere run --kernel debian' boots Debian's.`;

/** Gets a kernel with progress on standard error, and tells its version. */
async function get(
  work: (options: { onProgress: ProgressListener; signal: AbortSignal }) => Promise<CachedKernel>,
): Promise<number> {
  const interruption = new Interruption();
  const progress = pullProgress();
  try {
    const kernel = await work({ onProgress: progress.onProgress, signal: interruption.signal });
    progress.end();
    process.stdout.write(`${kernel.version}\n`);
    return 0;
  } catch (error) {
    if (interruption.status !== undefined) return interruption.status;
    throw error;
  } finally {
    progress.end("not finished");
    interruption.end();
  }
}

async function list(): Promise<string> {
  const kernels = await listKernels();
  return kernels.map((kernel) => `${kernel.version}\t${kernel.packageVersion}\t${vmlinuxPath(kernel)}\n`).join("");
}
