/* What the main process of a VM is: the image's configuration and the user's wishes put together. @source OCI image-spec config.md */
import { HostError } from "./host-error.ts";
import type { VmConfig } from "./vm-config.ts";

/** What is used of an image's configuration. */
export interface ImageDefaults {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** "NAME=value" */
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
}

/** What programs that are started in the VM get, unless they say otherwise. */
export interface ProcessDefaults {
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDirectory: string;
}

/** What a process has where neither image nor user say it. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function processDefaults(config: VmConfig, image: ImageDefaults): ProcessDefaults {
  const env: Record<string, string> = { PATH };
  for (const entry of image.env) {
    const at = entry.indexOf("=");
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  return {
    env: { ...env, ...config.env },
    user: config.user ?? image.user,
    workingDirectory: config.workingDirectory ?? (image.workingDir === "" ? "/" : image.workingDir),
  };
}

/** The words of the main process; undefined if there is none. As docker has it: another entrypoint makes the image's command void.
 *  @throws HostError "bad-option" if neither says what to run */
export function mainCommand(config: VmConfig, image: ImageDefaults): readonly string[] | undefined {
  if (config.command === null) return undefined;
  const entrypoint = config.entrypoint ?? image.entrypoint;
  const inherited = config.entrypoint === null ? image.cmd : [];
  const words = [...entrypoint, ...(config.command.length > 0 ? config.command : inherited)];
  if (words.length > 0) return words;
  throw new HostError("bad-option", `The image ${config.image} has no command of its own; say what to run.`);
}
