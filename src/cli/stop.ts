/* `mere stop`: ends VMs in order. */
import type { Command } from "commander";
import { eachVm } from "./each-vm.ts";
import { parseSeconds } from "./values.ts";

const DEFAULT_SECONDS = 10;

export function define(command: Command): void {
  command
    .argument("<vm...>", "names or ids")
    .option(
      "-t, --time <seconds>",
      "how long the main process has before the VM is stopped where it is",
      (text) => parseSeconds("--time", text),
      DEFAULT_SECONDS,
    )
    .action(async (names: readonly string[], { time }: { time: number }) => {
      process.exitCode = await eachVm("stop", names, (vm) => vm.stop({ timeoutMs: time * 1000 }));
    });
}
