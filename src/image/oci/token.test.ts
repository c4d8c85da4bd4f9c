/* Authentication: what a registry asks for, what it gets, and who gets nothing. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { ImageError } from "../image-error.ts";
import { pullImage } from "./pull.ts";
import { type RegistryReference, parseReference } from "./reference.ts";
import { TestRegistry, makeParts, tarOf } from "./test-registry.ts";
import { authorize, parseChallenges } from "./token.ts";

const PARTS = makeParts([tarOf({ a: "a" })]);
const PATIENCE = { stallMs: 5000, attempts: 2, firstPauseMs: 1, longestPauseMs: 100 };

test("challenges are read as they are written", () => {
  const read = (header: string): unknown =>
    parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
  assert.deepEqual(read('Bearer realm="https://t.example/token",service="r, \\"x\\"",scope="repository:a:pull,push"'), [
    ["bearer", { realm: "https://t.example/token", service: 'r, "x"', scope: "repository:a:pull,push" }],
  ]);
  assert.deepEqual(read('Basic realm="a", BEARER Realm=b'), [
    ["basic", { realm: "a" }],
    ["bearer", { realm: "b" }],
  ]);
  for (const header of ["", "=", '"', 'a="', ",,,=,", "x".repeat(100_000), '\\"'.repeat(5000)]) parseChallenges(header);
});

let registry: TestRegistry;
let tokens: Server;
let home = "";
/** What the token service was asked. */
let asked: { url: URL; authorization: string | undefined; body: string }[] = [];
/** What the token service gives for one Authorization, body or none. */
let giveToken: (request: { authorization: string | undefined; body: string }) => string | undefined;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "mere-token-"));
  process.env["DOCKER_CONFIG"] = home;
  asked = [];
  giveToken = () => "anonymous";
  tokens = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const { authorization } = request.headers;
      asked.push({ url: new URL(request.url!, "http://x"), authorization, body });
      const token = giveToken({ authorization, body });
      response.writeHead(token === undefined ? 401 : 200).end(JSON.stringify({ token }));
    });
  });
  await new Promise<void>((resolve) => tokens.listen(0, "127.0.0.1", resolve));
  registry = await TestRegistry.start();
  registry.put(PARTS, "1");
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  tokens.closeAllConnections();
  tokens.close();
  rmSync(home, { recursive: true });
});

const service = (): string => `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token?keep=1`;

/** The registry wants one of these. */
function wants(challenge: () => string, isGood: (authorization: string | undefined) => boolean): void {
  registry.behave = (request, response) => {
    if (isGood(request.headers.authorization)) return false;
    response.writeHead(401, { "www-authenticate": challenge() }).end();
    return true;
  };
}

function pull(): Promise<unknown> {
  const reference = parseReference(`${registry.host}/dir/a:1`) as RegistryReference;
  return pullImage(reference, {
    dataDir: join(home, "data"),
    cacheDir: join(home, "cache"),
    patience: PATIENCE,
    settings: { registry: "", registries: {} },
  });
}

function dockerConfig(value: object): void {
  writeFileSync(join(home, "config.json"), JSON.stringify(value));
}

describe("a registry with a token service", () => {
  const bearer = (): string => `Bearer realm="${service()}",service="r",scope="repository:dir/a:pull"`;

  test("gives anybody a token, which is used for all that follows", async () => {
    wants(bearer, (authorization) => authorization === "Bearer anonymous");
    await pull();
    assert.equal(asked.length, 1);
    assert.deepEqual(
      [...asked[0]!.url.searchParams],
      [
        ["keep", "1"],
        ["service", "r"],
        ["scope", "repository:dir/a:pull"],
      ],
    );
    assert.equal(asked[0]!.authorization, undefined);
  });

  test("gets docker's credentials", async () => {
    dockerConfig({ auths: { [`https://${registry.host}/v1/`]: { auth: Buffer.from("u:p:w").toString("base64") } } });
    giveToken = ({ authorization }) =>
      authorization === `Basic ${Buffer.from("u:p:w").toString("base64")}` ? "mine" : undefined;
    wants(bearer, (authorization) => authorization === "Bearer mine");
    await pull();
  });

  test("gets an identity token in exchange", async () => {
    dockerConfig({ auths: { [registry.host]: { identitytoken: "long-lived" } } });
    giveToken = ({ body }) => (new URLSearchParams(body).get("refresh_token") === "long-lived" ? "mine" : undefined);
    wants(bearer, (authorization) => authorization === "Bearer mine");
    await pull();
    assert.equal(new URLSearchParams(asked[0]!.body).get("grant_type"), "refresh_token");
  });

  test("is asked again when a token no longer counts", async () => {
    let given = 0;
    giveToken = () => `t${++given}`;
    let requests = 0;
    wants(bearer, (authorization) => authorization === `Bearer t${given}` && ++requests !== 2);
    await pull();
    assert.equal(given, 2);
  });

  test("that gives none, or nonsense, ends the pull with a sentence", async () => {
    wants(bearer, () => false);
    await assert.rejects(pull(), /does not give dir\/a:1/);
    giveToken = () => undefined;
    await assert.rejects(pull(), (error) => error instanceof ImageError && error.code === "unauthorized");
    giveToken = () => "bad\r\nheader: x";
    await assert.rejects(pull(), (error) => error instanceof ImageError && /without a token/.test(error.message));
  });

  test("behind plain HTTP gets nothing from a registry behind TLS", async () => {
    const request = { credentials: undefined, scope: "s", patience: PATIENCE, signal: undefined };
    const challenges = parseChallenges(bearer());
    await assert.rejects(authorize({ ...request, origin: "https://r.example", challenges }), /no HTTPS address/);
    const odd = parseChallenges('Bearer realm="file:///etc/passwd"');
    await assert.rejects(authorize({ ...request, origin: "http://r.example", challenges: odd }), /no HTTPS address/);
    assert.deepEqual(asked, []);
  });
});

describe("a registry with passwords", () => {
  const expected = `Basic ${Buffer.from("u:p").toString("base64")}`;
  const isGood = (authorization: string | undefined): boolean => authorization === expected;

  test("gets them from docker's configuration", async () => {
    wants(() => 'Basic realm="r"', isGood);
    await assert.rejects(pull(), (error) => error instanceof ImageError && error.code === "unauthorized");
    dockerConfig({ auths: { [registry.host]: { username: "u", password: "p" } } });
    await pull();
  });

  test("gets them from a helper program; one that fails has none", async () => {
    wants(() => "Basic", isGood);
    const bin = join(home, "bin");
    mkdirSync(bin);
    const { PATH = "" } = process.env;
    process.env["PATH"] = `${bin}:${PATH}`;
    try {
      dockerConfig({ credHelpers: { [registry.host]: "test" } });
      await assert.rejects(pull(), /does not give/);
      const helper = join(bin, "docker-credential-test");
      writeFileSync(
        helper,
        `#!/bin/sh\nread host\n[ "$1 $host" = "get ${registry.host}" ] && echo '{"Username":"u","Secret":"p"}'\n`,
      );
      chmodSync(helper, 0o755);
      await pull();
    } finally {
      process.env["PATH"] = PATH;
    }
  });

  test("gives them to no other host that it redirects to", async () => {
    await using other = await TestRegistry.start();
    other.put(PARTS, "1");
    const seen: IncomingMessage[] = [];
    other.behave = (request) => (seen.push(request), false);
    dockerConfig({ auths: { [registry.host]: { username: "u", password: "p" } } });
    registry.behave = (request, response, path) => {
      if (!isGood(request.headers.authorization)) response.writeHead(401, { "www-authenticate": "Basic" }).end();
      else if (path.includes("/blobs/")) response.writeHead(307, { location: `http://${other.host}${path}` }).end();
      else return false;
      return true;
    };
    await pull();
    assert.equal(seen.length, 2);
    assert.ok(seen.every(({ headers }) => headers.authorization === undefined));
  });
});

test("docker's configuration that is no JSON is named", async () => {
  wants(
    () => "Basic",
    () => false,
  );
  writeFileSync(join(home, "config.json"), "{");
  await assert.rejects(pull(), (error) => error instanceof ImageError && error.code === "bad-config");
});
