/* Signals by which a user ends a program, for programs that run in a VM: the first one is theirs, as if they ran here; who insists ends more than that. */
import { ExitStatus } from "./cli-error.ts";
import type { Interruption } from "./interruption.ts";

/** A terminal's Ctrl-C comes twice where another Node started this one: from the terminal, and from that process, which passes on what it gets. */
const SAME_MS = 500;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Who is told that nobody takes its output any more, and goes on, is ended after so long. */
const BROKEN_PIPE_MS = 2000;

/** @param onFirst gets the first signal  @param onAgain is called for later ones @returns what undoes it */
export function onEndSignals(onFirst: (signal: (typeof SIGNALS)[number]) => void, onAgain: () => void): () => void {
  let firstAt: number | undefined;
  const listeners = SIGNALS.map((signal) => {
    const listener = (): void => {
      if (firstAt === undefined) {
        firstAt = performance.now();
        onFirst(signal);
      } else if (performance.now() - firstAt > SAME_MS) onAgain();
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => listeners.forEach((off) => off());
}

/** A program whose output nobody takes any more (`| head`) gets SIGPIPE, as if it ran here; one that goes on is ended. @returns what undoes it */
export function onBrokenPipe(
  interruption: Interruption,
  onFirst: (signal: "SIGPIPE") => void,
  onAgain: () => void,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    if (interruption.status !== ExitStatus.brokenPipe) return;
    onFirst("SIGPIPE");
    timer = setTimeout(onAgain, BROKEN_PIPE_MS);
  };
  interruption.signal.addEventListener("abort", onAbort, { once: true });
  return () => {
    clearTimeout(timer);
    interruption.signal.removeEventListener("abort", onAbort);
  };
}
