/* `mere run`: its options here; what it does is in run-machine.ts, which is loaded only once they are known to be right. */
import type { Command } from "commander";
import { type RunValues, addRunOptions, resolveRunOptions } from "./run-options.ts";

/** Gives `mere run` its options and action. */
export function define(command: Command): void {
  addRunOptions(command).action(async (words: string[], values: RunValues) => {
    const options = resolveRunOptions(values, words);
    const [{ runMachine }, { createMachine }] = await Promise.all([
      import("./run-machine.ts"),
      import("../vm/machine.ts"),
    ]);
    process.exitCode = await runMachine(options, createMachine);
  });
}
