/* Accesses through one base register: across pages forwards and backwards, to pages that are missing, read-only or code, under SMAP, and after mappings have changed. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { Random } from "../instructions/random.ts";
import { code, type Listing } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import { At, Cr4, kernelGuest, Pte, SmallGuest } from "./small-guest.ts";

const PAGE = 4096;
const [RAX, RCX, RDX, RBX, RSI, RDI] = [0, 1, 2, 3, 6, 7];
const R12 = 12;
/** Six pages whose frames lie in another order, so that what runs past a page's end in the frames memory is not the next page. */
const VA = 0x60_0000;
const FRAMES = [5, 2, 7, 1, 6, 3].map((n) => At.FREE + n * PAGE);
/** Once stood for "no page" in regions. */
const NOT_CANONICAL = 0x7a5b_3c1d_9e8f_6010n;
const STACK = At.STACK - PAGE;

interface Setting {
  readonly registers: Readonly<Record<number, number | bigint>>;
  readonly cr4?: bigint;
  readonly prepare?: (g: SmallGuest) => void;
}
function run(text: string, program: Listing, { registers, cr4 = 0n, prepare = (): void => {} }: Setting): Outcome {
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest(program, registers, { translation, cr4 });
    FRAMES.forEach((frame, i) => {
      g.map(VA + i * PAGE, frame, Pte.W);
      g.write(
        frame,
        Uint8Array.from({ length: PAGE }, (_, at) => (at * 7 + i * 31) & 0xff),
      );
    });
    prepare(g);
    return g;
  };
  return compare({ make, kept: [...FRAMES, STACK, 0x2000] }, text, "pageReuse");
}
const faults = ({ vector }: Outcome, cr2: unknown, expected: bigint): void =>
  assert.deepEqual([vector, cr2], [14, expected]);

const WALK = code(`
  again:
  48 8b 03                        mov rax, [rbx]
  01 0b                           add [rbx], ecx
  0f 10 03                        movups xmm0, [rbx]
  0f 11 43 10                     movups [rbx + 16], xmm0
  49 01 c2                        add r10, rax
  4c 01 e3                        add rbx, r12
  41 ff c9                        dec r9d
  75 e9                           jne again
  f4                              hlt
`);

describe("across pages", () => {
  test("forwards and backwards, in all steps and positions", () => {
    for (const step of [1, 3, 8, 13, 64, 512, 4096, 4095, -1, -5, -8, -31, -512, -4096, -4097]) {
      for (const offset of [0, 5]) {
        const count = Math.min(60, Math.floor((2 * PAGE) / Math.abs(step)));
        const start =
          VA + (step > 0 ? 1 : 3) * PAGE - (Math.abs(step) >= 512 ? 0 : Math.sign(step) * 20 * Math.abs(step)) - offset;
        const registers = { [RBX]: start, [RCX]: 0x01020304, [R12]: BigInt.asUintN(64, BigInt(step)), 9: count };
        assert.equal(run(`step ${step}`, WALK, { registers }).vector, undefined);
      }
    }
  });
  test("an access that begins in the page before a page at hand is not inside it", () => {
    const program = code(`
      48 8b 43 08                     mov rax, [rbx + 8]
      48 8b 4b ff                     mov rcx, [rbx − 1]
      48 8b 53 fc                     mov rdx, [rbx − 4]
      0f 10 43 f1                     movups xmm0, [rbx − 15]
      0f 11 43 f3                     movups [rbx − 13], xmm0
      48 89 43 f9                     mov [rbx − 7], rax
      66 89 43 ff                     mov [rbx − 1], ax
      01 4b fd                        add [rbx − 3], ecx
      48 83 c3 00                     add rbx, 0
      75 00                           jne next
      48 8b 73 f9                     mov rsi, [rbx − 7]
      f4                              hlt
    `);
    for (let page = 1; page < FRAMES.length; page++)
      assert.equal(run(`page ${page}`, program, { registers: { [RBX]: VA + page * PAGE } }).vector, undefined);
  });
  test("random accesses of all sizes near the ends of pages", () => {
    const OPS = [
      [0x48, 0x8b],
      [0x8b],
      [0x66, 0x8b],
      [0x8a],
      [0x48, 0x89],
      [0x89],
      [0x66, 0x89],
      [0x88],
      [0x48, 0x01],
      [0x0f, 0xb6],
    ];
    const VECTORS = [
      [0x0f, 0x10],
      [0x0f, 0x11],
      [0xf3, 0x0f, 0x7e],
      [0x66, 0x0f, 0xd6],
    ];
    for (let seed = 1; seed <= 25; seed++) {
      const random = new Random(seed);
      const bytes: number[] = [];
      for (let n = 0; n < 40; n++) {
        if (random.oneIn(4)) bytes.push(0x48, 0x83, 0xc3, random.below(48) - 24); // add rbx, n
        else if (random.oneIn(5)) bytes.push(0x75, 0x00);
        else {
          const op = random.pick(random.oneIn(4) ? VECTORS : OPS);
          const register = random.pick([RAX, RCX, RDX]);
          bytes.push(...op, 0x43 | (register << 3), random.below(100) - 50);
        }
      }
      bytes.push(
        0x41,
        0xff,
        0xc9,
        0x0f,
        0x85,
        ...[0, 8, 16, 24].map((bit) => (-(bytes.length + 9) >> bit) & 0xff),
        0xf4,
      );
      const registers = { [RBX]: VA + 2 * PAGE + random.below(40) - 20, 9: 6 };
      run(`seed ${seed}`, { ...code(""), bytes: Uint8Array.from(bytes) }, { registers });
    }
  });
  test("the stack and a frame, downwards over page ends", () => {
    const program = code(`
      again:
      50                              push rax
      51                              push rcx
      e8 00 00 00 00                  call next
      next:
      5a                              pop rdx
      48 01 d0                        add rax, rdx
      48 89 44 24 08                  mov [rsp + 8], rax
      48 89 4d f0                     mov [rbp − 16], rcx
      48 8d 6d d8                     lea rbp, [rbp − 40]
      41 ff c9                        dec r9d
      75 e3                           jne again
      f4                              hlt
    `);
    for (const misaligned of [0, 3]) {
      const registers = { 4: VA + 4 * PAGE + 64 + misaligned, 5: VA + 2 * PAGE + 500 + misaligned, [RCX]: 77, 9: 40 };
      assert.equal(run("stack", program, { registers }).vector, undefined);
    }
  });
});

describe("faults behind a page at hand", () => {
  test("a page that is missing, reached by small steps either way", () => {
    for (const step of [8, -8, 3]) {
      const registers = { [RBX]: VA + 2 * PAGE - step * 10, [R12]: BigInt.asUintN(64, BigInt(step)), 9: 100 };
      const missing = VA + (step > 0 ? 2 : 1) * PAGE;
      const outcome = run(`step ${step}`, WALK, { registers, prepare: (g) => g.unmap(missing) });
      assert.equal(outcome.vector, 14);
    }
  });
  test("a store to a page that was read and is read-only", () => {
    const program = code(`
      48 8b 03                        mov rax, [rbx]
      48 8b 4b 08                     mov rcx, [rbx + 8]
      48 89 43 10                     mov [rbx + 16], rax
      f4                              hlt
    `);
    const outcome = run("read-only", program, {
      registers: { [RBX]: VA },
      prepare: (g) => g.map(VA, FRAMES[0]!, 0n),
    });
    faults(outcome, outcome.state["cr2"], BigInt(VA + 16));
  });
  test("user pages, after STAC and CLAC", () => {
    const program = code(`
      again:
      0f 01 cb                        stac
      48 8b 03                        mov rax, [rbx]
      48 89 43 08                     mov [rbx + 8], rax
      0f 01 ca                        clac
      4c 03 16                        add r10, [rsi]
      41 ff c9                        dec r9d
      75 eb                           jne again
      48 8b 4b 10                     mov rcx, [rbx + 16]
      f4                              hlt
    `);
    const registers = { [RBX]: At.USER + 0x100, [RSI]: VA, 9: 20 };
    const outcome = run("SMAP", program, { registers, cr4: Cr4.SMAP });
    faults(outcome, outcome.state["cr2"], BigInt(At.USER + 0x110));
  });
  test("an address that is not canonical, where nothing is at hand yet", () => {
    const program = code(`
      again:
      4c 03 13                        add r10, [rbx]
      41 ff c9                        dec r9d
      75 f8                           jne again
      48 89 f3                        mov rbx, rsi
      41 b9 32 00 00 00               mov r9d, 50
      ff e7                           jmp rdi
    `);
    const registers = { [RBX]: VA, [RSI]: NOT_CANONICAL, [RDI]: At.CODE, 9: 50 };
    assert.equal(run("not canonical", program, { registers }).vector, 13);
  });
});

describe("mappings that change while a region runs", () => {
  test("INVLPG between accesses to the page", () => {
    const program = code(`
      again:
      48 8b 03                        mov rax, [rbx]
      49 01 c2                        add r10, rax
      48 89 17                        mov [rdi], rdx
      48 87 f2                        xchg rdx, rsi
      0f 01 3b                        invlpg [rbx]
      48 8b 4b 08                     mov rcx, [rbx + 8]
      49 01 ca                        add r10, rcx
      41 ff c9                        dec r9d
      75 e5                           jne again
      f4                              hlt
    `);
    const entry = new SmallGuest().entry(VA);
    const [here, there] = FRAMES.map((frame) => BigInt(frame) | Pte.P | Pte.W);
    const registers = { [RBX]: VA, [RDI]: entry, [RDX]: there!, [RSI]: here!, 9: 50 };
    const { vector, state } = run("remapped", program, { registers });
    assert.deepEqual([vector, (state["gpr"] as string[])[10] !== "0"], [undefined, true]);
  });
  test("a store to code, behind a page at hand for reads", () => {
    const program = code(`
      again:
      48 8b 03                        mov rax, [rbx]
      49 01 c2                        add r10, rax
      44 88 4b 02                     mov [rbx + 2], r9b
      ff d3                           call rbx
      41 ff c9                        dec r9d
      75 ef                           jne again
      f4                              hlt
    `);
    const registers = { [RBX]: VA, 9: 30, [RDX]: 0 };
    // add edx, imm8; ret
    const prepare = (g: SmallGuest): void => g.write(FRAMES[0]!, [0x83, 0xc2, 0x00, 0xc3]);
    const { vector, state } = run("code", program, { registers, prepare });
    assert.deepEqual([vector, (state["gpr"] as string[])[RDX]], [undefined, (465).toString(16)]);
  });
});
