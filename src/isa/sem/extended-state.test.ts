/* XSAVE64 and XRSTOR64 as they are described, against the calls, which the forms without REX.W always take: the two differ in the upper halves of FIP and FDP only. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OracleMachine } from "../../engine/oracle/test-machine.ts";
import type { TestMachine } from "../../engine/test-machine.ts";
import { createTestMachine } from "../../engine/wasm/test-machine.ts";
import { Random } from "../../../tests/instructions/random.ts";
import { Reg } from "../registers.ts";
import { CALLS } from "../system/calls.ts";

const DATA = { start: 0x1000_0000, sizeBytes: 8192, writable: true };
const READ_ONLY = { start: 0x1000_4000, sizeBytes: 4096, writable: false };
const AREA_BYTES = 576;
const HEADER = 512;
// On [RDI].
const XSAVE = [0x0f, 0xae, 0x27];
const XRSTOR = [0x0f, 0xae, 0x2f];
const wide = (form: readonly number[]): number[] => [0x48, ...form];

function run(m: TestMachine, bytes: readonly number[], address: number): number | undefined {
  m.regs.set64(Reg.RIP, 0x2000_0000n);
  m.regs.setGpr(0, 3n);
  m.regs.setGpr(2, 0n);
  m.regs.setGpr(7, BigInt(address));
  return m.run(Uint8Array.from(bytes))?.vector;
}
function start(m: TestMachine): void {
  const { regs } = m;
  regs.set64(Reg.CR0, 0x8005_0033n);
  regs.set64(Reg.CR4, 0x0004_06b0n);
  regs.set64(Reg.EFER, 0xd01n);
  regs.set64(Reg.XCR0, 3n);
  regs.set64(Reg.RFLAGS, 2n);
}
/** x87 and SSE state of which every part differs from time to time. @param pending an unmasked exception waits */
function fill(m: TestMachine, random: Random, pending: boolean): void {
  const { regs } = m;
  for (let at = 0; at < 256; at += 8) regs.set64(Reg.XMM + at, random.u64());
  for (let n = 0; n < 8; n++) {
    regs.set64(Reg.ST + 16 * n, random.u64());
    regs.set64(Reg.ST + 16 * n + 8, random.u64() & 0xffffn);
  }
  const word = (): number => Number(random.u64() & 0xffffn);
  regs.set16(Reg.FCW, pending ? 0x340 : (word() & 0xf00) | 0x7f);
  regs.set16(Reg.FSW, (word() & 0x7f7f) | (pending ? 0x8081 : 0));
  let tags = 0;
  for (let n = 0; n < 8; n++) tags |= (word() & 1 ? 3 : 0) << (2 * n);
  regs.set16(Reg.FTW, tags);
  regs.set16(Reg.FOP, word() & 0x7ff);
  regs.set64(Reg.FIP, random.u64() & 0xffff_ffffn);
  regs.set64(Reg.FDP, random.u64() & 0xffff_ffffn);
  regs.set32(Reg.MXCSR, word());
}
const state = (m: TestMachine): string => Buffer.from(m.regs.bytes.slice(Reg.XMM, Reg.MXCSR + 4)).toString("hex");

for (const [name, make] of [
  ["oracle", () => new OracleMachine([DATA, READ_ONLY], CALLS)],
  ["wasm", () => createTestMachine([DATA, READ_ONLY])],
] as const) {
  describe(`XSAVE64 and XRSTOR64 on ${name}`, () => {
    const m = make();
    start(m);
    const memory = m.memory(DATA);
    const area = (at: number): Buffer => Buffer.from(memory.slice(at, at + AREA_BYTES));

    test("save and restore what the calls do, in one page and across two", () => {
      const random = new Random(7);
      for (let round = 0; round < 40; round++) {
        const pending = round % 8 === 7;
        const at = round % 4 === 3 ? 4096 - 64 * (1 + (round % 8)) : 64 * round;
        fill(m, random, pending);
        const images = [XSAVE, wide(XSAVE)].map((form) => {
          memory.fill(0xee);
          memory.fill(0, at + HEADER, at + AREA_BYTES);
          assert.equal(run(m, form, DATA.start + at), undefined);
          return area(at).toString("hex");
        });
        assert.equal(images[1], images[0]);
        const saved = state(m);
        const restored = [XRSTOR, wide(XRSTOR)].map((form) => {
          fill(m, random, !pending);
          assert.equal(run(m, form, DATA.start + at), undefined);
          return state(m);
        });
        assert.equal(restored[1], restored[0]);
        assert.equal(restored[0], saved);
      }
    });
    test("pointers are 64 bits wide", () => {
      fill(m, new Random(3), false);
      m.regs.set64(Reg.FIP, 0x7fff_8123_4567_89abn);
      m.regs.set64(Reg.FDP, 0xffff_8765_4321_0fedn);
      memory.fill(0);
      const before = state(m);
      assert.equal(run(m, wide(XSAVE), DATA.start), undefined);
      fill(m, new Random(4), false);
      assert.equal(run(m, wide(XRSTOR), DATA.start), undefined);
      assert.equal(state(m), before);
    });
    test("fault with nothing changed", () => {
      fill(m, new Random(5), false);
      memory.fill(0);
      assert.equal(run(m, wide(XSAVE), DATA.start), undefined);
      const before = state(m);
      const PF = 14;
      const GP = 13;
      const end = DATA.start + DATA.sizeBytes;
      memory.fill(0xee, DATA.sizeBytes - 256);
      assert.equal(run(m, wide(XSAVE), end - 256), PF);
      assert.ok(memory.subarray(DATA.sizeBytes - 256).every((byte) => byte === 0xee));
      assert.equal(run(m, wide(XSAVE), READ_ONLY.start), PF);
      assert.equal(run(m, wide(XRSTOR), end - 256), PF);
      for (const [at, byte] of [
        [27, 1],
        [HEADER, 4],
        [HEADER + 15, 0x80],
        [HEADER + 16, 1],
      ] as const) {
        const old = memory[at]!;
        memory[at] = byte;
        assert.equal(run(m, wide(XRSTOR), DATA.start), GP, String(at));
        memory[at] = old;
      }
      assert.equal(run(m, wide(XRSTOR), DATA.start + 32), GP);
      assert.equal(state(m), before);
    });
    test("parts that are in their initial state are the calls'", () => {
      fill(m, new Random(6), false);
      memory.fill(0);
      assert.equal(run(m, wide(XSAVE), DATA.start), undefined);
      for (const present of [0, 1, 2]) {
        memory[HEADER] = present;
        const restored = [XRSTOR, wide(XRSTOR)].map((form) => {
          fill(m, new Random(9), false);
          assert.equal(run(m, form, DATA.start), undefined);
          return state(m);
        });
        assert.equal(restored[1], restored[0]);
      }
    });
  });
}
