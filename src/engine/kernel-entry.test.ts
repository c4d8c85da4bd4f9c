/* PUSHF, STAC, CLAC, SWAPGS, SYSCALL and SYSRET, which are described in full (isa/sem/kernel-entry.ts): the oracle and the wasm engine do the same. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Vector } from "../isa/cpu.ts";
import { Reg, Rflags, SegmentIndex } from "../isa/registers.ts";
import { CALLS } from "../isa/system/calls.ts";
import { initializeLongMode } from "../isa/system/long-mode.ts";
import { OracleMachine } from "./oracle/test-machine.ts";
import type { TestFault, TestMachine } from "./test-machine.ts";
import { createTestMachine } from "./wasm/test-machine.ts";

const CODE = 0x40_0000n;
const STACK = { start: 0x50_0000, sizeBytes: 4096, writable: true };
const PUSHFQ = "9c",
  PUSHFW = "669c",
  STAC = "0f01cb",
  CLAC = "0f01ca",
  SWAPGS = "0f01f8",
  SYSCALL = "0f05",
  SYSRETQ = "480f07";
const [RCX, RSP, R11] = [1, 4, 11];

function machine(make: () => TestMachine): TestMachine {
  const m = make();
  initializeLongMode(m.regs, {
    rip: CODE,
    rsp: BigInt(STACK.start + 2048),
    rsi: 0n,
    cr3: 0x1000n,
    gdtBase: 0n,
    apicId: 0,
  });
  m.regs.set64(Reg.EFER, 0xd01n);
  return m;
}
const run = (m: TestMachine, hex: string): TestFault | undefined => m.run(Uint8Array.fromHex(hex));
/** @returns vector and error code */
const fault = (m: TestMachine, hex: string): unknown => {
  const f = run(m, hex);
  return f && [f.vector, f.errorCode];
};
const segment = (m: TestMachine, index: number): unknown[] => {
  const { selector, attributes, limit, base } = m.regs.segment(index);
  return [selector, attributes, limit, base];
};

for (const [name, make] of [
  ["oracle", () => new OracleMachine([STACK], CALLS)],
  ["wasm", () => createTestMachine([STACK])],
] as const) {
  describe(`kernel entry on ${name}`, () => {
    test("PUSHF stores all but RF", () => {
      const m = machine(make);
      const view = new DataView(m.memory(STACK).buffer, m.memory(STACK).byteOffset);
      m.regs.rflags = Rflags.IF | Rflags.AC | Rflags.CF | Rflags.RF | Rflags.ID | 2;
      assert.equal(run(m, PUSHFQ), undefined);
      assert.equal(view.getBigUint64(2040, true), BigInt(Rflags.IF | Rflags.AC | Rflags.CF | Rflags.ID | 2));
      assert.equal(run(m, PUSHFW), undefined);
      assert.deepEqual(
        [view.getUint16(2038, true), m.regs.gpr(RSP)],
        [Rflags.IF | Rflags.CF | 2, BigInt(STACK.start + 2038)],
      );
    });

    test("STAC, CLAC: AC and nothing else; #UD outside the kernel", () => {
      const m = machine(make);
      m.regs.rflags = Rflags.IF | Rflags.ZF | 2;
      run(m, STAC);
      assert.equal(m.regs.rflags, Rflags.AC | Rflags.IF | Rflags.ZF | 2);
      run(m, CLAC);
      assert.equal(m.regs.rflags, Rflags.IF | Rflags.ZF | 2);
      m.regs.cpl = 3;
      for (const hex of [STAC, CLAC]) assert.deepEqual(fault(m, hex), [Vector.UD, undefined]);
    });

    test("SWAPGS exchanges the bases; #GP outside the kernel", () => {
      const m = machine(make);
      m.regs.set64(Reg.GS_BASE, 0xffff_8000_0000_0000n);
      m.regs.set64(Reg.KERNEL_GS_BASE, 5n);
      run(m, SWAPGS);
      assert.deepEqual([m.regs.get64(Reg.GS_BASE), m.regs.get64(Reg.KERNEL_GS_BASE)], [5n, 0xffff_8000_0000_0000n]);
      m.regs.cpl = 3;
      assert.deepEqual(fault(m, SWAPGS), [Vector.GP, 0]);
    });

    test("SYSCALL and SYSRETQ: selectors, masked flags, privilege", () => {
      const m = machine(make);
      m.regs.cpl = 3;
      m.regs.rflags = Rflags.IF | Rflags.DF | Rflags.ZF | Rflags.AC | Rflags.RF | 2;
      m.regs.set64(Reg.STAR, 0x0023_0010_0000_0000n);
      m.regs.set64(Reg.LSTAR, 0xffff_ffff_8000_0000n);
      m.regs.set64(Reg.SFMASK, BigInt(Rflags.IF | Rflags.DF | Rflags.AC | Rflags.TF));
      assert.equal(run(m, SYSCALL), undefined);
      assert.deepEqual(
        [m.regs.get64(Reg.RIP), m.regs.gpr(RCX), m.regs.gpr(R11)],
        [0xffff_ffff_8000_0000n, CODE + 2n, BigInt(Rflags.IF | Rflags.DF | Rflags.ZF | Rflags.AC | 2)],
      );
      assert.deepEqual([m.regs.rflags, m.regs.cpl], [Rflags.ZF | 2, 0]);
      assert.deepEqual(segment(m, SegmentIndex.CS), [0x10, 0xa09b, 0xffff_ffff, 0n]);
      assert.deepEqual(segment(m, SegmentIndex.SS), [0x18, 0xc093, 0xffff_ffff, 0n]);

      m.regs.set64(Reg.RIP, CODE);
      m.regs.setGpr(R11, 0xffff_ffffn & ~BigInt(Rflags.TF));
      assert.equal(run(m, SYSRETQ), undefined);
      assert.deepEqual([m.regs.get64(Reg.RIP), m.regs.cpl, m.regs.rflags], [CODE + 2n, 3, 0x3c7fd7 & ~Rflags.TF]);
      assert.deepEqual(segment(m, SegmentIndex.CS), [0x33, 0xa0fb, 0xffff_ffff, 0n]);
      assert.deepEqual(segment(m, SegmentIndex.SS), [0x2b, 0xc0f3, 0xffff_ffff, 0n]);
      assert.deepEqual(fault(m, SYSRETQ), [Vector.GP, 0], "not from user code");
    });

    test("SYSRET to an address that is not canonical changes nothing", () => {
      const m = machine(make);
      m.regs.setGpr(RCX, 0x8000_0000_0000n);
      m.regs.setGpr(R11, 0x202n);
      assert.deepEqual(fault(m, SYSRETQ), [Vector.GP, 0]);
      assert.deepEqual([m.regs.cpl, m.regs.rflags], [0, 2]);
    });
  });
}
