/* What a VM's main process printed, in a file of the VM's directory: frames, so that any bytes and both streams keep their order.
 *
 *   +0 u8 stream (1 stdout, 2 stderr)   +1 u48 ms since 1970   +7 u32 length   +11 bytes
 *
 * Two files of at most MOST_BYTES / 2: a guest that prints for ever does not fill the host's disk. */
import { once } from "node:events";
import { createWriteStream, type FSWatcher, type WriteStream, watch } from "node:fs";
import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";

export interface LogEntry {
  readonly stream: "stdout" | "stderr";
  readonly time: Date;
  readonly bytes: Uint8Array;
}

const HEADER_BYTES = 11;
const MOST_BYTES = 64 << 20;
const READ_BYTES = 256 << 10;
const STREAMS = { stdout: 1, stderr: 2 } as const;

/** Appends to a log. One writer a file. */
export class OutputLog {
  readonly #path: string;
  #file: WriteStream;
  #written = 0;
  /** Both streams append: one entry after the other, also while the file is turned over. */
  #last: Promise<void> = Promise.resolve();

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
  append(stream: LogEntry["stream"], bytes: Uint8Array): Promise<void> {
    this.#last = this.#last.then(() => this.#append(stream, bytes));
    return this.#last;
  }
  async #append(stream: LogEntry["stream"], bytes: Uint8Array): Promise<void> {
    if (this.#file.destroyed || bytes.length === 0) return;
    const entry = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
    entry.writeUInt8(STREAMS[stream], 0);
    entry.writeUIntBE(Date.now(), 1, 6);
    entry.writeUInt32BE(bytes.length, 7);
    entry.set(bytes, HEADER_BYTES);
    await new Promise<void>((resolve) => this.#file.write(entry, () => resolve()));
    this.#written += entry.length;
    if (this.#written > MOST_BYTES / 2) await this.#turn();
  }
  async #turn(): Promise<void> {
    await this.#finish();
    await rename(this.#path, olderPath(this.#path)).catch(() => undefined);
    this.#written = 0;
    this.#file = this.#open();
  }
  /** All that was appended is in the file. */
  async close(): Promise<void> {
    await this.#last;
    await this.#finish();
  }
  async #finish(): Promise<void> {
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

/** The entries of a log, oldest first. A file that is turned over or removed meanwhile is read to its end. @param ended tells a follower that nothing will be
 *  appended any more */
export async function* readLog(
  path: string,
  { follow = false, signal }: LogOptions,
  ended: Promise<unknown>,
): AsyncGenerator<LogEntry> {
  let over = !follow;
  void ended.then(() => (over = true));
  const changes = follow ? new Changes(path, ended, signal) : undefined;
  let file: LogFile | undefined;
  try {
    file = await LogFile.open(path);
    yield* olderEntries(path, file);
    for (;;) {
      const last = over;
      file ??= await LogFile.open(path);
      if (file !== undefined) yield* file.entries();
      if (file !== undefined && (await isTurned(path, file))) {
        // What was appended before it was.
        yield* file.entries();
        await file.close();
        file = undefined;
        continue;
      }
      if (last || signal?.aborted === true) return;
      await changes?.next();
    }
  } finally {
    changes?.close();
    await file?.close();
  }
}
async function* olderEntries(path: string, current: LogFile | undefined): AsyncGenerator<LogEntry> {
  const older = await LogFile.open(olderPath(path));
  try {
    if (older !== undefined && older.inode !== current?.inode) yield* older.entries();
  } finally {
    await older?.close();
  }
}
async function isTurned(path: string, file: LogFile): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  return there !== undefined && there.ino !== file.inode;
}

/** Wakes a follower when the log may have grown. */
class Changes {
  #wake = Promise.withResolvers<void>();
  readonly #close: () => void;
  constructor(path: string, ended: Promise<unknown>, signal: AbortSignal | undefined) {
    const wake = (): void => this.#wake.resolve();
    const watcher = watchDirectory(dirname(path), wake);
    signal?.addEventListener("abort", wake, { once: true });
    void ended.then(wake);
    this.#close = () => {
      watcher?.close();
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
/** The directory, since the log itself may not be there yet, and is another file once it was turned over. */
function watchDirectory(directory: string, wake: () => void): FSWatcher | undefined {
  try {
    return watch(directory, { persistent: true }, wake).on("error", wake);
  } catch {
    // It is gone with its VM.
    return undefined;
  }
}

/** A log's file that is read from its beginning on. */
class LogFile {
  readonly inode: number;
  readonly #file: FileHandle;
  #at = 0;

  private constructor(file: FileHandle, inode: number) {
    this.#file = file;
    this.inode = inode;
  }
  /** @returns undefined if there is none */
  static async open(path: string): Promise<LogFile | undefined> {
    try {
      const file = await open(path, "r");
      return new LogFile(file, (await file.stat()).ino);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
  /** Whole entries that were not read yet; one that is not whole is left for later. */
  async *entries(): AsyncGenerator<LogEntry> {
    let rest: Buffer = Buffer.alloc(0);
    for (let from = this.#at; ;) {
      const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, from);
      if (bytesRead === 0) return;
      from += bytesRead;
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      while (rest.length >= HEADER_BYTES) {
        const end = HEADER_BYTES + rest.readUInt32BE(7);
        if (rest.length < end) break;
        const stream = rest.readUInt8(0) === STREAMS.stderr ? "stderr" : "stdout";
        this.#at += end;
        yield { stream, time: new Date(rest.readUIntBE(1, 6)), bytes: rest.subarray(HEADER_BYTES, end) };
        rest = rest.subarray(end);
      }
    }
  }
  async close(): Promise<void> {
    await this.#file.close();
  }
}
