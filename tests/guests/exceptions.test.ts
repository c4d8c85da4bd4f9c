/* Every exception: its error code, the RIP it saves, and that the registers, the flags and the count of retired instructions are those of the instruction before. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Reg, Rflags, SegmentIndex } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, Pte, Selector, SmallGuest } from "./small-guest.ts";

interface Case {
  readonly name: string;
  readonly program: Listing;
  readonly vector: number;
  readonly errorCode?: bigint;
  /** Label of the saved RIP; "fault" unless given. */
  readonly at?: string;
  readonly user?: boolean;
  readonly prepare?: (g: SmallGuest) => void;
}

const setCr0 =
  (set: bigint, clear = 0n) =>
  (g: SmallGuest): void => {
    g.regs.set64(Reg.CR0, (g.regs.get64(Reg.CR0) | set) & ~clear);
    g.vcpu.modeChanged();
  };
const UD2 = code(`
  ff c3                           inc ebx
fault:
  0f 0b                           ud2
`);

const cases: readonly Case[] = [
  {
    name: "#DE: division by zero",
    vector: 0,
    program: code(`
        31 c9                           xor ecx, ecx
        f9                              stc
      fault:
        f7 f1                           div ecx
    `),
  },
  {
    name: "#DE: quotient too large",
    vector: 0,
    program: code(`
        ba 05 00 00 00                  mov edx, 5
        b9 05 00 00 00                  mov ecx, 5
      fault:
        48 f7 f1                        div rcx
    `),
  },
  {
    name: "#DE: IDIV of the most negative number by -1",
    vector: 0,
    program: code(`
        b8 00 00 00 80                  mov eax, 0x80000000
        99                              cdq
        83 c9 ff                        or ecx, -1
      fault:
        f7 f9                           idiv ecx
    `),
  },
  {
    name: "#DB: INT1 saves the next RIP",
    vector: 1,
    at: "next",
    program: code(`
        ff c3                           inc ebx
        f1                              int1
      next:
        f4                              hlt
    `),
  },
  {
    name: "#BP: INT3 saves the next RIP",
    vector: 3,
    at: "next",
    program: code(`
        ff c3                           inc ebx
        cc                              int3
      next:
        f4                              hlt
    `),
  },
  {
    name: "#BP from user code needs a gate of DPL 3",
    vector: 13,
    errorCode: 3n * 8n + 2n,
    user: true,
    program: code(`
      fault:
        cc                              int3
    `),
  },
  {
    name: "INT n saves the next RIP",
    vector: 0x80,
    at: "next",
    program: code(`
        ff c3                           inc ebx
        cd 80                           int 0x80
      next:
        f4                              hlt
    `),
  },
  { name: "#UD: UD2", vector: 6, program: UD2 },
  {
    name: "#UD: no instruction",
    vector: 6,
    program: code(`
        ff c3                           inc ebx
      fault:
        06                              .byte 0x06
    `),
  },
  {
    name: "#UD: LOCK where it may not be",
    vector: 6,
    program: code(`
        ff c3                           inc ebx
      fault:
        f0 01 c8                        .byte 0xf0, 0x01, 0xc8
    `),
  },
  {
    name: "#GP: an instruction of more than 15 bytes",
    vector: 13,
    errorCode: 0n,
    program: code(`
        ff c3                           inc ebx
      fault:
        66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90  .byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
    `),
  },
  {
    name: "#NM: x87 with CR0.TS",
    vector: 7,
    prepare: setCr0(8n),
    program: code(`
        ff c3                           inc ebx
      fault:
        d9 e8                           fld1
    `),
  },
  {
    name: "#NM: SSE with CR0.TS",
    vector: 7,
    prepare: setCr0(8n),
    program: code(`
        ff c3                           inc ebx
      fault:
        0f 58 c1                        addps xmm0, xmm1
    `),
  },
  {
    name: "#UD: SSE with CR0.EM",
    vector: 6,
    prepare: setCr0(4n),
    program: code(`
        ff c3                           inc ebx
      fault:
        0f 58 c1                        addps xmm0, xmm1
    `),
  },
  {
    name: "#UD: SSE without CR4.OSFXSR",
    vector: 6,
    program: code(`
        0f 20 e1                        mov rcx, cr4
        48 0f ba f1 09                  btr rcx, 9
        0f 22 e1                        mov cr4, rcx
      fault:
        0f 58 c1                        addps xmm0, xmm1
    `),
  },
  {
    name: "#TS: an IST entry beyond the TSS",
    vector: 10,
    errorCode: BigInt(Selector.TSS),
    prepare: (g) => {
      g.gate(0x80, { ist: 7 });
      g.regs.setSegment(SegmentIndex.TR, { ...g.regs.segment(SegmentIndex.TR), limit: 0x40 });
    },
    program: code(`
        ff c3                           inc ebx
      fault:
        cd 80                           int 0x80
    `),
  },
  {
    name: "#NP: a segment that is not present",
    vector: 11,
    errorCode: BigInt(Selector.ABSENT),
    program: code(`
        b9 58 00 00 00                  mov ecx, 0x58
      fault:
        8e d9                           mov ds, ecx
    `),
  },
  {
    name: "#NP: a gate that is not present",
    vector: 11,
    errorCode: 0x80n * 8n + 2n,
    prepare: (g) => g.gate(0x80, { present: false }),
    program: code(`
        ff c3                           inc ebx
      fault:
        cd 80                           int 0x80
    `),
  },
  {
    name: "#SS: a stack segment that is not present",
    vector: 12,
    errorCode: BigInt(Selector.ABSENT),
    program: code(`
        b9 58 00 00 00                  mov ecx, 0x58
      fault:
        8e d1                           mov ss, ecx
    `),
  },
  {
    name: "#SS: a stack address that is not canonical",
    vector: 12,
    errorCode: 0n,
    program: code(`
        48 bd 00 00 00 00 00 80 00 00   mov rbp, 0x800000000000
      fault:
        48 8b 45 08                     mov rax, [rbp + 8]
    `),
  },
  {
    name: "#GP: a data address that is not canonical",
    vector: 13,
    errorCode: 0n,
    program: code(`
        48 bb 00 00 00 00 00 80 00 00   mov rbx, 0x800000000000
      fault:
        01 03                           add [rbx], eax
    `),
  },
  {
    name: "#GP: a bad selector",
    vector: 13,
    errorCode: 0x1000n,
    program: code(`
        b9 00 10 00 00                  mov ecx, 0x1000
      fault:
        8e d9                           mov ds, ecx
    `),
  },
  {
    name: "#GP: HLT in user code",
    vector: 13,
    errorCode: 0n,
    user: true,
    program: code(`
        ff c3                           inc ebx
      fault:
        f4                              hlt
    `),
  },
  {
    name: "#GP: a jump to an address that is not canonical",
    vector: 13,
    errorCode: 0n,
    program: code(`
        48 bb 00 00 00 00 00 80 00 00   mov rbx, 0x800000000000
      fault:
        ff e3                           jmp rbx
    `),
  },
  {
    name: "#GP: SSE memory operand not aligned",
    vector: 13,
    errorCode: 0n,
    program: code(`
        bb 08 00 03 00                  mov ebx, 0x30008
      fault:
        0f 58 03                        addps xmm0, [rbx]
    `),
  },
  {
    name: "#GP: an MSR that does not exist",
    vector: 13,
    errorCode: 0n,
    program: code(`
        b9 99 09 00 00                  mov ecx, 0x999
      fault:
        0f 32                           rdmsr
    `),
  },
  {
    name: "#GP: reserved bits of CR4",
    vector: 13,
    errorCode: 0n,
    program: code(`
        0f 20 e0                        mov rax, cr4
        48 0f ba e8 1f                  bts rax, 31
      fault:
        0f 22 e0                        mov cr4, rax
    `),
  },
  {
    name: "#PF",
    vector: 14,
    errorCode: 2n,
    program: code(`
        bb 00 00 70 00                  mov ebx, 0x700000
      fault:
        89 03                           mov [rbx], eax
    `),
  },
  {
    name: "#MF at the next waiting x87 instruction",
    vector: 16,
    program: code(`
        68 7b 03 00 00                  push 0x37b
        d9 2c 24                        fldcw [rsp]
        d9 e8                           fld1
        d9 ee                           fldz
        de f9                           fdivp
        90                              nop
      fault:
        d9 e8                           fld1
    `),
  },
  {
    name: "#XM: an unmasked SSE exception",
    vector: 19,
    program: code(`
        68 80 1d 00 00                  push 0x1d80
        0f ae 14 24                     ldmxcsr [rsp]
        66 0f ef c9                     pxor xmm1, xmm1
        b9 00 00 80 3f                  mov ecx, 0x3f800000
        66 0f 6e c1                     movd xmm0, ecx
      fault:
        f3 0f 5e c1                     divss xmm0, xmm1
    `),
  },
  {
    name: "#UD instead of #XM without CR4.OSXMMEXCPT",
    vector: 6,
    program: code(`
        0f 20 e0                        mov rax, cr4
        48 0f ba f0 0a                  btr rax, 10
        0f 22 e0                        mov cr4, rax
        68 80 1d 00 00                  push 0x1d80
        0f ae 14 24                     ldmxcsr [rsp]
        66 0f ef c9                     pxor xmm1, xmm1
        b9 00 00 80 3f                  mov ecx, 0x3f800000
        66 0f 6e c1                     movd xmm0, ecx
      fault:
        f3 0f 5e c1                     divss xmm0, xmm1
    `),
  },
];

function makeGuest({ program, user, prepare }: Case): SmallGuest {
  const g = new SmallGuest();
  if (user) g.loadUser(program);
  else g.load(program);
  prepare?.(g);
  return g;
}

describe("exceptions", () => {
  for (const c of cases) {
    test(c.name, () => {
      const g = makeGuest(c);
      const base = c.user ? At.USER : At.CODE;
      const stop = g.run();
      assert.deepEqual(
        [stop.vector, stop.errorCode, stop.rip - base],
        [c.vector, c.errorCode, c.program.at(c.at ?? "fault")],
      );
      assert.equal(stop.cs, c.user ? Selector.USER_CS : Selector.KERNEL_CS);
      const isFault = c.at === undefined;
      assert.equal((stop.rflags & Rflags.RF) !== 0, isFault, "RF is set for faults");
      // the handler's HLT is one instruction more
      const retired = g.retired - 1;
      if (isFault) assert.equal(retired, linesBefore(c.program, c.program.at("fault")), "retired instructions");
    });
  }
});

/** Instructions of a listing before an offset. */
function linesBefore(program: Listing, offset: number): number {
  return program.starts.filter((start) => start < offset).length;
}

test("a fault in the middle of a block: registers and flags are those of the instruction before", () => {
  const program = code(`
      b8 01 00 00 00                  mov eax, 1
      bb 00 00 70 00                  mov ebx, 0x700000
      05 ff ff ff 7f                  add eax, 0x7fffffff
      ba 03 00 00 00                  mov edx, 3
    fault:
      89 13                           mov [rbx], edx
      0f 90 c1                        seto cl
      b8 09 00 00 00                  mov eax, 9
      ba 09 00 00 00                  mov edx, 9
      f4                              hlt
  `);
  const g = new SmallGuest();
  g.load(program);
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.rip - At.CODE, g.gpr(0), g.gpr(2)], [14, program.at("fault"), 0x8000_0000n, 3n]);
  assert.equal(stop.rflags & Rflags.OSZAPC, Rflags.OF | Rflags.SF | Rflags.PF | Rflags.AF);
  assert.equal(g.retired, 5, "four and the handler's HLT");
  // mapped by the "handler", the instruction runs again and goes on
  g.map(0x70_0000, At.FREE, Pte.W);
  assert.equal(g.run().vector, undefined);
  assert.deepEqual([g.gpr(0), g.gpr(2), g.gpr(1) & 0xffn, g.read64(At.FREE)], [9n, 9n, 1n, 3n]);
});

test("IST gives a fresh stack in the kernel too, aligned to 16", () => {
  const g = new SmallGuest();
  g.gate(6, { ist: 1 });
  g.write64(At.TSS + 36, BigInt(At.IST1 + 8));
  g.load(UD2);
  g.run();
  assert.equal(g.gpr(4), BigInt(At.IST1 - 40));
});

test("a fault that cannot be delivered is a double fault; that too is a triple fault, which ends the run", () => {
  const g = new SmallGuest();
  g.gate(13, { present: false });
  g.gate(8, { ist: 1 });
  const program = code(`
      ff c3                           inc ebx
    fault:
      0f 30                           wrmsr
      f4                              hlt
  `);
  g.load(program);
  g.regs.setGpr(1, 0x999n);
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.errorCode, stop.rip - At.CODE], [8, 0n, program.at("fault")]);

  const fatal = new SmallGuest();
  fatal.gate(13, { present: false });
  fatal.gate(8, { present: false });
  fatal.load(program);
  fatal.regs.setGpr(1, 0x999n);
  const exit = fatal.exit();
  assert.equal(exit.kind, "shutdown");
  assert.match(exit.kind === "shutdown" ? exit.reason : "", /triple fault/);
  assert.equal(fatal.regs.get64(Reg.RIP), BigInt(At.CODE + program.at("fault")), "the state is that of the fault");
  assert.equal(fatal.exit().kind, "shutdown", "and stays");
});

test("a page fault on the way to the page-fault handler is a double fault, with CR2 of the last", () => {
  const g = new SmallGuest();
  g.gate(14, { ist: 2 });
  g.write64(At.TSS + 44, 0x70_1000n);
  g.gate(8, { ist: 1 });
  g.load(
    code(`
      8b 04 25 00 00 70 00            mov eax, [0x700000]
  `),
  );
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.errorCode, g.cr2], [8, 0n, 0x70_0ff8n]);
});

test("no stack for a user's exception: #SS or #DF by the double-fault table", () => {
  const g = new SmallGuest();
  g.write64(At.TSS + 4, 0x8000_0000_0000n);
  g.gate(8, { ist: 1 });
  g.gate(12, { ist: 1 });
  g.loadUser(UD2);
  const stop = g.run();
  assert.deepEqual([stop.vector, stop.rip], [12, At.USER + UD2.at("fault")]);
});
