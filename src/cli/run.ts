/* `mere run`: which of its ways is meant, an image's VM (run-image.ts) or a bare machine (run-machine.ts). What runs VMs is loaded only once the options are
 * known to be right. */
import { setTimeout } from "node:timers/promises";
import type { Command } from "commander";
import { usageError } from "./cli-error.ts";
import { type ImageValues, addImageOptions, imageOptionsGiven, resolveImageOptions } from "./run-image-options.ts";
import { prepareExecutor } from "../vm/executor-threads.ts";
import { type RunValues, addRunOptions, resolveRunOptions } from "./run-options.ts";

/** A thread of V8's JavaScript compilers that needs a collection while the process ends waits for ever, and the process with it (V8 14.6). Where a mistake
 *  ends a run that has just begun, those that are at work get the time to finish. */
const SETTLE_MS = 40;

/** Gives `mere run` its options and action. */
export function define(command: Command): void {
  addImageOptions(addRunOptions(command)).action(async (words: string[], values: RunValues & ImageValues) => {
    const work = isImageRun(command, words, values) ? imageRun(words, values) : machineRun(words, values);
    try {
      process.exitCode = await (await work)();
    } catch (error) {
      await setTimeout(SETTLE_MS);
      throw error;
    }
  });
}

/** The first word is an image, unless all words are behind "--", or options say what to boot. */
export function isImageRun(command: Command, words: readonly string[], values: RunValues): boolean {
  if (words.length === 0 || values.initrd !== undefined || values.console === true) return false;
  // Commander drops the "--"; what it was given is told, but not typed.
  const { rawArgs } = (command.parent ?? command) as Command & { readonly rawArgs: readonly string[] };
  return rawArgs.at(-words.length - 1) !== "--";
}

/** Options are looked at before anything is loaded that runs VMs. */
async function imageRun(words: readonly string[], values: RunValues & ImageValues): Promise<() => Promise<number>> {
  const options = resolveImageOptions(values, words);
  if (!options.detach) prepareExecutor();
  const { runImage } = await import("./run-image.ts");
  return () => runImage(options);
}
async function machineRun(words: readonly string[], values: RunValues & ImageValues): Promise<() => Promise<number>> {
  const [without] = imageOptionsGiven(values);
  if (without !== undefined)
    throw usageError(
      `${without} goes with an image, as in 'mere run ${without} … debian -- uname -a'; name one or leave it out`,
    );
  const options = resolveRunOptions(values, words);
  prepareExecutor();
  const [{ runMachine }, { createMachine }] = await Promise.all([
    import("./run-machine.ts"),
    import("../vm/machine.ts"),
  ]);
  return () => runMachine(options, createMachine);
}
