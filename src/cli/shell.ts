/* `mere shell`: a shell with a terminal in a VM that runs. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import { type ExecValues, addProcessOptions, runIn } from "./exec.ts";
import { startStatus } from "./start-status.ts";

/** bash where the image has it. */
const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash -l; exec sh -l"];

export function define(command: Command): void {
  addProcessOptions(command)
    .argument("<vm>", "name or id")
    .action(async (name: string, values: ExecValues) => {
      const vm = await new Host().get(name);
      process.exitCode = await startStatus(() =>
        runIn(vm, SHELL, { ...values, interactive: true, tty: process.stdin.isTTY === true }),
      );
    });
}
