/* Code that changes: by the program itself, through another mapping, by page tables, by a device. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { arenaOf } from "../../src/engine/wasm/layout.ts";
import { Reg } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, kernelGuest, Pte, SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RDX, RBX, RSI, RDI] = [0, 1, 2, 3, 6, 7];
const VA = 0x60_0000;
const PAGE = 4096;

const ADD_1 = code(`
  83 c0 01                        add eax, 1
  c3                              ret
`);
const ADD_16 = code(`
  83 c0 10                        add eax, 16
  c3                              ret
`);

describe("a program that writes its own code", () => {
  test("the next instruction, in the same block", () => {
    // the immediate of the MOV right after the store
    const program = code(`
        c7 05 01 00 00 00 34 12 00 00   mov dword ptr [rip + next + 1], 0x1234
      next:
        b8 01 00 00 00                  mov eax, 1
        f4                              hlt
    `);
    const g = kernelGuest(program);
    g.run();
    assert.equal(g.gpr(RAX), 0x1234n);
    assert.equal(g.retired, 3);
  });

  test("the next instruction becomes one of another kind and length", () => {
    const program = code(`
        66 c7 05 00 00 00 00 ff c0      mov word ptr [rip + next], 0xc0ff
      next:
        83 c0 05                        add eax, 5
        ff c1                           inc ecx
        f4                              hlt
    `); // inc eax; then the third byte: 05 f1 c1 f4 …
    const g = kernelGuest(program);
    g.write(At.CODE + program.at("next") + 2, [0xff, 0xc1, 0xf4]); // inc ecx; hlt
    g.run();
    assert.deepEqual([g.gpr(RAX), g.gpr(RCX)], [1n, 1n]);
  });

  test("what a jump leads to begins to read the flags that the jump's block leaves", () => {
    const program = code(`
        b9 02 00 00 00                  mov ecx, 2
        eb 00                           jmp again
      again:
        85 c9                           test ecx, ecx
        9c                              pushf
        5b                              pop rbx
        39 c0                           cmp eax, eax
        eb 02                           jmp target
        0f 0b                           ud2
      target:
        31 d2                           xor edx, edx
        90                              nop
        90                              nop
        c7 05 f2 ff ff ff 0f 94 c2 90   mov dword ptr [rip + target], 0x90c2940f
        ff c9                           dec ecx
        75 e4                           jnz again
        f4                              hlt
    `); // sete dl
    const g = kernelGuest(program);
    g.run();
    assert.deepEqual([g.gpr(RCX), g.gpr(RDX) & 0xffn], [0n, 1n]);
  });

  test("far ahead in the same block, and behind it", () => {
    const program = code(`
        31 c9                           xor ecx, ecx
      again:
        c6 05 05 00 00 00 07            mov byte ptr [rip + ahead + 1], 7
        ff c1                           inc ecx
        90                              nop
        90                              nop
      ahead:
        b0 01                           mov al, 1
        01 c2                           add edx, eax
        c6 05 f0 ff ff ff 09            mov byte ptr [rip + again + 6], 9
        83 f9 02                        cmp ecx, 2
        72 e5                           jb again
        f4                              hlt
    `);
    const g = kernelGuest(program);
    g.run();
    assert.deepEqual([g.gpr(RDX), g.retired], [16n, 20], "7, then 9: the first store's immediate was rewritten");
  });

  test("itself: the instruction that runs is done as it was", () => {
    const program = code(`
        b9 02 00 00 00                  mov ecx, 2
      again:
        c6 05 ff ff ff ff 22            mov byte ptr [rip + again + 6], 0x22
        8a 1d f9 ff ff ff               mov bl, [rip + again + 6]
        01 d8                           add eax, ebx
        e2 ef                           loop again
        f4                              hlt
    `);
    const g = kernelGuest(program);
    g.run();
    assert.equal(g.gpr(RAX), 0x44n);
  });

  test("a loop whose body changes in each round", () => {
    const program = code(`
        b9 64 00 00 00                  mov ecx, 100
      again:
        89 0d 01 00 00 00               mov [rip + body + 1], ecx
      body:
        ba 00 00 00 00                  mov edx, 0
        01 d0                           add eax, edx
        e2 f1                           loop again
        f4                              hlt
    `);
    const g = kernelGuest(program);
    g.run();
    assert.equal(g.gpr(RAX), 5050n);
  });

  test("a write beside the code, many times, leaves it alone", () => {
    const program = code(`
        b9 2c 01 00 00                  mov ecx, 300
      again:
        89 0d 09 00 00 00               mov [rip + data], ecx
        03 05 03 00 00 00               add eax, [rip + data]
        e2 f2                           loop again
        f4                              hlt
      data:
        90                              nop
        90                              nop
        90                              nop
        90                              nop
    `);
    const g = kernelGuest(program);
    g.run();
    assert.equal(g.gpr(RAX), 45150n);
  });

  test("PUSH and CALL onto the code itself", () => {
    const program = code(`
        48 8d 25 13 00 00 00            lea rsp, [rip + target + 8]
        48 b8 90 90 ff c2 90 ff c3 f4   mov rax, 0xf4c3ff90c2ff9090
        50                              push rax
      target:
        f4                              hlt
        f4                              hlt
        f4                              hlt
        f4                              hlt
        f4                              hlt
        f4                              hlt
        f4                              hlt
        f4                              hlt
    `); // nop; nop; inc edx; nop; inc ebx; hlt
    const g = kernelGuest(program);
    g.run();
    assert.deepEqual([g.gpr(RDX), g.gpr(RBX)], [1n, 1n]);
  });

  test("REP STOSB and REP MOVSB over code that has run, and over the REP itself", () => {
    const stos = code(`
        ff d3                           call rbx
        48 89 df                        mov rdi, rbx
        b9 40 00 00 00                  mov ecx, 64
        b0 90                           mov al, 0x90
        f3 aa                           rep stosb
        c6 43 3f c3                     mov byte ptr [rbx + 63], 0xc3
        31 c0                           xor eax, eax
        ff d3                           call rbx
        f4                              hlt
    `);
    const g = kernelGuest(stos, { [RBX]: At.DATA });
    g.write(At.DATA, ADD_1.bytes);
    g.run();
    assert.equal(g.gpr(RAX), 0n, "only NOPs are left");
    const movs = kernelGuest(
      code(`
        ff d7                           call rdi
        b9 20 00 00 00                  mov ecx, 32
        48 89 fb                        mov rbx, rdi
        f3 a4                           rep movsb
        ff d3                           call rbx
        f4                              hlt
    `),
      { [RSI]: At.DATA + 0x2000, [RDI]: At.DATA },
    );
    movs.write(At.DATA, ADD_1.bytes);
    movs.write(At.DATA + 0x2000, ADD_16.bytes);
    movs.run();
    assert.equal(movs.gpr(RAX), 17n);
    // REP STOSB (f3 aa) at the page's start fills itself with HLT while it runs: the iteration that overwrites it is its last
    const self = kernelGuest(
      code(`
        f3 aa                           rep stosb
    `),
      { [RAX]: 0xf4, [RCX]: 100, [RDI]: At.CODE },
    );
    const stop = self.run();
    assert.equal(stop.rip, At.CODE + 1);
    assert.ok(self.gpr(RCX) < 100n);
  });

  test("SSE and x87 stores onto code", () => {
    for (const store of [
      code(`
        ff d3                           call rbx
        0f 10 06                        movups xmm0, [rsi]
        0f 11 03                        movups [rbx], xmm0
        ff d3                           call rbx
        f4                              hlt
      `),
      code(`
        ff d3                           call rbx
        db 2e                           fld tbyte ptr [rsi]
        db 3b                           fstp tbyte ptr [rbx]
        ff d3                           call rbx
        f4                              hlt
      `),
      code(`
        ff d3                           call rbx
        df 2e                           fild qword ptr [rsi]
        df 3b                           fistp qword ptr [rbx]
        ff d3                           call rbx
        f4                              hlt
      `),
      code(`
        ff d3                           call rbx
        48 8b 16                        mov rdx, [rsi]
        48 87 13                        xchg [rbx], rdx
        ff d3                           call rbx
        f4                              hlt
      `),
    ]) {
      const g = kernelGuest(store, { [RBX]: At.DATA, [RSI]: At.DATA + 0x1000 });
      g.write(At.DATA, ADD_1.bytes);
      // ten bytes that are a normal extended number: 83 c0 10 c3 and then a set integer bit
      g.write(At.DATA + 0x1000, [...ADD_16.bytes, 0, 0, 0, 0x80, 0, 0x40]);
      g.run();
      assert.equal(g.gpr(RAX), 17n);
    }
  });
});

describe("code through page tables", () => {
  test("written through another mapping of the same frame", () => {
    const program = code(`
        ff d3                           call rbx
        c6 41 02 10                     mov byte ptr [rcx + 2], 16
        ff d3                           call rbx
        c6 41 02 20                     mov byte ptr [rcx + 2], 32
        ff d3                           call rbx
        f4                              hlt
    `);
    const g = kernelGuest(program, { [RBX]: VA, [RCX]: VA + 7 * PAGE });
    g.map(VA, At.FREE, 0n);
    g.map(VA + 7 * PAGE, At.FREE, Pte.W | Pte.NX);
    g.write(At.FREE, ADD_1.bytes);
    g.run();
    assert.equal(g.gpr(RAX), 49n);
  });

  test("one frame at two addresses runs as each of them", () => {
    const where = code(`
        48 8d 05 00 00 00 00            lea rax, [rip]
        c3                              ret
    `);
    const g = kernelGuest(
      code(`
        ff d3                           call rbx
        48 89 c2                        mov rdx, rax
        ff d1                           call rcx
        f4                              hlt
      `),
      { [RBX]: VA + 0x10, [RCX]: VA + PAGE + 0x10 },
    );
    g.map(VA, At.FREE, 0n);
    g.map(VA + PAGE, At.FREE, 0n);
    g.write(At.FREE + 0x10, where.bytes);
    g.run();
    assert.deepEqual([g.gpr(RDX), g.gpr(RAX)], [BigInt(VA + 0x17), BigInt(VA + PAGE + 0x17)]);
  });

  /** ADD EAX, imm32 (05 …) at the end of a page, its immediate in the next; then RET. */
  const spanning = code(`
      05 01 01 01 01                  add eax, 0x01010101
      c3                              ret
  `);
  const withSpanning = (program: Listing, inFirst: number): SmallGuest => {
    const g = kernelGuest(program, { [RBX]: VA + PAGE - inFirst });
    g.map(VA, At.FREE, Pte.W);
    g.map(VA + PAGE, At.FREE + 0x3000, Pte.W);
    g.write(At.FREE + PAGE - inFirst, spanning.bytes.subarray(0, inFirst));
    g.write(At.FREE + 0x3000, spanning.bytes.subarray(inFirst));
    return g;
  };

  test("an instruction on two pages: either part is rewritten", () => {
    for (let inFirst = 1; inFirst < 5; inFirst++) {
      const program = code(`
        b9 03 00 00 00                  mov ecx, 3
      again:
        ff d3                           call rbx
        e2 fc                           loop again
        c6 43 04 02                     mov byte ptr [rbx + 4], 2
        ff d3                           call rbx
        c6 43 01 03                     mov byte ptr [rbx + 1], 3
        ff d3                           call rbx
        f4                              hlt
      `);
      const g = withSpanning(program, inFirst);
      g.run();
      assert.equal(g.gpr(RAX), BigInt(3 * 0x01010101 + 0x02010101 + 0x02010103), `${inFirst} bytes in the first page`);
    }
  });

  test("an instruction on two pages: the second is remapped", () => {
    const program = code(`
        b9 03 00 00 00                  mov ecx, 3
      again:
        ff d3                           call rbx
        e2 fc                           loop again
        48 89 37                        mov [rdi], rsi
        0f 01 7b 08                     invlpg [rbx + 8]
        ff d3                           call rbx
        f4                              hlt
    `);
    const g = withSpanning(program, 2);
    g.write(At.FREE + 0x5000, [9, 9, 9, 0xc3]);
    g.regs.setGpr(RDI, BigInt(g.entry(VA + PAGE)));
    g.regs.setGpr(RSI, BigInt(At.FREE + 0x5000) | Pte.P);
    g.run();
    assert.equal(g.gpr(RAX), BigInt(3 * 0x01010101 + 0x09090901));
  });

  test("an instruction on two pages whose second is missing: #PF for that page, at the instruction", () => {
    const g = withSpanning(
      code(`
        ff d3                           call rbx
        f4                              hlt
    `),
      3,
    );
    const entry = g.read64(g.entry(VA + PAGE));
    g.unmap(VA + PAGE);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, g.cr2, stop.rip], [14, 16n, BigInt(VA + PAGE), VA + PAGE - 3]);
    g.write64(g.entry(VA + PAGE), entry);
    assert.equal(g.run().vector, undefined);
    assert.equal(g.gpr(RAX), 0x01010101n);
  });

  test("straight code that runs over a page's end, into a missing page", () => {
    const g = kernelGuest(
      code(`
        ff e3                           jmp rbx
    `),
      { [RBX]: VA + PAGE - 4 },
    );
    g.map(VA, At.FREE, 0n);
    g.write(At.FREE + PAGE - 4, [0xff, 0xc0, 0xff, 0xc0]); // inc eax, twice
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.rip, g.cr2, g.gpr(RAX), g.retired], [14, VA + PAGE, BigInt(VA + PAGE), 2n, 4]);
  });

  test("a code page is freed, its frame used for data, then for other code", () => {
    const g = kernelGuest(
      code(`
        ff d3                           call rbx
        48 c7 07 00 00 00 00            mov qword ptr [rdi], 0
        0f 01 3b                        invlpg [rbx]
        ; data now, through the identity map
        48 c7 c1 00 02 00 00            mov rcx, 512
        48 89 f2                        mov rdx, rsi
      fill:
        48 c7 02 66 66 00 00            mov qword ptr [rdx], 0x6666
        48 83 c2 08                     add rdx, 8
        e2 f3                           loop fill
        c7 06 83 c0 10 c3               mov dword ptr [rsi], 0xc310c083
        4c 8d 46 01                     lea r8, [rsi + 1]
        48 83 ce 01                     or rsi, 1
        48 89 37                        mov [rdi], rsi
        ff d3                           call rbx
        f4                              hlt
      `),
      { [RBX]: VA, [RSI]: At.DATA },
    );
    g.map(VA, At.DATA, 0n);
    g.write(At.DATA, ADD_1.bytes);
    g.regs.setGpr(RDI, BigInt(g.entry(VA)));
    g.run();
    assert.equal(g.gpr(RAX), 17n);
  });

  test("NX and U/S of a code page change: the next call faults", () => {
    const g = kernelGuest(
      code(`
        ff d3                           call rbx
        48 89 37                        mov [rdi], rsi
        0f 01 3b                        invlpg [rbx]
        ff d3                           call rbx
        f4                              hlt
      `),
      { [RBX]: VA },
    );
    g.map(VA, At.FREE, 0n);
    g.write(At.FREE, ADD_1.bytes);
    g.regs.setGpr(RDI, BigInt(g.entry(VA)));
    g.regs.setGpr(RSI, BigInt(At.FREE) | Pte.P | Pte.NX);
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, g.gpr(RAX)], [14, 17n, VA, 1n]);
  });

  test("user code and kernel code at one address have their own rights", () => {
    const g = new SmallGuest();
    g.loadUser(
      code(`
      83 c0 01                        add eax, 1
      0f 0b                           ud2
    `),
    );
    assert.equal(g.run().vector, 6);
    g.regs.set64(Reg.RIP, BigInt(At.USER)); // in the kernel now, at the same address: no SMEP
    assert.equal(g.run().vector, 6);
    assert.equal(g.gpr(RAX), 2n);
    g.enterUser();
    g.regs.set64(Reg.RIP, BigInt(At.CODE));
    assert.deepEqual([g.run().vector, g.stop().errorCode], [14, 0x15n]);
  });
});

test("a device's write to a page with code is seen when run() comes back", () => {
  const g = kernelGuest(
    code(`
      ff d3                           call rbx
      f4                              hlt
      ff d3                           call rbx
      f4                              hlt
  `),
    { [RBX]: At.DATA },
  );
  g.write(At.DATA, ADD_1.bytes);
  g.run();
  g.ram.write(At.DATA, ADD_16.bytes);
  g.run();
  assert.equal(g.gpr(RAX), 17n);
  // and by a queue's buffers
  g.load(
    code(`
      ff d3                           call rbx
      f4                              hlt
  `),
  );
  g.ram.slices(At.DATA, 4, true)![0]!.set([0x83, 0xc0, 0x20, 0xc3]);
  g.run();
  assert.equal(g.gpr(RAX), 17n + 32n);
});

test("more code than the engine keeps: it forgets and decodes again", () => {
  const g = kernelGuest(
    code(`
      b9 03 00 00 00                  mov ecx, 3
    again:
      bb 00 00 20 00                  mov ebx, 0x200000
      ff d3                           call rbx
      e2 f7                           loop again
      f4                              hlt
    `),
  );
  g.engine.blocks.arenaEnd = arenaOf(0).start + 0x8000;
  const pages = 20;
  for (let page = 0; page < pages; page++) {
    g.map(0x20_0000 + page * PAGE, At.FREE + page * PAGE, 0n);
    const bytes = new Uint8Array(PAGE).fill(0x90);
    for (let at = 0; at < PAGE; at += 4) bytes.set([0xff, 0xc0, 0xeb, 0x00], at); // inc eax; jmp next
    g.write(At.FREE + page * PAGE, bytes);
  }
  g.write(At.FREE + pages * PAGE - 2, [0xc3, 0x90]); // the last JMP becomes RET
  const stop = g.run();
  g.engine.blocks.arenaEnd = arenaOf(0).end;
  assert.deepEqual([stop.vector, g.gpr(RAX)], [undefined, BigInt(3 * pages * 1024)]);
});
