/* Tokens for registries: what a 401 asks for, and how to get it. @source distribution "Token Authentication Specification", "OAuth2 Token Authentication",
 * RFC 9110 11.6.1 (WWW-Authenticate), RFC 7617 (Basic) */
import { ImageError } from "../image-error.ts";
import type { Credentials } from "./credentials.ts";
import { type Patience, printable, send, statusError, withTries } from "./http.ts";

/** One way to authenticate that a registry offers. */
export interface Challenge {
  /** In small letters. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Tokens are some KiB. */
const LONGEST_ANSWER = 1 << 20;
const CLIENT_ID = "mere";

/** The challenges of a WWW-Authenticate header; what is malformed is left out. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  // A scheme is a token that no "=" follows; a parameter has one. Values are tokens or quoted strings.
  const part = /([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g;
  for (const [, word, quoted, bare] of header.slice(0, 8192).matchAll(part)) {
    const value = quoted?.replace(/\\(.)/g, "$1") ?? bare;
    if (value === undefined) challenges.push({ scheme: word!.toLowerCase(), parameters: new Map() });
    else challenges.at(-1)?.parameters.set(word!.toLowerCase(), value);
  }
  return challenges;
}

export interface TokenRequest {
  /** The registry's. */
  readonly origin: string;
  readonly challenges: readonly Challenge[];
  readonly credentials: Credentials | undefined;
  /** Used where the challenge names no scope: "repository:PATH:pull". */
  readonly scope: string;
  readonly patience: Patience;
  readonly signal: AbortSignal | undefined;
}

/** The Authorization header that a registry asks for. @returns undefined if none can be had @throws ImageError, TransientError */
export async function authorize(request: TokenRequest): Promise<string | undefined> {
  const { challenges, credentials } = request;
  if (credentials?.kind === "token") return `Bearer ${credentials.token}`;
  const bearer = challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm"));
  if (bearer !== undefined) return `Bearer ${await fetchToken(bearer.parameters, request)}`;
  const basic = challenges.some(({ scheme }) => scheme === "basic");
  return basic && credentials?.kind === "password" ? basicHeader(credentials) : undefined;
}

function basicHeader({ user, password }: { user: string; password: string }): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

async function fetchToken(parameters: ReadonlyMap<string, string>, request: TokenRequest): Promise<string> {
  const { patience, signal, credentials } = request;
  const realm = tokenService(parameters.get("realm")!, request.origin);
  const service = parameters.get("service");
  const scope = parameters.get("scope") ?? request.scope;
  return withTries(patience, signal, async () => {
    const answer =
      credentials?.kind === "identity"
        ? await send(realm, oauthRequest(credentials.token, service, scope), { patience, signal })
        : await send(tokenUrl(realm, service, scope), { headers: passwordHeaders(credentials) }, { patience, signal });
    if (answer.status !== 200) {
      answer.discard();
      throw statusError(answer.status, answer.headers, `a token for ${printable(scope)}`, realm.host);
    }
    return tokenOf(await answer.read(LONGEST_ANSWER), realm.host);
  });
}

/** A registry behind TLS must not send its users' passwords through the open net. */
function tokenService(text: string, origin: string): URL {
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm?.protocol === "https:") return realm;
  if (realm?.protocol === "http:" && origin.startsWith("http:")) return realm;
  throw new ImageError(
    "registry",
    `${new URL(origin).host} names ${JSON.stringify(printable(text))} as its token service, which is no HTTPS address; tell its administrator.`,
  );
}

function tokenUrl(realm: URL, service: string | undefined, scope: string): URL {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  url.searchParams.set("scope", scope);
  return url;
}

function passwordHeaders(credentials: Credentials | undefined): Record<string, string> {
  return credentials?.kind === "password" ? { authorization: basicHeader(credentials) } : {};
}

function oauthRequest(
  refreshToken: string,
  service: string | undefined,
  scope: string,
): { method: string; headers: Record<string, string>; body: string } {
  const form = new URLSearchParams({ grant_type: "refresh_token", client_id: CLIENT_ID, scope });
  form.set("refresh_token", refreshToken);
  if (service !== undefined) form.set("service", service);
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  return { method: "POST", headers, body: form.toString() };
}

function tokenOf(body: Buffer, host: string): string {
  try {
    const answer = JSON.parse(body.toString()) as { token?: unknown; access_token?: unknown };
    const token = answer.token ?? answer.access_token;
    // Goes into a header: RFC 6750's b64token.
    if (typeof token === "string" && /^[\w.~+/=:-]+$/.test(token)) return token;
  } catch {
    // Said below.
  }
  throw new ImageError("registry", `The token service ${host} gave an answer without a token; tell its administrator.`);
}
