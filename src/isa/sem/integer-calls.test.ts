/* The calls of integer instructions, as functions: 128-bit division, PDEP and PEXT, CRC-32C, ENTER. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Cpu, GuestFault, Vector } from "../cpu.ts";
import { RegisterFile } from "../register-file.ts";
import { Reg } from "../registers.ts";
import { INTEGER_CALLS } from "./integer-calls.ts";

const noCpu = undefined as unknown as Cpu;
const call = (name: string, ...args: bigint[]): bigint => INTEGER_CALLS[name]!.run(noCpu, ...args) as bigint;
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const isDivideError = (error: unknown): boolean =>
  error instanceof GuestFault && error.vector === Vector.DE && error.errorCode === undefined;
const most = (1n << 64n) - 1n;

describe("128-bit division", () => {
  test("div128u: the quotient, or #DE if it needs more than 64 bits", () => {
    fc.assert(
      fc.property(
        u64,
        u64,
        u64.filter((d) => d !== 0n),
        (high, low, divisor) => {
          if (high >= divisor) assert.throws(() => call("div128u", high, low, divisor), isDivideError);
          else
            assert.equal(
              call("div128u", high, low, divisor) * divisor + (((high << 64n) | low) % divisor),
              (high << 64n) | low,
            );
        },
      ),
    );
  });
  test("div128s truncates toward zero and knows its limits", () => {
    assert.equal(call("div128s", most, most - 6n, 2n), -3n); // −7 / 2
    assert.equal(call("div128s", 0n, 7n, BigInt.asUintN(64, -2n)), -3n);
    assert.equal(call("div128s", most, 1n << 63n, 1n), -(1n << 63n));
    assert.throws(() => call("div128s", most, 1n << 63n, most), isDivideError);
    assert.throws(() => call("div128s", 0n, 1n << 63n, 1n), isDivideError);
    assert.equal(call("div128s", 0n, 1n << 63n, most), -(1n << 63n));
  });
});

describe("bits", () => {
  test("PDEP and PEXT undo each other under the mask", () => {
    fc.assert(
      fc.property(u64, u64, (source, mask) => {
        const spread = call("pdep", source, mask);
        assert.equal(spread & ~mask, 0n);
        assert.equal(call("pdep", call("pext", source, mask), mask), source & mask);
      }),
    );
    assert.equal(call("pdep", 0b101n, 0xf0f0n), 0x50n);
    assert.equal(call("pext", 0x1234_5678n, 0x00ff_0f00n), 0x346n);
  });
  test("CRC-32C of 123456789 is E3069283", () => {
    const text = new TextEncoder().encode("123456789");
    let crc = 0xffff_ffffn;
    crc = call("crc32c", crc, new DataView(text.buffer).getBigUint64(0, true), 8n);
    crc = call("crc32c", crc, BigInt(text[8]!), 1n);
    assert.equal(crc ^ 0xffff_ffffn, 0xe306_9283n);
  });
});

describe("ENTER", () => {
  /** A stack of 64-bit words; addresses from `limit` up are writable. */
  function machine(limit: bigint): { cpu: Cpu; words: Map<bigint, bigint> } {
    const words = new Map<bigint, bigint>();
    const regs = new RegisterFile(new ArrayBuffer(Reg.SIZE));
    const probeWrite = (address: bigint): void => {
      if (address < limit) throw new GuestFault(Vector.PF, 6, address);
    };
    const cpu = {
      regs,
      probeWrite,
      read: (address: bigint) => words.get(address) ?? 0n,
      write: (address: bigint, _size: number, value: bigint) => {
        probeWrite(address);
        words.set(address, value);
      },
    } as unknown as Cpu;
    regs.setGpr(4, 0x1000n);
    regs.setGpr(5, 0x2000n);
    return { cpu, words };
  }
  const enter = INTEGER_CALLS["enter"]!;

  test("level 3 copies two frame pointers and pushes its own", () => {
    const { cpu, words } = machine(0n);
    words.set(0x1ff8n, 0xaan).set(0x1ff0n, 0xbbn);
    enter.run(cpu, 0x20n, 3n, 8n);
    assert.deepEqual(
      [0xff8n, 0xff0n, 0xfe8n, 0xfe0n].map((a) => words.get(a)),
      [0x2000n, 0xaan, 0xbbn, 0xff8n],
    );
    assert.deepEqual([cpu.regs.gpr(4), cpu.regs.gpr(5)], [0xfe0n - 0x20n, 0xff8n]);
  });
  test("a fault at the new top leaves the registers alone", () => {
    const { cpu } = machine(0xf00n);
    assert.throws(
      () => enter.run(cpu, 0x200n, 1n, 8n),
      (e) => e instanceof GuestFault && e.vector === Vector.PF,
    );
    assert.deepEqual([cpu.regs.gpr(4), cpu.regs.gpr(5)], [0x1000n, 0x2000n]);
  });
});
