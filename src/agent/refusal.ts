/* What the agent refused, as a sentence for the user. */
import { AgentError, type AgentErrorCode } from "./agent-error.ts";
import { type FrameReader, Refusal } from "./protocol.ts";

const ENOEXEC = 8;
/** Linux's numbers of the errors that get a code and a sentence of their own. @source Linux include/uapi/asm-generic/errno-base.h */
const ERRNO: Readonly<Record<number, readonly [AgentErrorCode, string]>> = {
  1: ["permission", "is not permitted; run it as another user"],
  2: ["not-found", "does not exist in the VM; check the path"],
  12: ["failed", "needs more memory than the VM has; give it more with --memory"],
  13: ["permission", "may not be accessed; run it as another user or change its permissions"],
  16: ["busy", "is in use in the VM; stop what uses it"],
  17: ["exists", "exists already in the VM; choose another name or remove it first"],
  20: ["not-a-directory", "is not a directory in the VM; check the path"],
  21: ["is-a-directory", "is a directory in the VM; name a file"],
  28: ["no-space", "does not fit: the VM's disk is full; remove something or make the disk larger"],
  30: ["read-only", "cannot be written: it is on a read-only file system of the VM"],
  39: ["not-empty", "is a directory that is not empty; remove what is in it first, or all of it"],
  40: ["failed", "goes through too many symbolic links in the VM; check the path"],
};

/** Refusals with a sentence of their own; `what` is quoted. */
const REFUSALS: Readonly<Record<number, readonly [AgentErrorCode, (what: string, errno: number) => string]>> = {
  [Refusal.COMMAND_NOT_FOUND]: [
    "command-not-found",
    (what) => `The command ${what} was not found in the VM; check its name, the PATH and whether the image has it.`,
  ],
  [Refusal.COMMAND_NOT_EXECUTABLE]: [
    "command-not-executable",
    (what, errno) =>
      `The command ${what} cannot be executed in the VM (${errno === ENOEXEC ? "it is no program for this system" : "permission denied"}); check the file and its mode.`,
  ],
  [Refusal.NO_SUCH_USER]: [
    "no-such-user",
    (what) => `There is no user ${what} in the VM; see its /etc/passwd, or give a number.`,
  ],
  [Refusal.NO_SUCH_GROUP]: [
    "no-such-group",
    (what) => `There is no group of ${what} in the VM; see its /etc/group, or give a number.`,
  ],
  [Refusal.NO_SUCH_DIRECTORY]: [
    "no-such-directory",
    (what) =>
      `The working directory ${what} cannot be entered in the VM; check that it exists and the user may enter it.`,
  ],
  [Refusal.VERSION]: ["version", () => "The agent in the VM is of another version of Mere; restart the VM."],
  [Refusal.LIMIT]: [
    "busy",
    () => "The agent in the VM has as many operations as it can do at once; wait for some to end.",
  ],
  [Refusal.SYSTEM]: ["failed", (what, errno) => `${what} failed in the VM (errno ${errno}); see the VM's log.`],
};

/** Makes the error of an Out.ERROR frame: u16 code, u32 errno, text detail. */
export function refusalError(reader: FrameReader): AgentError {
  let code = 0;
  let errno = 0;
  let detail = "";
  try {
    code = reader.u16();
    errno = reader.u32();
    detail = printable(reader.text());
  } catch {
    return new AgentError("broken", "The agent in the VM sent an error that makes no sense; restart the VM.");
  }
  const what = JSON.stringify(detail);
  const known = code === Refusal.SYSTEM ? ERRNO[errno] : undefined;
  if (known !== undefined) return new AgentError(known[0], `${what} ${known[1]}.`, { errno });
  const refusal = REFUSALS[code];
  if (refusal !== undefined) return new AgentError(refusal[0], refusal[1](what, errno), { errno });
  return new AgentError("failed", `The agent in the VM refused the request (${what}); see the VM's log.`, { errno });
}

/** Words of a guest in messages: without control characters. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "?").slice(0, 500);
}
