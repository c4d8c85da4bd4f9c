import assert from "node:assert/strict";
import { test } from "node:test";
import { GuestFault, Vector } from "../cpu.ts";
import { Reg, Rflags, SegmentIndex } from "../registers.ts";
import { deliver, deliverFault, deliverSoftware, TripleFault } from "./exceptions.ts";
import { enterUser, fakeCpu, faultOf, LAYOUT, SELECTOR, setGate, stackWords, type FakeCpu } from "./fake-cpu.ts";
import { CALLS } from "./calls.ts";

const handler = (vector: number): bigint => BigInt(0x10000 + 16 * vector);
const cs = (cpu: FakeCpu): number => cpu.regs.get16(Reg.SEG + 16 * SegmentIndex.CS);
const ss = (cpu: FakeCpu): number => cpu.regs.get16(Reg.SEG + 16 * SegmentIndex.SS);

test("a fault from user code goes to the stack of RSP0, with RF and its error code", () => {
  const cpu = fakeCpu();
  enterUser(cpu, Rflags.IF | Rflags.TF | Rflags.NT | Rflags.AC | Rflags.CF | 2);
  cpu.regs.setGpr(4, 0x1234n);
  deliverFault(cpu, new GuestFault(Vector.PF, 6, 0xffff_8000_0000_1000n));
  assert.equal(cpu.rip, handler(Vector.PF));
  assert.equal(cpu.regs.get64(Reg.CR2), 0xffff_8000_0000_1000n);
  assert.deepEqual(stackWords(cpu, 6), [
    6n,
    BigInt(LAYOUT.CODE),
    BigInt(SELECTOR.USER_CS),
    BigInt(Rflags.IF | Rflags.TF | Rflags.NT | Rflags.AC | Rflags.CF | Rflags.RF | 2),
    0x1234n,
    BigInt(SELECTOR.USER_DS),
  ]);
  assert.equal(cpu.regs.gpr(4), BigInt(LAYOUT.RSP0 - 48));
  assert.equal(cpu.regs.cpl, 0);
  assert.equal(cs(cpu), SELECTOR.KERNEL_CS);
  assert.deepEqual(cpu.regs.segment(SegmentIndex.SS), { selector: 0, attributes: 0, limit: 0, base: 0n });
  assert.equal(cpu.regs.rflags, Rflags.AC | Rflags.CF | 2);
  assert.deepEqual(cpu.log, ["mode"]);
});

test("an interrupt in the kernel stays on its stack, aligned to 16; a trap gate leaves IF", () => {
  const cpu = fakeCpu();
  cpu.regs.rflags = Rflags.IF | 2;
  cpu.regs.set32(Reg.INTERRUPT_SHADOW, 1);
  cpu.regs.setGpr(4, BigInt(LAYOUT.STACK + 9));
  cpu.regs.set64(Reg.RIP, 0x9000n);
  setGate(cpu, 0x30, 0x7777_1234_5678n, { type: 15 });
  deliver(cpu, { vector: 0x30, kind: "external" });
  assert.equal(cpu.rip, 0x7777_1234_5678n);
  assert.deepEqual(stackWords(cpu, 5), [0x9000n, 0x10n, BigInt(Rflags.IF | 2), BigInt(LAYOUT.STACK + 9), 0x18n]);
  assert.equal(cpu.regs.gpr(4), BigInt(LAYOUT.STACK - 40));
  assert.equal(ss(cpu), 0x18);
  assert.equal(cpu.regs.rflags, Rflags.IF | 2);
  assert.equal(cpu.regs.get32(Reg.INTERRUPT_SHADOW), 0);
  assert.deepEqual(cpu.log, []);
});

test("IST is used from either privilege; NMI blocks further NMIs until IRET", () => {
  for (const user of [false, true]) {
    const cpu = fakeCpu();
    if (user) enterUser(cpu);
    setGate(cpu, Vector.NMI, 0x5000n, { ist: 1 });
    deliver(cpu, { vector: Vector.NMI, kind: "nmi" });
    assert.equal(cpu.regs.gpr(4), BigInt(LAYOUT.IST1 - 40));
    assert.equal(cpu.regs.get32(Reg.NMI_BLOCKED), 1);
    CALLS.iret!.run(cpu, 8n);
    assert.equal(cpu.regs.get32(Reg.NMI_BLOCKED), 0);
    assert.equal(cpu.regs.cpl, user ? 3 : 0);
  }
});

test("software interrupts save the next RIP and check the gate's DPL; INT1 does not", () => {
  const cpu = fakeCpu();
  enterUser(cpu);
  assert.deepEqual(
    faultOf(() => deliverSoftware(cpu, 0x80, "software")),
    { vector: Vector.GP, errorCode: 0x80 * 8 + 2 },
  );
  assert.deepEqual(
    faultOf(() => CALLS.int3!.run(cpu)),
    { vector: Vector.GP, errorCode: 3 * 8 + 2 },
  );
  assert.equal(cpu.regs.cpl, 3);
  setGate(cpu, 0x80, 0x6000n, { dpl: 3 });
  CALLS.intN!.run(cpu, 0x80n);
  assert.deepEqual([cpu.rip, stackWords(cpu, 1)[0]], [0x6000n, BigInt(LAYOUT.CODE + 2)]);

  const other = fakeCpu();
  enterUser(other);
  CALLS.int1!.run(other);
  assert.equal(other.rip, handler(Vector.DB));
  assert.equal(other.regs.get64(Reg.DR + 48), 0xffff_0ff0n);
});

test("gates: out of the table, not a gate, not present, bad code segments", () => {
  const fault = (prepare: (cpu: FakeCpu) => void): unknown => {
    const cpu = fakeCpu();
    prepare(cpu);
    const before = cpu.regs.bytes.slice();
    const result = faultOf(() => deliverSoftware(cpu, 0x20, "software"));
    assert.deepEqual(cpu.regs.bytes, before);
    return result;
  };
  const inIdt = 0x20 * 8 + 2;
  assert.deepEqual(
    fault((cpu) => cpu.regs.set64(Reg.IDTR_LIMIT, 0x20en)),
    { vector: Vector.GP, errorCode: inIdt },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 0n, { type: 12 })),
    { vector: Vector.GP, errorCode: inIdt },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 0n, { present: false })),
    { vector: Vector.NP, errorCode: inIdt },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 0n, { selector: 0 })),
    { vector: Vector.GP, errorCode: 0 },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 0n, { selector: 0x800 })),
    { vector: Vector.GP, errorCode: 0x800 },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 0n, { selector: 0x18 })),
    { vector: Vector.GP, errorCode: 0x18 },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 0n, { selector: SELECTOR.USER_CS })),
    { vector: Vector.GP, errorCode: 0x30 },
  );
  assert.deepEqual(
    fault((cpu) => setGate(cpu, 0x20, 1n << 47n)),
    { vector: Vector.GP, errorCode: 0 },
  );
  assert.deepEqual(
    fault(
      (cpu) =>
        setGate(cpu, 0x20, 0n, { ist: 7, selector: 0x10 }) ??
        cpu.regs.setSegment(7, { ...cpu.regs.segment(7), limit: 0x5a }),
    ),
    { vector: Vector.TS, errorCode: SELECTOR.TSS },
  );
  assert.deepEqual(
    fault((cpu) => cpu.regs.setGpr(4, 1n << 63n)),
    { vector: Vector.SS, errorCode: 0 },
  );
});

test("a conforming handler keeps the privilege level", () => {
  const cpu = fakeCpu();
  enterUser(cpu);
  setGate(cpu, 0x20, 0x5000n, { selector: SELECTOR.CONFORMING });
  deliver(cpu, { vector: 0x20, kind: "external" });
  assert.deepEqual([cpu.regs.cpl, cs(cpu), ss(cpu)], [3, SELECTOR.CONFORMING | 3, SELECTOR.USER_DS]);
});

/** What arrives when delivering `first` meets a fault of class `second`. @returns vector and error code, or "shutdown" */
function nested(first: number, second: "benign" | "contributory" | "page"): string {
  const cpu = fakeCpu();
  if (second === "contributory") setGate(cpu, first, 0n, { selector: 0x18 });
  if (second === "page") {
    setGate(cpu, first, 0x5000n, { ist: 1 });
    cpu.memory.view.setBigUint64(LAYOUT.TSS + 36, 0x7000_0000n, true); // a stack that is not mapped
  }
  const withCode = first === Vector.PF || first === Vector.GP || first === Vector.DF;
  try {
    deliver(cpu, {
      vector: first,
      kind: first >= 32 ? "external" : "exception",
      errorCode: withCode ? 0 : undefined,
      address: 0n,
    });
  } catch (error) {
    assert.ok(error instanceof TripleFault);
    return "shutdown";
  }
  return `${Number(cpu.rip - 0x10000n) / 16} ${stackWords(cpu, 1)[0]}`;
}

test("double-fault table", () => {
  assert.equal(nested(Vector.UD, "contributory"), `${Vector.GP} ${0x19}`); // in turn, with EXT
  assert.equal(nested(Vector.UD, "page"), `${Vector.PF} 2`);
  assert.equal(nested(0x40, "contributory"), `${Vector.GP} ${0x19}`);
  assert.equal(nested(0x40, "page"), `${Vector.PF} 2`);
  for (const first of [Vector.DE, Vector.TS, Vector.NP, Vector.SS]) {
    assert.equal(nested(first, "contributory"), `${Vector.DF} 0`);
    assert.equal(nested(first, "page"), `${Vector.PF} 2`);
  }
  assert.equal(nested(Vector.PF, "contributory"), `${Vector.DF} 0`);
  assert.equal(nested(Vector.PF, "page"), `${Vector.DF} 0`);
  assert.equal(nested(Vector.DF, "contributory"), "shutdown");
  assert.equal(nested(Vector.DF, "page"), "shutdown");
});

test("an empty IDT is a triple fault", () => {
  const cpu = fakeCpu();
  cpu.regs.set64(Reg.IDTR_LIMIT, 0n);
  assert.throws(() => deliver(cpu, { vector: 0x40, kind: "external" }), TripleFault);
});
