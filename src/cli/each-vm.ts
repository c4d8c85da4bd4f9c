/* Verbs that do one thing to several VMs: all are tried; names of those that worked are printed, mistakes are said one a line. */
import { Host } from "../host/host.ts";
import type { Vm } from "../host/vm.ts";
import { ExitStatus } from "./cli-error.ts";

/** @param verb for messages: "stop" @returns the exit status */
export async function eachVm(
  verb: string,
  names: readonly string[],
  work: (vm: Vm) => Promise<unknown>,
): Promise<number> {
  const host = new Host();
  return eachName(verb, names, async (name) => work(await host.get(name)));
}

/** The same, for what can be done without the VM. */
export async function eachName(
  verb: string,
  names: readonly string[],
  work: (name: string) => Promise<unknown>,
): Promise<number> {
  const outcomes = await Promise.all(
    names.map(async (name) => {
      try {
        await work(name);
        process.stdout.write(`${name}\n`);
        return true;
      } catch (error) {
        if (!(error instanceof Error) || !("code" in error)) throw error;
        process.stderr.write(`mere ${verb}: ${error.message}\n`);
        return false;
      }
    }),
  );
  return outcomes.every(Boolean) ? ExitStatus.ok : ExitStatus.failure;
}
