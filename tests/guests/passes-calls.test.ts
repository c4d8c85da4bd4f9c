/* Calls and returns that do not match: the return of an inlined callee is a comparison, and must also be right where it does not hold. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { code, type Listing } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import { At, kernelGuest, type SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RBX, RDI, R12] = [0, 1, 3, 7, 12];
const PAGE = 4096;
const KEPT = [At.DATA, At.STACK - PAGE, At.STACK];

/** @param rounds R9 */
function run(
  text: string,
  program: Listing,
  rounds: number,
  registers: Readonly<Record<number, number>> = {},
): Outcome {
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest(program, { ...registers, 9: rounds }, { translation });
    g.gate(14, { ist: 1 });
    return g;
  };
  return compare({ make, kept: KEPT }, text, "inlineCalls");
}
/** R10, if the program came to its HLT. */
function sum({ vector, state }: Outcome): string {
  assert.equal(vector, undefined);
  return (state["gpr"] as string[])[10]!;
}

describe("calls", () => {
  test("return addresses that the callee has changed, taken or dropped", () => {
    const program = code(`
      again:
      e8 19 00 00 00                  call skips
      0f 0b                           ud2
      48 89 07                        mov [rdi], rax
      e8 19 00 00 00                  call pops
      48 83 c0 03                     add rax, 3
      e8 16 00 00 00                  call dropped
      41 ff c9                        dec r9d
      75 e3                           jne again
      f4                              hlt
      skips:
      48 83 04 24 02                  add qword ptr [rsp], 2
      48 83 c0 01                     add rax, 1
      c3                              ret
      pops:
      5a                              pop rdx
      48 01 c8                        add rax, rcx
      ff e2                           jmp rdx
      dropped:
      e8 01 00 00 00                  call deeper
      c3                              ret
      deeper:
      48 83 c4 08                     add rsp, 8
      48 83 c0 05                     add rax, 5
      c3                              ret
    `);
    assert.equal(run("changed", program, 30, { [RAX]: 1, [RCX]: 5, [RDI]: At.DATA }).vector, undefined);
  });
  test("recursion, twice in one function", () => {
    const program = code(`
      again:
      b9 0a 00 00 00                  mov ecx, 10
      e8 09 00 00 00                  call fib
      49 01 c2                        add r10, rax
      41 ff c9                        dec r9d
      75 ee                           jne again
      f4                              hlt
      fib:
      83 f9 02                        cmp ecx, 2
      72 17                           jb small
      51                              push rcx
      ff c9                           dec ecx
      e8 f3 ff ff ff                  call fib
      59                              pop rcx
      50                              push rax
      83 e9 02                        sub ecx, 2
      e8 e9 ff ff ff                  call fib
      5a                              pop rdx
      48 01 d0                        add rax, rdx
      c3                              ret
      small:
      89 c8                           mov eax, ecx
      c3                              ret
    `);
    assert.equal(sum(run("recursion", program, 3)), (3 * 55).toString(16));
  });
  test("a jump out of deep calls, to a stack of before", () => {
    const program = code(`
      again:
      48 89 e3                        mov rbx, rsp
      48 8d 35 0c 00 00 00            lea rsi, [rip + caught]
      b9 06 00 00 00                  mov ecx, 6
      e8 19 00 00 00                  call deep
      0f 0b                           ud2
      caught:
      49 01 c2                        add r10, rax
      b9 03 00 00 00                  mov ecx, 3
      e8 0a 00 00 00                  call deep
      49 83 c3 01                     add r11, 1
      41 ff c9                        dec r9d
      75 d4                           jne again
      f4                              hlt
      deep:
      48 ff c0                        inc rax
      83 f9 00                        cmp ecx, 0
      7e 13                           jle out
      ff c9                           dec ecx
      51                              push rcx
      e8 f0 ff ff ff                  call deep
      59                              pop rcx
      83 f9 04                        cmp ecx, 4
      75 05                           jne out
      48 89 dc                        mov rsp, rbx
      ff e6                           jmp rsi
      out:
      c3                              ret
    `);
    assert.notEqual(sum(run("longjmp", program, 12)), "0");
  });
  test("parameters on the stack, calls deeper than the limit, tail calls, and a return elsewhere", () => {
    const program = code(`
      again:
      6a 07                           push 7
      6a 08                           push 8
      e8 10 00 00 00                  call takes
      e8 18 00 00 00                  call first
      e8 4c 00 00 00                  call elsewhere
      41 ff c9                        dec r9d
      75 e8                           jne again
      f4                              hlt
      takes:
      48 8b 44 24 08                  mov rax, [rsp + 8]
      4c 03 54 24 10                  add r10, [rsp + 16]
      c2 10 00                        ret 16
      first:
      e8 02 00 00 00                  call second
      eb 2d                           jmp last
      second:
      e8 05 00 00 00                  call third
      49 83 c2 02                     add r10, 2
      c3                              ret
      third:
      e8 05 00 00 00                  call fourth
      49 83 c2 03                     add r10, 3
      c3                              ret
      fourth:
      e8 05 00 00 00                  call fifth
      49 83 c2 04                     add r10, 4
      c3                              ret
      fifth:
      e8 05 00 00 00                  call sixth
      49 83 c2 05                     add r10, 5
      c3                              ret
      sixth:
      49 ff c2                        inc r10
      eb 00                           jmp last
      last:
      49 83 c3 01                     add r11, 1
      c3                              ret
      elsewhere:
      48 8d 15 05 00 00 00            lea rdx, [rip + away]
      48 89 14 24                     mov [rsp], rdx
      c3                              ret
      away:
      4d 01 ca                        add r10, r9
      41 ff c9                        dec r9d
      75 8d                           jne again
      f4                              hlt
    `);
    assert.equal(
      sum(run("deep", program, 20)),
      Array.from({ length: 20 }, (_, n) => 7 + 15 + 20 - n)
        .reduce((a, b) => a + b)
        .toString(16),
    );
  });
  test("another stack in between, and a return that is a jump", () => {
    const program = code(`
      again:
      49 89 e0                        mov r8, rsp
      4c 89 e4                        mov rsp, r12
      e8 12 00 00 00                  call onother
      4c 89 c4                        mov rsp, r8
      e8 11 00 00 00                  call switcher
      49 83 c2 01                     add r10, 1
      41 ff c9                        dec r9d
      75 e4                           jne again
      f4                              hlt
      onother:
      49 83 c2 03                     add r10, 3
      51                              push rcx
      5a                              pop rdx
      c3                              ret
      switcher:
      5a                              pop rdx
      48 8d 0d 03 00 00 00            lea rcx, [rip + target]
      52                              push rdx
      51                              push rcx
      c3                              ret
      target:
      49 83 c3 07                     add r11, 7
      c3                              ret
    `);
    assert.equal(sum(run("stacks", program, 30, { [R12]: At.DATA + 0x800, [RCX]: 3 })), (30 * 4).toString(16));
  });
  test("a fault in the middle of inlined calls, and one at the push of a return address", () => {
    const program = code(`
      again:
      e8 06 00 00 00                  call middle
      41 ff c9                        dec r9d
      75 f6                           jne again
      f4                              hlt
      middle:
      49 ff c2                        inc r10
      e8 01 00 00 00                  call inner
      c3                              ret
      inner:
      8b 03                           mov eax, [rbx]
      48 01 fb                        add rbx, rdi
      c3                              ret
    `);
    const missing = run("fault", program, 40, { [RBX]: 0x20_0000 - 0x100, [RDI]: 16 }); // behind the identity map
    assert.deepEqual([missing.vector, (missing.state["gpr"] as string[])[10]], [14, (17).toString(16)]);
    const stack = run("stack", program, 40, { [RBX]: At.DATA, [RDI]: 0, 4: 0x20_0010 });
    assert.deepEqual([stack.vector, stack.state["cr2"]], [14, 0x20_0008n]);
  });
});
