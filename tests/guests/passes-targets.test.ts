/* Indirect calls and jumps that are guessed, and returns to known places: right guesses, wrong ones, targets that are rare, too many or no code at all. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import type { RegionPasses } from "../../src/engine/wasm/translator/region-options.ts";
import { code, type Listing } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import { At, kernelGuest, type SmallGuest } from "./small-guest.ts";

const [RCX, RBX, RSI, RDI] = [1, 3, 6, 7];
const PAGE = 4096;
const KEPT = [At.DATA, At.STACK - PAGE, At.STACK];
/** No canonical address. */
const NOWHERE = 1n << 60n;

interface Run {
  /** R9. */
  readonly rounds: number;
  readonly registers?: Readonly<Record<number, number>>;
  /** Code at each label: a table at RDI. */
  readonly table?: readonly string[];
  readonly prepare?: (g: SmallGuest) => void;
  readonly pass?: keyof RegionPasses;
}
function run(
  text: string,
  program: Listing,
  { rounds, registers, table = [], prepare, pass = "guessTargets" }: Run,
): Outcome {
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest(program, { [RDI]: At.DATA, ...registers, 9: rounds }, { translation });
    table.forEach((label, i) => g.write64(At.DATA + 8 * i, BigInt(At.CODE + program.at(label))));
    prepare?.(g);
    return g;
  };
  return compare({ make, kept: KEPT }, text, pass);
}
/** R10 and R11. */
const sums = ({ state }: Outcome): string[] => (state["gpr"] as string[]).slice(10, 12);

const TABLE = code(`
  again:
  44 89 c8                        mov eax, r9d
  83 e0 07                        and eax, 7
  ff 14 c7                        call qword ptr [rdi + rax * 8]
  49 83 c2 01                     add r10, 1
  e8 06 00 00 00                  call nested
  41 ff c9                        dec r9d
  75 e9                           jne again
  f4                              hlt
  nested:
  44 89 c8                        mov eax, r9d
  d1 e8                           shr eax, 1
  83 e0 03                        and eax, 3
  e8 04 00 00 00                  call switch
  49 01 c3                        add r11, rax
  c3                              ret
  switch:
  48 8d 15 09 00 00 00            lea rdx, [rip + first]
  48 8d 0c 80                     lea rcx, [rax + rax * 4]
  48 01 ca                        add rdx, rcx
  ff e2                           jmp rdx
  first:
  b0 03                           mov al, 3
  eb 0d                           jmp short done
  90                              nop
  b0 05                           mov al, 5
  eb 08                           jmp short done
  90                              nop
  b0 07                           mov al, 7
  eb 03                           jmp short done
  90                              nop
  b0 0b                           mov al, 11
  done:
  c3                              ret
  f0:
  49 83 c2 02                     add r10, 2
  c3                              ret
  f1:
  4f 8d 14 52                     lea r10, [r10 + r10 * 2]
  c3                              ret
  f2:
  eb f9                           jmp f1
  f3:
  48 83 04 24 04                  add qword ptr [rsp], 4
  49 83 c2 05                     add r10, 5
  c3                              ret
  f4:
  5a                              pop rdx
  49 83 c2 07                     add r10, 7
  ff e2                           jmp rdx
  f5:
  b9 03 00 00 00                  mov ecx, 3
  f5a:
  49 01 ca                        add r10, rcx
  ff c9                           dec ecx
  75 f9                           jne f5a
  c3                              ret
  f6:
  53                              push rbx
  4c 89 d3                        mov rbx, r10
  e8 d2 ff ff ff                  call f1
  49 01 da                        add r10, rbx
  5b                              pop rbx
  c3                              ret
  f7:
  41 83 f9 64                     cmp r9d, 100
  72 04                           jb f7a
  49 83 c2 09                     add r10, 9
  f7a:
  c3                              ret
`);
const MANY = code(`
  again:
  44 89 c8                        mov eax, r9d
  31 d2                           xor edx, edx
  f7 f1                           div ecx
  48 8d 14 92                     lea rdx, [rdx + rdx * 4]
  48 8d 35 0e 00 00 00            lea rsi, [rip + bodies]
  48 01 f2                        add rdx, rsi
  ff d2                           call rdx
  49 01 c2                        add r10, rax
  41 ff c9                        dec r9d
  75 e1                           jne again
  f4                              hlt
  bodies:
  b0 01                           mov al, 1
  eb 38                           jmp short end1
  90                              nop
  b0 02                           mov al, 2
  eb 30                           jmp short end2
  90                              nop
  b0 04                           mov al, 4
  eb 2e                           jmp short end1
  90                              nop
  b0 08                           mov al, 8
  eb 26                           jmp short end2
  90                              nop
  b0 10                           mov al, 16
  eb 24                           jmp short end1
  90                              nop
  b0 20                           mov al, 32
  eb 1c                           jmp short end2
  90                              nop
  b0 40                           mov al, 64
  eb 1a                           jmp short end1
  90                              nop
  b0 03                           mov al, 3
  eb 12                           jmp short end2
  90                              nop
  b0 05                           mov al, 5
  eb 10                           jmp short end1
  90                              nop
  b0 07                           mov al, 7
  eb 08                           jmp short end2
  90                              nop
  b0 09                           mov al, 9
  eb 06                           jmp short end1
  90                              nop
  b0 0b                           mov al, 11
  end2:
  49 ff c3                        inc r11
  end1:
  c3                              ret
`);
const FAULT = code(`
  again:
  48 89 f0                        mov rax, rsi
  41 83 f9 02                     cmp r9d, 2
  48 0f 44 c3                     cmove rax, rbx
  ff d0                           call rax
  49 83 c2 01                     add r10, 1
  41 ff c9                        dec r9d
  75 ea                           jne again
  f4                              hlt
  callee:
  49 83 c3 01                     add r11, 1
  48 89 f8                        mov rax, rdi
  41 39 c9                        cmp r9d, ecx
  48 0f 44 c3                     cmove rax, rbx
  ff e0                           jmp rax
  target:
  49 83 c2 03                     add r10, 3
  c3                              ret
`);
const WALK = code(`
  again:
  b9 09 00 00 00                  mov ecx, 9
  e8 0e 00 00 00                  call walk
  49 01 c2                        add r10, rax
  e8 4e 00 00 00                  call odd
  41 ff c9                        dec r9d
  75 e9                           jne again
  f4                              hlt
  walk:
  31 c0                           xor eax, eax
  85 c9                           test ecx, ecx
  74 3c                           je leaf
  51                              push rcx
  ff c9                           dec ecx
  e8 f2 ff ff ff                  call walk
  48 8b 0c 24                     mov rcx, [rsp]
  50                              push rax
  d1 e9                           shr ecx, 1
  f7 c1 01 00 00 00               test ecx, 1
  74 05                           je skip
  e8 de ff ff ff                  call walk
  skip:
  5a                              pop rdx
  59                              pop rcx
  48 01 d0                        add rax, rdx
  48 01 c8                        add rax, rcx
  83 f9 05                        cmp ecx, 5
  75 13                           jne leaf
  44 89 ca                        mov edx, r9d
  83 e2 07                        and edx, 7
  75 0b                           jne leaf
  5a                              pop rdx
  48 8d 35 04 00 00 00            lea rsi, [rip + elsewhere]
  52                              push rdx
  56                              push rsi
  c3                              ret
  leaf:
  c3                              ret
  elsewhere:
  49 83 c3 01                     add r11, 1
  c3                              ret
  odd:
  48 8d 15 b1 ff ff ff            lea rdx, [rip + walk]
  31 c9                           xor ecx, ecx
  52                              push rdx
  c3                              ret
`);
const PLT = code(`
  again:
  b9 03 00 00 00                  mov ecx, 3
  e8 09 00 00 00                  call middle
  49 01 c2                        add r10, rax
  41 ff c9                        dec r9d
  75 ee                           jne again
  f4                              hlt
  middle:
  51                              push rcx
  e8 0d 00 00 00                  call stub
  59                              pop rcx
  48 01 c8                        add rax, rcx
  e8 04 00 00 00                  call stub
  4c 01 c8                        add rax, r9
  c3                              ret
  stub:
  ff 27                           jmp qword ptr [rdi]
  body:
  8d 04 49                        lea eax, [rcx + rcx * 2]
  ff c9                           dec ecx
  75 f9                           jne body
  41 83 f9 28                     cmp r9d, 40
  75 03                           jne same
  48 89 37                        mov [rdi], rsi
  same:
  c3                              ret
  other:
  b8 4d 00 00 00                  mov eax, 77
  c3                              ret
`);

describe("guessed targets", () => {
  test("a table of functions: tail calls, loops, nested calls, changed return addresses, a switch", () => {
    const table = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"];
    const rounds = 120;
    const outcome = run("table", TABLE, { rounds, table });
    assert.deepEqual([outcome.vector, sums(outcome)[1]], [undefined, ((rounds / 4) * (3 + 5 + 7 + 11)).toString(16)]);
  });
  test("all the same, and one that is rare", () => {
    for (const table of [["f0"], ["f5", "f0", "f0", "f0", "f0", "f0", "f0", "f0"]]) {
      const all = Array.from({ length: 8 }, (_, i) => table[i % table.length]!);
      assert.equal(run(`table of ${all.join()}`, TABLE, { rounds: 80, table: all }).vector, undefined);
    }
  });
  test("more targets than are kept, and fewer", () => {
    for (const targets of [1, 2, 7, 8, 9, 12]) {
      const odd = Array.from({ length: 240 }, (_, n) => ((240 - n) % targets) % 2).reduce((a, b) => a + b);
      const outcome = run(`${targets} targets`, MANY, { rounds: 240, registers: { [RCX]: targets } });
      assert.deepEqual([outcome.vector, sums(outcome)[1]], [undefined, odd.toString(16)]);
    }
  });
  test("an address that is not canonical: #GP at the jump, with the state of before", () => {
    for (const [jump, first] of [
      [7, 0x1_0000],
      [1, 0x1_0000],
    ] as const) {
      const make: Run["prepare"] = (g) => {
        g.gate(13);
        g.regs.setGpr(RBX, NOWHERE);
      };
      const registers = { [RCX]: jump, [RSI]: first + FAULT.at("callee"), [RDI]: first + FAULT.at("target") };
      assert.equal(run(`fault at ${jump}`, FAULT, { rounds: 60, registers, prepare: make }).vector, 13);
    }
  });
  test("a jump through memory behind a call, to a target that changes", () => {
    const registers = { [RSI]: At.CODE + PLT.at("other") };
    const outcome = run("stub", PLT, { rounds: 80, registers, table: ["body"] });
    assert.equal(outcome.vector, undefined);
    assert.notEqual(sums(outcome)[0], "0");
  });
});

describe("known returns", () => {
  test("recursion from two places, with returns elsewhere and jumps that look like returns", () => {
    const outcome = run("walk", WALK, { rounds: 24, pass: "knownReturns" });
    assert.equal(outcome.vector, undefined);
    assert.notEqual(sums(outcome)[1], "0");
  });
});
