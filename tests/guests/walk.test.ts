/* The TLB's miss path and the jump cache in generated code: what they may keep, and when they must see a change of the page tables. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, Cr4, Pte, SmallGuest } from "./small-guest.ts";

const RAX = 0;
const VA = 0x60_0000;
const NO_FLUSH = 1n << 63n;
/** Two functions of one instruction and RET, at different frames. */
const ONE = code(`
  b8 01 00 00 00                  mov eax, 1
  c3                              ret
`);
const TWO = code(`
  b8 02 00 00 00                  mov eax, 2
  c3                              ret
`);
const [FIRST, SECOND] = [At.FREE, At.FREE + 0x1000];

describe("A and D", () => {
  const program = code(`
    8b 03                           mov eax, [rbx]
    f4                              hlt
    89 03                           mov [rbx], eax
    f4                              hlt
  `);
  const guest = (flags: bigint): SmallGuest => {
    const g = new SmallGuest();
    g.map(VA + 0x1000, SECOND, Pte.W | Pte.A | Pte.D);
    g.map(VA, FIRST, flags);
    for (const level of [4, 3, 2]) g.write64(g.entry(VA, level), g.read64(g.entry(VA, level)) | Pte.A);
    g.load(program);
    g.regs.setGpr(3, BigInt(VA));
    return g;
  };
  test("a load sets A and lets no store through; the store sets D", () => {
    const g = guest(Pte.W);
    assert.equal(g.run().vector, undefined);
    assert.equal(g.read64(g.entry(VA)) & (Pte.A | Pte.D), Pte.A);
    assert.equal(g.run().vector, undefined);
    assert.equal(g.read64(g.entry(VA)) & (Pte.A | Pte.D), Pte.A | Pte.D);
  });
  test("a load of a dirty page lets stores through, of a read-only one none, dirty or not", () => {
    assert.equal(guest(Pte.W | Pte.A | Pte.D).run().vector, undefined);
    const g = guest(Pte.A | Pte.D);
    g.run();
    assert.equal(g.run().vector, 14);
  });
  test("tables that were never used get A too", () => {
    const g = guest(Pte.W);
    for (const level of [4, 3, 2]) g.write64(g.entry(VA, level), g.read64(g.entry(VA, level)) & ~Pte.A);
    g.run();
    for (const level of [4, 3, 2, 1]) assert.equal(g.read64(g.entry(VA, level)) & Pte.A, Pte.A, String(level));
  });
});

test("more pages than the TLB has room for: each access is to its own, also after one of them is another frame", () => {
  const [pages, rounds, base] = [1200, 3, 0x1000_0000];
  const g = new SmallGuest();
  for (let n = 0; n < pages; n++) g.map(base + n * 0x1000, At.FREE + n * 0x1000, Pte.W);
  const program = code(`
      b8 03 00 00 00                  mov eax, ${rounds}
    round:
      be 00 00 00 10                  mov esi, ${base}
      b9 b0 04 00 00                  mov ecx, ${pages}
    page:
      01 4e 08                        add [rsi + 8], ecx
      48 03 56 08                     add rdx, [rsi + 8]
      81 c6 00 10 00 00               add esi, 4096
      ff c9                           dec ecx
      75 ef                           jnz page
      ff c8                           dec eax
      75 e1                           jnz round
      f4                              hlt
      0f 01 3b                        invlpg [rbx]
      01 43 08                        add [rbx + 8], eax
      f4                              hlt
  `);
  g.load(program);
  g.run();
  let sum = 0n;
  for (let n = 0; n < pages; n++) {
    const added = BigInt(pages - n);
    assert.equal(g.read64(At.FREE + n * 0x1000 + 8), 3n * added, `page ${n}`);
    sum += (1n + 2n + 3n) * added;
  }
  assert.equal(g.gpr(2), sum);
  g.write64(g.entry(base), BigInt(At.FREE + 5 * 0x1000) | Pte.P | Pte.W);
  g.regs.setGpr(3, BigInt(base));
  g.regs.setGpr(RAX, 9n);
  g.run();
  assert.equal(g.read64(At.FREE + 5 * 0x1000 + 8), 3n * BigInt(pages - 5) + 9n);
});

/** Calls VA, loads CR3 from R8, calls VA, loads CR3 from R9, calls VA. RCX collects what it returned. */
const SWITCHES = code(`
    31 c9                           xor ecx, ecx
    ff d3                           call rbx
    c1 e1 04                        shl ecx, 4
    09 c1                           or ecx, eax
    41 0f 22 d8                     mov cr3, r8
    ff d3                           call rbx
    c1 e1 04                        shl ecx, 4
    09 c1                           or ecx, eax
    41 0f 22 d9                     mov cr3, r9
    ff d3                           call rbx
    c1 e1 04                        shl ecx, 4
    09 c1                           or ecx, eax
    f4                              hlt
`);

/** A second address space that differs from the first in VA's page alone. @returns its PML4 */
function secondSpace(g: SmallGuest, flags: bigint): number {
  const [pml4, pdpt, directory, table] = [g.table(), g.table(), g.table(), g.table()];
  const copies = [
    [pml4, At.PML4, 4, pdpt],
    [pdpt, 0, 3, directory],
    [directory, 0, 2, table],
  ] as const;
  for (const [to, , level, next] of copies) {
    const from = g.entry(VA, level) & ~0xfff;
    for (let at = 0; at < 4096; at += 8) g.write64(to + at, g.read64(from + at));
    g.write64(to + (g.entry(VA, level) & 0xfff), BigInt(next) | 7n);
  }
  g.write64(table + (g.entry(VA) & 0xfff), BigInt(SECOND) | flags);
  return pml4;
}
function twoSpaces(flags: bigint, cr4 = 0n): { g: SmallGuest; other: number } {
  const g = new SmallGuest({ cr4 });
  g.write(FIRST, ONE.bytes);
  g.write(SECOND, TWO.bytes);
  g.map(VA, FIRST, flags);
  const other = secondSpace(g, flags | Pte.P);
  g.load(SWITCHES);
  g.regs.setGpr(3, BigInt(VA));
  return { g, other };
}

describe("code at one address in two address spaces", () => {
  test("each space runs its own, with and without PCIDs", () => {
    for (const [cr4, first, second] of [
      [0n, 0n, 0n],
      [Cr4.PCIDE, 0n, 1n],
      [Cr4.PCIDE, NO_FLUSH, NO_FLUSH | 1n],
    ] as const) {
      const { g, other } = twoSpaces(Pte.W, cr4);
      g.regs.setGpr(8, BigInt(other) | second);
      g.regs.setGpr(9, BigInt(At.PML4) | first);
      g.run();
      assert.equal(g.gpr(1), 0x121n);
    }
  });
  test("again and again, so that the caches are warm", () => {
    const { g, other } = twoSpaces(Pte.W, Cr4.PCIDE);
    g.regs.setGpr(8, BigInt(other) | NO_FLUSH | 1n);
    g.regs.setGpr(9, BigInt(At.PML4) | NO_FLUSH);
    for (let i = 0; i < 20; i++) {
      g.run();
      assert.equal(g.gpr(1), 0x121n);
      g.regs.set64(Reg.RIP, BigInt(At.CODE));
    }
  });
});

describe("code in global pages", () => {
  const CALL = code(`
    ff d3                           call rbx
    f4                              hlt
    41 0f 22 d8                     mov cr3, r8
    0f 01 3b                        invlpg [rbx]
    ff d3                           call rbx
    f4                              hlt
  `);
  const guest = (): { g: SmallGuest; other: number } => {
    const { g, other } = twoSpaces(Pte.W | Pte.G, Cr4.PCIDE);
    g.load(CALL);
    g.run();
    assert.equal(g.gpr(RAX), 1n);
    return { g, other };
  };
  test("INVLPG forgets them in the address space of now", () => {
    const { g } = guest();
    g.map(VA, SECOND, Pte.W | Pte.G);
    g.regs.setGpr(8, BigInt(At.PML4) | NO_FLUSH);
    g.run();
    assert.equal(g.gpr(RAX), 2n);
  });
  test("INVLPG in another address space forgets them everywhere", () => {
    const { g, other } = guest();
    g.map(VA, SECOND, Pte.W | Pte.G);
    g.regs.setGpr(8, BigInt(other) | NO_FLUSH | 1n);
    g.run();
    g.load(CALL);
    g.regs.set64(Reg.CR3, BigInt(At.PML4));
    g.vcpu.modeChanged();
    g.run();
    assert.equal(g.gpr(RAX), 2n);
  });
  test("a change of CR4.PGE forgets them", () => {
    const { g } = guest();
    g.map(VA, SECOND, Pte.W | Pte.G);
    g.load(
      code(`
        0f 20 e0                        mov rax, cr4
        48 35 80 00 00 00               xor rax, 0x80
        0f 22 e0                        mov cr4, rax
        ff d3                           call rbx
        f4                              hlt
    `),
    );
    g.run();
    assert.equal(g.gpr(RAX), 2n);
  });
  test("an instruction that reaches into the next page is forgotten with that page", () => {
    const g = new SmallGuest();
    const at = 0x1000 - 3;
    g.write(FIRST + at, ONE.bytes.subarray(0, 3));
    g.write(SECOND, [0, 0, 0xc3]);
    g.write(SECOND + 0x1000, [7, 0, 0xc3]);
    g.map(VA, FIRST, Pte.W | Pte.G);
    g.map(VA + 0x1000, SECOND, Pte.W | Pte.G);
    g.load(
      code(`
        ff d3                           call rbx
        f4                              hlt
        0f 01 7b 08                     invlpg [rbx + 8]
        ff d3                           call rbx
        f4                              hlt
    `),
    );
    g.regs.setGpr(3, BigInt(VA + at));
    g.run();
    assert.equal(g.gpr(RAX), 1n);
    g.map(VA + 0x1000, SECOND + 0x1000, Pte.W | Pte.G);
    g.run();
    assert.equal(g.gpr(RAX), 0x7_0001n);
  });
});

test("code that user code has run is not the kernel's under SMEP, nor the kernel's the user's", () => {
  const g = new SmallGuest({ cr4: Cr4.SMEP });
  g.gate(0x80, { dpl: 3 });
  g.loadUser(
    code(`
      cd 80                           int 0x80
      0f 0b                           ud2
  `),
  );
  assert.equal(g.run().vector, 0x80);
  g.load(
    code(`
      ff e3                           jmp rbx
  `),
  );
  g.regs.setGpr(3, BigInt(At.USER));
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.errorCode, g.cr2], [14, 0x11n, BigInt(At.USER)]);

  const user = new SmallGuest();
  user.load(ONE);
  user.regs.setGpr(4, BigInt(At.STACK - 8));
  user.write64(At.STACK - 8, BigInt(At.HANDLERS));
  user.run(); // runs the kernel's function, and the HLT of handler 0
  user.loadUser(
    code(`
      ff e3                           jmp rbx
  `),
  );
  user.regs.setGpr(3, BigInt(At.CODE));
  const fault = user.run();
  assert.deepEqual([fault.vector, fault.errorCode, user.cr2], [14, 0x15n, BigInt(At.CODE)]);
});

test("data of a page of 2 MiB is forgotten by INVLPG anywhere in it, in user code's bank too", () => {
  const g = new SmallGuest();
  const large = 0x8000_0000;
  g.map(large, 0, Pte.W, 2);
  g.load(
    code(`
      8b 03                           mov eax, [rbx]
      f4                              hlt
      0f 01 3e                        invlpg [rsi]
      8b 03                           mov eax, [rbx]
      f4                              hlt
  `),
  );
  g.regs.setGpr(3, BigInt(large + At.DATA));
  g.regs.setGpr(6, BigInt(large + 0x1f_0000));
  g.write64(At.DATA, 5n);
  g.run();
  assert.equal(g.gpr(RAX), 5n);
  g.map(large, At.FREE, Pte.W, 2);
  g.write64(At.FREE + At.DATA, 6n);
  g.run();
  assert.equal(g.gpr(RAX), 6n);
});

describe("faults on the way to a handler", () => {
  const user = (): SmallGuest => {
    const g = new SmallGuest();
    g.gate(8, { ist: 1 });
    g.loadUser(
      code(`
        8b 04 25 00 00 70 00            mov eax, [0x700000]
    `),
    );
    return g;
  };
  test("plain: error code, CR2, flags with RF, stack of RSP0", () => {
    const g = user();
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, stop.cs, stop.ss], [14, 4n, At.USER, 0x33, 0x2b]);
    assert.deepEqual([g.cr2, stop.rsp, g.gpr(4)], [0x70_0000n, BigInt(At.USER + 0x8000), BigInt(At.RSP0 - 48)]);
    assert.equal(stop.rflags, 0x1_0202);
    assert.equal(g.regs.cpl, 0);
  });
  test("no stack: a double fault, on its own stack", () => {
    const g = user();
    g.unmap(At.RSP0 - 0x1000);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, stop.cs], [8, 0n, At.USER, 0x33]);
  });
  test("a frame across two pages is pushed whole, or the missing one is told", () => {
    const g = user();
    g.write64(At.TSS + 4, BigInt(At.RSP0 + 16));
    assert.deepEqual([g.run().vector, g.gpr(4)], [14, BigInt(At.RSP0 + 16 - 48)]);
    const missing = user();
    missing.write64(At.TSS + 4, BigInt(At.RSP0 + 16));
    missing.unmap(At.RSP0);
    assert.equal(missing.run().vector, 8);
  });
  test("the gate, the code segment or the task's stack pointer is not as it should be", () => {
    const absent = user();
    absent.gate(14, { present: false });
    assert.equal(absent.run().vector, 8);
    const data = user();
    data.gate(14, { selector: 0x18 });
    assert.equal(data.run().vector, 8);
    const stack = user();
    stack.write64(At.TSS + 4, 1n << 47n);
    assert.equal(stack.run().vector, 8);
    const trap = user();
    trap.gate(14, { type: 15 });
    trap.run();
    assert.equal(trap.regs.rflags & 0x200, 0x200);
  });
});
