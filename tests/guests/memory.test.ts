/* Memory accesses that are not simple: across pages, in device windows, repeated, locked, partly forbidden. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, Pte, SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RDX, RBX, RSP, RSI, RDI] = [0, 1, 2, 3, 4, 6, 7];
const VA = 0x60_0000;
const PAGE = 4096;

function guest(program: Listing, registers: Record<number, bigint | number> = {}): SmallGuest {
  const g = new SmallGuest();
  g.load(program);
  for (const [n, value] of Object.entries(registers)) g.regs.setGpr(Number(n), BigInt(value));
  return g;
}

describe("accesses across pages", () => {
  /** Two linear pages side by side whose frames are not: FREE + 0x3000 and FREE + 0x1000. */
  const twoPages = (program: Listing, rbx: number, second: bigint | undefined): SmallGuest => {
    const g = guest(program, { [RBX]: rbx, [RAX]: 0x1122_3344_5566_7788n });
    g.map(VA, At.FREE + 0x3000, Pte.W);
    if (second !== undefined) g.map(VA + PAGE, At.FREE + 0x1000, second);
    return g;
  };
  const first = At.FREE + 0x3000;
  const second = At.FREE + 0x1000;

  test("loads and stores of every size", () => {
    for (const [size, store, load] of [
      [2, code(`
        66 89 03                        mov [rbx], ax
        f4                              hlt
      `), code(`
        0f b7 0b                        movzx ecx, word ptr [rbx]
        f4                              hlt
      `)],
      [4, code(`
        89 03                           mov [rbx], eax
        f4                              hlt
      `), code(`
        8b 0b                           mov ecx, [rbx]
        f4                              hlt
      `)],
      [8, code(`
        48 89 03                        mov [rbx], rax
        f4                              hlt
      `), code(`
        48 8b 0b                        mov rcx, [rbx]
        f4                              hlt
      `)],
    ] as const) {
      for (let before = 1; before < size; before++) {
        const g = twoPages(store, VA + PAGE - before, Pte.W);
        g.run();
        const bytes = [...g.read(first + PAGE - before, before), ...g.read(second, size - before)];
        const expected = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11].slice(0, size);
        assert.deepEqual(bytes, expected);
        assert.deepEqual([...g.read(second + size - before, 8)], [0, 0, 0, 0, 0, 0, 0, 0], "nothing beyond");
        g.load(load);
        g.run();
        assert.equal(g.gpr(RCX), BigInt.asUintN(8 * size, 0x1122_3344_5566_7788n));
      }
    }
  });

  test("16 bytes of SSE", () => {
    const program = code(`
      0f 10 06                        movups xmm0, [rsi]
      0f 11 03                        movups [rbx], xmm0
      0f 10 0b                        movups xmm1, [rbx]
      0f 11 4e 10                     movups [rsi + 16], xmm1
      f4                              hlt
    `);
    for (const before of [1, 7, 8, 9, 15]) {
      const g = twoPages(program, VA + PAGE - before, Pte.W);
      g.regs.setGpr(RSI, BigInt(At.DATA));
      const pattern = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
      g.write(At.DATA, pattern);
      g.run();
      assert.deepEqual([...g.read(first + PAGE - before, before), ...g.read(second, 16 - before)], [...pattern]);
      assert.deepEqual(g.read(At.DATA + 16, 16), pattern);
    }
  });

  const programs: [string, Listing, bigint][] = [
    ["load", code(`
      8b 0b                           mov ecx, [rbx]
    `), 0n],
    ["store", code(`
      89 03                           mov [rbx], eax
    `), 2n],
    ["read-modify-write", code(`
      01 03                           add [rbx], eax
    `), 2n],
    ["locked read-modify-write", code(`
      f0 0f c1 03                     lock xadd [rbx], eax
    `), 2n],
    ["exchange", code(`
      87 03                           xchg [rbx], eax
    `), 2n],
    ["SSE store", code(`
      0f 11 03                        movups [rbx], xmm0
    `), 2n],
    ["SSE load", code(`
      0f 10 03                        movups xmm0, [rbx]
    `), 0n],
    ["x87 store of ten bytes", code(`
      db 3b                           fstp tbyte ptr [rbx]
    `), 2n],
  ];
  for (const [name, program, code_] of programs) {
    test(`${name}: a fault on the second page changes nothing and names that page`, () => {
      for (const flags of [undefined, 0n] as const) {
        const isWrite = code_ === 2n;
        if (flags === 0n && !isWrite) continue;
        const g = twoPages(program, VA + PAGE - 2, flags);
        g.write(first + PAGE - 2, [0xaa, 0xbb]);
        const before = [g.gpr(RAX), g.gpr(RCX), g.regs.get64(Reg.XMM), g.regs.get16(Reg.FSW)];
        const stop = g.run();
        assert.deepEqual([stop.vector, stop.errorCode, g.cr2, stop.rip], [14, code_ | (flags === undefined ? 0n : 1n), BigInt(VA + PAGE), At.CODE]);
        assert.deepEqual([...g.read(first + PAGE - 2, 2)], [0xaa, 0xbb]);
        assert.deepEqual([g.gpr(RAX), g.gpr(RCX), g.regs.get64(Reg.XMM), g.regs.get16(Reg.FSW)], before);
      }
    });
    test(`${name}: a fault on the first page comes first`, () => {
      const g = guest(program, { [RBX]: VA - 2 });
      assert.deepEqual([g.run().vector, g.cr2], [14, BigInt(VA - 2)]);
    });
  }
});

test("addresses that are not canonical, also by their last byte; [RSP] and [RBP] give #SS", () => {
  const throughRbx = code(`
    48 8b 03                        mov rax, [rbx]
    f4                              hlt
  `);
  const throughRsp = code(`
    48 89 dc                        mov rsp, rbx
    48 8b 04 24                     mov rax, [rsp]
    f4                              hlt
  `);
  const pop = code(`
    48 89 dc                        mov rsp, rbx
    58                              pop rax
    f4                              hlt
  `);
  const call = code(`
    48 89 dc                        mov rsp, rbx
    e8 00 00 00 00                  call next
  next:
    f4                              hlt
  `);
  for (const address of [0x8000_0000_0000n, 0xffff_7fff_ffff_fff0n, 0x1234_0000_0000_0000n, 0x7fff_ffff_fffcn]) {
    for (const [program, vector] of [[throughRbx, 13], [throughRsp, 12], [pop, 12]] as const) {
      const g = guest(program, { [RBX]: address });
      g.gate(12, { ist: 1 });
      assert.deepEqual([g.run().vector, g.stop().errorCode], [vector, 0n], address.toString(16));
    }
  }
  const g = guest(call, { [RBX]: 0x8000_0000_0010n });
  g.gate(12, { ist: 1 });
  assert.equal(g.run().vector, 12);
});

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

  test("MOVSB over pages, at every kind of misalignment", () => {
    for (const [from, to, length] of [[0, 0, 8192], [5, 100, 9000], [4090, 3, 5000], [1, 4095, 4097], [17, 18, 3]] as const) {
      const g = mapped(guest(MOVSB, { [RCX]: length, [RSI]: 0x80_0000 + from, [RDI]: VA + to }));
      const bytes = pattern(from + length);
      g.write(SOURCE, bytes);
      g.run();
      assert.deepEqual(rest(g), [0n, BigInt(0x80_0000 + from + length), BigInt(VA + to + length)]);
      assert.deepEqual(target(g, to, length), [...bytes.subarray(from)]);
      assert.deepEqual(target(g, to + length, 3), [0, 0, 0]);
    }
  });

  test("MOVSQ with elements across pages", () => {
    const g = mapped(guest(MOVSQ, { [RCX]: 1100, [RSI]: 0x80_0003, [RDI]: VA + 5 }));
    const bytes = pattern(3 + 8800);
    g.write(SOURCE, bytes);
    g.run();
    assert.deepEqual(target(g, 5, 8800), [...bytes.subarray(3)]);
  });

  test("STOS of every size", () => {
    for (const [program, size] of [[STOSB, 1], [STOSD, 4]] as const) {
      const g = mapped(guest(program, { [RCX]: 9000 / size, [RDI]: VA + 3, [RAX]: 0x1234_5678_9abc_def1n }));
      g.run();
      const element = [0xf1, 0xde, 0xbc, 0x9a].slice(0, size);
      assert.deepEqual(target(g, 3, 9000), Array.from({ length: 9000 }, (_, i) => element[i % size]));
      assert.deepEqual(target(g, 0, 3), [0, 0, 0]);
      assert.deepEqual(target(g, 9003, 1), [0]);
      assert.deepEqual([g.gpr(RCX), g.gpr(RDI)], [0n, BigInt(VA + 9003)]);
    }
  });

  test("a fault in the middle: the registers say how far it came, and it goes on when the page is there", () => {
    for (const [program, size] of [[MOVSB, 1], [MOVSQ, 8]] as const) {
      const length = 3 * PAGE - 256;
      const g = mapped(guest(program, { [RCX]: length / size, [RSI]: 0x80_0000, [RDI]: VA + 256 }), 2);
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
    const source = mapped(guest(MOVSB, { [RCX]: 0x5000, [RSI]: 0x80_6800, [RDI]: VA }));
    assert.deepEqual([source.run().vector, source.cr2, rest(source)], [14, 0x80_8000n, [0x3800n, 0x80_8000n, BigInt(VA + 0x1800)]]);
    const readOnly = mapped(guest(STOSB, { [RCX]: 0x2000, [RDI]: VA }));
    readOnly.map(VA + PAGE, TARGET_FRAMES[1]!, 0n);
    assert.deepEqual([readOnly.run().errorCode, readOnly.cr2, readOnly.gpr(RCX)], [3n, BigInt(VA + PAGE), 0x1000n]);
    const hole = guest(STOSB, { [RCX]: 0x2000, [RDI]: 0x7fff_ffff_f800n });
    hole.map(0x7fff_ffff_f000n, At.FREE, Pte.W);
    assert.deepEqual([hole.run().vector, hole.gpr(RCX), hole.gpr(RDI)], [13, 0x1800n, 0x8000_0000_0000n]);
  });

  test("overlap: upwards it repeats the start, downwards it moves", () => {
    for (const [distance, length] of [[1, 3000], [3, 9000], [8, 600], [64, 5000], [4096, 8000]] as const) {
      const g = mapped(guest(MOVSB, { [RCX]: length, [RSI]: VA, [RDI]: VA + distance }));
      pattern(distance).forEach((byte, i) => g.write(TARGET_FRAMES[i >> 12]! + (i & 0xfff), [byte]));
      g.run();
      assert.deepEqual(target(g, 0, length + distance), Array.from({ length: length + distance }, (_, i) => pattern(distance)[i % distance]));
    }
    const g = mapped(guest(MOVSB, { [RCX]: 9000, [RSI]: 0x80_0003, [RDI]: 0x80_0000 }));
    g.write(SOURCE, pattern(9003));
    g.run();
    assert.deepEqual([...g.read(SOURCE, 9000)], [...pattern(9003).subarray(3)]);
  });

  test("overlap of frames that is not one of addresses", () => {
    const g = mapped(guest(MOVSB, { [RCX]: 1000, [RSI]: 0x80_0000, [RDI]: VA + 1 }));
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
    const g = mapped(guest(down, { [RCX]: 6000, [RSI]: 0x80_0000 + 5999, [RDI]: VA + 6005 }));
    g.write(SOURCE, pattern(6000));
    g.run();
    assert.deepEqual([target(g, 6, 6000), rest(g)], [[...pattern(6000)], [0n, 0x7f_ffffn, BigInt(VA + 5)]]);
    const overlapping = mapped(guest(down, { [RCX]: 5000, [RSI]: 0x80_0000 + 4999, [RDI]: 0x80_0000 + 5009 }));
    overlapping.write(SOURCE, pattern(5000));
    overlapping.run();
    assert.deepEqual([...overlapping.read(SOURCE + 10, 5000)], [...pattern(5000)]);
  });

  test("a count of 0 and 32-bit addresses", () => {
    const none = guest(MOVSB, { [RCX]: 0, [RSI]: 0x70_0000, [RDI]: 0x70_0000 });
    assert.deepEqual([none.run().vector, rest(none)], [undefined, [0n, 0x70_0000n, 0x70_0000n]]);
    const narrow = mapped(guest(code(`
      67 f3 a4                        addr32 rep movsb
      f4                              hlt
    `), { [RCX]: 0xf_0000_0040n, [RSI]: 0xf_0080_0000n, [RDI]: 0xf_0000_0000n + BigInt(VA) }));
    narrow.write(SOURCE, pattern(64));
    narrow.run();
    assert.deepEqual([target(narrow, 0, 65), rest(narrow)], [[...pattern(64), 0], [0n, 0x80_0040n, BigInt(VA + 64)]]);
  });

  test("REPE CMPSB and REPNE SCASB stop where they should, faults and all", () => {
    const g = mapped(guest(code(`
      f3 a6                           repe cmpsb
      f4                              hlt
    `), { [RCX]: 5000, [RSI]: 0x80_0000, [RDI]: 0x80_2000 }));
    g.write(SOURCE, pattern(4500));
    g.write(SOURCE + 0x2000, pattern(4500));
    g.write(SOURCE + 0x2000 + 4321, [~pattern(4322)[4321]! & 0xff]);
    g.run();
    assert.deepEqual(rest(g), [5000n - 4322n, 0x80_0000n + 4322n, 0x80_2000n + 4322n]);
    const scan = mapped(guest(code(`
      f2 ae                           repne scasb
      f4                              hlt
    `), { [RAX]: 0x99, [RCX]: -1, [RDI]: 0x80_0000 }));
    const stop = scan.run();
    assert.deepEqual([stop.vector, scan.cr2, scan.gpr(RDI), scan.gpr(RCX)], [14, 0x80_8000n, 0x80_8000n, (1n << 64n) - 1n - 0x8000n]);
  });

  test("a device is written element by element", () => {
    const g = guest(STOSD, { [RAX]: 0x1234_5678, [RCX]: 40, [RDI]: At.DEVICE + 8 });
    g.run();
    assert.deepEqual(g.log, Array.from({ length: 40 }, (_, i) => ({ address: At.DEVICE + 8 + 4 * i, size: 4, value: 0x1234_5678n })));
  });
});

describe("device windows", () => {
  test("reads and writes of every width, once each", () => {
    const g = guest(
      code(`
        8a 03                           mov al, [rbx]
        66 8b 4b 02                     mov cx, [rbx + 2]
        8b 53 04                        mov edx, [rbx + 4]
        48 8b 73 08                     mov rsi, [rbx + 8]
        0f b6 7b 10                     movzx edi, byte ptr [rbx + 16]
        4c 0f bf 43 12                  movsx r8, word ptr [rbx + 18]
        88 03                           mov [rbx], al
        66 89 4b 02                     mov [rbx + 2], cx
        89 53 04                        mov [rbx + 4], edx
        48 89 73 08                     mov [rbx + 8], rsi
        f3 0f 10 43 20                  movss xmm0, [rbx + 32]
        f2 0f 10 4b 28                  movsd xmm1, [rbx + 40]
        66 0f 7e 43 2c                  movd [rbx + 44], xmm0
        f4                              hlt
      `),
      { [RBX]: At.DEVICE },
    );
    g.run();
    assert.deepEqual([g.gpr(RAX) & 0xffn, g.gpr(RCX) & 0xffffn, g.gpr(RDX), g.gpr(RSI), g.gpr(RDI), g.gpr(8)], [0x88n, 0x7788n, 0x5566_7788n, 0x1122_3344_5566_7788n, 0x88n, 0x7788n]);
    const read = (offset: number, size: number) => ({ address: At.DEVICE + offset, size, value: undefined });
    const write = (offset: number, size: number, value: bigint) => ({ address: At.DEVICE + offset, size, value });
    assert.deepEqual(g.log, [
      read(0, 1), read(2, 2), read(4, 4), read(8, 8), read(16, 1), read(18, 2),
      write(0, 1, 0x88n), write(2, 2, 0x7788n), write(4, 4, 0x5566_7788n), write(8, 8, 0x1122_3344_5566_7788n),
      read(32, 4), read(40, 8), write(44, 4, 0x5566_7788n),
    ]);
  });

  test("16 bytes are two accesses of 8", () => {
    const g = guest(
      code(`
        0f 28 03                        movaps xmm0, [rbx]
        0f 29 43 10                     movaps [rbx + 16], xmm0
        f4                              hlt
      `),
      { [RBX]: At.DEVICE },
    );
    g.run();
    assert.deepEqual(g.log.map((a) => [a.address - At.DEVICE, a.size, a.value]), [
      [0, 8, undefined], [8, 8, undefined], [16, 8, g.deviceValue], [24, 8, g.deviceValue],
    ]);
  });

  test("read-modify-write, locked or not: one read, one write", () => {
    const g = guest(
      code(`
        83 03 01                        add dword ptr [rbx], 1
        f0 81 4b 04 00 00 00 80         lock or dword ptr [rbx + 4], 0x80000000
        48 87 43 08                     xchg [rbx + 8], rax
        0f ba 6b 0c 00                  bts dword ptr [rbx + 12], 0
        fe 43 01                        inc byte ptr [rbx + 1]
        f4                              hlt
      `),
      { [RBX]: At.DEVICE, [RAX]: 5 },
    );
    g.run();
    assert.deepEqual(g.log.map((a) => [a.address - At.DEVICE, a.size, a.value]), [
      [0, 4, undefined], [0, 4, 0x5566_7789n], [4, 4, undefined], [4, 4, 0xd566_7788n], [8, 8, undefined], [8, 8, 5n],
      [12, 4, undefined], [12, 4, 0x5566_7789n], [1, 1, undefined], [1, 1, 0x89n],
    ]);
    assert.equal(g.gpr(RAX), g.deviceValue);
  });

  test("a write-protected device page faults before the device hears of it", () => {
    const g = guest(code(`
        83 03 01                        add dword ptr [rbx], 1
    `), { [RBX]: At.DEVICE });
    g.map(At.DEVICE, At.DEVICE, 0n);
    assert.deepEqual([g.run().errorCode, g.log], [3n, []]);
  });

  test("ports: IN, OUT, INS, OUTS", () => {
    const g = guest(
      code(`
        e4 10                           in al, 0x10
        66 ed                           in ax, dx
        ed                              in eax, dx
        e6 11                           out 0x11, al
        66 ef                           out dx, ax
        ef                              out dx, eax
        b9 03 00 00 00                  mov ecx, 3
        48 8d 3b                        lea rdi, [rbx]
        66 f3 6d                        rep insw
        b9 02 00 00 00                  mov ecx, 2
        48 89 de                        mov rsi, rbx
        f3 6f                           rep outsd
        f4                              hlt
      `),
      { [RDX]: 0x3f8, [RBX]: At.DATA },
    );
    g.run();
    const value = 0x5566_7788n;
    const read = (address: number, size: number) => ({ address, size, value: undefined });
    assert.deepEqual(g.portLog, [
      read(0x10, 1), read(0x3f8, 2), read(0x3f8, 4),
      { address: 0x11, size: 1, value: 0x88n }, { address: 0x3f8, size: 2, value: 0x7788n }, { address: 0x3f8, size: 4, value },
      read(0x3f8, 2), read(0x3f8, 2), read(0x3f8, 2),
      { address: 0x3f8, size: 4, value: 0x7788_7788n }, { address: 0x3f8, size: 4, value: 0x7788n },
    ]);
    assert.equal(g.gpr(RDI), BigInt(At.DATA + 6));
  });

  test("a port that user code may not use", () => {
    const g = new SmallGuest();
    g.ram.writeU16(At.TSS + 0x66, 0x200);
    g.loadUser(code(`
      e6 80                           out 0x80, al
    `));
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, g.portLog], [13, 0n, At.USER, []]);
  });
});

describe("LOCK", () => {
  test("CMPXCHG16B: swaps, compares, wants alignment", () => {
    const program = code(`
      f0 48 0f c7 0f                  lock cmpxchg16b [rdi]
      f4                              hlt
    `);
    const g = guest(program, { [RAX]: 1, [RDX]: 2, [RBX]: 3, [RCX]: 4, [RDI]: At.DATA });
    g.write64(At.DATA, 1n);
    g.write64(At.DATA + 8, 2n);
    assert.ok(g.run().rflags & Rflags.ZF);
    assert.deepEqual([g.read64(At.DATA), g.read64(At.DATA + 8)], [3n, 4n]);
    g.load(program);
    assert.equal(g.run().rflags & Rflags.ZF, 0);
    assert.deepEqual([g.gpr(RAX), g.gpr(RDX), g.read64(At.DATA)], [3n, 4n, 3n]);
    const odd = guest(program, { [RDI]: At.DATA + 8 });
    assert.deepEqual([odd.run().vector, odd.stop().errorCode], [13, 0n]);
    const readOnly = guest(program, { [RDI]: VA });
    readOnly.map(VA, At.FREE, 0n);
    assert.deepEqual([readOnly.run().vector, readOnly.stop().errorCode], [14, 3n], "writes even if it differs");
  });

  test("CMPXCHG that fails still needs write access; XADD, NEG, BTC in memory across pages", () => {
    const readOnly = guest(code(`
      f0 48 0f b1 0b                  lock cmpxchg [rbx], rcx
    `), { [RBX]: VA, [RAX]: 5 });
    readOnly.map(VA, At.FREE, 0n);
    assert.deepEqual([readOnly.run().vector, readOnly.stop().errorCode, readOnly.gpr(RAX)], [14, 3n, 5n]);
    const g = guest(
      code(`
        f0 48 0f c1 03                  lock xadd [rbx], rax
        f0 48 f7 1b                     lock neg qword ptr [rbx]
        f0 48 0f ba 3b 3f               lock btc qword ptr [rbx], 63
        f0 48 0f b1 0b                  lock cmpxchg [rbx], rcx
        f4                              hlt
      `),
      { [RBX]: VA + PAGE - 3, [RAX]: 0x1_0000_0001 },
    );
    g.map(VA, At.FREE + 0x3000, Pte.W);
    g.map(VA + PAGE, At.FREE, Pte.W);
    g.write(At.FREE + 0x3000 + PAGE - 3, [7]);
    g.run();
    // 7 + 0x100000001, negated, bit 63 changed; CMPXCHG with RAX = 7 fails and loads it
    const value = BigInt.asUintN(64, -0x1_0000_0008n) ^ (1n << 63n);
    assert.equal(g.gpr(RAX), value);
  });
});

describe("FXSAVE, XSAVE", () => {
  test("areas that are not aligned are #GP, areas on missing pages #PF", () => {
    for (const [program, alignment] of [
      [code(`
        0f ae 03                        fxsave [rbx]
        f4                              hlt
      `), 16],
      [code(`
        0f ae 0b                        fxrstor [rbx]
        f4                              hlt
      `), 16],
      [code(`
        0f ae 23                        xsave [rbx]
        f4                              hlt
      `), 64],
      [code(`
        0f ae 2b                        xrstor [rbx]
        f4                              hlt
      `), 64],
    ] as const) {
      const good = guest(program, { [RBX]: At.DATA, [RAX]: 3, [RDX]: 0 });
      good.write64(At.DATA + 24, 0x1f80n);
      assert.equal(good.run().vector, undefined);
      const odd = guest(program, { [RBX]: At.DATA + alignment / 2, [RAX]: 3 });
      assert.deepEqual([odd.run().vector, odd.stop().errorCode], [13, 0n]);
      const missing = guest(program, { [RBX]: VA + PAGE - alignment, [RAX]: 3 });
      missing.map(VA, At.FREE, Pte.W);
      missing.write64(At.FREE + PAGE - alignment, 0n);
      assert.deepEqual([missing.run().vector, missing.cr2 & ~0xfffn], [14, BigInt(VA + PAGE)]);
    }
  });

  test("reserved MXCSR bits and XSTATE_BV bits are #GP; XSAVE without CR4.OSXSAVE is #UD", () => {
    const fxrstor = guest(code(`
      0f ae 0b                        fxrstor [rbx]
    `), { [RBX]: At.DATA });
    fxrstor.write64(At.DATA + 24, 0x1_0000n);
    assert.equal(fxrstor.run().vector, 13);
    const xrstor = guest(code(`
      0f ae 2b                        xrstor [rbx]
    `), { [RBX]: At.DATA, [RAX]: 7 });
    xrstor.write64(At.DATA + 512, 8n);
    assert.equal(xrstor.run().vector, 13);
    const off = guest(code(`
      0f 20 e0                        mov rax, cr4
      48 0f ba f0 12                  btr rax, 18
      0f 22 e0                        mov cr4, rax
    fault:
      0f ae 23                        xsave [rbx]
    `), { [RBX]: At.DATA });
    assert.equal(off.run().vector, 6);
  });

  test("what XSAVE keeps XRSTOR brings back", () => {
    const g = guest(
      code(`
        d9 e8                           fld1
        66 48 0f 6e d9                  movq xmm3, rcx
        0f ae 23                        xsave [rbx]
        db e3                           fninit
        66 0f ef db                     pxor xmm3, xmm3
        0f ae 2b                        xrstor [rbx]
        dd 5b f8                        fstp qword ptr [rbx - 8]
        66 48 0f 7e de                  movq rsi, xmm3
        f4                              hlt
      `),
      { [RBX]: At.DATA + 0x40, [RAX]: 3, [RDX]: 0, [RCX]: 0x1234_5678_9abcn },
    );
    g.run();
    assert.deepEqual([g.read64(At.DATA + 0x38), g.gpr(RSI)], [0x3ff0_0000_0000_0000n, 0x1234_5678_9abcn]);
  });
});

test("PUSH of a memory operand that faults leaves RSP; POP to a page that faults too", () => {
  for (const program of [
    code(`
      ff 33                           push qword ptr [rbx]
    `),
    code(`
      8f 03                           pop qword ptr [rbx]
    `),
    code(`
      ff 13                           call qword ptr [rbx]
    `),
  ]) {
    const g = guest(program, { [RBX]: 0x70_0000 });
    const rsp = g.gpr(RSP);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rsp], [14, rsp]);
  }
});
