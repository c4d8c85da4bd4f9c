/* `mere kill`: ends VMs at once, or sends a signal to their main processes. */
import type { Command } from "commander";
import { eachVm } from "./each-vm.ts";
import { parseSignal } from "./values.ts";

export function define(command: Command): void {
  command
    .argument("<vm...>", "names or ids")
    .option("-s, --signal <signal>", "send this signal to the main process instead, such as HUP", (text) =>
      parseSignal("--signal", text),
    )
    .action(async (names: readonly string[], { signal }: { signal?: string }) => {
      process.exitCode = await eachVm("kill", names, (vm) => (signal === undefined ? vm.kill() : vm.signal(signal)));
    });
}
