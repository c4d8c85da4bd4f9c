/* Processor time of other threads of this process. @source proc(5), /proc/pid/task/tid/stat */
import { readFileSync, readlinkSync } from "node:fs";

/** What Linux shows is in 1/100 s, whatever the kernel's own tick is. @source sysconf(3), _SC_CLK_TCK on amd64 */
const TICKS_PER_SECOND = 100;
/** Of the fields behind the command's name: utime is the 14th of all, the state behind the name the third. */
const USER = 11;
const SYSTEM = 12;

/** The calling thread's number. */
export function threadNumber(): number {
  return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
}

/** Seconds of processor time that a thread of this process has had; 0 if it is gone. */
export function threadSeconds(thread: number): number {
  try {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[USER]) + Number(fields[SYSTEM])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
