/* Jumps inside one privilege level: to where no code can be, at a page's end, by counts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { Engine } from "../../src/engine/wasm/layout.ts";
import { Reg } from "../../src/isa/registers.ts";
import { code } from "./listing.ts";
import { At, kernelGuest } from "./small-guest.ts";

const [RAX, RCX, RSP] = [0, 1, 4];

describe("jumps and returns to addresses that are not canonical", () => {
  const GP = 13;
  const jump = code(`
      ff e0                           jmp rax
  `);
  const back = code(`
      50                              push rax
      c3                              ret
  `);
  for (const [name, program] of [
    ["JMP", jump],
    ["RET", back],
  ] as const) {
    // the code cache of native code tells address spaces by these bits: 0 with the tag in force, and the program's own address with that of others
    for (const low of [0, At.CODE])
      test(`${name} to ${low.toString(16)} with the tag in force as the upper bits`, () => {
        const g = kernelGuest(program, { [RSP]: At.STACK });
        g.run();
        const words = new Int32Array(g.regs.bytes.buffer, g.regs.bytes.byteOffset, Reg.SIZE / 4);
        for (const tag of [words[Engine.CODE_TAG >> 2]!, words[Engine.CODE_TAG_GLOBAL >> 2]!]) {
          for (const upper of [tag & 0xffff, (tag ^ 2) & 0xffff, 0x8000 ^ (tag & 0xffff)]) {
            if (upper === 0 || upper === 0xffff) continue;
            g.regs.set64(Reg.RIP, BigInt(At.CODE));
            g.regs.setGpr(RSP, BigInt(At.STACK));
            g.regs.setGpr(RAX, (BigInt(upper) << 48n) | BigInt(low));
            assert.equal(g.run().vector, GP);
          }
        }
      });
  }
});

describe("JRCXZ and JECXZ", () => {
  test("at the very end of a page, with another page behind it", () => {
    for (const [rcx, expected] of [
      [0n, 1n],
      [1n, 2n],
    ] as const) {
      const g = kernelGuest(
        code(`
          e9 f9 0f 00 00                  jmp ${At.CODE + 0xffe}
        `),
        { [RCX]: rcx },
      );
      g.write(At.CODE + 0xff0, [0xb0, 0x01, 0xf4]); // mov al, 1; hlt
      g.write(At.CODE + 0xffe, [0xe3, 0xf0]); // jrcxz −16
      g.write(At.CODE + 0x1000, [0xb0, 0x02, 0xf4]);
      g.run();
      assert.equal(g.gpr(RAX) & 0xffn, expected);
    }
  });
  test("JECXZ looks at 32 bits", () => {
    const g = kernelGuest(
      code(`
        67 e3 03                        jecxz +3
        b0 01                           mov al, 1
        f4                              hlt
        b0 02                           mov al, 2
        f4                              hlt
      `),
      { [RCX]: 0x1_0000_0000n },
    );
    g.run();
    assert.equal(g.gpr(RAX) & 0xffn, 2n);
  });
});

test("where native code cannot be had after all, hot code becomes regions", () => {
  const program = code(`
      b9 64 00 00 00                  mov ecx, 100
      83 e9 01                        sub ecx, 1
      75 fb                           jne -5
      ff e0                           jmp rax
  `);
  const g = kernelGuest(
    program,
    { [RAX]: At.CODE + 0x1000 },
    { translation: { ...TRANSLATE_ALL, native: () => undefined } },
  );
  for (const page of [1, 2, 3]) {
    g.write(At.CODE + page * 0x1000, program.bytes);
    g.write(At.CODE + page * 0x1000 + 10, [0x05, 0x00, 0x10, 0x00, 0x00, 0xff, 0xe0]); // add eax, 0x1000; jmp rax
  }
  g.write(At.CODE + 0x4000, [0xf4]);
  assert.equal(g.run().rip, At.CODE + 0x4001);
});
