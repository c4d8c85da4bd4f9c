/* REP: long runs, faults in the middle, overlap, both directions. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, kernelGuest, Pte, type SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7];
const VA = 0x60_0000;
const PAGE = 4096;

describe("REP", () => {
  const MOVSB = code(`
    f3 a4                           rep movsb
    f4                              hlt
  `);
  const MOVSQ = code(`
    f3 48 a5                        rep movsq
    f4                              hlt
  `);
  const STOSB = code(`
    f3 aa                           rep stosb
    f4                              hlt
  `);
  const STOSD = code(`
    f3 ab                           rep stosd
    f4                              hlt
  `);
  const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
  const SOURCE = At.FREE;
  /** Linear VA … VA + 4 pages in shuffled frames. */
  const TARGET_FRAMES = [0x10000, 0x14000, 0x11000, 0x18000].map((f) => At.FREE + 0x10_0000 + f);
  const mapped = (g: SmallGuest, pages = 4): SmallGuest => {
    TARGET_FRAMES.slice(0, pages).forEach((frame, i) => g.map(VA + i * PAGE, frame, Pte.W));
    for (let i = 0; i < 8; i++) g.map(0x80_0000 + i * PAGE, SOURCE + i * PAGE, Pte.W);
    return g;
  };
  const target = (g: SmallGuest, from: number, length: number): number[] =>
    Array.from({ length }, (_, i) => g.read(TARGET_FRAMES[(from + i) >> 12]! + ((from + i) & 0xfff), 1)[0]!);
  const rest = (g: SmallGuest): bigint[] => [g.gpr(RCX), g.gpr(RSI), g.gpr(RDI)];

  test("counts as one instruction, in bulk, element by element, stepwise, and when it is taken up again", () => {
    const count = (length: number, backwards: boolean, stepping: boolean, fault: boolean): number => {
      const to = VA + (backwards ? 0x1fff : 0x1000);
      const g = mapped(kernelGuest(MOVSB, { [RCX]: length, [RSI]: 0x80_2000, [RDI]: to }));
      if (backwards) g.regs.rflags = Rflags.DF | 2;
      // a breakpoint that is never met makes the engine step
      if (stepping) g.regs.set64(Reg.DR + 56, 0x480n);
      const page = VA + (backwards ? 0 : 0x2000);
      if (!fault) g.run();
      else {
        g.unmap(page);
        assert.deepEqual([g.run().vector, g.retired], [14, 1], "the handler's HLT");
        g.map(page, TARGET_FRAMES[backwards ? 0 : 2]!, Pte.W);
        g.run();
      }
      assert.equal(g.gpr(RCX), 0n);
      return g.retired;
    };
    for (const length of [0, 1, 3, 5000]) {
      for (const backwards of [false, true])
        for (const stepping of [false, true]) assert.equal(count(length, backwards, stepping, false), 2);
    }
    // #PF's HLT, ADD RSP and IRETQ come on top
    for (const backwards of [false, true])
      for (const stepping of [false, true]) assert.equal(count(5000, backwards, stepping, true), 5);
  });

  test("MOVSB over pages, at every kind of misalignment", () => {
    for (const [from, to, length] of [
      [0, 0, 8192],
      [5, 100, 9000],
      [4090, 3, 5000],
      [1, 4095, 4097],
      [17, 18, 3],
    ] as const) {
      const g = mapped(kernelGuest(MOVSB, { [RCX]: length, [RSI]: 0x80_0000 + from, [RDI]: VA + to }));
      const bytes = pattern(from + length);
      g.write(SOURCE, bytes);
      g.run();
      assert.deepEqual(rest(g), [0n, BigInt(0x80_0000 + from + length), BigInt(VA + to + length)]);
      assert.deepEqual(target(g, to, length), [...bytes.subarray(from)]);
      assert.deepEqual(target(g, to + length, 3), [0, 0, 0]);
    }
  });

  test("MOVSQ with elements across pages", () => {
    const g = mapped(kernelGuest(MOVSQ, { [RCX]: 1100, [RSI]: 0x80_0003, [RDI]: VA + 5 }));
    const bytes = pattern(3 + 8800);
    g.write(SOURCE, bytes);
    g.run();
    assert.deepEqual(target(g, 5, 8800), [...bytes.subarray(3)]);
  });

  test("STOS of every size", () => {
    for (const [program, size] of [
      [STOSB, 1],
      [STOSD, 4],
    ] as const) {
      const g = mapped(kernelGuest(program, { [RCX]: 9000 / size, [RDI]: VA + 3, [RAX]: 0x1234_5678_9abc_def1n }));
      g.run();
      const element = [0xf1, 0xde, 0xbc, 0x9a].slice(0, size);
      assert.deepEqual(
        target(g, 3, 9000),
        Array.from({ length: 9000 }, (_, i) => element[i % size]),
      );
      assert.deepEqual(target(g, 0, 3), [0, 0, 0]);
      assert.deepEqual(target(g, 9003, 1), [0]);
      assert.deepEqual([g.gpr(RCX), g.gpr(RDI)], [0n, BigInt(VA + 9003)]);
    }
  });

  test("a fault in the middle: the registers say how far it came, and it goes on when the page is there", () => {
    for (const [program, size] of [
      [MOVSB, 1],
      [MOVSQ, 8],
    ] as const) {
      const length = 3 * PAGE - 256;
      const g = mapped(kernelGuest(program, { [RCX]: length / size, [RSI]: 0x80_0000, [RDI]: VA + 256 }), 2);
      const bytes = pattern(length);
      g.write(SOURCE, bytes);
      const stop = g.run();
      const done = 2 * PAGE - 256;
      assert.deepEqual([stop.vector, stop.errorCode, g.cr2, stop.rip], [14, 2n, BigInt(VA + 2 * PAGE), At.CODE]);
      assert.deepEqual(rest(g), [BigInt((length - done) / size), BigInt(0x80_0000 + done), BigInt(VA + 2 * PAGE)]);
      assert.deepEqual(target(g, 256, done), [...bytes.subarray(0, done)]);
      g.map(VA + 2 * PAGE, TARGET_FRAMES[2]!, Pte.W);
      assert.equal(g.run().vector, undefined);
      assert.deepEqual([g.gpr(RCX), target(g, 256, length)], [0n, [...bytes]]);
    }
  });

  test("a source that ends, a read-only target, a target that is not canonical", () => {
    const source = mapped(kernelGuest(MOVSB, { [RCX]: 0x5000, [RSI]: 0x80_6800, [RDI]: VA }));
    assert.deepEqual(
      [source.run().vector, source.cr2, rest(source)],
      [14, 0x80_8000n, [0x3800n, 0x80_8000n, BigInt(VA + 0x1800)]],
    );
    const readOnly = mapped(kernelGuest(STOSB, { [RCX]: 0x2000, [RDI]: VA }));
    readOnly.map(VA + PAGE, TARGET_FRAMES[1]!, 0n);
    assert.deepEqual([readOnly.run().errorCode, readOnly.cr2, readOnly.gpr(RCX)], [3n, BigInt(VA + PAGE), 0x1000n]);
    const hole = kernelGuest(STOSB, { [RCX]: 0x2000, [RDI]: 0x7fff_ffff_f800n });
    hole.map(0x7fff_ffff_f000n, At.FREE, Pte.W);
    assert.deepEqual([hole.run().vector, hole.gpr(RCX), hole.gpr(RDI)], [13, 0x1800n, 0x8000_0000_0000n]);
  });

  test("overlap: upwards it repeats the start, downwards it moves", () => {
    for (const [distance, length] of [
      [1, 3000],
      [3, 9000],
      [8, 600],
      [64, 5000],
      [4096, 8000],
    ] as const) {
      const g = mapped(kernelGuest(MOVSB, { [RCX]: length, [RSI]: VA, [RDI]: VA + distance }));
      const start = pattern(distance);
      start.forEach((byte, i) => g.write(TARGET_FRAMES[i >> 12]! + (i & 0xfff), [byte]));
      g.run();
      assert.deepEqual(
        target(g, 0, length + distance),
        Array.from({ length: length + distance }, (_, i) => start[i % distance]),
      );
    }
    const g = mapped(kernelGuest(MOVSB, { [RCX]: 9000, [RSI]: 0x80_0003, [RDI]: 0x80_0000 }));
    g.write(SOURCE, pattern(9003));
    g.run();
    assert.deepEqual([...g.read(SOURCE, 9000)], [...pattern(9003).subarray(3)]);
  });

  test("overlap of frames that is not one of addresses", () => {
    const g = mapped(kernelGuest(MOVSB, { [RCX]: 1000, [RSI]: 0x80_0000, [RDI]: VA + 1 }));
    g.map(VA, SOURCE, Pte.W);
    g.write(SOURCE, [0x5a]);
    g.run();
    assert.deepEqual(new Set(g.read(SOURCE, 1001)), new Set([0x5a]));
  });

  test("downwards with DF", () => {
    const down = code(`
      fd                              std
      f3 a4                           rep movsb
      fc                              cld
      f4                              hlt
    `);
    const g = mapped(kernelGuest(down, { [RCX]: 6000, [RSI]: 0x80_0000 + 5999, [RDI]: VA + 6005 }));
    g.write(SOURCE, pattern(6000));
    g.run();
    assert.deepEqual([target(g, 6, 6000), rest(g)], [[...pattern(6000)], [0n, 0x7f_ffffn, BigInt(VA + 5)]]);
    const overlapping = mapped(kernelGuest(down, { [RCX]: 5000, [RSI]: 0x80_0000 + 4999, [RDI]: 0x80_0000 + 5009 }));
    overlapping.write(SOURCE, pattern(5000));
    overlapping.run();
    assert.deepEqual([...overlapping.read(SOURCE + 10, 5000)], [...pattern(5000)]);
  });

  test("a count of 0 and 32-bit addresses", () => {
    const none = kernelGuest(MOVSB, { [RCX]: 0, [RSI]: 0x70_0000, [RDI]: 0x70_0000 });
    assert.deepEqual([none.run().vector, rest(none)], [undefined, [0n, 0x70_0000n, 0x70_0000n]]);
    const narrow = mapped(
      kernelGuest(
        code(`
      67 f3 a4                        addr32 rep movsb
      f4                              hlt
    `),
        { [RCX]: 0xf_0000_0040n, [RSI]: 0xf_0080_0000n, [RDI]: 0xf_0000_0000n + BigInt(VA) },
      ),
    );
    narrow.write(SOURCE, pattern(64));
    narrow.run();
    assert.deepEqual(
      [target(narrow, 0, 65), rest(narrow)],
      [
        [...pattern(64), 0],
        [0n, 0x80_0040n, BigInt(VA + 64)],
      ],
    );
  });

  test("REPE CMPSB and REPNE SCASB stop where they should, faults and all", () => {
    const g = mapped(
      kernelGuest(
        code(`
      f3 a6                           repe cmpsb
      f4                              hlt
    `),
        { [RCX]: 5000, [RSI]: 0x80_0000, [RDI]: 0x80_2000 },
      ),
    );
    g.write(SOURCE, pattern(4500));
    g.write(SOURCE + 0x2000, pattern(4500));
    g.write(SOURCE + 0x2000 + 4321, [~pattern(4322)[4321]! & 0xff]);
    g.run();
    assert.deepEqual(rest(g), [5000n - 4322n, 0x80_0000n + 4322n, 0x80_2000n + 4322n]);
    const scan = mapped(
      kernelGuest(
        code(`
      f2 ae                           repne scasb
      f4                              hlt
    `),
        { [RAX]: 0x99, [RCX]: -1, [RDI]: 0x80_0000 },
      ),
    );
    const stop = scan.run();
    assert.deepEqual(
      [stop.vector, scan.cr2, scan.gpr(RDI), scan.gpr(RCX)],
      [14, 0x80_8000n, 0x80_8000n, (1n << 64n) - 1n - 0x8000n],
    );
  });

  test("counts as one instruction when it is complete, and as none before", () => {
    const retired = (g: SmallGuest): number => Number(g.regs.get64(Reg.RETIRED));
    for (const [from, to, length] of [
      [0, 0, 3],
      [5, 100, 9000],
      [0, 1, 500], // overlap that repeats the start: element by element
      [0, 0, 0],
    ] as const) {
      const g = mapped(kernelGuest(MOVSB, { [RCX]: length, [RSI]: VA + from, [RDI]: VA + to }));
      g.run();
      assert.equal(retired(g), 2, `${length} from ${from} to ${to}, and HLT`);
    }
    const g = mapped(kernelGuest(STOSB, { [RCX]: 8192, [RAX]: 1, [RDI]: VA }), 1);
    assert.equal(g.run().vector, 14);
    assert.equal(retired(g), 1, "the handler's HLT");
  });

  test("STOS and MOVSB of small counts beside other bytes", () => {
    for (let length = 0; length < 70; length++) {
      for (const program of [STOSB, MOVSB]) {
        const g = mapped(kernelGuest(program, { [RCX]: length, [RSI]: 0x80_0003, [RDI]: VA + 7, [RAX]: 0xab }));
        const bytes = program === STOSB ? new Uint8Array(length).fill(0xab) : pattern(length + 3).subarray(3);
        g.write(SOURCE, pattern(100));
        g.run();
        assert.deepEqual(target(g, 0, length + 9), [0, 0, 0, 0, 0, 0, 0, ...bytes, 0, 0]);
      }
    }
  });

  test("a device is written element by element", () => {
    const g = kernelGuest(STOSD, { [RAX]: 0x1234_5678, [RCX]: 40, [RDI]: At.DEVICE + 8 });
    g.run();
    assert.deepEqual(
      g.log,
      Array.from({ length: 40 }, (_, i) => ({ address: At.DEVICE + 8 + 4 * i, size: 4, value: 0x1234_5678n })),
    );
  });
});
