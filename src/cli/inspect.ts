/* `mere inspect`: all that is known of VMs, as JSON. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";

export function define(command: Command): void {
  command
    .argument("<vm...>", "names or ids")
    .option("--json", "as JSON, which it always is")
    .action(async (names: readonly string[]) => {
      const host = new Host();
      const records = [];
      for (const name of names) records.push(await (await host.get(name)).inspect());
      process.stdout.write(`${JSON.stringify(records, undefined, 2)}\n`);
    });
}
