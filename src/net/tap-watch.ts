/* A TAP's watcher: a thread that sleeps until the kernel has a frame, and says so once each time it is asked. Entry point of the worker of tap.ts.
 * A blocking read on Node's thread pool instead would hold one of its four threads for good and could not be ended. */
import { workerData } from "node:worker_threads";
import { Doorbell } from "../device/shared.ts";
import { tapCalls } from "./tap-calls.ts";
import { Asked, WatchWord, type WatchStart } from "./tap-watch-protocol.ts";

function watch({ words, tapFd, endFd }: WatchStart): void {
  const w = new Int32Array(words);
  const bell = new Doorbell(words, 4 * WatchWord.BELL);
  for (;;) {
    Atomics.wait(w, WatchWord.ASKED, Asked.NOTHING);
    if (Atomics.compareExchange(w, WatchWord.ASKED, Asked.WATCH, Asked.NOTHING) === Asked.END) return;
    const ready = tapCalls!.waitReadable(tapFd, endFd);
    if (ready < 0 || (ready & 1) !== 0) bell.ring(0);
  }
}

watch(workerData as WatchStart);
