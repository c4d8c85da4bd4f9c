/* Interrupts, NMIs and HLT. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg } from "../../src/isa/registers.ts";
import { apic, cameAt, count, countingGuest, HANDLER, VECTOR } from "./counting-guest.ts";
import { code } from "./listing.ts";
import { At, SmallGuest } from "./small-guest.ts";

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
    const g = countingGuest(program);
    apic(g).raise(VECTOR, false);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
  });

  test("STI; CLI lets nothing in", () => {
    const g = countingGuest(
      code(`
        fb                              sti
        fa                              cli
        90                              nop
        f4                              hlt
    `),
    );
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
    const g = countingGuest(program);
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
    const g = countingGuest(program);
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
    const g = countingGuest(program);
    apic(g).raise(VECTOR, false);
    g.run();
    for (let i = 0; i < 3 && g.gpr(3) === 0n; i++) g.exit();
    assert.deepEqual([count(g), cameAt(g), g.gpr(3)], [1, program.at("after"), 1n]);
  });

  test("HLT with interrupts off sleeps through one", () => {
    const g = countingGuest(
      code(`
        f4                              hlt
        ff c3                           inc ebx
        f4                              hlt
    `),
    );
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
      const g = countingGuest(program);
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
        f4                              hlt
        90                              nop
      load:
        8e d1                           mov ss, ecx
        90                              nop
      here:
        90                              nop
        fa                              cli
        f4                              hlt
    `);
    const g = countingGuest(program);
    g.run();
    g.regs.set32(Reg.RUN_STATE, 0);
    g.exit(1); // NOP and MOV SS: more than one instruction
    assert.equal(Number(g.regs.get64(Reg.RIP)), At.CODE + program.at("load") + 2);
    apic(g).raise(VECTOR, false);
    g.run();
    assert.deepEqual([count(g), cameAt(g)], [1, program.at("here")]);
  });

  test("user code is interrupted; IF does not matter to it, the stack is RSP0", () => {
    const g = countingGuest(
      code(`
        90                              nop
    `),
      { counting: false },
    );
    g.loadUser(
      code(`
      again:
        48 ff c3                        inc rbx
        eb fb                           jmp again
    `),
    );
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
    const g = countingGuest(program);
    apic(g).raise(VECTOR, false);
    apic(g).raise(0x50, false);
    g.run();
    assert.deepEqual([g.gpr(3), count(g), cameAt(g)], [0n, 2, program.at("here")]);
    assert.deepEqual([apic(g).readMsr(0x808), apic(g).readMsr(0x822)], [0n, 0n], "TPR; nothing requested");
  });

  test("a higher interrupt comes into a handler that has set IF, a lower one waits for its EOI", () => {
    const g = countingGuest(
      code(`
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `),
    );
    // the handler of 0x50 lets interrupts in, and sends 0x40 and 0x60 to itself
    g.write(
      0x2_1000,
      code(`
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
    `).bytes,
    );
    g.gate(0x50, { offset: 0x2_1000n });
    g.gate(0x60, { offset: BigInt(HANDLER) });
    apic(g).raise(0x50, false);
    g.run();
    assert.deepEqual([g.gpr(12), g.gpr(13), count(g)], [0n, 1n, 2]);
  });

  test("an external interrupt's fault on delivery: EXT is set in the error code", () => {
    const g = countingGuest(
      code(`
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `),
      { counting: false },
    );
    g.gate(VECTOR, { present: false });
    apic(g).raise(VECTOR, false);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode], [11, BigInt(VECTOR * 8 + 3)]);
  });
});

describe("NMI", () => {
  const program = code(`
      90                              nop
      f4                              hlt
    after:
      ff c3                           inc ebx
      f4                              hlt
  `);
  test("wakes HLT with interrupts off", () => {
    const g = countingGuest(program);
    g.run();
    apic(g).raiseNmi();
    assert.equal(g.exit().kind, "halted");
    const stop = g.stop();
    assert.deepEqual([stop.vector, stop.rip - At.CODE, g.regs.get32(Reg.NMI_BLOCKED)], [2, program.at("after"), 1]);
  });

  test("a second one waits for the IRET of the first, then comes at once", () => {
    const g = countingGuest(program);
    apic(g).raiseNmi();
    assert.deepEqual([g.run().vector, g.stop().rip - At.CODE], [2, 0]);
    apic(g).raiseNmi();
    apic(g).raiseNmi();
    assert.equal(g.exit().kind, "halted", "the handler's HLT goes on");
    assert.equal(g.gpr(3), 0n);
    const second = g.run(); // past the handler's HLT, IRET
    assert.deepEqual([second.vector, second.rip - At.CODE, g.retired], [2, 0, 3]);
    const end = g.run();
    assert.deepEqual(
      [end.vector, end.rip - At.CODE],
      [undefined, program.at("after")],
      "the third was one with the second",
    );
  });

  test("sent by ICR to itself, in the middle of user code", () => {
    const g = new SmallGuest();
    g.gate(2, { ist: 1 });
    g.loadUser(
      code(`
      again:
        48 ff c3                        inc rbx
        eb fb                           jmp again
    `),
    );
    assert.equal(g.exit(3000).kind, "budget");
    apic(g).writeMsr(0x830, 0x4_0400n);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.cs, g.gpr(4)], [2, 0x33, BigInt(At.IST1 - 40)]);
  });

  test("comes before an interrupt, and the interrupt after it", () => {
    const g = countingGuest(
      code(`
        fb                              sti
        90                              nop
        90                              nop
        fa                              cli
        f4                              hlt
    `),
    );
    apic(g).raiseNmi();
    apic(g).raise(VECTOR, false);
    assert.equal(g.run().vector, 2);
    assert.equal(count(g), 0);
    g.run();
    assert.equal(count(g), 1);
  });
});
