import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { CompressionError } from "./compression-error.ts";
import { decompressLz4Legacy } from "./lz4.ts";
import { decompressXz } from "./xz.ts";

// Machine code (Node's own) for the x86 filter, noise for literals and plain chunks, runs for overlapping matches and long lengths.
const machineCode = readFileSync(process.execPath).subarray(0x400000, 0x500000);
const inputs: Record<string, Buffer> = {
  "machine code": machineCode,
  "random bytes": randomBytes(300_000),
  "one long run": Buffer.alloc(3_000_000, 7),
  "a short pattern": Buffer.from("abcab".repeat(10_000)),
  "one byte": Buffer.from("x"),
};

const pack = (program: string, args: string[], input: Buffer): Buffer =>
  execFileSync(program, args, { input, maxBuffer: 1 << 28 });

describe("xz", () => {
  for (const [name, input] of Object.entries(inputs))
    for (const filters of [["--x86"], []])
      test(`${name}, ${filters.length > 0 ? "x86 filter" : "no filter"}`, () => {
        const packed = pack("xz", ["-c", "--check=crc32", ...filters, "--lzma2=preset=1"], input);
        assert.deepEqual(Buffer.from(decompressXz(packed)), input);
      });

  test("several blocks, other literal and position parameters, no check", () => {
    const packed = pack(
      "xz",
      ["-c", "--check=none", "--block-size=100000", "--lzma2=preset=1,lc=1,lp=3,pb=0"],
      machineCode,
    );
    assert.deepEqual(Buffer.from(decompressXz(packed)), machineCode);
  });

  test("no damaged byte passes", () => {
    const packed = pack("xz", ["-c", "--check=crc32", "--x86", "--lzma2=preset=1"], machineCode.subarray(0, 5000));
    // The index (its size is in the footer) is only read when no size is given; so only what comes before it counts.
    const end = packed.length - 12 - (packed.readUInt32LE(packed.length - 8) + 1) * 4;
    for (let at = 0; at < end; at += 11) {
      const damaged = Buffer.from(packed);
      damaged[at]! ^= 0x10;
      assert.throws(() => decompressXz(damaged, 5000), CompressionError, `byte ${at}`);
    }
    for (const length of [0, 5, 12, 30, 1000])
      assert.throws(() => decompressXz(packed.subarray(0, length), 5000), CompressionError);
  });

  test("a check that Linux does not read is refused by name", () => {
    const packed = pack("xz", ["-c", "--check=crc64"], Buffer.from("x"));
    assert.throws(() => decompressXz(packed), /check of kind 4 is not supported/);
  });

  test("a result larger or smaller than said", () => {
    const packed = pack("xz", ["-c", "--check=crc32"], machineCode);
    assert.throws(() => decompressXz(packed, machineCode.length - 1), CompressionError);
    assert.throws(() => decompressXz(packed, machineCode.length + 1), CompressionError);
  });
});

describe("lz4 legacy", () => {
  for (const [name, input] of Object.entries(inputs))
    test(name, () => {
      assert.deepEqual(
        Buffer.from(decompressLz4Legacy(pack("lz4", ["-l", "-9", "-c", "-"], input), input.length)),
        input,
      );
    });

  test("more than one block (8 MiB each)", () => {
    const input = Buffer.concat(Array.from({ length: 9 }, () => machineCode));
    assert.deepEqual(Buffer.from(decompressLz4Legacy(pack("lz4", ["-l", "-c", "-"], input), input.length)), input);
  });

  test("damaged data ends in an error, never in a hang or a write outside", () => {
    const packed = pack("lz4", ["-l", "-9", "-c", "-"], machineCode.subarray(0, 20_000));
    for (const length of [0, 3, 6, 100, packed.length - 1])
      assert.throws(() => decompressLz4Legacy(packed.subarray(0, length), 20_000), CompressionError);
    for (let at = 0; at < packed.length; at += 7) {
      const damaged = Buffer.from(packed);
      damaged[at] = 0xff;
      try {
        assert.equal(decompressLz4Legacy(damaged, 20_000).length, 20_000);
      } catch (error) {
        assert.ok(error instanceof CompressionError, String(error));
      }
    }
  });
});
