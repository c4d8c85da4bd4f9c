/* Interrupts, NMIs, timers, HLT, and how much run() does before it comes back. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hostNanos } from "../../src/engine/clock.ts";
import { Attention } from "../../src/engine/engine.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

const [RAX, RCX] = [0, 1];
const VECTOR = 0x40;
const HANDLER = 0x2_0000;
/** Counts in R15, ends the interrupt, goes back. */
const COUNT = code(`
  49 ff c7                        inc r15
  4c 8b 34 24                     mov r14, [rsp]
  51                              push rcx
  50                              push rax
  52                              push rdx
  31 c0                           xor eax, eax
  31 d2                           xor edx, edx
  b9 0b 08 00 00                  mov ecx, 0x80b
  0f 30                           wrmsr
  5a                              pop rdx
  58                              pop rax
  59                              pop rcx
  48 cf                           iretq
`);
/** Writes EAX to MSR ECX with EDX = 0. */
function guest(program: Listing, { counting = true } = {}): SmallGuest {
  const g = new SmallGuest();
  g.load(program);
  if (counting) {
    g.write(HANDLER, COUNT.bytes);
    g.gate(VECTOR, { offset: BigInt(HANDLER) });
    g.gate(0x50, { offset: BigInt(HANDLER) });
  }
  return g;
}
const apic = (g: SmallGuest) => g.devices.localApics.apics[0]!;
const count = (g: SmallGuest): number => Number(g.gpr(15));
/** Where the last counted interrupt came. */
const cameAt = (g: SmallGuest): number => Number(g.gpr(14)) - At.CODE;

describe("interrupts", () => {
  test("one that waits comes after the instruction that follows STI", () => {
    const program = code(`
        fa                              cli
        90                              nop
        fb                              sti
        90                              nop
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const g = guest(program);
    apic(g).raise(VECTOR, false);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
  });

  test("STI; CLI lets nothing in", () => {
    const g = guest(code(`
        fb                              sti
        fa                              cli
        90                              nop
        f4                              hlt
    `));
    apic(g).raise(VECTOR, false);
    g.run();
    assert.equal(count(g), 0);
  });

  test("STI with interrupts on already has no shadow", () => {
    const program = code(`
        fb                              sti
        90                              nop
        b8 40 00 00 00                  mov eax, 0x40
        31 d2                           xor edx, edx
        b9 3f 08 00 00                  mov ecx, 0x83f
        0f 30                           wrmsr
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const g = guest(program);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")], "a self-IPI comes after the WRMSR that sends it");
  });

  test("STI; HLT sleeps with interrupts on; the interrupt returns after the HLT", () => {
    const program = code(`
        fb                              sti
        f4                              hlt
      after:
        fa                              cli
        ff c3                           inc ebx
        f4                              hlt
    `);
    const g = guest(program);
    const first = g.run();
    assert.deepEqual([first.rip - At.CODE, g.gpr(3)], [program.at("after"), 0n]);
    assert.equal(g.exit().kind, "halted", "it sleeps on");
    apic(g).raise(VECTOR, false);
    assert.equal(g.exit().kind, "halted");
    assert.deepEqual([count(g), cameAt(g), g.gpr(3)], [1, program.at("after"), 1n]);
  });

  test("an interrupt that waits at STI; HLT wakes at once", () => {
    const program = code(`
        fb                              sti
        f4                              hlt
      after:
        fa                              cli
        ff c3                           inc ebx
        f4                              hlt
    `);
    const g = guest(program);
    apic(g).raise(VECTOR, false);
    g.run();
    for (let i = 0; i < 3 && g.gpr(3) === 0n; i++) g.exit();
    assert.deepEqual([count(g), cameAt(g), g.gpr(3)], [1, program.at("after"), 1n]);
  });

  test("HLT with interrupts off sleeps through one", () => {
    const g = guest(code(`
        f4                              hlt
        ff c3                           inc ebx
        f4                              hlt
    `));
    g.run();
    apic(g).raise(VECTOR, false);
    assert.deepEqual([g.exit().kind, g.exit().kind, g.gpr(3), count(g)], ["halted", "halted", 0n, 0]);
  });

  test("POPF and IRET that set IF open at once, without a shadow", () => {
    const popf = code(`
        68 02 02 00 00                  push 0x202
        9d                              popfq
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const iret = code(`
        6a 18                           push 0x18
        68 00 00 04 00                  push 0x40000
        68 02 02 00 00                  push 0x202
        6a 10                           push 0x10
        48 8d 05 03 00 00 00            lea rax, [rip + here]
        50                              push rax
        48 cf                           iretq
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    for (const program of [popf, iret]) {
      const g = guest(program);
      apic(g).raise(VECTOR, false);
      g.run();
      assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
    }
  });

  test("MOV SS holds one off for one instruction", () => {
    const program = code(`
        fb                              sti
        90                              nop
        b9 18 00 00 00                  mov ecx, 0x18
      load:
        8e d1                           mov ss, ecx
        90                              nop
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const g = guest(program);
    while (Number(g.regs.get64(Reg.RIP)) !== At.CODE + program.at("load") + 2) g.exit(1), stepping(g);
    apic(g).raise(VECTOR, false);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
  });

  test("user code is interrupted; IF does not matter to it, the stack is RSP0", () => {
    const g = guest(code(`
        90                              nop
    `), { counting: false });
    g.loadUser(code(`
      again:
        48 ff c3                        inc rbx
        eb fb                           jmp again
    `));
    assert.equal(g.exit(5000).kind, "budget");
    apic(g).raise(VECTOR, false);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.cs, g.gpr(4)], [VECTOR, 0x33, BigInt(At.RSP0 - 40)]);
  });

  test("priorities: the task priority holds lower ones back, the EOI lets the next in", () => {
    const program = code(`
        b8 05 00 00 00                  mov eax, 5
        44 0f 22 c0                     mov cr8, rax
        fb                              sti
        90                              nop
        90                              nop
        4c 89 fb                        mov rbx, r15
        31 c0                           xor eax, eax
        44 0f 22 c0                     mov cr8, rax
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const g = guest(program);
    apic(g).raise(VECTOR, false);
    apic(g).raise(0x50, false);
    g.run();
    assert.deepEqual([g.gpr(3), count(g), cameAt(g)], [0n, 2, program.at("here")]);
    assert.deepEqual([apic(g).readMsr(0x808), apic(g).readMsr(0x822)], [0n, 0n], "TPR; nothing requested");
  });

  test("a higher interrupt comes into a handler that has set IF, a lower one waits for its EOI", () => {
    const g = guest(code(`
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `));
    // the handler of 0x50 lets interrupts in, and sends 0x40 and 0x60 to itself
    g.write(0x2_1000, code(`
        fb                              sti
        50                              push rax
        51                              push rcx
        52                              push rdx
        31 d2                           xor edx, edx
        b9 3f 08 00 00                  mov ecx, 0x83f
        b8 40 00 00 00                  mov eax, 0x40
        0f 30                           wrmsr
        4d 89 fc                        mov r12, r15
        b8 60 00 00 00                  mov eax, 0x60
        0f 30                           wrmsr
        90                              nop
        4d 89 fd                        mov r13, r15
        fa                              cli
        31 c0                           xor eax, eax
        b9 0b 08 00 00                  mov ecx, 0x80b
        0f 30                           wrmsr
        5a                              pop rdx
        59                              pop rcx
        58                              pop rax
        48 cf                           iretq
    `).bytes);
    g.gate(0x50, { offset: 0x2_1000n });
    g.gate(0x60, { offset: BigInt(HANDLER) });
    apic(g).raise(0x50, false);
    g.run();
    assert.deepEqual([g.gpr(12), g.gpr(13), count(g)], [0n, 1n, 2]);
  });

  test("an external interrupt's fault on delivery: EXT is set in the error code", () => {
    const g = guest(code(`
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `), { counting: false });
    g.gate(VECTOR, { present: false });
    apic(g).raise(VECTOR, false);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode], [11, BigInt(VECTOR * 8 + 3)]);
  });
});

/** Lets the vCPU go on after a run() of a few instructions. */
function stepping(g: SmallGuest): void {
  assert.ok(g.retired < 1000, "the guest ran past the place");
}

describe("NMI", () => {
  const program = code(`
      90                              nop
      f4                              hlt
    after:
      ff c3                           inc ebx
      f4                              hlt
  `);
  test("wakes HLT with interrupts off", () => {
    const g = guest(program);
    g.run();
    apic(g).raiseNmi();
    assert.equal(g.exit().kind, "halted");
    const stop = g.stop();
    assert.deepEqual([stop.vector, stop.rip - At.CODE, g.regs.get32(Reg.NMI_BLOCKED)], [2, program.at("after"), 1]);
  });

  test("a second one waits for the IRET of the first, then comes at once", () => {
    const g = guest(program);
    apic(g).raiseNmi();
    assert.deepEqual([g.run().vector, g.stop().rip - At.CODE], [2, 0]);
    apic(g).raiseNmi();
    apic(g).raiseNmi();
    assert.equal(g.exit().kind, "halted", "the handler's HLT goes on");
    assert.equal(g.gpr(3), 0n);
    const second = g.run(); // past the handler's HLT, IRET
    assert.deepEqual([second.vector, second.rip - At.CODE, g.retired], [2, 0, 3]);
    const end = g.run();
    assert.deepEqual([end.vector, end.rip - At.CODE], [undefined, program.at("after")], "the third was one with the second");
  });

  test("sent by ICR to itself, in the middle of user code", () => {
    const g = new SmallGuest();
    g.gate(2, { ist: 1 });
    g.loadUser(code(`
      again:
        48 ff c3                        inc rbx
        eb fb                           jmp again
    `));
    assert.equal(g.exit(3000).kind, "budget");
    apic(g).writeMsr(0x830, 0x4_0400n);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.cs, g.gpr(4)], [2, 0x33, BigInt(At.IST1 - 40)]);
  });

  test("comes before an interrupt, and the interrupt after it", () => {
    const g = guest(code(`
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `));
    apic(g).raiseNmi();
    apic(g).raise(VECTOR, false);
    assert.equal(g.run().vector, 2);
    assert.equal(count(g), 0);
    g.run();
    assert.equal(count(g), 1);
  });
});

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
    const g = guest(code(`
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
    `));
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
    const g = guest(program);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
  });

  test("a timer comes into a loop that never halts", () => {
    const g = guest(code(`
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
    `));
    runUntil(g, () => count(g) === 1);
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
    const periodic = guest(program);
    periodic.regs.setGpr(5, 0x2_0040n);
    periodic.regs.setGpr(3, 5n);
    runUntil(periodic, () => count(periodic) === 5);
    periodic.exit();
    assert.equal(periodic.regs.view.getBigInt64(Reg.DEADLINE, true), -1n);
    const once = guest(program);
    once.regs.setGpr(5, 0x40n);
    once.regs.setGpr(3, 2n);
    runUntil(once, () => count(once) === 1);
    assert.equal(once.exit().kind, "halted");
    assert.deepEqual([once.regs.view.getBigInt64(Reg.DEADLINE, true), count(once)], [-1n, 1]);
  });

  test("a masked timer passes silently", () => {
    const g = guest(code(`
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
    `));
    g.run();
    assert.equal(count(g), 0);
  });
});

describe("run()", () => {
  const LOOP = code(`
    again:
      48 83 c0 01                     add rax, 1
      48 ff c9                        dec rcx
      75 f7                           jnz again
      f4                              hlt
  `);
  test("stops near its budget, exactly at an instruction, and goes on", () => {
    const g = guest(LOOP);
    g.regs.setGpr(RCX, 1_000_000n);
    for (const budget of [1, 2, 3, 10, 1000, 20_000, 20_001, 77_777]) {
      const before = g.retired;
      assert.equal(g.exit(budget).kind, "budget");
      const done = g.retired - before;
      assert.ok(done >= budget && done < budget + 64, `${done} instructions for ${budget}`);
      const [rounds, place] = [Math.floor(g.retired / 3), g.retired % 3];
      assert.deepEqual([g.gpr(RAX), Number(g.regs.get64(Reg.RIP)) - At.CODE], [BigInt(rounds + (place > 0 ? 1 : 0)), [0, 4, 7][place]]);
    }
  });

  test("counts every instruction once: a million rounds", () => {
    const g = guest(LOOP);
    g.regs.setGpr(RCX, 100_000n);
    g.run();
    assert.equal(g.retired, 300_001);
  });

  test("counts blocks that go over pages, calls, and faults", () => {
    const g = guest(code(`
        b9 e8 03 00 00                  mov ecx, 1000
      again:
        ff d3                           call rbx
        cd 41                           int 0x41
        e2 fa                           loop again
        f4                              hlt
    `));
    g.regs.setGpr(3, BigInt(At.DATA + 4090));
    g.gate(0x41, { offset: BigInt(HANDLER + 0x100) });
    g.write(HANDLER + 0x100, [0x48, 0xcf]); // iretq
    g.write(At.DATA + 4090, [0x90, 0x90, 0x90, 0x90, 0x90, 0x48, 0xff, 0xc0, 0xc3]); // five NOPs, inc rax, ret
    g.run();
    assert.deepEqual([g.gpr(RAX), g.retired], [1000n, 1 + 1000 * (1 + 7 + 2 + 1) + 1]);
  });

  test("comes out when another thread asks, and after that goes on", () => {
    const g = guest(code(`
      again:
        eb fe                           jmp again
    `));
    const words = new Int32Array(g.engine.state.buffer);
    Atomics.store(words, (g.vcpu.address + Reg.ATTENTION) >> 2, Attention.COME_OUT);
    assert.equal(g.exit().kind, "attention");
    assert.equal(g.exit(1000).kind, "budget");
  });

  test("flags survive coming out and going on", () => {
    const g = guest(code(`
        b8 ff ff ff 7f                  mov eax, 0x7fffffff
        83 c0 01                        add eax, 1
        f4                              hlt
        71 06                           jno bad
        79 04                           jns bad
        72 02                           jc bad
        9c                              pushfq
        5b                              pop rbx
      bad:
        f4                              hlt
    `));
    g.run();
    g.run();
    assert.equal(Number(g.gpr(3)) & Rflags.OSZAPC, Rflags.OF | Rflags.SF | Rflags.PF | Rflags.AF);
  });
});
