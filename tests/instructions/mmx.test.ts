/* MMX registers are the x87 registers: what that means for tags, TOP and exponents, when MMX instructions do not run, and a few results that can be seen by
 * eye, on the oracle. (All rows against the processor: instructions.test.ts.) */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import { Vector } from "../../src/isa/cpu.ts";
import { Reg } from "../../src/isa/registers.ts";
import { Cr0 } from "../../src/isa/system/control-registers.ts";
import { CALLS } from "../../src/isa/system/calls.ts";

const MEMORY = { start: 0x10000, sizeBytes: 64, writable: true };
const machine = new OracleMachine([MEMORY], CALLS);
const { regs } = machine;

const OSFXSR = 0x200n;
const TOP_IS_3 = 3 << 11;
const PENDING = 0x8081; // B ES IE
const EMPTY = 0xffff;

interface State {
  mm0?: bigint;
  mm1?: bigint;
  fsw?: number;
  cr0?: number;
}
/** @returns the vector of the fault, if any */
function run(hex: string, { mm0 = 0n, mm1 = 0n, fsw = TOP_IS_3, cr0 = 0 }: State = {}): number | undefined {
  regs.bytes.fill(0);
  regs.set64(Reg.RIP, 0x1000n);
  regs.set64(Reg.CR0, BigInt(cr0));
  regs.set64(Reg.CR4, OSFXSR);
  regs.set32(Reg.MXCSR, 0x1f80);
  regs.set16(Reg.FCW, 0x37e); // IM clear
  regs.set16(Reg.FSW, fsw);
  regs.set16(Reg.FTW, EMPTY);
  regs.setGpr(7, BigInt(MEMORY.start));
  regs.set64(Reg.ST, mm0);
  regs.set64(Reg.ST + 16, mm1);
  return machine.run(new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex")))?.vector;
}
const mm = (n: number): bigint => regs.get64(Reg.ST + 16 * n);
const exponent = (n: number): number => regs.get16(Reg.ST + 16 * n + 8);

test("a write sets exponent and sign to ones, TOP to 0, all tags to valid", () => {
  assert.equal(run("0f fc c1", { mm0: 0x01ffn, mm1: 0x0101n }), undefined); // paddb mm0, mm1
  assert.deepEqual([mm(0), exponent(0), exponent(1)], [0x0200n, 0xffff, 0]);
  assert.deepEqual([regs.get16(Reg.FSW), regs.get16(Reg.FTW)], [0, 0]);
});

test("a read alone sets TOP and tags; EMMS empties", () => {
  run("0f 7e c8", { mm1: 0x1_8000_0000n }); // movd eax, mm1
  assert.deepEqual([regs.gpr(0), exponent(1), regs.get16(Reg.FSW), regs.get16(Reg.FTW)], [0x8000_0000n, 0, 0, 0]);
  run("0f 77");
  assert.deepEqual([regs.get16(Reg.FSW), regs.get16(Reg.FTW)], [0, EMPTY]);
});

test("registers are by number, whatever TOP and REX.R and REX.B say", () => {
  run("4d 0f 6f c1", { mm1: 7n }); // movq mm0, mm1
  assert.equal(mm(0), 7n);
});

test("a store that faults leaves the register stack alone", () => {
  assert.equal(run("0f 7f 04 25 00 00 00 00"), Vector.PF); // movq [0], mm0
  assert.deepEqual([regs.get16(Reg.FSW), regs.get16(Reg.FTW)], [TOP_IS_3, EMPTY]);
});

describe("when MMX instructions do not run", () => {
  // paddb, emms, movq2dq, movdq2q, cvtpi2ps from a register
  for (const hex of ["0f fc c1", "0f 77", "f3 0f d6 c1", "f2 0f d6 c1", "0f 2a c1"]) {
    test(hex, () => {
      assert.equal(run(hex, { cr0: Cr0.EM | Cr0.TS, fsw: PENDING }), Vector.UD);
      assert.equal(run(hex, { cr0: Cr0.TS, fsw: PENDING }), Vector.NM);
      assert.equal(run(hex, { fsw: PENDING }), Vector.MF);
      assert.equal(run(hex), undefined);
    });
  }
  test("cvtpi2ps from memory does not touch the x87 unit", () => {
    assert.equal(run("0f 2a 07", { fsw: PENDING | TOP_IS_3 }), undefined);
    assert.deepEqual([regs.get16(Reg.FSW), regs.get16(Reg.FTW)], [PENDING | TOP_IS_3, EMPTY]);
  });
});

const LOW = 0x0706_0504_0302_0100n;
const HIGH = 0x1716_1514_1312_1110n;
const RESULTS: readonly [string, string, bigint][] = [
  ["punpcklbw", "0f 60 c1", 0x1303_1202_1101_1000n],
  ["punpckhwd", "0f 69 c1", 0x1716_0706_1514_0504n],
  ["packuswb takes the low half from the destination", "0f 67 c1", 0xffff_ffff_ffff_ffffn],
  ["packssdw", "0f 6b c1", 0x7fff_7fff_7fff_7fffn],
  ["pshufw 1B reverses words", "0f 70 c1 1b", 0x1110_1312_1514_1716n],
  ["pshufb takes index bits 2:0", "0f 38 00 c1", LOW],
  ["palignr 3", "0f 3a 0f c1 03", 0x0201_0017_1615_1413n],
  ["palignr 16 leaves nothing", "0f 3a 0f c1 10", 0n],
  ["phaddw adds neighbours of both", "0f 38 01 c1", 0x2c2a_2422_0c0a_0402n],
  ["psadbw", "0f f6 c1", 128n],
  ["psllq by 64 and more clears", "0f f3 c1", 0n],
];
describe("bytes 0–7 with bytes 10–17", () => {
  for (const [name, hex, expected] of RESULTS) {
    test(name, () => {
      assert.equal(run(hex, { mm0: LOW, mm1: HIGH }), undefined);
      assert.equal(mm(0).toString(16), expected.toString(16));
    });
  }
});
