/* `mere exec`: runs a program in a VM that runs. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import type { Vm } from "../host/vm.ts";
import { attachProcess, terminalSize } from "./attach-process.ts";
import { ExitStatus, usageError } from "./cli-error.ts";
import { onBrokenPipe, onEndSignals } from "./end-signals.ts";
import { Interruption } from "./interruption.ts";
import { startStatus } from "./start-status.ts";
import { collectEnv, parseSeconds } from "./values.ts";

export interface ExecValues {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly timeout?: number;
}

/** The options that exec and shell share. */
export function addProcessOptions(command: Command): Command {
  return command
    .option(
      "-e, --env <name=value>",
      "a variable of the environment, or NAME for this one's (may be repeated)",
      collectEnv,
    )
    .option("-u, --user <user>", "name[:group] or uid[:gid]")
    .option("-w, --workdir <path>", "directory in the guest");
}

export function define(command: Command): void {
  addProcessOptions(command)
    .argument("<vm>", "name or id")
    .argument("<command...>", "what to run in it")
    .passThroughOptions()
    .option("-i, --interactive", "give it this command's standard input")
    .option("-t, --tty", "give it a terminal; Ctrl-] q leaves and kills it")
    .option("--timeout <seconds>", "kill it after so long", (text) => parseSeconds("--timeout", text))
    .addHelpText("after", HELP)
    .action(async (name: string, words: readonly string[], values: ExecValues) => {
      if (values.tty === true && !process.stdin.isTTY && values.interactive === true)
        throw usageError("standard input is no terminal; leave out -t");
      const vm = await new Host().get(name);
      process.exitCode = await startStatus(() => runIn(vm, words[0] === "--" ? words.slice(1) : words, values));
    });
}

const HELP = `
Examples:
  mere exec web ps aux
  mere exec -it web bash
  echo "select 1" | mere exec -i db psql

Exit status: the program's; 126 or 127 if it cannot be started; 1 if the VM does not run.`;

/** Runs a program on this process's streams. @returns its exit status */
export async function runIn(vm: Vm, words: readonly string[], values: ExecValues): Promise<number> {
  const tty = values.tty ?? false;
  const program = await vm.start(words, {
    env: { ...(tty && process.env["TERM"] !== undefined && { TERM: process.env["TERM"] }), ...values.env },
    ...(values.user !== undefined && { user: values.user }),
    ...(values.workdir !== undefined && { workingDirectory: values.workdir }),
    ...(values.timeout !== undefined && { timeoutMs: values.timeout * 1000 }),
    ...(tty && { tty: terminalSize() }),
  });
  const interruption = new Interruption();
  const send = (signal: string): void => program.kill(signal);
  const kill = (): void => program.kill("SIGKILL");
  const undo = [onEndSignals(send, kill), onBrokenPipe(interruption, send, kill), () => interruption.end()];
  try {
    const leave = (): void => program.kill("SIGHUP");
    const { exitCode } = await attachProcess(program, { stdin: values.interactive ?? false, tty, leave });
    return interruption.status === ExitStatus.brokenPipe ? ExitStatus.brokenPipe : exitCode;
  } finally {
    undo.forEach((each) => each());
  }
}
