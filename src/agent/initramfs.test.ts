import assert from "node:assert/strict";
import { test } from "node:test";
import { type AgentConfig, buildAgentInitramfs } from "./initramfs.ts";

const module = (name: string) => ({ name, data: Buffer.from(`module ${name}`) });
const root = { device: "/dev/vda" };

/** Files of a newc archive by name. @source Linux Documentation/driver-api/early-userspace/buffer-format.rst */
function unpack(archive: Uint8Array): Map<string, string> {
  const bytes = Buffer.from(archive);
  const files = new Map<string, string>();
  for (let at = 0; ;) {
    const number = (index: number): number =>
      Number.parseInt(bytes.toString("latin1", at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [size, nameSize] = [number(6), number(11)];
    const name = bytes.toString("utf8", at + 110, at + 110 + nameSize - 1);
    if (name === "TRAILER!!!") return files;
    const start = (at + 110 + nameSize + 3) & ~3;
    files.set(name, bytes.toString("utf8", start, start + size));
    at = (start + size + 3) & ~3;
  }
}
const build = (config: Partial<AgentConfig>, later: string[] = []): Map<string, string> =>
  unpack(
    buildAgentInitramfs({
      agent: Buffer.from("program"),
      modules: ["a", "b"].map(module),
      laterModules: later.map(module),
      config: { root, ...config },
    }),
  );

test("holds the agent, its modules once, and a line for each thing to do", () => {
  const files = build(
    {
      root: { device: "/dev/vdq", fstype: "btrfs", readOnly: true },
      hostname: "h",
      network: { address: "10.0.2.15/24", mtu: 1400 },
      dns: { servers: ["1.1.1.1", "2.2.2.2"], search: ["x", "y"] },
      timezone: "Etc/GMT+1",
      sshKeys: { user: "u", keys: [" key one\n"] },
      cloudInit: { metaData: "m\t\n", userData: "u" },
      mounts: [{ device: "/dev/vdb", path: "/b", readOnly: true }],
      shares: [{ tag: "t", path: "/t" }],
      tmp: true,
      init: true,
    },
    ["b", "c"],
  );
  assert.equal(files.get("init"), "program");
  assert.deepEqual(
    [...files.keys()].filter((name) => name.endsWith(".ko")).toSorted(),
    ["a", "b", "c"].map((name) => `mere/modules/${name}.ko`),
  );
  assert.deepEqual(
    [files.get("mere/seed/meta-data"), files.get("mere/seed/user-data"), files.has("mere/seed/network-config")],
    ["m\t\n", "u", false],
  );
  assert.equal(
    files.get("mere/config"),
    [
      ["module", "a"],
      ["module", "b"],
      ["later-module", "c"],
      ["root", "/dev/vdq", "btrfs", "ro"],
      ["hostname", "h"],
      ["network", "eth0", "10.0.2.15/24", "", "1400"],
      ["search", "x", "y"],
      ["nameserver", "1.1.1.1"],
      ["nameserver", "2.2.2.2"],
      ["timezone", "Etc/GMT+1"],
      ["ssh-user", "u"],
      ["ssh-key", "key one"],
      ["disk", "/dev/vdb", "/b", "ro", "ext4"],
      ["share", "t", "/t", "rw"],
      ["tmp", "yes"],
      ["init", "/sbin/init"],
    ]
      .map((fields) => `${fields.join("\t")}\n`)
      .join(""),
  );
});

test("refuses what cannot be told to the agent", () => {
  const wrong: Partial<AgentConfig>[] = [
    { hostname: "a\tb" },
    { hostname: "a\nroot\t/dev/vdz" },
    { mounts: [{ device: "/dev/vdb", path: "/a\0" }] },
    { timezone: "../../etc/shadow" },
    { timezone: "/etc/passwd" },
    { sshKeys: { keys: ["x".repeat(20_000)] } },
    { sshKeys: { keys: Array.from({ length: 300 }, () => "x".repeat(1000)) } },
    { dns: { servers: [], search: Array.from({ length: 20 }, (_, i) => `d${i}`) } },
  ];
  for (const config of wrong) assert.throws(() => build(config), RangeError, JSON.stringify(config).slice(0, 80));
  assert.throws(
    () =>
      build(
        {},
        Array.from({ length: 17 }, (_, i) => `m${i}`),
      ),
    RangeError,
  );
});
