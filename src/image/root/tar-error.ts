/** Damaged: no correct program writes this. Refused: it would leave the root, or Linux could not have it. Unsupported: others could read it. */
export type TarErrorCode = "damaged" | "refused" | "unsupported" | "too-many";

/** What is wrong with an archive. The message is half a sentence; whoever knows the archive's name completes it. */
export class TarError extends Error {
  override readonly name = "TarError";
  readonly code: TarErrorCode;
  constructor(code: TarErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A name from an archive, fit to be shown: at most so many characters, none that steers a terminal. */
export function shown(path: string): string {
  const text = path.length > 120 ? `${path.slice(0, 117)}...` : path;
  return `"${Buffer.from(text, "latin1")
    .toString("utf8")
    .replace(/[\p{Cc}\p{Cf}\uFFFD]/gu, "?")}"`;
}
