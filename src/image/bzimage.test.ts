import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { readKernelImage } from "./bzimage.ts";
import { makeBzImage, makeElf, withSize } from "./kernel-file.fixture.ts";
import { KernelError, type KernelErrorCode } from "./kernel-error.ts";

const code = readFileSync(process.execPath).subarray(0x400000, 0x480000);
const vmlinux = makeElf([
  { physicalAddress: 0x1000000, data: code },
  { physicalAddress: 0x1100000, data: Buffer.from("data"), memorySize: 0x5000 },
]);
const pack = (program: string, args: string[]): Buffer =>
  execFileSync(program, args, { input: vmlinux, maxBuffer: 1 << 28 });

const payloads: Record<string, () => Buffer> = {
  gzip: () => gzipSync(vmlinux),
  zstd: () => withSize(zstdCompressSync(vmlinux), vmlinux.length),
  xz: () => withSize(pack("xz", ["-c", "--check=crc32", "--x86", "--lzma2=dict=32MiB"]), vmlinux.length),
  lz4: () => withSize(pack("lz4", ["-l", "-9", "-c", "-"]), vmlinux.length),
  none: () => vmlinux,
};

function throwsKernelError(file: Uint8Array, kind: KernelErrorCode, words: RegExp): void {
  assert.throws(
    () => readKernelImage(file),
    (error) => {
      assert.ok(error instanceof KernelError, String(error));
      assert.equal(error.code, kind);
      assert.match(error.message, words);
      return true;
    },
  );
}

describe("a bzImage", () => {
  for (const [name, payload] of Object.entries(payloads))
    test(`with a payload compressed by ${name}`, () => {
      const image = readKernelImage(makeBzImage(payload()));
      assert.ok(vmlinux.equals(image.vmlinux));
      assert.equal(image.setupHeader?.length, 0x202 + 0x66 - 0x1f1);
      assert.equal(image.elf.entry, 0x1000000);
      assert.deepEqual([image.elf.start, image.elf.end], [0x1000000, 0x1105000]);
    });

  test("cut off anywhere says so", () => {
    const file = makeBzImage(payloads["lz4"]!());
    for (const length of [0x210, 0x267, 0x700, file.length - 1])
      throwsKernelError(file.subarray(0, length), "truncated", /cut off .* download it again/);
  });

  test("with a damaged payload", () => {
    for (const name of ["gzip", "zstd", "xz"]) {
      const file = makeBzImage(payloads[name]!());
      file.fill(0x55, file.length - 3000, file.length - 2900);
      throwsKernelError(file, "corrupt", /damaged/);
    }
    throwsKernelError(makeBzImage(withSize(pack("lz4", ["-l", "-c", "-"]), vmlinux.length + 1)), "corrupt", /damaged/);
    throwsKernelError(makeBzImage(withSize(zstdCompressSync(vmlinux), 0xfffffff0)), "corrupt", /impossible size/);
  });

  test("whose compression is not read names it", () => {
    const cases = {
      bzip2: [0x42, 0x5a, 0x68],
      lzma: [0x5d, 0, 0],
      lzo: [0x89, 0x4c, 0x5a, 0x4f],
      "an unknown method": [1, 2, 3],
    };
    for (const [name, magic] of Object.entries(cases))
      throwsKernelError(
        makeBzImage(withSize(Buffer.concat([Buffer.from(magic), Buffer.alloc(32)]), 100)),
        "unsupported-compression",
        new RegExp(`with ${name};`),
      );
  });

  test("for 32-bit processors or of an old protocol", () => {
    throwsKernelError(makeBzImage(vmlinux, { xloadflags: 0x7e }), "32-bit", /32-bit/);
    throwsKernelError(makeBzImage(vmlinux, { version: 0x20b }), "too-old", /protocol 2\.11/);
  });
});

describe("other files", () => {
  test("a raw vmlinux is taken as it is", () => {
    const image = readKernelImage(vmlinux);
    assert.equal(image.setupHeader, undefined);
    assert.equal(image.elf.segments.length, 2);
  });

  test("a virtual entry point is translated", () => {
    assert.equal(
      readKernelImage(makeElf([{ physicalAddress: 0x1000000, data: code }], { entry: 0xffffffff81000040n })).elf.entry,
      0x1000040,
    );
  });

  test("no kernels", () => {
    throwsKernelError(Buffer.alloc(0), "not-a-kernel", /no Linux kernel/);
    throwsKernelError(Buffer.from("#!/bin/sh\n"), "not-a-kernel", /no Linux kernel/);
    throwsKernelError(Buffer.alloc(100_000), "not-a-kernel", /no Linux kernel/);
    const bootSector = Buffer.alloc(2048);
    bootSector.writeUInt16LE(0xaa55, 0x1fe);
    throwsKernelError(bootSector, "not-a-kernel", /boot sector/);
    throwsKernelError(
      makeElf([{ physicalAddress: 0x1000000, data: code }], { type: 1 }),
      "not-a-kernel",
      /not an executable/,
    );
    throwsKernelError(makeElf([]), "not-a-kernel", /nothing to load/);
    throwsKernelError(
      makeElf([{ physicalAddress: 0x1000000, data: code }], { entry: 0x10n }),
      "not-a-kernel",
      /entry point/,
    );
    throwsKernelError(vmlinux.subarray(0, 20), "truncated", /ELF header/);
    throwsKernelError(vmlinux.subarray(0, 0x2000), "truncated", /cut off/);
  });

  test("kernels of other architectures are named", () => {
    throwsKernelError(makeElf([], { machine: 183 }), "wrong-architecture", /for aarch64/);
    throwsKernelError(makeElf([], { machine: 3, elfClass: 1 }), "32-bit", /32-bit/);
    const arm = Buffer.alloc(4096);
    arm.write("ARM\x64", 0x38, "latin1");
    throwsKernelError(arm, "wrong-architecture", /for aarch64/);
    throwsKernelError(gzipSync(Buffer.alloc(100_000, "abc")), "wrong-architecture", /aarch64/);
  });
});
