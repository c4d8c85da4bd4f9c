/* `mere completion`: a script for bash, zsh or fish, made from the verbs' own options. Names of VMs are asked for while the user types. */
import { Command, type Option } from "commander";
import { usageError } from "./cli-error.ts";
import { VERBS } from "./main.ts";
import { quote } from "./values.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** Ids and names, a line each, in words that bash and fish take alike. */
const FIRST_COLUMNS = String.raw`2>/dev/null | sed 1d | tr -s " " | cut -d " " -f 1,2 | tr " " "\n"`;
const RUNNING = `mere ps ${FIRST_COLUMNS}`;
const ALL = `mere ps --all ${FIRST_COLUMNS}`;

/** Verbs whose first word is a VM's name, and which VMs. */
const TAKES_VM: Readonly<Record<string, string>> = {
  exec: RUNNING,
  shell: RUNNING,
  stop: RUNNING,
  kill: RUNNING,
  stats: RUNNING,
  port: RUNNING,
  logs: ALL,
  rm: ALL,
  inspect: ALL,
};

interface Words {
  readonly verb: string;
  readonly options: readonly string[];
  readonly verbs: readonly string[];
}

export function define(command: Command): void {
  command
    .argument("<shell>", SHELLS.join(", "))
    .addHelpText(
      "after",
      "\nFor bash: source <(mere completion bash)\nFor zsh:  source <(mere completion zsh)\nFor fish: mere completion fish | source",
    )
    .action(async (shell: string) => {
      const words = await Promise.all(Object.keys(VERBS).map(wordsOf));
      if (shell === "bash") process.stdout.write(bash(words));
      else if (shell === "zsh") process.stdout.write(`autoload -U +X bashcompinit && bashcompinit\n${bash(words)}`);
      else if (shell === "fish") process.stdout.write(fish(words));
      else throw usageError(`there is no completion for ${quote(shell)}; take ${SHELLS.join(", ")}`);
    });
}

async function wordsOf(verb: string): Promise<Words> {
  const command = new Command(verb);
  (await VERBS[verb].load()).define(command);
  return { verb, options: command.options.flatMap(flags), verbs: command.commands.map((sub) => sub.name()) };
}
function flags({ long, short }: Option): string[] {
  return [long, short].flatMap((flag) => flag ?? []);
}

function bash(words: readonly Words[]): string {
  const cases = words.map(({ verb, options, verbs }) => {
    const own = TAKES_VM[verb] === undefined ? "" : `$(${TAKES_VM[verb]})`;
    return `    ${verb}) words="${[...verbs, ...options, "--help"].join(" ")} ${own}" ;;`;
  });
  return `_mere() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${words.map(({ verb }) => verb).join(" ")} help" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _mere mere
`;
}

function fish(words: readonly Words[]): string {
  const lines = words.flatMap(({ verb, options, verbs }) => {
    const here = `complete -c mere -n '__fish_seen_subcommand_from ${verb}'`;
    const first = `complete -c mere -n __fish_use_subcommand -f -a ${verb} -d '${VERBS[verb].summary.replaceAll("'", "\\'")}'`;
    const long = options.filter((option) => option.startsWith("--")).map((option) => `${here} -l ${option.slice(2)}`);
    const own = TAKES_VM[verb] === undefined ? [] : [`${here} -f -a '(${TAKES_VM[verb]})'`];
    return [first, ...long, ...(verbs.length > 0 ? [`${here} -f -a '${verbs.join(" ")}'`] : []), ...own];
  });
  return `${lines.join("\n")}\n`;
}
