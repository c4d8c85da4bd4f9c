/* LOCKed instructions of two vCPUs that run at the same time. A counter that both change must come out exact. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { code, type Listing } from "./listing.ts";
import { At, SmpGuest, type SmpOptions } from "./smp-guest.ts";

async function run(program: Listing, options: SmpOptions): Promise<SmpGuest> {
  const g = new SmpGuest(program, options);
  await g.run();
  return g;
}

const INC = code(`
  again:
  f0 ff 03                        lock inc dword [rbx]
  ff c9                           dec ecx
  75 f9                           jne again
`);
const CMPXCHG = code(`
  again:
  8b 03                           mov eax, [rbx]
  retry:
  8d 50 01                        lea edx, [rax + 1]
  f0 0f b1 13                     lock cmpxchg [rbx], edx
  75 f7                           jne retry
  ff c9                           dec ecx
  75 f1                           jne again
`);

describe("counters", () => {
  for (const [where, offset, rcx] of [
    ["aligned", 0, 2_000_000],
    ["unaligned inside 8 bytes", 1, 2_000_000],
    ["across 8 bytes", 6, 1000],
    ["across cache lines", 62, 1000],
    ["across pages", 0xffe, 1000],
  ] as const) {
    test(`LOCK INC, ${where}`, async () => {
      const rbx = At.DATA + offset;
      const g = await run(INC, { rbx, rcx });
      assert.equal(g.u32(rbx), 2 * rcx);
    });
    test(`LOCK CMPXCHG, ${where}`, async () => {
      const rbx = At.DATA + offset;
      const g = await run(CMPXCHG, { rbx, rcx });
      assert.equal(g.u32(rbx), 2 * rcx);
    });
  }

  test("of all widths and operations", async () => {
    const rcx = 50_001;
    const ops = code(`
      again:
      66 f0 83 03 01                  lock add word [rbx], 1
      f0 80 6b 08 01                  lock sub byte [rbx + 8], 1
      b8 02 00 00 00                  mov eax, 2
      f0 48 0f c1 43 10               lock xadd [rbx + 16], rax
      f0 48 f7 5b 18                  lock neg qword [rbx + 24]
      f0 0f ba 7b 20 05               lock btc dword [rbx + 32], 5
      f9                              stc
      f0 83 53 28 00                  lock adc dword [rbx + 40], 0
      ff c9                           dec ecx
      75 d6                           jne again
    `);
    const g = new SmpGuest(ops, { rcx });
    g.ram.writeU64(At.DATA + 24, 7n);
    await g.run();
    assert.equal(g.u16(At.DATA), (2 * rcx) & 0xffff);
    assert.equal(g.u8(At.DATA + 8), (-2 * rcx) & 0xff);
    assert.equal(g.u64(At.DATA + 16), BigInt(4 * rcx));
    assert.equal(g.u64(At.DATA + 24), 7n, "an even number of changes of sign");
    assert.equal(g.u32(At.DATA + 32), 0, "an even number of changes of a bit");
    assert.equal(g.u32(At.DATA + 40), 2 * rcx);
  });

  test("on more vCPUs than executors", async () => {
    for (const executors of [1, 2]) {
      const g = await run(INC, { vcpus: 5, executors, rcx: 100_000 });
      assert.equal(g.u32(At.DATA), 500_000);
    }
  });

  test("in a page with code", async () => {
    const rbx = At.CODE + 0x800;
    const g = await run(INC, { rbx, rcx: 10_000 });
    assert.equal(g.u32(rbx), 20_000);
  });
});

describe("spin locks around a plain counter", () => {
  test("XCHG", async () => {
    const g = await run(
      code(`
        again:
        b8 01 00 00 00                  mov eax, 1
        87 03                           xchg [rbx], eax
        85 c0                           test eax, eax
        74 04                           je got
        f3 90                           pause
        eb f1                           jmp again
        got:
        ff 43 40                        inc dword [rbx + 64]
        c7 03 00 00 00 00               mov dword [rbx], 0
        ff c9                           dec ecx
        75 e4                           jne again
      `),
      { rcx: 100_000 },
    );
    assert.equal(g.u32(At.DATA + 64), 200_000);
  });

  test("LOCK BTS of a bit string", async () => {
    const g = await run(
      code(`
        41 b9 23 00 00 00               mov r9d, 35
        again:
        f0 44 0f ab 0b                  lock bts [rbx], r9d
        72 f9                           jb again
        ff 43 40                        inc dword [rbx + 64]
        f0 44 0f b3 0b                  lock btr [rbx], r9d
        ff c9                           dec ecx
        75 ed                           jne again
      `),
      { rcx: 100_000 },
    );
    assert.equal(g.u32(At.DATA + 64), 200_000);
  });
});

describe("pairs", () => {
  test("CMPXCHG8B", async () => {
    const rcx = 100_000;
    const g = await run(
      code(`
        again:
        41 89 c9                        mov r9d, ecx
        8b 03                           mov eax, [rbx]
        8b 53 04                        mov edx, [rbx + 4]
        retry:
        41 89 c2                        mov r10d, eax
        41 89 d3                        mov r11d, edx
        41 8d 4b 03                     lea ecx, [r11 + 3]
        49 89 dc                        mov r12, rbx
        41 8d 5a 01                     lea ebx, [r10 + 1]
        f0 41 0f c7 0c 24               lock cmpxchg8b [r12]
        4c 89 e3                        mov rbx, r12
        75 e4                           jne retry
        44 89 c9                        mov ecx, r9d
        ff c9                           dec ecx
        75 d5                           jne again
      `),
      { rcx },
    );
    assert.deepEqual([g.u32(At.DATA), g.u32(At.DATA + 4)], [2 * rcx, 6 * rcx]);
  });

  const CMPXCHG16B = code(`
    41 89 c9                        mov r9d, ecx
    49 89 dc                        mov r12, rbx
    again:
    49 8b 04 24                     mov rax, [r12]
    49 8b 54 24 08                  mov rdx, [r12 + 8]
    retry:
    48 8d 4a 03                     lea rcx, [rdx + 3]
    48 8d 58 01                     lea rbx, [rax + 1]
    f0 49 0f c7 0c 24               lock cmpxchg16b [r12]
    75 f0                           jne retry
    41 ff c9                        dec r9d
    75 e2                           jne again
  `);
  for (const [where, rbx, rcx] of [
    ["in a page of data", At.DATA, 100_000],
    ["in a page with code", At.CODE + 0x800, 2000],
  ] as const) {
    test(`CMPXCHG16B ${where}`, async () => {
      const g = await run(CMPXCHG16B, { rbx, rcx });
      assert.deepEqual([g.u64(rbx), g.u64(rbx + 8)], [BigInt(2 * rcx), BigInt(6 * rcx)]);
    });
  }

  test("CMPXCHG16B against LOCK ADD of either half", async () => {
    const rcx = 1_000_000;
    const g = await run(
      code(`
        41 89 c9                        mov r9d, ecx
        49 89 dc                        mov r12, rbx
        85 ff                           test edi, edi
        75 20                           jne narrow
        again:
        49 8b 04 24                     mov rax, [r12]
        49 8b 54 24 08                  mov rdx, [r12 + 8]
        retry:
        48 8d 4a 03                     lea rcx, [rdx + 3]
        48 8d 58 01                     lea rbx, [rax + 1]
        f0 49 0f c7 0c 24               lock cmpxchg16b [r12]
        75 f0                           jne retry
        41 ff c9                        dec r9d
        75 e2                           jne again
        eb 12                           jmp end
        narrow:
        f0 49 83 44 24 08 05            lock add qword [r12 + 8], 5
        f0 49 83 04 24 07               lock add qword [r12], 7
        41 ff c9                        dec r9d
        75 ee                           jne narrow
        end:
      `),
      { rcx },
    );
    assert.deepEqual([g.u64(At.DATA), g.u64(At.DATA + 8)], [BigInt(8 * rcx), BigInt(8 * rcx)]);
  });
});
