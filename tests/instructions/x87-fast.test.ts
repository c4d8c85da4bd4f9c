/* The x87 instructions that do their usual case without a call (sem/x87-fast.ts, sem/x87-convert.ts), on operands near each other, near powers of two and near
 * halves of a unit, give what the calls of isa/x87 give, which x87.test.ts compares with the processor; and they do so without a call. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import type { CallSpec } from "../../src/isa/calls.ts";
import type { Cpu } from "../../src/isa/cpu.ts";
import { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { X87_CALLS } from "../../src/isa/x87/calls.ts";
import { Arg, Source } from "../../src/isa/x87/unit.ts";
import { Random } from "./random.ts";

const RANGE = { start: 0x10000, sizeBytes: 64, writable: true };
const RBX = 3;
const TOP = 5;
const BIAS = 16383;
const CASES = 3000;
/** Sums that vanish, and cancellation to nearly nothing, are not usual. */
const MAX_CALLS = 0.03;

let called = 0;
const counted = Object.fromEntries(
  Object.entries(X87_CALLS).map(([name, spec]): [string, CallSpec] => [
    name,
    { ...spec, run: (cpu, ...args) => (called++, spec.run(cpu, ...args)) },
  ]),
);
const machine = new OracleMachine([RANGE], counted);
const reference = new RegisterFile(new ArrayBuffer(Reg.SIZE));
const referenceCpu = { regs: reference, probeWrite: () => {} } as unknown as Cpu;

/** Many zeros or many ones, so that results come near to halves. */
function significand(random: Random): bigint {
  const top = 1n << 63n;
  switch (random.below(4)) {
    case 0:
      return top | random.u64();
    case 1:
      return top | (random.u64() >> BigInt(1 + random.below(63)));
    case 2:
      return top | BigInt.asUintN(64, (random.u64() & 0xffn) << BigInt(random.below(64)));
    default:
      return BigInt.asUintN(64, -1n - (random.u64() >> BigInt(32 + random.below(32))));
  }
}

/** ST(0) and ST(1), exponents at most 63 apart, to nearest with full precision. @param within |exponents| are less than it, positive if `whole` */
function prepare(regs: RegisterFile, seed: number, { within, whole }: { within: number; whole: boolean }): void {
  const random = new Random(seed);
  regs.bytes.fill(0);
  regs.rflags = 0;
  regs.set64(Reg.RIP, 0x1000n);
  regs.set16(Reg.FCW, 0x37f);
  regs.set16(Reg.FSW, (TOP << 11) | (random.below(2) << 9));
  regs.set16(Reg.FTW, 0x03ff);
  regs.setGpr(RBX, BigInt(RANGE.start));
  const exponent = whole ? random.below(within) : random.below(2 * within) - within;
  const apart = [0, random.below(3) - 1, random.below(126) - 63][random.below(3)]!;
  for (const [n, e] of [
    [TOP, exponent],
    [TOP + 1, exponent + apart],
  ] as const) {
    regs.set64(Reg.ST + 16 * n, significand(random));
    regs.set16(Reg.ST + 16 * n + 8, (BIAS + e) | (random.below(2) << 15));
  }
}

const ST1 = 1;
const to = (format: keyof typeof Source): number => Source[format] << Arg.SOURCE_SHIFT;
const ANY = { within: 60, whole: false };
const WHOLE = { within: 30, whole: true };

const FORMS: readonly (readonly [name: string, hex: string, call: string, arg: number, operands?: typeof ANY])[] = [
  ["fadd st, st(1)", "d8c1", "x87Add", ST1],
  ["faddp st(1), st", "dec1", "x87Add", ST1 | Arg.TO_STI | Arg.POP],
  ["fsub st, st(1)", "d8e1", "x87Subtract", ST1],
  ["fsubr st, st(1)", "d8e9", "x87Subtract", ST1 | Arg.REVERSED],
  ["fmul st, st(1)", "d8c9", "x87Multiply", ST1],
  ["fdiv st, st(1)", "d8f1", "x87Divide", ST1],
  ["fdivr st, st(1)", "d8f9", "x87Divide", ST1 | Arg.REVERSED],
  ["fld st(1)", "d9c1", "x87Load", ST1],
  ["fxch st(1)", "d9c9", "x87Exchange", ST1],
  ["fstp st(1)", "ddd9", "x87StoreRegister", ST1 | Arg.POP],
  ["fchs", "d9e0", "x87ChangeSign", 0],
  ["fabs", "d9e1", "x87Abs", 0],
  ["fld1", "d9e8", "x87LoadConstant", 0],
  ["fldz", "d9ee", "x87LoadConstant", 6],
  ["fst m32", "d913", "x87Store", to("FLOAT32")],
  ["fstp m64", "dd1b", "x87Store", to("FLOAT64") | Arg.POP],
  ["fstp m80", "db3b", "x87Store", to("FLOAT80") | Arg.POP],
  ["fistp m64", "df3b", "x87Store", to("INT64") | Arg.POP, WHOLE],
  ["fist m32", "db13", "x87Store", to("INT32"), WHOLE],
  ["fisttp m32", "db0b", "x87Store", to("INT32") | Arg.POP | Arg.VARIANT, WHOLE],
  ["fcomi st, st(1)", "dbf1", "x87Compare", ST1 | Arg.TO_FLAGS],
  ["fucomip st, st(1)", "dfe9", "x87Compare", ST1 | Arg.TO_FLAGS | Arg.VARIANT | Arg.POP],
];

const FIELDS: readonly (readonly [string, number, number])[] = [
  ["registers", Reg.ST, 128],
  ["control, status and tags", Reg.FCW, 6],
];
const bytesHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("without a call", () => {
  for (const [name, hex, call, arg, operands = ANY] of FORMS) {
    test(name, () => {
      const bytes = new Uint8Array(Buffer.from(hex, "hex"));
      called = 0;
      for (let seed = 0; seed < CASES; seed++) {
        prepare(machine.regs, seed, operands);
        prepare(reference, seed, operands);
        machine.memory(RANGE).fill(0);
        assert.equal(machine.run(bytes), undefined);
        reference.set32(Reg.X87_ARG, arg);
        X87_CALLS[call]!.run(referenceCpu);
        for (const [field, at, size] of FIELDS) {
          const [actual, expected] = [machine.regs, reference].map((r) => bytesHex(r.bytes.subarray(at, at + size)));
          assert.equal(actual, expected, `${field}, seed ${seed}`);
        }
        const flags = call === "x87Compare" ? Number(reference.get64(Reg.X87_VALUE)) : 0;
        assert.equal(machine.regs.rflags & Rflags.OSZAPC, flags, `flags, seed ${seed}`);
        if (call === "x87Store") {
          const value = bytesHex(machine.memory(RANGE).subarray(0, 10));
          const width = { d913: 4, dd1b: 8, db3b: 10, df3b: 8, db13: 4, db0b: 4 }[hex]!;
          const stored = new Uint8Array(10);
          stored.set(reference.bytes.subarray(Reg.X87_VALUE, Reg.X87_VALUE + width));
          assert.equal(value, bytesHex(stored), `stored, seed ${seed}`);
        }
      }
      assert.ok(called <= CASES * MAX_CALLS, `${called} of ${CASES} cases were calls`);
    });
  }
});
