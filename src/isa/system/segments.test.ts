import assert from "node:assert/strict";
import { test } from "node:test";
import { Vector } from "../cpu.ts";
import { Reg, SegmentIndex, Shadow } from "../registers.ts";
import { CALLS } from "./calls.ts";
import { enterUser, fakeCpu, faultOf, LAYOUT, SELECTOR, type FakeCpu } from "./fake-cpu.ts";

const call = (cpu: FakeCpu, name: string, ...args: (bigint | number)[]) => CALLS[name]!.run(cpu, ...args.map(BigInt));
const VALID = 1n << 32n;

test("data segments: null, privilege, presence, accessed bit, FS base", () => {
  const cpu = fakeCpu();
  cpu.memory.view.setBigUint64(LAYOUT.GDT + 0x18, 0x12cf_9234_5678_ffffn, true); // data, base 0x12345678, not accessed
  call(cpu, "loadSegment", SegmentIndex.FS, SELECTOR.KERNEL_DS);
  assert.equal(cpu.regs.get64(Reg.FS_BASE), 0x1234_5678n);
  assert.equal(cpu.memory.view.getUint8(LAYOUT.GDT + 0x18 + 5), 0x93);
  call(cpu, "loadSegment", SegmentIndex.FS, 0);
  assert.deepEqual(cpu.regs.segment(SegmentIndex.FS), { selector: 0, attributes: 0, limit: 0, base: 0n });
  enterUser(cpu);
  call(cpu, "loadSegment", SegmentIndex.DS, SELECTOR.USER_DS);
  assert.equal(cpu.regs.segment(SegmentIndex.DS).selector, SELECTOR.USER_DS);
  const fault = (selector: number): unknown => faultOf(() => call(cpu, "loadSegment", SegmentIndex.ES, selector));
  assert.deepEqual(fault(SELECTOR.KERNEL_DS), { vector: Vector.GP, errorCode: SELECTOR.KERNEL_DS });
  assert.deepEqual(fault(SELECTOR.ABSENT | 3), { vector: Vector.NP, errorCode: SELECTOR.ABSENT });
  assert.deepEqual(fault(SELECTOR.TSS), { vector: Vector.GP, errorCode: SELECTOR.TSS });
  assert.deepEqual(fault(0x1003), { vector: Vector.GP, errorCode: 0x1000 });
  assert.deepEqual(fault(0x0f), { vector: Vector.GP, errorCode: 0x0c }); // no LDT
});

test("SS: null only below CPL 3, levels must agree, holds interrupts off for one instruction", () => {
  const cpu = fakeCpu();
  call(cpu, "loadSegment", SegmentIndex.SS, 0);
  assert.equal(cpu.regs.get32(Reg.INTERRUPT_SHADOW), Shadow.MOV_SS);
  const fault = (selector: number): unknown => faultOf(() => call(cpu, "loadSegment", SegmentIndex.SS, selector));
  assert.deepEqual(fault(3), { vector: Vector.GP, errorCode: 0 });
  assert.deepEqual(fault(SELECTOR.USER_DS), { vector: Vector.GP, errorCode: SELECTOR.USER_DS & ~3 });
  assert.deepEqual(fault(SELECTOR.KERNEL_CS), { vector: Vector.GP, errorCode: SELECTOR.KERNEL_CS });
  enterUser(cpu);
  assert.deepEqual(fault(0), { vector: Vector.GP, errorCode: 0 });
  assert.deepEqual(fault(SELECTOR.ABSENT | 3), { vector: Vector.SS, errorCode: SELECTOR.ABSENT });
});

test("LLDT and selectors in the LDT", () => {
  const cpu = fakeCpu();
  call(cpu, "lldt", SELECTOR.LDT);
  assert.deepEqual(
    [cpu.regs.segment(SegmentIndex.LDTR).base, cpu.regs.segment(SegmentIndex.LDTR).limit],
    [0x5000n, 0x1f],
  );
  cpu.memory.view.setBigUint64(0x5008, 0x00cf_9300_0000_ffffn, true);
  call(cpu, "loadSegment", SegmentIndex.DS, 0x0c);
  assert.deepEqual(
    faultOf(() => call(cpu, "loadSegment", SegmentIndex.DS, 0x24)),
    { vector: Vector.GP, errorCode: 0x24 },
  );
  assert.deepEqual(
    faultOf(() => call(cpu, "lldt", SELECTOR.TSS)),
    { vector: Vector.GP, errorCode: SELECTOR.TSS },
  );
  call(cpu, "lldt", 0);
  assert.deepEqual(
    faultOf(() => call(cpu, "loadSegment", SegmentIndex.DS, 0x0c)),
    { vector: Vector.GP, errorCode: 0x0c },
  );
});

test("LTR takes an available TSS once and marks it busy", () => {
  const cpu = fakeCpu();
  cpu.memory.view.setBigUint64(LAYOUT.GDT + SELECTOR.TSS + 8, 0xffff_8000n, true);
  call(cpu, "ltr", SELECTOR.TSS);
  const tr = cpu.regs.segment(SegmentIndex.TR);
  assert.deepEqual([tr.selector, tr.base, tr.attributes, tr.limit], [SELECTOR.TSS, 0xffff_8000_0000_4000n, 0x8b, 0xff]);
  assert.deepEqual(
    faultOf(() => call(cpu, "ltr", SELECTOR.TSS)),
    { vector: Vector.GP, errorCode: SELECTOR.TSS },
  );
  assert.deepEqual(
    faultOf(() => call(cpu, "ltr", 0)),
    { vector: Vector.GP, errorCode: 0 },
  );
  assert.deepEqual(
    faultOf(() => call(cpu, "ltr", SELECTOR.KERNEL_DS)),
    { vector: Vector.GP, errorCode: SELECTOR.KERNEL_DS },
  );
});

test("LAR, LSL, VERR, VERW see what the privilege level may see", () => {
  const cpu = fakeCpu();
  assert.equal(call(cpu, "lsl", SELECTOR.USER_DS), VALID | 0xffff_ffffn);
  assert.equal(call(cpu, "lsl", SELECTOR.TSS), VALID | 0xffn);
  assert.equal(call(cpu, "lar", SELECTOR.KERNEL_CS), VALID | 0x00a0_9b00n);
  assert.equal(call(cpu, "lar", 0), 0n);
  enterUser(cpu);
  assert.equal(call(cpu, "lsl", SELECTOR.USER_DS), VALID | 0xffff_ffffn);
  assert.equal(call(cpu, "lsl", SELECTOR.KERNEL_DS), 0n);
  assert.equal(call(cpu, "lar", SELECTOR.CONFORMING) !== 0n, true);
  assert.deepEqual([call(cpu, "verr", SELECTOR.USER_DS), call(cpu, "verw", SELECTOR.USER_DS)], [1n, 1n]);
  assert.deepEqual(
    [call(cpu, "verr", SELECTOR.USER_CS), call(cpu, "verw", SELECTOR.USER_CS), call(cpu, "verr", SELECTOR.TSS)],
    [1n, 0n, 0n],
  );
});

test("LGDT, SGDT, LIDT, SIDT: ten bytes, canonical base", () => {
  const cpu = fakeCpu();
  cpu.memory.view.setUint16(0x7000, 0x7f, true);
  cpu.memory.view.setBigUint64(0x7002, 0xffff_ffff_8000_0000n, true);
  call(cpu, "lgdt", 0x7000);
  call(cpu, "lidt", 0x7000);
  call(cpu, "sgdt", 0x7100);
  call(cpu, "sidt", 0x7200);
  for (const at of [0x7100, 0x7200]) {
    assert.deepEqual(
      [cpu.memory.view.getUint16(at, true), cpu.memory.view.getBigUint64(at + 2, true)],
      [0x7f, 0xffff_ffff_8000_0000n],
    );
  }
  cpu.memory.view.setBigUint64(0x7002, 1n << 47n, true);
  assert.deepEqual(
    faultOf(() => call(cpu, "lgdt", 0x7000)),
    { vector: Vector.GP, errorCode: 0 },
  );
  assert.equal(cpu.regs.get64(Reg.GDTR_BASE), 0xffff_ffff_8000_0000n);
  assert.equal(faultOf(() => call(cpu, "sgdt", LAYOUT.SIZE - 12)).vector, Vector.PF);
});
