/* Registers that are stored where they are written: of all widths, in code without loops that faults, leaves in the middle, and is entered there. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { code, type Listing } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import { At, kernelGuest, type SmallGuest } from "./small-guest.ts";

const [RAX, RCX, RDX, RBX, RSI, RDI] = [0, 1, 2, 3, 6, 7];

/** The program goes round by RBX, which no region follows without guesses: so it has no loop there. @param rounds RCX */
function run(
  text: string,
  program: Listing,
  rounds: number,
  registers: Readonly<Record<number, number>> = {},
): Outcome {
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest(program, { [RBX]: At.CODE, [RDI]: At.DATA, [RCX]: rounds, ...registers }, { translation });
    g.gate(14, { ist: 1 });
    return g;
  };
  return compare({ make }, text, "writeThrough");
}

describe("writeThrough", () => {
  test("all widths of a register", () => {
    const { vector, state } = run(
      "widths",
      code(`
        48 69 c0 35 7a 00 00            imul rax, rax, 0x7a35
        04 05                           add al, 5
        80 ec 03                        sub ah, 3
        66 ff c2                        inc dx
        88 c6                           mov dh, al
        8d 34 10                        lea esi, [rax+rdx]
        0f 42 f2                        cmovb esi, edx
        48 87 f2                        xchg rdx, rsi
        49 01 d0                        add r8, rdx
        ff c9                           dec ecx
        74 02                           jz over
        ff e3                           jmp rbx
        over:
        f4                              hlt
      `),
      40,
      { [RAX]: 0x1234_5678, [RDX]: 7 },
    );
    assert.equal(vector, undefined);
    assert.notEqual((state["gpr"] as string[])[8], "0");
  });
  test("a fault and an instruction of the interpreter between writes", () => {
    const missing = 0x70_0000;
    const { vector, state } = run(
      "faults",
      code(`
        48 ff 47 08                     inc qword [rdi+8]
        49 ff c0                        inc r8
        4d 89 c1                        mov r9, r8
        0f a2                           cpuid
        48 8b 4f 08                     mov rcx, [rdi+8]
        48 83 f9 32                     cmp rcx, 50
        48 0f 4d fe                     cmovge rdi, rsi
        bb 00 00 01 00                  mov ebx, 0x10000
        ff e3                           jmp rbx
      `),
      0,
      { [RSI]: missing },
    );
    assert.equal(vector, 14);
    assert.deepEqual([state["cr2"], (state["gpr"] as string[])[9]], [BigInt(missing + 8), "32"]);
  });
});
