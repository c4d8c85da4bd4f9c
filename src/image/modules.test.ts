import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { decompressModule, loadOrder, type ModuleInfo, moduleName, readModuleInfo } from "./modules.ts";

/** A 64-bit ELF file with sections .modinfo and .shstrtab. */
function makeModule(modinfo: string): Buffer {
  const names = Buffer.from("\0.modinfo\0.shstrtab\0");
  const info = Buffer.from(modinfo, "latin1");
  const file = Buffer.alloc(64 + 3 * 64 + info.length + names.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeBigUInt64LE(64n, 0x28);
  file.writeUInt16LE(64, 0x3a);
  file.writeUInt16LE(3, 0x3c);
  file.writeUInt16LE(2, 0x3e);
  const section = (index: number, name: number, at: number, data: Buffer): void => {
    file.writeUInt32LE(name, 64 + index * 64);
    file.writeBigUInt64LE(BigInt(at), 64 + index * 64 + 0x18);
    file.writeBigUInt64LE(BigInt(data.length), 64 + index * 64 + 0x20);
    file.set(data, at);
  };
  section(1, 1, 256, info);
  section(2, 10, 256 + info.length, names);
  return file;
}

test("names come from paths", () => {
  assert.equal(moduleName("kernel/drivers/char/hw_random/virtio-rng.ko"), "virtio_rng");
  assert.equal(moduleName("a/ext4.ko.xz"), "ext4");
  assert.equal(moduleName("a/modules.order"), undefined);
});

test(".modinfo: dependencies, soft ones too, with the kernel's names", () => {
  const module = makeModule("license=GPL\0depends=virtio-ring,virtio\0softdep=pre: crc32c lz4 post: other\0name=x\0");
  assert.deepEqual(readModuleInfo("x", module), { name: "x", depends: ["virtio_ring", "virtio", "crc32c", "lz4"] });
  assert.deepEqual(readModuleInfo("x", makeModule("depends=\0")).depends, []);
  assert.deepEqual(readModuleInfo("x", Buffer.from("no ELF file")).depends, []);
});

test("a damaged file gives no dependencies and no exception", () => {
  const module = makeModule("depends=virtio\0");
  for (let at = 0; at < module.length; at++) {
    const damaged = Buffer.from(module);
    damaged[at] = 0xff;
    readModuleInfo("x", damaged);
    readModuleInfo("x", module.subarray(0, at));
  }
});

test("load order: dependencies first, once, cycles cut, unknown names left out", () => {
  const all: Record<string, string[]> = { a: ["b"], b: ["c", "builtin"], c: [], d: ["a", "b"], x: ["y"], y: ["x"] };
  const lookup = (name: string): ModuleInfo | undefined => (name in all ? { name, depends: all[name]! } : undefined);
  const order = (...wanted: string[]): string[] => loadOrder(wanted, lookup).map(({ name }) => name);
  assert.deepEqual(order("d", "nothing", "c"), ["c", "b", "a", "d"]);
  assert.deepEqual(order("x"), ["y", "x"]);
});

test("modules are decompressed by their names' endings", () => {
  const data = Buffer.from("module".repeat(100));
  assert.deepEqual(Buffer.from(decompressModule("a.ko.gz", gzipSync(data))), data);
  assert.deepEqual(Buffer.from(decompressModule("a.ko.zst", zstdCompressSync(data))), data);
  assert.equal(decompressModule("a.ko", data), data);
});
