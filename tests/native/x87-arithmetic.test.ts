/* x87 arithmetic against the processor on many operands: the functions of x87/ alone, without decoder, stack and calls (those: x87.test.ts), so that
 * 20 000 cases of an operation, over all rounding and precision modes, take half a second. Half of the cases have all exceptions masked. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { add, divide, multiply, squareRoot, subtract } from "../../src/isa/x87/arithmetic.ts";
import { roundToInteger } from "../../src/isa/x87/exponent.ts";
import { Float80, loadFloat80, Status } from "../../src/isa/x87/float80.ts";
import { Rounding } from "../../src/isa/x87/round.ts";
import { Random } from "../instructions/random.ts";
import { nativeUnavailable } from "./native-runner.ts";
import { Image, X87Batch } from "./x87-batch.ts";

const CASES = 20_000;
const BATCH = 5000;
const ST0 = Image.ST,
  ST1 = Image.ST + 16;
const PRECISIONS = [0, 2, 3];
const MODES = 4;
const BIAS = 16383;
const BLOCKING = Status.IE | Status.DE | Status.ZE;
const EXCEPTIONS = 0x3f;

/** Significand word: few bits, nearly all bits, or any. */
function half(random: Random): number {
  const n = random.u32();
  switch (n & 7) {
    case 0:
      return 0;
    case 1:
      return 0xffff_ffff;
    case 2:
      return 1 << (n >>> 27);
    case 3:
      return ~(1 << (n >>> 27));
    case 4:
      return -1 << (n >>> 27);
    default:
      return random.u32();
  }
}

/** A value around 1, or now and then around the ends of the range, denormal, infinite, NaN or unsupported. */
function drawOperand(random: Random, v: DataView, at: number, spread: number): void {
  const kind = random.below(16);
  let exponent = BIAS + random.below(spread) - (spread >> 1),
    high = half(random) | 0x8000_0000;
  if (kind === 0) exponent = random.below(80);
  if (kind === 1) exponent = 0x7fff - random.below(80);
  if (kind === 2) exponent = random.below(0x8000);
  if (kind === 3) exponent = random.oneIn(2) ? 0 : 0x7fff;
  if (exponent === 0 || random.oneIn(50)) high = half(random) >>> 1;
  v.setUint32(at, half(random), true);
  v.setUint32(at + 4, high, true);
  v.setUint16(at + 8, exponent | (random.below(2) << 15), true);
}

/** @param n number of the case: goes through all modes and precisions */
function draw(random: Random, v: DataView, n: number, spread: number): void {
  const masks = n & 1 ? EXCEPTIONS : random.below(64);
  const mode = (n >> 1) % MODES,
    precision = PRECISIONS[(n >> 3) % PRECISIONS.length]!;
  v.setUint16(Image.FCW, 0x40 | masks | (precision << 8) | (mode << 10), true);
  v.setUint16(Image.FSW, 0, true);
  v.setUint8(Image.TAGS, 0xff);
  v.setUint32(Image.MXCSR, 0x1f80, true);
  v.setUint32(Image.FLAGS_IN, 0x202, true);
  drawOperand(random, v, ST0, spread);
  if (random.oneIn(10)) for (let i = 0; i < 10; i++) v.setUint8(ST1 + i, v.getUint8(ST0 + i));
  else drawOperand(random, v, ST1, spread);
}

type Operation = (out: Float80, r: Rounding, a: Float80, b: Float80, sourceDenormal: number) => void;
/** Name, bytes, operation, spread of the operands' exponents. */
const OPERATIONS: readonly (readonly [string, number[], Operation, number])[] = [
  ["fadd", [0xd8, 0xc1], add, 140],
  ["fsub", [0xd8, 0xe1], subtract, 140],
  ["fsubr", [0xd8, 0xe9], (out, r, a, b, d) => subtract(out, r, b, a, d), 8],
  ["fmul", [0xd8, 0xc9], multiply, 140],
  ["fdiv", [0xd8, 0xf1], divide, 140],
  ["fdivr", [0xd8, 0xf9], (out, r, a, b, d) => divide(out, r, b, a, d), 8],
  ["fsqrt", [0xd9, 0xfa], (out, r, a) => squareRoot(out, r, a), 300],
  ["frndint", [0xd9, 0xfc], (out, r, a) => roundToInteger(out, r, a), 150],
];

const rounding = new Rounding();
const [a, b, result, expected] = [new Float80(), new Float80(), new Float80(), new Float80()];
const text = (x: Float80): string =>
  `${x.sign ? "-" : "+"}${x.exp.toString(16)}:${(x.hi >>> 0).toString(16)}.${(x.lo >>> 0).toString(16)}`;

/** @returns what is different, undefined if nothing */
function difference(operation: Operation, before: DataView, after: DataView): string | undefined {
  const control = before.getUint16(Image.FCW, true);
  rounding.begin(control);
  loadFloat80(before, ST0, a);
  loadFloat80(before, ST1, b);
  const operands = `FCW=${control.toString(16)} ${text(a)} ${text(b)}`;
  operation(result, rounding, a, b, 0);
  let flags = rounding.flags & (EXCEPTIONS | Status.C1);
  const blocked = (flags & ~rounding.masks & BLOCKING) !== 0;
  // An unmasked IE, DE or ZE keeps ST(0), and hides what comes after it.
  if (blocked) flags &= BLOCKING;
  loadFloat80(after, ST0, expected);
  const actual = blocked ? a : result;
  const status = after.getUint16(Image.FSW, true) & (EXCEPTIONS | Status.C1);
  if (text(actual) === text(expected) && flags === status) return undefined;
  return `${operands}: processor ${text(expected)} FSW=${status.toString(16)}, here ${text(actual)} FSW=${flags.toString(16)}`;
}

const skip = nativeUnavailable() ?? false;
describe("x87 arithmetic against the processor", { skip }, () => {
  const batch = skip ? undefined : new X87Batch(BATCH);
  const view = (of: Uint8Array, i: number): DataView =>
    new DataView(of.buffer, of.byteOffset + i * Image.SIZE, Image.SIZE);
  for (const [name, bytes, operation, spread] of OPERATIONS) {
    test(name, () => {
      const random = new Random(bytes[1]!);
      for (let done = 0; done < CASES; done += BATCH) {
        batch!.input.fill(0);
        for (let i = 0; i < BATCH; i++) draw(random, view(batch!.input, i), done + i, spread);
        batch!.run(bytes, BATCH);
        const found: string[] = [];
        for (let i = 0; i < BATCH; i++)
          found.push(
            ...[difference(operation, view(batch!.input, i), view(batch!.output, i))].filter((d) => d !== undefined),
          );
        assert.equal(found.length, 0, `${found.length} differences:\n${found.slice(0, 5).join("\n")}`);
      }
    });
  }
});
