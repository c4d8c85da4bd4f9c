/* SSE instructions whose results can be seen by eye, on the oracle: one or two of each kind, edges of immediates, partial registers, faults.
 * (All rows against the processor: instructions.test.ts.) */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { SSE_CALLS } from "../../src/isa/sem/sse-calls.ts";
import { Mxcsr } from "../../src/isa/softfloat/index.ts";

const MEMORY = 0x10000;
const RANGE = { start: MEMORY, sizeBytes: 64, writable: true };
const machine = new OracleMachine([RANGE], SSE_CALLS);
const { regs } = machine;
const memory = machine.memory(RANGE);

const CR4_OSFXSR = 0x200n;
const CR4_OSXMMEXCPT = 0x400n;

interface State {
  xmm0?: bigint;
  xmm1?: bigint;
  rax?: bigint;
  rdx?: bigint;
  mxcsr?: number;
  cr4?: bigint;
  /** RDI points to this. */
  at?: number;
}

/** Runs bytes (hex, spaces allowed) from a state. @returns the vector of the fault, if any */
function run(hex: string, state: State = {}): number | undefined {
  regs.bytes.fill(0);
  regs.set64(Reg.RIP, 0x1000n);
  regs.set64(Reg.CR4, state.cr4 ?? CR4_OSFXSR | CR4_OSXMMEXCPT);
  regs.set32(Reg.MXCSR, state.mxcsr ?? Mxcsr.RESET);
  regs.setGpr(0, state.rax ?? 0n);
  regs.setGpr(2, state.rdx ?? 0n);
  regs.setGpr(7, BigInt(state.at ?? MEMORY));
  setXmm(0, state.xmm0 ?? 0n);
  setXmm(1, state.xmm1 ?? 0n);
  return machine.run(Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")))?.vector;
}
function setXmm(n: number, v: bigint): void {
  regs.set64(Reg.XMM + 16 * n, v);
  regs.set64(Reg.XMM + 16 * n + 8, v >> 64n);
}
const xmm = (n: number): bigint => regs.get64(Reg.XMM + 16 * n) | (regs.get64(Reg.XMM + 16 * n + 8) << 64n);
const ofBytes = (f: (i: number) => number): bigint =>
  Array.from({ length: 16 }, (_, i) => BigInt(f(i)) << BigInt(8 * i)).reduce((a, b) => a | b);
const ofText = (text: string): bigint => ofBytes((i) => text.charCodeAt(i) || 0);
const doublewords = (...d: bigint[]): bigint => d.reduce((v, x, i) => v | (x << BigInt(32 * i)), 0n);

/** Bytes 0–15, and 16–31. */
const LOW = ofBytes((i) => i);
const HIGH = ofBytes((i) => i + 16);

const RESULTS: readonly [string, string, bigint][] = [
  ["pshufd 1B reverses doublewords", "66 0f 70 c1 1b", doublewords(0x1f1e1d1cn, 0x1b1a1918n, 0x17161514n, 0x13121110n)],
  ["pshuflw 00 repeats the lowest word", "f2 0f 70 c1 00", ofBytes((i) => (i < 8 ? 16 + (i & 1) : 16 + i))],
  ["pshufhw FF repeats the highest word", "f3 0f 70 c1 ff", ofBytes((i) => (i < 8 ? 16 + i : 30 + (i & 1)))],
  ["shufps E4 takes each half in order", "0f c6 c1 e4", ofBytes((i) => (i < 8 ? i : i + 16))],
  ["shufpd 01", "66 0f c6 c1 01", ofBytes((i) => i + 8)],
  ["palignr 3", "66 0f 3a 0f c1 03", ofBytes((i) => (i < 13 ? i + 19 : i - 13))],
  ["palignr 17 shifts the destination too", "66 0f 3a 0f c1 11", ofBytes((i) => (i < 15 ? i + 1 : 0))],
  ["palignr 255 leaves nothing", "66 0f 3a 0f c1 ff", 0n],
  ["pblendw A5", "66 0f 3a 0e c1 a5", ofBytes((i) => ((0xa5 >> (i >> 1)) & 1 ? i + 16 : i))],
  ["blendps 6", "66 0f 3a 0c c1 06", ofBytes((i) => ((6 >> (i >> 2)) & 1 ? i + 16 : i))],
  [
    "insertps: source 2 to lane 1, lane 3 zeroed",
    "66 0f 3a 21 c1 98",
    doublewords(0x03020100n, 0x1b1a1918n, 0x0b0a0908n, 0n),
  ],
  ["punpckhbw", "66 0f 68 c1", ofBytes((i) => (i & 1 ? 16 : 0) + 8 + (i >> 1))],
  ["movhlps", "0f 12 c1", ofBytes((i) => (i < 8 ? i + 24 : i))],
  ["movlhps", "0f 16 c1", ofBytes((i) => (i < 8 ? i : i + 8))],
  ["movss between registers keeps the rest", "f3 0f 10 c1", ofBytes((i) => (i < 4 ? i + 16 : i))],
  ["movq between registers clears the rest", "f3 0f 7e c1", ofBytes((i) => (i < 8 ? i + 16 : 0))],
  ["psadbw", "66 0f f6 c1", 128n | (128n << 64n)],
  ["mpsadbw 0 against equal distance", "66 0f 3a 42 c1 00", ofBytes((i) => (i & 1 ? 0 : 64 - 2 * i))],
  ["pmaxub", "66 0f de c1", HIGH],
  ["phaddd adds neighbours of both", "66 0f 38 02 c1", doublewords(0x0a080604n, 0x1a181614n, 0x2a282624n, 0x3a383634n)],
  ["pmovzxbw", "66 0f 38 30 c1", ofBytes((i) => (i & 1 ? 0 : 16 + (i >> 1)))],
  ["pmovsxbq", "66 0f 38 22 c1", 0x10n | (0x11n << 64n)],
  ["phminposuw", "66 0f 38 41 c1", 0x1110n],
];

describe("bytes 0–15 with bytes 16–31", () => {
  for (const [name, hex, expected] of RESULTS) {
    test(name, () => {
      assert.equal(run(hex, { xmm0: LOW, xmm1: HIGH }), undefined);
      assert.equal(xmm(0).toString(16), expected.toString(16));
    });
  }
});

const SHIFTS: readonly [string, string, (v: bigint) => bigint][] = [
  ["pslldq 15", "66 0f 73 f8 0f", (v) => BigInt.asUintN(128, v << 120n)],
  ["psrldq 1", "66 0f 73 d8 01", (v) => v >> 8n],
  ["psrldq 200 clears", "66 0f 73 d8 c8", () => 0n],
  ["psrlq 64 clears", "66 0f 73 d0 40", () => 0n],
  ["psraw 255 fills with signs", "66 0f 71 e0 ff", () => 0n],
];
for (const [name, hex, f] of SHIFTS) {
  test(name, () => {
    run(hex, { xmm0: LOW });
    assert.equal(xmm(0), f(LOW));
  });
}

test("a count in a register is 64 bits wide", () => {
  run("66 0f f3 c1", { xmm0: LOW, xmm1: 1n << 32n }); // psllq
  assert.equal(xmm(0), 0n);
  run("66 0f e2 c1", { xmm0: 0x80000000n, xmm1: 0xffn }); // psrad
  assert.equal(xmm(0), 0xffffffffn);
});

test("pmulhrsw of −1 and −1 wraps", () => {
  run("66 0f 38 0b c1", { xmm0: 0x8000n, xmm1: 0x8000n });
  assert.equal(xmm(0), 0x8000n);
});

describe("memory", () => {
  test("movss from memory clears the rest; movsd to memory writes eight bytes", () => {
    memory.fill(0xee);
    run("f3 0f 10 07", { xmm0: LOW });
    assert.equal(xmm(0), 0xeeeeeeeen);
    run("f2 0f 11 07", { xmm0: LOW });
    assert.deepEqual([...memory.subarray(0, 9)], [0, 1, 2, 3, 4, 5, 6, 7, 0xee]);
  });
  test("a 16-byte operand must be aligned, but for the unaligned moves and string comparison", () => {
    assert.equal(run("66 0f 6f 07", { at: MEMORY + 1 }), 13); // movdqa
    assert.equal(run("0f 58 07", { at: MEMORY + 8 }), 13); // addps
    assert.equal(run("f3 0f 6f 07", { at: MEMORY + 1 }), undefined); // movdqu
    assert.equal(run("66 0f 3a 63 07 00", { at: MEMORY + 1 }), undefined); // pcmpistri
    assert.equal(run("f2 0f 58 07", { at: MEMORY + 1 }), undefined); // addsd
  });
  test("maskmovdqu stores the bytes whose mask is negative, and checks all sixteen", () => {
    memory.fill(0);
    assert.equal(
      run("66 0f f7 c1", { xmm0: HIGH, xmm1: ofBytes((i) => (i === 2 || i === 15 ? 0x80 : 0x7f)) }),
      undefined,
    );
    assert.deepEqual([...memory.subarray(0, 17)], [0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 0]);
    assert.equal(run("66 0f f7 c1", { at: MEMORY + 56 }), 14);
  });
});

test("pinsr and pextr take their lane modulo the count", () => {
  run("66 0f c4 c0 0a", { xmm0: LOW, rax: 0xabcdn }); // pinsrw, lane 2
  assert.equal(
    xmm(0),
    ofBytes((i) => (i === 4 ? 0xcd : i === 5 ? 0xab : i)),
  );
  run("66 0f 3a 14 c0 1f", { xmm0: LOW, rax: -1n }); // pextrb eax, lane 15
  assert.equal(regs.gpr(0), 15n);
  run("66 48 0f 3a 16 c0 01", { xmm0: LOW }); // pextrq
  assert.equal(regs.gpr(0), LOW >> 64n);
});

test("ptest and comisd set the flags, and clear the others", () => {
  const flags = (): number => regs.rflags & Rflags.OSZAPC;
  run("66 0f 38 17 c1", { xmm0: 5n, xmm1: 10n });
  assert.equal(flags(), Rflags.ZF);
  run("66 0f 38 17 c1", { xmm0: 7n, xmm1: 5n });
  assert.equal(flags(), Rflags.CF);
  const one = 0x3ff0000000000000n;
  const nan = 0x7ff8000000000000n;
  const compare = (xmm0: bigint, xmm1: bigint): number => (run("66 0f 2f c1", { xmm0, xmm1 }), flags());
  assert.equal(compare(one, 0n), 0);
  assert.equal(compare(0n, one), Rflags.CF);
  assert.equal(compare(one, one), Rflags.ZF);
  assert.equal(compare(one, nan), Rflags.ZF | Rflags.PF | Rflags.CF);
  assert.equal(regs.get32(Reg.MXCSR), Mxcsr.RESET | 1);
});

describe("string comparison", () => {
  const strings = (hex: string, a: string, b: string): bigint => (
    run(hex, { xmm0: ofText(a), xmm1: ofText(b), rax: BigInt(a.length), rdx: BigInt(b.length) }),
    regs.gpr(1)
  );
  test("equal any: the first byte of a set", () => {
    assert.equal(strings("66 0f 3a 63 c1 00", "xyz", "hello, zoo"), 7n);
    assert.equal(strings("66 0f 3a 63 c1 00", "q", "hello"), 16n);
  });
  test("ranges, last match", () => assert.equal(strings("66 0f 3a 63 c1 44", "azAZ", "12ab34CD56"), 7n));
  test("equal each, negated: the first difference", () =>
    assert.equal(strings("66 0f 3a 61 c1 18", "abcdef", "abcxef"), 3n));
  test("equal ordered: a needle, one that the end cuts included", () => {
    assert.equal(strings("66 0f 3a 63 c1 0c", "lo", "hello"), 3n);
    assert.equal(strings("66 0f 3a 63 c1 0c", "xy", "aaaaaaaaaaaaaaax"), 15n);
  });
  test("a byte mask fills its bytes", () => {
    run("66 0f 3a 62 c1 40", { xmm0: ofText("l"), xmm1: ofText("hello") });
    assert.equal(xmm(0), 0xffff0000n);
    run("66 0f 3a 62 c1 00", { xmm0: ofText("l"), xmm1: ofText("hello") });
    assert.equal(xmm(0), 0b1100n);
  });
});

describe("MXCSR", () => {
  test("ldmxcsr refuses reserved bits", () => {
    memory.set([0x80, 0x1f, 1, 0]);
    assert.equal(run("0f ae 17"), 13);
    memory.set([0xc0, 0xff, 0, 0]);
    assert.equal(run("0f ae 17"), undefined);
    assert.equal(regs.get32(Reg.MXCSR), 0xffc0);
  });
  const divide = "f2 0f 5e c1";
  const one = 0x3ff0000000000000n;
  test("an unmasked exception is #XM, or #UD without OSXMMEXCPT; the flag stays, the destination is as it was", () => {
    const unmaskedZe = Mxcsr.RESET & ~(4 << Mxcsr.MASK_SHIFT);
    assert.equal(run(divide, { xmm0: one, mxcsr: unmaskedZe }), 19);
    assert.equal(regs.get32(Reg.MXCSR), unmaskedZe | 4);
    assert.equal(xmm(0), one);
    assert.equal(run(divide, { xmm0: one, mxcsr: unmaskedZe, cr4: CR4_OSFXSR }), 6);
  });
  test("lanes raise together", () => {
    const unmaskedPe = Mxcsr.RESET & ~(32 << Mxcsr.MASK_SHIFT);
    // cvttps2dq of 1.5 (PE) and a NaN (masked IE)
    assert.equal(run("f3 0f 5b c1", { xmm1: doublewords(0x3fc00000n, 0x7fc00000n), mxcsr: unmaskedPe }), 19);
    assert.equal(regs.get32(Reg.MXCSR), unmaskedPe | 33);
  });
});

test("reciprocals are within the manual's bound, zeros and denormals give infinities", () => {
  const view = new DataView(new ArrayBuffer(4));
  const single = (x: number): bigint => (view.setFloat32(0, x), BigInt(view.getUint32(0)));
  const value = (): number => (view.setUint32(0, regs.get32(Reg.XMM)), view.getFloat32(0));
  for (const x of [3, -7, 1e-20, 1e20, 0.1]) {
    run("f3 0f 53 c1", { xmm1: single(x) });
    assert.ok(Math.abs(value() * x - 1) < 1.5 * 2 ** -12, `rcpss ${x}`);
    run("f3 0f 52 c1", { xmm1: single(Math.abs(x)) });
    assert.ok(Math.abs(value() ** 2 * Math.abs(x) - 1) < 3 * 2 ** -12, `rsqrtss ${x}`);
  }
  run("f3 0f 53 c1", { xmm1: 0x80000001n });
  assert.equal(value(), -Infinity);
  run("f3 0f 52 c1", { xmm1: single(-4) });
  assert.equal(regs.get32(Reg.XMM), 0xffc00000);
});
