/* What users are told when their network cannot be as they want it. Leaves out: what a guest does wrong (it gets ICMP errors and RSTs, as from any network). */

export type NetworkErrorCode =
  | "bad-rule"
  | "bad-server"
  | "port-in-use"
  | "not-permitted"
  | "no-such-address"
  | "no-such-guest"
  | "closed"
  | "failed";

/** Something is wrong with a VM's network. The message says what to do. */
export class NetworkError extends Error {
  readonly code: NetworkErrorCode;
  constructor(code: NetworkErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "NetworkError";
    this.code = code;
  }
}
