/* `mere rm`: removes what is left of VMs that have ended. */
import type { Command } from "commander";
import { HostError } from "../host/host-error.ts";
import { Host } from "../host/host.ts";
import { eachName } from "./each-vm.ts";

export function define(command: Command): void {
  command
    .argument("<vm...>", "names or ids")
    .option("-f, --force", "kill those that run")
    .action(async (names: readonly string[], { force = false }: { force?: boolean }) => {
      const host = new Host();
      process.exitCode = await eachName("rm", names, async (name) => {
        const vm = await host.get(name).catch((error: unknown) => {
          if (error instanceof HostError && error.code === "damaged") return undefined;
          throw error;
        });
        if (vm === undefined) return host.removeDamaged(name, { kill: force });
        const { status } = await vm.inspect();
        const runs = status === "running" || status === "starting";
        // Some leave nothing that could be removed.
        if (force && runs && (await vm.kill()).ephemeral) return;
        await vm.remove();
      });
    });
}
