import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildAcpiTables } from "./acpi.ts";
import { createDeviceShared } from "./layout.ts";
import { RngDevice } from "./virtio/rng.ts";

const AT = 0xf0000;

function tables(vcpus = 4, devices = 19) {
  const { layout } = createDeviceShared({
    vcpus,
    virtio: Array.from({ length: devices }, () => new RngDevice().description),
  });
  const { bytes } = buildAcpiTables(layout, AT);
  const view = new DataView(bytes.buffer);
  const at = (address: number): Uint8Array =>
    bytes.subarray(address - AT, address - AT + view.getUint32(address - AT + 4, true));
  const xsdt = at(Number(view.getBigUint64(24, true)));
  const entry = (i: number): Uint8Array =>
    at(Number(new DataView(xsdt.buffer, xsdt.byteOffset).getBigUint64(36 + 8 * i, true)));
  const fadt = entry(0);
  const madt = entry(1);
  const dsdt = at(Number(new DataView(fadt.buffer, fadt.byteOffset).getBigUint64(140, true)));
  return { layout, bytes, xsdt, fadt, madt, dsdt };
}
const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
const signature = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice(0, 4));

test("tables are found from the RSDP and sum to zero", () => {
  const { bytes, xsdt, fadt, madt, dsdt } = tables();
  assert.equal(new TextDecoder().decode(bytes.slice(0, 8)), "RSD PTR ");
  assert.equal(sum(bytes.subarray(0, 20)), 0);
  assert.equal(sum(bytes.subarray(0, 36)), 0);
  assert.deepEqual([xsdt, fadt, madt, dsdt].map(signature), ["XSDT", "FACP", "APIC", "DSDT"]);
  for (const table of [xsdt, fadt, madt, dsdt]) assert.equal(sum(table), 0);
});

test("FADT: hardware-reduced, sleep and reset registers in the power window", () => {
  const { fadt, layout } = tables();
  const view = new DataView(fadt.buffer, fadt.byteOffset);
  assert.equal(fadt.length, 276);
  assert.equal(view.getUint32(112, true) & (1 << 20), 1 << 20);
  assert.deepEqual(
    [120, 248, 260].map((at) => Number(view.getBigUint64(at, true)) - layout.power.base),
    [8, 0, 1],
  );
});

test("one vCPU has no wakeup mailbox; several name it", () => {
  const types = (madt: Uint8Array): number[] => {
    const found = [];
    for (let at = 44; at < madt.length; at += madt[at + 1]!) found.push(madt[at]!);
    return found;
  };
  assert.deepEqual(types(tables(1).madt), [0, 1]);
  const { madt, layout } = tables(3);
  assert.deepEqual(types(madt), [0, 0, 0, 1, 0x10]);
  assert.equal(
    new DataView(madt.buffer, madt.byteOffset).getBigUint64(madt.length - 8, true),
    BigInt(layout.mailbox.base),
  );
});

const hasIasl = spawnSync("iasl", ["-v"]).status === 0;
test(
  "iasl disassembles all tables and compiles the DSDT back to the same bytes",
  { skip: hasIasl ? false : "iasl (acpica-tools) is not installed" },
  () => {
    const folder = mkdtempSync(join(tmpdir(), "mere-acpi-"));
    try {
      const all = tables(130, 19);
      for (const [file, table] of [
        ["dsdt", all.dsdt],
        ["fadt", all.fadt],
        ["madt", all.madt],
      ] as const) {
        writeFileSync(join(folder, `${file}.aml`), table);
        const said = spawnSync("iasl", ["-d", `${file}.aml`], { cwd: folder, encoding: "utf8" });
        assert.equal(said.status, 0);
        assert.doesNotMatch(said.stdout + said.stderr, /error|invalid|warning|checksum/i);
      }
      const text = readFileSync(join(folder, "dsdt.dsl"), "utf8");
      assert.equal(text.match(/"LNRO0005"/g)?.length, 19);
      assert.equal(text.match(/"ACPI0007"/g)?.length, 130);
      assert.match(text, /Interrupt \(ResourceConsumer, Level, ActiveHigh, Exclusive/);
      assert.match(text, /Name \(\\_S5, Package/);
      const compiled = spawnSync("iasl", ["-oa", "-p", "again", "dsdt.dsl"], { cwd: folder, encoding: "utf8" });
      assert.match(compiled.stdout + compiled.stderr, / 0 Errors/);
      assert.deepEqual(readFileSync(join(folder, "again.aml")).subarray(36), Buffer.from(all.dsdt.slice(36)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
