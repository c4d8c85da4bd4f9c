/* x87 against the processor, bit by bit: every instruction on operands drawn around what rounds, overflows, underflows and is special, in all
 * rounding and precision modes, with masked and unmasked exceptions, empty and full stacks. Registers, tags, status word, memory, EFLAGS.
 * CASES=100000 in the environment makes it thorough; the many cases of plain arithmetic are in x87-arithmetic.test.ts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import { Reg } from "../../src/isa/registers.ts";
import { CALLS } from "../../src/isa/system/calls.ts";
import { Random } from "../instructions/random.ts";
import { fromFxsave, toFxsave } from "./fxsave.ts";
import { nativeUnavailable } from "./native-runner.ts";
import { Image, X87Batch } from "./x87-batch.ts";

const CASES = Number(process.env["CASES"] ?? 500);
const BATCH = 2000;

const ONES = (1n << 64n) - 1n;
const INTEGER = 1n << 63n;

function significand(random: Random): bigint {
  const n = BigInt(random.below(64));
  switch (random.below(8)) {
    case 0:
      return INTEGER;
    case 1:
      return ONES;
    case 2:
      return INTEGER | (1n << n);
    case 3:
      return ONES ^ (1n << n);
    case 4:
      return INTEGER | (random.u64() & (ONES << n) & ONES);
    case 5:
      return INTEGER | (random.u64() >> n);
    default:
      return INTEGER | random.u64();
  }
}

/** Ten bytes: normal numbers mostly, near each other, near the ends; and all that is special. */
function extended(random: Random, view: DataView, at: number, near: number): void {
  const sign = random.below(2) << 15;
  let exponent: number,
    m = significand(random);
  switch (random.below(12)) {
    case 0:
      exponent = random.pick([0, 0, 1, 0x7fff, 0x7fff, 0x7ffe, 2]);
      break;
    case 1:
      exponent = random.below(0x8000);
      break;
    case 2:
      exponent = random.below(130);
      break;
    case 3:
      exponent = 0x7fff - random.below(70);
      break;
    case 4:
      exponent =
        16383 +
        random.pick([0, 62, 63, 64, 31, 15, -1, 30, 127, 128, -126, -127, 1023, 1024, -1022, -1023, -150, -1075]);
      break;
    case 5:
      exponent = 16383 - 1080 + random.below(70);
      break;
    case 6:
      exponent = 16383 - 155 + random.below(40);
      break;
    default:
      exponent = Math.min(0x7fff, Math.max(0, near + random.below(140) - 70));
  }
  if (exponent === 0 && !random.oneIn(4)) m &= INTEGER - 1n;
  if (random.oneIn(40)) m &= INTEGER - 1n; // denormal, unnormal, pseudo-NaN
  if (random.oneIn(30)) m = random.pick([0n, INTEGER, INTEGER | 1n, INTEGER | (1n << 62n), ONES]);
  view.setBigUint64(at, m, true);
  view.setUint16(at + 8, sign | exponent, true);
}

interface Form {
  name: string;
  bytes: number[];
  /** Exponents around which operands are drawn. */
  near?: number;
  memory?: "float" | "integer" | "extended";
  /** Results may be one unit in the last place off; C1 and exceptions of the result are then free too. */
  approximate?: boolean;
  /** Restricts the operands (written in place). */
  domain?: (random: Random, image: DataView) => void;
}

function drawMemory(random: Random, image: DataView, kind: Form["memory"], near: number): void {
  image.setBigUint64(Image.MEMORY, random.u64() >> BigInt(random.below(64)), true);
  image.setUint16(Image.MEMORY + 8, random.u32() & 0xffff, true);
  if (kind === "extended" && random.oneIn(2)) extended(random, image, Image.MEMORY, near);
  if (kind !== "float" || random.oneIn(4)) return;
  const value = (random.oneIn(2) ? 1 : -1) * random.u32() * 2 ** (random.below(80) - 40);
  if (random.oneIn(2))
    image.setFloat64(Image.MEMORY, random.pick([value, value * 2 ** -1060, Infinity, NaN, 0, 1]), true);
  else image.setFloat32(Image.MEMORY, random.pick([value, value * 2 ** -140, Infinity, NaN, 0, 1]), true);
}

function draw(random: Random, form: Form, image: DataView): void {
  const near = random.oneIn(4) ? random.below(0x8000) : (form.near ?? 16383);
  const masks = random.oneIn(3) ? random.below(64) : 0x3f;
  image.setUint16(Image.FCW, 0x40 | masks | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10), true);
  // No exception bits but masked ones, so that nothing waits.
  const status = random.oneIn(3) ? random.u32() & 0x477f & ~(0x3f & ~masks) : 0;
  image.setUint16(Image.FSW, status | (random.below(8) << 11), true);
  image.setUint8(Image.TAGS, random.oneIn(8) ? random.below(256) : 0xff);
  const top = (image.getUint16(Image.FSW, true) >> 11) & 7;
  // Pushes need room.
  if (!random.oneIn(8)) image.setUint8(Image.TAGS, image.getUint8(Image.TAGS) & ~(1 << ((top + 7) & 7)));
  image.setUint32(Image.MXCSR, 0x1f80, true);
  for (let i = 0; i < 8; i++) extended(random, image, Image.ST + 16 * i, near);
  if (random.oneIn(8)) for (let i = 0; i < 10; i++) image.setUint8(Image.ST + 16 + i, image.getUint8(Image.ST + i));
  drawMemory(random, image, form.memory, near);
  form.domain?.(random, image);
  image.setBigUint64(Image.FLAGS_IN, BigInt(0x202 | (random.u32() & 0x8d5)), true);
}

const RANGE = { start: 0x1000_0000, sizeBytes: 8192, writable: true };
const CODE = { start: 0x2000_0000, sizeBytes: 4096, writable: false };
const machine = new OracleMachine([RANGE, CODE], CALLS);
const IN = 0x1000_0000;
const OUT = IN + 4096;

/** Runs the case on the oracle and writes an image like the processor's. */
function emulate(bytes: Uint8Array, before: Uint8Array, after: Uint8Array): void {
  const { regs } = machine;
  const memory = machine.memory(RANGE);
  fromFxsave(before, regs.bytes);
  regs.set64(Reg.CR0, 0x8005_0033n);
  regs.set64(Reg.CR4, 0x0005_06b0n);
  regs.cpl = 3;
  regs.set64(Reg.RIP, BigInt(CODE.start));
  machine.memory(CODE).set(bytes);
  regs.setGpr(6, BigInt(IN));
  regs.setGpr(7, BigInt(OUT));
  const view = new DataView(before.buffer, before.byteOffset);
  regs.rflags = view.getUint32(Image.FLAGS_IN, true);
  memory.set(before, 0);
  memory.fill(0, 4096, 4096 + Image.SIZE);
  const fault = machine.run(bytes);
  assert.equal(fault, undefined);
  toFxsave(regs.bytes, after);
  const out = new DataView(after.buffer, after.byteOffset);
  out.setBigUint64(Image.FLAGS_OUT, BigInt(regs.rflags), true);
  after.set(memory.subarray(4096 + Image.MEMORY, 4096 + Image.MEMORY + 10), Image.MEMORY);
}

const hex = (bytes: Uint8Array, at: number, size: number): string =>
  Buffer.from(bytes.subarray(at, at + size))
    .reverse()
    .toString("hex");

/** What an image says, as text; empty registers say nothing but that. */
function describeImage(image: Uint8Array, form: Form): string {
  const view = new DataView(image.buffer, image.byteOffset);
  const fsw = view.getUint16(Image.FSW, true),
    top = (fsw >> 11) & 7,
    tags = view.getUint8(Image.TAGS);
  const st = Array.from({ length: 8 }, (_, i) =>
    (tags >> ((top + i) & 7)) & 1 ? hex(image, Image.ST + 16 * i, 10) : "empty",
  );
  const free = form.approximate ? 0x230 : 0;
  return `FCW=${hex(image, 0, 2)} FSW=${(fsw & ~free).toString(16)} tags=${tags.toString(16)} ST=${st.join(" ")} m=${hex(image, Image.MEMORY, 10)} flags=${view.getUint16(Image.FLAGS_OUT, true).toString(16)}`;
}

/** Copies registers of `expected` to `actual` where they are one unit off. */
function forgiveUlp(expected: Uint8Array, actual: Uint8Array): void {
  const e = new DataView(expected.buffer, expected.byteOffset),
    a = new DataView(actual.buffer, actual.byteOffset);
  for (let at = Image.ST; at < Image.ST + 128; at += 16) {
    if (e.getUint16(at + 8, true) >> 15 !== a.getUint16(at + 8, true) >> 15) continue;
    const order = (v: DataView): bigint =>
      (BigInt(v.getUint16(at + 8, true) & 0x7fff) << 63n) + (v.getBigUint64(at, true) & (INTEGER - 1n));
    const distance = order(e) - order(a);
    if (distance >= -1n && distance <= 1n) actual.set(expected.subarray(at, at + 10), at);
  }
}

function differences(batch: X87Batch, form: Form, seed: number, count: number): string[] {
  const random = new Random(seed);
  for (let i = 0; i < count; i++) {
    const image = batch.input.subarray(i * Image.SIZE, (i + 1) * Image.SIZE).fill(0);
    draw(random, form, new DataView(image.buffer, image.byteOffset, Image.SIZE));
  }
  batch.run(form.bytes, count);
  const bytes = Uint8Array.from(form.bytes),
    after = new Uint8Array(Image.SIZE);
  const found: string[] = [];
  for (let i = 0; i < count; i++) {
    const before = batch.input.subarray(i * Image.SIZE, (i + 1) * Image.SIZE);
    const expected = batch.output.subarray(i * Image.SIZE, (i + 1) * Image.SIZE);
    emulate(bytes, before, after);
    if (form.approximate) forgiveUlp(expected, after);
    const [e, a] = [describeImage(expected, form), describeImage(after, form)];
    if (e !== a) found.push(`${form.name}\n  before ${describeImage(before, form)}\n  native ${e}\n  mere   ${a}`);
  }
  return found;
}

const load = (opcode: number, ext: number): number[] => [
  opcode,
  0x86 | (ext << 3),
  Image.MEMORY & 255,
  Image.MEMORY >> 8,
  0,
  0,
];
const save = (opcode: number, ext: number): number[] => [
  opcode,
  0x87 | (ext << 3),
  Image.MEMORY & 255,
  Image.MEMORY >> 8,
  0,
  0,
];
const st = (name: string, a: number, b: number, more: Partial<Form> = {}): Form => ({ name, bytes: [a, b], ...more });
const NAMES = ["add", "mul", "com", "comp", "sub", "subr", "div", "divr"];
const arithmetic: Form[] = NAMES.flatMap((name, ext) => {
  const at = 0xc0 | (ext << 3);
  return [
    st(`f${name} st, st(1)`, 0xd8, at | 1),
    { name: `f${name} m32`, bytes: load(0xd8, ext), memory: "float" } as Form,
    { name: `f${name} m64`, bytes: load(0xdc, ext), memory: "float" } as Form,
    { name: `fi${name} m32`, bytes: load(0xda, ext), memory: "integer" } as Form,
    { name: `fi${name} m16`, bytes: load(0xde, ext), memory: "integer" } as Form,
    ...(name.startsWith("com")
      ? []
      : [st(`f${name} st(3), st`, 0xdc, at | 3), st(`f${name}p st(1), st`, 0xde, at | 1)]),
  ];
});
const INTEGERS = 16383 + 20;
const transfer: Form[] = [
  { name: "fld m32", bytes: load(0xd9, 0), memory: "float" },
  { name: "fld m64", bytes: load(0xdd, 0), memory: "float" },
  { name: "fld m80", bytes: load(0xdb, 5), memory: "extended" },
  { name: "fild m16", bytes: load(0xdf, 0), memory: "integer" },
  { name: "fild m32", bytes: load(0xdb, 0), memory: "integer" },
  { name: "fild m64", bytes: load(0xdf, 5), memory: "integer" },
  { name: "fst m32", bytes: save(0xd9, 2) },
  { name: "fstp m32", bytes: save(0xd9, 3) },
  { name: "fst m64", bytes: save(0xdd, 2) },
  { name: "fstp m64", bytes: save(0xdd, 3) },
  { name: "fstp m80", bytes: save(0xdb, 7) },
  { name: "fist m16", bytes: save(0xdf, 2), near: INTEGERS },
  { name: "fistp m16", bytes: save(0xdf, 3), near: INTEGERS },
  { name: "fist m32", bytes: save(0xdb, 2), near: INTEGERS },
  { name: "fistp m32", bytes: save(0xdb, 3), near: INTEGERS },
  { name: "fistp m64", bytes: save(0xdf, 7), near: INTEGERS },
  { name: "fisttp m16", bytes: save(0xdf, 1), near: INTEGERS },
  { name: "fisttp m32", bytes: save(0xdb, 1), near: INTEGERS },
  { name: "fisttp m64", bytes: save(0xdd, 1), near: INTEGERS },
  { name: "fbstp", bytes: save(0xdf, 6), near: INTEGERS },
  st("fld st(2)", 0xd9, 0xc2),
  st("fst st(2)", 0xdd, 0xd2),
  st("fstp st(2)", 0xdd, 0xda),
  st("fxch st(1)", 0xd9, 0xc9),
  st("ffree st(1)", 0xdd, 0xc1),
  st("ffreep st(1)", 0xdf, 0xc1),
  st("fincstp", 0xd9, 0xf7),
  st("fdecstp", 0xd9, 0xf6),
  st("fnop", 0xd9, 0xd0),
  st("fnclex", 0xdb, 0xe2),
  ...[0, 1, 2, 3].flatMap((n) => [st(`fcmov ${n}`, 0xda, 0xc1 | (n << 3)), st(`fcmovn ${n}`, 0xdb, 0xc1 | (n << 3))]),
  ...[0, 1, 2, 3, 4, 5, 6].map((n) => st(`constant ${n}`, 0xd9, 0xe8 + n)),
];
const comparisons: Form[] = [
  st("fucom", 0xdd, 0xe1),
  st("fucomp", 0xdd, 0xe9),
  st("fcomi", 0xdb, 0xf1),
  st("fucomi", 0xdb, 0xe9),
  st("fcomip", 0xdf, 0xf1),
  st("fucomip", 0xdf, 0xe9),
  st("fcompp", 0xde, 0xd9),
  st("fucompp", 0xda, 0xe9),
  st("ftst", 0xd9, 0xe4),
  st("fxam", 0xd9, 0xe5),
];
const functions: Form[] = [
  st("fchs", 0xd9, 0xe0),
  st("fabs", 0xd9, 0xe1),
  st("fsqrt", 0xd9, 0xfa),
  st("frndint", 0xd9, 0xfc, { near: INTEGERS }),
  st("fscale", 0xd9, 0xfd),
  st("fxtract", 0xd9, 0xf4),
  st("fprem", 0xd9, 0xf8),
  st("fprem1", 0xd9, 0xf5),
];
const control: Form[] = [
  { name: "fldcw", bytes: load(0xd9, 5) },
  { name: "fnstcw", bytes: save(0xd9, 7) },
  { name: "fnstsw", bytes: save(0xdd, 7) },
  st("fninit", 0xdb, 0xe3),
];

/** Keeps ST(n) finite with an exponent in [low, high]. */
function bound(image: DataView, random: Random, n: number, low: number, high: number): void {
  const at = Image.ST + 16 * n,
    signExp = image.getUint16(at + 8, true),
    exponent = signExp & 0x7fff;
  // A pseudo-denormal is its own sine to processors, without an exception.
  if (exponent === 0) image.setUint8(at + 7, image.getUint8(at + 7) & 0x7f);
  if (exponent === 0x7fff || exponent === 0) return;
  if (exponent >= 16383 + low && exponent <= 16383 + high) return;
  image.setUint16(at + 8, (signExp & 0x8000) | (16383 + low + random.below(high - low + 1)), true);
}
const transcendental: Form[] = (
  [
    ["f2xm1", 0xf0, (r, i) => bound(i, r, 0, -70, -1)],
    ["fyl2x", 0xf1, undefined],
    ["fptan", 0xf2, (r, i) => bound(i, r, 0, -60, 62)],
    ["fpatan", 0xf3, undefined],
    ["fyl2xp1", 0xf9, (r, i) => bound(i, r, 0, -70, -3)],
    ["fsincos", 0xfb, (r, i) => bound(i, r, 0, -60, 62)],
    ["fsin", 0xfe, (r, i) => bound(i, r, 0, -60, 62)],
    ["fcos", 0xff, (r, i) => bound(i, r, 0, -60, 62)],
  ] as const satisfies readonly (readonly [string, number, Form["domain"]])[]
).map(([name, code, domain]) => st(name, 0xd9, code, { approximate: true, ...(domain ? { domain } : {}) }));

const skip = nativeUnavailable() ?? false;
describe("x87 against the processor", { skip }, () => {
  const batch = skip ? undefined : new X87Batch(BATCH);
  const only = process.env["ONLY"];
  for (const form of [...arithmetic, ...transfer, ...comparisons, ...functions, ...control, ...transcendental]) {
    if (only !== undefined && !form.name.startsWith(only)) continue;
    test(form.name, () => {
      for (let done = 0; done < CASES; done += BATCH) {
        const found = differences(batch!, form, done + 1, Math.min(BATCH, CASES - done));
        assert.equal(
          found.length,
          0,
          `${found.length} of ${BATCH}, seed ${done + 1}:\n${found.slice(0, 5).join("\n")}`,
        );
      }
    });
  }
});
