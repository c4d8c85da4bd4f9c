/* Exit statuses of programs that cannot be started, as shells have them. */
import { isErrorCode } from "./cli-error.ts";

const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** Runs `work`; a program that is not there, or is none, is said in a sentence and ends with the shells' status. */
export async function startStatus(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!isErrorCode(error, "command-not-found", "command-not-executable")) throw error;
    process.stderr.write(`mere: ${error.message}\n`);
    return error.code === "command-not-found" ? NOT_FOUND : NOT_EXECUTABLE;
  }
}
