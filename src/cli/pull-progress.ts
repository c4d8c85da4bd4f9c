/* What a pull of Debian packages is doing, as the user sees it. */
import type { PullProgress } from "../image/apt.ts";
import { Progress } from "./progress.ts";

const LABELS = {
  lists: "Reading Debian's package lists",
  download: "Downloading from Debian",
  unpack: "Unpacking",
} as const;

/** Progress of pulls on standard error. Call end when all pulls are over, however they ended. */
export function pullProgress(): { onProgress: PullProgress; end: () => void } {
  const progress = new Progress(process.stderr);
  return {
    onProgress: (phase, done, total) => progress.update(LABELS[phase], done, total),
    end: () => progress.end(),
  };
}
