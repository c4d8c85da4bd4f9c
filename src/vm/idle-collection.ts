/* Gives memory back while a thread has nothing to do. V8 collects when memory is wanted: a thread that made an engine, or translated a boot, and then idles keeps what
 * it used for that, some tens of MiB, for as long as it lives; with many VMs that is most of what they cost. Any thread. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { withCLibrary } from "../device/c-library.ts";

let collect: (() => void) | undefined;

/** A full collection of the calling thread's heap: some tens of milliseconds. */
export function collectGarbage(): void {
  if (collect === undefined) {
    // It stays on: flags are the process's, and another thread may be between these two lines.
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
}

const TRIM = { malloc_trim: { arguments: ["uint64"], return: "int32" } } as const;
let trim: (() => unknown) | undefined;

/** What this process's threads have freed, and the C library keeps in case they want it again, goes to the system. */
export function trimHeap(): void {
  trim ??=
    withCLibrary(
      TRIM,
      ({ functions }) =>
        () =>
          functions.malloc_trim(0n),
    ) ?? (() => undefined);
  trim();
}
