/* Single-step and the debug registers. A #DB's cause is in DR6: B0–B3 1, 2, 4, 8, BD 0x2000, BS 0x4000. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, Pte, SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7];
const BS = 0x4000;
const KERNEL = 0x2_0000;
/** Cause bits of DR6, which then are cleared as a handler would. */
function cause(g: SmallGuest): number {
  const dr6 = g.regs.get32(Reg.DR + 48);
  g.regs.set32(Reg.DR + 48, 0xffff_0ff0);
  assert.equal(dr6 & 0xffff_1ff0 & ~0xe000, 0xffff_0ff0 & ~0xe000, "fixed bits");
  return dr6 & 0xe00f;
}
function guest(program: Listing, rflags = 2): SmallGuest {
  const g = new SmallGuest();
  g.load(program);
  g.regs.rflags = rflags;
  return g;
}
/** Offsets at which single-step traps come, until another stop. @param mayClear the "handler" leaves TF as the frame has it */
function steps(
  g: SmallGuest,
  base: number = At.CODE,
  limit = 100,
): { offsets: number[]; end: ReturnType<SmallGuest["run"]> } {
  const offsets: number[] = [];
  for (let i = 0; i < limit; i++) {
    const stop = g.run();
    if (stop.vector !== 1) return { offsets, end: stop };
    assert.equal(cause(g), BS);
    assert.equal(g.regs.rflags & Rflags.TF, 0, "off in the handler");
    offsets.push(stop.rip - base);
  }
  throw new Error("the steps do not end");
}
/** TF is cleared in the frame on the stack. */
function stopStepping(g: SmallGuest): void {
  const sp = Number(g.gpr(4));
  g.write64(sp + 16, g.read64(sp + 16) & ~BigInt(Rflags.TF));
}

describe("single-step", () => {
  test("after each instruction, jumps included", () => {
    const program = code(`
        b8 01 00 00 00                  mov eax, 1
        eb 02                           jmp skip
        0f 0b                           ud2
      skip:
        e8 04 00 00 00                  call sub
      back:
        6a 02                           push 2
        9d                              popfq
      last:
        f4                              hlt
      sub:
        c3                              ret
    `);
    const g = guest(program, Rflags.TF | 2);
    const { offsets, end } = steps(g);
    assert.deepEqual(offsets, [
      5,
      program.at("skip"),
      program.at("sub"),
      program.at("back"),
      program.at("back") + 2,
      program.at("last"),
    ]);
    assert.equal(end.vector, undefined, "POPF that clears TF is the last to trap");
  });

  test("the instruction that sets TF does not trap yet", () => {
    for (const program of [
      code(`
        68 02 01 00 00                  push 0x102
        9d                              popfq
      first:
        90                              nop
      second:
        f4                              hlt
      `),
      code(`
        6a 18                           push 0x18
        68 00 00 04 00                  push 0x40000
        68 02 01 00 00                  push 0x102
        6a 10                           push 0x10
        48 8d 05 03 00 00 00            lea rax, [rip + first]
        50                              push rax
        48 cf                           iretq
      first:
        90                              nop
      second:
        f4                              hlt
      `),
    ]) {
      const g = guest(program);
      const stop = g.run();
      assert.deepEqual([stop.vector, stop.rip - At.CODE, cause(g)], [1, program.at("second"), BS]);
    }
  });

  test("REP: after each element", () => {
    const program = code(`
        f3 aa                           rep stosb
        f4                              hlt
    `);
    const g = guest(program, Rflags.TF | 2);
    g.regs.setGpr(RCX, 40n);
    g.regs.setGpr(RDI, BigInt(At.DATA));
    for (let left = 39n; left >= 0n; left--) {
      const stop = g.run();
      assert.deepEqual([stop.vector, stop.rip - At.CODE, g.gpr(RCX), cause(g)], [1, left === 0n ? 2 : 0, left, BS]);
    }
  });

  test("an instruction that faults does not trap; it does when it has run", () => {
    const program = code(`
        90                              nop
      fault:
        8b 04 25 00 00 70 00            mov eax, [0x700000]
      next:
        f4                              hlt
    `);
    const g = guest(program, Rflags.TF | 2);
    const { offsets, end } = steps(g);
    assert.deepEqual([offsets, end.vector, end.rip - At.CODE], [[program.at("fault")], 14, program.at("fault")]);
    assert.ok(end.rflags & Rflags.TF, "in the frame");
    g.map(0x70_0000, At.FREE, Pte.W);
    assert.deepEqual([g.run().vector, g.stop().rip - At.CODE], [1, program.at("next")]);
  });

  test("INT n clears TF: the handler is not stepped, and no trap follows the INT", () => {
    const program = code(`
        cd 80                           int 0x80
      next:
        90                              nop
      after:
        f4                              hlt
    `);
    const g = guest(program, Rflags.TF | 2);
    g.gate(0x80, { offset: BigInt(KERNEL) });
    g.write(KERNEL, [0x90, 0x48, 0xcf]); // nop; iretq
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rip - At.CODE, cause(g)], [1, program.at("after"), BS]);
  });

  test("SYSCALL traps at the kernel's entry only if SFMASK leaves TF; SYSRET that brings TF back traps at once", () => {
    for (const masked of [true, false]) {
      const g = new SmallGuest();
      const kernel = code(`
        90                              nop
        48 0f 07                        sysretq
      `);
      const user = code(`
        0f 05                           syscall
      back:
        90                              nop
      after:
        0f 0b                           ud2
      `);
      g.write(KERNEL, kernel.bytes);
      g.regs.set64(Reg.LSTAR, BigInt(KERNEL));
      g.regs.set64(Reg.SFMASK, BigInt(masked ? Rflags.TF : 0));
      g.gate(1, { ist: 1 });
      g.loadUser(user, Rflags.TF | 2);
      const places: number[] = [];
      for (let stop = g.run(); stop.vector === 1; stop = g.run()) {
        assert.equal(cause(g), BS);
        places.push(stop.rip);
      }
      const inKernel = masked ? [] : [KERNEL, KERNEL + 1];
      assert.deepEqual(places, [...inKernel, At.USER + user.at("back"), At.USER + user.at("after")]);
    }
  });

  test("MOV SS delays the trap to the next instruction's", () => {
    const program = code(`
        b9 18 00 00 00                  mov ecx, 0x18
      load:
        8e d1                           mov ss, ecx
        90                              nop
      here:
        f4                              hlt
    `);
    const g = guest(program, Rflags.TF | 2);
    const { offsets } = (stopAfter(g, 2), { offsets: stops });
    assert.deepEqual(offsets, [program.at("load"), program.at("here")]);
  });

  test("HLT traps instead of sleeping", () => {
    const program = code(`
        f4                              hlt
      after:
        90                              nop
    `);
    const g = guest(program, Rflags.TF | 2);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rip - At.CODE, cause(g)], [1, program.at("after"), BS]);
  });

  test("an interrupt waits for the trap, and is not stepped", () => {
    const program = code(`
        fb                              sti
      here:
        90                              nop
        90                              nop
        f4                              hlt
    `);
    const g = guest(program, Rflags.TF | 2);
    g.devices.localApics.apics[0]!.raise(0x40, false);
    const order: (number | undefined)[] = [];
    for (let i = 0; i < 2; i++) order.push(g.run().vector);
    assert.deepEqual(order, [1, 0x40], "after STI, and after the trap handler's IRET");
    assert.equal(g.stop().rip - At.CODE, program.at("here"));
  });

  test("user code is stepped; the kernel's handler sees CS and RIP of the user", () => {
    const g = new SmallGuest();
    g.loadUser(
      code(`
        90                              nop
        90                              nop
        0f 0b                           ud2
    `),
      Rflags.TF | 2,
    );
    const { offsets, end } = steps(g, At.USER);
    assert.deepEqual([offsets, end.vector], [[1, 2], 6]);
  });

  let stops: number[] = [];
  function stopAfter(g: SmallGuest, n: number): void {
    stops = Array.from({ length: n }, () => {
      const stop = g.run();
      assert.equal(stop.vector, 1);
      return stop.rip - At.CODE;
    });
  }
});

/** DR7 with breakpoint n enabled. @param kind 0 execute, 1 write, 3 read and write  @param length field: 0 1 byte, 1 2 bytes, 3 4 bytes, 2 8 bytes */
const enable = (n: number, kind: number, length: number): number =>
  ((2 << (2 * n)) | ((kind | (length << 2)) << (16 + 4 * n)) | 0x400) >>> 0;
function watch(g: SmallGuest, n: number, address: number, kind: number, length: number): void {
  g.regs.set64(Reg.DR + 8 * n, BigInt(address));
  g.regs.set64(Reg.DR + 56, g.regs.get64(Reg.DR + 56) | BigInt(enable(n, kind, length)));
}

describe("code breakpoints", () => {
  test("before the instruction, as a fault without RF; with RF in the frame it runs", () => {
    const program = code(`
        90                              nop
        ff c0                           inc eax
      here:
        ff c1                           inc ecx
        ff c0                           inc eax
        f4                              hlt
    `);
    const g = guest(program);
    watch(g, 1, At.CODE + program.at("here"), 0, 0);
    const stop = g.run();
    assert.deepEqual(
      [stop.vector, stop.rip - At.CODE, cause(g), g.gpr(RAX), g.gpr(RCX)],
      [1, program.at("here"), 2, 1n, 0n],
    );
    assert.equal(stop.rflags & Rflags.RF, 0);
    const again = g.run();
    assert.deepEqual(
      [again.vector, again.rip - At.CODE, cause(g)],
      [1, program.at("here"), 2],
      "without RF it comes again",
    );
    const sp = Number(g.gpr(4));
    g.write64(sp + 16, g.read64(sp + 16) | BigInt(Rflags.RF));
    assert.equal(g.run().vector, undefined);
    assert.deepEqual([g.gpr(RAX), g.gpr(RCX)], [2n, 1n]);
  });

  test("set by the program itself: MOV to DR7 works from the next instruction on", () => {
    const program = code(`
        48 8d 05 0b 00 00 00            lea rax, [rip + here]
        0f 23 d8                        mov dr3, rax
        b8 80 04 00 00                  mov eax, 0x480
        0f 23 f8                        mov dr7, rax
      here:
        90                              nop
        f4                              hlt
    `);
    const g = guest(program);
    assert.deepEqual([g.run().vector, g.stop().rip - At.CODE, cause(g)], [1, program.at("here"), 8]);
  });

  test("a fault in between sets RF, so that the breakpoint comes once", () => {
    const program = code(`
      here:
        8b 04 25 00 00 70 00            mov eax, [0x700000]
        f4                              hlt
    `);
    const g = guest(program);
    watch(g, 0, At.CODE, 0, 0);
    assert.equal(g.run().vector, 1);
    const sp = Number(g.gpr(4));
    g.write64(sp + 16, g.read64(sp + 16) | BigInt(Rflags.RF));
    const fault = g.run();
    assert.deepEqual([fault.vector, (fault.rflags & Rflags.RF) !== 0], [14, true]);
    g.map(0x70_0000, At.FREE, 0n);
    assert.equal(g.run().vector, undefined);
  });

  test("DR7.GD: access to a debug register is a fault with BD", () => {
    const program = code(`
        b8 00 24 00 00                  mov eax, 0x2400
        0f 23 f8                        mov dr7, rax
      here:
        0f 21 c1                        mov rcx, dr0
        f4                              hlt
    `);
    const g = guest(program);
    const stop = g.run();
    assert.deepEqual(
      [stop.vector, stop.rip - At.CODE, cause(g), g.regs.get32(Reg.DR + 56) & 0x2000],
      [1, program.at("here"), 0x2000, 0],
    );
    assert.equal(g.run().vector, undefined);
  });
});

describe("data breakpoints", () => {
  const WRITE = 1,
    READ_WRITE = 3;
  const program = code(`
      8b 06                           mov eax, [rsi]
    afterLoad:
      89 06                           mov [rsi], eax
    afterStore:
      90                              nop
      f4                              hlt
  `);
  const run = (kind: number, address: number, length: number, rsi: number, listing = program): SmallGuest => {
    const g = guest(listing);
    watch(g, 2, address, kind, length);
    g.regs.setGpr(RSI, BigInt(rsi));
    return g;
  };

  test("writes, or reads and writes: after the instruction", () => {
    const write = run(WRITE, At.DATA, 3, At.DATA);
    assert.deepEqual([write.run().vector, write.stop().rip - At.CODE, cause(write)], [1, program.at("afterStore"), 4]);
    assert.equal(write.run().vector, undefined);
    const both = run(READ_WRITE, At.DATA, 3, At.DATA);
    assert.deepEqual([both.run().vector, both.stop().rip - At.CODE, cause(both)], [1, program.at("afterLoad"), 4]);
    assert.deepEqual([both.run().vector, both.stop().rip - At.CODE, cause(both)], [1, program.at("afterStore"), 4]);
    assert.equal(both.run().vector, undefined);
  });

  test("any overlap counts, neighbours do not", () => {
    for (const [length, bytes] of [
      [0, 1],
      [1, 2],
      [3, 4],
      [2, 8],
    ] as const) {
      for (let from = -5; from < bytes + 2; from++) {
        const g = run(WRITE, At.DATA + 8, length, At.DATA + 8 + from);
        const hit = from > -4 && from < bytes;
        assert.equal(g.run().vector, hit ? 1 : undefined, `4 bytes at ${from} of ${bytes}`);
      }
    }
  });

  test("a page whose translation is cached already, and accesses across pages", () => {
    const g = run(WRITE, At.DATA + 0xffe, 1, At.DATA + 0xffd);
    const kept = g.regs.get64(Reg.DR + 56);
    g.regs.set64(Reg.DR + 56, 0x400n);
    assert.equal(g.run().vector, undefined, "not enabled");
    g.load(program);
    g.regs.set64(Reg.DR + 56, kept);
    assert.equal(g.run().vector, 1);
    const next = run(WRITE, At.DATA + 0x1000, 0, At.DATA + 0xffd);
    assert.equal(next.run().vector, 1);
  });

  test("stack, read-modify-write, SSE, x87, FXSAVE, REP", () => {
    for (const [listing, after] of [
      [
        code(`
        50                              push rax
      after:
        f4                              hlt
      `),
        0,
      ],
      [
        code(`
        e8 00 00 00 00                  call after
      after:
        f4                              hlt
      `),
        0,
      ],
      [
        code(`
        f0 ff 06                        lock inc dword ptr [rsi]
      after:
        f4                              hlt
      `),
        0,
      ],
      [
        code(`
        0f 11 46 f8                     movups [rsi - 8], xmm0
      after:
        f4                              hlt
      `),
        0,
      ],
      [
        code(`
        db 7e f8                        fstp tbyte ptr [rsi - 8]
      after:
        f4                              hlt
      `),
        0,
      ],
      [
        code(`
        0f ae 46 c8                     fxsave [rsi - 0x38]
      after:
        f4                              hlt
      `),
        0,
      ],
      [
        code(`
        48 8d 7e ec                     lea rdi, [rsi - 20]
        b9 64 00 00 00                  mov ecx, 100
        f3 aa                           rep stosb
      after:
        f4                              hlt
      `),
        79,
      ],
    ] as const) {
      const address = At.STACK - 8;
      const g = run(WRITE, address, 0, address, listing);
      const stop = g.run();
      assert.deepEqual([stop.vector, cause(g)], [1, 4]);
      assert.equal(g.gpr(RCX), BigInt(after));
      if (after === 0) assert.equal(stop.rip - At.CODE, listing.at("after"));
    }
  });

  test("an instruction that faults does not trap; single-step and breakpoint come as one", () => {
    const faults = code(`
        8b 06                           mov eax, [rsi]
        a5                              movs dword ptr [rdi], dword ptr [rsi]
        f4                              hlt
    `);
    const g = run(READ_WRITE, At.DATA, 0, At.DATA, faults);
    g.regs.setGpr(RDI, 0x70_0000n);
    assert.equal(g.run().vector, 1);
    cause(g);
    assert.equal(g.run().vector, 14);
    const both = run(WRITE, At.DATA, 0, At.DATA);
    both.regs.rflags = Rflags.TF | 2;
    assert.deepEqual([both.run().vector, cause(both), both.run().vector, cause(both)], [1, BS, 1, BS | 4]);
    stopStepping(both);
    assert.equal(both.run().vector, undefined);
  });

  test("breakpoints that are off again cost nothing: the guest runs on", () => {
    const g = run(
      WRITE,
      At.DATA,
      0,
      At.DATA + 0x100,
      code(`
        89 06                           mov [rsi], eax
        b9 00 04 00 00                  mov ecx, 0x400
        0f 23 f9                        mov dr7, rcx
        48 c7 c6 00 00 03 00            mov rsi, 0x30000
        89 06                           mov [rsi], eax
        f4                              hlt
    `),
    );
    assert.equal(g.run().vector, undefined);
  });
});
