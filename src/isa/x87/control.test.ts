/* Environment and state images, tags told from contents, and how an unmasked exception waits: recorded with FIP and FOP, raised by the next
 * instruction that waits, not by one that does not. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { OracleMachine } from "../../engine/oracle/test-machine.ts";
import { Reg } from "../registers.ts";
import { CALLS } from "../system/calls.ts";

const DATA = { start: 0x1000_0000, sizeBytes: 4096, writable: true };
const CODE = { start: 0x2000_0000, sizeBytes: 4096, writable: false };
const machine = new OracleMachine([DATA, CODE], CALLS);
const { regs } = machine;
const memory = machine.memory(DATA);
const image = new DataView(memory.buffer, memory.byteOffset);
const MF = 16,
  PF = 14;

function run(...bytes: number[]): number | undefined {
  regs.set64(Reg.RIP, BigInt(CODE.start));
  machine.memory(CODE).set(bytes);
  return machine.run(Uint8Array.from(bytes))?.vector;
}
const FLD1 = [0xd9, 0xe8],
  FLDZ = [0xd9, 0xee],
  FNSTENV = [0xd9, 0x37],
  FLDENV = [0xd9, 0x27],
  FNSAVE = [0xdd, 0x37],
  FRSTOR = [0xdd, 0x27]; // [RDI]
const FDIV = [0xd8, 0xf1],
  FNSTSW_AX = [0xdf, 0xe0],
  FNCLEX = [0xdb, 0xe2],
  FNINIT = [0xdb, 0xe3],
  FLDCW = [0xd9, 0x2f];

beforeEach(() => {
  memory.fill(0);
  regs.bytes.fill(0);
  regs.set64(Reg.CR0, 0x8005_0033n);
  regs.set64(Reg.CR4, 0x6b0n);
  regs.set64(Reg.RFLAGS, 2n);
  regs.setGpr(7, BigInt(DATA.start));
  run(...FNINIT);
});

/** 1 / 0 with ZE not masked. */
function divideByZero(): void {
  image.setUint16(0, 0x37b, true);
  run(...FLDCW);
  run(...FLDZ);
  run(...FLD1);
  assert.equal(run(0x3e, ...FDIV), undefined, "the exception waits");
}

describe("an unmasked exception", () => {
  test("is pending: the operation is not done, ES is set, FIP and FOP tell where", () => {
    divideByZero();
    assert.equal(regs.get16(Reg.FSW), 0x8000 | (6 << 11) | 0x84);
    assert.equal(regs.get64(Reg.ST + 16 * 6), 1n << 63n, "ST(0) is still 1");
    assert.equal(regs.get64(Reg.FIP), BigInt(CODE.start));
    assert.equal(regs.get16(Reg.FOP), 0x0f1);
  });
  test("is raised by what waits, before anything else", () => {
    divideByZero();
    const before = regs.bytes.slice(Reg.ST, Reg.SIZE);
    for (const bytes of [FLD1, FDIV, [0xd9, 0xd0], [0x9b], FLDENV, [0xd9, 0x1f], [0xdb, 0xf1]])
      assert.equal(run(...bytes), MF, bytes.join(" "));
    assert.deepEqual(regs.bytes.slice(Reg.ST, Reg.SIZE), before);
    assert.equal(run(...FNSTSW_AX), undefined);
    assert.equal(regs.gpr(0), 0xb084n);
    assert.equal(run(...FNCLEX), undefined);
    assert.equal(run(...FLD1), undefined);
  });
  test("comes up when FLDCW unmasks it", () => {
    run(...FLDZ);
    run(...FLD1);
    run(...FDIV);
    image.setUint16(0, 0x37b, true);
    assert.equal(run(...FLDCW), undefined);
    assert.equal(run(...FLD1), MF);
  });
});

describe("images", () => {
  test("FNSTENV: 28 bytes, tags told from contents, then everything is masked", () => {
    memory.fill(0x55);
    divideByZero();
    run(...FNSTENV);
    const words = Array.from({ length: 7 }, (_, i) => image.getUint32(4 * i, true));
    assert.deepEqual(
      words.map((w) => w.toString(16)),
      ["ffff037b", "ffffb084", "ffff4fff", "20000000", "f10000", "0", "ffff0000"],
    );
    assert.equal(memory[28], 0x55);
    assert.equal(regs.get16(Reg.FCW), 0x37f);
    assert.equal(run(...FLD1), undefined, "nothing is pending any more");
  });
  test("with 66h they have 14 bytes", () => {
    memory.fill(0x55);
    run(...FLD1);
    run(0x66, ...FNSTENV);
    assert.deepEqual(
      Array.from({ length: 3 }, (_, i) => image.getUint16(2 * i, true)),
      [0x37f, 7 << 11, 0x3fff],
    );
    assert.equal(memory[14], 0x55);
  });
  for (const prefix of [[], [0x66]]) {
    test(`FNSAVE and FRSTOR, ${prefix.length ? 94 : 108} bytes: what was saved comes back`, () => {
      run(...FLD1);
      run(...FLDZ);
      run(0xd9, 0xeb); // FLDPI
      run(0xd9, 0xf6); // FDECSTP
      const before = Buffer.from(regs.bytes.slice(Reg.ST, Reg.FSW + 2)).toString("hex");
      run(...prefix, ...FNSAVE);
      assert.equal(regs.get16(Reg.FTW), 0xffff);
      assert.equal(regs.get16(Reg.FSW), 0);
      regs.bytes.fill(0, Reg.ST, Reg.ST + 128);
      assert.equal(run(...prefix, ...FRSTOR), undefined);
      assert.equal(Buffer.from(regs.bytes.slice(Reg.ST, Reg.FSW + 2)).toString("hex"), before);
    });
  }
  test("a fault leaves memory and unit as they were", () => {
    run(...FLD1);
    for (const [bytes, size] of [
      [FNSTENV, 28],
      [FLDENV, 28],
      [FNSAVE, 108],
      [FRSTOR, 108],
      [[0xdb, 0x3f], 10],
      [[0xdd, 0x1f], 8],
    ] as const) {
      regs.setGpr(7, BigInt(DATA.start + DATA.sizeBytes - size + 1));
      const before = Buffer.from(regs.bytes.slice(Reg.ST, Reg.MXCSR)).toString("hex");
      assert.equal(run(...bytes), PF);
      assert.equal(Buffer.from(regs.bytes.slice(Reg.ST, Reg.MXCSR)).toString("hex"), before);
      assert.ok(memory.every((byte) => byte === 0));
    }
  });
});
