/* What the functions of images (src/image/images.ts) take. Everything has a default but `configure`, which needs a VM and so comes from a layer above. */
import type { RootImage, RootImageOptions } from "../root/root-image.ts";

/** What is going on: asking the registry or apt, waiting for another process that gets the same image, downloading, unpacking into one tree, making the root
 *  disk, configuring in a VM.
 *  @param done,total bytes, steps or percent; total 0: not known */
export type ImageProgress = (phase: ImagePhase, done: number, total: number) => void;
export type ImagePhase = "resolve" | "lists" | "wait" | "download" | "unpack" | "build" | "configure";

/** Makes a root disk. */
export type BuildRoot = (options: RootImageOptions) => Promise<Pick<RootImage, "sizeBytes" | "usedBytes">>;

/** How a script is run in a VM. */
export interface ConfigureHow {
  readonly signal?: AbortSignal | undefined;
  readonly onOutput?: ((text: string) => void) | undefined;
  /** A directory of the host that the VM sees read-only at a path of its own. */
  readonly shared?: { readonly host: string; readonly guest: string } | undefined;
}

/** Runs a script of /bin/sh as root in a VM whose root disk is the raw ext4 file `disk`, which it writes to; ends when the disk is closed.
 *  The status is the script's, the log what it wrote. */
export type ConfigureInVm = (
  disk: string,
  script: string,
  how: ConfigureHow,
) => Promise<{ readonly status: number; readonly log: string }>;

/** Where the store and the downloads are. */
export interface StorePlaces {
  /** Default: $XDG_DATA_HOME/mere or ~/.local/share/mere; images are in its images/. */
  readonly dataDir?: string | undefined;
  /** Default: $XDG_CACHE_HOME/mere or ~/.cache/mere; downloads are in its downloads/. */
  readonly cacheDir?: string | undefined;
}

export interface ImageOptions extends StorePlaces {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ImageProgress | undefined;
  /** Default: buildRootImage. */
  readonly buildRoot?: BuildRoot | undefined;
  /** Needed for images from Debian packages that the store does not have. */
  readonly configure?: ConfigureInVm | undefined;
}

export interface EnsureOptions extends ImageOptions {
  /** When the registry, or apt, is asked: "missing" (default): if the store has no image of that name; "always": also for a newer one; "never". */
  readonly pull?: "missing" | "always" | "never" | undefined;
}
