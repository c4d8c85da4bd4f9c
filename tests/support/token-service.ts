/* A token service that a real registry believes: tokens signed with a key whose certificate the registry knows. @source distribution "Token Authentication
 * Implementation" (JSON Web Tokens), RFC 7519, RFC 7515 (x5c) */
import { createHash, createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { runCommand } from "../../src/image/command.ts";

const ISSUER = "mere tests";
const SERVICE = "registry";

export class TokenService implements Disposable {
  /** Authorization headers of the requests, "" where there was none. */
  readonly asked: string[] = [];
  readonly #server: Server;
  readonly #directory: string;

  private constructor(server: Server, directory: string) {
    this.#server = server;
    this.#directory = directory;
  }

  /** Gives tokens to `user` with `password`. Needs openssl. */
  static async start(directory: string, user: string, password: string): Promise<TokenService> {
    const [key, certificate] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
    const made = await runCommand("openssl", [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      key,
      "-out",
      certificate,
      "-subj",
      "/CN=t",
      "-days",
      "2",
    ]);
    if (made.status !== 0) throw new Error(made.stderr);
    const privateKey = createPrivateKey(await readFile(key));
    const x5c = [(await readFile(certificate, "utf8")).replace(/-----[^-]+-----|\s/g, "")];
    const expected = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    const server = createServer((request, response) => {
      const { authorization = "" } = request.headers;
      service.asked.push(authorization);
      if (authorization !== expected) return void response.writeHead(401).end("{}");
      const scope = new URL(request.url!, "http://x").searchParams.get("scope") ?? "";
      const [type, name, actions] = scope.split(":");
      const now = Math.floor(Date.now() / 1000);
      const access = scope === "" ? [] : [{ type, name, actions: actions!.split(",") }];
      const claims = {
        iss: ISSUER,
        aud: SERVICE,
        sub: user,
        nbf: now - 10,
        iat: now,
        exp: now + 300,
        jti: randomUUID(),
        access,
      };
      const text = [{ typ: "JWT", alg: "RS256", x5c }, claims]
        .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
        .join(".");
      const token = `${text}.${sign("sha256", Buffer.from(text), privateKey).toString("base64url")}`;
      response.end(JSON.stringify({ token, etag: createHash("md5").update(token).digest("hex") }));
    });
    const service = new TokenService(server, directory);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return service;
  }

  /** docker-registry's "auth" section. */
  get auth(): object {
    const { port } = this.#server.address() as AddressInfo;
    return {
      token: {
        realm: `http://127.0.0.1:${port}/token`,
        service: SERVICE,
        issuer: ISSUER,
        rootcertbundle: join(this.#directory, "certificate.pem"),
      },
    };
  }

  [Symbol.dispose](): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
