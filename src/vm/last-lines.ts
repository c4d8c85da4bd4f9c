/* The end of what a guest said on its serial port: for messages about guests that crashed or never got ready. */

/** An oops and the panic that follows it, each with registers and call trace, fit in this many lines. */
const LAST_LINES = 80;

/** All but tab and line feed. */
// oxlint-disable-next-line no-control-regex -- control characters are what it is for
const CONTROL_CHARACTERS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Keeps the end of what the guest said on its serial port. */
export class LastLines {
  readonly #decoder = new TextDecoder();
  #text = "";

  /** Takes output in any pieces. */
  push(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    // Cut rarely, and never inside a line that still grows.
    if (this.#text.length > 65_536) this.#text = this.#text.slice(-32_768);
  }

  /** The last lines, without control characters that could act on the user's terminal. */
  lines(): string[] {
    const lines = this.#text.replace(CONTROL_CHARACTERS, "").split("\n");
    if (lines.at(-1) === "") lines.pop();
    return lines.slice(-LAST_LINES);
  }
}
