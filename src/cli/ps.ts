/* `mere ps`: the VMs of this user. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import type { PortRecord, VmRecord } from "../host/vm-directory.ts";
import { hostSide } from "./port.ts";
import { formatAge, printTable } from "./table.ts";

interface PsValues {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function define(command: Command): void {
  command
    .option("-a, --all", "also those that have ended")
    .option("-q, --quiet", "ids only")
    .option("--json", "everything that is known, as JSON")
    .action(async ({ all, quiet, json }: PsValues) => {
      const host = new Host();
      const records = (await host.list()).filter((record) => all === true || record.status === "running");
      if (quiet === true && json !== true) process.stdout.write(records.map(({ id }) => `${id}\n`).join(""));
      else printTable(json, ["ID", "NAME", "IMAGE", "COMMAND", "STATUS", "PORTS"], records.map(row), records);
      for (const { message } of await host.damaged()) process.stderr.write(`mere ps: ${message}\n`);
    });
}

function row(record: VmRecord): string[] {
  const command = record.config.command?.join(" ") ?? "";
  const shown = command.length > 30 ? `${command.slice(0, 29)}…` : command;
  return [record.id, record.name, record.config.image, shown, statusOf(record), record.ports.map(portText).join(", ")];
}

/** "running 5 minutes", "exited (0) 2 hours ago". */
function statusOf(record: VmRecord): string {
  const since = (time: string | undefined): string => formatAge(Date.now() - Date.parse(time ?? record.createdAt));
  if (record.status === "running") return `running ${since(record.startedAt)}`;
  if (record.status === "starting") return `starting ${since(record.createdAt)}`;
  const code = record.exitCode === undefined ? "" : ` (${record.exitCode})`;
  return `${record.status}${code} ${since(record.endedAt)} ago`;
}

/** "127.0.0.1:8080->80/tcp" */
function portText(port: PortRecord): string {
  return `${hostSide(port)}->${port.guestPort}/${port.protocol}`;
}
