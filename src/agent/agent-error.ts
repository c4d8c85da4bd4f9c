/** What can go wrong between host and agent, or be refused by the guest. */
export type AgentErrorCode =
  | "command-not-found"
  | "command-not-executable"
  | "no-such-user"
  | "no-such-group"
  | "no-such-directory"
  | "not-found"
  | "permission"
  | "exists"
  | "not-empty"
  | "is-a-directory"
  | "not-a-directory"
  | "read-only"
  | "no-space"
  | "failed"
  | "busy"
  | "version"
  | "unreachable"
  | "timed-out"
  | "broken"
  | "lost";

/** An operation in a guest failed. The message is one sentence that says what to do. */
export class AgentError extends Error {
  override readonly name = "AgentError";
  readonly code: AgentErrorCode;
  /** The guest's errno, where there is one. */
  readonly errno: number | undefined;
  constructor(code: AgentErrorCode, message: string, options: { errno?: number | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.errno = options.errno;
  }
}
