/* What a pull of Debian packages, or a build from one, is doing, as the user sees it. */
import type { BuildProgress } from "../image/kernel-build/build.ts";
import { Progress } from "./progress.ts";

const LABELS = {
  lists: "Reading Debian's package lists",
  download: "Downloading from Debian",
  unpack: "Unpacking",
  configure: "Configuring the kernel",
  compile: "Compiling the kernel",
} as const;

/** A build's progress has all phases of a pull. */
export type ProgressListener = BuildProgress;

/** Progress of pulls and builds on standard error. Call end when all are over, however they ended. */
export function pullProgress(): { onProgress: ProgressListener; end: (how?: string) => void } {
  const progress = new Progress(process.stderr);
  return {
    onProgress: (phase, done, total) => progress.update(LABELS[phase], done, total),
    end: (how) => progress.end(how),
  };
}
