/* What is done before a VM runs, as the user sees it. */
import type { CreateProgress } from "../host/host.ts";
import { Progress } from "./progress.ts";

const LABELS = {
  resolve: "Looking for the image",
  lists: "Reading Debian's package lists",
  wait: "Waiting for another mere that gets this image",
  download: "Downloading",
  unpack: "Unpacking",
  build: "Making the root disk",
  configure: "Configuring packages in a VM",
} as const;

/** Progress on standard error. Call end when all is over, however it ended. A boot takes as long as a look at it: it is not told. */
export function createProgress(): { onProgress: CreateProgress; end: (how?: string) => void } {
  const progress = new Progress(process.stderr);
  return {
    onProgress: (phase, done, total) => {
      if (phase === "boot") progress.end();
      else progress.update(LABELS[phase], done, total);
    },
    end: (how) => progress.end(how),
  };
}
