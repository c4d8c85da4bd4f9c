/* The way from one process to a VM in another: a Unix socket in the VM's directory, one connection an operation. The directory is its owner's only, so whoever
 * can connect may do what the owner may.
 *
 *   client → {"op": "metrics", …}\n         server → {"ok": …}\n or {"error": {"code", "message"}}\n
 *   {"op": "connect", "port": 1024}\n       after {"ok": {}}\n the connection is the guest's vsock port */
import { open, unlink } from "node:fs/promises";
import { connect as connectSocket, createServer, type Server, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import type { Duplex } from "node:stream";
import { HostError, type HostErrorCode } from "./host-error.ts";

/** What can be asked of a running VM, from wherever. */
export interface VmLink {
  /** A stream to a vsock port of the guest. @param signal gives up waiting for it; the stream is then none of its business */
  connect(port: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<Duplex>;
  /** @param signal gives up waiting for the answer @throws HostError */
  request(op: string, args?: Readonly<Record<string, unknown>>, signal?: AbortSignal): Promise<unknown>;
}

/** A request or an answer is one line of JSON; more is not one. */
const LONGEST_LINE = 1 << 20;
/** An answer that takes longer than this is none, but for operations that wait. */
const ANSWER_MS = 30_000;
const WAITING: ReadonlySet<string> = new Set(["wait", "stop", "kill", "commit"]);
/** Who does not take what was sent to it, or says nothing, holds up the end of a VM for so long. */
const CLOSE_MS = 2000;
/** sun_path has 108 bytes. */
const LONGEST_SOCKET_PATH = 100;

/** Takes one line off a stream and leaves the rest in it. @returns undefined if the stream ends first, or the line is too long */
function readLine(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const end = (line: string | undefined): void => {
      socket.off("readable", onReadable).off("end", onEnd).off("error", onEnd).off("close", onEnd);
      resolve(line);
    };
    const onEnd = (): void => end(undefined);
    const onReadable = (): void => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
        const at = chunk.indexOf(0x0a);
        chunks.push(at < 0 ? chunk : chunk.subarray(0, at));
        length += chunk.length;
        if (at >= 0 && at + 1 < chunk.length) socket.unshift(chunk.subarray(at + 1));
        if (at >= 0) return end(Buffer.concat(chunks).toString("utf8"));
        if (length > LONGEST_LINE) return end(undefined);
      }
    };
    socket.on("readable", onReadable).on("end", onEnd).on("error", onEnd).on("close", onEnd);
  });
}

/** Runs `use` with a path of the socket that is short enough, however deep its directory is. */
export async function withShortPath<T>(path: string, use: (path: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(path) <= LONGEST_SOCKET_PATH) return use(path);
  const directory = await open(dirname(path), "r");
  try {
    return await use(`/proc/self/fd/${directory.fd}/${basename(path)}`);
  } finally {
    await directory.close();
  }
}

/** Answers on a socket until it is closed. */
export class ControlServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #answers = new Set<Promise<void>>();
  readonly #path: string;

  private constructor(path: string, link: VmLink) {
    this.#path = path;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
      const answer = serve(socket, link).finally(() => this.#answers.delete(answer));
      this.#answers.add(answer);
    });
  }

  static async listen(path: string, link: VmLink): Promise<ControlServer> {
    const server = new ControlServer(path, link);
    await withShortPath(
      path,
      (short) =>
        new Promise<void>((resolve, reject) => {
          server.#server.once("error", reject);
          server.#server.listen(short, resolve);
        }),
    );
    // A VM keeps its process alive by its machine, not by its door.
    // A connection that cannot be taken, for want of descriptors, is its client's trouble.
    server.#server.on("error", () => undefined).unref();
    return server;
  }
  /** Requests under way are answered first, if their clients take it; streams to the guest end. */
  async close(): Promise<void> {
    this.#server.close();
    const timer = setTimeout(() => this.#sockets.forEach((socket) => socket.destroy()), CLOSE_MS);
    await Promise.all(this.#answers);
    await Promise.all([...this.#sockets].map(closed));
    clearTimeout(timer);
    await unlink(this.#path).catch(() => undefined);
  }
}

/** Sends what is left to send. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    socket.once("close", () => resolve());
    socket.destroySoon();
  });
}

async function serve(socket: Socket, link: VmLink): Promise<void> {
  const line = await readLine(socket);
  if (line === undefined) return void socket.destroy();
  try {
    const { op, ...args } = parseRequest(line);
    if (op === "connect") {
      const stream = await whileThere(socket, (signal) => link.connect(Number(args["port"]), { signal }));
      // Whoever asked has gone meanwhile.
      if (socket.destroyed) return void stream.destroy();
      socket.write('{"ok":{}}\n');
      return splice(socket, stream);
    }
    // What else the client says is not read for its own sake, but its end is to be seen.
    socket.resume();
    const ok = await link.request(op, args);
    socket.end(`${JSON.stringify({ ok: ok ?? {} })}\n`);
  } catch (error) {
    socket.resume();
    socket.end(`${JSON.stringify({ error: plainError(error) })}\n`);
  }
}
/** Waits for something on behalf of a client, who may go away and then need it no more. What it says meanwhile is left in the stream. */
async function whileThere<T>(socket: Socket, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const gone = new AbortController();
  const onGone = (): void => gone.abort();
  const onReadable = (): void => {
    // Without anything to read, this is the end.
    if (socket.readableLength === 0) socket.read();
  };
  socket.on("readable", onReadable).on("end", onGone).on("close", onGone);
  try {
    return await work(gone.signal);
  } finally {
    socket.off("readable", onReadable).off("end", onGone).off("close", onGone);
  }
}
function parseRequest(line: string): Record<string, unknown> & { op: string } {
  try {
    const request = JSON.parse(line) as Record<string, unknown>;
    if (typeof request?.["op"] === "string") return request as Record<string, unknown> & { op: string };
  } catch {
    // said below
  }
  throw new HostError("unreachable", "The request is not understood: is the other side another version of Mere?");
}
function plainError(error: unknown): { code: string; message: string } {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === "string" ? code : "unreachable", message: String(message) };
}

/** Joins two streams, half-closes included. */
export function splice(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on("error", () => to.destroy());
    from.on("close", () => {
      if (!from.readableEnded) to.destroy();
    });
    from.pipe(to);
  }
}

/** A VM in another process. */
export class ControlClient implements VmLink {
  readonly #path: string;
  /** @param path of the socket */
  constructor(path: string) {
    this.#path = path;
  }

  async #open(): Promise<Socket> {
    return withShortPath(
      this.#path,
      (short) =>
        new Promise<Socket>((resolve, reject) => {
          const socket = connectSocket({ path: short, allowHalfOpen: true });
          socket.once("connect", () => {
            socket.off("error", reject);
            resolve(socket);
          });
          socket.once("error", reject);
        }),
    ).catch((error: unknown) => {
      throw new HostError("not-running", "The VM does not run any more, or not yet; see 'mere ps --all'.", error);
    });
  }
  async #ask(line: object, waits: boolean, signal?: AbortSignal): Promise<{ socket: Socket; answer: unknown }> {
    const socket = await this.#open();
    const abandon = (): void => void socket.destroy();
    socket.on("error", abandon);
    signal?.addEventListener("abort", abandon, { once: true });
    if (signal?.aborted === true) abandon();
    socket.write(`${JSON.stringify(line)}\n`);
    const timer = waits ? undefined : setTimeout(() => socket.destroy(), ANSWER_MS);
    const text = await readLine(socket);
    clearTimeout(timer);
    signal?.removeEventListener("abort", abandon);
    if (text === undefined) {
      socket.destroy();
      signal?.throwIfAborted();
      throw new HostError("not-running", "The VM ended before it answered.");
    }
    try {
      const reply = parseReply(text);
      if (reply.error !== undefined) throw new HostError(reply.error.code as HostErrorCode, reply.error.message);
      return { socket, answer: reply.ok };
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }
  async connect(port: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Duplex> {
    return (await this.#ask({ op: "connect", port }, false, signal)).socket;
  }
  async request(op: string, args: Readonly<Record<string, unknown>> = {}, signal?: AbortSignal): Promise<unknown> {
    const waits = WAITING.has(op);
    const { socket, answer } = await this.#ask({ ...args, op }, waits, signal);
    socket.destroy();
    return answer;
  }
}
function parseReply(text: string): { ok?: unknown; error?: { code: string; message: string } } {
  try {
    const reply = JSON.parse(text) as { ok?: unknown; error?: { code: string; message: string } };
    if (reply.ok !== undefined || typeof reply.error?.message === "string") return reply;
  } catch {
    // said below
  }
  throw new HostError("unreachable", "The VM's answer is not understood: is it another version of Mere?");
}
