/* Device windows and ports: every access reaches the device once, with its width. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { code } from "./listing.ts";
import { At, kernelGuest, SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RDX, RBX, RSI, RDI] = [0, 1, 2, 3, 6, 7];

describe("device windows", () => {
  test("reads and writes of every width, once each", () => {
    const g = kernelGuest(
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
    assert.deepEqual(
      [g.gpr(RAX) & 0xffn, g.gpr(RCX) & 0xffffn, g.gpr(RDX), g.gpr(RSI), g.gpr(RDI), g.gpr(8)],
      [0x88n, 0x7788n, 0x5566_7788n, 0x1122_3344_5566_7788n, 0x88n, 0x7788n],
    );
    const read = (offset: number, size: number) => ({ address: At.DEVICE + offset, size, value: undefined });
    const write = (offset: number, size: number, value: bigint) => ({ address: At.DEVICE + offset, size, value });
    assert.deepEqual(g.log, [
      read(0, 1),
      read(2, 2),
      read(4, 4),
      read(8, 8),
      read(16, 1),
      read(18, 2),
      write(0, 1, 0x88n),
      write(2, 2, 0x7788n),
      write(4, 4, 0x5566_7788n),
      write(8, 8, 0x1122_3344_5566_7788n),
      read(32, 4),
      read(40, 8),
      write(44, 4, 0x5566_7788n),
    ]);
  });

  test("16 bytes are two accesses of 8", () => {
    const g = kernelGuest(
      code(`
        0f 28 03                        movaps xmm0, [rbx]
        0f 29 43 10                     movaps [rbx + 16], xmm0
        f4                              hlt
      `),
      { [RBX]: At.DEVICE },
    );
    g.run();
    assert.deepEqual(
      g.log.map((a) => [a.address - At.DEVICE, a.size, a.value]),
      [
        [0, 8, undefined],
        [8, 8, undefined],
        [16, 8, g.deviceValue],
        [24, 8, g.deviceValue],
      ],
    );
  });

  test("read-modify-write, locked or not: one read, one write", () => {
    const g = kernelGuest(
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
    assert.deepEqual(
      g.log.map((a) => [a.address - At.DEVICE, a.size, a.value]),
      [
        [0, 4, undefined],
        [0, 4, 0x5566_7789n],
        [4, 4, undefined],
        [4, 4, 0xd566_7788n],
        [8, 8, undefined],
        [8, 8, 5n],
        [12, 4, undefined],
        [12, 4, 0x5566_7789n],
        [1, 1, undefined],
        [1, 1, 0x89n],
      ],
    );
    assert.equal(g.gpr(RAX), g.deviceValue);
  });

  test("a write-protected device page faults before the device hears of it", () => {
    const g = kernelGuest(
      code(`
        83 03 01                        add dword ptr [rbx], 1
    `),
      { [RBX]: At.DEVICE },
    );
    g.map(At.DEVICE, At.DEVICE, 0n);
    assert.deepEqual([g.run().errorCode, g.log], [3n, []]);
  });

  test("ports: IN, OUT, INS, OUTS", () => {
    const g = kernelGuest(
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
      read(0x10, 1),
      read(0x3f8, 2),
      read(0x3f8, 4),
      { address: 0x11, size: 1, value: 0x88n },
      { address: 0x3f8, size: 2, value: 0x7788n },
      { address: 0x3f8, size: 4, value },
      read(0x3f8, 2),
      read(0x3f8, 2),
      read(0x3f8, 2),
      { address: 0x3f8, size: 4, value: 0x7788_7788n },
      { address: 0x3f8, size: 4, value: 0x7788n },
    ]);
    assert.equal(g.gpr(RDI), BigInt(At.DATA + 6));
  });

  test("a port that user code may not use", () => {
    const g = new SmallGuest();
    g.ram.writeU16(At.TSS + 0x66, 0x200);
    g.loadUser(
      code(`
      e6 80                           out 0x80, al
    `),
    );
    const stop = g.run();
    assert.deepEqual([stop.vector, stop.errorCode, stop.rip, g.portLog], [13, 0n, At.USER, []]);
  });
});
