/* Reads manifests and blobs from one registry: authentication, redirects, limits. @source OCI distribution specification 1.1 "Pull"; RFC 9110 15.4
 * Leaves out pushing, listing and referrers. */
import { createHash } from "node:crypto";
import { ImageError } from "../image-error.ts";
import { readCredentials } from "./credentials.ts";
import { type Answer, type Patience, printable, send, statusError, withTries } from "./http.ts";
import { MANIFEST_TYPES } from "./manifest.ts";
import type { Endpoint } from "./registry-settings.ts";
import { authorize, parseChallenges } from "./token.ts";

/** Registries take no larger ones. */
export const LARGEST_DOCUMENT = 4 << 20;
const MOST_REDIRECTS = 5;
const DIGEST_HEADER = "docker-content-digest";

export interface Document {
  readonly bytes: Buffer;
  /** "sha256:…" of the bytes. */
  readonly digest: string;
  /** As the registry says it, without parameters. */
  readonly mediaType: string;
}

export interface ClientOptions {
  readonly patience: Patience;
  readonly signal?: AbortSignal | undefined;
}

/** One repository of one registry. */
export class RegistryClient {
  readonly host: string;
  readonly repository: string;
  readonly patience: Patience;
  readonly signal: AbortSignal | undefined;
  readonly #origin: string;
  #authorization: string | undefined;

  constructor(endpoint: Pick<Endpoint, "host" | "origin">, repository: string, options: ClientOptions) {
    this.host = endpoint.host;
    this.#origin = endpoint.origin;
    this.repository = repository;
    this.patience = options.patience;
    this.signal = options.signal;
  }

  /** A manifest or index. @param reference a tag or digest @throws ImageError */
  async manifest(reference: string): Promise<Document> {
    const what = `${this.repository}${reference.startsWith("sha256:") ? "@" : ":"}${reference}`;
    return withTries(this.patience, this.signal, async () => {
      const answer = await this.#get(`manifests/${reference}`, { accept: MANIFEST_TYPES.join(", ") }, what);
      const bytes = await answer.read(LARGEST_DOCUMENT);
      const digest = sha256(bytes);
      const said = reference.startsWith("sha256:") ? reference : answer.headers.get(DIGEST_HEADER);
      if (said !== null && said.startsWith("sha256:") && said !== digest) throw mismatch(this.host, what, said);
      return { bytes, digest, mediaType: mediaType(answer.headers) };
    });
  }

  /** A small blob, whole. @throws ImageError */
  async document(digest: string, sizeBytes: number): Promise<Buffer> {
    if (sizeBytes > LARGEST_DOCUMENT)
      throw new ImageError(
        "damaged-image",
        `The configuration of ${this.repository} has ${sizeBytes} bytes, which no image's has; use another image.`,
      );
    return withTries(this.patience, this.signal, async () => {
      const bytes = await (await this.blob(digest, 0)).read(sizeBytes);
      if (sha256(bytes) !== digest) throw mismatch(this.host, `the configuration of ${this.repository}`, digest);
      return bytes;
    });
  }

  /** A blob as it arrives, from a byte on. The answer's status is 206 if the registry heeds that, else 200 and the blob begins at 0; 416: there is no such byte.
   *  @throws TransientError, ImageError */
  async blob(digest: string, from: number): Promise<Answer> {
    const headers: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {};
    return this.#get(`blobs/${digest}`, headers, `the blob ${digest} of ${this.repository}`, from > 0);
  }

  /** @param ranged 206 and 416 are answers too @param what for messages */
  async #get(path: string, headers: Record<string, string>, what: string, ranged = false): Promise<Answer> {
    const url = new URL(`${this.#origin}/v2/${this.repository}/${path}`);
    let answer = await this.#follow(url, headers);
    if (answer.status === 401) {
      answer.discard();
      // A token that the registry no longer takes is asked for anew, once.
      this.#authorization = await this.#authorize(answer.headers);
      answer = await this.#follow(url, headers);
    }
    if (answer.status === 200 || (ranged && (answer.status === 206 || answer.status === 416))) return answer;
    answer.discard();
    throw statusError(answer.status, answer.headers, what, this.host);
  }

  async #authorize(headers: Headers): Promise<string | undefined> {
    return authorize({
      origin: this.#origin,
      challenges: parseChallenges(headers.get("www-authenticate") ?? ""),
      credentials: await readCredentials(this.host),
      scope: `repository:${this.repository}:pull`,
      patience: this.patience,
      signal: this.signal,
    });
  }

  /** Sends a request to where redirects lead. The registry's Authorization is for its own host only. */
  async #follow(first: URL, headers: Record<string, string>): Promise<Answer> {
    let url = first;
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const own = url.origin === first.origin && this.#authorization !== undefined;
      const sent = own ? { ...headers, authorization: this.#authorization! } : headers;
      const answer = await send(url, { headers: sent }, { patience: this.patience, signal: this.signal });
      if (![301, 302, 303, 307, 308].includes(answer.status)) return answer;
      answer.discard();
      url = this.#redirected(url, answer.headers.get("location"));
    }
    throw new ImageError(
      "registry",
      `${this.host} sends requests for ${this.repository} in circles; try again later, or tell its administrator.`,
    );
  }

  #redirected(from: URL, location: string | null): URL {
    const url = location !== null && URL.canParse(location, from) ? new URL(location, from) : undefined;
    const isAllowed = url?.protocol === "https:" || (url?.protocol === "http:" && this.#origin.startsWith("http:"));
    if (url !== undefined && isAllowed && url.username === "") return url;
    throw new ImageError(
      "registry",
      `${this.host} redirects to ${JSON.stringify(printable(location ?? ""))}, which is no HTTPS address; tell its administrator.`,
    );
  }
}

/** Digest of bytes, as registries write it. */
export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function mediaType(headers: Headers): string {
  return (headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
}

/** What arrived is not what was asked for. */
export function mismatch(host: string, what: string, digest: string): ImageError {
  return new ImageError(
    "digest-mismatch",
    `What ${host} sent for ${what} does not have the digest ${digest}; try again, or tell the registry's administrator.`,
  );
}
