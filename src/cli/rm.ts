/* `mere rm`: removes what is left of VMs that have ended. */
import type { Command } from "commander";
import { eachVm } from "./each-vm.ts";

export function define(command: Command): void {
  command
    .argument("<vm...>", "names or ids")
    .option("-f, --force", "kill those that run")
    .action(async (names: readonly string[], { force }: { force?: boolean }) => {
      process.exitCode = await eachVm("rm", names, async (vm) => {
        const { status } = await vm.inspect();
        const runs = status === "running" || status === "starting";
        // Some leave nothing that could be removed.
        if (force === true && runs && (await vm.kill()).ephemeral) return;
        await vm.remove();
      });
    });
}
