/* Random programs, some of which rewrite themselves. Tests only. */
import { Reg } from "../../src/isa/registers.ts";
import { Random } from "../instructions/random.ts";
import { code } from "./listing.ts";
import { At, type GuestOptions, kernelGuest, Pte, type SmallGuest } from "./small-guest.ts";

const CODE_BYTES = 512;
/** Code begins here: its middle is a page boundary. */
const START = 0x60_1000 - CODE_BYTES / 2;
export const FRAMES = [At.FREE + 0x5000, At.FREE + 0x2000] as const;

/** RBX points into the code, RDI at data, RSP at a stack; the rest is numbers. */
const PIECES = code(`
  01 c8                           add eax, ecx
  48 11 c2                        adc rdx, rax
  4d 29 c8                        sub r8, r9
  83 d9 07                        sbb ecx, 7
  31 d0                           xor eax, edx
  49 21 c1                        and r9, rax
  83 c9 55                        or ecx, 0x55
  48 39 d0                        cmp rax, rdx
  85 c1                           test ecx, eax
  49 ff c2                        inc r10
  ff c8                           dec eax
  48 f7 da                        neg rdx
  49 f7 d0                        not r8
  48 8d 74 88 05                  lea rsi, [rax + rcx * 4 + 5]
  46 8d 04 0a                     lea r8d, [rdx + r9]
  48 0f af c2                     imul rax, rdx
  48 c1 e2 03                     shl rdx, 3
  d3 e8                           shr eax, cl
  49 c1 c1 0d                     rol r9, 13
  0f b6 c8                        movzx ecx, al
  48 0f bf d1                     movsx rdx, cx
  49 89 c2                        mov r10, rax
  ba 78 56 34 12                  mov edx, 0x12345678
  49 91                           xchg rax, r9
  49 0f ca                        bswap r10
  48 0f 42 c2                     cmovc rax, rdx
  0f 94 c1                        setz cl
  0f ba e0 05                     bt eax, 5
  48 0f ba ea 09                  bts rdx, 9
  99                              cdq
  f9                              stc
  f5                              cmc
  50                              push rax
  52                              push rdx
  59                              pop rcx
  41 58                           pop r8
  48 89 07                        mov [rdi], rax
  89 57 08                        mov [rdi + 8], edx
  88 4f 0d                        mov [rdi + 13], cl
  48 8b 07                        mov rax, [rdi]
  8b 4f 06                        mov ecx, [rdi + 6]
  0f b6 57 03                     movzx edx, byte ptr [rdi + 3]
  48 01 4f 10                     add [rdi + 16], rcx
  48 2b 57 08                     sub rdx, [rdi + 8]
  48 0f c1 47 18                  xadd [rdi + 24], rax
  f0 ff 47 01                     lock inc dword ptr [rdi + 1]
  48 0f b1 17                     cmpxchg [rdi], rdx
  74 12                           jz skip
  73 10                           jnc skip
  78 0e                           js skip
  eb 0c                           jmp skip
  7e 0a                           jle skip
  39 d0                           cmp eax, edx
  77 06                           ja skip
  90                              nop
  e8 00 00 00 00                  call skip
skip:
  9c                              pushfq
  9d                              popfq
  66 48 0f 6e c0                  movq xmm0, rax
  66 0f d4 c8                     paddq xmm1, xmm0
  0f 11 4f 04                     movups [rdi + 4], xmm1
  df 2f                           fild qword ptr [rdi]
  df 7f 08                        fistp qword ptr [rdi + 8]
  88 43 28                        mov [rbx + 40], al
  c6 43 60 90                     mov byte ptr [rbx + 96], 0x90
  88 53 03                        mov [rbx + 3], dl
  66 c7 43 11 ff c0               mov word ptr [rbx + 17], 0xc0ff
  fe 43 3c                        inc byte ptr [rbx + 60]
  48 89 8b fc 00 00 00            mov [rbx + 252], rcx
  48 8d 5b 01                     lea rbx, [rbx + 1]
  aa                              stosb
  a4                              movsb
  f4                              hlt
`).pieces();
/** IMUL; shifts and rotations by more than 1; bit tests. */
const UNDEFINING = [[0x48, 0x0f, 0xaf], [0x48, 0xc1], [0xd3], [0x49, 0xc1], [0x0f, 0xba], [0x48, 0x0f, 0xba]];
/** Those that neither jump nor write where RBX points. */
const QUIET_PIECES = PIECES.filter(
  ([first, second, third]) =>
    !((first! & 0xf0) === 0x70 || [0xeb, 0xe8, 0xf4].includes(first!)) &&
    !([0x88, 0xc6, 0xfe].includes(first!) && (second! & 7) === 3) &&
    !([0x66, 0x48].includes(first!) && [0xc7, 0x89].includes(second!) && (third! & 7) === 3),
);
/** Of these the ones that leave no flag undefined but AF, which is 0 then on every processor: what may be compared with the host's. */
export const DEFINED_PIECES = QUIET_PIECES.filter(
  (piece) => !UNDEFINING.some((bytes) => bytes.every((byte, i) => piece[i] === byte)),
);
/** Of these the ones that push, pop, or go by RDI. */
export const TOUCHING_PIECES = DEFINED_PIECES.filter((piece) => {
  const isStack = (piece[0]! & 0xf0) === 0x50 || piece[1] === 0x58;
  return isStack || (piece.at(-1)! & 0xc7) === 7 || (piece.length > 2 && (piece.at(-2)! & 0xc7) === 0x47);
});
/** Jumps whose target is a few bytes on, whatever is there. */
const JUMPS = [0x70, 0x72, 0x74, 0x75, 0x77, 0x78, 0x7c, 0x7f, 0xeb];

export function randomProgram(random: Random): number[] {
  const bytes: number[] = [];
  while (bytes.length < CODE_BYTES - 16) {
    if (random.oneIn(6))
      bytes.push(random.pick(JUMPS), random.oneIn(12) ? 256 - random.below(40) - 2 : random.below(12));
    else bytes.push(...random.pick(PIECES));
  }
  return [...bytes, ...Array.from({ length: 16 }, () => 0xf4)];
}

const near = (opcode: readonly number[], from: number, to: number): number[] => {
  const distance = to - (from + opcode.length + 4);
  return [...opcode, ...[0, 8, 16, 24].map((bit) => (distance >> bit) & 0xff)];
};
/** One that ends, and does not change: jumps lead to instructions, and back no more than R14 times. */
export function quietProgram(random: Random, pieces: readonly Uint8Array[] = QUIET_PIECES): number[] {
  const bytes = [0x41, 0xbe, 40, 0, 0, 0]; // mov r14d, 40
  const starts = [bytes.length];
  const forward: { at: number; pieces: number; opcode: number[] }[] = [];
  while (bytes.length < CODE_BYTES - 40) {
    const jcc = [0x0f, 0x80 + random.below(16)];
    if (random.oneIn(5)) {
      const opcode = random.oneIn(4) ? [0xe9] : jcc;
      forward.push({ at: bytes.length, pieces: starts.length + 1 + random.below(5), opcode });
      bytes.push(...near(opcode, 0, 0));
    } else if (random.oneIn(8)) {
      bytes.push(0x45, 0x85, 0xf6, 0x7e, 9, 0x41, 0xff, 0xce); // test r14d, r14d; jle over; dec r14d
      bytes.push(...near(jcc, bytes.length, random.pick(starts)));
    } else bytes.push(...random.pick(pieces));
    starts.push(bytes.length);
  }
  const end = bytes.length;
  for (const { at, pieces, opcode } of forward)
    bytes.splice(at, opcode.length + 4, ...near(opcode, at, starts[pieces] ?? end));
  return [...bytes, ...Array.from({ length: CODE_BYTES - end }, () => 0xf4)];
}

export function makeRandom(bytes: readonly number[], seed: number, options: GuestOptions = {}): SmallGuest {
  const random = new Random(seed);
  const g = kernelGuest(code(""), Object.fromEntries([0, 1, 2, 8, 9, 10].map((n) => [n, random.u64()])), options);
  FRAMES.forEach((frame, i) => g.map(0x60_0000 + i * 0x1000, frame, Pte.W));
  bytes.forEach((byte, i) => g.write(physical(START + i), [byte]));
  g.regs.set64(Reg.RIP, BigInt(START));
  g.regs.setGpr(3, BigInt(START + random.below(CODE_BYTES - 300)));
  g.regs.setGpr(6, BigInt(At.DATA + 512));
  g.regs.setGpr(7, BigInt(At.DATA));
  return g;
}
const physical = (va: number): number => FRAMES[(va - 0x60_0000) >> 12]! + (va & 0xfff);
