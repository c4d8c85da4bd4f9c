import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatIpv4, parseIpv4 } from "./address.ts";
import { NetworkError } from "./network-error.ts";
import { HOST_LOOPBACK, Policy, hostAddresses, parseRule } from "./policy.ts";

const at = (text: string) => parseIpv4(text)!;
function policy(rules: string, own: string[] = []): Policy {
  const words = rules.split(" ").filter((word) => word !== "");
  return new Policy(
    words.map((word) => parseRule(word.startsWith("+") ? "allow" : "deny", word.slice(1))),
    () => own.map(at),
  );
}
function permits(rules: string, address: string, port = 80, protocol: "tcp" | "udp" = "tcp", own: string[] = []) {
  return policy(rules, own).permits(at(address), port, protocol);
}

describe("isolation", () => {
  for (const address of [
    "127.0.0.1",
    "127.255.255.255",
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "192.0.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.251",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
  ])
    test(`keeps guests from ${address}`, () => assert.equal(permits("", address), false));
  for (const address of [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.0.1",
    "223.255.255.1",
  ])
    test(`lets them reach ${address}`, () => assert.equal(permits("", address), true));
  test("keeps them from the host's own public address, whichever interface bears it", () => {
    assert.equal(permits("", "1.2.3.4", 80, "tcp", ["5.6.7.8", "1.2.3.4"]), false);
    assert.equal(permits("", "1.2.3.5", 80, "tcp", ["5.6.7.8", "1.2.3.4"]), true);
    assert.equal(permits("+1.2.0.0/16", "1.2.3.4", 80, "tcp", ["1.2.3.4"]), false);
    assert.equal(permits("+1.2.3.4", "1.2.3.4", 80, "tcp", ["1.2.3.4"]), true);
    assert.equal(policy("").permits(at("1.2.3.4"), 80, "tcp", true), false);
  });
  test("asks for the host's addresses at each connection", () => {
    let own: number[] = [];
    const changing = new Policy([], () => own);
    assert.equal(changing.permits(at("8.8.8.8"), 53, "udp"), true);
    own = [at("8.8.8.8")];
    assert.equal(changing.permits(at("8.8.8.8"), 53, "udp"), false);
    assert.ok(hostAddresses().every((address) => address >>> 24 !== 127));
  });
});

describe("the most specific rule", () => {
  test("decides by prefix, whatever the order", () => {
    for (const rules of ["+10.0.0.0/8 -10.1.0.0/16 +10.1.2.0/24", "+10.1.2.0/24 -10.1.0.0/16 +10.0.0.0/8"]) {
      assert.equal(permits(rules, "10.9.9.9"), true);
      assert.equal(permits(rules, "10.1.9.9"), false);
      assert.equal(permits(rules, "10.1.2.9"), true);
    }
  });
  test("then by the number of ports, then by protocol, then deny", () => {
    const ports = "-1.1.1.1 +1.1.1.1:443 -1.1.1.1:400-500/udp +1.1.1.1:443/udp";
    assert.equal(permits(ports, "1.1.1.1", 80), false);
    assert.equal(permits(ports, "1.1.1.1", 443), true);
    assert.equal(permits(ports, "1.1.1.1", 443, "udp"), true);
    assert.equal(permits(ports, "1.1.1.1", 444, "udp"), false);
    assert.equal(permits("+2.2.2.2 -2.2.2.2/udp", "2.2.2.2", 1, "udp"), false);
    assert.equal(permits("+2.2.2.2 -2.2.2.2/udp", "2.2.2.2", 1, "tcp"), true);
    assert.equal(permits("+2.2.2.2 -2.2.2.2", "2.2.2.2"), false);
  });
  test("is the built-in one where the user's is wider", () => {
    assert.equal(permits("+all", "10.0.0.1"), false);
    assert.equal(permits("+10.0.0.0/7", "10.0.0.1"), false);
    assert.equal(permits("+10.0.0.0/8", "10.0.0.1"), true);
    assert.equal(permits("+169.254.169.254", "169.254.169.254"), true);
    assert.equal(permits("+169.254.169.254", "169.254.169.253"), false);
  });
  test("of --deny all and an exception is a whole policy", () => {
    assert.equal(permits("-all +140.82.0.0/16:443/tcp", "140.82.1.1", 443), true);
    assert.equal(permits("-all +140.82.0.0/16:443/tcp", "140.82.1.1", 80), false);
    assert.equal(permits("-all +140.82.0.0/16:443/tcp", "140.82.1.1", 443, "udp"), false);
    assert.equal(permits("-all +140.82.0.0/16:443/tcp", "8.8.8.8", 443), false);
  });
  test("host opens a port of the loopback and nothing else", () => {
    assert.equal(policy("+host:8080").permits(HOST_LOOPBACK, 8080, "tcp"), true);
    assert.equal(policy("+host:8080").permits(HOST_LOOPBACK, 8081, "tcp"), false);
    assert.equal(permits("+host:8080", "127.0.0.2", 8080), false);
    assert.equal(policy("+host:8080").permitsHost(), true);
    assert.equal(policy("+127.0.0.0/8").permitsHost(), true);
    assert.equal(policy("-host").permitsHost(), false);
    assert.equal(policy("+all").permitsHost(), false);
    assert.equal(policy("").permitsHost(), false);
  });
  test("decides on names too", () => {
    assert.equal(policy("").permitsDns(), true);
    assert.equal(policy("-dns").permitsDns(), false);
    assert.equal(policy("-all").permitsDns(), false);
    assert.equal(policy("-all:443").permitsDns(), true);
    assert.equal(policy("-all +dns").permitsDns(), true);
    assert.equal(policy("+dns -dns").permitsDns(), false);
    assert.equal(policy("-8.8.8.8").permitsDns(), true);
  });
});

describe("a rule's text", () => {
  test("is read in all its forms", () => {
    const range = { base: at("10.1.0.0"), prefix: 16 };
    assert.deepEqual(parseRule("allow", "10.1.2.3/16:80-90/udp"), {
      action: "allow",
      target: range,
      firstPort: 80,
      lastPort: 90,
      protocol: "udp",
    });
    assert.deepEqual(parseRule("deny", "all"), {
      action: "deny",
      target: { base: 0, prefix: 0 },
      firstPort: 0,
      lastPort: 65_535,
      protocol: undefined,
    });
    assert.deepEqual(parseRule("allow", "1.2.3.4/tcp").target, { base: at("1.2.3.4"), prefix: 32 });
  });
  for (const text of [
    "",
    "example.org",
    "1.2.3",
    "1.2.3.4/33",
    "01.2.3.4",
    "1.2.3.4:0",
    "1.2.3.4:65536",
    "1.2.3.4:90-80",
    "1.2.3.4:80-",
    "1.2.3.4/icmp",
    "dns:53",
    "::1",
    "fd00::/8",
    " 1.2.3.4",
  ])
    test(`"${text}" is refused`, () =>
      assert.throws(
        () => parseRule("allow", text),
        (error) => error instanceof NetworkError && error.code === "bad-rule" && error.message.includes("--allow"),
      ));
});

test("every address is judged the same by the rules and by a plain search for the longest prefix", () => {
  const address = fc.integer({ min: 0, max: 0xffffffff });
  const rules = fc.array(fc.record({ allow: fc.boolean(), address, prefix: fc.integer({ min: 0, max: 32 }) }), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(rules, address, fc.nat(), (all, base, pick) => {
      // Mostly addresses that some rule is about.
      const asked = all.length > 0 && pick % 3 > 0 ? all[pick % all.length]!.address : base;
      const texts = all.map((rule) => `${rule.allow ? "+" : "-"}${formatIpv4(rule.address)}/${rule.prefix}`);
      const covers = (rule: { address: number; prefix: number }) =>
        rule.prefix === 0 || rule.address >>> (32 - rule.prefix) === asked >>> (32 - rule.prefix);
      const matching = all.filter(covers);
      const longest = Math.max(-1, ...matching.map(({ prefix }) => prefix));
      const isOpen = policy("").permits(asked, 80, "tcp");
      if (longest < 0) assert.equal(policy(texts.join(" ")).permits(asked, 80, "tcp"), isOpen);
      else if (isOpen || longest >= 24) {
        const allowed = matching.filter(({ prefix }) => prefix === longest).every(({ allow }) => allow);
        assert.equal(policy(texts.join(" ")).permits(asked, 80, "tcp"), allowed);
      }
    }),
  );
});
