import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Decoded } from "../../../isa/decoded.ts";
import { code, type Listing } from "../../../../tests/guests/listing.ts";
import { buildGraph, type Edge, GRAPH_LIMITS, type GraphLimits, type RegionCode, type RegionGraph } from "./region.ts";
import { ALL_PASSES, type RegionPasses } from "./region-options.ts";

/** A program as one run from its beginning on, or as the runs given: offset and length, alternating. */
function regionCode({ bytes }: Listing, seed = 0, runs: readonly number[] = [0, bytes.length]): RegionCode {
  const pieces: number[] = [];
  for (let i = 0; i < runs.length; i += 2) pieces.push(...bytes.subarray(runs[i], runs[i] + runs[i + 1]));
  return { seed, runs: Int32Array.from(runs), bytes: Uint8Array.from(pieces), sites: [] };
}
interface Options {
  readonly seed?: number;
  readonly runs?: readonly number[];
  readonly limits?: Partial<GraphLimits>;
  readonly inline?: boolean;
  readonly unsupported?: string;
  readonly sites?: RegionCode["sites"];
  readonly passes?: Partial<RegionPasses>;
}
function graphOf(
  program: Listing,
  { seed, runs, limits, inline = true, unsupported = "hlt", sites = [], passes }: Options = {},
): RegionGraph {
  const region = { ...regionCode(program, seed, runs), sites };
  const supported = (d: Decoded): boolean => d.row.mnemonic !== unsupported;
  return buildGraph(
    region,
    supported,
    { ...GRAPH_LIMITS, ...limits },
    { ...ALL_PASSES, inlineCalls: inline, ...passes },
  );
}
/** Each node in words: where it begins and in which calls, its instructions, how it ends. */
function describeGraph({ nodes }: RegionGraph): string[] {
  const name = (n: number): string => [nodes[n].offset, ...nodes[n].context].join("<");
  const edge = (to: Edge): string => ("node" in to ? name(to.node) : `out ${to.exit}`);
  return nodes.map(({ instructions, end }, i) => {
    const text = instructions.map(({ d }) => d.row.mnemonic).join(" ");
    if (end.kind === "go") return `${name(i)}: ${text} → ${edge(end.to)}`;
    if (end.kind === "branch") return `${name(i)}: ${text} → ${edge(end.taken)} | ${edge(end.next)}`;
    if (end.kind === "return") return `${name(i)}: ${text} → ${edge(end.to)} if ${end.address}`;
    const ways = [...end.guesses.map(({ node }) => name(node)), end.closed ? "out" : "?"];
    return `${name(i)}: ${text} → ${ways.join(" or ")}`;
  });
}

const LOOP_AND_CALL = code(`
  loop_top:
  83 c0 01                        add eax, 1
  39 c8                           cmp eax, ecx
  75 f9                           jne loop_top
  e8 04 00 00 00                  call callee
  89 c2                           mov edx, eax
  eb 07                           jmp done
  callee:
  85 c0                           test eax, eax
  74 02                           je out
  ff c0                           inc eax
  out:
  c3                              ret
  done:
  f4                              hlt
`);
const NESTED = code(`
  e8 01 00 00 00                  call middle
  c3                              ret
  middle:
  e8 06 00 00 00                  call inner
  e8 01 00 00 00                  call inner
  c3                              ret
  inner:
  90                              nop
  c3                              ret
  recursive:
  ff c8                           dec eax
  74 05                           je end
  e8 f7 ff ff ff                  call recursive
  end:
  c3                              ret
`);

describe("the graph of a region", () => {
  test("nodes begin at targets of jumps and after jumps; a callee is written for its call", () => {
    assert.deepEqual(describeGraph(graphOf(LOOP_AND_CALL)), [
      "0: add cmp jnz → 0 | 7",
      "7: call → 16<12",
      "16<12: test jz → 22<12 | 20<12",
      "22<12: ret → 12 if 12",
      "20<12: inc → 22<12",
      "12: mov jmp → out 23",
    ]);
  });
  test("without inlining a callee is there once, returns anywhere, and the address after the call is an entry", () => {
    const graph = graphOf(LOOP_AND_CALL, { inline: false });
    assert.deepEqual(describeGraph(graph), [
      "0: add cmp jnz → 0 | 7",
      "7: call → 16",
      "16: test jz → 22 | 20",
      "12: mov jmp → out 23",
      "22: ret → 12 or out",
      "20: inc → 22",
    ]);
    assert.deepEqual(
      graph.entries.map((node) => graph.nodes[node].offset),
      [0, 12],
    );
  });
  test("two calls of one function are two copies, and a call in it a third and fourth", () => {
    assert.deepEqual(describeGraph(graphOf(NESTED)), [
      "0: call → 6<5",
      "6<5: call → 17<5<11",
      "17<5<11: nop ret → 11<5 if 11",
      "11<5: call → 17<5<16",
      "17<5<16: nop ret → 16<5 if 16",
      "16<5: ret → 5 if 5",
      "5: ret → ?",
    ]);
  });
  test("a function that calls itself is not inlined into itself", () => {
    assert.deepEqual(describeGraph(graphOf(NESTED, { seed: NESTED.at("recursive") })), [
      "19: dec jz → 28 | 23",
      "28: ret → 28 or out",
      "23: call → 19<28",
      "19<28: dec jz → 28<28 | 23<28",
      "28<28: ret → 28 if 28",
      "23<28: call → 19",
    ]);
  });
  test("callees deeper than the limit are there once", () => {
    assert.deepEqual(describeGraph(graphOf(NESTED, { limits: { depth: 1 } })), [
      "0: call → 6<5",
      "6<5: call → 17",
      "17: nop ret → 11 or out",
      "11: call → 17<16",
      "5: ret → ?",
      "17<16: nop ret → 16 if 16",
      "16: ret → 5 or out",
    ]);
  });
  test("no more instructions than the limit, copies counted; what does not fit is outside", () => {
    for (let instructions = 1; instructions <= 12; instructions++) {
      const { nodes } = graphOf(LOOP_AND_CALL, { limits: { instructions } });
      const written = nodes.reduce((n, node) => n + node.instructions.length, 0);
      assert.ok(written <= instructions, `${written} of ${instructions}`);
      assert.equal(nodes.length > 0, instructions >= 3, "the first node has three");
    }
  });
});

/** A loop with a call through a register, and two functions, one of which ends in a jump through a register. */
const INDIRECT = code(`
  loop_top:
  ff d3                           call rbx
  ff c9                           dec ecx
  75 fa                           jne loop_top
  f4                              hlt
  plain:
  ff c0                           inc eax
  c3                              ret
  jumps:
  ff e2                           jmp rdx
  target:
  ff c2                           inc edx
  c3                              ret
`);
const RECURSIVE = code(`
  e8 01 00 00 00                  call recursive
  c3                              ret
  recursive:
  ff c8                           dec eax
  74 05                           je end
  e8 f7 ff ff ff                  call recursive
  end:
  c3                              ret
`);

describe("guesses", () => {
  const [PLAIN, JUMPS, TARGET] = ["plain", "jumps", "target"].map((label) => INDIRECT.at(label));
  const [CALL_END, JUMP_END] = [2, TARGET];
  test("callees are written for their call, and nothing comes back from elsewhere", () => {
    const sites = [
      { end: CALL_END, targets: [JUMPS, PLAIN], more: false },
      { end: JUMP_END, targets: [TARGET], more: false },
    ];
    const graph = graphOf(INDIRECT, { sites });
    assert.deepEqual(describeGraph(graph), [
      "0: call → 10<2 or 7<2 or out",
      "10<2: jmp → 12<2 or out",
      "7<2: inc ret → 2 if 2",
      "12<2: inc ret → 2 if 2",
      "2: dec jnz → 0 | out 6",
    ]);
    assert.deepEqual(graph.entries, [0]);
  });
  test("where there are more targets the region can be entered behind the call, also for a jump in the callee", () => {
    const sites = [
      { end: CALL_END, targets: [JUMPS], more: false },
      { end: JUMP_END, targets: [TARGET], more: true },
    ];
    const graph = graphOf(INDIRECT, { sites });
    assert.deepEqual(describeGraph(graph), [
      "0: call → 10<2 or out",
      "10<2: jmp → 12<2 or ?",
      "12<2: inc ret → 2 if 2",
      "2: dec jnz → 0 | out 6",
    ]);
    assert.deepEqual(graph.entries, [0, 3]);
    const more = graphOf(INDIRECT, { sites: [{ end: CALL_END, targets: [PLAIN], more: true }] });
    assert.deepEqual(describeGraph(more), ["0: call → 7<2 or ?", "7<2: inc ret → 2 if 2", "2: dec jnz → 0 | out 6"]);
    assert.deepEqual(more.entries, [0, 2]);
  });
  test("a target that is not a part of the region is none", () => {
    const graph = graphOf(INDIRECT, { sites: [{ end: CALL_END, targets: [0x4000, PLAIN], more: false }] });
    assert.equal(describeGraph(graph)[0], "0: call → 7<2 or ?");
  });
  test("with the pass off there are none", () => {
    const sites = [{ end: CALL_END, targets: [PLAIN], more: false }];
    assert.equal(describeGraph(graphOf(INDIRECT, { sites, passes: { guessTargets: false } }))[0], "0: call → ?");
  });
  test("a function that calls itself is there for its caller and once more, and returns behind its calls", () => {
    const graph = graphOf(RECURSIVE);
    assert.deepEqual(describeGraph(graph), [
      "0: call → 6<5",
      "6<5: dec jz → 15<5 | 10<5",
      "15<5: ret → 5 if 5",
      "10<5: call → 6",
      "5: ret → ?",
      "6: dec jz → 15 | 10",
      "15: ret → 5 or 15 or out",
      "10: call → 6<15",
      "6<15: dec jz → 15<15 | 10<15",
      "15<15: ret → 15 if 15",
      "10<15: call → 6",
    ]);
    const off = graphOf(RECURSIVE, { passes: { knownReturns: false } });
    assert.ok(describeGraph(off).includes("15: ret → ?"));
  });
});

describe("where a region ends", () => {
  test("an instruction that is not supported is outside, also in the middle of a run", () => {
    assert.deepEqual(describeGraph(graphOf(LOOP_AND_CALL, { unsupported: "cmp" })), ["0: add → out 3"]);
    assert.deepEqual(graphOf(LOOP_AND_CALL, { unsupported: "add" }), { nodes: [], entries: [] });
  });
  test("code that did not run is outside", () => {
    const runs = [0, 7, 7, 5, 16, 4, 22, 1];
    assert.deepEqual(describeGraph(graphOf(LOOP_AND_CALL, { runs })), [
      "0: add cmp jnz → 0 | 7",
      "7: call → 16<12",
      "16<12: test jz → 22<12 | out 20",
      "22<12: ret → out 12 if 12",
    ]);
  });
  test("indirect jumps and calls go anywhere; the address after a call is an entry", () => {
    const program = code(`
      ff d0                           call rax
      ff e1                           jmp rcx
    `);
    const graph = graphOf(program);
    assert.deepEqual(describeGraph(graph), ["0: call → ?", "2: jmp → ?"]);
    assert.deepEqual(graph.entries, [0, 1]);
  });
  test("a jump into the middle of an instruction runs what is there", () => {
    const program = code(`
      again:
      b8 90 90 90 90                  mov eax, 0x90909090
      75 fa                           jne again + 1
      c3                              ret
    `);
    // the run at 1 was met as a block of its own: NOPs, which come to the same JNE
    assert.deepEqual(describeGraph(graphOf(program, { runs: [0, 7, 7, 1, 1, 6] })), [
      "0: mov jnz → 1 | 7",
      "1: nop nop nop nop jnz → 1 | 7",
      "7: ret → ?",
    ]);
  });
  test("code before the seed, on the page before", () => {
    const program = code(`
      back:
      ff c8                           dec eax
      75 fc                           jne back
      c3                              ret
    `);
    assert.deepEqual(describeGraph(graphOf(program, { seed: 2 })), ["2: jnz → 0 | 4", "0: dec → 2", "4: ret → ?"]);
    const jump = Uint8Array.of(0xe9, 0x0b, 0xf0, 0xff, 0xff, 0xff, 0xc8); // jmp −4080; dec eax
    const region = { seed: 0, runs: Int32Array.of(0, 5, -4080, 2), bytes: jump, sites: [] };
    const graph = buildGraph(region, () => true, GRAPH_LIMITS, ALL_PASSES);
    assert.deepEqual(describeGraph(graph), ["0: jmp → -4080", "-4080: dec → out -4078"]);
  });
  test("bytes that are no instruction end what is known", () => {
    const program = code(`
      90                              nop
      06                              (undefined)
      90                              nop
    `);
    assert.deepEqual(describeGraph(graphOf(program)), ["0: nop → out 1"]);
  });
});
