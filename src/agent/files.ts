/* Files in a guest, one operation a connection. Paths are absolute, the guest's root user's, and follow links as its system calls do. I/O thread. */
import { Readable } from "node:stream";
import { type Channel, lost, refuse } from "./channel.ts";
import { type FileEntry, type FileInfo, readEntry, readInfo } from "./file-info.ts";
import { DATA_LIMIT_BYTES, Event, FrameReader, FrameWriter, In, Op, Out, Write } from "./protocol.ts";
import { type Cancellable, type Requests, requestFrame } from "./requests.ts";

/** "As it is", or the default for a new file, where a number is expected. */
const KEEP = 0xffffffff;
const TO_THE_END = 2n ** 64n - 1n;
/** A directory of a million files with long names. */
const LIST_LIMIT_BYTES = 256 << 20;

export interface ReadOptions extends Cancellable {
  /** In bytes. */
  readonly offset?: number;
  readonly length?: number;
}

export interface WriteOptions extends Cancellable {
  /** Permission bits; default: as they are, or 0644 for a new file. */
  readonly mode?: number;
  /** Default: as they are, or root's. */
  readonly uid?: number;
  readonly gid?: number;
  /** Adds to the file in place, instead of making a new one that takes its place when it is whole. */
  readonly append?: boolean;
  /** Fails if there is such a file. */
  readonly exclusive?: boolean;
}

/** What can be written: bytes, UTF-8 text, or either in pieces (a Readable is that). */
export type WriteSource = Uint8Array | string | AsyncIterable<Uint8Array | string>;

export interface FileEvent {
  /** "overflow": some events were lost, look again. */
  readonly kind: "created" | "changed" | "removed" | "overflow";
  /** Relative to the watched path; "" is that itself. */
  readonly path: string;
}

const EVENT_KINDS: Readonly<Record<number, FileEvent["kind"]>> = {
  [Event.CREATED]: "created",
  [Event.CHANGED]: "changed",
  [Event.REMOVED]: "removed",
  [Event.OVERFLOW]: "overflow",
};

export class AgentFiles {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Opens a file for reading. @returns its bytes, read from the guest as they are wanted; errors of the way end the stream @throws AgentError */
  async readFile(path: string, options: ReadOptions = {}): Promise<Readable> {
    const { offset = 0, length, signal } = options;
    const request = requestFrame(Op.READ)
      .text(path)
      .u64(BigInt(offset))
      .u64(length === undefined ? TO_THE_END : BigInt(length));
    const { channel } = await this.#requests.ask(request.finish(), Out.DONE, signal);
    return Readable.from(fileData(channel), { objectMode: false, highWaterMark: DATA_LIMIT_BYTES });
  }

  /** Writes a file. Without `append` nobody sees it half written, and a failure changes nothing. @throws AgentError; what the source throws */
  async writeFile(path: string, source: WriteSource, options: WriteOptions = {}): Promise<void> {
    const { mode = KEEP, uid = KEEP, gid = KEEP, append = false, exclusive = false, signal } = options;
    const flags = (append ? Write.APPEND : 0) | (exclusive ? Write.NEW : 0);
    const request = requestFrame(Op.WRITE).text(path).u32(flags).u32(mode).u32(uid).u32(gid);
    const channel = await this.#requests.open(request.finish(), signal);
    await upload(channel, this.#requests.timeoutMs, async (send) => {
      const pieces = typeof source === "string" || source instanceof Uint8Array ? [source] : source;
      for await (const piece of pieces) {
        const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
        for (let at = 0; at < bytes.length; at += DATA_LIMIT_BYTES)
          if (!(await send(dataFrame(bytes.subarray(at, at + DATA_LIMIT_BYTES))))) return;
      }
    });
  }

  /** The files in a directory, in no order. @throws AgentError */
  async list(path: string, { signal }: Cancellable = {}): Promise<FileEntry[]> {
    const channel = await this.#requests.open(requestFrame(Op.LIST).text(path).finish(), signal);
    const entries: FileEntry[] = [];
    let bytes = 0;
    try {
      for (;;) {
        const frame = await channel.next(this.#requests.timeoutMs);
        if (frame === undefined) throw lost();
        refuse(frame);
        if (frame.type === Out.DONE) return entries;
        bytes += frame.payload.length;
        if (frame.type !== Out.ENTRY || bytes > LIST_LIMIT_BYTES) throw channel.broken("a directory without end");
        entries.push(channel.read(() => readEntry(new FrameReader(frame.payload))));
      }
    } finally {
      channel.close();
    }
  }

  /** @param options.parents makes those that are missing, and is content with a directory that is there @throws AgentError */
  async makeDirectory(
    path: string,
    { mode = 0o755, parents = false, signal }: { mode?: number; parents?: boolean } & Cancellable = {},
  ): Promise<void> {
    await this.#do(requestFrame(Op.MAKE_DIRECTORY).text(path).u32(mode).u8(Number(parents)), signal);
  }
  /** Removes a file, a link or an empty directory. @param options.recursive a tree, without following links in it
   *  @param options.force is content when there is none @throws AgentError */
  async remove(
    path: string,
    { recursive = false, force = false, signal }: { recursive?: boolean; force?: boolean } & Cancellable = {},
  ): Promise<void> {
    await this.#do(requestFrame(Op.REMOVE).text(path).u8(Number(recursive)).u8(Number(force)), signal, true);
  }
  /** @throws AgentError */
  async rename(from: string, to: string, { signal }: Cancellable = {}): Promise<void> {
    await this.#do(requestFrame(Op.RENAME).text(from).text(to), signal);
  }
  /** @param options.followLinks default true @throws AgentError not-found, … */
  async stat(
    path: string,
    { followLinks = true, signal }: { followLinks?: boolean } & Cancellable = {},
  ): Promise<FileInfo> {
    const request = requestFrame(Op.STAT).text(path).u8(Number(followLinks));
    return this.#requests.once(request.finish(), readInfo, signal);
  }
  /** @returns where a symbolic link leads @throws AgentError */
  async readLink(path: string, { signal }: Cancellable = {}): Promise<string> {
    return this.#requests.once(requestFrame(Op.READ_LINK).text(path).finish(), (answer) => answer.text(), signal);
  }
  /** @throws AgentError */
  async symlink(target: string, path: string, { signal }: Cancellable = {}): Promise<void> {
    await this.#do(requestFrame(Op.SYMLINK).text(target).text(path), signal);
  }
  /** @throws AgentError */
  async changeMode(path: string, mode: number, { signal }: Cancellable = {}): Promise<void> {
    await this.#do(requestFrame(Op.CHANGE_MODE).text(path).u32(mode), signal);
  }
  /** @throws AgentError */
  async changeOwner(
    path: string,
    { uid, gid, followLinks = true }: { uid: number; gid: number; followLinks?: boolean },
    { signal }: Cancellable = {},
  ): Promise<void> {
    await this.#do(requestFrame(Op.CHANGE_OWNER).text(path).u32(uid).u32(gid).u8(Number(followLinks)), signal);
  }

  /** Watches a file or a directory. @returns once it is watched: events until the loop over them is left, or the signal aborts
   *  @param options.recursive all directories below, also those that appear; at most 8192 @throws AgentError */
  async watch(
    path: string,
    { recursive = false, signal }: { recursive?: boolean } & Cancellable = {},
  ): Promise<AsyncGenerator<FileEvent, void, void>> {
    const request = requestFrame(Op.WATCH).text(path).u8(Number(recursive));
    const { channel } = await this.#requests.ask(request.finish(), Out.DONE, signal);
    return fileEvents(channel);
  }

  /** @param takesLong as long as there is to do: only the loss of the connection ends it */
  async #do(request: FrameWriter, signal: AbortSignal | undefined, takesLong = false): Promise<void> {
    const channel = await this.#requests.open(request.finish(), signal);
    try {
      await channel.expect(Out.DONE, takesLong ? undefined : this.#requests.timeoutMs);
    } finally {
      channel.close();
    }
  }
}

export function dataFrame(bytes: Uint8Array): Buffer {
  return new FrameWriter(In.DATA).bytes(bytes).finish();
}

/** Sends what `body` says, then the end, and waits for the agent's answer, which may also come before. Owns the channel.
 *  @param body gets a function that sends a frame and says whether there is any use in sending more */
export async function upload(
  channel: Channel,
  timeoutMs: number,
  body: (send: (frame: Uint8Array) => Promise<boolean>) => Promise<void>,
): Promise<void> {
  let answered = false;
  const answer = channel.expect(Out.DONE).finally(() => (answered = true));
  answer.catch(() => undefined);
  try {
    await body(async (frame) => {
      await channel.send(frame);
      return !answered && !channel.over;
    });
    channel.post(new FrameWriter(In.END).finish());
    channel.expire(timeoutMs);
    await answer;
  } finally {
    channel.close();
  }
}

async function* fileData(channel: Channel): AsyncGenerator<Buffer, void, void> {
  try {
    for (;;) {
      const frame = await channel.next();
      if (frame === undefined) throw lost();
      refuse(frame);
      if (frame.type !== Out.DATA) throw channel.broken("no data where they were due");
      if (frame.payload.length === 0) return;
      yield frame.payload;
    }
  } finally {
    channel.close();
  }
}

async function* fileEvents(channel: Channel): AsyncGenerator<FileEvent, void, void> {
  try {
    for (;;) {
      const frame = await channel.next();
      if (frame === undefined) throw lost();
      refuse(frame);
      const reader = new FrameReader(frame.payload);
      const event = channel.read(() => ({ kind: EVENT_KINDS[reader.u8()], path: reader.text() }));
      if (frame.type !== Out.EVENT || event.kind === undefined) throw channel.broken("no event where one was due");
      yield { kind: event.kind, path: event.path };
    }
  } finally {
    channel.close();
  }
}
