/* How a command's exit status leaves the guest: init writes one record to the serial console, between the kernel's messages. The token is the run's
 * secret, so that no program's output passes for the record.
 *
 *   RS "mere-exit " token " " decimal status RS          (RS is 0x1e) */

const RS = 0x1e;
const NAME = "mere-exit";
/** Token and status fit easily; a longer stretch after RS is somebody else's output. */
const LONGEST_RECORD = 128;

/** Takes records out of a stream of serial output. */
export class ExitRecordFilter {
  readonly #prefix: string;
  #held: number[] = [];
  #status: number | undefined;

  constructor(token: string) {
    this.#prefix = `${NAME} ${token} `;
  }

  /** The command's exit status (0–255), once a record has passed. */
  get status(): number | undefined {
    return this.#status;
  }

  /** @returns the bytes without the record; a beginning that may be one is held back until it is decided */
  push(bytes: Uint8Array): Uint8Array {
    const out: number[] = [];
    for (const byte of bytes) {
      if (this.#held.length === 0) {
        if (byte === RS) this.#held.push(byte);
        else out.push(byte);
        continue;
      }
      if (byte === RS) {
        const status = this.#parse();
        if (status !== undefined) {
          this.#status = status;
          this.#held = [];
        } else {
          out.push(...this.#held);
          this.#held = [byte];
        }
        continue;
      }
      this.#held.push(byte);
      if (!this.#mayBecomeRecord()) {
        out.push(...this.#held);
        this.#held = [];
      }
    }
    return Uint8Array.from(out);
  }

  /** What is held back when the stream ends. */
  flush(): Uint8Array {
    const rest = Uint8Array.from(this.#held);
    this.#held = [];
    return rest;
  }

  #text(): string {
    return Buffer.from(this.#held.slice(1)).toString("latin1");
  }

  #mayBecomeRecord(): boolean {
    const text = this.#text();
    return (
      this.#held.length < LONGEST_RECORD &&
      (text.length <= this.#prefix.length ? this.#prefix.startsWith(text) : text.startsWith(this.#prefix))
    );
  }

  #parse(): number | undefined {
    const text = this.#text();
    const digits = text.startsWith(this.#prefix) ? text.slice(this.#prefix.length) : "";
    return /^\d{1,3}$/.test(digits) ? Number(digits) & 0xff : undefined;
  }
}
