/* `mere stats`: what VMs use. */
import { setTimeout } from "node:timers/promises";
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import type { VmMetrics } from "../host/metrics.ts";
import type { Vm } from "../host/vm.ts";
import { formatBytes } from "./format.ts";
import { Interruption } from "./interruption.ts";
import { printTable, renderTable } from "./table.ts";

/** Processor use is what happened between two looks. */
const BETWEEN_MS = 500;
const REDRAW_MS = 1000;
const HEAD = ["NAME", "CPU", "MEMORY", "LIMIT", "NET IN", "NET OUT", "UPTIME"];

interface Sample {
  readonly name: string;
  readonly id: string;
  readonly metrics: VmMetrics;
  /** 1 is one core of the host. */
  readonly cores: number;
}

export function define(command: Command): void {
  command
    .argument("[vm...]", "names or ids; all that run if there are none")
    .option("--watch", "go on, once a second, until Ctrl-C")
    .option("--json", "as JSON")
    .action(async (names: readonly string[], { watch, json }: { watch?: boolean; json?: boolean }) => {
      const vms = await chosen(names);
      // Those that were named are to run.
      if (names.length > 0) await Promise.all(vms.map((vm) => vm.metrics()));
      if (watch !== true) {
        const samples = await look(vms, BETWEEN_MS);
        return printTable(json, HEAD, samples.map(row), samples);
      }
      const interruption = new Interruption();
      while (!interruption.signal.aborted) {
        const samples = await look(vms, REDRAW_MS);
        if (json === true) process.stdout.write(`${JSON.stringify(samples)}\n`);
        else
          process.stdout.write(
            `${process.stdout.isTTY ? "\u001b[H\u001b[2J" : ""}${renderTable(HEAD, samples.map(row))}`,
          );
        if (samples.length === 0) break;
      }
      process.exitCode = interruption.status ?? 0;
      interruption.end();
    });
}

async function chosen(names: readonly string[]): Promise<Vm[]> {
  const host = new Host();
  const running = names.length > 0 ? names : (await host.list()).filter((r) => r.status === "running").map((r) => r.id);
  return Promise.all(running.map((name) => host.get(name)));
}

async function look(vms: readonly Vm[], betweenMs: number): Promise<Sample[]> {
  const samples = vms.map(async (vm) => {
    const before = await vm.metrics();
    await setTimeout(betweenMs);
    const metrics = await vm.metrics();
    const cores = (metrics.cpuSeconds - before.cpuSeconds) / (metrics.uptimeSeconds - before.uptimeSeconds);
    return { name: vm.name, id: vm.id, metrics, cores };
  });
  // One that ends meanwhile is not shown.
  return (await Promise.allSettled(samples)).flatMap((sample) => (sample.status === "fulfilled" ? [sample.value] : []));
}

function row({ name, metrics, cores }: Sample): string[] {
  const { memory, network } = metrics;
  const bytes = [memory.usedBytes, memory.limitBytes, network.receivedBytes, network.sentBytes];
  return [name, `${(cores * 100).toFixed(1)}%`, ...bytes.map(formatBytes), `${Math.round(metrics.uptimeSeconds)} s`];
}
