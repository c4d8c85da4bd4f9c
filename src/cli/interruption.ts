/* Ways a user ends a running mere from outside: Ctrl-C, a kill, a closed terminal, a closed pipe. Each only asks; the verb stops its work in order
 * and ends with the status that shells expect. The trampoline and the terminal may both send a signal, so a second one means the same as the first. */
import { ExitStatus } from "./cli-error.ts";

const SIGNAL_STATUS = { SIGINT: ExitStatus.interrupted, SIGTERM: ExitStatus.terminated, SIGHUP: 129 } as const;

/** Listens from its making to its end. */
export class Interruption {
  readonly #controller = new AbortController();
  #status: number | undefined;
  readonly #listeners = new Map<NodeJS.Signals, () => void>();
  readonly #onOutputError = (error: NodeJS.ErrnoException): void => {
    // Whoever read the output (head, less) has what it wanted. Any other output error ends the work too: nobody sees the result.
    this.request(error.code === "EPIPE" ? ExitStatus.brokenPipe : ExitStatus.failure);
  };

  constructor() {
    for (const [signal, status] of Object.entries(SIGNAL_STATUS)) {
      const listener = (): void => this.request(status);
      this.#listeners.set(signal as NodeJS.Signals, listener);
      process.on(signal, listener);
    }
    process.stdout.on("error", this.#onOutputError);
  }

  /** Aborted when the user wants to end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Exit status of the first request; undefined while there was none. */
  get status(): number | undefined {
    return this.#status;
  }

  /** Asks for the end, as a signal would. */
  request(status: number): void {
    this.#status ??= status;
    this.#controller.abort();
  }

  /** Gives signals their usual meaning back. */
  end(): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
    process.stdout.off("error", this.#onOutputError);
  }
}
