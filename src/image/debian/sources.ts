/* Which archives apt in an image reads: the host's Debian sources, without what is the host's alone. @source sources.list(5) "DEB822-STYLE FORMAT" */
import { BlockList, isIP } from "node:net";
import type { PackageSource } from "../apt.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Networks that a VM does not reach, or should not. @source RFC 1918, 6598, 3927, 4193, 4291 */
const PRIVATE = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
] as const)
  PRIVATE.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["::", 127],
  ["fc00::", 7],
  ["fe80::", 10],
] as const)
  PRIVATE.addSubnet(network, prefix, "ipv6");

/** A list of sources for /etc/apt/sources.list.d/debian.sources; undefined if the host has none that a VM may use. */
export function imageSources(sources: readonly PackageSource[]): string | undefined {
  const stanzas = new Map<string, { suites: Set<string>; components: Set<string> }>();
  for (const { uri, suite, component, origin } of sources) {
    const address = origin === "Debian" ? publicAddress(uri) : undefined;
    if (address === undefined || !/^[\w./-]+$/.test(suite) || !/^[\w./-]+$/.test(component)) continue;
    const stanza = stanzas.get(address) ?? { suites: new Set(), components: new Set() };
    stanza.suites.add(suite);
    stanza.components.add(component);
    stanzas.set(address, stanza);
  }
  if (stanzas.size === 0) return undefined;
  return [...stanzas]
    .map(
      ([uri, { suites, components }]) =>
        `Types: deb\nURIs: ${uri}\nSuites: ${[...suites].join(" ")}\nComponents: ${[...components].join(" ")}\nSigned-By: ${KEYRING}\n`,
    )
    .join("\n");
}

/** An archive's URL without credentials; undefined if it is a file, or at a private address. */
function publicAddress(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") return undefined;
  url.username = "";
  url.password = "";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const family = isIP(host);
  if (family !== 0 ? PRIVATE.check(host, family === 6 ? "ipv6" : "ipv4") : !isPublicName(host)) return undefined;
  return url.href;
}

/** Names that only the host, or its network, knows have no dot or a reserved end. @source RFC 6761, 6762, 8375 */
function isPublicName(host: string): boolean {
  return host.includes(".") && !/\.(?:localhost|local|internal|lan|home\.arpa|test|invalid)$/.test(host);
}
