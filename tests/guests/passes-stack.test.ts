/* Accesses through RSP at known distances: in one page and across its ends, on pages that are missing, read-only, clean or user's, and where RSP goes elsewhere in between. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TRANSLATE_NOTHING, type TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { Random } from "../instructions/random.ts";
import { code, type Listing } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import type { SmallGuest } from "./small-guest.ts";
import { At, Cr4, kernelGuest, Pte } from "./small-guest.ts";

const PAGE = 4096;
const [RAX, RCX, RDX, RBX, RSP] = [0, 1, 2, 3, 4];
/** Four pages whose frames are no neighbours. */
const VA = 0x60_0000;
const FRAMES = [4, 1, 7, 2].map((n) => At.FREE + n * PAGE);

interface Setting {
  readonly rsp: number;
  readonly registers?: Readonly<Record<number, number | bigint>>;
  readonly cr4?: bigint;
  readonly prepare?: (g: SmallGuest) => void;
}
function run(
  text: string,
  program: Listing,
  { rsp, registers = {}, cr4 = 0n, prepare = (): void => {} }: Setting,
): Outcome {
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest(
      program,
      { [RAX]: 5, [RCX]: 7, [RDX]: 9, [RBX]: VA, ...registers, [RSP]: rsp },
      { translation, cr4 },
    );
    FRAMES.forEach((frame, i) => {
      g.map(VA + i * PAGE, frame, Pte.W);
      g.write(
        frame,
        Uint8Array.from({ length: PAGE }, (_, at) => (at * 5 + i * 29) & 0xff),
      );
    });
    g.gate(14, { ist: 1 }); // the stack is what faults
    prepare(g);
    return g;
  };
  // with the page table, for its A and D bits
  const table = make(TRANSLATE_NOTHING).entry(VA);
  return compare({ make, kept: [...FRAMES, At.STACK - PAGE, 0x2000, table - (table % PAGE)] }, text, "stackSpans");
}

/** A function with a frame that calls another one, in a loop; the frames' accesses are in several nodes. */
const FRAMED = code(`
  again:
  e8 07 00 00 00                  call outer
  41 ff c9                        dec r9d
  75 f6                           jne again
  f4                              hlt
  90                              nop
  outer:
  53                              push rbx
  55                              push rbp
  48 83 ec 28                     sub rsp, 40
  48 89 04 24                     mov [rsp], rax
  89 4c 24 0c                     mov [rsp + 12], ecx
  e8 1a 00 00 00                  call inner
  a8 01                           test al, 1
  74 05                           je even
  48 03 44 24 08                  add rax, [rsp + 8]
  even:
  0f 11 44 24 10                  movups [rsp + 16], xmm0
  48 01 44 24 38                  add [rsp + 56], rax
  48 83 c4 28                     add rsp, 40
  5d                              pop rbp
  5b                              pop rbx
  c3                              ret
  90                              nop
  inner:
  51                              push rcx
  48 03 44 24 10                  add rax, [rsp + 16]
  66 8f 44 24 fe                  pop word ptr [rsp − 4]
  48 8d 64 24 fa                  lea rsp, [rsp − 6]
  48 8d 64 24 0c                  lea rsp, [rsp + 12]
  48 8d 64 24 f8                  lea rsp, [rsp − 8]
  48 83 c4 00                     add rsp, 0
  59                              pop rcx
  48 83 ec 08                     sub rsp, 8
  59                              pop rcx
  c3                              ret
`);

describe("frames", () => {
  test("everywhere around the end of a page", () => {
    for (let at = -136; at <= 136; at += 20) run(`at ${at}`, FRAMED, { rsp: VA + 2 * PAGE + at, registers: { 9: 60 } });
  });
  test("beyond what one stretch takes", () => {
    const program = code(`
      again:
      50                              push rax
      48 81 ec 00 06 00 00            sub rsp, 0x600
      48 89 0c 24                     mov [rsp], rcx
      48 03 84 24 fc 05 00 00         add rax, [rsp + 0x5fc]
      48 01 84 24 00 08 00 00         add [rsp + 0x800], rax
      48 81 c4 00 06 00 00            add rsp, 0x600
      58                              pop rax
      ff c1                           inc ecx
      41 ff c9                        dec r9d
      75 d5                           jne again
      f4                              hlt
    `);
    for (const at of [0x700, 0x5fc, 0x604, 0xa00, 8, 4, 0])
      run(`at ${at}`, program, { rsp: VA + PAGE + at, registers: { 9: 60 } });
  });
  test("RSP goes elsewhere and back in a loop", () => {
    const program = code(`
      again:
      50                              push rax
      48 89 e5                        mov rbp, rsp
      48 8d a3 80 01 00 00            lea rsp, [rbx + 0x180]
      51                              push rcx
      48 83 e4 f0                     and rsp, −16
      52                              push rdx
      48 03 44 24 08                  add rax, [rsp + 8]
      c9                              leave
      48 89 6c 24 f8                  mov [rsp − 8], rbp
      48 8d 64 24 08                  lea rsp, [rsp + 8]
      48 8d 64 24 f0                  lea rsp, [rsp − 16]
      58                              pop rax
      48 01 c1                        add rcx, rax
      41 ff c9                        dec r9d
      75 d1                           jne again
      f4                              hlt
    `);
    for (const at of [0x800, 16, 8, 0]) run(`at ${at}`, program, { rsp: VA + 2 * PAGE + at, registers: { 9: 50 } });
  });
  test("random programs near the ends of pages", () => {
    const PIECES = code(`
      50                              push rax
      52                              push rdx
      66 51                           push cx
      6a 85                           push −123
      9c                              pushf
      59                              pop rcx
      5a                              pop rdx
      66 58                           pop ax
      8f 44 24 08                     pop [rsp + 8]
      ff 74 24 10                     push [rsp + 16]
      48 83 ec 18                     sub rsp, 24
      48 83 c4 18                     add rsp, 24
      48 83 c4 03                     add rsp, 3
      48 83 ec 03                     sub rsp, 3
      48 ff cc                        dec rsp
      48 ff c4                        inc rsp
      48 8d 64 24 f0                  lea rsp, [rsp − 16]
      48 8d 64 24 10                  lea rsp, [rsp + 16]
      48 8b 44 24 08                  mov rax, [rsp + 8]
      89 44 24 fc                     mov [rsp − 4], eax
      48 01 54 24 20                  add [rsp + 32], rdx
      0f 10 4c 24 05                  movups xmm1, [rsp + 5]
      0f 11 4c 24 f3                  movups [rsp − 13], xmm1
      88 4c 24 ff                     mov [rsp − 1], cl
      f0 48 0f c1 44 24 10            lock xadd [rsp + 16], rax
      48 87 44 24 18                  xchg rax, [rsp + 24]
      48 0f ab 4c 24 08               bts [rsp + 8], rcx
      48 94                           xchg rax, rsp
      48 94                           xchg rax, rsp
      75 00                           jne next
      74 00                           je next
      85 c9                           test ecx, ecx
    `).pieces();
    const exchange = PIECES.findIndex((piece) => piece[0] === 0x48 && piece[1] === 0x94);
    for (let seed = 1; seed <= 25; seed++) {
      const random = new Random(seed);
      const pieces: Uint8Array[] = [];
      for (let n = 0; n < 50; n++) {
        const i = random.below(PIECES.length);
        // RSP becomes RAX and is RSP again at once
        if (i === exchange || i === exchange + 1) pieces.push(PIECES[exchange]!, PIECES[exchange]!);
        else pieces.push(PIECES[i]!);
      }
      const body = pieces.flatMap((piece) => [...piece]);
      const tail = [0x41, 0xff, 0xc9, 0x0f, 0x85];
      const back = -(body.length + tail.length + 4);
      const bytes = Uint8Array.from([...body, ...tail, ...[0, 8, 16, 24].map((bit) => (back >> bit) & 0xff), 0xf4]);
      run(`seed ${seed}`, { ...code(""), bytes }, { rsp: VA + 2 * PAGE + random.below(160) - 80, registers: { 9: 8 } });
    }
  });
});

describe("a stretch on pages that are not simply writable", () => {
  const BOTH = code(`
    again:
    48 03 04 24                     add rax, [rsp]
    85 c9                           test ecx, ecx
    74 05                           je skip
    48 89 44 24 08                  mov [rsp + 8], rax
    skip:
    41 ff c9                        dec r9d
    75 ee                           jne again
    f4                              hlt
  `);
  test("reading a clean page does not mark it dirty, writing does", () => {
    for (const rcx of [0, 1]) run(`rcx ${rcx}`, BOTH, { rsp: VA + 0x100, registers: { [RCX]: rcx, 9: 60 } });
  });
  test("a read-only page is read; a write faults", () => {
    const readOnly = (g: SmallGuest): void => g.map(VA, FRAMES[0]!, 0n);
    assert.equal(
      run("reads", BOTH, { rsp: VA + 0x100, registers: { [RCX]: 0, 9: 60 }, prepare: readOnly }).vector,
      undefined,
    );
    const outcome = run("writes", BOTH, { rsp: VA + 0x100, registers: { [RCX]: 1, 9: 60 }, prepare: readOnly });
    assert.deepEqual([outcome.vector, outcome.state["cr2"]], [14, BigInt(VA + 0x108)]);
  });
  test("the page below is missing: what is in the page above is done, and the fault is the push's", () => {
    const program = code(`
      again:
      48 03 44 24 08                  add rax, [rsp + 8]
      50                              push rax
      41 ff c9                        dec r9d
      75 f5                           jne again
      f4                              hlt
    `);
    const outcome = run("growing", program, {
      rsp: VA + PAGE + 0x200,
      registers: { 9: 1000 },
      prepare: (g) => g.unmap(VA),
    });
    assert.deepEqual([outcome.vector, outcome.state["cr2"]], [14, BigInt(VA + PAGE - 8)]);
  });
  test("user pages between STAC and CLAC", () => {
    const program = code(`
      again:
      0f 01 cb                        stac
      50                              push rax
      48 03 44 24 08                  add rax, [rsp + 8]
      0f 01 ca                        clac
      41 ff c9                        dec r9d
      75 ef                           jne again
      48 8b 4c 24 10                  mov rcx, [rsp + 16]
      f4                              hlt
    `);
    const outcome = run("SMAP", program, { rsp: At.USER + 0x800, registers: { 9: 20 }, cr4: Cr4.SMAP });
    assert.deepEqual([outcome.vector, outcome.state["cr2"]], [14, BigInt(At.USER + 0x800 - 20 * 8 + 16)]);
  });
});
