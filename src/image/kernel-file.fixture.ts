/* Small kernel files for tests: an ELF vmlinux with chosen segments, and a bzImage around a payload. Only tests import this. */

export interface FixtureSegment {
  readonly physicalAddress: number;
  readonly virtualAddress?: bigint;
  readonly data: Uint8Array;
  readonly memorySize?: number;
}

/** An ELF64 file with the segments' data one after the other from 0x1000. */
export function makeElf(
  segments: readonly FixtureSegment[],
  options: { entry?: bigint; machine?: number; type?: number; elfClass?: number } = {},
): Buffer {
  const size = 0x1000 + segments.reduce((sum, s) => sum + s.data.length, 0);
  const file = Buffer.alloc(size);
  file.set([0x7f, 0x45, 0x4c, 0x46, options.elfClass ?? 2, 1, 1]);
  file.writeUInt16LE(options.type ?? 2, 0x10);
  file.writeUInt16LE(options.machine ?? 62, 0x12);
  file.writeBigUInt64LE(options.entry ?? BigInt(segments[0]?.physicalAddress ?? 0), 0x18);
  file.writeBigUInt64LE(0x40n, 0x20);
  file.writeUInt16LE(56, 0x36);
  file.writeUInt16LE(segments.length, 0x38);
  let offset = 0x1000;
  segments.forEach((segment, i) => {
    const at = 0x40 + i * 56;
    file.writeUInt32LE(1, at);
    file.writeBigUInt64LE(BigInt(offset), at + 8);
    file.writeBigUInt64LE(segment.virtualAddress ?? 0xffffffff80000000n + BigInt(segment.physicalAddress), at + 16);
    file.writeBigUInt64LE(BigInt(segment.physicalAddress), at + 24);
    file.writeBigUInt64LE(BigInt(segment.data.length), at + 32);
    file.writeBigUInt64LE(BigInt(segment.memorySize ?? segment.data.length), at + 40);
    file.set(segment.data, offset);
    offset += segment.data.length;
  });
  return file;
}

/** A bzImage of two setup sectors with the payload at offset 0x100 of the protected-mode part. */
export function makeBzImage(payload: Uint8Array, options: { version?: number; xloadflags?: number } = {}): Buffer {
  const setup = Buffer.alloc(3 * 512 + 0x100);
  setup[0x1f1] = 2;
  setup.writeUInt16LE(0xaa55, 0x1fe);
  setup[0x201] = 0x66;
  setup.write("HdrS", 0x202, "latin1");
  setup.writeUInt16LE(options.version ?? 0x20f, 0x206);
  setup.writeUInt32LE(0x7fffffff, 0x22c);
  setup.writeUInt16LE(options.xloadflags ?? 0x7f, 0x236);
  setup.writeUInt32LE(2047, 0x238);
  setup.writeUInt32LE(0x100, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, payload]);
}

/** Adds the size that the kernel's build puts after a payload. */
export function withSize(packed: Uint8Array, size: number): Buffer {
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(size);
  return Buffer.concat([packed, tail]);
}
