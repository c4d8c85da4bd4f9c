/* HTTP for a client that trusts nobody: every wait has an end, failures that may pass are told from those that will not, and tried again a bounded number
 * of times. Over Node's fetch; proxies come from the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). @source RFC 9110 (15.5, 15.6; 10.2.3 Retry-After), RFC 6585 (429) */
import { setGlobalProxyFromEnv } from "node:http";
import { setTimeout } from "node:timers/promises";
import { ImageError, type ImageErrorCode } from "../image-error.ts";

/** How patient a client is. */
export interface Patience {
  /** Without a byte for so long, a connection counts as dead. */
  readonly stallMs: number;
  /** Tries without progress before giving up. */
  readonly attempts: number;
  /** Before the second try; doubles with each. */
  readonly firstPauseMs: number;
  /** A registry may ask for at most so long a pause. */
  readonly longestPauseMs: number;
}

export const PATIENCE: Patience = { stallMs: 30_000, attempts: 5, firstPauseMs: 500, longestPauseMs: 60_000 };

/** A failure that may pass. */
export class TransientError extends Error {
  override readonly name = "TransientError";
  readonly error: ImageError;
  /** What the other side asked for. */
  readonly pauseMs: number | undefined;
  constructor(error: ImageError, pauseMs?: number) {
    super(error.message, { cause: error });
    this.error = error;
    this.pauseMs = pauseMs;
  }
}

/** Counts tries and pauses between them. */
export class Tries {
  readonly #patience: Patience;
  readonly #signal: AbortSignal | undefined;
  #failed = 0;

  constructor(patience: Patience, signal: AbortSignal | undefined) {
    this.#patience = patience;
    this.#signal = signal;
  }

  /** There was progress: the count begins anew. */
  renew(): void {
    this.#failed = 0;
  }

  /** Waits before the next try. @throws ImageError when there have been enough, the error itself when it is final, AbortError */
  async failed(error: unknown): Promise<void> {
    if (!(error instanceof TransientError)) throw error;
    const { attempts, firstPauseMs, longestPauseMs } = this.#patience;
    if (++this.#failed >= attempts || (error.pauseMs ?? 0) > longestPauseMs) throw error.error;
    // Up to half as long again: clients that failed together do not come back together.
    const backoffMs = firstPauseMs * 2 ** (this.#failed - 1) * (1 + Math.random() / 2);
    const pauseMs = error.pauseMs ?? Math.min(longestPauseMs, backoffMs);
    await setTimeout(pauseMs, undefined, { ...(this.#signal !== undefined && { signal: this.#signal }) });
  }
}

/** Runs `body` until it succeeds, fails for good or has been tried often enough. */
export async function withTries<T>(
  patience: Patience,
  signal: AbortSignal | undefined,
  body: () => Promise<T>,
): Promise<T> {
  const tries = new Tries(patience, signal);
  for (;;) {
    try {
      return await body();
    } catch (error) {
      await tries.failed(error);
    }
  }
}

/** An answer whose body has not been read. One of read, chunks and discard must follow. */
export class Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly #response: Response;
  readonly #watch: StallWatch;

  constructor(response: Response, watch: StallWatch) {
    this.status = response.status;
    this.headers = response.headers;
    this.#response = response;
    this.#watch = watch;
  }

  /** The body as it arrives. @throws TransientError when the connection breaks or stalls */
  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#response.body ?? []) {
        // What the reader does with it is not the other side's time.
        this.#watch.pause();
        yield chunk as Uint8Array;
        this.#watch.feed();
      }
    } catch (error) {
      throw this.#watch.explain(error);
    } finally {
      this.#watch.end();
    }
  }

  /** The whole body. @throws ImageError "registry" if it is longer than `limit` bytes */
  async read(limit: number): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.chunks()) {
      length += chunk.length;
      if (length > limit)
        throw new ImageError(
          "registry",
          `${this.#watch.host} answered with more than ${limit} bytes where a short document was expected; try again later, or another registry.`,
        );
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** Gives up the rest of the answer and its connection. */
  discard(): void {
    this.#watch.abort();
  }
}

/** Ends a connection on which nothing arrives. */
class StallWatch {
  readonly host: string;
  readonly #controller = new AbortController();
  readonly #stallMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#controller.abort(this.#signal?.reason);
  #timer: NodeJS.Timeout | undefined;
  #stalled = false;

  constructor(host: string, stallMs: number, signal: AbortSignal | undefined) {
    this.host = host;
    this.#stallMs = stallMs;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted === true) this.#onAbort();
    this.feed();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  feed(): void {
    clearTimeout(this.#timer);
    this.#timer = globalThis.setTimeout(() => {
      this.#stalled = true;
      this.#controller.abort();
    }, this.#stallMs);
  }

  pause(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    this.pause();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  abort(): void {
    this.end();
    this.#controller.abort();
  }

  explain(error: unknown): unknown {
    if (this.#signal?.aborted === true) return this.#signal.reason;
    if (error instanceof ImageError || error instanceof TransientError) return error;
    if (!this.#stalled) return connectionError(this.host, error);
    return new TransientError(
      new ImageError(
        "stalled",
        `${this.host} sent nothing for ${Math.round(this.#stallMs / 100) / 10} s; try again later: what has arrived is kept.`,
      ),
    );
  }
}

let proxyIsSet = false;

/** Sends one request; redirects are the caller's. @throws TransientError, ImageError "network", the signal's reason */
export async function send(
  url: URL,
  init: { method?: string; headers?: Readonly<Record<string, string>>; body?: string },
  options: { patience: Patience; signal?: AbortSignal | undefined },
): Promise<Answer> {
  if (!proxyIsSet) setGlobalProxyFromEnv();
  proxyIsSet = true;
  const watch = new StallWatch(url.host, options.patience.stallMs, options.signal);
  try {
    // Digests and ranges are of bytes as they are stored.
    const headers = { "accept-encoding": "identity", "user-agent": "mere", ...init.headers };
    const response = await fetch(url, { ...init, headers, redirect: "manual", signal: watch.signal });
    watch.feed();
    return new Answer(response, watch);
  } catch (error) {
    watch.end();
    throw watch.explain(error);
  }
}

/** These do not pass by waiting. */
const FINAL: Record<string, string> = {
  ENOTFOUND: "has no address; check its name and the network",
  ECONNREFUSED: "refuses connections; check its name and port, and whether it runs",
  EHOSTUNREACH: "cannot be reached; check the network",
  ENETUNREACH: "cannot be reached; check the network",
  ERR_SSL_WRONG_VERSION_NUMBER:
    'does not speak TLS; if it is meant not to, set "insecure" for it in Mere\'s configuration',
  ERR_SSL_PACKET_LENGTH_TOO_LONG:
    'does not speak TLS; if it is meant not to, set "insecure" for it in Mere\'s configuration',
};

function connectionError(host: string, error: unknown): ImageError | TransientError {
  const cause = (error as { cause?: { code?: unknown; message?: unknown } }).cause;
  const code = typeof cause?.code === "string" ? cause.code : "";
  const final = FINAL[code] ?? (/CERT|SELF_SIGNED|ISSUER/.test(code) ? certificate(code) : undefined);
  if (final !== undefined) return new ImageError("network", `${host} ${final}.`, { cause: error });
  const words = typeof cause?.message === "string" ? cause.message : (error as Error).message;
  const why = code === "" ? words : code;
  return new TransientError(
    new ImageError("network", `The connection to ${host} broke (${printable(why)}); check the network and try again.`, {
      cause: error,
    }),
  );
}

function certificate(code: string): string {
  return `has a certificate that is not trusted (${code}); name the file of its authority in NODE_EXTRA_CA_CERTS`;
}

/** What a status that is no success means. @param what completes "… does not have", @param host who said so */
export function statusError(status: number, headers: Headers, what: string, host: string): ImageError | TransientError {
  const make = (code: ImageErrorCode, sentence: string): ImageError => new ImageError(code, sentence);
  if (status === 401 || status === 403)
    return make(
      "unauthorized",
      `${host} does not give ${what} to ${status === 401 ? "somebody unknown" : "you"}, or does not have it; check the name, or put credentials into docker's config.json, for example with 'docker login ${host}'.`,
    );
  if (status === 404) return make("unknown-image", `${host} does not have ${what}; check the name and the tag.`);
  const pauseMs = retryAfterMs(headers.get("retry-after"));
  if (status === 429)
    return new TransientError(
      make(
        "rate-limited",
        `${host} has had too many requests${pauseMs === undefined ? "" : ` and wants a pause of ${Math.ceil(pauseMs / 1000)} s`}; try again later, or with credentials, for which it may allow more.`,
      ),
      pauseMs,
    );
  const failed = make("registry", `${host} answered ${status} for ${what}; try again later.`);
  return status >= 500 || status === 408 ? new TransientError(failed, pauseMs) : failed;
}

/** Seconds, or a date. */
function retryAfterMs(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

/** Somebody else's words in a sentence of Mere's: without control characters, and short. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, " ").slice(0, 200);
}
