/* `mere port`: where the ports of a VM are on the host. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import { usageError } from "./cli-error.ts";
import { printTable } from "./table.ts";
import { quote } from "./values.ts";

export function define(command: Command): void {
  command
    .argument("<vm>", "name or id")
    .argument("[port]", "of the guest, as 80 or 53/udp: tells only where this one is")
    .option("--json", "as JSON")
    .action(async (name: string, port: string | undefined, { json }: { json?: boolean }) => {
      const vm = await new Host().get(name);
      const { ports } = await vm.inspect();
      if (port === undefined) {
        const rows = ports.map((p) => [`${p.guestPort}/${p.protocol}`, hostSide(p)]);
        return printTable(json, ["GUEST", "HOST"], rows, ports);
      }
      const match = /^(\d+)(?:\/(tcp|udp))?$/.exec(port);
      if (match === null) throw usageError(`${quote(port)} is no port; write a number, or 53/udp`);
      const found = await vm.port(Number(match[1]), match[2] === "udp" ? "udp" : "tcp");
      process.stdout.write(json === true ? `${JSON.stringify(found, undefined, 2)}\n` : `${hostSide(found)}\n`);
    });
}

/** "127.0.0.1:8080", "[::1]:8080" */
export function hostSide({ hostAddress, hostPort }: { hostAddress: string; hostPort: number }): string {
  return `${hostAddress.includes(":") ? `[${hostAddress}]` : hostAddress}:${hostPort}`;
}
