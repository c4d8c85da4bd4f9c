/* XSAVE, XRSTOR, FXSAVE, FXRSTOR: image and header, which features move, every reason for #GP, #UD, #NM, and that a fault changes nothing. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { OracleMachine } from "../../engine/oracle/test-machine.ts";
import { Reg } from "../registers.ts";
import { CALLS } from "../system/calls.ts";

const DATA = { start: 0x1000_0000, sizeBytes: 8192, writable: true };
const machine = new OracleMachine([DATA], CALLS);
const { regs } = machine;
const memory = machine.memory(DATA);
const image = new DataView(memory.buffer, memory.byteOffset);

// On [RDI]; the 64-bit forms have REX.W.
const FXSAVE64 = [0x48, 0x0f, 0xae, 0x07],
  FXRSTOR64 = [0x48, 0x0f, 0xae, 0x0f],
  FXSAVE = [0x0f, 0xae, 0x07];
const XSAVE64 = [0x48, 0x0f, 0xae, 0x27],
  XRSTOR64 = [0x48, 0x0f, 0xae, 0x2f];
const XSTATE_BV = 512,
  XCOMP_BV = 520,
  RESERVED = 528;
const UD = 6,
  NM = 7,
  GP = 13,
  PF = 14;

/** @returns the exception's vector */
function run(bytes: readonly number[], features = 3, address = DATA.start): number | undefined {
  regs.set64(Reg.RIP, 0x2000_0000n);
  regs.setGpr(0, BigInt(features));
  regs.setGpr(2, 0n);
  regs.setGpr(7, BigInt(address));
  return machine.run(Uint8Array.from(bytes))?.vector;
}

/** A state in which every register differs. */
function fill(seed: number): void {
  for (let i = 0; i < 256; i += 8) regs.set64(Reg.XMM + i, BigInt(seed * 1000 + i));
  for (let n = 0; n < 8; n++) {
    regs.set64(Reg.ST + 16 * n, (1n << 63n) + BigInt(seed * 100 + n));
    regs.set64(Reg.ST + 16 * n + 8, BigInt(0x3fff + n));
  }
  regs.set16(Reg.FCW, 0x27f);
  regs.set16(Reg.FSW, (5 << 11) | 0x4020);
  regs.set16(Reg.FTW, 0x0fff); // physical registers 6 and 7 hold values
  regs.set16(Reg.FOP, 0x123);
  regs.set64(Reg.FIP, 0x1234_5678_9abcn);
  regs.set64(Reg.FDP, 0x7fff_1234_5678n);
  regs.set32(Reg.MXCSR, 0x1fa0);
}
const X87_BYTES = (): string => Buffer.from(regs.bytes.slice(Reg.ST, Reg.MXCSR)).toString("hex");
const SSE_BYTES = (): string =>
  Buffer.from(regs.bytes.slice(Reg.XMM, Reg.XMM + 256)).toString("hex") + regs.get32(Reg.MXCSR);

beforeEach(() => {
  memory.fill(0);
  regs.bytes.fill(0);
  regs.set64(Reg.CR0, 0x8005_0033n);
  regs.set64(Reg.CR4, 0x0004_06b0n);
  regs.set64(Reg.EFER, 0xd01n);
  regs.set64(Reg.XCR0, 3n);
  regs.set64(Reg.RFLAGS, 2n);
  fill(1);
});

describe("FXSAVE and FXRSTOR", () => {
  test("the image has every field in its place", () => {
    memory.fill(0xee);
    assert.equal(run(FXSAVE64), undefined);
    assert.equal(image.getUint16(0, true), 0x27f);
    assert.equal(image.getUint16(2, true), (5 << 11) | 0x4020);
    assert.equal(image.getUint8(4), 0b1100_0000);
    assert.equal(image.getUint16(6, true), 0x123);
    assert.equal(image.getBigUint64(8, true), 0x1234_5678_9abcn);
    assert.equal(image.getBigUint64(16, true), 0x7fff_1234_5678n);
    assert.equal(image.getUint32(24, true), 0x1fa0);
    assert.equal(image.getUint32(28, true), 0xffff);
    assert.equal(image.getBigUint64(32, true), (1n << 63n) + 105n, "ST(0) is physical register 5");
    assert.equal(image.getBigUint64(160 + 248, true), 1248n);
    assert.equal(memory[416], 0xee);
    assert.equal(memory[512], 0xee);
  });
  test("without REX.W pointers are 32 bits and a selector", () => {
    run(FXSAVE);
    assert.equal(image.getBigUint64(8, true), 0x5678_9abcn);
    assert.equal(image.getBigUint64(16, true), 0x1234_5678n);
  });
  test("what was saved comes back", () => {
    const before = [X87_BYTES(), SSE_BYTES()];
    run(FXSAVE64);
    fill(2);
    regs.set16(Reg.FSW, 0);
    assert.equal(run(FXRSTOR64), undefined);
    assert.deepEqual([X87_BYTES(), SSE_BYTES()], before);
  });
  test("refuses misaligned areas, reserved MXCSR bits, CR0.TS and EM", () => {
    run(FXSAVE64);
    const before = [X87_BYTES(), SSE_BYTES()];
    assert.equal(run(FXSAVE64, 3, DATA.start + 8), GP);
    image.setUint32(24, 0x1_1f80, true);
    assert.equal(run(FXRSTOR64), GP);
    assert.equal(run(FXRSTOR64, 3, DATA.start + DATA.sizeBytes - 256), PF);
    for (const bit of [4, 8]) {
      regs.set64(Reg.CR0, 0x8005_0033n | BigInt(bit));
      assert.equal(run(FXSAVE64), NM);
    }
    assert.deepEqual([X87_BYTES(), SSE_BYTES()], before);
  });
});

describe("XSAVE and XRSTOR", () => {
  test("XSAVE writes the requested features and keeps the other bits of XSTATE_BV", () => {
    memory.fill(0xee, 0, 512);
    image.setBigUint64(XSTATE_BV, 1n, true);
    assert.equal(run(XSAVE64, 2), undefined);
    assert.equal(image.getBigUint64(XSTATE_BV, true), 3n);
    assert.equal(image.getUint16(0, true), 0xeeee, "x87 was not asked for");
    assert.equal(image.getUint32(24, true), 0x1fa0);
    assert.equal(image.getBigUint64(160, true), 1000n);
  });
  test("XCR0 limits what is saved", () => {
    regs.set64(Reg.XCR0, 1n);
    run(XSAVE64, 0xffff_ffff);
    assert.equal(image.getBigUint64(XSTATE_BV, true), 1n);
    assert.equal(image.getBigUint64(160, true), 0n);
  });
  test("what was saved comes back", () => {
    const before = [X87_BYTES(), SSE_BYTES()];
    run(XSAVE64);
    fill(2);
    assert.equal(run(XRSTOR64), undefined);
    assert.deepEqual([X87_BYTES(), SSE_BYTES()], before);
  });
  test("a feature that is not in XSTATE_BV gets its initial state, MXCSR comes from memory", () => {
    image.setUint32(24, 0x1f80, true);
    assert.equal(run(XRSTOR64), undefined);
    assert.equal(regs.get16(Reg.FCW), 0x37f);
    assert.equal(regs.get16(Reg.FSW), 0);
    assert.equal(regs.get16(Reg.FTW), 0xffff);
    assert.equal(regs.get64(Reg.ST + 16), 0n);
    assert.equal(regs.get64(Reg.XMM + 40), 0n);
    assert.equal(regs.get32(Reg.MXCSR), 0x1f80);
  });
  test("a feature that is not requested stays", () => {
    const [x87, sse] = [X87_BYTES(), SSE_BYTES()];
    image.setUint32(24, 0x1f80, true);
    run(XRSTOR64, 1);
    assert.notEqual(X87_BYTES(), x87);
    assert.equal(SSE_BYTES(), sse);
    fill(1);
    run(XRSTOR64, 2);
    assert.equal(X87_BYTES(), x87);
    assert.notEqual(SSE_BYTES(), sse);
  });
  test("refuses bad headers, MXCSR, alignment, and CR4.OSXSAVE clear", () => {
    const before = [X87_BYTES(), SSE_BYTES()];
    const refused = (at: number, value: bigint): void => {
      image.setBigUint64(at, value, true);
      assert.equal(run(XRSTOR64), GP, `${at}: ${value}`);
      image.setBigUint64(at, 0n, true);
    };
    refused(XSTATE_BV, 4n);
    refused(XSTATE_BV, 1n << 63n);
    refused(XCOMP_BV, 1n << 63n);
    refused(XCOMP_BV, 1n);
    refused(RESERVED, 1n);
    refused(24, 0x1_0000n);
    assert.equal(run(XSAVE64, 3, DATA.start + 32), GP);
    assert.equal(run(XRSTOR64, 3, DATA.start + 32), GP);
    regs.set64(Reg.XCR0, 1n);
    refused(XSTATE_BV, 2n);
    regs.set64(Reg.CR4, 0x6b0n);
    assert.equal(run(XSAVE64), UD);
    assert.equal(run(XRSTOR64), UD);
    assert.deepEqual([X87_BYTES(), SSE_BYTES()], before);
  });
  test("an area that ends outside memory changes nothing", () => {
    const end = DATA.start + DATA.sizeBytes - 512;
    const before = [X87_BYTES(), SSE_BYTES()];
    assert.equal(run(XSAVE64, 3, end), PF);
    assert.ok(memory.every((byte) => byte === 0));
    assert.equal(run(XRSTOR64, 3, end), PF);
    assert.deepEqual([X87_BYTES(), SSE_BYTES()], before);
  });
});
