/* Where a VM may connect to through the gateway: rules by address, port and protocol, of which the most specific one that matches decides; built-in ones keep
 * VMs away from the host and private networks. What is judged is the address that is connected to, so names cannot be rebound.
 * @source docs/network.md "Policy"; RFC 6890 (special-purpose addresses). Leaves out: names in rules, IPv6 (guests have none). */
import { networkInterfaces } from "node:os";
import { type Cidr, type Ipv4, cidrContains, parseCidr, parseIpv4 } from "./address.ts";
import { NetworkError } from "./network-error.ts";

export type Protocol = "tcp" | "udp";

/** One line of the lists that a user gives. */
export interface Rule {
  readonly action: "allow" | "deny";
  /** Addresses; "dns" is the gateway's name service as a whole. */
  readonly target: Cidr | "dns";
  readonly firstPort: number;
  readonly lastPort: number;
  /** undefined: both */
  readonly protocol: Protocol | undefined;
}

/** What the guest's connections to the gateway's own address are connected to, and judged as. */
export const HOST_LOOPBACK: Ipv4 = 0x7f00_0001;
const LOOPBACK: Cidr = { base: 0x7f00_0000, prefix: 8 };

/** Not reached without a rule: this network, private, shared (CGNAT), loopback, link-local with the clouds' metadata, protocol assignments, documentation,
 *  6to4 relays, benchmarks, multicast, reserved, broadcast. */
const CLOSED: readonly Cidr[] = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
].map((text) => parseCidr(text)!);

const RULE = /^(host|dns|all|[0-9.]+(?:\/[0-9]+)?)(?::([0-9]+)(?:-([0-9]+))?)?(?:\/(tcp|udp))?$/;
const NAMED: Record<string, Cidr | "dns"> = {
  host: { base: HOST_LOOPBACK, prefix: 32 },
  all: { base: 0, prefix: 0 },
  dns: "dns",
};

/** Reads `CIDR[:port[-port]][/tcp|udp]`; instead of a CIDR `host` (the host's 127.0.0.1, which guests reach by the gateway's address), `all` (0.0.0.0/0), or
 *  `dns` alone. @throws NetworkError "bad-rule" */
export function parseRule(action: Rule["action"], text: string): Rule {
  const [, name, first, last, protocol] = RULE.exec(text) ?? [];
  const target = name === undefined ? undefined : (NAMED[name] ?? parseCidr(name));
  const firstPort = Number(first ?? 0);
  const lastPort = first === undefined ? 65_535 : Number(last ?? first);
  const badPorts = lastPort > 65_535 || firstPort > lastPort || (first !== undefined && firstPort === 0);
  if (target === undefined || badPorts || (target === "dns" && text !== "dns"))
    throw new NetworkError(
      "bad-rule",
      `"${text}" is no rule for --${action}: write an address or CIDR, host or all, with :port or :port-port and /tcp or /udp if wanted ` +
        `(10.1.0.0/16:443/tcp), or dns; names are not taken, because their addresses change.`,
    );
  return { action, target, firstPort, lastPort, protocol: protocol as Protocol | undefined };
}

/** The host's IPv4 addresses at this moment, without loopback. */
export function hostAddresses(): Ipv4[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .flatMap(({ family, address }) => (family === "IPv4" ? [parseIpv4(address) ?? 0] : []))
    .filter((address) => !cidrContains(LOOPBACK, address));
}

export class Policy {
  readonly #rules: readonly Rule[];
  readonly #ownAddresses: () => readonly Ipv4[];

  /** @param rules in any order: the longest prefix decides, then the fewest ports, then a rule with a protocol, then "deny"
   *  @param ownAddresses asked at each connection */
  constructor(rules: readonly Rule[] = [], ownAddresses: () => readonly Ipv4[] = hostAddresses) {
    this.#rules = rules.toSorted(bySpecificity);
    this.#ownAddresses = ownAddresses;
  }

  /** May a guest connect or send there?
   *  @param isLocal known to be an address of the host's, though no interface shows it */
  permits(address: Ipv4, port: number, protocol: Protocol, isLocal = false): boolean {
    const rule = this.#match(address, port, protocol);
    if (rule !== undefined && prefixOf(rule) === 32) return rule.action === "allow";
    // The host's own addresses are closed one by one: a rule for their network does not open them.
    if (!cidrContains(LOOPBACK, address) && (isLocal || this.#ownAddresses().includes(address))) return false;
    const closed = CLOSED.find((cidr) => cidrContains(cidr, address));
    if (closed !== undefined && (rule === undefined || prefixOf(rule) < closed.prefix)) return false;
    return rule === undefined || rule.action === "allow";
  }

  /** Are names resolved? As a rule for `dns` says, else as one for everything does that covers port 53, else yes. */
  permitsDns(): boolean {
    const own = this.#rules.find(({ target }) => target === "dns");
    const rule = own ?? this.#rules.find((each) => prefixOf(each) === 0 && matches(each, 0, 53, "udp"));
    return rule === undefined || rule.action === "allow";
  }

  /** Is any port of the host's loopback open? */
  permitsHost(): boolean {
    return this.#rules.some(
      ({ action, target }) =>
        action === "allow" &&
        target !== "dns" &&
        target.prefix >= LOOPBACK.prefix &&
        cidrContains(target, HOST_LOOPBACK),
    );
  }

  #match(address: Ipv4, port: number, protocol: Protocol): Rule | undefined {
    return this.#rules.find((rule) => matches(rule, address, port, protocol));
  }
}

function matches({ target, firstPort, lastPort, ...rule }: Rule, address: Ipv4, port: number, protocol: Protocol) {
  if (target === "dns" || port < firstPort || port > lastPort) return false;
  return (rule.protocol === undefined || rule.protocol === protocol) && cidrContains(target, address);
}
function prefixOf({ target }: Rule): number {
  return target === "dns" ? -1 : target.prefix;
}
function bySpecificity(a: Rule, b: Rule): number {
  const ports = (rule: Rule) => rule.lastPort - rule.firstPort;
  const rank = (rule: Rule) => (rule.protocol === undefined ? 2 : 0) + (rule.action === "deny" ? 0 : 1);
  return prefixOf(b) - prefixOf(a) || ports(a) - ports(b) || rank(a) - rank(b);
}
