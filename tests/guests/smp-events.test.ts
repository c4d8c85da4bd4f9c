/* What vCPUs do to each other: interrupts, code that one writes and another runs, the order of their stores and loads. On executors of their own, and on fewer. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { code } from "./listing.ts";
import { At, SmpGuest } from "./smp-guest.ts";

/** [0x9010] counts the first one's interrupts, [0x9014] the second's. */
const PING_PONG = code(`
  85 ff                           test edi, edi
  75 3d                           jne second
  0f 01 1c 25 f0 5f 00 00         lidt [0x5ff0]
  fb                              sti
  41 89 c9                        mov r9d, ecx
  send:
  44 8b 04 25 10 90 00 00         mov r8d, [0x9010]
  ba 01 00 00 00                  mov edx, 1
  b8 41 00 00 00                  mov eax, 0x41
  b9 30 08 00 00                  mov ecx, 0x830
  0f 30                           wrmsr
  sleep:
  fa                              cli
  44 39 04 25 10 90 00 00         cmp [0x9010], r8d
  75 04                           jne answered
  fb                              sti
  f4                              hlt
  eb f1                           jmp sleep
  answered:
  fb                              sti
  41 ff c9                        dec r9d
  75 d2                           jne send
  fa                              cli
  eb 15                           jmp end
  second:
  0f 01 1c 25 f0 5f 00 00         lidt [0x5ff0]
  idle:
  fb                              sti
  f4                              hlt
  fa                              cli
  39 0c 25 14 90 00 00            cmp [0x9014], ecx
  75 f4                           jne idle
  end:
`);
/** Counts, ends the interrupt, answers. */
const SECOND = code(`
  50                              push rax
  51                              push rcx
  52                              push rdx
  ff 04 25 14 90 00 00            inc dword [0x9014]
  31 c0                           xor eax, eax
  31 d2                           xor edx, edx
  b9 0b 08 00 00                  mov ecx, 0x80b
  0f 30                           wrmsr
  b8 42 00 00 00                  mov eax, 0x42
  b9 30 08 00 00                  mov ecx, 0x830
  0f 30                           wrmsr
  5a                              pop rdx
  59                              pop rcx
  58                              pop rax
  48 cf                           iretq
`);
const FIRST = code(`
  50                              push rax
  51                              push rcx
  52                              push rdx
  ff 04 25 10 90 00 00            inc dword [0x9010]
  31 c0                           xor eax, eax
  31 d2                           xor edx, edx
  b9 0b 08 00 00                  mov ecx, 0x80b
  0f 30                           wrmsr
  5a                              pop rdx
  59                              pop rcx
  58                              pop rax
  48 cf                           iretq
`);

/** The first writes MOV EAX, n; RET to 0x60000, says so in [0x9018], and runs it when the second has. Sums are in [0x9020] and [0x9028]. */
const WRITER_AND_READER = code(`
  41 89 c9                        mov r9d, ecx
  45 31 d2                        xor r10d, r10d
  bb 00 00 06 00                  mov ebx, 0x60000
  85 ff                           test edi, edi
  75 2c                           jne reader
  writer:
  44 89 4b 01                     mov [rbx + 1], r9d
  44 89 0c 25 18 90 00 00         mov [0x9018], r9d
  taken:
  f3 90                           pause
  83 3c 25 18 90 00 00 00         cmp dword [0x9018], 0
  75 f4                           jne taken
  ff d3                           call rbx
  49 01 c2                        add r10, rax
  41 ff c9                        dec r9d
  75 de                           jne writer
  4c 89 14 25 20 90 00 00         mov [0x9020], r10
  eb 32                           jmp end
  reader:
  45 89 c8                        mov r8d, r9d
  given:
  f3 90                           pause
  44 39 04 25 18 90 00 00         cmp [0x9018], r8d
  75 f4                           jne given
  31 c0                           xor eax, eax
  53                              push rbx
  0f a2                           cpuid
  5b                              pop rbx
  ff d3                           call rbx
  49 01 c2                        add r10, rax
  c7 04 25 18 90 00 00 00 00 00 00  mov dword [0x9018], 0
  41 ff c8                        dec r8d
  75 d9                           jne given
  4c 89 14 25 28 90 00 00         mov [0x9028], r10
  end:
`);
const MADE = code(`
  b8 00 00 00 00                  mov eax, 0
  c3                              ret
`);

/** Each stores to its own word and loads the other's; [RBX + 0x100] counts how often neither saw the other's. */
const STORE_LOAD = code(`
  41 89 c9                        mov r9d, ecx
  again:
  c7 44 fb 40 01 00 00 00         mov dword [rbx + rdi*8 + 0x40], 1
  0f ae f0                        mfence
  89 f8                           mov eax, edi
  83 f0 01                        xor eax, 1
  44 8b 54 c3 40                  mov r10d, [rbx + rax*8 + 0x40]
  44 89 94 fb 80 00 00 00         mov [rbx + rdi*8 + 0x80], r10d
  41 89 f3                        mov r11d, esi
  e8 2c 00 00 00                  call barrier
  85 ff                           test edi, edi
  75 1c                           jne go
  8b 83 80 00 00 00               mov eax, [rbx + 0x80]
  0b 83 88 00 00 00               or eax, [rbx + 0x88]
  75 06                           jne good
  ff 83 00 01 00 00               inc dword [rbx + 0x100]
  good:
  31 c0                           xor eax, eax
  89 43 40                        mov [rbx + 0x40], eax
  89 43 48                        mov [rbx + 0x48], eax
  go:
  e8 07 00 00 00                  call barrier
  41 ff c9                        dec r9d
  75 b1                           jne again
  eb 13                           jmp end
  barrier:
  b8 01 00 00 00                  mov eax, 1
  f0 0f c1 03                     lock xadd [rbx], eax
  83 c8 01                        or eax, 1
  ff c0                           inc eax
  spin:
  39 03                           cmp [rbx], eax
  78 fc                           js spin
  c3                              ret
  end:
`);

for (const executors of [2, 1]) {
  describe(`two vCPUs on ${executors === 1 ? "one executor" : "two executors"}`, () => {
    test("interrupts wake HLT, there and back", async () => {
      const rcx = 2000;
      const g = new SmpGuest(PING_PONG, { executors, rcx });
      g.handler(0x41, SECOND);
      g.handler(0x42, FIRST);
      await g.run();
      assert.deepEqual([g.u32(0x9010), g.u32(0x9014)], [rcx, rcx]);
    });

    test("asked to come out just when it halts, a vCPU keeps its interrupt", async () => {
      const rcx = 300;
      const g = new SmpGuest(PING_PONG, { executors, rcx });
      g.handler(0x41, SECOND);
      g.handler(0x42, FIRST);
      let over = false;
      const end = g.run().finally(() => (over = true));
      while (!over) {
        for (let i = 0; i < 20; i++) g.askOut(i & 1);
        await new Promise(setImmediate);
      }
      await end;
      assert.deepEqual([g.u32(0x9010), g.u32(0x9014)], [rcx, rcx]);
    });

    test("code that one writes is run by both as written", async () => {
      const rcx = executors === 1 ? 200 : 2000;
      const g = new SmpGuest(WRITER_AND_READER, { executors, rcx });
      g.ram.write(At.MADE, MADE.bytes);
      await g.run();
      const sum = BigInt((rcx * (rcx + 1)) / 2);
      assert.deepEqual([g.u64(0x9020), g.u64(0x9028)], [sum, sum]);
    });
  });
}

test("MFENCE: of two that store and then load, one sees the other's store", async () => {
  const g = new SmpGuest(STORE_LOAD, { rcx: 5000 });
  await g.run();
  assert.equal(g.u32(At.DATA), 20_000, "all came to all barriers");
  assert.equal(g.u32(At.DATA + 0x100), 0);
});
