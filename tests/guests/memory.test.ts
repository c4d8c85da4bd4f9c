/* Memory accesses that are not simple: across pages, not canonical, locked, of whole register sets. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, kernelGuest, Pte, type SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RDX, RBX, RSP, RSI, RDI] = [0, 1, 2, 3, 4, 6, 7];
const VA = 0x60_0000;
const PAGE = 4096;

test("the farthest that displacements reach, from RIP and by jumps", () => {
  const far = At.CODE + 0x8000_0000;
  const g = kernelGuest(
    code(`
      e9 fb 00 00 00                  jmp ${At.CODE + 0x100}
    `),
    {},
  );
  const { bytes } = code(`
      48 8b 05 f0 ff ff 7f            mov rax, [rip+0x7ffffff0]
      48 8b 0d e9 ff ff 7f            mov rcx, [rip+0x7fffffe9]
      e9 cd ff ff 7f                  jmp rip+0x7fffffcd
  `);
  g.write(At.CODE + 0x100, bytes);
  g.map(far, At.FREE + 0x1000, 0n);
  g.write(At.FREE + 0x1000 + 0xf7, [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
  g.write(At.FREE + 0x1000 + 0xe0, [0xf4]);
  assert.equal(g.run().rip, far + 0xe1);
  assert.deepEqual([g.gpr(RAX), g.gpr(RCX)], [0x1122_3344_5566_7788n, 0x1122_3344_5566_7788n]);
});

test("a page that is met first in the middle of accesses by another register", () => {
  const there = VA + 16 * PAGE;
  const g = kernelGuest(
    code(`
      48 89 03                        mov [rbx], rax
      48 ff 36                        push qword ptr [rsi]
      48 89 43 08                     mov [rbx+8], rax
      8f 47 08                        pop qword ptr [rdi+8]
      48 89 43 10                     mov [rbx+16], rax
      48 03 07                        add rax, [rdi]
      48 89 43 18                     mov [rbx+24], rax
      f4                              hlt
    `),
    { [RBX]: VA, [RSI]: there, [RDI]: there + PAGE, [RSP]: there + 3 * PAGE, [RAX]: 5n },
  );
  const frames = [VA, there, there + PAGE, there + 2 * PAGE].map((page, i) => {
    g.map(page, At.FREE + i * PAGE, Pte.W);
    return At.FREE + i * PAGE;
  });
  g.write(frames[1]!, [7, 0, 0, 0, 0, 0, 0, 0]);
  g.write(frames[2]!, [9, 0, 0, 0, 0, 0, 0, 0]);
  g.run();
  const word = (at: number): bigint => Buffer.from(g.read(at, 8)).readBigUInt64LE();
  assert.deepEqual(
    [0, 8, 16, 24].map((at) => word(frames[0]! + at)),
    [5n, 5n, 5n, 14n],
  );
  assert.deepEqual([word(frames[2]! + 8), word(frames[3]! + PAGE - 8)], [7n, 7n]);
});

describe("accesses across pages", () => {
  /** Two linear pages side by side whose frames are not: FREE + 0x3000 and FREE + 0x1000. */
  const twoPages = (program: Listing, rbx: number, second: bigint | undefined): SmallGuest => {
    const g = kernelGuest(program, { [RBX]: rbx, [RAX]: 0x1122_3344_5566_7788n });
    g.map(VA, At.FREE + 0x3000, Pte.W);
    if (second !== undefined) g.map(VA + PAGE, At.FREE + 0x1000, second);
    return g;
  };
  const first = At.FREE + 0x3000;
  const second = At.FREE + 0x1000;

  test("loads and stores of every size", () => {
    for (const [size, store, load] of [
      [
        2,
        code(`
        66 89 03                        mov [rbx], ax
        f4                              hlt
      `),
        code(`
        0f b7 0b                        movzx ecx, word ptr [rbx]
        f4                              hlt
      `),
      ],
      [
        4,
        code(`
        89 03                           mov [rbx], eax
        f4                              hlt
      `),
        code(`
        8b 0b                           mov ecx, [rbx]
        f4                              hlt
      `),
      ],
      [
        8,
        code(`
        48 89 03                        mov [rbx], rax
        f4                              hlt
      `),
        code(`
        48 8b 0b                        mov rcx, [rbx]
        f4                              hlt
      `),
      ],
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
    [
      "load",
      code(`
      8b 0b                           mov ecx, [rbx]
    `),
      0n,
    ],
    [
      "store",
      code(`
      89 03                           mov [rbx], eax
    `),
      2n,
    ],
    [
      "read-modify-write",
      code(`
      01 03                           add [rbx], eax
    `),
      2n,
    ],
    [
      "locked read-modify-write",
      code(`
      f0 0f c1 03                     lock xadd [rbx], eax
    `),
      2n,
    ],
    [
      "exchange",
      code(`
      87 03                           xchg [rbx], eax
    `),
      2n,
    ],
    [
      "SSE store",
      code(`
      0f 11 03                        movups [rbx], xmm0
    `),
      2n,
    ],
    [
      "SSE load",
      code(`
      0f 10 03                        movups xmm0, [rbx]
    `),
      0n,
    ],
    [
      "x87 store of ten bytes",
      code(`
      db 3b                           fstp tbyte ptr [rbx]
    `),
      2n,
    ],
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
        assert.deepEqual(
          [stop.vector, stop.errorCode, g.cr2, stop.rip],
          [14, code_ | (flags === undefined ? 0n : 1n), BigInt(VA + PAGE), At.CODE],
        );
        assert.deepEqual([...g.read(first + PAGE - 2, 2)], [0xaa, 0xbb]);
        assert.deepEqual([g.gpr(RAX), g.gpr(RCX), g.regs.get64(Reg.XMM), g.regs.get16(Reg.FSW)], before);
      }
    });
    test(`${name}: a fault on the first page comes first`, () => {
      const g = kernelGuest(program, { [RBX]: VA - 2 });
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
    for (const [program, vector] of [
      [throughRbx, 13],
      [throughRsp, 12],
      [pop, 12],
    ] as const) {
      const g = kernelGuest(program, { [RBX]: address });
      g.gate(12, { ist: 1 });
      assert.deepEqual([g.run().vector, g.stop().errorCode], [vector, 0n], address.toString(16));
    }
  }
  const g = kernelGuest(call, { [RBX]: 0x8000_0000_0010n });
  g.gate(12, { ist: 1 });
  assert.equal(g.run().vector, 12);
});

describe("LOCK", () => {
  test("CMPXCHG16B: swaps, compares, wants alignment", () => {
    const program = code(`
      f0 48 0f c7 0f                  lock cmpxchg16b [rdi]
      f4                              hlt
    `);
    const g = kernelGuest(program, { [RAX]: 1, [RDX]: 2, [RBX]: 3, [RCX]: 4, [RDI]: At.DATA });
    g.write64(At.DATA, 1n);
    g.write64(At.DATA + 8, 2n);
    assert.ok(g.run().rflags & Rflags.ZF);
    assert.deepEqual([g.read64(At.DATA), g.read64(At.DATA + 8)], [3n, 4n]);
    g.load(program);
    assert.equal(g.run().rflags & Rflags.ZF, 0);
    assert.deepEqual([g.gpr(RAX), g.gpr(RDX), g.read64(At.DATA)], [3n, 4n, 3n]);
    const odd = kernelGuest(program, { [RDI]: At.DATA + 8 });
    assert.deepEqual([odd.run().vector, odd.stop().errorCode], [13, 0n]);
    const readOnly = kernelGuest(program, { [RDI]: VA });
    readOnly.map(VA, At.FREE, 0n);
    assert.deepEqual([readOnly.run().vector, readOnly.stop().errorCode], [14, 3n], "writes even if it differs");
  });

  test("CMPXCHG that fails still needs write access; XADD, NEG, BTC in memory across pages", () => {
    const readOnly = kernelGuest(
      code(`
      f0 48 0f b1 0b                  lock cmpxchg [rbx], rcx
    `),
      { [RBX]: VA, [RAX]: 5 },
    );
    readOnly.map(VA, At.FREE, 0n);
    assert.deepEqual([readOnly.run().vector, readOnly.stop().errorCode, readOnly.gpr(RAX)], [14, 3n, 5n]);
    const g = kernelGuest(
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
      [
        code(`
        0f ae 03                        fxsave [rbx]
        f4                              hlt
      `),
        16,
      ],
      [
        code(`
        0f ae 0b                        fxrstor [rbx]
        f4                              hlt
      `),
        16,
      ],
      [
        code(`
        0f ae 23                        xsave [rbx]
        f4                              hlt
      `),
        64,
      ],
      [
        code(`
        0f ae 2b                        xrstor [rbx]
        f4                              hlt
      `),
        64,
      ],
    ] as const) {
      const good = kernelGuest(program, { [RBX]: At.DATA, [RAX]: 3, [RDX]: 0 });
      good.write64(At.DATA + 24, 0x1f80n);
      assert.equal(good.run().vector, undefined);
      const odd = kernelGuest(program, { [RBX]: At.DATA + alignment / 2, [RAX]: 3 });
      assert.deepEqual([odd.run().vector, odd.stop().errorCode], [13, 0n]);
      const missing = kernelGuest(program, { [RBX]: VA + PAGE - alignment, [RAX]: 3 });
      missing.map(VA, At.FREE, Pte.W);
      missing.write64(At.FREE + PAGE - alignment, 0n);
      assert.deepEqual([missing.run().vector, missing.cr2 & ~0xfffn], [14, BigInt(VA + PAGE)]);
    }
  });

  test("reserved MXCSR bits and XSTATE_BV bits are #GP; XSAVE without CR4.OSXSAVE is #UD", () => {
    const fxrstor = kernelGuest(
      code(`
      0f ae 0b                        fxrstor [rbx]
    `),
      { [RBX]: At.DATA },
    );
    fxrstor.write64(At.DATA + 24, 0x1_0000n);
    assert.equal(fxrstor.run().vector, 13);
    const xrstor = kernelGuest(
      code(`
      0f ae 2b                        xrstor [rbx]
    `),
      { [RBX]: At.DATA, [RAX]: 7 },
    );
    xrstor.write64(At.DATA + 512, 8n);
    assert.equal(xrstor.run().vector, 13);
    const off = kernelGuest(
      code(`
      0f 20 e0                        mov rax, cr4
      48 0f ba f0 12                  btr rax, 18
      0f 22 e0                        mov cr4, rax
    fault:
      0f ae 23                        xsave [rbx]
    `),
      { [RBX]: At.DATA },
    );
    assert.equal(off.run().vector, 6);
  });

  test("what XSAVE keeps XRSTOR brings back", () => {
    const g = kernelGuest(
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
    const g = kernelGuest(program, { [RBX]: 0x70_0000 });
    const rsp = g.gpr(RSP);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rsp], [14, rsp]);
  }
});
