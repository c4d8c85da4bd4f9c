/* Conditions after everything that sets flags: in the next block, after branches that join, at the top of a loop, and as carry or old value of the next instruction. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Program, compare } from "./passes.ts";
import { code } from "./listing.ts";
import { At, kernelGuest } from "./small-guest.ts";

const SIZES = [1, 2, 4, 8] as const;
type Size = (typeof SIZES)[number];
const [RCX, RBX, RDI, R8] = [1, 3, 7, 8];

/** Operands (RAX, RCX), in pairs. */
const OPERANDS = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 63n,
  -1n,
];
const PAIRS = OPERANDS.flatMap((a) => [0n, 1n, 0x80n, 0x8000_0000n, -1n, 1n << 63n].map((b) => [a, b] as const));
/** Bytes that a round writes. */
const ROUND = 32;
const TABLE = At.DATA;
const RESULTS = At.DATA + 0x1000;
const PAGES = Math.ceil((PAIRS.length * ROUND) / 4096);

/** Prefix and opcode for a size: opcodes of byte forms are one less. */
function sized(size: Size, opcode: readonly number[], ...rest: number[]): number[] {
  const last = opcode.length - 1;
  const form = opcode.map((byte, i) => (i === last && size === 1 ? byte - 1 : byte));
  return [...(size === 2 ? [0x66] : size === 8 ? [0x48] : []), ...form, ...rest];
}
const immediate = (size: Size, value: number): number[] =>
  Array.from({ length: Math.min(size, 4) }, (_, i) => (value >> (8 * i)) & 0xff);
const AX_CX = 0xc8; // ModRM: r/m is RAX, reg is RCX

/** Instructions that define all flags that are looked at (AF only where `af`). */
const SETTERS: Readonly<Record<string, (size: Size) => number[]>> = {
  add: (n) => sized(n, [0x01], AX_CX),
  "add imm": (n) => sized(n, [0x81], 0xc0, ...immediate(n, 0x7f)),
  adc: (n) => sized(n, [0x11], AX_CX),
  sub: (n) => sized(n, [0x29], AX_CX),
  sbb: (n) => sized(n, [0x19], AX_CX),
  cmp: (n) => sized(n, [0x39], AX_CX),
  "cmp imm": (n) => sized(n, [0x81], 0xf8, ...immediate(n, -128)),
  "cmp 0": (n) => sized(n, [0x81], 0xf8, ...immediate(n, 0)),
  and: (n) => sized(n, [0x21], AX_CX),
  or: (n) => sized(n, [0x09], AX_CX),
  xor: (n) => sized(n, [0x31], AX_CX),
  test: (n) => sized(n, [0x85], AX_CX),
  "test with itself": (n) => sized(n, [0x85], 0xc0),
  inc: (n) => sized(n, [0xff], 0xc0),
  dec: (n) => sized(n, [0xff], 0xc8),
  neg: (n) => sized(n, [0xf7], 0xd8),
  "shl 1": (n) => sized(n, [0xd1], 0xe0),
  "shr 1": (n) => sized(n, [0xd1], 0xe8),
  "sar 1": (n) => sized(n, [0xd1], 0xf8),
  "rol 1": (n) => sized(n, [0xd1], 0xc0),
  "rcr 1": (n) => sized(n, [0xd1], 0xd8),
  xadd: (n) => sized(n, [0x0f, 0xc1], AX_CX),
  cmpxchg: (n) => sized(n, [0x0f, 0xb1], AX_CX),
  "add memory": (n) => sized(n, [0x01], 0x0b), // add [rbx], rcx
  "cmp memory": (n) => sized(n, [0x3b], 0x03), // cmp rax, [rbx]
};
/** Without sizes. */
const OTHERS: Readonly<Record<string, number[]>> = {
  stc: [0xf9],
  clc: [0xf8],
  cmc: [0xf5],
  sahf: [0x9e],
  popfq: [0x25, 0xd5, 0x08, 0, 0, 0x50, 0x9d], // and eax, 0x8d5; push rax; popfq
  bt: [0x0f, 0xa3, 0xc8],
  comisd: [0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x66, 0x48, 0x0f, 0x6e, 0xc9, 0x66, 0x0f, 0x2f, 0xc1], // of RAX and RCX as doubles
  ucomiss: [0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0x6e, 0xc9, 0x0f, 0x2e, 0xc1],
  ptest: [0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x66, 0x48, 0x0f, 0x6e, 0xc9, 0x66, 0x0f, 0x38, 0x17, 0xc1],
};
const NEXT_BLOCK = [0xeb, 0x00];

const setcc = (cc: number): number[] => [0x0f, 0x90 + cc, 0x47, cc]; // setcc [rdi + cc]
/** Jcc over a store, by which nothing is known of the flags afterwards. */
const branch = (cc: number): number[] => [0x70 + cc, 0x04, 0xc6, 0x47, 16 + (cc & 7), cc]; // mov byte [rdi + 16 + …], cc
/** Those first for which a region never needs the lazy pair: once it is made, it stays. */
const ALL = [2, 3, 4, 5, 8, 9, 10, 11, 6, 7, 12, 13, 14, 15, 0, 1];
const FLAGS_WORD = [0x9c, 0x8f, 0x47, 0x18]; // pushfq; pop [rdi + 24]
const READERS: Readonly<Record<string, number[]>> = {
  "SETcc in the next block": [...NEXT_BLOCK, ...ALL.flatMap(setcc), ...FLAGS_WORD],
  "Jcc, one after the other": [...ALL.flatMap(branch), ...FLAGS_WORD],
  "CMOVcc and SBB": [...ALL.flatMap((cc) => [0x48, 0x0f, 0x40 + cc, 0xd1]), 0x48, 0x19, 0xd2, 0x48, 0x89, 0x17], // cmovcc rdx, rcx; sbb rdx, rdx; mov [rdi], rdx
  "INC, then SETcc": [0xff, 0xc2, ...NEXT_BLOCK, ...ALL.flatMap(setcc), ...FLAGS_WORD],
  PUSHF: FLAGS_WORD,
};

/** For each pair of operands: loads them, does the body, writes what the readers see. */
function rounds(body: readonly number[]): Program {
  const start = code(`
    49 8b 00                        mov rax, [r8]
    49 8b 48 08                     mov rcx, [r8 + 8]
    48 89 0b                        mov [rbx], rcx
    31 d2                           xor edx, edx
  `).bytes;
  const end = code(`
    48 83 c7 20                     add rdi, 32
    49 83 c0 10                     add r8, 16
    41 ff c9                        dec r9d
  `).bytes;
  const bytes = [...start, ...body, ...end];
  const back = -(bytes.length + 6);
  bytes.push(0x0f, 0x85, ...[0, 8, 16, 24].map((bit) => (back >> bit) & 0xff), 0xf4); // jnz; hlt
  return {
    kept: [RESULTS - 0x1000 + 0x5000, ...Array.from({ length: PAGES }, (_, i) => RESULTS + 4096 * i), At.STACK - 4096],
    make: (translation) => {
      const g = kernelGuest(
        code(""),
        { [RBX]: RESULTS + 0x4000, [RDI]: RESULTS, [R8]: TABLE, 9: PAIRS.length },
        { translation },
      );
      g.write(At.CODE, bytes);
      PAIRS.forEach(([a, b], i) => {
        g.write64(TABLE + 16 * i, BigInt.asUintN(64, a));
        g.write64(TABLE + 16 * i + 8, BigInt.asUintN(64, b));
      });
      g.regs.setGpr(RCX, 0n);
      return g;
    },
  };
}
function check(text: string, body: readonly number[]): void {
  const { end, vector } = compare(rounds(body), text, "fusedConditions");
  assert.deepEqual([end, vector], ["halted", undefined], text);
}

const setters = Object.entries(SETTERS).flatMap(([name, of]) =>
  SIZES.map((size): [string, number[]] => [`${name} ${8 * size}`, of(size)]),
);
setters.push(...Object.entries(OTHERS));

describe("conditions after each instruction that sets flags", () => {
  for (const [reader, bytes] of Object.entries(READERS)) {
    test(reader, () => {
      for (const [name, setter] of setters) check(`${name}; ${reader}`, [...setter, ...bytes]);
    });
  }
});

test("after branches that join, whichever was taken", () => {
  setters.forEach(([name, first], i) => {
    const [other, second] = setters[(7 * i + 3) % setters.length]!;
    const [readerName, reader] = Object.entries(READERS)[i % 5]!;
    // test cl, 1; jz second; first; jmp join; second: … join:
    const body = [0xf6, 0xc1, 0x01, 0x74, first.length + 2, ...first, 0xeb, second.length, ...second, ...reader];
    check(`${name} or ${other}; ${readerName}`, body);
  });
});

test("at the top of a loop, from before it and from its end", () => {
  setters.forEach(([name, setter], i) => {
    const [other, last] = setters[(11 * i + 5) % setters.length]!;
    // setter; mov edx, 3; top: pushfq; pop [rdi + 24]; SETcc …; lea edx, [rdx − 1]; mov esi, ecx; last; mov ecx, edx; jecxz out; mov ecx, esi; jmp top; out:
    const top = [...FLAGS_WORD, ...ALL.slice(0, 8).flatMap(setcc), 0x8d, 0x52, 0xff, 0x89, 0xce, ...last, 0x89, 0xd1];
    const back = top.length + 7;
    const body = [...setter, 0xba, 3, 0, 0, 0, ...top, 0x67, 0xe3, 0x04, 0x89, 0xf1, 0xeb, -back & 0xff];
    check(`${name}, then ${other} in a loop`, body);
  });
});
