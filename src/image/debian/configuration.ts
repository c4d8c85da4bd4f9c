/* Runs a configuration in a VM: its progress, and its end in a sentence. */
import { ImageError } from "../image-error.ts";
import { printable } from "../oci/http.ts";
import type { ConfigureHow, ConfigureInVm, ImageOptions } from "../store/options.ts";
import { ConfigureProgress } from "./configure-script.ts";
import { OTHERWISE } from "./recipe.ts";

/** Of a configuration that failed. */
const LAST_LINES = 12;
/** More than any configuration writes. */
const LONGEST_LOG = 1 << 20;

export interface Configuration extends Pick<ConfigureHow, "shared"> {
  /** Of configure-script.ts. */
  readonly script: string;
  /** How many it configures. */
  readonly packages: number;
}

/** @throws ImageError "configure-failed" */
export async function runConfiguration(
  disk: string,
  { script, packages, shared }: Configuration,
  configure: ConfigureInVm,
  { signal, onProgress }: ImageOptions,
): Promise<void> {
  const progress = new ConfigureProgress(packages, (done, total) => onProgress?.("configure", done, total));
  const { status, log } = await configure(disk, script, {
    signal,
    shared,
    onOutput: (text) => progress.push(text),
  });
  signal?.throwIfAborted();
  if (status === 0) return;
  const lines = log.slice(-LONGEST_LOG).trimEnd().split("\n").slice(-LAST_LINES);
  throw new ImageError(
    "configure-failed",
    `Debian's packages could not be configured (status ${status}); leave out a package that does not install, or ${OTHERWISE}. The last words were:\n${lines.map((line) => `  ${printable(line)}\n`).join("")}`.trimEnd(),
  );
}
