/* `mere image`: the images of the store: get, build, list and remove. What they are and where they come from: docs/images.md. */
import type { Command } from "commander";
import { Host } from "../host/host.ts";
import { type ImageConfig, type StoredImage, buildImage } from "../image/images.ts";
import type { ImageOptions } from "../image/store/options.ts";
import { ExitStatus, usageError } from "./cli-error.ts";
import { createProgress } from "./create-progress.ts";
import { formatBytes } from "./format.ts";
import { Interruption } from "./interruption.ts";
import { formatAge, printTable } from "./table.ts";
import { collectEnv, quote } from "./values.ts";

/** Enough of an id to tell images apart, as docker shows it. */
const ID_DIGITS = 12;

interface BuildValues {
  readonly entrypoint?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly workdir?: string;
  readonly user?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly expose?: readonly string[];
  readonly stopSignal?: string;
  readonly pull?: boolean;
}

/** Gives `mere image` its verbs. */
export function define(command: Command): void {
  command
    .command("pull")
    .argument("<image...>", "as nginx:1.27, host:5000/name@sha256:…, debian or debian:PACKAGE,PACKAGE")
    .description("get the newest version of images from their registry or from Debian; tells their ids")
    .addHelpText("after", REFERENCES_HELP)
    .action(async (references: readonly string[]) => {
      process.exitCode = await get(async (options, tell) => {
        for (const reference of references) tell(await new Host().images.pull(reference, options));
      });
    });
  defineList(command);
  command
    .command("remove")
    .argument("<image...>", "names, or ids as 'mere image list' tells them")
    .description("remove names, and images with their last name; by an id, the image with all names")
    .action(remove);
  command
    .command("import")
    .argument(
      "<archive>",
      "an OCI image layout or what 'docker save' writes: a file, a directory, or - for standard input",
    )
    .option("--name <name>", "the image's name, if there is one image in the archive (default: as the archive says)")
    .description("take the images of an archive; tells their ids")
    .action(async (archive: string, { name }: { name?: string }) => {
      process.exitCode = await get(async (options, tell) => {
        for (const image of await new Host().images.import(archive, {
          ...options,
          ...(name !== undefined && { name }),
        }))
          tell(image);
      });
    });
  defineBuild(command);
}

const REFERENCES_HELP = `
A name without a host is of the registry in MERE_REGISTRY, or in "registry" of ~/.config/mere/config.json. Credentials
are docker's. debian is made of Debian's packages with the host's apt, configured in a VM: that takes some minutes.`;

function defineList(command: Command): void {
  command
    .command("list")
    .option("-q, --quiet", "ids only")
    .option("--json", "everything that is known, as JSON")
    .description("list the images of the store, newest first")
    .action(async ({ quiet, json }: { quiet?: boolean; json?: boolean }) => {
      const images = await new Host().images.list();
      if (quiet === true && json !== true) return images.forEach(tell);
      printTable(json, ["NAME", "ID", "AGE", "SIZE"], images.flatMap(rows), images);
    });
}

function defineBuild(command: Command): void {
  command
    .command("build")
    .argument("<name>", "of the image to be")
    .argument("<from>", "an image: what differs from it is said by the options; got if the store does not have it")
    .argument("[command...]", "words that the image runs, after --")
    .option("--entrypoint <program>", "what runs, with the command as its arguments; empty: nothing before the command")
    .option("-e, --env <name=value>", "a variable of the environment (may be repeated)", collectEnv)
    .option("-w, --workdir <path>", "directory in which it runs", parseDirectory)
    .option("-u, --user <user>", "name[:group] or uid[:gid]")
    .option("--label <name=value>", "a label (may be repeated)", collectLabel)
    .option("--expose <port>", "port[/tcp|udp] that it serves (may be repeated)", collectPort)
    .option("--stop-signal <signal>", "what asks it to end, as SIGTERM")
    .option("--pull", "ask for a newer version of <from>")
    .description("make an image from another, or from Debian packages, under a name of your own; tells its id")
    .addHelpText("after", "\n  mere image build web debian:nginx --expose 80 -- nginx -g 'daemon off;'")
    .action(async (name: string, from: string, words: readonly string[], values: BuildValues) => {
      const changes = configChanges(words, values);
      process.exitCode = await get(async (options, tell) => {
        tell(await buildImage(name, from, changes, { ...options, pull: values.pull === true ? "always" : "missing" }));
      });
    });
}

/** What the options of `mere image build` change. */
export function configChanges(words: readonly string[], values: BuildValues): Partial<ImageConfig> {
  const { entrypoint, env, workdir, user, label, expose, stopSignal } = values;
  return {
    ...(entrypoint !== undefined && { entrypoint: entrypoint === "" ? [] : [entrypoint] }),
    ...(words.length > 0 && { cmd: words }),
    ...(env !== undefined && { env: Object.entries(env).map(([name, value]) => `${name}=${value}`) }),
    ...(workdir !== undefined && { workingDir: workdir }),
    ...(user !== undefined && { user }),
    ...(label !== undefined && { labels: label }),
    ...(expose !== undefined && { exposedPorts: expose }),
    ...(stopSignal !== undefined && { stopSignal }),
  };
}

function collectLabel(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const equals = text.indexOf("=");
  if (equals < 1) throw usageError(`--label ${quote(text)} has no name and value; write it as NAME=VALUE`);
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

function collectPort(text: string, before: readonly string[] = []): string[] {
  const [, port, protocol = "tcp"] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
  if (port === undefined || Number(port) < 1 || Number(port) > 65535)
    throw usageError(`--expose ${quote(text)} is no port; write a number from 1 to 65535, perhaps with /udp`);
  return [...before, `${Number(port)}/${protocol}`];
}

function parseDirectory(text: string): string {
  if (!text.startsWith("/")) throw usageError(`--workdir ${quote(text)} is no absolute path; begin it with /`);
  return text;
}

/** Does long work with progress on standard error. @returns the exit status */
async function get(
  work: (options: ImageOptions, tell: (image: StoredImage) => void) => Promise<void>,
): Promise<number> {
  const interruption = new Interruption();
  const progress = createProgress();
  const { signal } = interruption;
  try {
    await work(new Host().images.options({ onProgress: progress.onProgress, signal }), (image) => {
      progress.end();
      tell(image);
    });
    return ExitStatus.ok;
  } catch (error) {
    if (interruption.status !== undefined) return interruption.status;
    throw error;
  } finally {
    progress.end("not finished");
    interruption.end();
  }
}

function tell({ id }: StoredImage): void {
  process.stdout.write(`${id}\n`);
}

/** A row for each name. */
function rows({ id, names, createdAt, usedBytes }: StoredImage): string[][] {
  const rest = [id.slice("sha256:".length).slice(0, ID_DIGITS), formatAge(Date.now() - Date.parse(createdAt))];
  return (names.length === 0 ? ["-"] : names).map((name) => [name, ...rest, formatBytes(usedBytes)]);
}

/** All are tried; mistakes are said one a line. */
async function remove(references: readonly string[]): Promise<void> {
  const { images } = new Host();
  for (const reference of references) {
    try {
      const { names, removed } = await images.remove(reference);
      process.stdout.write(
        `${removed ? "removed" : "name removed"}: ${removed && names.length === 0 ? reference : names.join(", ")}\n`,
      );
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error)) throw error;
      process.stderr.write(`mere image remove: ${error.message}\n`);
      process.exitCode = ExitStatus.failure;
    }
  }
}
