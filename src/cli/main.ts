/* The command line `mere`. This file knows the verbs' names and summaries; each verb is one file that is loaded only when it is called, so that
 * `mere version` does not pay for `mere run`. Started by bin/mere.js under a Node that is new enough. */
import { Command, CommanderError } from "commander";
import { CliError, ExitStatus } from "./cli-error.ts";

/** A verb's file. */
export interface VerbModule {
  /** Gives the command its options, arguments and action. The action sets process.exitCode or throws a CliError. */
  define(command: Command): void;
}

interface Verb {
  readonly summary: string;
  load(): Promise<VerbModule>;
}

/** In the order of --help. */
export const VERBS: Readonly<Record<string, Verb>> = {
  run: {
    summary: "start a VM, run a command in it, end with the command's exit status",
    load: () => import("./run.ts"),
  },
  exec: { summary: "run a program in a VM that runs", load: () => import("./exec.ts") },
  shell: { summary: "a shell in a VM that runs", load: () => import("./shell.ts") },
  cp: { summary: "copy files between this machine and a VM", load: () => import("./cp.ts") },
  ps: { summary: "list VMs", load: () => import("./ps.ts") },
  stop: { summary: "end VMs in order", load: () => import("./stop.ts") },
  kill: { summary: "end VMs at once, or send a signal", load: () => import("./kill.ts") },
  rm: { summary: "remove VMs that have ended", load: () => import("./rm.ts") },
  logs: { summary: "what a VM's command printed", load: () => import("./logs.ts") },
  stats: { summary: "what VMs use of this machine", load: () => import("./stats.ts") },
  inspect: { summary: "all that is known of VMs", load: () => import("./inspect.ts") },
  port: { summary: "where a VM's ports are on this machine", load: () => import("./port.ts") },
  commit: { summary: "make an image of what is on a VM's root disk", load: () => import("./commit.ts") },
  image: { summary: "get, build, list and remove images", load: () => import("./image.ts") },
  disk: { summary: "create, list and remove disks", load: () => import("./disk.ts") },
  kernel: { summary: "get, build, list and remove guest kernels", load: () => import("./kernel.ts") },
  completion: { summary: "print a script that completes words in a shell", load: () => import("./completion.ts") },
  version: { summary: "print Mere's version", load: () => import("./version.ts") },
};

/** Runs one command line and ends the process with its exit status. @param argv arguments without node and script */
export async function main(argv: readonly string[]): Promise<void> {
  const status = await runCommandLine(argv);
  // A thread must not be in the middle of its start when the process ends.
  if (argv[0] === "run") await (await import("../vm/executor-threads.ts")).discardPrepared();
  // The executors' threads may be blocked in a guest: nothing here waits for them.
  process.exit(status);
}

async function runCommandLine(argv: readonly string[]): Promise<number> {
  // A flag's only use here: `mere --version` is the verb.
  const words = argv[0] === "--version" || argv[0] === "-V" ? ["version"] : [...argv];
  const program = new Command("mere")
    .description("Mere runs real Linux virtual machines on any machine with Node: no KVM, no root, no native build.")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
    .option("--version", "print Mere's version")
    .helpCommand("help [verb]", "explain a verb");
  const commands = new Map<string, Command>();
  for (const [name, verb] of Object.entries(VERBS)) commands.set(name, program.command(name).description(verb.summary));
  if (words.length === 0) {
    process.stderr.write(program.helpInformation());
    return ExitStatus.usage;
  }
  try {
    const name = words[0] === "help" ? words[1] : words[0];
    const command = name === undefined ? undefined : commands.get(name);
    if (name !== undefined && command !== undefined) (await VERBS[name].load()).define(command);
    await program.parseAsync(words, { from: "user" });
    return Number(process.exitCode ?? ExitStatus.ok);
  } catch (error) {
    return explain(error, commandPath(words, commands));
  }
}

function explain(error: unknown, path: string): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return ExitStatus.ok;
    if (error.code === "commander.help") {
      process.stderr.write(`${path}: say what to do; see '${path} --help'.\n`);
      return ExitStatus.usage;
    }
    const sentence = commanderSentence(error.message);
    process.stderr.write(`${path}: ${sentence}${sentence.endsWith("?") ? " See" : "; see"} '${path} --help'.\n`);
    return ExitStatus.usage;
  }
  if (isForTheUser(error)) {
    // A sentence ends in a full stop; a report of several lines ends as it ends.
    const end = /[.?]$/.test(error.message) || error.message.includes("\n") ? "" : ".";
    process.stderr.write(`${path}: ${error.message}${end}\n`);
    return error instanceof CliError ? error.exitStatus : ExitStatus.failure;
  }
  process.stderr.write(`${path}: this is a defect of Mere; please report it with the lines below\n`);
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return ExitStatus.failure;
}

/** The areas' own errors (image, disk, machine) and the system's about files carry a code and a sentence. Node's ERR_… are mistakes of a program. */
function isForTheUser(error: unknown): error is Error {
  return error instanceof Error && "code" in error && !String(error.code).startsWith("ERR_");
}

/** Turns commander's message into one sentence without prefix, line breaks and final full stop. */
export function commanderSentence(message: string): string {
  const [first, hint] = message.replace(/^error: /, "").split("\n");
  const missing = /^option '.*?(--[\w-]+).*' argument missing$/.exec(first);
  const sentence =
    missing === null ? first.replace(/\.$/, "").replace(". Expected", ": expected") : `${missing[1]} needs a value`;
  const suggestion = /^\(Did you mean (?:one of )?(.*)\?\)$/.exec(hint ?? "");
  return suggestion === null ? sentence : `${sentence}; did you mean ${suggestion[1]}?`;
}

/** "mere kernel pull" for ["kernel", "pull", …]: what the user would type before --help. */
function commandPath(words: readonly string[], commands: ReadonlyMap<string, Command>): string {
  const command = commands.get(words[0]);
  if (command === undefined) return "mere";
  const sub = command.commands.find((candidate) => candidate.name() === words[1]);
  return ["mere", command.name(), ...(sub === undefined ? [] : [sub.name()])].join(" ");
}
