/* The options of `mere run`: their names, texts and limits, and what they mean together. Nothing is started here. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { resolveDisk } from "../disk/store.ts";
import { MOST_CPUS } from "../host/vm-config.ts";
import type { KernelChoice } from "../host/guest-kernel.ts";
import { usageError } from "./cli-error.ts";
import { disksDirectory } from "../host/disks-directory.ts";
import { collect, parseCodeCache, parseCount, parseFile, parseMemory, quote } from "./values.ts";
import { CliError } from "./cli-error.ts";
import type { TranslatorKind } from "../vm/machine.ts";
import { nativeUnavailable } from "../vm/native-support.ts";

const DEFAULT_MEMORY = "512M";
const DEFAULT_CODE_CACHE = "256M";

/** What a valid command line of `mere run` asks for. */
export interface RunOptions {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly codeCacheBytes: number;
  readonly keptCode: boolean;
  readonly translator: TranslatorKind | undefined;
  /** In order: the first is /dev/vda. */
  readonly disks: readonly DiskOption[];
  readonly boot: OwnInit | Exact;
  readonly stats: boolean;
}

/** A raw disk image. */
export interface DiskOption {
  readonly path: string;
  readonly readOnly: boolean;
}

/** Mere's init runs one command and reports its exit status. */
export interface OwnInit {
  readonly kind: "own-init";
  readonly kernel: KernelChoice;
  /** Words added at the end of the kernel's command line. */
  readonly append: string;
  /** Empty: a shell, or with root=… in `append` the init of that disk. */
  readonly command: readonly string[];
  /** The command's terminal is the user's. */
  readonly console: boolean;
  /** The command reads mere's standard input, which is read to its end first. */
  readonly stdin: boolean;
}

/** A kernel, initramfs and command line of the user's own, with the serial port on standard input and output. */
export interface Exact {
  readonly kind: "exact";
  readonly kernel: KernelChoice;
  readonly initrd: string;
  readonly append: string;
  /** The user's terminal is raw. */
  readonly console: boolean;
}

/** Options as commander hands them over. */
export interface RunValues {
  readonly cpus: number;
  readonly memory?: number;
  readonly codeCache?: number;
  readonly keptCode?: boolean;
  readonly translator?: TranslatorKind;
  readonly kernel?: KernelChoice;
  readonly initrd?: string;
  readonly append?: string;
  /** As written: with an image they may be mounted. */
  readonly disk?: readonly string[];
  readonly console?: boolean;
  readonly stdin?: boolean;
  readonly stats?: boolean;
}

/** Adds options, argument and help text of `mere run`. */
export function addRunOptions(command: Command): Command {
  return command
    .argument(
      "[words...]",
      "an image and what to run in a VM of it, its own command if there is nothing; behind --, without an image",
    )
    .usage("[options] image [--] [command…]\n       mere run [options] -- command…")
    .passThroughOptions()
    .option("--cpus <count>", `virtual CPUs, 1 to ${MOST_CPUS}`, parseCpus, 1)
    .option("--memory <size>", `memory, such as 512M or 1G (default: ${DEFAULT_MEMORY})`, (text) =>
      parseMemory("--memory", text),
    )
    .option("--code-cache <size>", `memory for translated code, about (default: ${DEFAULT_CODE_CACHE})`, (text) =>
      parseCodeCache("--code-cache", text),
    )
    .option("--no-kept-code", "translate all code anew, and keep none of it for the next run")
    .option(
      "--translator <kind>",
      "what hot code becomes: native (default where this host can) or wasm",
      parseTranslator,
    )
    .option(
      "--kernel <file>",
      "bzImage or vmlinux to boot, or mere (default where 'mere kernel build' built it) or debian (else)",
      parseKernel,
    )
    .option(
      "--initrd <file>",
      "initramfs to boot instead of Mere's; the serial port is then on stdin and stdout",
      (path) => parseFile("--initrd", path),
    )
    .option("--append <words>", "kernel command line: all of it with --initrd, else added to Mere's")
    .option(
      "--disk <file>",
      "a disk of 'mere disk' or an image file, written to unless FILE,ro (may be repeated)",
      collect,
    )
    .option("--console", "attach this terminal (without a command: to a shell); Ctrl-] q leaves and stops the VM")
    .option(
      "-i, --stdin",
      "give standard input to the command (without an image, it is read to its end before the VM starts)",
    )
    .option("--stats", "tell on stderr what the VM cost: instructions, time, memory, exits")
    .addHelpText("after", HELP);
}

const HELP = `
Examples:
  mere run debian -- python3 -c 'print(6*7)'
  mere run -it debian bash
  mere run -d --name web -p 8080:80 nginx
  mere run -- uname -a
  mere run --memory 1G -- free -m
  mere run --console
  mere run --disk data.img -- mount /dev/vda /mnt
  mere run --kernel bzImage --initrd initrd.img --append "console=ttyS0"

Exit status: the command's; 1 if the VM or its set-up failed; 2 for a mistake on the command line;
130 after Ctrl-C, 143 after SIGTERM.`;

/** Puts the options together. @throws CliError (usage) where they contradict each other */
export function resolveRunOptions(values: RunValues, command: readonly string[]): RunOptions {
  const machine = {
    cpus: values.cpus,
    memoryBytes: values.memory ?? parseMemory("--memory", DEFAULT_MEMORY),
    codeCacheBytes: values.codeCache ?? parseCodeCache("--code-cache", DEFAULT_CODE_CACHE),
    keptCode: values.keptCode ?? true,
    translator: values.translator,
    disks: checkDisks(values.disk ?? []),
    stats: values.stats ?? false,
  };
  if (values.initrd !== undefined) return { ...machine, boot: exact(values, values.initrd, command) };
  const console = values.console ?? false;
  const stdin = values.stdin ?? false;
  if (console && stdin) throw usageError("--console already gives standard input to the command; leave out --stdin");
  if (command.length === 0 && !console) {
    throw usageError("there is nothing to run; give a command, as in 'mere run -- uname -a', or --console for a shell");
  }
  const boot: OwnInit = {
    kind: "own-init",
    kernel: values.kernel,
    append: values.append ?? "",
    command,
    console,
    stdin,
  };
  return { ...machine, boot };
}

function exact(values: RunValues, initrd: string, command: readonly string[]): Exact {
  if (command.length > 0) {
    throw usageError("--initrd brings its own init, so Mere cannot run a command; leave out the command or --initrd");
  }
  if (values.stdin === true) {
    throw usageError("--initrd already puts the serial port on standard input; leave out --stdin");
  }
  const console = values.console ?? false;
  return { kind: "exact", kernel: values.kernel, initrd, append: values.append ?? "console=ttyS0", console };
}

/** A file of one of the names is ./mere or ./debian. */
function parseKernel(text: string): KernelChoice {
  return text === "mere" || text === "debian" ? text : { file: parseFile("--kernel", text) };
}

function parseTranslator(text: string): TranslatorKind {
  if (text !== "native" && text !== "wasm")
    throw new CliError("usage", `--translator ${quote(text)} is neither native nor wasm.`);
  const reason = text === "native" ? nativeUnavailable() : undefined;
  if (reason !== undefined)
    throw new CliError("usage", `--translator native is not possible here, since ${reason}: leave it out.`);
  return text;
}

function parseCpus(text: string): number {
  return parseCount("--cpus", text, "CPUs", 1, MOST_CPUS);
}

/** @param texts disks' names or paths, perhaps with ",ro" */
function checkDisks(texts: readonly string[]): DiskOption[] {
  const disks: DiskOption[] = [];
  for (const text of texts) {
    const readOnly = text.endsWith(",ro");
    const named = resolveDisk(disksDirectory(), readOnly ? text.slice(0, -",ro".length) : text);
    const path = parseFile("--disk", named, !readOnly);
    const sharesWriter = disks.some((disk) => resolve(disk.path) === resolve(path) && !(disk.readOnly && readOnly));
    if (sharesWriter)
      throw usageError(`--disk ${quote(path)} is given twice; write to it once only, or add ,ro to both`);
    disks.push({ path, readOnly });
  }
  return disks;
}
