/* Which registry serves a reference, and how it is reached: the user's choice (docs/images.md "References"). @source XDG Base Directory Specification */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ImageError } from "../image-error.ts";
import type { RegistryReference } from "./reference.ts";

export interface RegistrySettings {
  /** Host for names without one; "" if none is set. */
  readonly registry: string;
  readonly registries: Readonly<Record<string, HostSettings>>;
}

export interface HostSettings {
  /** Plain HTTP. */
  readonly insecure?: boolean;
  /** A host that is asked before this one. */
  readonly mirror?: string;
}

/** One host to ask for an image. */
export interface Endpoint {
  readonly host: string;
  /** "https://host" without a slash at the end. */
  readonly origin: string;
  /** Repositories to ask for, in order: the first that is there. */
  readonly repositories: readonly string[];
}

const VARIABLE = "MERE_REGISTRY";
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/;
const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/;

/** Path of Mere's configuration. */
export function configFile(): string {
  const base = process.env["XDG_CONFIG_HOME"];
  return join(base !== undefined && base.startsWith("/") ? base : join(homedir(), ".config"), "mere/config.json");
}

/** Reads the settings from the configuration file and the environment, which has the last word. @throws ImageError "bad-config" */
export async function readRegistrySettings(file = configFile()): Promise<RegistrySettings> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return "{}";
    throw badConfig(file, `it cannot be read (${error.code ?? error.message})`);
  });
  const settings = checkSettings(parse(file, text), file);
  const registry = process.env[VARIABLE];
  if (registry === undefined || registry === "") return settings;
  if (!HOST.test(registry))
    throw new ImageError(
      "bad-config",
      `${VARIABLE} is ${JSON.stringify(registry)}, which is no host; write a host and perhaps a port, as in registry.example:5000.`,
    );
  return { ...settings, registry };
}

function parse(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badConfig(file, `it is no JSON (${(error as Error).message})`);
  }
}

function checkSettings(value: unknown, file: string): RegistrySettings {
  if (!isRecord(value)) throw badConfig(file, "it must be an object");
  const { registry = "", registries = {} } = value;
  if (typeof registry !== "string" || (registry !== "" && !HOST.test(registry)))
    throw badConfig(file, '"registry" must be a host, as in "registry.example:5000"');
  if (!isRecord(registries)) throw badConfig(file, '"registries" must be an object with a member for each host');
  const checked: Record<string, HostSettings> = {};
  for (const [host, settings] of Object.entries(registries)) {
    const { insecure, mirror } = isRecord(settings) ? settings : {};
    if (
      !isRecord(settings) ||
      (insecure !== undefined && typeof insecure !== "boolean") ||
      (mirror !== undefined && (typeof mirror !== "string" || !HOST.test(mirror)))
    )
      throw badConfig(
        file,
        `"registries" has for ${JSON.stringify(host)} no {"insecure": true or false, "mirror": host}`,
      );
    checked[host.toLowerCase()] = {
      ...(insecure !== undefined && { insecure }),
      ...(mirror !== undefined && { mirror }),
    };
  }
  return { registry, registries: checked };
}

/** The hosts to ask for an image, in order. @throws ImageError "no-registry" */
export function endpointsFor(reference: RegistryReference, settings: RegistrySettings): Endpoint[] {
  const host = reference.host === "" ? settings.registry.toLowerCase() : reference.host;
  if (host === "")
    throw new ImageError(
      "no-registry",
      `${reference.name} names no registry and none is set; write its host before it, as in registry.example/${reference.path}, or set ${VARIABLE} or "registry" in ${configFile()}.`,
    );
  const isShort = reference.host === "" && !reference.path.includes("/");
  const repositories = isShort ? [`library/${reference.path}`, reference.path] : [reference.path];
  const { mirror } = settings.registries[host] ?? {};
  return [...(mirror === undefined ? [] : [mirror.toLowerCase()]), host].map((name) => ({
    host: name,
    origin: `${isPlain(name, settings) ? "http" : "https"}://${name}`,
    repositories,
  }));
}

function isPlain(host: string, settings: RegistrySettings): boolean {
  return settings.registries[host]?.insecure ?? LOOPBACK.test(host);
}

/** An object that is no array: what JSON calls an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function badConfig(file: string, why: string): ImageError {
  return new ImageError("bad-config", `Mere's configuration ${file} cannot be used: ${why}; correct it or remove it.`);
}
