/* Hot code that changes, vanishes and moves while it runs: a region may be in the middle of it. With the interpreter as the reference, and bounds on what is made. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TRANSLATE_ALL, type TranslationOptions } from "../../src/engine/wasm/engine.ts";
import { arenaOf } from "../../src/engine/wasm/layout.ts";
import { code, type Listing } from "./listing.ts";
import { compare, type Outcome } from "./passes.ts";
import { At, kernelGuest, Pte, SmallGuest } from "./small-guest.ts";

const PAGE = 4096;
const [RDX, RBX, RSI, RDI, R10, R11] = [2, 3, 6, 7, 10, 11];
const VA = 0x60_0000;
const FRAMES = [At.FREE + 5 * PAGE, At.FREE + 2 * PAGE, At.FREE + 7 * PAGE];
const ROUNDS = 200;

/** Page-table entries of VA's pages: in one page. */
const entryOf = (page: number): number => new SmallGuest().entry(VA + page * PAGE);

/** @param at linear address of the program  @param prepare after it was loaded */
function run(
  program: Listing,
  at: number,
  registers: Record<number, number | bigint>,
  prepare = (_: SmallGuest): void => {},
): Outcome {
  const table = entryOf(0) & -PAGE;
  const make = (translation: TranslationOptions): SmallGuest => {
    const g = kernelGuest(code(""), { 9: ROUNDS, ...registers }, { translation });
    FRAMES.forEach((frame, i) => g.map(VA + i * PAGE, frame, Pte.W));
    program.bytes.forEach((byte, i) => g.write(g.physical(BigInt(at + i)), [byte]));
    prepare(g);
    g.vcpu.setRip(BigInt(at));
    return g;
  };
  return compare({ make, kept: [table, At.STACK - PAGE] }, "hot code");
}
const gpr = ({ state }: Outcome, n: number): bigint => BigInt(`0x${(state["gpr"] as string[])[n]}`);

describe("mappings of hot code change", () => {
  const STRADDLING = code(`
    again:
    49 ff c2                        inc r10
    45 39 d9                        cmp r9d, r11d
    75 02                           jne go
    ff d6                           call rsi
    go:
    41 81 c2 01 01 01 01            add r10d, 0x01010101
    49 83 c2 02                     add r10, 2
    41 ff c9                        dec r9d
    75 e6                           jne again
    f4                              hlt
  `);
  /** Maps the page of RBX to what RDX says. */
  const REMAP = code(`
    48 87 17                        xchg [rdi], rdx
    0f 01 3b                        invlpg [rbx]
    c3                              ret
  `);
  test("a loop that has itself unmapped: the next instruction faults", () => {
    const at = VA + 0x800;
    const registers = { [RSI]: At.CODE + 0x800, [R11]: 20, [RDI]: entryOf(0), [RBX]: VA, [RDX]: 0 };
    const outcome = run(STRADDLING, at, registers, (g) => g.write(At.CODE + 0x800, REMAP.bytes));
    assert.deepEqual([outcome.vector, outcome.state["cr2"]], [14, BigInt(at + STRADDLING.at("go"))]);
    assert.equal(gpr(outcome, R10), 0x01010104n * BigInt(ROUNDS - 20) + 1n);
  });
  test("a loop across a page's end, at each of its bytes", () => {
    for (let inFirst = 1; inFirst < STRADDLING.bytes.length; inFirst++) {
      const registers = { [RSI]: At.CODE + 0x800, [R11]: -1, [RDI]: At.DATA, [RBX]: VA };
      const outcome = run(STRADDLING, VA + PAGE - inFirst, registers, (g) => g.write(At.CODE + 0x800, REMAP.bytes));
      const each = 0x01010104n;
      assert.equal(outcome.vector, undefined);
      assert.equal(
        BigInt.asUintN(32, gpr(outcome, R10)),
        BigInt.asUintN(32, each * BigInt(ROUNDS)),
        `${inFirst} bytes in the first page`,
      );
    }
  });
  test("… whose second page becomes another one in the middle", () => {
    for (const inFirst of [3, 8, 10, 11, 13, 17, 20]) {
      const there = FRAMES[2]!;
      const registers = {
        [RSI]: At.CODE + 0x800,
        [R11]: 77,
        [RDI]: entryOf(1),
        [RBX]: VA + PAGE,
        [RDX]: BigInt(there) | Pte.P | Pte.W,
      };
      const outcome = run(STRADDLING, VA + PAGE - inFirst, registers, (g) => {
        g.write(At.CODE + 0x800, REMAP.bytes);
        // the same code, but its sums are others where they lie in the second page
        const second = STRADDLING.bytes
          .slice(inFirst)
          .map((byte) => (byte === 0x02 || byte === 0x01 ? byte + 1 : byte));
        g.write(there, second);
      });
      assert.notEqual(gpr(outcome, R10), 0x01010104n * BigInt(ROUNDS), `${inFirst} bytes in the first page`);
    }
  });
});

test("IRET in a hot loop sets TF: #DB after the instruction at its target", () => {
  const program = code(`
      again:
      48 89 e0                        mov rax, rsp
      6a 18                           push 0x18
      50                              push rax
      9c                              pushfq
      41 83 f9 05                     cmp r9d, 5
      75 08                           jne plain
      48 81 0c 24 00 01 00 00         or qword ptr [rsp], 0x100
      plain:
      6a 10                           push 0x10
      48 8d 15 03 00 00 00            lea rdx, [rip + target]
      52                              push rdx
      48 cf                           iretq
      target:
      49 ff c2                        inc r10
      49 ff c2                        inc r10
      41 ff c9                        dec r9d
      75 d4                           jne again
      f4                              hlt
  `);
  const make = (translation: TranslationOptions): SmallGuest => kernelGuest(program, { 9: 60 }, { translation });
  const outcome = compare({ make }, "IRET");
  assert.deepEqual([outcome.vector, gpr(outcome, R10)], [1, 2n * 55n + 1n]);
});

describe("what is made is bounded", () => {
  test("a loop that writes its own code in each round", () => {
    const rounds = 5000;
    const g = kernelGuest(
      code(`
        again:
        44 89 0d 01 00 00 00            mov [rip + body + 1], r9d
        body:
        ba 00 00 00 00                  mov edx, 0
        49 01 d2                        add r10, rdx
        ff d3                           call rbx
        41 ff c9                        dec r9d
        75 ea                           jne again
        f4                              hlt
      `),
      { [RBX]: At.CODE + 0x800, 9: rounds },
      { translation: TRANSLATE_ALL },
    );
    g.write(At.CODE + 0x800, [0xc3]);
    const { counts } = g.engine.regions;
    const before = { ...counts };
    g.run();
    assert.equal(g.gpr(R10), BigInt((rounds * (rounds + 1)) / 2));
    assert.ok(counts.regions - before.regions < 100, `${counts.regions - before.regions} regions`);
    assert.ok(counts.dropped - before.dropped < 100, `${counts.dropped - before.dropped} were dropped`);
  });

  test("more hot code than the engine keeps: all regions go with the blocks, and come again", () => {
    const g = new SmallGuest({ translation: TRANSLATE_ALL });
    const { blocks, regions } = g.engine;
    const pages = 3;
    for (let page = 0; page < pages; page++) {
      g.map(VA + page * PAGE, At.FREE + page * PAGE, 0n);
      const bytes = new Uint8Array(PAGE).fill(0x90);
      for (let at = 0; at < PAGE; at += 16) bytes.set([0xff, 0xc0, 0xeb, 0x0c], at); // inc eax; jmp 16 on
      g.write(At.FREE + page * PAGE, bytes);
    }
    g.write(At.FREE + pages * PAGE - 14, [0xc3]); // the last JMP becomes RET
    g.load(
      code(`
      b9 03 00 00 00                  mov ecx, 3
      again:
      bb 00 00 60 00                  mov ebx, 0x600000
      ff d3                           call rbx
      e2 f7                           loop again
      f4                              hlt
    `),
    );
    blocks.arenaEnd = arenaOf(0).start + 0x4000;
    const before = { ...regions.counts };
    const stop = g.run();
    blocks.arenaEnd = arenaOf(0).end;
    assert.deepEqual([stop.vector, g.gpr(0)], [undefined, BigInt(3 * pages * (PAGE / 16))]);
    const alive = regions.counts.regions - before.regions - (regions.counts.dropped - before.dropped);
    assert.ok(regions.counts.dropped > before.dropped, "some were dropped");
    assert.ok(alive >= 0 && alive < 400, `${alive} regions are alive`);
  });
});
