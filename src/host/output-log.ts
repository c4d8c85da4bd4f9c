/* What a VM's main process printed, in a file of the VM's directory: frames, so that any bytes and both streams keep their order.
 *
 *   +0 u8 stream (1 stdout, 2 stderr)   +1 u48 ms since 1970   +7 u32 length   +11 bytes
 *
 * Two files of at most MOST_BYTES / 2: a guest that prints for ever does not fill the host's disk. */
import { createReadStream, createWriteStream, type WriteStream, watch } from "node:fs";
import { rename, stat } from "node:fs/promises";
import { once } from "node:events";

export interface LogEntry {
  readonly stream: "stdout" | "stderr";
  readonly time: Date;
  readonly bytes: Uint8Array;
}

const HEADER_BYTES = 11;
const MOST_BYTES = 64 << 20;
const STREAMS = { stdout: 1, stderr: 2 } as const;

/** Appends to a log. One writer a file. */
export class OutputLog {
  readonly #path: string;
  #file: WriteStream;
  #written = 0;

  constructor(path: string) {
    this.#path = path;
    this.#file = this.#open();
  }
  #open(): WriteStream {
    const file = createWriteStream(this.#path, { mode: 0o600 });
    // A full disk loses the log, not the VM.
    file.on("error", () => undefined);
    return file;
  }
  /** Resolves when the next entry may come. */
  async append(stream: LogEntry["stream"], bytes: Uint8Array): Promise<void> {
    if (this.#file.destroyed || bytes.length === 0) return;
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(STREAMS[stream], 0);
    header.writeUIntBE(Date.now(), 1, 6);
    header.writeUInt32BE(bytes.length, 7);
    this.#file.write(header);
    const more = this.#file.write(bytes);
    this.#written += HEADER_BYTES + bytes.length;
    if (this.#written > MOST_BYTES / 2) return this.#turn();
    if (!more) await Promise.race([once(this.#file, "drain"), once(this.#file, "close")]);
  }
  async #turn(): Promise<void> {
    await this.close();
    await rename(this.#path, olderPath(this.#path)).catch(() => undefined);
    this.#written = 0;
    this.#file = this.#open();
  }
  /** All that was appended is in the file. */
  async close(): Promise<void> {
    if (this.#file.closed) return;
    const closed = once(this.#file, "close");
    this.#file.end();
    await closed.catch(() => undefined);
  }
}

function olderPath(path: string): string {
  return `${path}.1`;
}

export interface LogOptions {
  /** Go on with what comes, until `ended` or the signal. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/** The entries of a log, oldest first. @param ended tells a follower that nothing will be appended any more */
export async function* readLog(
  path: string,
  { follow = false, signal }: LogOptions,
  ended: Promise<unknown>,
): AsyncGenerator<LogEntry> {
  if ((await stat(olderPath(path)).catch(() => undefined)) !== undefined) yield* entries(olderPath(path), 0);
  let at = 0;
  let over = !follow;
  void ended.then(() => (over = true));
  const changes = follow ? new Changes(path, ended, signal) : undefined;
  try {
    for (;;) {
      const last = over;
      for await (const entry of entries(path, at)) {
        at += HEADER_BYTES + entry.bytes.length;
        yield entry;
      }
      if (last || signal?.aborted === true) return;
      await changes?.next();
      // The file was turned over: what is new is in a new one.
      const { size } = await stat(path).catch(() => ({ size: 0 }));
      if (size < at) at = 0;
    }
  } finally {
    changes?.close();
  }
}

/** Wakes a follower when the file may have grown. */
class Changes {
  #wake = Promise.withResolvers<void>();
  readonly #close: () => void;
  constructor(path: string, ended: Promise<unknown>, signal: AbortSignal | undefined) {
    const wake = (): void => this.#wake.resolve();
    const watcher = watch(path, { persistent: true }, wake);
    watcher.on("error", wake);
    signal?.addEventListener("abort", wake, { once: true });
    void ended.then(wake);
    this.#close = () => {
      watcher.close();
      signal?.removeEventListener("abort", wake);
    };
  }
  async next(): Promise<void> {
    await this.#wake.promise;
    this.#wake = Promise.withResolvers();
  }
  close(): void {
    this.#close();
  }
}

/** Whole entries from a byte offset on; one that is not whole yet is left for later. */
async function* entries(path: string, start: number): AsyncGenerator<LogEntry> {
  let rest: Buffer = Buffer.alloc(0);
  const file = createReadStream(path, { start });
  try {
    for await (const chunk of file as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (rest.length >= HEADER_BYTES) {
        const length = rest.readUInt32BE(7);
        if (rest.length < HEADER_BYTES + length) break;
        const stream = rest.readUInt8(0) === STREAMS.stderr ? "stderr" : "stdout";
        yield {
          stream,
          time: new Date(rest.readUIntBE(1, 6)),
          bytes: rest.subarray(HEADER_BYTES, HEADER_BYTES + length),
        };
        rest = rest.subarray(HEADER_BYTES + length);
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
