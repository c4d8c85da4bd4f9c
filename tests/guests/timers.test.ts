/* The local APIC's timer: TSC deadline, one-shot, periodic. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hostNanos } from "../../src/engine/clock.ts";
import { Reg } from "../../src/isa/registers.ts";
import { cameAt, count, countingGuest, HANDLER, VECTOR } from "./counting-guest.ts";
import { code } from "./listing.ts";
import { Pte, SmallGuest } from "./small-guest.ts";

const RAX = 0;

describe("timers", () => {
  /** Runs as an executor does: sleeps through HLT until the deadline. */
  function runUntil(g: SmallGuest, done: () => boolean): void {
    for (let i = 0; i < 100_000 && !done(); i++) {
      if (g.exit(100_000).kind !== "halted") continue;
      const deadline = Number(g.regs.view.getBigInt64(Reg.DEADLINE, true));
      if (deadline >= 0) while (hostNanos() < deadline);
    }
    assert.ok(done(), "the timer never came");
  }

  test("TSC deadline wakes HLT, once", () => {
    const g = countingGuest(
      code(`
        b9 32 08 00 00                  mov ecx, 0x832
        b8 40 00 04 00                  mov eax, 0x40040
        31 d2                           xor edx, edx
        0f 30                           wrmsr
        0f 31                           rdtsc
        48 c1 e2 20                     shl rdx, 32
        48 01 d0                        add rax, rdx
        48 05 e0 93 04 00               add rax, 300000
        48 89 c3                        mov rbx, rax
        48 89 c2                        mov rdx, rax
        48 c1 ea 20                     shr rdx, 32
        b9 e0 06 00 00                  mov ecx, 0x6e0
        0f 30                           wrmsr
        fb                              sti
        f4                              hlt
        fa                              cli
        0f 31                           rdtsc
        48 c1 e2 20                     shl rdx, 32
        48 8d 34 10                     lea rsi, [rax + rdx]
        b9 e0 06 00 00                  mov ecx, 0x6e0
        0f 32                           rdmsr
        ff c7                           inc edi
        f4                              hlt
    `),
    );
    runUntil(g, () => g.gpr(7) === 1n);
    assert.equal(count(g), 1);
    assert.ok(g.gpr(6) >= g.gpr(3), "not before its time");
    assert.deepEqual([g.gpr(RAX), g.regs.view.getBigInt64(Reg.DEADLINE, true)], [0n, -1n], "disarmed");
  });

  test("a deadline that has passed comes at once", () => {
    const program = code(`
        b9 32 08 00 00                  mov ecx, 0x832
        b8 40 00 04 00                  mov eax, 0x40040
        31 d2                           xor edx, edx
        0f 30                           wrmsr
        fb                              sti
        90                              nop
        b8 01 00 00 00                  mov eax, 1
        b9 e0 06 00 00                  mov ecx, 0x6e0
        0f 30                           wrmsr
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const g = countingGuest(program);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
  });

  test("a timer comes into a loop that never halts", () => {
    const g = countingGuest(
      code(`
        b9 32 08 00 00                  mov ecx, 0x832
        b8 40 00 00 00                  mov eax, 0x40
        31 d2                           xor edx, edx
        0f 30                           wrmsr
        b9 38 08 00 00                  mov ecx, 0x838
        b8 a0 86 01 00                  mov eax, 100000
        0f 30                           wrmsr
        fb                              sti
      again:
        4d 85 ff                        test r15, r15
        74 fb                           jz again
        fa                              cli
        f4                              hlt
    `),
    );
    runUntil(g, () => count(g) === 1);
  });

  test("a timer comes into a REP STOSB of 256 MiB, and it goes on", () => {
    const g = countingGuest(
      code(`
        b9 32 08 00 00                  mov ecx, 0x832
        b8 40 00 00 00                  mov eax, 0x40
        31 d2                           xor edx, edx
        0f 30                           wrmsr
        b9 38 08 00 00                  mov ecx, 0x838
        b8 20 4e 00 00                  mov eax, 20000
        0f 30                           wrmsr
        fb                              sti
        48 c7 c7 00 00 00 40            mov rdi, 0x40000000
        b9 00 00 00 10                  mov ecx, 0x10000000
        b0 5a                           mov al, 0x5a
        f3 aa                           rep stosb
        fa                              cli
        f4                              hlt
      `),
    );
    // the same 2 MiB, 128 times
    for (let i = 0; i < 128; i++) g.map(0x4000_0000 + i * 0x20_0000, 0x20_0000, Pte.W, 2);
    g.write(HANDLER - 1, [0xf4]);
    g.gate(VECTOR, { offset: BigInt(HANDLER - 1) }); // HLT before it counts
    runUntil(g, () => g.regs.get64(Reg.RIP) === BigInt(HANDLER));
    const left = g.gpr(1);
    g.regs.set32(Reg.RUN_STATE, 0);
    runUntil(g, () => count(g) === 1 && g.gpr(1) === 0n);
    assert.ok(left > 0n, "it came in the middle");
    assert.equal(g.gpr(7), 0x5000_0000n);
    assert.deepEqual([g.read64(0x20_0000), g.read64(0x3f_fff8)], [0x5a5a_5a5a_5a5a_5a5an, 0x5a5a_5a5a_5a5a_5a5an]);
  });

  test("one-shot comes once, periodic again and again, until the count is set to 0", () => {
    const program = code(`
        b9 32 08 00 00                  mov ecx, 0x832
        89 e8                           mov eax, ebp
        31 d2                           xor edx, edx
        0f 30                           wrmsr
        b9 38 08 00 00                  mov ecx, 0x838
        b8 60 ea 00 00                  mov eax, 60000
        0f 30                           wrmsr
      again:
        fb                              sti
        f4                              hlt
        fa                              cli
        49 39 df                        cmp r15, rbx
        72 f8                           jb again
        31 c0                           xor eax, eax
        0f 30                           wrmsr
        f4                              hlt
    `);
    const periodic = countingGuest(program);
    periodic.regs.setGpr(5, 0x2_0040n);
    periodic.regs.setGpr(3, 5n);
    runUntil(periodic, () => count(periodic) >= 5); // on a busy host another may be on its way
    periodic.exit();
    assert.equal(periodic.regs.view.getBigInt64(Reg.DEADLINE, true), -1n);
    const once = countingGuest(program);
    once.regs.setGpr(5, 0x40n);
    once.regs.setGpr(3, 2n);
    runUntil(once, () => count(once) === 1);
    assert.equal(once.exit().kind, "halted");
    assert.deepEqual([once.regs.view.getBigInt64(Reg.DEADLINE, true), count(once)], [-1n, 1]);
  });

  test("a masked timer passes silently", () => {
    const g = countingGuest(
      code(`
        b9 32 08 00 00                  mov ecx, 0x832
        b8 40 00 05 00                  mov eax, 0x50040
        31 d2                           xor edx, edx
        0f 30                           wrmsr
        b8 01 00 00 00                  mov eax, 1
        b9 e0 06 00 00                  mov ecx, 0x6e0
        0f 30                           wrmsr
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `),
    );
    g.run();
    assert.equal(count(g), 0);
  });
});

test("RDTSC and RDTSCP: halves in EDX:EAX, TSC_AUX in ECX, never back; CR4.TSD keeps them from user code", () => {
  const program = code(`
    0f 31                           rdtsc
    48 89 c3                        mov rbx, rax
    48 89 d6                        mov rsi, rdx
    0f 01 f9                        rdtscp
    f4                              hlt
  `);
  const g = new SmallGuest();
  g.load(program);
  g.regs.set64(Reg.TSC_AUX, 0x1_0000_0009n);
  g.regs.set64(Reg.TSC_OFFSET, BigInt.asUintN(64, 0x7000_0000_0000_0000n));
  for (const register of [RAX, 1, 2]) g.regs.setGpr(register, -1n);
  g.run();
  const [first, second] = [
    [6, 3],
    [2, RAX],
  ].map(([high, low]) => (g.gpr(high!) << 32n) | g.gpr(low!));
  assert.ok(g.gpr(RAX) < 1n << 32n && second! >= first! && second! - first! < 10_000_000_000n);
  assert.equal(second! >> 56n, 0x70n);
  assert.equal(g.gpr(1), 9n);

  for (const [cr4, vector] of [
    [0n, 13], // the HLT
    [4n, 13],
  ] as const) {
    const user = new SmallGuest({ cr4 });
    user.regs.setGpr(RAX, 0x55n);
    user.loadUser(program);
    assert.equal(user.run().vector, vector);
    assert.equal(user.gpr(RAX) === 0x55n, cr4 !== 0n, "as it was");
  }
});
