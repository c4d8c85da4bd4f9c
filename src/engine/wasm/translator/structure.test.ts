import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FunctionBuilder } from "../../../wasm/function.ts";
import { ModuleBuilder } from "../../../wasm/module.ts";
import { Structure, writeStructured } from "./structure.ts";

type Successors = readonly (readonly number[])[];

/** Diamond with a loop behind it, and a node that nothing reaches. */
const GRAPH: Successors = [[1], [2, 3], [4], [4], [5, 6], [4], [], [4]];

describe("dominators, loops and merges", () => {
  const structure = new Structure({ successors: GRAPH });

  test("immediate dominators", () => {
    assert.deepEqual([...structure.idom], [0, 0, 1, 1, 1, 4, 4, -1]);
    assert.deepEqual(
      structure.children.map((nodes) => nodes.toSorted((a, b) => a - b)),
      [[1], [2, 3, 4], [], [], [5, 6], [], [], []],
    );
  });
  test("a node dominates itself and what is reached through it only", () => {
    const dominated = (a: number): number[] => [0, 1, 2, 3, 4, 5, 6].filter((b) => structure.dominates(a, b));
    assert.deepEqual([0, 1, 2, 4].map(dominated), [[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [2], [4, 5, 6]]);
  });
  test("the order is a reverse postorder of what is reached", () => {
    assert.equal(structure.order[7], -1);
    assert.deepEqual(
      [...structure.order].filter((n) => n >= 0).toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6],
    );
    for (const [from, to] of [
      [1, 2],
      [1, 3],
      [2, 4],
      [3, 4],
      [4, 5],
      [4, 6],
    ])
      assert.ok(structure.order[from] < structure.order[to], `${from} before ${to}`);
  });
  test("a loop header is where an edge goes back to, a merge where several come forward", () => {
    const nodes = [0, 1, 2, 3, 4, 5, 6];
    assert.deepEqual(
      nodes.filter((n) => structure.isLoopHeader(n)),
      [4],
    );
    assert.deepEqual(
      nodes.filter((n) => structure.isMerge(n)),
      [4],
    );
  });
  test("a node that goes to itself is a loop, and two edges to one node make a merge", () => {
    const self = new Structure({ successors: [[1], [1, 2], [3, 3], []] });
    assert.deepEqual(
      [1, 2, 3].map((n) => self.isLoopHeader(n)),
      [true, false, false],
    );
    assert.deepEqual(
      [1, 2, 3].map((n) => self.isMerge(n)),
      [false, false, true],
    );
  });
  test("a loop with two entries is irreducible, whichever way it is gone through", () => {
    const structureOf = (successors: Successors): number[] =>
      [...new Structure({ successors }).irreducibleTargets()].toSorted((a, b) => a - b);
    assert.deepEqual(structureOf(GRAPH), []);
    const twoEntries = structureOf([[1], [2, 3], [3], [2]]);
    assert.equal(twoEntries.length, 1);
    assert.ok(twoEntries[0] === 2 || twoEntries[0] === 3);
  });
  test("deep graphs need no deep stack for their order", () => {
    const length = 20_000;
    const chain = Array.from({ length }, (_, n) => (n + 1 < length ? [n + 1] : [1]));
    const deep = new Structure({ successors: chain });
    assert.equal(deep.order[length - 1], length - 1);
    assert.ok(deep.isLoopHeader(1));
  });
});

/** What a region does: node 0 goes to its successors by table; edges into the middle of loops go through it. */
interface Dispatched {
  readonly successors: Successors;
  /** Edges, as "from to", that were replaced by one to node 0. */
  readonly dispatched: ReadonlySet<string>;
}
function makeReducible(graph: Successors): Dispatched {
  const successors = graph.map((list) => [...list]);
  const dispatched = new Set<string>();
  for (;;) {
    const structure = new Structure({ successors });
    const bad = structure.irreducibleTargets();
    if (bad.size === 0) return { successors, dispatched };
    for (const to of bad) if (!successors[0].includes(to)) successors[0].push(to);
    successors.forEach((list, from) => {
      list.forEach((to, i) => {
        if (from === 0 || !bad.has(to) || structure.dominates(to, from)) return;
        if (structure.order[from] < 0 || structure.order[to] > structure.order[from]) return;
        dispatched.add(`${from} ${to}`);
        list[i] = 0;
      });
    });
  }
}

/** A function (label) that calls visit(node) in each node, which says which successor is next, or −1. */
function functionOf(graph: Successors, { successors, dispatched }: Dispatched): FunctionBuilder {
  const f = new FunctionBuilder(["i32"], []);
  const [LABEL, choice] = [0, f.local("i32")];
  const structure = new Structure({ successors });
  writeStructured(
    f,
    structure,
    (node) => successors[0].includes(node),
    (node, labelOf, goTo) => {
      if (node === 0) {
        f.get(LABEL).brTable(successors[0].slice(0, -1).map(labelOf), labelOf(successors[0].at(-1)!));
        return;
      }
      f.i32(node).call(0).tee(choice).i32(0).op("i32.lt_s").if();
      f.op("return").end();
      const follow = (to: number): void => {
        if (!dispatched.has(`${node} ${to}`)) return goTo(to);
        f.i32(successors[0].indexOf(to)).set(LABEL);
        goTo(0);
      };
      const list = graph[node];
      if (list.length === 0) f.op("return");
      else if (list.length === 1) follow(list[0]);
      else {
        f.get(choice).if();
        follow(list[1]);
        f.else();
        follow(list[0]);
        f.end().op("unreachable");
      }
    },
  );
  f.op("unreachable");
  return f;
}

/** Runs it. @param choices what each visit says @returns the nodes that were visited */
function walkWritten(graph: Successors, start: number, choices: readonly number[]): number[] {
  const reducible = makeReducible(graph);
  const m = new ModuleBuilder();
  const path: number[] = [];
  m.importFunction("host", "visit", ["i32"], ["i32"]);
  m.export("run", m.add(functionOf(graph, reducible)));
  const visit = (node: number): number => (
    path.push(node),
    path.length > choices.length ? -1 : choices[path.length - 1]
  );
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), { host: { visit } });
  (exports["run"] as (label: number) => void)(start);
  return path;
}
function walkDirectly(graph: Successors, start: number, choices: readonly number[]): number[] {
  const path: number[] = [];
  let node: number | undefined = graph[0][start];
  while (node !== undefined) {
    path.push(node);
    if (path.length > choices.length) break;
    const list: readonly number[] = graph[node];
    node = list.length === 2 ? list[choices[path.length - 1]] : list[0];
  }
  return path;
}

/** Graphs of up to 14 nodes with up to two successors each, of which the root has up to three others. */
const graphs: fc.Arbitrary<Successors> = fc.integer({ min: 1, max: 14 }).chain((n) => {
  const node = fc.integer({ min: 1, max: n });
  const roots = fc.uniqueArray(node, { minLength: 1, maxLength: 3 });
  return fc
    .tuple(roots, fc.array(fc.array(node, { maxLength: 2 }), { minLength: n, maxLength: n }))
    .map(([root, rest]) => [root, ...rest]);
});

describe("a graph written as wasm", () => {
  const compare = (graph: Successors, start: number, choices: readonly number[]): void =>
    assert.deepEqual(walkWritten(graph, start, choices), walkDirectly(graph, start, choices));

  test("loops in loops, left from the inner one to the outer's header and out of both", () => {
    const graph = [[1], [2], [3, 5], [3, 4], [2, 1], []];
    for (let bits = 0; bits < 256; bits++)
      compare(
        graph,
        0,
        Array.from({ length: 12 }, (_, i) => (bits >> (i % 8)) & 1),
      );
  });
  test("a loop with two entries goes through the dispatcher", () => {
    const graph = [[1], [2, 3], [3, 4], [2, 4], []];
    assert.equal(makeReducible(graph).dispatched.size, 1);
    for (let bits = 0; bits < 64; bits++)
      compare(
        graph,
        0,
        Array.from({ length: 9 }, (_, i) => (bits >> (i % 6)) & 1),
      );
  });
  test("random graphs are followed from each entry", () => {
    const choices = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 60 });
    let irreducible = 0;
    fc.assert(
      fc.property(graphs, choices, (graph, list) => {
        if (makeReducible(graph).dispatched.size > 0) irreducible++;
        graph[0].forEach((_, start) => compare(graph, start, list));
      }),
      { numRuns: 600, seed: 20_221 },
    );
    assert.ok(irreducible > 30, `${irreducible} graphs were irreducible`);
  });
});
