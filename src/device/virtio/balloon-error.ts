/* What can be wrong when a guest's memory is asked for. */

export type BalloonErrorCode = "no-driver" | "no-answer";

/** The guest does not tell or give its memory. The message says what to do. */
export class BalloonError extends Error {
  readonly code: BalloonErrorCode;
  constructor(code: BalloonErrorCode, message: string) {
    super(message);
    this.name = "BalloonError";
    this.code = code;
  }
}
