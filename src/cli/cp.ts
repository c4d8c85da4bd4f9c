/* `mere cp`: copies files and directories between this machine and VMs. */
import { stat } from "node:fs/promises";
import { join, posix } from "node:path";
import type { Command } from "commander";
import { AgentError } from "../agent/agent-error.ts";
import type { CopyCounts } from "../agent/copy-in.ts";
import { Host } from "../host/host.ts";
import type { Vm } from "../host/vm.ts";
import { usageError } from "./cli-error.ts";
import { formatBytes } from "./format.ts";
import { Interruption } from "./interruption.ts";
import { Progress } from "./progress.ts";
import { quote } from "./values.ts";

/** One side of a copy. */
export type Place = { readonly vm: string; readonly path: string } | { readonly vm: undefined; readonly path: string };

export function define(command: Command): void {
  command
    .argument("<from>", "a path here, or VM:/path")
    .argument("<to>", "the other")
    .option("-a, --archive", "keep owners (as numbers) when copying in; they are root's otherwise")
    .addHelpText("after", HELP)
    .action(async (from: string, to: string, { archive }: { archive?: boolean }) => {
      process.exitCode = await copy(parsePlace(from), parsePlace(to), archive ?? false);
    });
}

const HELP = `
A file or directory is copied into a directory that is there, and to the name given otherwise.

Examples:
  mere cp site web:/var/www
  mere cp web:/etc/hosts .`;

/** "VM:path" is in a VM, "./a:b" and "/a:b" are here. @throws CliError (usage) */
export function parsePlace(text: string): Place {
  const match = /^([a-zA-Z0-9][a-zA-Z0-9_.-]*):(.*)$/s.exec(text);
  if (match === null) {
    if (text === "") throw usageError("a path is empty; write a path here, or VM:/path");
    return { vm: undefined, path: text };
  }
  const [, vm, path] = match;
  if (!path.startsWith("/"))
    throw usageError(
      `${quote(text)} is no place in a VM; write ${vm}:/path from the guest's root on, or ./${text} for a file here`,
    );
  return { vm, path };
}

async function copy(from: Place, to: Place, archive: boolean): Promise<number> {
  if ((from.vm === undefined) === (to.vm === undefined))
    throw usageError(
      "one side is a VM's and the other is here, as in 'mere cp file web:/tmp'; copy from VM to VM in two steps",
    );
  const interruption = new Interruption();
  const progress = new Progress(process.stderr);
  const onProgress = (counts: Readonly<CopyCounts>): void =>
    progress.update(`Copying, ${counts.files} files, ${formatBytes(counts.bytes)}`, 0, 0);
  const options = { signal: interruption.signal, ...(process.stderr.isTTY && { onProgress }) };
  try {
    const host = new Host();
    const counts =
      to.vm !== undefined
        ? await copyIn(await host.get(to.vm), from.path, to.path, {
            ...options,
            ...(archive && { owner: "keep" as const }),
          })
        : await copyOut(await host.get(from.vm!), from.path, to.path, options);
    if (counts.skipped > 0)
      process.stderr.write(`mere cp: ${counts.skipped} devices, sockets or pipes were left out\n`);
    return 0;
  } catch (error) {
    if (interruption.status !== undefined) return interruption.status;
    throw error;
  } finally {
    progress.end();
    interruption.end();
  }
}

async function copyIn(
  vm: Vm,
  from: string,
  to: string,
  options: Parameters<Vm["files"]["copyIn"]>[2],
): Promise<CopyCounts> {
  const isDirectory = await vm.files.stat(to).then(
    ({ kind }) => kind === "directory",
    (error: unknown) => {
      if (error instanceof AgentError && error.code === "not-found") return false;
      throw error;
    },
  );
  const name = nameOf(from);
  return vm.files.copyIn(from, isDirectory && name !== undefined ? posix.join(to, name) : to, options);
}
async function copyOut(
  vm: Vm,
  from: string,
  to: string,
  options: Parameters<Vm["files"]["copyOut"]>[2],
): Promise<CopyCounts> {
  const isDirectory = await stat(to).then(
    (there) => there.isDirectory(),
    () => false,
  );
  const name = nameOf(from);
  return vm.files.copyOut(from, isDirectory && name !== undefined ? join(to, name) : to, options);
}

/** What a path is called in the directory that it is copied into; undefined: it has no name of its own (`.`, `..`, `/`), what is in it is copied. */
export function nameOf(path: string): string | undefined {
  const name = posix.basename(path);
  return name === "" || name === "." || name === ".." ? undefined : name;
}
