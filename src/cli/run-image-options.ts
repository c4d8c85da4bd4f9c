/* The options of `mere run IMAGE`: those of a VM that is made of an image. Nothing is started here. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { VmOptions } from "../host/vm-config.ts";
import { usageError } from "./cli-error.ts";
import type { RunValues } from "./run-options.ts";
import { collect, collectEnv, parseSeconds, quote } from "./values.ts";

/** Options as commander hands them over; none of them goes without an image. */
export interface ImageValues {
  readonly detach?: boolean;
  readonly name?: string;
  readonly rm?: boolean;
  readonly tty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly envFile?: Readonly<Record<string, string>>;
  readonly workdir?: string;
  readonly user?: string;
  readonly entrypoint?: string;
  readonly hostname?: string;
  readonly publish?: readonly string[];
  readonly volume?: readonly string[];
  readonly net?: string;
  readonly network?: string;
  readonly address?: string;
  readonly gateway?: string;
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  readonly dns?: readonly string[];
  readonly pull?: string;
  readonly timezone?: string;
  readonly sshKey?: readonly string[];
  readonly userData?: string;
  readonly init?: boolean;
  readonly timeout?: number;
}

/** What `mere run IMAGE` is asked to do. */
export interface RunImageOptions {
  readonly vm: VmOptions;
  readonly detach: boolean;
  readonly stats: boolean;
  readonly timeoutMs: number | undefined;
}

const PULL = ["missing", "always", "never"] as const;

/** Adds the options, in the order in which --help tells them. */
export function addImageOptions(command: Command): Command {
  return command
    .option("-d, --detach", "tell the VM's id once it runs, and let it go on")
    .option("--name <name>", "the VM's name")
    .option("--rm", "with -d: leave nothing when it ends")
    .option("-t, --tty", "give the command a terminal; Ctrl-] q leaves and stops the VM")
    .option(
      "-e, --env <name=value>",
      "a variable of the environment, or NAME for this one's (may be repeated)",
      collectEnv,
    )
    .option("--env-file <file>", "a file of NAME=value lines (may be repeated)", readEnvFile)
    .option("-w, --workdir <path>", "directory in the guest")
    .option("-u, --user <user>", "name[:group] or uid[:gid]")
    .option("--entrypoint <program>", "instead of the image's")
    .option("--hostname <name>", "the guest's name")
    .option("-p, --publish <port>", "[address:][hostPort:]guestPort[/udp], on 127.0.0.1 (may be repeated)", collect)
    .option("-v, --volume <directory>", "directory:/path[:ro]: a directory of this machine (may be repeated)", collect)
    .option("--net <mode>", "nat, none or tap=NAME (default: nat)")
    .option("--network <name>", "VMs that name the same network see each other")
    .option("--address <cidr>", "the VM's address on a TAP device, as 192.168.7.2/24")
    .option("--gateway <address>", "its gateway there")
    .option("--allow <range>", "let the VM reach CIDR[:port[-port]][/tcp|udp] or host:PORT (may be repeated)", collect)
    .option("--deny <range>", "do not let it (may be repeated)", collect)
    .option("--dns <address>", "DNS server instead of this machine's (may be repeated)", collect)
    .option("--pull <when>", "ask the registry: missing, always or never (default: missing)")
    .option("--timezone <name>", "such as Europe/Zurich")
    .option("--ssh-key <file>", "public key for root (may be repeated)", readKeys)
    .option("--user-data <file>", "cloud-init's user data, for images that have it", readText)
    .option(
      "--init",
      "start the image's own init as well; with -d and without a command the VM goes on until that ends it",
    )
    .option("--timeout <seconds>", "stop the VM after so long", (text) => parseSeconds("--timeout", text));
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw usageError(`${quote(path)} cannot be read (${(error as NodeJS.ErrnoException).code ?? "?"}); check the path`);
  }
}
function readKeys(path: string, before: readonly string[] = []): string[] {
  const keys = readText(path)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.some((key) => key.includes("PRIVATE KEY")))
    throw usageError(`${quote(path)} holds a private key; give the public one, which ends in .pub`);
  return [...before, ...keys];
}
/** Lines of NAME=value or NAME; empty ones and those that begin with "#" are not. */
function readEnvFile(path: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const lines = readText(path).split("\n");
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .reduce<Record<string, string>>((env, line) => collectEnv(line, env), { ...before });
}

/** Names of the options that were given and go with an image only, as they are written: "--publish". */
export function imageOptionsGiven(values: ImageValues): string[] {
  const { detach, name, rm, tty, env, envFile, workdir, user, entrypoint, hostname, publish, volume } = values;
  const { net, network, address, gateway, allow, deny, dns, pull, timezone, sshKey, userData, init, timeout } = values;
  const first = { detach, name, rm, tty, env, envFile, workdir, user, entrypoint, hostname, publish, volume };
  const second = { net, network, address, gateway, allow, deny, dns, pull, timezone, sshKey, userData, init, timeout };
  return Object.entries({ ...first, ...second })
    .filter(([, value]) => value !== undefined)
    .map(([option]) => `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
}

/** Puts the options together. @param words image and command, perhaps with "--" between @throws CliError (usage) */
export function resolveImageOptions(values: RunValues & ImageValues, words: readonly string[]): RunImageOptions {
  const [image, ...rest] = words;
  const command = rest[0] === "--" ? rest.slice(1) : rest;
  const detach = values.detach ?? false;
  if (detach && (values.tty === true || values.stdin === true))
    throw usageError(
      "with --detach nobody is there to type; leave out -i and -t, and use 'mere exec -it' or 'mere shell' later",
    );
  if (detach && (values.timeout !== undefined || values.stats === true))
    throw usageError(
      "with --detach nobody waits for the end; leave out --timeout and --stats, and use 'mere stop' or 'mere stats' later",
    );
  if (values.rm === true && !detach) throw usageError("a VM without --detach always leaves nothing; leave out --rm");
  if (values.append !== undefined) throw usageError("--append goes without an image only; leave out one of the two");
  const pull = values.pull ?? "missing";
  if (!isPull(pull)) throw usageError(`--pull ${quote(pull)} is none of missing, always and never`);
  if (values.tty === true && values.stdin === true && !process.stdin.isTTY)
    throw usageError("standard input is no terminal; leave out -t");
  // The init is what such a VM is for: it ends with it, not with an image's shell that nobody types into.
  const isInits = detach && values.init === true && command.length === 0 && values.entrypoint === undefined;
  return {
    vm: {
      ...machineOptions(values),
      ...processOptions(values),
      ...guestOptions(values),
      image,
      ...(!isInits && { command }),
      pull,
    },
    detach,
    stats: values.stats ?? false,
    timeoutMs: values.timeout === undefined ? undefined : values.timeout * 1000,
  };
}
function isPull(text: string): text is (typeof PULL)[number] {
  return (PULL as readonly string[]).includes(text);
}

function machineOptions(values: RunValues & ImageValues): VmOptions {
  const { kernel } = values;
  return {
    cpus: values.cpus,
    ...(values.name !== undefined && { name: values.name }),
    ...(values.memory !== undefined && { memory: values.memory }),
    ...(values.codeCache !== undefined && { codeCache: values.codeCache }),
    ...(values.keptCode !== undefined && { keptCode: values.keptCode }),
    ...(values.translator !== undefined && { translator: values.translator }),
    ...(kernel !== undefined && { kernel: typeof kernel === "object" ? kernel.file : kernel }),
    network: {
      ...(values.net !== undefined && { mode: values.net as "nat" }),
      ...(values.network !== undefined && { name: values.network }),
      ...(values.address !== undefined && { address: values.address }),
      ...(values.gateway !== undefined && { gateway: values.gateway }),
      allow: values.allow ?? [],
      deny: values.deny ?? [],
      dns: values.dns ?? [],
    },
    ports: values.publish ?? [],
    volumes: values.volume ?? [],
    disks: values.disk ?? [],
    ephemeral: values.detach !== true || values.rm === true,
    // In the foreground its output goes where the user looks.
    logs: values.detach === true,
  };
}
function processOptions(values: RunValues & ImageValues): VmOptions {
  return {
    tty: values.tty ?? false,
    stdin: values.stdin ?? false,
    env: { ...values.envFile, ...values.env },
    ...(values.user !== undefined && { user: values.user }),
    ...(values.workdir !== undefined && { workingDirectory: values.workdir }),
    ...(values.entrypoint !== undefined && { entrypoint: values.entrypoint === "" ? [] : [values.entrypoint] }),
  };
}
function guestOptions(values: ImageValues): VmOptions {
  return {
    ...(values.hostname !== undefined && { hostname: values.hostname }),
    ...(values.timezone !== undefined && { timezone: values.timezone }),
    sshKeys: values.sshKey ?? [],
    ...(values.userData !== undefined && { cloudInit: { userData: values.userData } }),
    init: values.init ?? false,
  };
}
