/* Ways between and inside privilege levels: SYSCALL, SYSRET, IRET, far jumps, calls and returns, software interrupts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags, SegmentIndex } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, Cr4, Selector, SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RDX, RBX, RSP] = [0, 1, 2, 3, 4];
const R11 = 11;
const KERNEL = 0x2_0000;

function system(
  kernel: ReturnType<typeof code>,
  user: ReturnType<typeof code>,
  mask = Rflags.IF | Rflags.TF | Rflags.DF | Rflags.AC,
): SmallGuest {
  const g = new SmallGuest();
  g.write(KERNEL, kernel.bytes);
  g.regs.set64(Reg.LSTAR, BigInt(KERNEL));
  g.regs.set64(Reg.SFMASK, BigInt(mask));
  g.loadUser(user, Rflags.IF | Rflags.DF | Rflags.CF | 2);
  return g;
}
const selectors = (g: SmallGuest): number[] =>
  [SegmentIndex.CS, SegmentIndex.SS].map((i) => g.regs.get16(Reg.SEG + 16 * i));

describe("SYSCALL and SYSRET", () => {
  const user = code(`
      b8 07 00 00 00                  mov eax, 7
      0f 05                           syscall
    back:
      48 8b 1c 25 00 01 40 00         mov rbx, [0x400100]
      0f 0b                           ud2
  `);
  test("there and back, with flags, selectors and privileges", () => {
    const kernel = code(`
        48 8b 14 25 00 00 03 00         mov rdx, [0x30000]
        9c                              pushfq
        5e                              pop rsi
        8c cf                           mov edi, cs
        41 8c d0                        mov r8d, ss
        f4                              hlt
        48 0f 07                        sysretq
    `);
    const g = system(kernel, user);
    g.regs.setGpr(RSP, BigInt(At.STACK)); // SYSCALL keeps RSP
    g.write64(At.DATA, 0xabcn);
    g.write64(At.FREE + 0x100, 0xdefn);
    const inKernel = g.run();
    assert.equal(inKernel.vector, undefined);
    assert.deepEqual(
      [g.gpr(RAX), g.gpr(RDX), g.gpr(RCX), g.gpr(7), g.gpr(8)],
      [7n, 0xabcn, BigInt(At.USER + user.at("back")), 0x10n, 0x18n],
    );
    assert.deepEqual([g.gpr(R11), g.gpr(6)], [BigInt(Rflags.IF | Rflags.DF | Rflags.CF | 2), BigInt(Rflags.CF | 2)]);
    assert.deepEqual([g.regs.cpl, selectors(g)], [0, [0x10, 0x18]]);
    const stop = g.run();
    assert.deepEqual([stop.vector, g.gpr(RBX), stop.cs, stop.ss], [6, 0xdefn, Selector.USER_CS, Selector.USER_DS]);
    assert.equal(stop.rflags & ~Rflags.RF, Rflags.IF | Rflags.DF | Rflags.CF | 2);
  });

  test("user rights are gone and back at once", () => {
    const kernel = code(`
        8b 04 25 00 00 03 00            mov eax, [0x30000]
        48 0f 07                        sysretq
    `);
    const forbidden = code(`
        0f 05                           syscall
      fault:
        8b 04 25 00 00 03 00            mov eax, [0x30000]
    `);
    const g = system(kernel, forbidden);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip], [14, 5n, At.USER + forbidden.at("fault")]);
  });

  test("without EFER.SCE both are #UD; SYSRET in user code is #GP", () => {
    const g = system(
      code(`
        f4                              hlt
    `),
      user,
    );
    g.regs.set64(Reg.EFER, 0xd00n);
    assert.equal(g.run().vector, 6);
    const inUser = system(
      code(`
        f4                              hlt
    `),
      code(`
        48 0f 07                        sysretq
    `),
    );
    assert.deepEqual([inUser.run().vector, inUser.stop().errorCode], [13, 0n]);
  });

  test("SYSRET to an address that is not canonical faults in the kernel, on the kernel's stack", () => {
    const kernel = code(`
        48 c7 c4 00 00 04 00            mov rsp, 0x40000
        48 b9 00 00 00 00 00 80 00 00   mov rcx, 0x800000000000
      fault:
        48 0f 07                        sysretq
    `);
    const g = system(kernel, user);
    const stop = g.run();
    assert.deepEqual(
      [stop.vector, stop.errorCode, stop.rip, stop.cs, g.gpr(RSP)],
      [13, 0n, KERNEL + kernel.at("fault"), 0x10, BigInt(At.STACK - 48)],
    );
  });

  test("a 32-bit SYSRET has nowhere to go: #GP, as the processor has no compatibility mode", () => {
    const g = system(
      code(`
        48 c7 c4 00 00 04 00            mov rsp, 0x40000
        0f 07                           sysretd
    `),
      user,
    );
    assert.deepEqual([g.run().vector, g.regs.cpl], [13, 0]);
  });

  test("SMAP goes by the AC that SFMASK leaves", () => {
    for (const [mask, vector] of [
      [Rflags.AC, 14],
      [0, undefined],
    ] as const) {
      const g = new SmallGuest({ cr4: Cr4.SMAP });
      g.write(
        KERNEL,
        code(`
        8b 04 25 00 01 40 00            mov eax, [0x400100]
        f4                              hlt
      `).bytes,
      );
      g.regs.set64(Reg.LSTAR, BigInt(KERNEL));
      g.regs.set64(Reg.SFMASK, BigInt(mask));
      g.loadUser(user, Rflags.AC | 2);
      g.regs.setGpr(RSP, BigInt(At.STACK));
      assert.equal(g.run().vector, vector);
    }
  });
});

test("SWAPGS exchanges the bases at once", () => {
  const g = new SmallGuest();
  g.load(
    code(`
      65 48 8b 04 25 00 00 00 00      mov rax, gs:[0]
      0f 01 f8                        swapgs
      65 48 8b 1c 25 00 00 00 00      mov rbx, gs:[0]
      0f 01 f8                        swapgs
      65 48 8b 0c 25 00 00 00 00      mov rcx, gs:[0]
      f4                              hlt
  `),
  );
  g.regs.set64(Reg.GS_BASE, BigInt(At.DATA));
  g.regs.set64(Reg.KERNEL_GS_BASE, BigInt(At.DATA + 8));
  g.write64(At.DATA, 1n);
  g.write64(At.DATA + 8, 2n);
  g.run();
  assert.deepEqual([g.gpr(RAX), g.gpr(RBX), g.gpr(RCX)], [1n, 2n, 1n]);
});

describe("IRET", () => {
  test("to user code and back through INT, several times", () => {
    const g = new SmallGuest();
    g.gate(0x80, { offset: BigInt(KERNEL), dpl: 3 });
    g.write(
      KERNEL,
      code(`
        03 04 25 00 00 03 00            add eax, [0x30000]
        48 cf                           iretq
    `).bytes,
    );
    g.write64(At.DATA, 5n);
    g.write(
      At.FREE,
      code(`
        b9 0a 00 00 00                  mov ecx, 10
      again:
        cd 80                           int 0x80
        e2 fc                           loop again
        0f 0b                           ud2
    `).bytes,
    );
    g.load(
      code(`
        6a 2b                           push 0x2b
        68 00 80 40 00                  push 0x408000
        68 02 02 00 00                  push 0x202
        6a 33                           push 0x33
        68 00 00 40 00                  push 0x400000
        48 cf                           iretq
    `),
    );
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.cs, stop.ss, stop.rsp, g.gpr(RAX)], [6, 0x33, 0x2b, 0x40_8000n, 50n]);
    assert.equal(g.retired, 6 + 1 + 10 * 4 + 1);
  });

  test("restores RSP and SS in the kernel too; loads flags that POPF cannot", () => {
    const g = new SmallGuest();
    g.load(
      code(`
        6a 00                           push 0
        68 00 80 03 00                  push 0x38000
        68 d7 7f 24 00                  push 0x247fd7
        6a 10                           push 0x10
        48 8d 05 03 00 00 00            lea rax, [rip + next]
        50                              push rax
        48 cf                           iretq
      next:
        9c                              pushfq
        58                              pop rax
        6a 02                           push 2
        9d                              popfq
        f4                              hlt
    `),
    );
    // TF is among the flags: the instruction after IRET ends in a trap
    const stop = g.run();
    assert.equal(stop.vector, 1);
    assert.equal(stop.rsp, 0x3_7ff8n);
    assert.equal(stop.ss, 0);
  });

  test("a frame that cannot be returned to faults at the IRET and leaves it on the stack", () => {
    for (const [cs, ss, rip, vector, errorCode] of [
      [0x33, 0x18, At.USER, 13, 0x18n],
      [0x4b, 0x2b, At.USER, 13, 0x48n],
      [0x33, 0, At.USER, 13, 0n],
      [0, 0x2b, At.USER, 13, 0n],
      [0x1003, 0x2b, At.USER, 13, 0x1000n],
      [0x33, 0x5b, At.USER, 13, 0x58n],
      [0x33, 0x2b, 0x8000_0000_0000, 13, 0n],
    ] as const) {
      const program = code(`
        48 cf                           iretq
      `);
      const g = new SmallGuest();
      g.load(program);
      const sp = At.STACK - 40;
      [BigInt(rip), BigInt(cs), 0x202n, 0x40_8000n, BigInt(ss)].forEach((word, i) => g.write64(sp + 8 * i, word));
      g.regs.setGpr(RSP, BigInt(sp));
      const stop = g.run();
      assert.deepEqual(
        [stop.vector, stop.errorCode, stop.rip, stop.cs, stop.rsp],
        [vector, errorCode, At.CODE, 0x10, BigInt(sp)],
      );
    }
  });
});

describe("far jumps, calls and returns", () => {
  test("through memory, all sizes, and back", () => {
    const program = code(`
        48 8d 05 1c 00 00 00            lea rax, [rip + first]
        48 89 04 25 00 00 03 00         mov [0x30000], rax
        66 c7 04 25 08 00 03 00 10 00   mov word ptr [0x30008], 0x10
        48 ff 2c 25 00 00 03 00         jmp tbyte ptr [0x30000]
        0f 0b                           ud2
      first:
        c7 04 25 10 00 03 00 00 00 02 00  mov dword ptr [0x30010], 0x20000
        66 c7 04 25 14 00 03 00 50 00   mov word ptr [0x30014], 0x50
        49 89 e4                        mov r12, rsp
        ff 1c 25 10 00 03 00            call fword ptr [0x30010]
        ; here again
        49 89 e5                        mov r13, rsp
        48 8d 05 07 00 00 00            lea rax, [rip + last]
        6a 10                           push 0x10
        50                              push rax
        48 cb                           rex.w retf
        0f 0b                           ud2
      last:
        f4                              hlt
    `);
    const g = new SmallGuest();
    g.load(program);
    g.write(
      KERNEL,
      code(`
        8c cb                           mov ebx, cs
        48 89 e1                        mov rcx, rsp
        cb                              retf
    `).bytes,
    );
    const stop = g.run();
    assert.deepEqual([stop.vector, g.gpr(RBX), g.gpr(12) - g.gpr(RCX), g.gpr(13)], [undefined, 0x50n, 8n, g.gpr(12)]);
    assert.equal(g.regs.get16(Reg.SEG + 16), 0x10);
  });

  test("RETF to user code drops arguments on both stacks", () => {
    const g = new SmallGuest();
    g.write(At.FREE, [0x0f, 0x0b]);
    g.load(
      code(`
        6a 2b                           push 0x2b
        68 00 80 40 00                  push 0x408000
        6a 01                           push 1
        6a 02                           push 2
        6a 33                           push 0x33
        68 00 00 40 00                  push 0x400000
        48 ca 10 00                     rex.w retf 16
    `),
    );
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.cs, stop.rsp], [6, 0x33, 0x40_8010n]);
  });

  test("selectors that no jump may name", () => {
    for (const [selector, vector, errorCode] of [
      [0, 13, 0n],
      [Selector.KERNEL_DS, 13, 0x18n],
      [Selector.USER_CS, 13, 0x30n],
      [Selector.CODE32, 13, 0x48n],
      [Selector.TSS, 13, 0x38n],
      [0x800, 13, 0x800n],
    ] as const) {
      const g = new SmallGuest();
      g.load(
        code(`
        48 ff 2c 25 00 00 03 00         jmp tbyte ptr [0x30000]
      `),
      );
      g.write64(At.DATA, BigInt(At.CODE));
      g.write64(At.DATA + 8, BigInt(selector));
      const stop = g.run();
      assert.deepEqual([stop.vector, stop.errorCode, stop.rip], [vector, errorCode, At.CODE], `selector ${selector}`);
    }
  });
});

test("LAR, LSL, VERR, VERW tell by ZF", () => {
  const g = new SmallGuest();
  g.load(
    code(`
      b9 2b 00 00 00                  mov ecx, 0x2b
      bb 00 10 00 00                  mov ebx, 0x1000
      0f 02 c1                        lar eax, ecx
      40 0f 94 c6                     setz sil
      0f 03 d1                        lsl edx, ecx
      49 c7 c0 ff ff ff ff            mov r8, -1
      44 0f 02 c3                     lar r8d, ebx
      40 0f 94 c7                     setz dil
      0f 00 e1                        verr cx
      41 0f 94 c1                     setz r9b
      0f 00 eb                        verw bx
      41 0f 94 c2                     setz r10b
      b9 60 00 00 00                  mov ecx, 0x60
      0f 00 e9                        verw cx
      41 0f 94 c4                     setz r12b
      0f 00 e1                        verr cx
      41 0f 94 c5                     setz r13b
      f4                              hlt
  `),
  );
  g.run();
  assert.deepEqual([g.gpr(RAX), g.gpr(RDX), g.gpr(8)], [0xc0_f300n, 0xffff_ffffn, 0xffff_ffff_ffff_ffffn]);
  assert.deepEqual(
    [6, 7, 9, 10, 12, 13].map((n) => g.gpr(n)),
    [1n, 0n, 1n, 0n, 0n, 1n],
  );
});

test("RET and CALL to addresses that are not canonical fault before the stack pointer moves; RET n drops arguments", () => {
  for (const program of [
    code(`
      c3                              ret
    `),
    code(`
      c2 10 00                        ret 16
    `),
    code(`
      ff d3                           call rbx
    `),
    code(`
      ff 15 00 00 00 00               call [rip]
      00 00 00 00 00 80 00 00         .byte 0, 0, 0, 0, 0, 0x80, 0, 0
    `),
  ]) {
    const g = new SmallGuest();
    g.load(program);
    g.regs.setGpr(RBX, 0x8000_0000_0000n);
    g.write64(At.STACK - 64, 0x8000_0000_0000n);
    g.regs.setGpr(RSP, BigInt(At.STACK - 64));
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, stop.rsp], [13, 0n, At.CODE, BigInt(At.STACK - 64)]);
  }
  const g = new SmallGuest();
  g.load(
    code(`
      6a 01                           push 1
      6a 02                           push 2
      e8 01 00 00 00                  call sub
      f4                              hlt
    sub:
      c2 10 00                        ret 16
  `),
  );
  assert.equal(g.run().rsp, BigInt(At.STACK));
});

test("running off the end of the lower half: #GP for an address that is not canonical", () => {
  const g = new SmallGuest();
  g.map(0x7fff_ffff_f000n, At.FREE, 0n);
  g.write(At.FREE + 4090, [0x90, 0x90, 0x90, 0x90, 0x90, 0x90]);
  g.regs.set64(Reg.RIP, 0x7fff_ffff_fffan);
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.errorCode, stop.rip, g.retired], [13, 0n, 0x8000_0000_0000, 7]);
});

test("flags come through calls and returns, also where the stack was touched just before", () => {
  const program = code(`
      51                              push rcx
      39 c0                           cmp eax, eax
      e8 0d 00 00 00                  call near
      9c                              pushfq
      5a                              pop rdx
      51                              push rcx
      39 c0                           cmp eax, eax
      e8 03 10 00 00                  call far
      9c                              pushfq
      5e                              pop rsi
      f4                              hlt
    near:
      9c                              pushfq
      5f                              pop rdi
      51                              push rcx
      83 f8 ff                        cmp eax, -1
      59                              pop rcx
      c3                              ret
  `);
  const far = code(`
      9c                              pushfq
      5b                              pop rbx
      51                              push rcx
      83 f8 ff                        cmp eax, -1
      59                              pop rcx
      c3                              ret
  `);
  const g = new SmallGuest();
  g.load(program);
  g.write(At.CODE + program.at("near") + 0x1000, far.bytes);
  g.regs.setGpr(RSP, BigInt(At.STACK));
  g.regs.setGpr(RAX, 0n);
  g.run();
  const [equal, less] = [Rflags.ZF | Rflags.PF, Rflags.CF | Rflags.AF];
  assert.deepEqual(
    [7, RDX, RBX, 6].map((n) => Number(g.gpr(n)) & Rflags.OSZAPC),
    [equal, less, equal, less],
  );
});
