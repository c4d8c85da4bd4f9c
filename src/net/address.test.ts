import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AddressPool,
  BROADCAST_MAC,
  GATEWAY_MAC,
  ISOLATED,
  cidrContains,
  formatCidr,
  formatIpv4,
  formatMac,
  ipv4At,
  isMulticastMac,
  lastOf,
  macAt,
  macOf,
  maskOf,
  networkOf,
  parseCidr,
  parseIpv4,
  parseMac,
  putIpv4,
  putMac,
} from "./address.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u48 = fc.integer({ min: 0, max: 0xffff_ffff_ffff });

test("addresses come back from text and frames as they went", () => {
  fc.assert(
    fc.property(u32, u48, fc.nat(20), (ipv4, mac, at) => {
      assert.equal(parseIpv4(formatIpv4(ipv4)), ipv4);
      assert.equal(parseMac(formatMac(mac)), mac);
      const bytes = new Uint8Array(32);
      putIpv4(bytes, at, ipv4);
      putMac(bytes, at + 4, mac);
      assert.deepEqual([ipv4At(bytes, at), macAt(bytes, at + 4)], [ipv4, mac]);
      assert.equal([...bytes].slice(at, at + 4).join("."), formatIpv4(ipv4));
      assert.equal(
        bytes
          .slice(at + 4, at + 10)
          .toHex()
          .replaceAll(/..(?!$)/g, "$&:"),
        formatMac(mac),
      );
    }),
  );
});

test("text that is no address is none", () => {
  for (const bad of ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1.2.3.-4", "0x1.2.3.4", "a.b.c.d"])
    assert.equal(parseIpv4(bad), undefined, bad);
  for (const bad of ["", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/08", "1.2.3/8", "1.2.3.4/8/8", "/8"])
    assert.equal(parseCidr(bad), undefined, bad);
  for (const bad of [
    "",
    "02:00:00:00:00",
    "02:00:00:00:00:0",
    "02:00:00:00:00:0g",
    "02:00-00:00:00:00",
    "020000000000",
  ])
    assert.equal(parseMac(bad), undefined, bad);
  assert.equal(parseMac("AA-BB-CC-DD-EE-FF"), 0xaabbccddeeff);
});

test("networks contain what their prefix says", () => {
  assert.deepEqual(parseCidr("10.1.2.3/8"), { base: 0x0a000000, prefix: 8 });
  assert.deepEqual(parseCidr("255.255.255.255"), { base: 0xffffffff, prefix: 32 });
  assert.deepEqual(parseCidr("1.2.3.4/0"), { base: 0, prefix: 0 });
  assert.deepEqual([0, 1, 8, 31, 32].map(maskOf), [0, 0x80000000, 0xff000000, 0xfffffffe, 0xffffffff]);
  fc.assert(
    fc.property(u32, u32, fc.nat(32), (address, other, prefix) => {
      const cidr = parseCidr(`${formatIpv4(address)}/${prefix}`)!;
      assert.ok(cidrContains(cidr, address) && cidrContains(cidr, lastOf(cidr)));
      const same = BigInt(address) >> BigInt(32 - prefix) === BigInt(other) >> BigInt(32 - prefix);
      assert.equal(cidrContains(cidr, other), same);
      assert.equal(lastOf(cidr) - cidr.base, 2 ** (32 - prefix) - 1);
    }),
  );
  for (const address of [ISOLATED.guest, ISOLATED.gateway, ISOLATED.dns])
    assert.ok(cidrContains(ISOLATED.network, address));
});

test("VMs' MACs are unicast, locally administered, stable, and never the gateway's", () => {
  const macs = Array.from({ length: 1000 }, (_, i) => macOf(`vm${i}`));
  assert.equal(new Set([...macs, macOf("vm0", 1), GATEWAY_MAC]).size, 1002);
  assert.equal(macOf("vm7"), macs[7]);
  for (const mac of macs) assert.ok(formatMac(mac).startsWith("02:"));
  assert.deepEqual([macs[0]!, GATEWAY_MAC, BROADCAST_MAC, 0x0100_5e00_0001].map(isMulticastMac), [
    false,
    false,
    true,
    true,
  ]);
});

test("a pool gives each address once, fills gaps, and says when it is empty", () => {
  const pool = new AddressPool(parseCidr("192.168.7.0/29")!);
  assert.deepEqual([pool.gateway, pool.dns].map(formatIpv4), ["192.168.7.1", "192.168.7.2"]);
  const given = [pool.allocate(), pool.allocate(), pool.allocate(), pool.allocate()];
  assert.deepEqual(given.map(formatIpv4), ["192.168.7.3", "192.168.7.4", "192.168.7.5", "192.168.7.6"]);
  assert.throws(() => pool.allocate(), { code: "exhausted", message: /192\.168\.7\.0\/29/ });
  pool.release(given[1]!);
  pool.release(given[1]!);
  pool.reserve(given[1]!);
  for (const bad of [given[1]!, pool.gateway, pool.dns, lastOf(pool.network), 0x01020304])
    assert.throws(() => pool.reserve(bad), { code: "taken" });
  pool.release(given[2]!);
  assert.equal(pool.allocate(), given[2]);
  assert.throws(() => pool.allocate(), { code: "exhausted" });
  for (const bad of ["0.0.0.0/0", "10.0.0.0/30"])
    assert.throws(() => new AddressPool(parseCidr(bad)!), { code: "bad-network" });
});

test("a named network's addresses follow from its name", () => {
  const network = networkOf("blue");
  assert.deepEqual(networkOf("blue"), network);
  assert.notDeepEqual(networkOf("green"), network);
  assert.ok(
    cidrContains(parseCidr("10.128.0.0/9")!, network.base) && cidrContains(parseCidr("10.128.0.0/9")!, lastOf(network)),
  );
  assert.equal(parseCidr(formatCidr(network))!.base, network.base);
});
