/* Credentials for registries, as docker keeps them: config.json with "auths", and programs that keep them elsewhere.
 * @source docker CLI, cli/config/configfile; docker-credential-helpers. Leaves out writing: `docker login` or an editor does that. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ImageError } from "../image-error.ts";
import { isRecord } from "./registry-settings.ts";

export type Credentials =
  | { readonly kind: "password"; readonly user: string; readonly password: string }
  /** For the token service, in exchange for a token. */
  | { readonly kind: "identity"; readonly token: string }
  /** For the registry itself. */
  | { readonly kind: "token"; readonly token: string };

/** A helper that asks its user for a password may take a while; one that hangs must not. */
const HELPER_MS = 60_000;
const LONGEST_ANSWER = 64 * 1024;
/** How a helper says that the secret is an identity token. */
const TOKEN_USER = "<token>";

/** Path of docker's configuration. */
export function dockerConfigFile(): string {
  return join(process.env["DOCKER_CONFIG"] || join(homedir(), ".docker"), "config.json");
}

/** What docker's configuration has for a host. @param host with its port, as in a reference @returns undefined if it has nothing @throws ImageError "bad-config" */
export async function readCredentials(host: string, file = dockerConfigFile()): Promise<Credentials | undefined> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "EACCES") return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    throw new ImageError("bad-config", `Docker's configuration ${file} is no JSON; correct it or remove it.`, {
      cause: error,
    });
  }
  if (!isRecord(config)) return undefined;
  const { auths, credHelpers, credsStore } = config;
  const helper = (isRecord(credHelpers) ? credHelpers[host] : undefined) ?? credsStore;
  if (typeof helper === "string" && /^[\w.-]+$/.test(helper)) {
    const found = await askHelper(`docker-credential-${helper}`, host);
    if (found !== undefined) return found;
  }
  if (!isRecord(auths)) return undefined;
  const entry = Object.entries(auths).find(([key]) => hostOfKey(key) === host)?.[1];
  return isRecord(entry) ? fromEntry(entry) : undefined;
}

/** Old keys are URLs: "https://host/v1/". */
function hostOfKey(key: string): string {
  return key
    .replace(/^https?:\/\//, "")
    .split("/")[0]!
    .toLowerCase();
}

function fromEntry(entry: Record<string, unknown>): Credentials | undefined {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  if (typeof registrytoken === "string" && registrytoken !== "") return { kind: "token", token: registrytoken };
  if (typeof identitytoken === "string" && identitytoken !== "") return { kind: "identity", token: identitytoken };
  if (typeof auth === "string" && auth !== "") {
    const text = Buffer.from(auth, "base64").toString();
    const colon = text.indexOf(":");
    if (colon > 0) return { kind: "password", user: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  if (typeof username === "string" && username !== "" && typeof password === "string")
    return { kind: "password", user: username, password };
  return undefined;
}

/** A helper that is not there, fails or knows nothing is one without credentials: the registry then says whether they are needed. */
function askHelper(program: string, host: string): Promise<Credentials | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, ["get"], { stdio: ["pipe", "pipe", "ignore"], timeout: HELPER_MS });
    let answer = "";
    child.on("error", () => resolve(undefined));
    child.stdin.on("error", () => {}); // it may end before it has read
    child.stdin.end(host);
    child.stdout.on("data", (chunk: Buffer) => {
      answer += chunk.toString();
      if (answer.length > LONGEST_ANSWER) child.kill();
    });
    child.on("close", (status) => resolve(status === 0 ? fromHelper(answer) : undefined));
  });
}

function fromHelper(answer: string): Credentials | undefined {
  try {
    const { Username: user, Secret: secret } = JSON.parse(answer) as { Username?: unknown; Secret?: unknown };
    if (typeof user !== "string" || typeof secret !== "string") return undefined;
    return user === TOKEN_USER ? { kind: "identity", token: secret } : { kind: "password", user, password: secret };
  } catch {
    return undefined;
  }
}
