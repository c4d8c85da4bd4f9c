/* What can go wrong with VMs of a host, as one class: programs look at `code`, people read the sentence. */

export type HostErrorCode =
  /** A value in the options is wrong: nothing was started. */
  | "bad-option"
  /** Another VM has the name. */
  | "name-in-use"
  /** No VM has that name or id. */
  | "no-such-vm"
  /** The VM has ended, or its process has died. */
  | "not-running"
  /** The VM still runs; stop it first. */
  | "still-running"
  /** The guest ended, or stayed silent, before its agent answered. */
  | "boot-failed"
  /** The VM's process does not answer as it should. */
  | "unreachable"
  /** The time for an operation is over. */
  | "timeout"
  /** What is kept of a VM makes no sense: it can only be removed. */
  | "damaged"
  /** The place where VMs are kept cannot be used. */
  | "state";

/** Something is wrong with a VM or with what was asked of it. The message says what to do. */
export class HostError extends Error {
  readonly code: HostErrorCode;
  constructor(code: HostErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "HostError";
    this.code = code;
  }
}
