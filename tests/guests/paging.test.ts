/* Address translation as guests see it: page sizes, rights, what is cached and when it must be forgotten. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, Cr4, Pte, SmallGuest, type GuestOptions } from "./small-guest.ts";

const PF = 14;
const GIB = 1024 ** 3;
const RAX = 0;
const LOAD = code(`
  48 8b 03                        mov rax, [rbx]
  f4                              hlt
`);
const STORE = code(`
  48 89 03                        mov [rbx], rax
  f4                              hlt
`);
const CALL = code(`
  ff d3                           call rbx
  f4                              hlt
`);
const RETURN = code(`
  c3                              ret
`);

function guest(program: ReturnType<typeof code>, rbx: bigint | number, options?: GuestOptions): SmallGuest {
  const g = new SmallGuest(options);
  g.load(program);
  g.regs.setGpr(3, BigInt(rbx));
  return g;
}
/** "ok", or the #PF's error code and whether CR2 and RIP are right. */
function outcome(g: SmallGuest, address: bigint | number, rip: number = At.CODE): string {
  const stop = g.run();
  if (stop.vector === undefined) return "ok";
  assert.deepEqual([stop.vector, g.cr2, stop.rip], [PF, BigInt(address), rip]);
  return `#PF ${String(stop.errorCode)}`;
}

test("pages of 4 KiB, 2 MiB and 1 GiB, low and high", () => {
  for (const [va, level, offset] of [
    [0x7f12_3456_7000n, 1, 0x238n],
    [0x1234_4000_0000n, 2, 0x12_3458n],
    [0x40_0000_0000n, 3, 0x62_3458n],
    [0xffff_ffff_8000_0000n, 2, 0x1f_fff8n],
    [0xffff_8000_0000_0000n, 3, 0x5f_fff8n],
  ] as const) {
    const g = guest(LOAD, va + offset);
    const base = level === 3 ? 0 : At.FREE;
    g.map(va, base, Pte.W, level);
    g.write64(base + Number(offset), 0xfeed_0000_1234_5678n);
    assert.equal(outcome(g, 0), "ok");
    assert.equal(g.gpr(RAX), 0xfeed_0000_1234_5678n, va.toString(16));
  }
});

test("not present, reserved bits, read-only with and without CR0.WP", () => {
  const va = 0x60_0000;
  assert.equal(outcome(guest(LOAD, va), va), "#PF 0");
  assert.equal(outcome(guest(STORE, va), va), "#PF 2");
  const reserved = guest(LOAD, va);
  reserved.map(va, At.FREE, 1n << 51n);
  assert.equal(outcome(reserved, va), "#PF 9");
  const readOnly = guest(STORE, va);
  readOnly.map(va, At.FREE, 0n);
  assert.equal(outcome(readOnly, va), "#PF 3");
  const unprotected = guest(STORE, va);
  unprotected.map(va, At.FREE, 0n);
  unprotected.regs.set64(Reg.CR0, unprotected.regs.get64(Reg.CR0) & ~0x1_0000n);
  unprotected.vcpu.modeChanged();
  assert.equal(outcome(unprotected, va), "ok");
});

test("setting CR0.WP takes away writes that were allowed before", () => {
  const program = code(`
      0f 20 c1                        mov rcx, cr0
      48 89 ca                        mov rdx, rcx
      48 0f ba f2 10                  btr rdx, 16
      0f 22 c2                        mov cr0, rdx
      48 89 03                        mov [rbx], rax
      0f 22 c1                        mov cr0, rcx
    writeAgain:
      48 89 03                        mov [rbx], rax
      f4                              hlt
    `);
  const g = guest(program, 0x60_0000);
  g.map(0x60_0000, At.FREE, 0n);
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.errorCode, stop.rip - At.CODE], [PF, 3n, program.at("writeAgain")]);
});

test("NX and SMEP: fetches fault, with the I bit; reads do not", () => {
  const nx = guest(CALL, 0x60_0000);
  nx.map(0x60_0000, At.FREE, Pte.NX);
  assert.equal(outcome(nx, 0x60_0000, 0x60_0000), "#PF 17");
  const nxRead = guest(LOAD, 0x60_0000);
  nxRead.map(0x60_0000, At.FREE, Pte.NX);
  assert.equal(outcome(nxRead, 0x60_0000), "ok");
  for (const [cr4, expected] of [
    [0n, "ok"],
    [Cr4.SMEP, "#PF 17"],
  ] as const) {
    const g = guest(CALL, At.USER, { cr4 });
    g.write(At.FREE, RETURN.bytes);
    assert.equal(outcome(g, At.USER, At.USER), expected);
  }
});

test("SMAP: user pages only with AC; STAC and CLAC at once, in the middle of a block", () => {
  const g = guest(
    code(`
      0f 01 cb                        stac
      48 8b 03                        mov rax, [rbx]
      48 89 03                        mov [rbx], rax
      0f 01 ca                        clac
    load:
      48 8b 03                        mov rax, [rbx]
      f4                              hlt
    `),
    At.USER,
    { cr4: Cr4.SMAP },
  );
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.errorCode, stop.rip - At.CODE, g.cr2], [PF, 1n, 12, BigInt(At.USER)]);
  assert.equal(stop.rflags & Rflags.AC, 0);
});

test("SMAP: an exception in user code reaches the kernel's stack; the kernel's accesses for user code are supervisor accesses", () => {
  const g = new SmallGuest({ cr4: Cr4.SMAP });
  g.loadUser(
    code(`
      0f 0b                           ud2
  `),
  );
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.rip, stop.rsp], [6, At.USER, BigInt(At.USER + 0x8000)]);
});

test("user code reaches user pages only", () => {
  for (const [address, expected] of [
    [At.USER + 0x1000, "ok"],
    [At.DATA, "#PF 5"],
    [0x70_0000, "#PF 4"],
  ] as const) {
    const g = new SmallGuest();
    g.loadUser(
      code(`
      48 8b 03                        mov rax, [rbx]
      0f 0b                           ud2
    `),
    );
    g.regs.setGpr(3, BigInt(address));
    const stop = g.run();
    if (expected === "ok") assert.equal(stop.vector, 6);
    else assert.deepEqual([`#PF ${String(stop.errorCode)}`, g.cr2, stop.rip], [expected, BigInt(address), At.USER]);
  }
});

test("accessed and dirty bits: read sets A, write sets D, and they come back after INVLPG", () => {
  const g = guest(
    code(`
      48 8b 03                        mov rax, [rbx]
      f4                              hlt
      48 89 03                        mov [rbx], rax
      f4                              hlt
      0f 01 3b                        invlpg [rbx]
      48 8b 03                        mov rax, [rbx]
      f4                              hlt
      0f 01 3b                        invlpg [rbx]
      48 8b 03                        mov rax, [rbx]
      48 89 03                        mov [rbx], rax
      f4                              hlt
    `),
    0x60_0000,
  );
  g.map(0x60_0000, At.FREE, Pte.W);
  const entry = g.entry(0x60_0000);
  const bits = (): bigint => g.read64(entry) & (Pte.A | Pte.D);
  const clear = (): void => g.write64(entry, g.read64(entry) & ~(Pte.A | Pte.D));
  const after = (): bigint => (g.run(), bits());
  assert.equal(after(), Pte.A);
  assert.equal(after(), Pte.A | Pte.D);
  clear();
  assert.equal(after(), Pte.A);
  clear();
  assert.equal(after(), Pte.A | Pte.D, "the write after a read that found D clear");
});

test("a remapped page is seen after INVLPG, inside large pages too", () => {
  for (const [va, level, offset] of [
    [0x60_0000, 1, 0],
    [0x80_0000, 2, 0x12_3000],
    [2 * GIB, 3, 0x40_0000],
  ] as const) {
    const g = guest(
      code(`
        48 8b 03                        mov rax, [rbx]
        48 89 11                        mov [rcx], rdx
        48 8b 33                        mov rsi, [rbx]
        0f 01 7b 08                     invlpg [rbx + 8]
        48 8b 3b                        mov rdi, [rbx]
        f4                              hlt
      `),
      va + offset,
    );
    const [first, second] = level === 3 ? [0, GIB] : [At.FREE, At.FREE + 0x20_0000];
    g.map(va, first, Pte.W, level);
    g.write64(first + offset, 1n);
    if (level < 3) g.write64(second + offset, 2n);
    const entry = g.entry(va, level);
    g.regs.setGpr(1, BigInt(entry));
    g.regs.setGpr(2, g.read64(entry) - BigInt(first) + BigInt(second));
    assert.equal(g.run().vector, undefined);
    const expected = level === 3 ? 0xffn : 2n; // beyond RAM: the device window's answer
    assert.equal(g.gpr(RAX), 1n);
    assert.equal(level === 3 ? g.gpr(7) & 0xffn : g.gpr(7), level === 3 ? g.deviceValue & 0xffn : expected);
  }
});

test("code pages: a remapped page runs the new code after INVLPG", () => {
  const g = guest(
    code(`
      ff d3                           call rbx
      48 89 11                        mov [rcx], rdx
      0f 01 3b                        invlpg [rbx]
      ff d3                           call rbx
      f4                              hlt
    `),
    0x60_0000,
  );
  g.map(0x60_0000, At.FREE, Pte.W);
  g.write(
    At.FREE,
    code(`
      48 83 c0 01                     add rax, 1
      c3                              ret
  `).bytes,
  );
  g.write(
    At.FREE + 0x1000,
    code(`
      48 83 c0 10                     add rax, 0x10
      c3                              ret
  `).bytes,
  );
  g.regs.setGpr(1, BigInt(g.entry(0x60_0000)));
  g.regs.setGpr(2, BigInt(At.FREE + 0x1000) | Pte.P);
  g.run();
  assert.equal(g.gpr(RAX), 0x11n);
});

/** A second address space: all as in the first but 0x600000, which is FREE + 0x1000 here. */
function secondSpace(g: SmallGuest, flags: bigint): number {
  g.map(0x60_0000, At.FREE, flags);
  g.write64(At.FREE, 1n);
  g.write64(At.FREE + 0x1000, 2n);
  const [pml4, pdpt, pd, pt] = [g.table(), g.table(), g.table(), g.table()];
  const copy = (from: number, to: number): void => g.write(to, g.read(from, 4096));
  const next = (entry: number): number => Number(g.read64(entry) & 0x3fff_ffff_f000n);
  copy(At.PML4, pml4);
  copy(next(At.PML4), pdpt);
  copy(next(next(At.PML4)), pd);
  copy(next(next(next(At.PML4)) + 3 * 8), pt);
  g.write64(pml4, BigInt(pdpt) | 7n);
  g.write64(pdpt, BigInt(pd) | 7n);
  g.write64(pd + 3 * 8, BigInt(pt) | 7n);
  g.write64(pt, BigInt(At.FREE + 0x1000) | flags | Pte.P);
  return pml4;
}

test("CR3: another address space at once; without PCIDs nothing of the old one stays", () => {
  const g = guest(
    code(`
      48 8b 03                        mov rax, [rbx]
      0f 20 d9                        mov rcx, cr3
      0f 22 da                        mov cr3, rdx
      48 8b 33                        mov rsi, [rbx]
      0f 22 d9                        mov cr3, rcx
      48 8b 3b                        mov rdi, [rbx]
      f4                              hlt
    `),
    0x60_0000,
  );
  g.regs.setGpr(2, BigInt(secondSpace(g, Pte.W)));
  g.run();
  assert.deepEqual([g.gpr(RAX), g.gpr(6), g.gpr(7)], [1n, 2n, 1n]);
});

test("PCIDs: translations of each are kept apart; CR3 without bit 63 drops those of the PCID", () => {
  const g = guest(
    code(`
      0f 20 d9                        mov rcx, cr3
      48 8b 03                        mov rax, [rbx]
      0f 22 da                        mov cr3, rdx
      48 8b 33                        mov rsi, [rbx]
      ; back, no flush: 1 again, and a change of the table may or may not be seen
      48 0f ba e9 3f                  bts rcx, 63
      0f 22 d9                        mov cr3, rcx
      48 8b 3b                        mov rdi, [rbx]
      ; the first space's entry now names the other frame; with the flush it must be seen
      4d 89 08                        mov [r8], r9
      48 0f ba f1 3f                  btr rcx, 63
      0f 22 d9                        mov cr3, rcx
      4c 8b 13                        mov r10, [rbx]
      f4                              hlt
    `),
    0x60_0000,
    { cr4: Cr4.PCIDE },
  );
  g.regs.setGpr(2, BigInt(secondSpace(g, Pte.W)) | 5n | (1n << 63n));
  const entry = g.entry(0x60_0000);
  g.regs.setGpr(8, BigInt(entry));
  g.regs.setGpr(9, BigInt(At.FREE + 0x1000) | Pte.W | Pte.P);
  g.run();
  assert.deepEqual([g.gpr(RAX), g.gpr(6), g.gpr(7), g.gpr(10)], [1n, 2n, 1n, 2n]);
});

test("more PCIDs than the engine has places for", () => {
  const g = guest(
    code(`
      0f 20 df                        mov rdi, cr3
      b9 18 00 00 00                  mov ecx, 24
    again:
      48 8d 14 0f                     lea rdx, [rdi + rcx]
      48 0f ba ea 3f                  bts rdx, 63
      0f 22 da                        mov cr3, rdx
      48 03 03                        add rax, [rbx]
      48 01 03                        add [rbx], rax
      e2 ec                           loop again
      f4                              hlt
    `),
    0x60_0000,
    { cr4: Cr4.PCIDE },
  );
  g.map(0x60_0000, At.FREE, Pte.W);
  g.write64(At.FREE, 1n);
  g.run();
  let [rax, memory] = [0n, 1n];
  for (let i = 0; i < 24; i++) {
    rax = BigInt.asUintN(64, rax + memory);
    memory = BigInt.asUintN(64, memory + rax);
  }
  assert.deepEqual([g.gpr(RAX), g.read64(At.FREE)], [rax, memory]);
});

test("INVPCID: each type makes a change visible; a bad type or PCID is #GP", () => {
  for (const type of [0n, 1n, 2n, 3n]) {
    const g = guest(
      code(`
        48 8b 03                        mov rax, [rbx]
        4d 89 08                        mov [r8], r9
        66 45 0f 38 82 13               invpcid r10, [r11]
        48 8b 33                        mov rsi, [rbx]
        f4                              hlt
      `),
      0x60_0000,
      { cr4: Cr4.PCIDE },
    );
    secondSpace(g, Pte.W);
    g.regs.setGpr(8, BigInt(g.entry(0x60_0000)));
    g.regs.setGpr(9, BigInt(At.FREE + 0x1000) | Pte.W | Pte.P);
    g.regs.setGpr(10, type);
    g.regs.setGpr(11, BigInt(At.DATA));
    g.write64(At.DATA + 8, 0x60_0000n);
    g.run();
    assert.deepEqual([g.gpr(RAX), g.gpr(6)], [1n, 2n], `type ${type}`);
  }
  for (const [type, pcid] of [
    [4n, 0n],
    [0n, 0x1000n],
  ] as const) {
    const g = guest(
      code(`
        66 45 0f 38 82 13               invpcid r10, [r11]
        f4                              hlt
    `),
      0,
    );
    g.regs.setGpr(10, type);
    g.regs.setGpr(11, BigInt(At.DATA));
    g.write64(At.DATA, pcid);
    assert.deepEqual([g.run().vector, g.stop().errorCode], [13, 0n]);
  }
});

test("global pages survive a CR3 switch or not, but a change is seen after INVLPG and after CR4.PGE toggles", () => {
  for (const invalidate of [
    code(`
      0f 01 3b                        invlpg [rbx]
      c3                              ret
    `),
    code(`
      0f 20 e1                        mov rcx, cr4
      48 0f ba f9 07                  btc rcx, 7
      0f 22 e1                        mov cr4, rcx
      48 0f ba f9 07                  btc rcx, 7
      0f 22 e1                        mov cr4, rcx
      c3                              ret
    `),
  ]) {
    const g = guest(
      code(`
        48 8b 03                        mov rax, [rbx]
        4d 89 08                        mov [r8], r9
        0f 20 d9                        mov rcx, cr3
        0f 22 d9                        mov cr3, rcx
        41 ff d4                        call r12
        48 8b 33                        mov rsi, [rbx]
        f4                              hlt
      `),
      0x60_0000,
    );
    secondSpace(g, Pte.W | Pte.G);
    g.write(0x2_0000, invalidate.bytes);
    g.regs.setGpr(12, 0x2_0000n);
    g.regs.setGpr(8, BigInt(g.entry(0x60_0000)));
    g.regs.setGpr(9, BigInt(At.FREE + 0x1000) | Pte.W | Pte.P | Pte.G);
    g.run();
    assert.deepEqual([g.gpr(RAX), g.gpr(6)], [1n, 2n]);
  }
});
