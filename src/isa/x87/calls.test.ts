/* The x87 calls on any host: the stack, exceptions without a mask, precise faults, and the images in memory. Values bit by bit: tests/native. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg } from "../registers.ts";
import { type FakeCpu, fakeCpu, LAYOUT } from "../system/fake-cpu.ts";
import { X87_CALLS } from "./calls.ts";
import { Status } from "./float80.ts";
import { Arg, Source } from "./unit.ts";

const AREA = 0x40000n;
const PI = 0x400921fb54442d18n;
const PI_EXTENDED = { significand: 0xc90fdaa22168c000n, exponent: 0x4000 };
const INDEFINITE = { significand: 0xc000000000000000n, exponent: 0xffff };
const FNINIT_CONTROL = 0x37f;
const STACK_FAULT = Status.IE | Status.SF;

let cpu: FakeCpu;
beforeEach(() => {
  cpu = fakeCpu();
  cpu.memory.view.setUint16(LAYOUT.CODE, 0xc1d8, true); // the instruction under way, for FOP
  cpu.regs.set64(Reg.CR4, cpu.regs.get64(Reg.CR4) | (1n << 18n));
  cpu.regs.set64(Reg.XCR0, 3n);
  cpu.regs.set64(Reg.CR0, cpu.regs.get64(Reg.CR0) & ~0xcn);
  call("x87Init");
});

function call(name: string, arg = 0, value?: bigint): void {
  cpu.regs.set32(Reg.X87_ARG, arg);
  if (value !== undefined) cpu.regs.set64(Reg.X87_VALUE, value);
  X87_CALLS[name]!.run(cpu);
}
const form = (source: number, arg = 0): number => (source << Arg.SOURCE_SHIFT) | arg;
const load64 = (bits: bigint): void => call("x87Load", form(Source.FLOAT64), bits);
const status = (): number => cpu.regs.get16(Reg.FSW);
const top = (): number => (status() >> 11) & 7;
const st = (i: number): { significand: bigint; exponent: number } => {
  const at = Reg.ST + 16 * ((top() + i) & 7);
  return { significand: cpu.regs.get64(at), exponent: cpu.regs.get16(at + 8) };
};
const unmask = (exceptions: number): void => call("x87LoadControl", 0, BigInt(FNINIT_CONTROL & ~exceptions));
const state = (): string => Buffer.from(cpu.regs.bytes.subarray(Reg.ST, Reg.MXCSR)).toString("hex");
const faults =
  (vector: number) =>
  (e: unknown): boolean =>
    e instanceof GuestFault && e.vector === vector;

describe("x87 stack", () => {
  test("FLD pushes, FSTP pops and gives the value back", () => {
    load64(PI);
    assert.deepEqual([top(), st(0), cpu.regs.get16(Reg.FTW)], [7, PI_EXTENDED, 0x3fff]);
    call("x87Store", form(Source.FLOAT64, Arg.POP), AREA);
    assert.deepEqual(
      [cpu.regs.get64(Reg.X87_VALUE), cpu.regs.get32(Reg.X87_DONE), top(), cpu.regs.get16(Reg.FTW)],
      [PI, 1, 0, 0xffff],
    );
  });

  test("a ninth push overflows: IE SF C1 and the indefinite", () => {
    for (let i = 0; i < 8; i++) load64(PI);
    assert.equal(status() & 0x3f, 0);
    load64(PI);
    assert.deepEqual([status() & (STACK_FAULT | Status.C1), top(), st(0)], [STACK_FAULT | Status.C1, 7, INDEFINITE]);
  });

  test("an empty operand underflows: IE SF, C1 clear", () => {
    load64(PI);
    call("x87Add", form(Source.REGISTER, 1));
    assert.deepEqual([status() & (STACK_FAULT | Status.C1), st(0)], [STACK_FAULT, INDEFINITE]);
  });

  test("unmasked IE leaves the stack alone, sets ES, notes the instruction", () => {
    unmask(Status.IE);
    load64(PI);
    call("x87Add", form(Source.REGISTER, 1 | Arg.POP | Arg.TO_STI));
    assert.deepEqual([top(), st(0), status() & (Status.ES | STACK_FAULT)], [7, PI_EXTENDED, Status.ES | STACK_FAULT]);
    assert.deepEqual([cpu.regs.get64(Reg.FIP), cpu.regs.get16(Reg.FOP)], [BigInt(LAYOUT.CODE), 0x0c1]);
    call("x87ClearExceptions");
    assert.equal(status() & 0x80ff, 0);
  });

  test("FSUB and FSUBR: ST(0) − operand, operand − ST(0)", () => {
    const bits = (x: number): bigint => new BigUint64Array(Float64Array.of(x).buffer)[0]!;
    for (const [arg, expected] of [
      [0, -2],
      [Arg.REVERSED, 2],
    ] as const) {
      load64(bits(5)); // ST(1)
      load64(bits(3));
      call("x87Subtract", form(Source.REGISTER, 1 | arg));
      call("x87Store", form(Source.FLOAT64, Arg.POP), AREA);
      assert.equal(cpu.regs.get64(Reg.X87_VALUE), bits(expected));
    }
  });

  test("a store that faults has not popped", () => {
    load64(PI);
    const before = state();
    assert.throws(() => call("x87Store", form(Source.FLOAT64, Arg.POP), BigInt(LAYOUT.SIZE) - 4n), faults(Vector.PF));
    assert.equal(state(), before);
  });
});

describe("images of the x87 state", () => {
  for (const [name, variant, size] of [
    ["28 bytes", 0, 28],
    ["14 bytes", Arg.VARIANT, 14],
  ] as const) {
    test(`FNSAVE and FRSTOR, ${name}`, () => {
      load64(PI);
      load64(0n);
      const before = [st(0), st(1), top()];
      call("x87Save", variant, AREA);
      assert.equal(cpu.read(AREA + BigInt(size + 10), 8), PI_EXTENDED.significand, "ST(1) is the second register");
      assert.deepEqual([cpu.regs.get16(Reg.FTW), status(), cpu.regs.get16(Reg.FCW)], [0xffff, 0, FNINIT_CONTROL]);
      call("x87Restore", variant, AREA);
      assert.deepEqual([st(0), st(1), top()], before);
    });
  }

  test("FNSTENV tells zero and special, and masks all exceptions", () => {
    unmask(0x3f);
    load64(0n); // R7 zero
    load64(0x7ff0000000000000n); // R6 infinity
    load64(PI); // R5 valid
    call("x87StoreEnvironment", 0, AREA);
    assert.equal(cpu.read(AREA + 8n, 2), 0x63ffn);
    assert.equal(cpu.regs.get16(Reg.FCW), FNINIT_CONTROL);
  });

  test("an area that ends in an absent page changes nothing", () => {
    load64(PI);
    const before = state();
    for (const [name, sizeBytes] of [
      ["x87StoreEnvironment", 28n],
      ["x87Save", 108n],
      ["x87LoadEnvironment", 28n],
      ["x87Restore", 108n],
    ] as const) {
      assert.throws(() => call(name, 0, BigInt(LAYOUT.SIZE) - sizeBytes + 1n), faults(Vector.PF), name);
      assert.equal(state(), before, name);
    }
  });

  test("FXSAVE and FXRSTOR keep x87, XMM and MXCSR; misaligned is #GP", () => {
    load64(PI);
    cpu.regs.set64(Reg.XMM + 0xf8, 0x1234n);
    cpu.regs.set32(Reg.MXCSR, 0x1fa0);
    const before = state();
    call("fxsave", Arg.VARIANT, AREA);
    assert.deepEqual(
      [cpu.read(AREA + 4n, 1), cpu.read(AREA + 0x20n, 8), cpu.read(AREA + 0x1cn, 4)],
      [0x80n, PI_EXTENDED.significand, 0xffffn],
    );
    call("x87Init");
    cpu.regs.bytes.fill(0xff, Reg.ST, Reg.ST + 128);
    cpu.regs.set64(Reg.XMM + 0xf8, 0n);
    cpu.regs.set32(Reg.MXCSR, 0x1f80);
    for (let n = 0; n < 8; n++) cpu.regs.bytes.fill(0, Reg.ST + 16 * n + 10, Reg.ST + 16 * n + 16);
    call("fxrstor", Arg.VARIANT, AREA);
    assert.deepEqual([state(), cpu.regs.get64(Reg.XMM + 0xf8), cpu.regs.get32(Reg.MXCSR)], [before, 0x1234n, 0x1fa0]);
    assert.throws(() => call("fxsave", 0, AREA + 8n), faults(Vector.GP));
  });

  test("FXRSTOR of reserved MXCSR bits is #GP and changes nothing", () => {
    call("fxsave", 0, AREA);
    cpu.write(AREA + 24n, 4, 0x10000n);
    load64(PI);
    const before = state();
    assert.throws(() => call("fxrstor", 0, AREA), faults(Vector.GP));
    assert.equal(state(), before);
  });

  test("XRSTOR initializes what XSTATE_BV does not have, and takes the rest", () => {
    load64(PI);
    cpu.regs.set64(Reg.XMM, 7n);
    cpu.regs.set32(Reg.X87_DONE, 3);
    call("xsave", Arg.VARIANT, AREA);
    assert.equal(cpu.read(AREA + 512n, 8), 3n);
    cpu.write(AREA + 512n, 8, 2n); // SSE only
    cpu.regs.set64(Reg.XMM, 0n);
    cpu.regs.set32(Reg.X87_DONE, 3);
    call("xrstor", Arg.VARIANT, AREA);
    assert.deepEqual(
      [cpu.regs.get64(Reg.XMM), cpu.regs.get16(Reg.FTW), cpu.regs.get16(Reg.FCW)],
      [7n, 0xffff, FNINIT_CONTROL],
    );
  });

  test("XRSTOR of an unknown feature, XSAVE without OSXSAVE", () => {
    cpu.write(AREA + 512n, 8, 4n);
    cpu.regs.set32(Reg.X87_DONE, 3);
    assert.throws(() => call("xrstor", 0, AREA), faults(Vector.GP));
    cpu.regs.set64(Reg.CR4, cpu.regs.get64(Reg.CR4) & ~(1n << 18n));
    assert.throws(() => call("xsave", 0, AREA), faults(Vector.UD));
  });
});
