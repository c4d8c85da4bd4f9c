import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { code } from "../../../../tests/guests/listing.ts";
import { createDecoder, newDecoded } from "../../../isa/decode.ts";
import type { Decoded } from "../../../isa/decoded.ts";
import { frameKey, isSmallStep, operandKey, PageReuse, stackKey } from "./page-reuse.ts";
import { buildGraph, GRAPH_LIMITS } from "./region.ts";
import { ALL_PASSES } from "./region-options.ts";
import { Structure } from "./structure.ts";

const [RCX, RBX, RSP, RSI] = [1, 3, 4, 6];
const NO_INDEX = 16;

function decoded(hex: string): Decoded {
  const bytes = Uint8Array.fromHex(hex.replaceAll(" ", ""));
  const d = newDecoded();
  assert.equal(createDecoder().decode(bytes, 0, bytes.length, d), undefined, hex);
  return d;
}

describe("which accesses go by one base", () => {
  const cases: readonly (readonly [string, string, number])[] = [
    ["mov eax, [rbx + 8]", "8b 43 08", RBX * 32 + NO_INDEX],
    ["mov eax, [rbx + rcx * 4]", "8b 04 8b", RBX * 32 + RCX],
    ["mov eax, [rsp + 8]", "8b 44 24 08", stackKey],
    ["mov eax, [rbp - 8]", "8b 45 f8", frameKey],
    ["mov eax, [0x1000]", "8b 04 25 00 10 00 00", -1],
    ["mov eax, [rip]", "8b 05 00 00 00 00", -1],
    ["mov eax, gs:[rbx]", "65 8b 03", -1],
    ["mov eax, [ebx]", "67 8b 03", -1],
  ];
  for (const [text, hex, key] of cases) test(text, () => assert.equal(operandKey(decoded(hex)), key));
});

describe("small steps of a register", () => {
  const cases: readonly (readonly [string, string, number, boolean])[] = [
    ["add rbx, 8", "48 83 c3 08", RBX, true],
    ["sub rbx, 512", "48 81 eb 00 02 00 00", RBX, true],
    ["sub rbx, 513", "48 81 eb 01 02 00 00", RBX, false],
    ["add rbx, -512", "48 81 c3 00 fe ff ff", RBX, true],
    ["add rbx, rcx", "48 01 cb", RBX, false],
    ["inc rbx", "48 ff c3", RBX, true],
    ["lea rbx, [rbx + 16]", "48 8d 5b 10", RBX, true],
    ["lea rbx, [rsi + 16]", "48 8d 5e 10", RBX, false],
    ["lea rbx, [rbx + rcx]", "48 8d 1c 0b", RBX, false],
    ["mov rbx, rsi", "48 89 f3", RBX, false],
    ["push rax", "50", RSP, true],
    ["pop rsi", "5e", RSI, false],
  ];
  for (const [text, hex, register, small] of cases)
    test(text, () => assert.equal(isSmallStep(decoded(hex), register), small));
});

/** The pass over a program, and names of the bits of a node. */
function passOf(text: string): { likely(offset: number): string[] } {
  const { bytes } = code(text);
  const region = { seed: 0, runs: Int32Array.of(0, bytes.length), bytes, sites: [] };
  const { nodes } = buildGraph(region, (d) => d.row.mnemonic !== "hlt", GRAPH_LIMITS, ALL_PASSES);
  const successors = (n: number): number[] => {
    const { end } = nodes[n - 1];
    const edges = end.kind === "branch" ? [end.taken, end.next] : end.kind === "dynamic" ? [] : [end.to];
    return edges.flatMap((edge) => ("node" in edge ? [edge.node + 1] : []));
  };
  const structure = new Structure({ successors: [[1], ...nodes.map((_, i) => successors(i + 1))] });
  const pass = new PageReuse(nodes, structure, successors);
  const names = new Map([...pass.keys].map(([key, bit]) => [bit, { [stackKey]: "rsp" }[key] ?? `r${key >> 5}`]));
  return {
    likely(offset) {
      const node = nodes.findIndex((each) => each.offset === offset) + 1;
      return [...names].filter(([bit]) => pass.likely[node] & (1 << bit)).map(([, name]) => name);
    },
  };
}

describe("pages that are likely at hand", () => {
  test("after an access through the same register; not after another value of it", () => {
    const pass = passOf(`
      8b 03                           mov eax, [rbx]
      8b 0e                           mov ecx, [rsi]
      75 00                           jne next
      next:
      89 c3                           mov ebx, eax
      75 00                           jne last
      last:
      90                              nop
    `);
    assert.deepEqual([pass.likely(0), pass.likely(6).toSorted(), pass.likely(10)], [[], ["r3", "r6"], ["r6"]]);
  });
  test("in a loop also from its end, if the register moved by small steps only", () => {
    const small = passOf(`
      again:
      8b 03                           mov eax, [rbx]
      48 83 c3 08                     add rbx, 8
      75 f8                           jne again
    `);
    assert.deepEqual(small.likely(0), ["r3"]);
    const large = passOf(`
      again:
      8b 03                           mov eax, [rbx]
      48 8b 5b 08                     mov rbx, [rbx + 8]
      75 f8                           jne again
    `);
    assert.deepEqual(large.likely(0), []);
  });
  test("the stack's, through calls and returns", () => {
    const pass = passOf(`
      e8 01 00 00 00                  call callee
      f4                              hlt
      callee:
      50                              push rax
      75 00                           jne out
      out:
      58                              pop rax
      c3                              ret
    `);
    assert.deepEqual([pass.likely(6), pass.likely(9)], [["rsp"], ["rsp"]]);
  });
  test("a value of the index also names another page", () => {
    const pass = passOf(`
      8b 04 8b                        mov eax, [rbx + rcx * 4]
      89 d1                           mov ecx, edx
      75 00                           jne next
      next:
      90                              nop
    `);
    assert.deepEqual(pass.likely(7), []);
  });
});
