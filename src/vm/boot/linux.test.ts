import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { makeBzImage, makeElf } from "../../image/kernel-file.fixture.ts";
import { KernelError } from "../../image/kernel-error.ts";
import { VmlinuxFile } from "../../image/vmlinux-file.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { E820, memoryMap } from "./e820.ts";
import { loadLinux } from "./linux.ts";

const MIB = 1024 * 1024;
const PAGE = 4096;

/** Sparse memory that knows which pages were written. */
class SparseMemory implements GuestMemory {
  readonly pages = new Map<number, Uint8Array>();
  readonly sizeBytes: number;
  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }
  ranges(): { start: number; end: number }[] {
    const low = Math.min(this.sizeBytes, 3072 * MIB);
    return [
      { start: 0, end: low },
      ...(this.sizeBytes > low ? [{ start: 4096 * MIB, end: 4096 * MIB + this.sizeBytes - low }] : []),
    ];
  }
  contains(gpa: number, length: number): boolean {
    return this.ranges().some((range) => gpa >= range.start && gpa + length <= range.end);
  }
  read(gpa: number, into: Uint8Array): boolean {
    for (let i = 0; i < into.length; i++)
      into[i] = this.pages.get(Math.floor((gpa + i) / PAGE))?.[(gpa + i) % PAGE] ?? 0;
    return this.contains(gpa, into.length);
  }
  write(gpa: number, from: Uint8Array): boolean {
    assert.ok(this.contains(gpa, from.length), `write outside memory at ${gpa}`);
    for (let i = 0; i < from.length; i++) {
      const index = Math.floor((gpa + i) / PAGE);
      let page = this.pages.get(index);
      if (page === undefined) this.pages.set(index, (page = new Uint8Array(PAGE)));
      page[(gpa + i) % PAGE] = from[i]!;
    }
    return true;
  }
  bytes(gpa: number, length: number): Buffer {
    const out = Buffer.alloc(length);
    this.read(gpa, out);
    return out;
  }
  readU16 = (gpa: number): number => this.bytes(gpa, 2).readUInt16LE();
  readU32 = (gpa: number): number => this.bytes(gpa, 4).readUInt32LE();
  readU64 = (gpa: number): bigint => this.bytes(gpa, 8).readBigUInt64LE();
  #scalar(gpa: number, length: number, fill: (buffer: Buffer) => void): boolean {
    const buffer = Buffer.alloc(length);
    fill(buffer);
    return this.write(gpa, buffer);
  }
  writeU16 = (gpa: number, value: number): boolean => this.#scalar(gpa, 2, (b) => b.writeUInt16LE(value));
  writeU32 = (gpa: number, value: number): boolean => this.#scalar(gpa, 4, (b) => b.writeUInt32LE(value));
  writeU64 = (gpa: number, value: bigint): boolean => this.#scalar(gpa, 8, (b) => b.writeBigUInt64LE(value));
  exchangeU8(): number | undefined {
    return undefined;
  }
  slices(): Uint8Array[] | undefined {
    return undefined;
  }
}

// Data, a page and a half of zeros in the middle, more data; then .bss.
const text = Buffer.concat([Buffer.alloc(5000, 1), Buffer.alloc(3 * PAGE), Buffer.alloc(100, 2)]);
const vmlinux = makeElf([{ physicalAddress: 16 * MIB + 0x200, data: text, memorySize: MIB }], {
  entry: BigInt(16 * MIB + 0x200),
});

function load(
  memoryMib: number,
  options: Partial<Parameters<typeof loadLinux>[1]> = {},
): { memory: SparseMemory; start: ReturnType<typeof loadLinux>; params: Buffer } {
  const memory = new SparseMemory(memoryMib * MIB);
  const start = loadLinux(memory, { kernel: vmlinux, commandLine: "console=ttyS0", ...options });
  return { memory, start, params: memory.bytes(start.bootParams, PAGE) };
}

describe("loadLinux", () => {
  test("places the segments and leaves zero pages unwritten", () => {
    const { memory, start } = load(64);
    assert.ok(memory.bytes(16 * MIB + 0x200, text.length).equals(text));
    assert.equal(memory.pages.has(16 * 256 + 2), false);
    assert.deepEqual(start.kernelRange, { start: 16 * MIB + 0x200, end: 17 * MIB + 0x200 });
    assert.equal(start.entry, 16 * MIB + 0x200);
  });

  test("loads a vmlinux from its file as from memory, and says when it is cut off", () => {
    const directory = mkdtempSync(join(tmpdir(), "mere-vmlinux-"));
    try {
      const path = join(directory, "vmlinux");
      // more than one piece, none of which ends with a page
      const text = Buffer.alloc((5 * MIB) / 2 + 100, "some code, and more of it; ");
      text.fill(0, MIB - 5 * PAGE, MIB + 5 * PAGE);
      const large = makeElf(
        [
          { physicalAddress: 16 * MIB + 0x200, data: text, memorySize: 4 * MIB },
          { physicalAddress: 32 * MIB, data: Buffer.from("more"), memorySize: PAGE },
        ],
        { entry: BigInt(16 * MIB + 0x200) },
      );
      writeFileSync(path, large);
      const [fromFile, fromMemory] = [new VmlinuxFile(path), large].map((kernel) => load(64, { kernel }));
      assert.deepEqual(fromFile!.start, fromMemory!.start);
      assert.deepEqual(new Set(fromFile!.memory.pages.keys()), new Set(fromMemory!.memory.pages.keys()));
      assert.ok(fromFile!.memory.bytes(16 * MIB + 0x200, text.length).equals(text));
      assert.equal(fromFile!.memory.bytes(32 * MIB, 4).toString(), "more");
      const kernel = new VmlinuxFile(path);
      truncateSync(path, MIB);
      assert.throws(() => load(64, { kernel }), { name: "KernelError", code: "truncated", message: /cut off/ });
      assert.throws(() => new VmlinuxFile(path), { name: "KernelError", code: "truncated" });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("synthesises a setup header for a vmlinux and copies a bzImage's", () => {
    for (const kernel of [vmlinux, makeBzImage(vmlinux)]) {
      const { params, memory } = load(64, { kernel, acpiRsdp: 0xe0000 });
      assert.equal(params.readUInt32LE(0x202), 0x53726448);
      assert.equal(params.readUInt16LE(0x1fe), 0xaa55);
      assert.equal(params[0x210], 0xff);
      assert.equal(params[0x211]! & 1, 1);
      assert.equal(params.readBigUInt64LE(0x70), 0xe0000n);
      assert.equal(params[0x1ef], 0, "sentinel");
      assert.equal(memory.bytes(params.readUInt32LE(0x228), 14).toString(), "console=ttyS0\0");
    }
    assert.equal(load(64, { kernel: makeBzImage(vmlinux) }).params[0x1f1], 2);
  });

  test("places the initramfs page-aligned, as high as it may be", () => {
    const initrd = Buffer.alloc(PAGE + 17, 9);
    const { params, memory, start } = load(64, { initrd });
    const at = params.readUInt32LE(0x218);
    assert.equal(at, 64 * MIB - 2 * PAGE);
    assert.equal(params.readUInt32LE(0x21c), initrd.length);
    assert.ok(memory.bytes(at, initrd.length).equals(initrd));
    assert.deepEqual(start.initrdRange, { start: at, end: at + initrd.length });
    // initrd_addr_max is 2 GiB − 1
    assert.equal(load(8192, { initrd }).start.initrdRange?.start, 2048 * MIB - 2 * PAGE);
    const firmware = [{ start: 63 * MIB, end: 64 * MIB, type: E820.ACPI }];
    assert.equal(load(64, { initrd, firmware }).start.initrdRange?.start, 63 * MIB - 2 * PAGE);
  });

  test("tells the memory map", () => {
    const { params } = load(5120, { firmware: [{ start: 0xe0000, end: 0x100000, type: E820.ACPI }] });
    const entries = Array.from({ length: params[0x1e8]! }, (_, i) => {
      const at = 0x2d0 + i * 20;
      return [Number(params.readBigUInt64LE(at)), Number(params.readBigUInt64LE(at + 8)), params.readUInt32LE(at + 16)];
    });
    assert.deepEqual(entries, [
      [0, 0x9fc00, 1],
      [0xe0000, 0x20000, 3],
      [MIB, 3071 * MIB, 1],
      [4096 * MIB, 2048 * MIB, 1],
    ]);
  });

  test("maps the first 4 GiB one to one and describes flat 64-bit segments", () => {
    const { memory, start } = load(64);
    for (const address of [0, 0x7000, 16 * MIB, 3 * 1024 * MIB + 5, 4096 * MIB - 1]) {
      const pdpt = Number(memory.readU64(start.cr3) & 0xffffff000n);
      const directory = Number(memory.readU64(pdpt + Math.floor(address / 2 ** 30) * 8) & 0xffffff000n);
      const entry = memory.readU64(directory + (Math.floor(address / 2 ** 21) % 512) * 8);
      assert.equal(entry & 0xfffn, 0x83n);
      assert.equal(Number(entry & 0xfffffe00000n) + (address % 2 ** 21), address);
    }
    const code = memory.readU64(start.gdt.base + start.gdt.codeSelector);
    const data = memory.readU64(start.gdt.base + start.gdt.dataSelector);
    assert.equal((code >> 53n) & 1n, 1n, "L");
    assert.equal((code >> 40n) & 0xffn, 0x9bn);
    assert.equal((data >> 40n) & 0xffn, 0x93n);
    assert.equal(start.gdt.limit, start.gdt.dataSelector + 7);
  });

  test("hands over entropy", () => {
    const seed = Buffer.from("0123456789abcdef");
    const { params, memory } = load(64, { rngSeed: seed });
    const node = Number(params.readBigUInt64LE(0x250));
    assert.equal(memory.readU64(node), 0n);
    assert.equal(memory.readU32(node + 8), 9);
    assert.ok(memory.bytes(node + 16, memory.readU32(node + 12)).equals(seed));
  });

  test("says what to do when something does not fit", () => {
    const refused = (run: () => unknown, code: string, words: RegExp): void =>
      assert.throws(
        run,
        (error) => error instanceof KernelError && error.code === code && (assert.match(error.message, words), true),
      );
    refused(
      () => load(16),
      "does-not-fit",
      /kernel does not fit into 16 MiB of memory \(kernel up to 18 MiB\); use --memory 128M or more/,
    );
    refused(
      () => load(32, { initrd: Buffer.alloc(20 * MIB) }),
      "does-not-fit",
      /initramfs does not fit into 32 MiB .*initramfs 20 MiB\); use --memory 128M/,
    );
    refused(
      () => load(64, { commandLine: "x".repeat(2048) }),
      "command-line-too-long",
      /2048 bytes but this kernel takes 2047/,
    );
    load(64, { commandLine: "x".repeat(2047) });
  });
});

test("memoryMap: nothing overlaps, firmware is kept, no RAM outside the ranges", () => {
  const range = fc
    .tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 1, max: 20 }))
    .map(([start, length]) => ({ start: start * 0x10000, end: (start + length) * 0x10000 }));
  fc.assert(
    fc.property(range, range, (first, second) => {
      const firmware = [
        { ...first, type: E820.ACPI },
        { start: first.end + second.start, end: first.end + second.end, type: E820.RESERVED },
      ];
      const ram = [{ start: 0, end: 0x1800000 }];
      const map = memoryMap(ram, firmware);
      for (let i = 1; i < map.length; i++)
        assert.ok(map[i]!.start >= map[i - 1]!.end || map[i]!.type !== E820.RAM || map[i - 1]!.type !== E820.RAM);
      const free = map.filter((entry) => entry.type === E820.RAM);
      for (const entry of free) {
        assert.ok(entry.start < entry.end && entry.end <= 0x1800000);
        for (const hole of [{ start: 0x9fc00, end: 0x100000 }, ...firmware])
          assert.ok(entry.end <= hole.start || entry.start >= hole.end);
      }
      assert.equal(map.filter((entry) => entry.type !== E820.RAM).length, firmware.length);
    }),
  );
});
