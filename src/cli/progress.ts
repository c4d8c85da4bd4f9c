/* Progress of long work on standard error: a bar that redraws itself on a terminal, one plain line at the start and one at the end otherwise. */
/** What progress needs of process.stderr. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** A terminal shows ten pictures a second well enough; more would only cost. */
const REDRAW_MS = 100;
const BAR_CELLS = 24;
const CLEAR_LINE = "\r\u001b[K";

/** One line of progress. @param done,total in any unit; total 0: not known, so how much is done is told as a number  @param columns the line is cut to this width */
export function renderProgress(label: string, done: number, total: number, columns: number): string {
  if (!(total > 0)) return `${label} …${done > 0 ? ` ${done}` : ""}`.slice(0, columns);
  const part = Math.min(1, Math.max(0, done / total));
  const filled = Math.round(part * BAR_CELLS);
  const bar = "#".repeat(filled) + "-".repeat(BAR_CELLS - filled);
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  return `${label}  [${bar}] ${percent}`.slice(0, columns);
}

/** Shows one piece of work. Call update as often as you like, then end once. */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  #label = "";
  #drawnAt = -Infinity;

  constructor(stream: ProgressStream, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
  }

  /** A new label begins a new piece of work. @param done,total in any unit; total 0: not known */
  update(label: string, done: number, total: number): void {
    if (label !== this.#label) this.#begin(label);
    if (this.#stream.isTTY !== true) return;
    const now = this.#now();
    if (now - this.#drawnAt < REDRAW_MS && done !== total) return;
    this.#drawnAt = now;
    this.#stream.write(CLEAR_LINE + renderProgress(label, done, total, (this.#stream.columns ?? 80) - 1));
  }

  /** Ends the work that is shown, if any; leaves a terminal's line clean. @param how what is said of it where there is no terminal */
  end(how = "done"): void {
    if (this.#label === "") return;
    if (this.#stream.isTTY === true) this.#stream.write(CLEAR_LINE);
    else this.#stream.write(`${this.#label}: ${how}\n`);
    this.#label = "";
  }

  #begin(label: string): void {
    this.end();
    this.#label = label;
    this.#drawnAt = -Infinity;
    if (this.#stream.isTTY !== true) this.#stream.write(`${label} …\n`);
  }
}
