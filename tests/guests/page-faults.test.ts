/* Page faults where generated code finds and delivers them, inside of a slice. The reference is the same guest with a breakpoint elsewhere: it is stepped, walks in
 * TypeScript (isa/system/paging.ts) and is delivered by isa/system/exceptions.ts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TRANSLATE_ALL, TRANSLATE_NOTHING, type TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import { code, type Listing } from "./listing.ts";
import { At, Cr4, Pte, SmallGuest } from "./small-guest.ts";

const PAGE = 4096;
const VA = 0x60_0000;
/** Nothing is mapped anywhere near. */
const NOWHERE = 0x40_0000_0000;
const [RAX, RCX, RBX, RBP, RSI, RDI] = [0, 1, 3, 5, 6, 7];
const RESERVED_BIT = 1n << 50n;
const DR7 = Reg.DR + 56;

const ENGINES: readonly (readonly [string, TranslationOptions])[] = [
  ["interpreted", TRANSLATE_NOTHING],
  ["translated", TRANSLATE_ALL],
];

/** A write breakpoint that nothing meets: whatever runs is stepped. */
function breakElsewhere(g: SmallGuest): void {
  g.regs.set64(Reg.DR, BigInt(At.DATA + 0x800));
  g.regs.set32(DR7, 0x401 | (1 << 16));
  g.vcpu.modeChanged();
}

describe("error code, address and state", () => {
  const ACCESSES: readonly Listing[] = [
    "8b 03                           mov eax, [rbx]",
    "89 03                           mov [rbx], eax",
    "01 03                           add [rbx], eax",
    "f0 01 03                        lock add [rbx], eax",
    "66 0f 6f 03                     movdqa xmm0, [rbx]",
    "0f 29 03                        movaps [rbx], xmm0",
    "ff 33                           push qword ptr [rbx]",
    "f3 aa                           rep stosb",
    "f3 a4                           rep movsb",
    "ff d3                           call rbx",
  ].map((line) =>
    code(`
      49 ff c2                        inc r10
      f9                              stc
      ${line}
      f4                              hlt
    `),
  );
  const MAPPINGS: readonly (bigint | undefined)[] = [
    undefined,
    0n,
    Pte.W,
    Pte.U,
    Pte.U | Pte.W,
    Pte.W | Pte.NX,
    RESERVED_BIT,
    RESERVED_BIT | Pte.W | Pte.U,
  ];
  const MODES = [
    { name: "kernel", cr4: 0n, user: false, ac: false, wp: true },
    { name: "kernel without CR0.WP", cr4: 0n, user: false, ac: false, wp: false },
    { name: "kernel under SMAP and SMEP", cr4: Cr4.SMAP | Cr4.SMEP, user: false, ac: false, wp: true },
    { name: "kernel under SMAP with AC", cr4: Cr4.SMAP, user: false, ac: true, wp: true },
    { name: "user code", cr4: 0n, user: true, ac: false, wp: true },
  ] as const;

  interface Place {
    readonly va: number;
    readonly flags: bigint | undefined;
  }
  function outcome(
    program: Listing,
    { va, flags }: Place,
    mode: (typeof MODES)[number],
    translation: TranslationOptions,
    isReference: boolean,
  ): unknown {
    const g = new SmallGuest({ cr4: mode.cr4, translation });
    if (flags === undefined) g.unmap(VA);
    else g.map(VA, At.FREE + 4 * PAGE, flags);
    g.write(At.FREE + 4 * PAGE, [0xf4]);
    for (const n of [RAX, RCX]) g.regs.setGpr(n, 5n);
    for (const n of [RBX, RDI]) g.regs.setGpr(n, BigInt(va));
    g.regs.setGpr(RSI, BigInt(mode.user ? At.USER + 0x4000 : At.DATA));
    if (!mode.wp) g.regs.set64(Reg.CR0, g.regs.get64(Reg.CR0) & ~(1n << 16n));
    if (mode.user) g.loadUser(program);
    else g.load(program);
    if (mode.ac) g.regs.rflags |= Rflags.AC;
    g.vcpu.modeChanged();
    if (isReference) breakElsewhere(g);
    const stop = g.run();
    const registers = Array.from({ length: 16 }, (_, n) => g.gpr(n).toString(16));
    const entry = g.read64(g.entry(VA)).toString(16);
    return { ...stop, cr2: g.cr2, registers, entry, retired: g.retired, faults: g.vcpu.exits["fault"] };
  }
  for (const mode of MODES) {
    test(mode.name, () => {
      const places = [...MAPPINGS.map((flags) => ({ va: VA, flags })), { va: NOWHERE, flags: undefined }];
      for (const program of ACCESSES) {
        for (const place of places) {
          const what = `${Buffer.from(program.bytes).toString("hex")} at ${place.va.toString(16)}, ${String(place.flags)}`;
          const expected = outcome(program, place, mode, TRANSLATE_NOTHING, true) as Record<string, unknown>;
          for (const [name, translation] of ENGINES) {
            const found = outcome(program, place, mode, translation, false) as Record<string, unknown>;
            assert.deepEqual({ ...found, faults: 0 }, { ...expected, faults: 0 }, `${what}, ${name}`);
          }
        }
      }
    });
  }
});

/** Maps the page of CR2 to what RDI says, writable if it was to be written; RSI is the page table. */
const MAPS = code(`
  50                              push rax
  52                              push rdx
  0f 20 d0                        mov rax, cr2
  c1 e8 0c                        shr eax, 12
  25 ff 01 00 00                  and eax, 0x1ff
  8b 54 24 10                     mov edx, [rsp+16]
  83 e2 02                        and edx, 2
  48 09 fa                        or rdx, rdi
  48 89 14 c6                     mov [rsi+rax*8], rdx
  5a                              pop rdx
  58                              pop rax
  48 83 c4 08                     add rsp, 8
  48 cf                           iretq
`);
const PAGES = 40;

/** @param frame of all pages, code or data */
function faulting(program: Listing, frame: number, translation: TranslationOptions): SmallGuest {
  const g = new SmallGuest({ translation });
  g.write(At.CODE + 0x800, MAPS.bytes);
  g.gate(14, { offset: BigInt(At.CODE + 0x800) });
  for (let page = 0; page < PAGES; page++) g.unmap(VA + page * PAGE);
  g.regs.setGpr(RSI, BigInt(g.entry(VA) & -PAGE));
  g.regs.setGpr(RDI, BigInt(frame) | 1n);
  g.regs.setGpr(RBX, BigInt(VA));
  g.regs.setGpr(RCX, BigInt(PAGES));
  g.regs.setGpr(RBP, 0n);
  g.load(program);
  return g;
}
/** The guest's end and how it came there. */
function end(g: SmallGuest, faults: number): unknown {
  const registers = Array.from({ length: 16 }, (_, n) => g.gpr(n).toString(16));
  return { registers, rflags: g.regs.rflags, rip: g.regs.get64(Reg.RIP), retired: g.retired, faults };
}

describe("many faults in a slice", () => {
  const TOUCHES = code(`
    again:
    48 03 2b                        add rbp, [rbx]
    48 89 0b                        mov [rbx], rcx
    48 81 c3 00 10 00 00            add rbx, 4096
    ff c9                           dec ecx
    75 ef                           jne again
    f4                              hlt
  `);
  const CALLS = code(`
    again:
    ff d3                           call rbx
    48 81 c3 00 10 00 00            add rbx, 4096
    ff c9                           dec ecx
    75 f3                           jne again
    f4                              hlt
  `);
  const FRAME = At.FREE + 6 * PAGE;
  for (const [name, program, each] of [
    ["loads and stores of pages that the handler maps", TOUCHES, 2],
    ["calls into pages that the handler maps", CALLS, 1],
  ] as const) {
    test(name, () => {
      const results = ENGINES.map(([, translation]) => {
        const g = faulting(program, FRAME, translation);
        g.write(FRAME, [0x48, 0xff, 0xc5, 0xc3]); // inc rbp; ret
        const before = g.vcpu.exits["fault"]!;
        g.run();
        return end(g, g.vcpu.exits["fault"]! - before);
      });
      const g = faulting(program, FRAME, TRANSLATE_NOTHING);
      g.write(FRAME, [0x48, 0xff, 0xc5, 0xc3]);
      const before = g.vcpu.exits["fault"]!;
      for (let n = 0; n < 100 * PAGES && g.regs.get32(Reg.RUN_STATE) === 0; n++) g.vcpu.step();
      const stepped = end(g, g.vcpu.exits["fault"]! - before) as { faults: number };
      assert.equal(stepped.faults, each * PAGES);
      for (const result of results) assert.deepEqual(result, stepped);
    });
  }
});

describe("an IDT that moves", () => {
  const program = code(`
    0f 0b                           ud2
    0f 01 3b                        invlpg [rbx]
    0f 0b                           ud2
    0f 20 d8                        mov rax, cr3
    0f 22 d8                        mov cr3, rax
    0f 0b                           ud2
  `);
  /** Runs a piece of the program to the handler that its UD2 finds. */
  const vectorAt = (g: SmallGuest, offset: number): number | undefined => {
    g.regs.set64(Reg.RIP, BigInt(At.CODE + offset));
    return g.run().vector;
  };
  for (const [name, translation] of ENGINES) {
    test(`is found after INVLPG and after MOV CR3, ${name}`, () => {
      const g = new SmallGuest({ translation });
      const [first, second] = [At.FREE + 8 * PAGE, At.FREE + 9 * PAGE];
      g.load(program);
      g.regs.setGpr(RBX, BigInt(At.IDT));
      assert.equal(vectorAt(g, 0), 6);
      for (const [frame, vector, offset] of [
        [first, 0x21, 2],
        [second, 0x22, 7],
      ] as const) {
        g.write(frame, g.read(At.IDT, PAGE));
        g.write(frame + 16 * 6, g.read(At.IDT + 16 * vector, 16));
        g.map(At.IDT, frame, Pte.W);
        assert.equal(vectorAt(g, offset), vector);
      }
    });
  }
});

test("a region whose first instruction is the interpreter's is found again, and again when its code has changed", () => {
  const program = code(`
    again:
    8b 03                           mov eax, [rbx]
    01 c5                           add ebp, eax
    ff c9                           dec ecx
    75 f8                           jne again
    f4                              hlt
  `);
  const results = ENGINES.map(([, translation]) => {
    const g = new SmallGuest({ translation });
    g.deviceValue = 3n;
    g.load(program);
    const sums: unknown[] = [];
    for (const opcode of [0x01, 0x29, 0x01]) {
      g.write(At.CODE + 2, [opcode]);
      g.engine.blocks.codeWritten(g.ram.frameAddress(At.CODE / PAGE), 2, 1);
      g.regs.set64(Reg.RIP, BigInt(At.CODE));
      g.regs.setGpr(RBX, BigInt(At.DEVICE));
      g.regs.setGpr(RCX, 50n);
      g.regs.setGpr(RBP, 0n);
      g.run();
      sums.push(g.gpr(RBP) & 0xffff_ffffn, g.retired);
    }
    return { sums, accesses: g.log.length };
  });
  assert.deepEqual(results[1], results[0]);
  assert.deepEqual(
    results[0]!.sums.filter((_, i) => i % 2 === 0),
    [150n, 0x1_0000_0000n - 150n, 150n],
  );
});
