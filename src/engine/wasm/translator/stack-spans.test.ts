/* What instructions do with the stack, and where stretches are checked. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { code } from "../../../../tests/guests/listing.ts";
import { createDecoder, newDecoded } from "../../../isa/decode.ts";
import type { Decoded } from "../../../isa/decoded.ts";
import { ALL_PASSES } from "./region-options.ts";
import { buildGraph, GRAPH_LIMITS } from "./region.ts";
import { stackEffect, StackSpans } from "./stack-spans.ts";
import { Structure } from "./structure.ts";

function decode(text: string): Decoded {
  const { bytes } = code(text);
  const d = newDecoded();
  assert.equal(createDecoder().decode(bytes, 0, bytes.length, d), undefined);
  return d;
}

describe("what an instruction does with the stack", () => {
  const rows: [string, [number, number] | undefined, number | undefined][] = [
    ["50  push rax", [-8, 0], -8],
    ["66 50  push ax", [-2, 0], -2],
    ["ff 74 24 10  push [rsp + 16]", [-8, 24], -8],
    ["58  pop rax", [0, 8], 8],
    ["5c  pop rsp", [0, 8], undefined],
    ["8f 44 24 10  pop [rsp + 16], after RSP has grown", [0, 32], 8],
    ["9c  pushf", [-8, 0], -8],
    ["66 9d  popf", [0, 2], 2],
    ["e8 00 00 00 00  call", [-8, 0], -8],
    ["ff 54 24 20  call [rsp + 32]", [-8, 40], -8],
    ["c3  ret", [0, 8], 8],
    ["c2 18 00  ret 24", [0, 8], 32],
    ["c9  leave", undefined, undefined],
    ["48 83 ec 28  sub rsp, 40", undefined, -40],
    ["48 81 c4 00 01 00 00  add rsp, 256", undefined, 256],
    ["48 01 c4  add rsp, rax", undefined, undefined],
    ["83 c4 10  add esp, 16", undefined, undefined],
    ["48 8d 64 24 f0  lea rsp, [rsp − 16]", undefined, -16],
    ["48 8d 64 04 f0  lea rsp, [rsp + rax − 16]", undefined, undefined],
    ["48 8d 65 f0  lea rsp, [rbp − 16]", undefined, undefined],
    ["48 83 e4 f0  and rsp, −16", undefined, undefined],
    ["48 94  xchg rsp, rax", undefined, undefined],
    ["48 91  xchg rcx, rax", undefined, 0],
    ["48 8b 44 24 08  mov rax, [rsp + 8]", [8, 16], 0],
    ["88 4c 24 ff  mov [rsp − 1], cl", [-1, 0], 0],
    ["0f 11 44 24 10  movups [rsp + 16], xmm0", [16, 32], 0],
    ["48 8d 44 24 08  lea rax, [rsp + 8]", undefined, 0],
    ["48 8b 44 04 08  mov rax, [rsp + rax + 8]", undefined, 0],
    ["64 48 8b 44 24 08  mov rax, fs:[rsp + 8]", undefined, 0],
    ["48 8b 45 08  mov rax, [rbp + 8]", undefined, 0],
  ];
  for (const [text, stretch, step] of rows) {
    test(text.slice(text.indexOf("  ") + 2), () => {
      const expected = stretch === undefined ? undefined : { low: stretch[0], high: stretch[1] };
      assert.deepEqual(stackEffect(decode(text)), { stretch: expected, step });
    });
  }
});

/** Checks by offset of the instruction, and the offsets of instructions that need none. */
function spans(text: string): { checks: Record<number, [number, number]>; covered: number[] } {
  const { bytes } = code(text);
  const { nodes } = buildGraph(
    { seed: 0, runs: Int32Array.of(0, bytes.length), bytes, sites: [] },
    (d) => d.row.mnemonic !== "hlt",
    GRAPH_LIMITS,
    ALL_PASSES,
  );
  const successors = (node: number): number[] => {
    const { end } = nodes[node - 1]!;
    const edges = end.kind === "dynamic" ? [] : end.kind === "branch" ? [end.next, end.taken] : [end.to];
    return edges.flatMap((edge) => ("node" in edge ? [edge.node + 1] : []));
  };
  const structure = new Structure({ successors: [[1], ...nodes.map((_, i) => successors(i + 1))] });
  const all = new StackSpans(nodes, structure, successors, [1], (d) => d.row.mnemonic === "stac");
  const checks: Record<number, [number, number]> = {};
  const covered: number[] = [];
  nodes.forEach(({ instructions }, n) =>
    all.of(n + 1).forEach((use, i) => {
      const { offset } = instructions[i]!;
      if (use?.check) checks[offset] = [use.check.low, use.check.high];
      else if (use) covered.push(offset);
    }),
  );
  return { checks, covered: covered.toSorted((a, b) => a - b) };
}

describe("stretches", () => {
  test("one for a function with its callee", () => {
    const text = `
      50                              push rax
      48 83 ec 10                     sub rsp, 16
      48 89 04 24                     mov [rsp], rax
      e8 06 00 00 00                  call callee
      48 83 c4 10                     add rsp, 16
      58                              pop rax
      f4                              hlt
      51                              push rcx
      59                              pop rcx
      c3                              ret
    `;
    assert.deepEqual(spans(text), { checks: { 0: [-40, 0] }, covered: [5, 9, 18, 20, 21, 22] });
  });
  test("a loop that leaves RSP where it was needs no check inside; one that does not begins anew each time", () => {
    const balanced = `
      50                              push rax
      58                              pop rax
      50                              push rax
      58                              pop rax
      75 fc                           jne 2
      f4                              hlt
    `;
    assert.deepEqual(spans(balanced), { checks: { 0: [-8, 0] }, covered: [1, 2, 3] });
    const growing = `
      50                              push rax
      50                              push rax
      75 fd                           jne 1
      f4                              hlt
    `;
    assert.deepEqual(spans(growing), { checks: { 0: [-8, 0], 1: [-8, 0] }, covered: [] });
  });
  test("where only one branch has checked, the join checks again", () => {
    const text = `
      74 02                           je 4
      50                              push rax
      58                              pop rax
      48 89 04 24                     mov [rsp], rax
      f4                              hlt
    `;
    assert.deepEqual(spans(text), { checks: { 2: [-8, 8], 4: [-8, 8] }, covered: [3] });
  });
  test("another value in RSP, or rights that change, and there is a check again", () => {
    const text = `
      50                              push rax
      48 89 cc                        mov rsp, rcx
      50                              push rax
      0f 01 cb                        stac
      58                              pop rax
      f4                              hlt
    `;
    assert.deepEqual(spans(text), { checks: { 0: [-8, 0], 4: [-8, 0], 8: [0, 8] }, covered: [] });
  });
  test("what is far away looks for itself", () => {
    const text = `
      48 89 84 24 00 02 00 00         mov [rsp + 512], rax
      48 89 84 24 f8 01 00 00         mov [rsp + 504], rax
      f4                              hlt
    `;
    assert.deepEqual(spans(text), { checks: { 8: [504, 512] }, covered: [] });
  });
});
