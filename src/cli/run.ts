/* `mere run`: its options here; what it does is in run-machine.ts, which is loaded only once they are known to be right. */
import { setTimeout } from "node:timers/promises";
import type { Command } from "commander";
import { type RunValues, addRunOptions, resolveRunOptions } from "./run-options.ts";

/** A thread of V8's JavaScript compilers that needs a collection while the process ends waits for ever, and the process with it (V8 14.6). Where a mistake
 *  ends a run that has just begun, those that are at work get the time to finish. */
const SETTLE_MS = 40;

/** Gives `mere run` its options and action. */
export function define(command: Command): void {
  addRunOptions(command).action(async (words: string[], values: RunValues) => {
    const options = resolveRunOptions(values, words);
    const [{ runMachine }, { createMachine }] = await Promise.all([
      import("./run-machine.ts"),
      import("../vm/machine.ts"),
    ]);
    try {
      process.exitCode = await runMachine(options, createMachine);
    } catch (error) {
      await setTimeout(SETTLE_MS);
      throw error;
    }
  });
}
