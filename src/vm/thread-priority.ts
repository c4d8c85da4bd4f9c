/* Which threads go first where there are fewer cores than threads: guests before compilers. Linux gives each thread a nice value of its own; anyone may raise it.
 * @source setpriority(2), "C library/kernel differences"; proc(5), /proc/thread-self */
import { readdirSync, readFileSync } from "node:fs";
import { constants, getPriority, setPriority } from "node:os";
import { threadNumber } from "./thread-time.ts";

/** Added to the nice values: a core is the executors' first, then the translator's, which compiles too, then that of V8's threads, which help it and optimize the interpreter. */
const LOWER_TRANSLATOR = 5;
const LOWER_COMPILERS = 15;

/** Names of V8's threads, which optimize wasm functions. */
const V8_WORKER = "node-V8Worker";

function beNice(thread: number, by: number): void {
  try {
    setPriority(thread, Math.min(getPriority(process.pid) + by, constants.priority.PRIORITY_LOW));
  } catch {
    // a thread that has ended, or a system that does not allow it: then it competes
  }
}
/** Lowers V8's compiling threads of this process. */
export function lowerCompilers(): void {
  for (const thread of readdirSync("/proc/self/task")) {
    try {
      if (readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim() === V8_WORKER)
        beNice(Number(thread), LOWER_COMPILERS);
    } catch {
      // ended in between
    }
  }
}
/** Lowers the thread that calls, which translates. */
export function lowerTranslator(): void {
  beNice(threadNumber(), LOWER_TRANSLATOR);
}
