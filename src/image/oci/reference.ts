/* Names of images as people write them. @source distribution's reference grammar (docs of the OCI distribution specification, "Pulling manifests"):
 *
 *   [host[:port]/]path[:tag][@digest]      path: components of a-z 0-9 with . _ __ - between, separated by /
 *
 * Leaves out digests other than SHA-256. Which registry serves names without a host is for endpoints.ts. */
import { ImageError } from "../image-error.ts";

/** An image in a registry. */
export interface RegistryReference {
  readonly kind: "registry";
  /** "" if the text names none. */
  readonly host: string;
  /** Repository, without "library/" if that was left out. */
  readonly path: string;
  /** "" with a digest alone. */
  readonly tag: string;
  /** "sha256:…" of the manifest or index, or "". */
  readonly digest: string;
  /** The same for the same image: how the store names it. */
  readonly name: string;
}

/** An image made of Debian's packages. */
export interface DebianReference {
  readonly kind: "debian";
  /** Sorted, each once; what every Debian image has is not among them unless asked for. */
  readonly packages: readonly string[];
  readonly name: string;
}

export type Reference = RegistryReference | DebianReference;

const DEBIAN = "debian";
const DEFAULT_TAG = "latest";
/** Longer is no repository anywhere. */
const LONGEST_PATH = 255;
const COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** A DNS name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. */
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/;
/** @source Debian Policy 5.6.1 "Source" and 5.6.7 "Package" */
const PACKAGE = /^[a-z0-9][a-z0-9+.-]+$/;

/** Reads a reference. @throws ImageError "bad-reference" */
export function parseReference(text: string): Reference {
  if (text === DEBIAN) return debianReference(text, []);
  if (text.startsWith(`${DEBIAN}:`)) return debianReference(text, text.slice(DEBIAN.length + 1).split(","));
  return registryReference(text);
}

function debianReference(text: string, names: readonly string[]): DebianReference {
  const wrong = names.find((name) => !PACKAGE.test(name));
  if (wrong !== undefined)
    throw badReference(
      text,
      `${JSON.stringify(wrong)} is no Debian package; write debian or debian:PACKAGE,PACKAGE, or the registry's host before a registry's image`,
    );
  const packages = [...new Set(names)].sort();
  return { kind: "debian", packages, name: packages.length === 0 ? DEBIAN : `${DEBIAN}:${packages.join(",")}` };
}

function registryReference(text: string): RegistryReference {
  const [named, digest = "", ...more] = text.split("@");
  if (more.length > 0 || (text.includes("@") && !DIGEST.test(digest)))
    throw badReference(text, "what follows @ must be sha256: and 64 hexadecimal digits");
  const first = named!.split("/", 1)[0]!;
  const hasHost = named!.includes("/") && /[.:]|^localhost$|[A-Z]/.test(first);
  const rest = hasHost ? named!.slice(first.length + 1) : named!;
  const colon = rest.lastIndexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? (digest === "" ? DEFAULT_TAG : "") : rest.slice(colon + 1);
  if (hasHost && !HOST.test(first)) throw badReference(text, `${JSON.stringify(first)} is no host`);
  if (path.length > LONGEST_PATH || path.split("/").some((component) => !COMPONENT.test(component)))
    throw badReference(text, "write it as name:tag or host/name:tag, in small letters");
  if (colon >= 0 && !TAG.test(tag)) throw badReference(text, `${JSON.stringify(tag)} is no tag`);
  const host = hasHost ? first.toLowerCase() : "";
  // "library/nginx" is what "nginx" is short for; "library/debian" must stay apart from "debian".
  const short = /^library\/([^/]+)$/.exec(path)?.[1];
  const shown = host === "" && short !== undefined && short !== DEBIAN ? short : path;
  const name = `${host === "" ? "" : `${host}/`}${shown}${tag === "" ? "" : `:${tag}`}${digest === "" ? "" : `@${digest}`}`;
  return { kind: "registry", host, path: shown, tag, digest, name };
}

function badReference(text: string, why: string): ImageError {
  return new ImageError("bad-reference", `${JSON.stringify(text.slice(0, 300))} names no image: ${why}.`);
}

/** The name under which the store keeps what an archive calls `text`: "debian:12" of an archive is no image made of packages. @throws ImageError */
export function archiveName(text: string): string {
  return registryReference(/^debian(?:[:@]|$)/.test(text) ? `library/${text}` : text).name;
}

/** Is the text an id, or the beginning of one long enough to mean one image? @returns its hexadecimal digits, or undefined */
export function idDigits(text: string): string | undefined {
  return /^(?:sha256:)?([0-9a-f]{12,64})$/.exec(text)?.[1];
}
