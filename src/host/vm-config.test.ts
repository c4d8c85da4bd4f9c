/* Options of a VM: what they become, and what is said of mistakes. */
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { HostError } from "./host-error.ts";
import { parseDisk, parsePort, parseSizeBytes, parseVolume, resolveVmOptions, type VmOptions } from "./vm-config.ts";

function mistake(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof HostError && error.code === "bad-option", String(error));
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

test("no options are Debian with one CPU and 512 MiB, a network of its own, and no main process", () => {
  const config = resolveVmOptions({});
  assert.equal(config.image, "debian");
  assert.equal(config.cpus, 1);
  assert.equal(config.memoryBytes, 512 << 20);
  assert.equal(config.command, null);
  assert.deepEqual(config.network, {
    mode: "nat",
    name: null,
    address: null,
    gateway: null,
    allow: [],
    deny: [],
    dns: [],
  });
  assert.deepEqual(JSON.parse(JSON.stringify(config)), config, "it is plain data");
});

test("sizes are bytes or words", () => {
  assert.equal(parseSizeBytes("x", 4096), 4096);
  assert.equal(parseSizeBytes("x", "1.5GiB"), 1.5 * 2 ** 30);
  assert.equal(parseSizeBytes("x", "512m"), 512 << 20);
  assert.equal(parseSizeBytes("x", "512MB"), 512 << 20);
  for (const wrong of ["", "much", "-1", "1.5.5G", "9".repeat(30)]) mistake(() => parseSizeBytes("x", wrong));
  mistake(() => parseSizeBytes("x", -4096));
  mistake(() => parseSizeBytes("x", Number.NaN));
});

test("ports name the host's side, the guest's and the protocol", () => {
  const any = { hostAddress: "127.0.0.1", hostPort: 0, guestPort: 80, protocol: "tcp" };
  assert.deepEqual(parsePort("80"), any);
  assert.deepEqual(parsePort(":80"), any);
  assert.deepEqual(parsePort("8080:80"), { ...any, hostPort: 8080 });
  assert.deepEqual(parsePort("0.0.0.0:53:53/udp"), {
    hostAddress: "0.0.0.0",
    hostPort: 53,
    guestPort: 53,
    protocol: "udp",
  });
  assert.deepEqual(parsePort("[::1]:8080:80"), { ...any, hostAddress: "::1", hostPort: 8080 });
  for (const wrong of ["", "x", "80:x", "70000", "80:0", "1:2:3:4", "80/sctp"]) mistake(() => parsePort(wrong));
});

test("volumes are a directory and an absolute path", () => {
  assert.deepEqual(parseVolume(".:/data"), { host: resolve("."), guest: "/data", readOnly: false });
  assert.deepEqual(parseVolume("/srv:/data/x/:ro"), { host: "/srv", guest: "/data/x", readOnly: true });
  assert.deepEqual(parseVolume("/a:b:/c"), { host: "/a:b", guest: "/c", readOnly: false });
  for (const wrong of ["", "/data", "/srv:data", "/srv:/"]) mistake(() => parseVolume(wrong));
});

test("disks are a name or a file, perhaps with where they are mounted", () => {
  assert.deepEqual(parseDisk("data"), { disk: "data", guest: null, readOnly: false });
  assert.deepEqual(parseDisk("./data.img,ro"), { disk: resolve("data.img"), guest: null, readOnly: true });
  assert.deepEqual(parseDisk("data:/var/lib,ro"), { disk: "data", guest: "/var/lib", readOnly: true });
  mistake(() => parseDisk("data:/"));
});

describe("mistakes are one sentence", () => {
  const cases: [VmOptions, RegExp][] = [
    [{ cpus: 0 }, /1 to 8 CPUs, not 0/],
    [{ cpus: 1.5 }, /not 1.5/],
    [{ memory: "1M" }, /memory "1M" is outside 64 MiB/],
    [{ network: { mode: "bridge" as "nat" } }, /no network "bridge"/],
    [{ network: { name: "a b" } }, /"a b" cannot be a network's name/],
    [{ hostname: "-x" }, /"-x" cannot be a host name/],
    [{ timezone: "../etc/passwd" }, /no time zone/],
    [{ env: { "A=B": "c" } }, /"A=B" cannot be a variable/],
    [{ command: ["a\0b"] }, /NUL/],
    [{ ports: [{ guestPort: 0 }] }, /0 cannot be the guest's port/],
  ];
  for (const [options, expected] of cases)
    test(String(expected), () => {
      const message = mistake(() => resolveVmOptions(options));
      assert.match(message, expected);
      assert.match(message, /\.$/);
    });
});
