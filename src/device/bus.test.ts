import assert from "node:assert/strict";
import { test } from "node:test";
import { Bus, type RegisterWindow } from "./bus.ts";

function ram(name: string, start: number, length: number): RegisterWindow & { bytes: DataView; sizes: number[] } {
  const bytes = new DataView(new ArrayBuffer(length));
  const sizes: number[] = [];
  return {
    name,
    start,
    length,
    bytes,
    sizes,
    read: (offset, size) => (
      sizes.push(size),
      size === 1 ? bytes.getUint8(offset) : size === 2 ? bytes.getUint16(offset, true) : bytes.getUint32(offset, true)
    ),
    write: (offset, size, value) => {
      const v = Number(value);
      if (size === 1) bytes.setUint8(offset, v);
      else if (size === 2) bytes.setUint16(offset, v, true);
      else bytes.setUint32(offset, v, true);
    },
  };
}

test("reads of nothing give all ones, writes to nothing vanish", () => {
  const bus = new Bus([ram("a", 0x1000, 16)]);
  assert.equal(bus.read(0x80, 1), 0xff);
  assert.equal(bus.read(0x1010, 2), 0xffff);
  assert.equal(bus.read(0xfff00000, 4), 0xffffffff);
  assert.equal(bus.read64(0), 0xffffffffffffffffn);
  bus.write(0x80, 4, 1);
});

test("accesses that are unaligned, wide or cross a window's end are split", () => {
  const a = ram("a", 0x1000, 16);
  const b = ram("b", 0x1010, 6);
  const bus = new Bus([b, a]);
  bus.write64(0x1008, 0x1122334455667788n);
  assert.equal(bus.read64(0x1008), 0x1122334455667788n);
  assert.equal(bus.read(0x1009, 4), 0x44556677);
  assert.equal(bus.read(0x100a, 2), 0x5566);
  a.sizes.length = 0;
  assert.equal(bus.read(0x1008, 4), 0x55667788);
  assert.deepEqual(a.sizes, [4]);
  bus.write(0x100e, 4, 0xaabbccdd);
  assert.equal(b.bytes.getUint16(0, true), 0xaabb);
  assert.equal(bus.read(0x1014, 4), 0xffff0000, "the second half is nothing");
});

test("overlapping windows are refused", () => {
  assert.throws(() => new Bus([ram("a", 0, 16), ram("b", 8, 16)]), /a and b overlap/);
});
