/* Control registers, debug registers, MSRs, RFLAGS instructions and ports. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Vector } from "../cpu.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { CALLS } from "./calls.ts";
import { Cr4 } from "./control-registers.ts";
import { matchCodeBreakpoint, matchDataBreakpoints, singleStepTrap } from "./debug.ts";
import { enterUser, fakeCpu, faultOf, LAYOUT, push, stackWords, type FakeCpu } from "./fake-cpu.ts";
import { ARCH_CAPABILITIES } from "./msr.ts";

const GP0 = { vector: Vector.GP, errorCode: 0 };
const UD = { vector: Vector.UD, errorCode: undefined };
const call = (cpu: FakeCpu, name: string, ...args: bigint[]) => CALLS[name]!.run(cpu, ...args);
/** The call must fault and change nothing. */
function refuses(cpu: FakeCpu, expected: unknown, name: string, ...args: bigint[]): void {
  const before = cpu.regs.bytes.slice();
  const log = [...cpu.log];
  assert.deepEqual(
    faultOf(() => call(cpu, name, ...args)),
    expected,
    `${name} ${args.join(" ")}`,
  );
  assert.deepEqual(cpu.regs.bytes, before);
  assert.deepEqual(cpu.log, log);
}

test("CR0: leaving long mode, NW without CD and high bits are refused; WP flushes", () => {
  const cpu = fakeCpu();
  const cr0 = cpu.regs.get64(Reg.CR0);
  for (const bad of [cr0 & ~1n, cr0 & ~(1n << 31n), cr0 | (1n << 29n), cr0 | (1n << 32n)])
    refuses(cpu, GP0, "writeCr", 0n, bad);
  call(cpu, "writeCr", 0n, (cr0 & ~0x10n) | (1n << 6n) | 8n); // ET is fixed, reserved bits stay 0
  assert.equal(cpu.regs.get64(Reg.CR0), cr0 | 8n);
  assert.deepEqual(cpu.log, ["mode"]);
  call(cpu, "clts");
  assert.equal(cpu.regs.get64(Reg.CR0), cr0);
  cpu.log.length = 0;
  call(cpu, "writeCr", 0n, cr0 & ~(1n << 16n));
  assert.deepEqual(cpu.log, ["flush all", "mode"]);
  call(cpu, "lmsw", 0xfff0n);
  assert.equal(cpu.regs.get64(Reg.CR0), (cr0 & ~(1n << 16n) & ~0xen) | 1n);
  refuses(cpu, UD, "readCr", 1n);
});

test("CR3: width, PCID and the no-flush bit", () => {
  const cpu = fakeCpu();
  refuses(cpu, GP0, "writeCr", 3n, 1n << 46n);
  refuses(cpu, GP0, "writeCr", 3n, 1n << 63n);
  call(cpu, "writeCr", 3n, 0x1000n);
  assert.deepEqual(cpu.log, ["flush nonGlobal", "mode"]);
  call(cpu, "writeCr", 4n, BigInt(Cr4.PAE | Cr4.PCIDE));
  cpu.log.length = 0;
  call(cpu, "writeCr", 3n, 0x1005n);
  assert.deepEqual(cpu.log, ["flush nonGlobal 5", "mode"]);
  cpu.log.length = 0;
  call(cpu, "writeCr", 3n, (1n << 63n) | 0x2006n);
  assert.deepEqual(cpu.log, ["mode"]);
  assert.equal(cpu.regs.get64(Reg.CR3), 0x2006n);
});

test("CR4: unknown bits, PAE, PCIDE with a nonzero PCID; which toggles flush", () => {
  const cpu = fakeCpu();
  const pae = BigInt(Cr4.PAE);
  for (const bit of [0, 1, 6, 8, 11, 12, 13, 14, 15, 19, 22, 23, 24, 32])
    refuses(cpu, GP0, "writeCr", 4n, pae | (1n << BigInt(bit)));
  refuses(cpu, GP0, "writeCr", 4n, 0n);
  cpu.regs.set64(Reg.CR3, 0x1001n);
  refuses(cpu, GP0, "writeCr", 4n, pae | BigInt(Cr4.PCIDE));
  cpu.regs.set64(Reg.CR3, 0x1000n);
  const step = (value: number): string[] => {
    cpu.log.length = 0;
    call(cpu, "writeCr", 4n, pae | BigInt(value));
    return [...cpu.log];
  };
  assert.deepEqual(step(Cr4.OSFXSR), ["mode"]);
  assert.deepEqual(step(Cr4.PGE), ["flush all", "mode"]);
  assert.deepEqual(step(Cr4.PGE | Cr4.PCIDE), ["mode"]);
  assert.deepEqual(step(Cr4.PGE), ["flush all", "mode"]);
  assert.deepEqual(step(0), ["flush all", "mode"]);
  assert.deepEqual(step(Cr4.SMEP | Cr4.SMAP), ["flush all", "mode"]);
});

test("CR8 is the task priority", () => {
  const cpu = fakeCpu();
  refuses(cpu, GP0, "writeCr", 8n, 16n);
  call(cpu, "writeCr", 8n, 15n);
  assert.deepEqual([cpu.tpr, call(cpu, "readCr", 8n), cpu.log], [15, 15n, ["open"]]);
});

test("INVLPG and INVPCID", () => {
  const cpu = fakeCpu();
  const descriptor = (pcid: bigint, address: bigint): bigint => {
    cpu.memory.view.setBigUint64(0x7000, pcid, true);
    cpu.memory.view.setBigUint64(0x7008, address, true);
    return 0x7000n;
  };
  call(cpu, "invlpg", 0x1234n);
  call(cpu, "invlpg", 1n << 47n);
  assert.deepEqual(cpu.log, ["flush address 4660"]);
  cpu.log.length = 0;
  refuses(cpu, GP0, "invpcid", 4n, descriptor(0n, 0n));
  refuses(cpu, GP0, "invpcid", 2n, descriptor(0x1000n, 0n));
  refuses(cpu, GP0, "invpcid", 1n, descriptor(1n, 0n)); // PCIDs are off
  refuses(cpu, GP0, "invpcid", 0n, descriptor(0n, 1n << 47n));
  cpu.regs.set64(Reg.CR4, BigInt(Cr4.PAE | Cr4.PCIDE));
  call(cpu, "invpcid", 0n, descriptor(3n, 0x5000n));
  call(cpu, "invpcid", 1n, descriptor(3n, 1n << 47n));
  call(cpu, "invpcid", 2n, descriptor(3n, 0n));
  call(cpu, "invpcid", 3n, descriptor(3n, 0n));
  assert.deepEqual(cpu.log, ["flush address 20480 3", "flush nonGlobal 3", "flush all", "flush nonGlobal"]);
});

test("XCR0", () => {
  const cpu = fakeCpu();
  refuses(cpu, UD, "xgetbv");
  cpu.regs.set64(Reg.CR4, BigInt(Cr4.PAE | Cr4.OSXSAVE));
  for (const value of [0n, 2n, 7n]) {
    cpu.regs.setGpr(0, value);
    refuses(cpu, GP0, "xsetbv");
  }
  cpu.regs.setGpr(0, 3n);
  call(cpu, "xsetbv");
  cpu.regs.setGpr(0, 0n);
  call(cpu, "xgetbv");
  assert.equal(cpu.regs.gpr(0), 3n);
  cpu.regs.setGpr(1, 1n);
  refuses(cpu, GP0, "xgetbv");
});

test("MSRs: stored, refused, unknown, device", () => {
  const cpu = fakeCpu();
  const write = (index: number, value: bigint): void => {
    cpu.regs.setGpr(1, BigInt(index));
    cpu.regs.setGpr(0, value & 0xffff_ffffn);
    cpu.regs.setGpr(2, value >> 32n);
  };
  const read = (index: number): bigint => {
    cpu.regs.setGpr(1, BigInt(index));
    call(cpu, "rdmsr");
    return (cpu.regs.gpr(2) << 32n) | cpu.regs.gpr(0);
  };
  const kept = 0xffff_8888_1234_5678n;
  for (const index of [
    0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0x174, 0x175, 0x176,
  ]) {
    write(index, kept + BigInt(index & 0xff));
    call(cpu, "wrmsr");
    assert.equal(read(index), kept + BigInt(index & 0xff));
  }
  const bad: readonly (readonly [number, bigint])[] = [
    [0xc000_0080, 0x1d01n | (1n << 12n)],
    [0xc000_0080, 0xc01n],
    [0xc000_0082, 1n << 47n],
    [0xc000_0101, 1n << 63n],
    [0x277, 2n],
    [0x2ff, 2n],
    [0x2ff, 0x1006n],
    [0xc000_0103, 1n << 32n],
    [0x10a, 0n],
    [0x48, 0n],
    [0x999, 0n],
    [0x802, 0n],
    [0x1d9, 4n],
  ];
  for (const [index, value] of bad) {
    write(index, value);
    refuses(cpu, GP0, "wrmsr");
  }
  for (const index of [0x48, 0x49, 0xce, 0x999, 0x1b]) {
    cpu.regs.setGpr(1, BigInt(index));
    refuses(cpu, GP0, "rdmsr");
  }
  assert.equal(read(0x10a), ARCH_CAPABILITIES);
  assert.equal(read(0x277), 0x0007_0406_0007_0406n);
  for (const index of [0x1b, 0x802, 0x6e0, 0x4b56_4d01, 0x12]) {
    cpu.deviceMsrs.set(index, BigInt(index));
    assert.equal(read(index), BigInt(index));
  }
  cpu.log.length = 0;
  write(0xc000_0080, 0x901n); // SCE, LME, NXE; LMA stays
  call(cpu, "wrmsr");
  assert.equal(read(0xc000_0080), 0xd01n);
  assert.deepEqual(cpu.log, ["flush all", "mode"]);
});

test("the TSC: written, and back to the host's", () => {
  const cpu = fakeCpu();
  cpu.regs.setGpr(1, 0x10n);
  cpu.regs.setGpr(0, 5n);
  cpu.regs.setGpr(2, 7n);
  call(cpu, "wrmsr");
  assert.equal(cpu.regs.get64(Reg.TSC_ADJUST), 0x7_0000_0005n - cpu.now);
  cpu.now += 3n;
  assert.equal(cpu.tsc(), 0x7_0000_0008n);
  cpu.regs.setGpr(0, 0n);
  cpu.regs.setGpr(1, 0x3bn);
  cpu.regs.setGpr(2, 0n);
  call(cpu, "wrmsr"); // TSC_ADJUST = 0: the counter is the host's again
  assert.equal(cpu.tsc(), cpu.now);
});

test("CLI, STI, POPF", () => {
  const cpu = fakeCpu();
  call(cpu, "sti");
  assert.deepEqual([cpu.regs.rflags, cpu.regs.get32(Reg.INTERRUPT_SHADOW), cpu.log], [Rflags.IF | 2, 1, ["open"]]);
  cpu.regs.set32(Reg.INTERRUPT_SHADOW, 0);
  call(cpu, "sti");
  assert.equal(cpu.regs.get32(Reg.INTERRUPT_SHADOW), 0, "no shadow if interrupts were on");
  cpu.regs.rflags |= Rflags.RF;
  push(cpu, 0xffff_ffffn);
  call(cpu, "popf", 8n);
  const all = Rflags.OSZAPC | Rflags.TF | Rflags.IF | Rflags.DF | Rflags.IOPL | Rflags.NT | Rflags.AC | Rflags.ID | 2;
  assert.equal(cpu.regs.rflags, all);
  call(cpu, "cli");
  assert.equal(cpu.regs.rflags, all & ~Rflags.IF);

  enterUser(cpu, Rflags.IF | 2);
  for (const name of ["cli", "sti"]) refuses(cpu, GP0, name);
  push(cpu, BigInt(Rflags.IOPL | Rflags.ZF));
  call(cpu, "popf", 8n);
  assert.equal(cpu.regs.rflags, Rflags.IF | Rflags.ZF | 2, "no fault, IF and IOPL stay");
  cpu.regs.rflags |= Rflags.IOPL;
  push(cpu, 0n);
  call(cpu, "popf", 8n);
  assert.equal(cpu.regs.rflags, Rflags.IOPL | 2, "with IOPL 3 user code masks interrupts");
});

test("a 16-bit POPF leaves AC and ID", () => {
  const cpu = fakeCpu();
  cpu.regs.rflags = Rflags.AC | Rflags.ID | 2;
  push(cpu, 0n);
  call(cpu, "popf", 2n);
  assert.equal(cpu.regs.rflags, Rflags.AC | Rflags.ID | 2);
  assert.equal(cpu.regs.gpr(4), BigInt(LAYOUT.STACK - 6));
});

test("debug registers: aliases, fixed bits, general detect", () => {
  const cpu = fakeCpu();
  call(cpu, "writeDr", 7n, 0xffff_dfffn);
  assert.equal(call(cpu, "readDr", 5n), 0xffff_07ffn);
  call(cpu, "writeDr", 4n, 0n);
  assert.equal(call(cpu, "readDr", 6n), 0xffff_0ff0n);
  for (const n of [6n, 7n]) refuses(cpu, GP0, "writeDr", n, 1n << 32n);
  cpu.regs.set64(Reg.CR4, BigInt(Cr4.PAE | Cr4.DE));
  refuses(cpu, UD, "readDr", 4n);
  call(cpu, "writeDr", 7n, 0x2400n);
  assert.deepEqual(
    faultOf(() => call(cpu, "readDr", 0n)),
    { vector: Vector.DB, errorCode: undefined },
  );
});

test("single step: BS in DR6, TF off in the handler, on in the frame", () => {
  const cpu = fakeCpu();
  cpu.regs.rflags = Rflags.TF | 2;
  cpu.regs.set64(Reg.RIP, 0x8003n);
  singleStepTrap(cpu);
  assert.equal(cpu.regs.get64(Reg.DR + 48), 0xffff_4ff0n);
  assert.deepEqual(stackWords(cpu, 3), [0x8003n, 0x10n, BigInt(Rflags.TF | 2)]);
  assert.equal(cpu.regs.rflags, 2);
});

test("breakpoints: enable, kind, length, alignment, RF", () => {
  const { regs } = fakeCpu();
  regs.set64(Reg.DR, 0x1000n); // execute
  regs.set64(Reg.DR + 8, 0x2003n); // write, 4 bytes: 0x2000–0x2003
  regs.set64(Reg.DR + 16, 0x3000n); // read and write, 8 bytes
  regs.set64(Reg.DR + 24, 0x3000n); // the same, not enabled
  regs.set64(Reg.DR + 56, BigInt((0x400 | 0x15 | (0b1101 << 20) | (0b1011 << 24) | (0b1011 << 28)) >>> 0));
  assert.deepEqual([matchCodeBreakpoint(regs, 0x1000n), matchCodeBreakpoint(regs, 0x2003n)], [1, 0]);
  regs.rflags = Rflags.RF;
  assert.equal(matchCodeBreakpoint(regs, 0x1000n), 0);
  assert.deepEqual(
    [matchDataBreakpoints(regs, 0x2000n, 1, true), matchDataBreakpoints(regs, 0x2000n, 1, false)],
    [2, 0],
  );
  assert.deepEqual(
    [
      matchDataBreakpoints(regs, 0x1ffcn, 4, true),
      matchDataBreakpoints(regs, 0x1ffdn, 4, true),
      matchDataBreakpoints(regs, 0x2004n, 8, true),
    ],
    [0, 2, 0],
  );
  assert.deepEqual(
    [matchDataBreakpoints(regs, 0x3007n, 1, false), matchDataBreakpoints(regs, 0x3008n, 1, false)],
    [4, 0],
  );
});

test("ports: IOPL, then the bitmap of the TSS", () => {
  const cpu = fakeCpu();
  cpu.ports.set(0x3f8, 0x55);
  assert.equal(call(cpu, "portIn", 0x3f8n, 1n), 0x55n);
  enterUser(cpu);
  for (let i = 0; i < 0x90; i++) cpu.memory.view.setUint8(LAYOUT.TSS + 0x68 + i, 0xff);
  refuses(cpu, GP0, "portIn", 0x3f8n, 1n);
  cpu.memory.view.setUint8(LAYOUT.TSS + 0x68 + (0x3f8 >> 3), 0xfe);
  cpu.regs.setSegment(SegmentIndex.TR, { ...cpu.regs.segment(SegmentIndex.TR), limit: 0x68 + (0x3f8 >> 3) + 1 });
  assert.equal(call(cpu, "portIn", 0x3f8n, 1n), 0x55n);
  refuses(cpu, GP0, "portIn", 0x3f8n, 2n);
  refuses(cpu, GP0, "portOut", 0x400n, 1n, 0n); // beyond the limit
  cpu.regs.rflags |= Rflags.IOPL;
  call(cpu, "portOut", 0x400n, 1n, 0x1ffn);
  assert.equal(cpu.ports.get(0x400), 0xff);
});
