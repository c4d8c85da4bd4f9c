import assert from "node:assert/strict";
import { test } from "node:test";
import { Vector } from "../cpu.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { CALLS } from "./calls.ts";
import { enterUser, fakeCpu, faultOf, LAYOUT, push, SELECTOR, stackWords, type FakeCpu } from "./fake-cpu.ts";

const call = (cpu: FakeCpu, name: string, ...args: bigint[]) => CALLS[name]!.run(cpu, ...args);
const frame = (
  cpu: FakeCpu,
  {
    rip = 0x9000n,
    cs = SELECTOR.USER_CS as number,
    rflags = Rflags.IF | 2,
    rsp = 0x7000n,
    ss = SELECTOR.USER_DS as number,
  } = {},
) => push(cpu, BigInt(ss), rsp, BigInt(rflags >>> 0), BigInt(cs), rip);

test("IRETQ to user code and back by an exception", () => {
  const cpu = fakeCpu();
  cpu.regs.setSegment(SegmentIndex.DS, { selector: 0x18, attributes: 0xc093, limit: 0xffff_ffff, base: 0n });
  frame(cpu, { rflags: Rflags.IF | Rflags.CF | Rflags.AC | Rflags.TF | Rflags.VM | 2 });
  call(cpu, "iret", 8n);
  assert.deepEqual([cpu.rip, cpu.regs.cpl, cpu.regs.gpr(4)], [0x9000n, 3, 0x7000n]);
  assert.equal(cpu.regs.rflags, Rflags.IF | Rflags.CF | Rflags.AC | Rflags.TF | 2);
  assert.equal(cpu.regs.segment(SegmentIndex.CS).attributes, 0xa0fb);
  assert.equal(cpu.regs.segment(SegmentIndex.DS).selector, 0, "a kernel data segment does not survive in user code");
  assert.ok(cpu.log.includes("open") && cpu.log.includes("mode"));
});

test("IRETQ in the kernel accepts a null SS and restores RSP always", () => {
  const cpu = fakeCpu();
  frame(cpu, { cs: SELECTOR.KERNEL_CS, ss: 0, rsp: 0x6000n, rflags: 2 });
  call(cpu, "iret", 8n);
  assert.deepEqual([cpu.rip, cpu.regs.cpl, cpu.regs.gpr(4), cpu.log], [0x9000n, 0, 0x6000n, []]);
});

test("IRET from user code cannot change IOPL or IF, nor come to the kernel", () => {
  const cpu = fakeCpu();
  enterUser(cpu);
  frame(cpu, { rflags: Rflags.IOPL | 2 });
  call(cpu, "iret", 8n);
  assert.equal(cpu.regs.rflags, Rflags.IF | 2);
  frame(cpu, { cs: SELECTOR.KERNEL_CS, ss: SELECTOR.KERNEL_DS });
  assert.deepEqual(
    faultOf(() => call(cpu, "iret", 8n)),
    { vector: Vector.GP, errorCode: SELECTOR.KERNEL_CS },
  );
});

test("IRET refuses, and changes nothing", () => {
  const refuse = (fields: Parameters<typeof frame>[1], prepare: (cpu: FakeCpu) => void = () => undefined) => {
    const cpu = fakeCpu();
    prepare(cpu);
    frame(cpu, fields);
    const before = cpu.regs.bytes.slice();
    const fault = faultOf(() => call(cpu, "iret", 8n));
    assert.deepEqual(cpu.regs.bytes, before);
    assert.deepEqual(cpu.log, []);
    return [fault.vector, fault.errorCode];
  };
  assert.deepEqual(
    refuse({}, (cpu) => (cpu.regs.rflags = Rflags.NT | 2)),
    [Vector.GP, 0],
  );
  assert.deepEqual(refuse({ cs: 0 }), [Vector.GP, 0]);
  assert.deepEqual(refuse({ cs: 3 }), [Vector.GP, 0]);
  assert.deepEqual(refuse({ cs: SELECTOR.CODE32 }), [Vector.GP, SELECTOR.CODE32 & ~3]); // compatibility mode
  assert.deepEqual(refuse({ cs: 0x30 }), [Vector.GP, 0x30]); // RPL 0, DPL 3
  assert.deepEqual(refuse({ rip: 1n << 47n }), [Vector.GP, 0]);
  assert.deepEqual(refuse({ ss: 0 }), [Vector.GP, 0]);
  assert.deepEqual(refuse({ ss: 3 }), [Vector.GP, 0]);
  assert.deepEqual(refuse({ ss: SELECTOR.KERNEL_DS }), [Vector.GP, SELECTOR.KERNEL_DS]);
  assert.deepEqual(refuse({ ss: SELECTOR.ABSENT | 3 }), [Vector.SS, SELECTOR.ABSENT]);
  assert.deepEqual(refuse({ ss: SELECTOR.USER_CS }), [Vector.GP, SELECTOR.USER_CS & ~3]);
});

test("far call and far return inside the kernel; far return to user code", () => {
  const cpu = fakeCpu();
  call(cpu, "callFar", 0x10n, 0xa000n, 8n);
  assert.deepEqual([cpu.rip, stackWords(cpu, 2)], [0xa000n, [BigInt(LAYOUT.CODE + 2), 0x10n]]);
  call(cpu, "retFar", 8n, 0n);
  assert.deepEqual([cpu.rip, cpu.regs.gpr(4)], [BigInt(LAYOUT.CODE + 2), BigInt(LAYOUT.STACK)]);
  push(cpu, BigInt(SELECTOR.USER_DS), 0x7000n, 0n, BigInt(SELECTOR.USER_CS), 0x9000n);
  call(cpu, "retFar", 8n, 8n);
  assert.deepEqual([cpu.rip, cpu.regs.cpl, cpu.regs.gpr(4)], [0x9000n, 3, 0x7008n]);
});

test("far jumps: offset by operand size, checks", () => {
  const cpu = fakeCpu();
  call(cpu, "jmpFar", 0x10n, 0x1_0000_a000n, 4n);
  assert.equal(cpu.rip, 0xa000n);
  for (const selector of [0x18, SELECTOR.USER_CS, SELECTOR.CODE32, SELECTOR.TSS, SELECTOR.LDT]) {
    assert.deepEqual(
      faultOf(() => call(cpu, "jmpFar", BigInt(selector), 0n, 8n)),
      { vector: Vector.GP, errorCode: selector & ~3 },
    );
  }
  assert.deepEqual(
    faultOf(() => call(cpu, "jmpFar", 0n, 0n, 8n)),
    { vector: Vector.GP, errorCode: 0 },
  );
});

test("SYSRETQ: selectors, flags, privilege", () => {
  const cpu = fakeCpu();
  assert.deepEqual(
    faultOf(() => call(cpu, "sysret", 8n)),
    { vector: Vector.UD, errorCode: undefined },
  );
  cpu.regs.set64(Reg.STAR, 0x0023_0010_0000_0000n);
  cpu.regs.set64(Reg.EFER, cpu.regs.get64(Reg.EFER) | 1n);
  cpu.regs.setGpr(1, BigInt(LAYOUT.CODE + 2));
  cpu.regs.setGpr(11, 0xffff_ffffn);
  assert.deepEqual(
    faultOf(() => call(cpu, "sysret", 4n)),
    { vector: Vector.GP, errorCode: 0x20 },
  );
  call(cpu, "sysret", 8n);
  assert.equal(cpu.regs.rflags, 0x3c7fd7);
  assert.deepEqual(
    [cpu.rip, cpu.regs.cpl, cpu.regs.segment(1).selector, cpu.regs.segment(2).selector],
    [BigInt(LAYOUT.CODE + 2), 3, 0x33, 0x2b],
  );
  assert.deepEqual(
    faultOf(() => call(cpu, "sysret", 8n)),
    { vector: Vector.GP, errorCode: 0 },
  );
});

test("SYSRET to a non-canonical address faults in the kernel", () => {
  const cpu = fakeCpu();
  cpu.regs.set64(Reg.EFER, cpu.regs.get64(Reg.EFER) | 1n);
  cpu.regs.setGpr(1, 0x0000_8000_0000_0000n);
  assert.deepEqual(
    faultOf(() => call(cpu, "sysret", 8n)),
    { vector: Vector.GP, errorCode: 0 },
  );
  assert.equal(cpu.regs.cpl, 0);
});
