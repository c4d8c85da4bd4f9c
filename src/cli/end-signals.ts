/* Signals by which a user ends a program, for programs that run in a VM: the first one is theirs, as if they ran here; who insists ends more than that. */

/** A terminal's Ctrl-C comes twice where another Node started this one: from the terminal, and from that process, which passes on what it gets. */
const SAME_MS = 500;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

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
