/* Functions of the C library that node:fs lacks, through node:ffi (in Node 26 without a flag, experimental). Mere works without them: who uses some says what is missing then.
 * Users: libc.ts, src/net/tap-calls.ts, src/vm/idle-collection.ts. Any thread. */
import type * as nodeFfi from "node:ffi";
import { setFlagsFromString } from "node:v8";
import { runInThisContext } from "node:vm";

export type Ffi = typeof nodeFfi;

const EINTR = 4;

/** What stands around calls. */
export interface CLibrary<F> {
  readonly functions: F;
  readonly ffi: Ffi;
  /** A call's result, or −errno if it was −1. */
  readonly checked: (result: number | bigint) => number;
  /** The same for a call that is made again when a signal interrupted it. */
  readonly again: (call: () => number | bigint) => number;
}

/** Looks functions up and makes something of them. Takes some milliseconds. @param signatures functions with their types
 *  @returns undefined where node:ffi is switched off or the C library is another */
export function withCLibrary<const S extends nodeFfi.FunctionDefinitions, T>(
  signatures: S,
  make: (library: CLibrary<nodeFfi.DynamicLibraryResult<S>["functions"]>) => T,
): T | undefined {
  beforeTheEnd();
  // Loading it warns that it is experimental, on standard error: the user can do nothing about that. Versions are exact.
  // oxlint-disable-next-line typescript/unbound-method -- it is put back, not called
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    const ffi = process.getBuiltinModule("node:ffi");
    const { functions } = ffi.dlopen("libc.so.6", signatures);
    const errno = ffi.dlopen("libc.so.6", { __errno_location: { arguments: [], return: "uint64" } }).functions;
    const checked = (result: number | bigint): number =>
      result < 0 ? -ffi.getInt32(errno.__errno_location(), 0) : Number(result);
    const again = (call: () => number | bigint): number => {
      let result = checked(call());
      while (result === -EINTR) result = checked(call());
      return result;
    };
    return make({ functions, ffi, checked, again });
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

let finish: (() => void) | undefined;
/** Waits until V8's compilers have done what they have of the calling thread's. As a thread ends, Node frees the types of node:ffi's functions, and a
 *  compiler that reads them then aborts the process (Node 26.10: "Check failed: … ValueInputCount"). For threads that are about to be terminated. */
export function finishCompiling(): void {
  try {
    if (finish === undefined) {
      setFlagsFromString("--allow-natives-syntax"); // stays: flags are the process's, and another thread may be between these two lines
      finish = runInThisContext("() => %FinalizeOptimization()") as () => void;
    }
    finish();
  } catch {
    // another V8
  }
}

let awaited = false;
/** Threads that end by themselves. */
function beforeTheEnd(): void {
  if (awaited) return;
  awaited = true;
  process.once("exit", finishCompiling);
}
