/* Is the process still there that a record names? Its number alone does not say: numbers are given again. @source proc(5), /proc/pid/stat field 22 */
import { readFileSync } from "node:fs";

/** Of the fields behind the command's name, whose first is the third of all. */
const START_TIME = 19;

/** When a process started, in ticks since the system did; undefined if there is none of that number. */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie runs nothing.
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[START_TIME];
  } catch {
    return undefined;
  }
}
